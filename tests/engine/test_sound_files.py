"""What `test` leaves to be heard: the files, their common gain, their list, names that are safe on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from torch import Tensor

from mdx_progressive.cli.main import main
from mdx_progressive.data import ChunkLength
from mdx_progressive.engine.callbacks.sound_files import SoundFiles
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation.audio_clips import AudioClip, Excerpt, read_index, write_index
from mdx_progressive.progressive.methods import Method, Progressive
from mdx_progressive.progressive.schedules import Cosine, Karras, Linear
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.exported_programs import Waves, program_options, scripted
from tests.support.paths import CONFIGS
from tests.support.signals import RATE, SOURCES


@pytest.fixture(scope="module")
def sound_of(tmp_path_factory: pytest.TempPathFactory, clip: dict[str, Tensor]) -> Callable[..., Path]:
    """Runs `test` on three songs of 1.2 s, the stems of the second one three times full scale; returns its sound."""
    root = tmp_path_factory.mktemp("root")
    program = scripted(root / "waves.pt", Waves())
    for number, name in enumerate(("x.. b", "x..a", "y")):
        (folder := root / "songs" / name).mkdir(parents=True)
        span = slice(number * RATE, number * RATE + 6 * RATE // 5)
        level = 3 / max(float(clip[stem][:, span].abs().max()) for stem in SOURCES) if name == "x..a" else 0.1
        for stem in SOURCES:
            soundfile.write(folder / f"{stem}.wav", level * clip[stem][:, span].T.numpy(), RATE, subtype="FLOAT")

    def run(*args: str) -> Path:
        data = ("--data.trim", "null", "--data.root", str(root / "songs"))
        given = ("test", *program_options(program), *data, "--model.targets", "[vocals,bass]", *args)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            assert main(given) == 0
        return max(root.glob("logs/htdemucs/version_*")) / "sound"

    return run


def heard(path: Path) -> NDArray[np.float64]:
    samples, rate = soundfile.read(path)
    assert rate == RATE
    return samples


def test_the_first_songs_have_their_takes_of_one_length_and_gain(
    sound_of: Callable[..., Path], clip: dict[str, Tensor]
) -> None:
    folder = sound_of("--sound.songs", "2", "--sound.seconds", "1")

    quiet, loud = excerpts = read_index(folder)
    assert [excerpt.song for excerpt in excerpts] == ["x.. b", "x..a"]
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "x.. b", "x..a"]
    assert quiet.gain_db == 0  # nothing is turned up
    assert (loud.seconds, loud.chunk_seconds, loud.method) == (1, 1.2, "linear")
    for excerpt in excerpts:
        assert list(excerpt.clips) == ["vocals", "bass"]
        for takes in excerpt.clips.values():
            steps = [take for take in takes if take.kind == "step"]
            assert [take.kind for take in takes if take not in steps] == ["mixture", "one-pass", "oracle", "reference"]
            assert [take.step for take in steps] in ([3], [1, 3], [2, 3])  # the best and the last
            (best,) = [take for take in takes if take.best]
            assert best.kind == "one-pass" or best in steps
            assert {heard(folder / take.file).shape for take in takes} == {(RATE, 2)}

    files = {take.file for takes in loud.clips.values() for take in takes}
    assert max(np.abs(heard(folder / file)).max() for file in files) == pytest.approx(0.9, abs=0.06)
    span = clip["vocals"][:, RATE : 2 * RATE].T.numpy()
    coded = heard(folder / loud.clips["vocals"][-1].file) / 10 ** (loud.gain_db / 20)
    level = 3 / max(float(clip[stem][:, RATE : RATE + 6 * RATE // 5].abs().max()) for stem in SOURCES)
    error = coded - level * span
    assert 10 * np.log10(((level * span) ** 2).sum() / (error**2).sum()) > 15  # neither shifted nor at another gain


def test_every_method_that_is_compared_has_its_last_step_since_any_of_them_may_turn_out_the_best(
    sound_of: Callable[..., Path],
) -> None:
    others = [str(CONFIGS / "method" / f"{name}.yaml") for name in ("euler", "search-oracle")]
    methods = ("--model.compare", f"[{','.join(others)}]", "--model.method.steps", "2")
    folder = sound_of(*methods, "--data.chunk", "0.5", "--sound.songs", "1")

    (excerpt,) = read_index(folder)
    assert excerpt.method == "linear"
    for clips in excerpt.clips.values():
        last = {clip.method: clip.step for clip in clips if clip.kind == "step"}
        assert set(last) == {"linear", "euler"}  # The search is given the references: it is a bound.
        assert {clip.method for clip in clips if clip.kind != "step"} == {None}
        assert len({(folder / clip.file).read_bytes() for clip in clips}) == len(clips)


def test_the_disk_space_is_that_of_all_methods() -> None:
    separator = SpleeterSeparator(bins=64)
    length = ChunkLength("a song", 100.0)
    sizes = []
    for others in ([], [Cosine()], [Cosine(), Karras()]):
        compare: list[Method] = [Progressive(schedule, 2) for schedule in others]
        module = ProgressiveDemixing(separator, Progressive(Linear(), 2), compare)
        sizes.append(SoundFiles(songs=1, seconds=12).disk(module, [length]))

    kilobits = 8 * sizes[0] / 12 / 1000
    assert kilobits == pytest.approx(135 * (1 + 2 * 5))  # mixture; one pass, best and last step, oracle, reference
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == pytest.approx(2 * 12 * 135e3 / 8)


def test_an_oracle_that_was_not_run_has_no_take_and_no_songs_leave_no_sound(sound_of: Callable[..., Path]) -> None:
    short = ("--model.oracle", "false", "--data.chunk", "0.3", "--model.method.steps", "1")
    (excerpt,) = read_index(sound_of(*short, "--sound.songs", "1"))

    assert all(take.kind != "oracle" for takes in excerpt.clips.values() for take in takes)
    assert not sound_of(*short, "--sound.songs", "0").exists()


class TestList:
    @pytest.fixture
    def excerpt(self, tmp_path: Path) -> Excerpt:
        (tmp_path / "a.mp3").touch()
        return Excerpt("a/../b", 0, 1.0, 2.0, -3.0, "linear", {"vocals": [AudioClip("step", "a.mp3", 2, True)]})

    def test_what_is_written_is_read(self, tmp_path: Path, excerpt: Excerpt) -> None:
        write_index(tmp_path, [excerpt])

        assert read_index(tmp_path) == [excerpt]

    def test_nothing_is_read_where_nothing_is(self, tmp_path: Path) -> None:
        assert read_index(tmp_path / "nowhere") == []

    @pytest.mark.parametrize("file", ["../secret.mp3", "/etc/passwd", "gone.mp3"])
    def test_a_file_outside_or_gone_is_refused(self, tmp_path: Path, excerpt: Excerpt, file: str) -> None:
        (tmp_path / "secret.mp3").touch()
        folder = tmp_path / "sound"
        folder.mkdir()
        (folder / "a.mp3").touch()
        write_index(folder, [excerpt])
        index = folder / "index.json"
        index.write_text(index.read_text().replace("a.mp3", file))

        with pytest.raises(MdxError, match="which is not there"):
            read_index(folder)

    @pytest.mark.parametrize("content", ["", "{}x", "[1]", '[{"song": "a"}]', '{"a": 1}'])
    def test_a_damaged_list_is_named(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "index.json").write_text(content)

        with pytest.raises(MdxError, match=r"index\.json is no list of sound files"):
            read_index(tmp_path)
