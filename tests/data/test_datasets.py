"""Where songs with stems come from."""

import shutil
import sys
import zipfile
from collections.abc import Callable
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import soundfile
import torch
import yaml
from torch import Tensor

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.audio.resampling import resample
from mdx_progressive.audio.signals import StreamSum
from mdx_progressive.cli.main import main
from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.datasets.base import BuiltinClip
from mdx_progressive.data.datasets.folders import SongFolders
from mdx_progressive.data.datasets.musdb18 import Musdb18
from mdx_progressive.data.song import Song, builtin_clip
from mdx_progressive.data.song_reader import load_song
from mdx_progressive.data.stem_grouping import group_stems
from mdx_progressive.runtime.errors import MdxError
from tests.support.paths import CONFIGS, STUDY
from tests.support.signals import RATE, SOURCES, noise

DATASETS = CONFIGS / "dataset"
VALID = "Actions - One Minute Smile"  # One of musdb's fourteen.
TRAIN = "A Classic Education - NightOwl"
TEST = "The Easton Ellises - Falcon 69"

needs_ffmpeg = pytest.mark.skipif(
    not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="musdb needs the commands ffmpeg and ffprobe"
)


def write(path: Path, waveform: Tensor, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T.numpy(), rate, subtype=subtype)
    return path


def preset(name: str, **changed: Any) -> SongFolders:
    settings = yaml.safe_load((DATASETS / f"{name}.yaml").read_text())["init_args"]
    return SongFolders(**{**settings, **changed})


@pytest.fixture(scope="module")
def musdb_stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as MUSDB18 has it: stems files, here the real one of the test set under three names."""
    root = tmp_path_factory.mktemp("musdb18")
    clip = builtin_clip().mixture
    assert clip is not None
    for subset, name in (("train", VALID), ("train", TRAIN), ("test", TEST)):
        (root / subset).mkdir(exist_ok=True)
        shutil.copy(clip.path, root / subset / f"{name}.stem.mp4")
    return root


@pytest.fixture(scope="module")
def musdb_wav(tmp_path_factory: pytest.TempPathFactory, clip: dict[str, Tensor]) -> Path:
    """A folder as MUSDB18-HQ has it: wav files, here with the first second of the real song."""
    root = tmp_path_factory.mktemp("musdb18hq")
    for subset, name in (("train", VALID), ("train", TRAIN), ("test", TEST)):
        for stem, waveform in clip.items():
            write(root / subset / name / f"{stem}.wav", waveform[:, :RATE])
    return root


@needs_ffmpeg
class TestMusdb18:
    @pytest.mark.parametrize(
        ("settings", "names"),
        [
            ({"subset": "train"}, [TRAIN, VALID]),
            ({"subset": "train", "split": "train"}, [TRAIN]),
            ({"subset": "train", "split": "valid"}, [VALID]),
            ({}, [TEST]),
            ({"subset": None}, [TRAIN, VALID, TEST]),
        ],
    )
    def test_the_splits_are_those_of_musdb(
        self, musdb_stems: Path, musdb_wav: Path, settings: dict[str, Any], names: list[str]
    ) -> None:
        assert [song.name for song in Musdb18(musdb_stems, **settings).songs()] == names
        assert sorted(song.name for song in Musdb18(musdb_wav, **settings, is_wav=True).songs()) == sorted(names)

    @pytest.mark.parametrize("is_wav", [False, True])
    def test_mixture_and_stems_are_what_musdb_decodes(self, musdb_stems: Path, musdb_wav: Path, is_wav: bool) -> None:
        import musdb

        root = musdb_wav if is_wav else musdb_stems
        (track,) = musdb.DB(root=str(root), subsets="test", is_wav=is_wav).tracks
        (song,) = Musdb18(root, is_wav=is_wav).songs()

        loaded = load_song(song, None, "shipped")

        assert (loaded.sample_rate, list(loaded.stems)) == (RATE, SOURCES)
        for name, ours in {"mixture": loaded.mixture, **loaded.stems}.items():
            theirs = torch.from_numpy(track.audio if name == "mixture" else track.targets[name].audio).T.float()
            # musdb has AAC decoded to 16 bits: rounded to half a step, cut off at full scale, by another FFmpeg.
            tolerance = 0.0 if is_wav else 0.51 / 2**15
            torch.testing.assert_close(ours.clamp(-1, 1 - 2**-15), theirs, rtol=0, atol=tolerance)

    def test_what_is_above_full_scale_is_kept(self, musdb_stems: Path) -> None:
        (song,) = Musdb18(musdb_stems).songs()

        assert song.stems["drums"].read()[0].abs().max() > 1

    def test_the_short_version_is_downloaded_by_musdb(
        self, musdb_stems: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with zipfile.ZipFile(tmp_path / "sample.zip", "w") as archive:
            for path in musdb_stems.rglob("*.mp4"):
                archive.write(path, path.relative_to(musdb_stems))

        class Answer(BytesIO):
            def info(self) -> Message:
                return Message()

        monkeypatch.setattr("musdb.urlopen", lambda _: Answer((tmp_path / "sample.zip").read_bytes()))

        assert [song.name for song in Musdb18(tmp_path / "new", download=True).songs()] == [TEST]

    def test_a_download_that_fails_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def offline(*_: object) -> None:
            raise URLError("no route to host")

        monkeypatch.setattr("musdb.urlopen", offline)

        with pytest.raises(MdxError, match="no route to host"):
            Musdb18(tmp_path / "new", download=True).songs()

    def test_the_other_kind_of_files_is_suggested(self, musdb_stems: Path, musdb_wav: Path) -> None:
        with pytest.raises(MdxError, match="is_wav true"):
            Musdb18(musdb_wav).songs()
        with pytest.raises(MdxError, match="is_wav false"):
            Musdb18(musdb_stems, is_wav=True).songs()

    def test_a_split_without_songs_is_named(self, musdb_wav: Path, tmp_path: Path) -> None:
        shutil.copytree(musdb_wav / "train" / TRAIN, tmp_path / "train" / TRAIN)

        with pytest.raises(MdxError, match="none of its songs is of the valid split"):
            Musdb18(tmp_path, subset="train", split="valid", is_wav=True).songs()

    @pytest.mark.parametrize("is_wav", [False, True])
    def test_a_song_that_can_not_be_read_is_at_fault_and_no_other(
        self, musdb_stems: Path, musdb_wav: Path, tmp_path: Path, is_wav: bool
    ) -> None:
        shutil.copytree(musdb_wav if is_wav else musdb_stems, tmp_path / "copy")
        good = tmp_path / "copy" / "train" / (f"{TRAIN}/vocals.wav" if is_wav else f"{TRAIN}.stem.mp4")
        contents = {"Cut": good.read_bytes()[: good.stat().st_size // 2], "Empty": b"", "Other": b"no audio at all"}
        for name, content in contents.items():
            broken = Path(str(good).replace(TRAIN, name))
            if is_wav:
                shutil.copytree(good.parent, broken.parent)
            broken.write_bytes(content)
        (good.parents[is_wav] / "._Hidden.stem.mp4").write_bytes(b"of a Mac")
        module = SongDataModule(
            RATE, SOURCES, dataset=Musdb18(tmp_path / "copy", subset="train", is_wav=is_wav), chunk=1, trim=None
        )

        module.setup("test")

        assert {extent.song for extent in module.chunk_lengths()} == {TRAIN, VALID}
        assert [failure.song for failure in module.failures] == list(contents)
        assert all(f"{failure.song}{'/vocals.wav' if is_wav else '.stem.mp4'}" in failure.reason
                   for failure in module.failures)  # fmt: skip

    def test_a_song_without_stems_is_at_fault_and_no_other(self, musdb_wav: Path, tmp_path: Path) -> None:
        shutil.copytree(musdb_wav, tmp_path / "copy")
        for stem in SOURCES:
            (tmp_path / "copy" / "train" / TRAIN / f"{stem}.wav").unlink()

        songs = {song.name: song for song in Musdb18(tmp_path / "copy", subset="train", is_wav=True).songs()}

        songs[VALID].check()
        with pytest.raises(MdxError, match=rf"{TRAIN}: holds none of"):
            songs[TRAIN].check()

    def test_the_command_measures_on_it(self, musdb_wav: Path, own_folder: Path) -> None:
        code = main(
            ("test", "-c", str(STUDY), "--data.dataset", str(DATASETS / "musdb18hq.yaml"),
             "--data.dataset.root", str(musdb_wav), "--data.dataset.subset", "train", "--data.dataset.split", "valid",
             "--model.compare", "null", "--model.method.steps", "1", "--model.targets", "[vocals]")
        )  # fmt: skip

        assert code == 0
        assert VALID in Path("logs/demo/version_0/results.csv").read_text()


def test_a_split_needs_the_train_subset() -> None:
    with pytest.raises(MdxError, match=r"set dataset\.subset to train"):
        Musdb18(subset="test", split="valid")


def test_the_root_is_given_or_that_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSDB_PATH", raising=False)
    with pytest.raises(MdxError, match=r"set dataset\.root"):
        Musdb18()
    assert Musdb18(download=True).root == Path.home() / "MUSDB18" / "MUSDB18-7"
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path))
    assert Musdb18().root == tmp_path
    assert Musdb18(tmp_path / "mine").root == tmp_path / "mine"


def test_without_ffmpeg_musdb_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("musdb", "stempeg")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MdxError, match=r"apt install ffmpeg.*dataset\.download"):
        Musdb18(tmp_path, download=True).songs()


class TestSongFolders:
    def test_moisesdb_has_a_folder_for_each_stem_whose_files_are_summed(self, tmp_path: Path) -> None:
        parts = {name: noise(0.2, seed=seed) for seed, name in enumerate(("kick", "snare", "lead", "viola"))}
        for stem, name in (("drums", "kick"), ("drums", "snare"), ("vocals", "lead"), ("bowed_strings", "viola")):
            write(tmp_path / "0a1b" / stem / f"{name}.wav", parts[name], subtype="FLOAT")
        (tmp_path / "0a1b" / "data.json").write_text("{}")

        (song,) = preset("moisesdb", root=tmp_path).songs()
        stems = {name: signal.read()[0] for name, signal in song.stems.items()}

        assert (song.name, song.path, song.mixture) == ("0a1b", tmp_path / "0a1b", None)
        assert list(stems) == ["vocals", "drums", "bowed_strings"]
        torch.testing.assert_close(stems["drums"], parts["kick"] + parts["snare"], rtol=0, atol=0)
        torch.testing.assert_close(stems["bowed_strings"], parts["viola"], rtol=0, atol=0)

    def test_a_raw_multitrack_is_sorted_by_the_first_pattern_that_fits_whatever_the_case(self, tmp_path: Path) -> None:
        names = ["01_Kick", "02_Snare_Top", "03_BASS_DI", "04_Gtr", "Lead Vox", "My_Song_Mixdown", "sub/Hat"]
        for name in names:
            write(tmp_path / "one" / f"{name}.wav", noise(0.1))

        (song,) = preset("multitrack", root=tmp_path).songs()

        found = {stem: [stream.path.stem for stream in signal.streams] for stem, signal in song.stems.items()}
        assert found == {
            "vocals": ["Lead Vox"], "drums": ["01_Kick", "02_Snare_Top", "Hat"], "bass": ["03_BASS_DI"],
            "other": ["04_Gtr"],
        }  # fmt: skip
        assert song.mixture is not None
        assert song.mixture.path.stem == "My_Song_Mixdown"

    def test_a_file_called_mixture_is_one_even_where_a_pattern_takes_everything(self, tmp_path: Path) -> None:
        for name in ("Mix", "voice", "rest"):
            write(tmp_path / "one" / f"{name}.wav", noise(0.1))

        (song,) = SongFolders(tmp_path, {"vocals": ["voice"], "other": ["*"]}).songs()

        assert song.mixture == AudioStream(tmp_path / "one" / "Mix.wav")
        assert song.stems["other"] == AudioStream(tmp_path / "one" / "rest.wav")

    def test_files_that_fit_no_pattern_are_named_in_one_line(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("drums/a", "cowbell/b", "click"):
            write(tmp_path / "one" / f"{name}.wav", noise(0.1))

        (song,) = SongFolders(tmp_path, {"drums": ["drums/*"]}).songs()

        assert list(song.stems) == ["drums"]
        (message,) = caplog.messages
        assert "click.wav, cowbell/b.wav" in message
        assert str(tmp_path / "one") in message

    def test_a_song_that_fits_no_pattern_is_at_fault_and_no_other(self, tmp_path: Path) -> None:
        write(tmp_path / "bad" / "01.wav", noise(0.1))
        write(tmp_path / "good" / "drums.wav", noise(0.1))

        bad, good = SongFolders(tmp_path, {"drums": ["drums"]}).songs()

        good.check()
        with pytest.raises(MdxError, match=r"bad: none of its files fits a pattern"):
            bad.check()

    def test_where_no_file_fits_the_pattern_of_a_source_a_pattern_is_asked_for(self, tmp_path: Path) -> None:
        write(tmp_path / "root" / "one" / "Kick.wav", noise(0.1))
        (song,) = SongFolders(tmp_path / "root", {"drums": ["*kick*"]}).songs()

        with pytest.raises(MdxError, match=r"Kick\.wav: no stem .* 'vocals'.*pattern in dataset\.stems"):
            group_stems(song.stems, ["vocals"], song)

    def test_a_stem_without_a_pattern_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"stems\.drums needs a pattern"):
            SongFolders(tmp_path, {"drums": []})

    def test_files_of_a_stem_may_differ_in_rate_length_and_channels(self, tmp_path: Path) -> None:
        low, mono = noise(0.5, rate=22050), noise(0.25, channels=1, seed=1)
        write(tmp_path / "low.wav", low, 22050, "FLOAT")
        write(tmp_path / "mono.wav", mono, RATE, "FLOAT")

        found, rate = StreamSum((AudioStream(tmp_path / "low.wav"), AudioStream(tmp_path / "mono.wav"))).read()

        expected = resample(low, 22050, RATE)
        expected[:, : mono.shape[-1]] += mono
        assert rate == RATE
        torch.testing.assert_close(found, expected)

    def test_a_multitrack_is_measured_as_its_stems_are(self, clip: dict[str, Tensor], own_folder: Path) -> None:
        plain, multitrack = own_folder / "plain", own_folder / "multitrack"
        for stem in SOURCES:
            steps = (clip[stem][:, :RATE].clamp(-0.9, 0.9) * 2**15).round()
            half = (steps / 2).floor()
            write(plain / "song" / f"{stem}.wav", steps / 2**15)
            write(multitrack / "song" / stem / "left.wav", half / 2**15)
            write(multitrack / "song" / stem / "right.wav", (steps - half) / 2**15)
        demo = ("test", "-c", str(STUDY), "--model.compare", "null", "--model.method.steps", "1",
                "--model.oracle", "false", "--model.targets", "[vocals]")  # fmt: skip

        first = main((*demo, "--data.root", str(plain)))
        given = ("--data.dataset", str(DATASETS / "moisesdb.yaml"), "--data.dataset.root", str(multitrack))
        second = main((*demo, *given))

        assert (first, second) == (0, 0)
        logs = own_folder / "logs" / "demo"
        results = (logs / "version_0" / "results.csv").read_bytes()
        assert results.count(b"\n") > 4
        assert results == (logs / "version_1" / "results.csv").read_bytes()


class TestChoosing:
    @pytest.mark.parametrize("path", sorted(DATASETS.glob("*m*.yaml")), ids=lambda path: path.stem)
    def test_every_preset_can_be_loaded_and_given_a_root(
        self, path: Path, own_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        demo = ("test", "-c", str(STUDY))

        with pytest.raises(SystemExit) as left:
            main((*demo, "--data.dataset", str(path), "--data.dataset.root", "mine", "--print_config"))

        assert left.value.code == 0
        printed = yaml.safe_load(capsys.readouterr().out)["data"]["dataset"]
        assert printed["init_args"]["root"] == "mine"
        assert printed["class_path"] == yaml.safe_load(path.read_text())["class_path"]

    def test_the_builtin_clip_is_served_where_it_is_named(self) -> None:
        module = SongDataModule(RATE, SOURCES, dataset=BuiltinClip(), trim=None)

        module.setup("test")
        assert [song.name for song in module.songs] == [TEST]

    def test_nothing_stands_in_for_songs_that_are_not_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"no songs: set data\.root .* BuiltinClip"):
            SongDataModule(RATE, SOURCES)
        with pytest.raises(MdxError, match=r"no songs: set data\.root"):
            SongDataModule(RATE, SOURCES, input=tmp_path).setup("test")

    @pytest.mark.parametrize("setting", [{"root": ""}, {"input": ""}, {"input": [""]}], ids=str)
    def test_an_empty_path_is_not_the_current_folder(self, setting: dict[str, Any]) -> None:
        with pytest.raises(MdxError, match="is empty"):
            SongDataModule(RATE, SOURCES, **setting)

    def test_a_song_in_the_current_folder_has_the_name_of_that(
        self, write_song: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(write_song("song", {"drums": noise(0.1)}))

        assert [(song.name, song.error) for song in SongFolders(".").songs()] == [("song", None)]

    def test_only_what_is_known_to_be_no_song_is_left_out(
        self, write_song: Callable[..., Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        names = ("...And Justice", "_12 x", ".hidden", "plain")
        for name in (*names, "@eaDir", "__MACOSX", "#recycle", "._plain"):
            root = write_song(name, {"drums": noise(0.1), "._drums": noise(0.1)}).parent

        songs = SongFolders(root).songs()

        assert [song.name for song in songs] == sorted(names)
        assert all([*song.stems] == ["drums"] for song in songs)
        assert "known to be no songs: 4 (#recycle, ._plain, @eaDir)" in caplog.text

    def test_a_root_and_a_data_set_at_once_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"data\.root and data\.dataset"):
            SongDataModule(RATE, SOURCES, root=tmp_path, dataset=BuiltinClip())

    def test_a_song_with_a_fault_is_named_by_a_run(self, write_song: Callable[..., Path]) -> None:
        write_song("twin", {"drums": noise(0.1)}, ".wav")
        root = write_song("twin", {"drums": noise(0.1)}, ".flac").parent

        with pytest.raises(MdxError, match=r"drums\.flac and drums\.wav"):
            SongDataModule(RATE, SOURCES, root=root).setup("test")
        (song,) = SongFolders(root).songs()
        assert isinstance(song, Song)
        assert song.error is not None
