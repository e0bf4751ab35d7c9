"""Songs longer than a block: read, separated, joined and written piece by piece."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.audio.signals import StreamSum
from mdx_progressive.cli.main import main
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import load_song
from mdx_progressive.data.song_stream import SongStream
from mdx_progressive.evaluation.results import read_rows
from mdx_progressive.output.block_store import BlockStore
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.memory import peak_memory, reset_peak_memory
from tests.support.command import NARROW, run
from tests.support.paths import STUDY, STUDY_HTDEMUCS
from tests.support.processes import Running, Stop, run_command
from tests.support.signals import RATE, noise

HTDEMUCS = ("-c", str(STUDY_HTDEMUCS), "--model.separator.weights", "small.safetensors")
ONE_PASS = ("--model.method.steps", "0")
BLOCKS = ("--data.block", "1.5")


@pytest.fixture
def song(own_folder: Path, small_htdemucs_file: Path, clip: dict[str, Tensor]) -> Path:
    """Six seconds of music, beside the weights of a small network whose segments have a second."""
    shutil.copy(small_htdemucs_file, own_folder / "small.safetensors")
    soundfile.write(own_folder / "song.wav", clip["mixture"].T.numpy(), RATE, subtype="FLOAT")
    return own_folder / "song.wav"


def predict(out: str, *more: str) -> dict[str, np.ndarray]:
    """The stems of song.wav."""
    assert run("predict", *HTDEMUCS, *ONE_PASS, "--data.input", "song.wav", "--out", out, *more) == 0
    return {path.stem: soundfile.read(path, dtype="float32")[0] for path in Path(out, "song").glob("*.*")}


def print_peak(arguments: list[str]) -> None:
    """Run the command, and print how much memory its process took at most."""
    reset_peak_memory(torch.device("cpu"))
    assert main(arguments) == 0
    print(peak_memory(torch.device("cpu")))


def ratio(estimate: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(np.square(reference).sum() / np.square(estimate - reference).sum()))


class TestPredict:
    def test_in_blocks_it_gives_what_it_gives_as_a_whole(self, song: Path) -> None:
        whole, cut = predict("whole", "--data.block", "null"), predict("cut", *BLOCKS)

        assert sorted(cut) == sorted(whole) == ["bass", "drums", "other", "vocals"]
        for source, estimate in cut.items():
            assert estimate.shape == whole[source].shape
            assert ratio(estimate, whole[source]) > 60

    @pytest.mark.parametrize("options", [(), ("--data.normalisation", "Rms"), ("--data.normalisation", "Loudness")])
    def test_a_song_that_begins_quietly_is_separated_at_the_level_of_the_whole(
        self, song: Path, options: tuple[str, ...]
    ) -> None:
        samples, half = soundfile.read(song, dtype="float32")[0], 3 * RATE
        samples[:half] *= 0.02
        samples[half:] += 0.01  # Many recordings are off balance.
        soundfile.write(song, samples, RATE, subtype="FLOAT")

        whole, cut = predict("whole", "--data.block", "null", *options), predict("cut", *BLOCKS, *options)

        for source, estimate in cut.items():
            assert ratio(estimate[:half], whole[source][:half]) > 60
            assert ratio(estimate[half:], whole[source][half:]) > 60

    def test_an_impulse_stays_where_it_is_at_any_rate(self, song: Path) -> None:
        rate, place = 48000, 150_001
        samples = np.zeros((5 * rate, 2), dtype=np.float32)
        samples[place] = 0.5
        soundfile.write("song.wav", samples, rate, subtype="FLOAT")

        stems = predict("out", *BLOCKS)

        together = np.sum(list(stems.values()), axis=0)
        assert together.shape == samples.shape
        assert abs(int(np.abs(together).sum(axis=1).argmax()) - place) <= 1

    def test_a_run_that_was_killed_goes_on_at_the_block_that_is_missing(
        self, song: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        predict("whole", *BLOCKS)
        arguments = ["predict", *HTDEMUCS, *ONE_PASS, *BLOCKS, "--data.input", "song.wav", "--out", "out"]
        assert run_command(arguments, Stop(signal.SIGKILL, after=2)).exit_code == -signal.SIGKILL
        assert not list(Path("out").rglob("*.wav"))
        put = BlockStore.put
        again: list[int] = []

        def counted(self: BlockStore, number: int, part: Tensor) -> None:
            again.append(number)
            put(self, number, part)

        monkeypatch.setattr(BlockStore, "put", counted)

        predict("out", *BLOCKS)

        assert "2 blocks kept from an interrupted run" in capsys.readouterr().err
        assert again == [2]
        for path in Path("whole/song").iterdir():
            assert Path("out/song", path.name).read_bytes() == path.read_bytes()
        assert not [path.name for path in Path("out").rglob(".*")]

    @pytest.mark.parametrize("damage", [
        lambda block: block.unlink(),
        lambda block: block.write_bytes(b""),
        lambda block: block.write_bytes(block.read_bytes()[:-1000]),
        lambda block: block.write_bytes(block.read_bytes()[:5000] + bytes(8) + block.read_bytes()[5008:]),
    ])  # fmt: skip
    def test_kept_blocks_that_are_gone_cut_or_changed_are_separated_again(
        self, song: Path, damage: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
    ) -> None:
        predict("whole", *BLOCKS)
        arguments = ["predict", *HTDEMUCS, *ONE_PASS, *BLOCKS, "--data.input", "song.wav", "--out", "out"]
        run_command(arguments, Stop(signal.SIGKILL, after=2))
        damage(*Path("out").rglob("000000.npy"))

        predict("out", *BLOCKS)

        assert "1 block kept from an interrupted run" in capsys.readouterr().err
        for path in Path("whole/song").iterdir():
            assert Path("out/song", path.name).read_bytes() == path.read_bytes()
        assert not [path.name for path in Path("out").rglob(".*")]

    def test_a_block_that_somebody_deletes_meanwhile_is_an_error_and_no_hole(
        self, song: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def put_the_last_alone(self: BlockStore, number: int, part: Tensor) -> None:
            put(self, number, part)
            if number == 2:
                self._file(0).unlink()

        put = BlockStore.put
        with monkeypatch.context() as patch:
            patch.setattr(BlockStore, "put", put_the_last_alone)
            assert run("predict", *HTDEMUCS, *ONE_PASS, *BLOCKS, "--data.input", "song.wav", "--out", "out") == 1

        assert (
            "out/song: a block of it is gone from there; the same command" in capsys.readouterr().err.split("error:")[1]
        )
        predict("out", *BLOCKS)
        assert "2 blocks kept from an interrupted run" in capsys.readouterr().err
        assert len(list(Path("out/song").iterdir())) == 4

    def test_blocks_of_another_method_are_not_used(
        self, song: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(self: BlockStore, number: int, part: Tensor) -> None:
            if number == 1:
                raise KeyboardInterrupt
            put(self, number, part)

        put = BlockStore.put
        with monkeypatch.context() as patch:
            patch.setattr(BlockStore, "put", broken)
            assert run("predict", *HTDEMUCS, *ONE_PASS, *BLOCKS, "--data.input", "song.wav", "--out", "out") != 0
        assert list(Path("out").rglob("000000.npy"))

        predict("out", *BLOCKS, "--model.separator.overlap", "0.5")

        assert "from an interrupted run" not in capsys.readouterr().err
        assert not [path.name for path in Path("out").rglob(".*")]

    def test_a_song_that_breaks_in_its_middle_leaves_nothing_and_the_others_are_done(
        self, song: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        samples = soundfile.read("song.wav", dtype="float32")[0]
        samples[4 * RATE] = np.nan
        soundfile.write("broken.wav", samples, RATE, subtype="FLOAT")

        assert run("predict", *HTDEMUCS, *ONE_PASS, *BLOCKS, "broken.wav", "song.wav", "--out", "out") == 1

        assert "broken.wav: a sample is not a number or infinite, the first at 4.000 s" in capsys.readouterr().err
        assert {path.parent.name for path in Path("out").rglob("*") if path.is_file()} == {"song"}

    def test_two_processes_write_the_same_bytes(self, song: Path) -> None:
        # Of which each process counts the samples of one, for both.
        soundfile.write("short.mp3", noise(0.5).T.numpy(), RATE)
        Path("text.mp3").write_text("no audio at all")
        for processes, out in enumerate(("one", "two"), start=1):
            places = ("song.wav", "text.mp3", "short.mp3", "--out", out, "--log-json", f"{out}.jsonl")
            ended = run_command(["predict", *HTDEMUCS, *ONE_PASS, *BLOCKS, *places], processes=processes)
            assert ended.exit_code == 1
            assert "error: 1 song failed" in ended.err
            assert "text.mp3: no audio" in ended.err.split("error: ")[-1]

        written = sorted(Path("one").rglob("*.wav"))
        assert len(written) == 2 * len(list(Path("one/song").iterdir()))
        for path in written:
            assert Path("two", *path.parts[1:]).read_bytes() == path.read_bytes()
        assert not [path.name for path in Path("two").rglob(".*")]
        one, two = (
            [json.loads(line) for line in Path(f"{out}.jsonl").read_text().splitlines()] for out in ("one", "two")
        )
        blocks = [(line["song"], line["block"], line["process"]) for line in two if line["event"] == "block_done"]
        assert sorted(blocks) == [("short", 1, 1), ("song", 1, 0), ("song", 2, 1), ("song", 3, 0)]
        for lines in (one, two):
            assert [line["event"] for line in lines].count("song_written") == 2
            assert (lines[-1]["event"], lines[-1]["written"], lines[-1]["exit_code"]) == ("run_ended", 2, 1)

    @pytest.mark.parametrize(("chosen", "peak"), [("rescale", 1.0), ("clamp", 1.0)])
    def test_peaks_are_found_in_all_blocks_before_one_is_written(self, song: Path, chosen: str, peak: float) -> None:
        samples = soundfile.read("song.wav", dtype="float32")[0]
        samples[-RATE:] *= 40
        soundfile.write("song.wav", samples, RATE, subtype="FLOAT")

        floats = predict("floats", *BLOCKS)
        stems = predict("out", *BLOCKS, "--writer.encoding", "int24", "--writer.clip", chosen)

        highest = max(np.abs(stem).max() for stem in floats.values())
        assert highest > peak
        for source, stem in stems.items():
            expected = floats[source] / highest if chosen == "rescale" else floats[source].clip(-1, 1)
            np.testing.assert_allclose(stem, expected, atol=2**-22)

    def test_the_memory_does_not_grow_with_the_length(self, song: Path, clip: dict[str, Tensor]) -> None:
        peaks = {}
        for times in (10, 80):
            soundfile.write("long.wav", clip["mixture"].repeat(1, times).T.numpy(), RATE)
            arguments = ["predict", "-c", str(STUDY), *ONE_PASS, *NARROW, "--data.block", "12"]
            more = ["--data.input", "long.wav", "--out", str(times), "--model.targets", "[vocals]"]
            ended = Running(print_peak, [*arguments, *more]).wait()
            assert ended.exit_code == 0, ended.err
            peaks[times] = int(ended.out.split()[-1]) / 2**20
            assert soundfile.info(f"{times}/long/vocals.wav").frames == times * clip["mixture"].shape[-1]

        # Eight minutes and one: the song alone would take 150 MiB more, and what is made of it several times that.
        assert peaks[80] - peaks[10] < 100


class TestTest:
    def test_a_chunk_in_blocks_is_measured_as_a_whole(self, song: Path) -> None:
        settings = ("--data.chunk", "null", "--data.trim", "null", "--model.method.steps", "2", "--model.targets")
        for name, block in (("whole", "null"), ("cut", "1.5")):
            logger = ("--trainer.logger.init_args.name", name)
            assert run("test", *HTDEMUCS, *settings, "[vocals]", "--data.block", block, *logger) == 0

        whole, cut = (read_rows(Path(f"logs/{name}/version_0/results.csv")) for name in ("whole", "cut"))
        assert len(cut) == len(whole) > 10
        differing = [column for column in cut if column != "value" and not cut[column].equals(whole[column])]
        assert not differing
        # The SI-SDR of this random network is -45 dB or less, where the last digits mean nothing.
        sdr = whole["metric"] != "si_sdr"
        assert (cut["value"] - whole["value"])[sdr].abs().max() < 0.002
        assert (cut["value"] - whole["value"]).abs().max() < 0.1


SIGNAL = noise(2.5, 2, seed=3, rate=48000)
KINDS = [
    *(("flac", "PCM_16", 48000), ("flac", "PCM_16", RATE), ("flac", "PCM_24", RATE), ("wav", "PCM_16", RATE)),
    *(("wav", "FLOAT", RATE), ("w64", "PCM_24", RATE), ("aiff", "PCM_16", RATE), ("au", "ULAW", RATE)),
    *(("caf", "ALAC_16", RATE), ("ogg", "VORBIS", RATE), ("mp3", "MPEG_LAYER_III", RATE)),
]


class TestReading:
    @given(
        some.sampled_from(KINDS),
        some.lists(some.tuples(some.integers(0, 110_000), some.integers(1, 30_000)), max_size=6),
    )
    @settings(max_examples=30, deadline=None)
    def test_any_stretch_is_that_of_the_whole(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        kind: tuple[str, str, int],
        stretches: list[tuple[int, int]],
    ) -> None:
        suffix, subtype, rate = kind
        path = tmp_path_factory.getbasetemp() / f"stretch-{subtype}-{rate}.{suffix}"
        if not path.exists():
            soundfile.write(path, SIGNAL.T.numpy(), rate, subtype=subtype)
        song = Song("a", AudioStream(path))
        whole = load_song(song, RATE, "shipped").mixture
        stream = SongStream(song, RATE, "shipped")
        assert stream.length == whole.shape[-1]

        for start, length in stretches:
            stop = min(start + length, stream.length)
            if start < stop:
                assert torch.equal(stream.read(start, stop), whole[:, start:stop])

    @pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
    def test_what_lies_before_a_stretch_or_behind_it_is_not_decoded(
        self, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / f"long.{suffix}"
        soundfile.write(path, noise(60).T.numpy(), RATE)
        decoded: list[int] = []
        pieces = AudioStream.pieces

        def counted(self: AudioStream, start: int = 0) -> Iterator[Tensor]:
            for piece in pieces(self, start):
                decoded.append(piece.shape[-1])
                yield piece

        monkeypatch.setattr(AudioStream, "pieces", counted)

        first = 0 if suffix == "mp3" else 50 * RATE
        SongStream(Song("a", AudioStream(path)), RATE, "shipped").read(first, first + RATE)

        assert RATE <= sum(decoded) < 8 * RATE

    def test_stems_of_one_rate_and_different_lengths_anywhere(self, tmp_path: Path) -> None:
        for seed, (name, seconds) in enumerate({"a.wav": 1.0, "b.flac": 1.3}.items()):
            soundfile.write(tmp_path / name, noise(seconds, seed=seed).T.numpy(), RATE)
        one, other = (AudioStream(tmp_path / name) for name in ("a.wav", "b.flac"))
        for stems in ({"drums": one, "vocals": other}, {"drums": StreamSum((one, other))}):
            song = Song("a", None, dict(stems))
            whole = load_song(song, RATE, "shipped").mixture
            stream = SongStream(song, RATE, "shipped")
            for start in (50_000, 10_000, 44_100):
                assert torch.equal(stream.read(start, start + 5000), whole[:, start : start + 5000])

    def test_the_sum_of_stems_of_different_rates_and_lengths(self, tmp_path: Path) -> None:
        made = {"a.wav": (44100, 1.0, 1), "b.flac": (48000, 1.3, 2), "c.wav": (22050, 0.7, 2)}
        for seed, (name, (rate, seconds, channels)) in enumerate(made.items()):
            samples = noise(seconds, channels, seed=seed, rate=rate)
            soundfile.write(tmp_path / name, samples.T.numpy(), rate)
        one, other, third = (AudioStream(tmp_path / name) for name in made)
        song = Song("a", None, {"drums": StreamSum((one, other)), "vocals": third})

        stream = SongStream(song, RATE, "shipped")

        whole = load_song(song, RATE, "shipped").mixture
        assert stream.native_size[0] == 48000
        torch.testing.assert_close(stream.read(0, stream.length), whole)

    def test_a_file_that_breaks_off_is_named_with_the_place(self, own_folder: Path) -> None:
        soundfile.write("a.flac", noise(3, 2).T.numpy(), RATE)
        content = Path("a.flac").read_bytes()
        Path("a.flac").write_bytes(content[: len(content) // 2])

        with pytest.raises(MdxError, match=r"a.flac: is truncated or damaged at \d+\.\d+ s"):
            AudioStream(Path("a.flac")).read()
