"""Prepared sets: written by the real command, read by the real runs."""

import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.audio.lossless import exact_storage
from mdx_progressive.cli.main import main
from mdx_progressive.data.chunk_plan import first_sound
from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.datasets.folders import SongFolders
from mdx_progressive.data.prepared.dataset import PreparedSet
from mdx_progressive.data.prepared.index import StoredChunk
from mdx_progressive.data.prepared.journal import SongJournal
from mdx_progressive.data.song_reader import load_song
from mdx_progressive.evaluation.results import read_rows
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.names import safe_names
from tests.support.command import NARROW, run
from tests.support.paths import STUDY
from tests.support.processes import start_command
from tests.support.signals import RATE, SOURCES, noise

DEMO = str(STUDY)
STOPPED = "stopped by a signal; what is done is kept, and the same command resumes the run"


pytestmark = pytest.mark.usefixtures("own_folder")


def prepare(*args: object) -> int:
    """The exit code of `mdx-progressive prepare`."""
    return run("prepare", *args)


def write(path: Path, waveform: Tensor, subtype: str = "PCM_16", rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, waveform.T.numpy(), rate, subtype=subtype)
    return path


def write_song(folder: Path, seconds: float = 1.0, seed: int = 0, subtype: str = "PCM_16", rate: int = RATE) -> Path:
    for number, stem in enumerate(SOURCES):
        write(folder / f"{stem}.wav", noise(seconds, seed=10 * seed + number, level=0.05, rate=rate), subtype, rate)
    return folder


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Two songs of 16 bits, one of them with a mixture of its own."""
    for seed, name in enumerate(("one", "two")):
        write_song(tmp_path / "songs" / name, 2.5, seed)
    write(tmp_path / "songs" / "two" / "mixture.wav", noise(2.5, seed=99))
    return tmp_path / "songs"


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def index_of(root: Path) -> dict[str, Any]:
    return json.loads((root / "index.json").read_text())


class TestContent:
    def test_a_source_is_found_in_any_case_and_as_what_is_left_of_the_mixture(self, tmp_path: Path) -> None:
        vocals, rest = noise(1.5, level=0.05), noise(1.5, seed=1, level=0.05)
        write(tmp_path / "songs" / "one" / "Vocals.wav", vocals, "FLOAT")
        write(tmp_path / "songs" / "one" / "Mixture.wav", vocals + rest, "FLOAT")
        assert prepare("--data.root", "songs", "--to", "to", "--trim", "null") == 0
        module = SongDataModule(RATE, ["Instrumental", "VOCALS"], dataset=PreparedSet(tmp_path / "to"))

        module.setup("test")
        (batch,) = module.test_dataloader()

        torch.testing.assert_close(batch.references, torch.stack([rest, vocals])[None])

    def test_every_file_is_read_back_as_the_samples_of_the_song(self, tmp_path: Path) -> None:
        kinds = {"PCM_16": "int16", "PCM_24": "int24", "FLOAT": "float32"}
        for subtype in kinds:
            write_song(tmp_path / "songs" / subtype, 2.5, subtype=subtype)

        assert prepare("--data.root", "songs", "--to", "to", "--chunk", 1, "--all-chunks") == 0

        chunks = index_of(tmp_path / "to")["chunks"]
        assert len(chunks) == 6  # The half second that remains joins the second one.
        for song in SongFolders(tmp_path / "songs").songs():
            loaded = load_song(song, None, "shipped")
            for chunk in (chunk for chunk in chunks if chunk["song"] == song.name):
                place = slice(chunk["start"], chunk["start"] + chunk["length"])
                assert chunk["mixture"] is None
                for stored, expected in [
                    (chunk["uniform"], loaded.mixture),
                    *((chunk["stems"][stem], loaded.stems[stem]) for stem in SOURCES),
                ]:
                    assert stored["encoding"] == kinds[song.name]
                    assert stored["file"].endswith(".wav" if song.name == "FLOAT" else ".flac")
                    waveform, rate = AudioStream(tmp_path / "to" / stored["file"]).read()
                    assert rate == RATE
                    torch.testing.assert_close(waveform, expected[:, place], rtol=0, atol=0)

    def test_the_index_tells_start_length_depth_silence_and_checksums(self, tmp_path: Path) -> None:
        song = write_song(tmp_path / "songs" / "late", 2.0, rate=22050)
        late = noise(2.0, rate=22050)
        late[:, :11025] = 0
        write(song / "drums.wav", late, "PCM_24", 22050)
        write(song / "bass.wav", torch.zeros(2, 44100), rate=22050)
        write(song / "mixture.wav", noise(2.0, seed=5, rate=22050), rate=22050)

        assert prepare("--data.root", "songs", "--to", "to", "--chunk", 0.5) == 0

        (chunk,) = index_of(tmp_path / "to")["chunks"]
        stems = {path.stem: AudioStream(path).read()[0] for path in song.glob("*.wav") if path.stem != "mixture"}
        assert chunk["start"] == first_sound(stems, 60)
        assert 11025 - 2048 < chunk["start"] <= 11025
        assert chunk["start_seconds"] == chunk["start"] / 22050
        assert (chunk["length"], chunk["length_seconds"], chunk["sample_rate"]) == (11025, 0.5, 22050)
        assert (chunk["channels"], chunk["bit_depth"], chunk["silent"], chunk["chunk"]) == (2, 24, ["bass"], 0)
        assert chunk["stems"]["drums"]["encoding"] == "int24"
        for stored in (chunk["mixture"], chunk["uniform"], *chunk["stems"].values()):
            content = (tmp_path / "to" / stored["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == stored["sha256"]

    def test_what_is_above_full_scale_is_not_cut_off(self, tmp_path: Path) -> None:
        for stem in SOURCES:
            write(tmp_path / "songs" / "loud" / f"{stem}.wav", torch.full((2, RATE), 0.75))

        assert prepare("--data.root", "songs", "--to", "to") == 0

        (chunk,) = index_of(tmp_path / "to")["chunks"]
        assert chunk["stems"]["drums"]["encoding"] == "int16"
        assert (chunk["uniform"]["encoding"], chunk["uniform"]["file"][-4:]) == ("float32", ".wav")
        assert AudioStream(tmp_path / "to" / chunk["uniform"]["file"]).read()[0].max() == 3.0

    def test_wav_is_written_on_request(self, songs: Path) -> None:
        assert prepare("--data.root", songs, "--to", "to", "--format", "wav") == 0

        files = sorted(path.name for path in Path("to/two/000").iterdir())
        assert files == ["bass.wav", "drums.wav", "mixture.wav", "other.wav", "uniform.wav", "vocals.wav"]
        assert soundfile.info("to/two/000/drums.wav").subtype == "PCM_16"

    @pytest.mark.parametrize("bits", [16, 24])
    def test_the_ends_of_the_range_are_stored_exactly(self, tmp_path: Path, bits: int) -> None:
        end = 2 ** (bits - 1)
        samples = torch.tensor([[-end, end - 1, 1, -1, 0, 12345]], dtype=torch.float64).div(end).float()

        for audio_format in ("flac", "wav"):
            storage = exact_storage(samples, audio_format, 16)
            storage.write(tmp_path / f"a{storage.suffix}", samples, RATE)

            assert storage.encoding == f"int{bits}"
            assert torch.equal(AudioStream(tmp_path / f"a{storage.suffix}").read()[0], samples)

    def test_equal_floats_make_equal_files_at_any_time(self, tmp_path: Path) -> None:
        storage = exact_storage(noise(0.1), "flac", 16)

        storage.write(tmp_path / "first.wav", noise(0.1), RATE)
        time.sleep(1.1)  # libsndfile would note the second.
        storage.write(tmp_path / "second.wav", noise(0.1), RATE)

        assert (tmp_path / "first.wav").read_bytes() == (tmp_path / "second.wav").read_bytes()


class TestNames:
    @pytest.mark.parametrize("name", ["../up", "a/../../b", "CON", "tail. ", "x" * 400, "", "..", "a:b", "ü" * 200])
    def test_any_name_is_one_safe_folder(self, name: str, tmp_path: Path) -> None:
        (safe,) = safe_names([name]).values()

        folder = tmp_path / safe
        folder.mkdir()
        assert folder.resolve().parent == tmp_path.resolve()
        assert safe != name

    def test_names_that_a_disk_may_take_for_one_are_told_apart(self) -> None:
        names = ["song", "Song", "mixture", "a/b", "a_b", "alone"]

        found = list(safe_names(names, taken=["mixture"]).values())

        assert len({name.casefold() for name in [*found, "mixture"]}) == 7
        assert found[-1] == "alone"

    def test_a_stem_called_uniform_or_with_a_slash_has_a_file_of_its_own(self, tmp_path: Path) -> None:
        for name in ("up", "down"):
            write(tmp_path / "songs" / "odd" / f"{name}.wav", noise(0.5))
        Path("prepare.yaml").write_text(
            "data: {dataset: {class_path: SongFolders, init_args:"
            " {root: songs, stems: {uniform: [up], ../down: [down]}}}}\nto: to\n"
        )

        assert prepare("-c", "prepare.yaml") == 0

        (song,) = PreparedSet(tmp_path / "to").songs()
        assert list(song.stems) == ["uniform", "../down"]
        song.stems["../down"].read()
        assert {path.parent for path in tmp_path.joinpath("to").rglob("*.flac")} == {tmp_path / "to" / "odd" / "000"}
        assert len(list(tmp_path.joinpath("to").rglob("*.flac"))) == 3


class TestFaults:
    def test_bad_songs_are_told_at_the_end_and_the_others_done(
        self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_song(songs / "broken")
        (songs / "broken" / "drums.wav").write_bytes(b"no audio")
        write(songs / "only a mixture" / "mixture.wav", noise(1))

        code = prepare("--data.root", songs, "--to", "to")

        captured = capsys.readouterr().err
        index = index_of(tmp_path / "to")
        assert code == 1
        assert "2 of 4 songs could not be prepared" in captured.splitlines()[-1]
        assert sorted(index["failed"]) == ["broken", "only a mixture"]
        assert "drums.wav: no audio" in index["failed"]["broken"]
        assert all(reason in captured for reason in index["failed"].values())
        assert [chunk["song"] for chunk in index["chunks"]] == ["one", "two"]
        module = SongDataModule(RATE, SOURCES, dataset=PreparedSet(Path("to")))
        module.setup("test")
        batches = list(module.test_dataloader())
        assert [origin.song for batch in batches for origin in batch.origins] == ["one", "two"]
        told = {failure.song: failure.reason for failure in module.failures}
        assert told == {song: f"not prepared: {reason}" for song, reason in index["failed"].items()}

    def test_the_same_command_does_a_song_that_was_put_right_and_no_other(self, songs: Path, tmp_path: Path) -> None:
        write_song(songs / "broken", seed=7)
        whole = (songs / "broken" / "drums.wav").read_bytes()
        (songs / "broken" / "drums.wav").write_bytes(b"no audio")
        command = ("--data.root", songs, "--to")
        assert prepare(*command, "to") == 1
        done = Path("to/one/000/drums.flac").stat().st_mtime_ns

        (songs / "broken" / "drums.wav").write_bytes(whole)
        assert prepare(*command, "to") == 0

        assert Path("to/one/000/drums.flac").stat().st_mtime_ns == done
        assert prepare(*command, "fresh") == 0
        assert (tmp_path / "to" / "index.json").read_bytes() == (tmp_path / "fresh" / "index.json").read_bytes()

    def test_files_that_differ_in_rate_depth_channels_or_length_are_named(
        self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(songs / "two" / "bass.wav", noise(2.0, channels=1, rate=48000), "PCM_24", 48000)

        assert prepare("--data.root", songs, "--to", "to") == 0

        captured = capsys.readouterr().err
        differing = index_of(tmp_path / "to")["differences"]
        assert list(differing) == ["two"]
        for said in ("48000 Hz: bass.wav", "24 bit: bass.wav", "1: bass.wav", "96000 samples: bass.wav"):
            assert any(said in sentence for sentence in differing["two"])
            assert said in captured

    def test_settings_that_can_not_be_are_one_line(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for options, code, named in (
            (("--chunk", 0), 1, "--chunk must be above 0"),
            (("--trim", -3), 1, "--trim must be above 0"),
            (("--workers", 0), 1, "--workers must be 1 or more"),
            (("--format", "mp3"), 2, "mp3"),
            (("--data.dataset", "BuiltinClip"), 1, "data.root and data.dataset"),
        ):
            assert prepare("--data.root", songs, "--to", "to", *options) == code
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith("mdx-progressive: error: ")
            assert named in line
        assert not Path("to").exists()

    def test_a_folder_with_other_files_is_left_alone(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = sorted(songs.rglob("*"))

        assert prepare("--data.root", songs, "--to", songs, "--overwrite") == 1

        assert "holds other files" in capsys.readouterr().err
        assert sorted(songs.rglob("*")) == before


class TestGoingOn:
    def test_a_changed_setting_is_refused_and_overwriting_leaves_nothing_old(
        self, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ("--data.root", songs, "--to", "to", "--chunk")
        assert prepare(*command, 1, "--all-chunks") == 0
        before = (tmp_path / "to" / "index.json").read_bytes()
        capsys.readouterr()

        assert prepare(*command, 2, "--all-chunks") == 1

        assert "chunk 1.0, not 2.0" in capsys.readouterr().err
        assert (tmp_path / "to" / "index.json").read_bytes() == before
        assert prepare(*command, 2, "--format", "wav", "--overwrite") == 0
        assert not list(tmp_path.joinpath("to").rglob("*.flac"))
        assert sorted(path.name for path in Path("to/one").iterdir()) == ["000"]

    def test_an_interrupted_run_says_that_it_can_go_on(
        self, songs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("mdx_progressive.data.chunk_plan.first_sound", interrupt)
            assert prepare("--data.root", songs, "--to", "to") == 130

        assert "resumes" in capsys.readouterr().err.splitlines()[-1]
        assert prepare("--data.root", songs, "--to", "to") == 0

    def test_a_file_that_is_gone_is_written_again(self, songs: Path, tmp_path: Path) -> None:
        assert prepare("--data.root", songs, "--to", "to") == 0
        before = index_of(tmp_path / "to")
        Path("to/two/000/bass.flac").unlink()

        assert prepare("--data.root", songs, "--to", "to") == 0

        assert Path("to/two/000/bass.flac").exists()
        assert index_of(tmp_path / "to") == before

    def test_songs_whose_files_have_changed_are_prepared_again_and_no_other(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_song(songs / "three", 2.5, seed=3)
        options = ("--data.root", songs, "--chunk", "0.5", "--all-chunks", "--to")
        assert prepare(*options, "to") == 0
        untouched = {path: path.stat().st_mtime_ns for path in Path("to/two").rglob("*.flac")}
        write_song(songs / "one", 1.0, seed=8)  # Fewer chunks.
        (songs / "three" / "bass.wav").unlink()
        write(songs / "three" / "drums.wav", noise(2.5, seed=33))  # As long as before.
        capsys.readouterr()

        assert prepare(*options, "to", "--workers", 2) == 0

        said = capsys.readouterr().err
        assert [song for song in ("one", "two", "three") if f"{song}: its files have changed" in said] == [
            "one", "three",
        ]  # fmt: skip
        assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
        self.assert_same_as_fresh(Path("to"), options)

    def test_songs_that_are_gone_stay_and_are_named_until_they_are_pruned(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = ("--data.root", songs, "--chunk", "1", "--all-chunks", "--to")
        assert prepare(*options, "to") == 0
        before = index_of(Path("to"))
        Path("to/two/notes.txt").write_text("not of the set")
        (songs / "two").rename(songs / "zwei")
        capsys.readouterr()

        for _ in range(2):
            assert prepare(*options, "to") == 0

            said = capsys.readouterr().err
            assert "to: not in the data set any more" in said
            assert said.count(": two\n") == 1
            assert "--prune" in said
            chunks = index_of(Path("to"))["chunks"]
            assert [chunk for chunk in chunks if chunk["song"] != "zwei"] == before["chunks"]
            assert {song.name for song in PreparedSet(Path("to"), verify=True).songs()} == {"one", "two", "zwei"}

        assert prepare(*options, "to", "--prune") == 0

        assert "to: deleted, since the data set no longer has them: two\n" in capsys.readouterr().err
        assert [path.name for path in Path("to/two").rglob("*")] == ["notes.txt"]
        shutil.rmtree("to/two")
        self.assert_same_as_fresh(Path("to"), options)

    def test_what_was_begun_of_a_song_that_is_gone_is_pruned_too(
        self, songs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(journal: SongJournal, chunk: StoredChunk) -> None:
            add(journal, chunk)
            if journal.song == "two":
                raise KeyboardInterrupt

        add = SongJournal.add
        options = ("--data.root", songs, "--chunk", "1", "--all-chunks", "--to")
        with monkeypatch.context() as patch:
            patch.setattr(SongJournal, "add", interrupted)
            assert prepare(*options, "to") == 130
        assert {path.name for path in Path("to/two").iterdir()} == {"000", "chunks.jsonl"}
        shutil.rmtree(songs / "two")

        assert prepare(*options, "to", "--prune") == 0

        self.assert_same_as_fresh(Path("to"), options)
        assert not Path("to/two").exists()

    def test_a_song_that_comes_takes_no_file_of_one_that_is_gone(self, songs: Path) -> None:
        (songs / "two").rename(songs / "Song")
        assert prepare("--data.root", songs, "--to", "to") == 0
        (songs / "Song").rename(songs / "song")
        write_song(songs / "song", 2.5, seed=7)

        assert prepare("--data.root", songs, "--to", "to") == 0

        files = [stored["file"] for chunk in index_of(Path("to"))["chunks"] for stored in chunk["stems"].values()]
        assert len({file.casefold() for file in files}) == 3 * len(SOURCES)
        assert all(song.error is None for song in PreparedSet(Path("to"), verify=True).songs())

    def test_files_that_change_while_their_song_is_done_again_leave_nothing_of_themselves(
        self, songs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--data.root", songs, "--chunk", "0.5", "--all-chunks", "--to")
        assert prepare(*options, "to") == 0
        write_song(songs / "one", 2.5, seed=8)
        stored = []

        def interrupted(journal: SongJournal, chunk: StoredChunk) -> None:
            stored.append(chunk)
            if len(stored) == 3:
                raise KeyboardInterrupt
            add(journal, chunk)

        add = SongJournal.add
        with monkeypatch.context() as patch:
            patch.setattr(SongJournal, "add", interrupted)
            assert prepare(*options, "to") == 130
        with pytest.raises(MdxError, match="not finished"):
            PreparedSet(Path("to")).songs()
        write_song(songs / "one", 0.9, seed=9)

        assert prepare(*options, "to") == 0

        self.assert_same_as_fresh(Path("to"), options)

    def assert_same_as_fresh(self, root: Path, options: tuple[object, ...]) -> None:
        assert prepare(*options, "fresh") == 0
        found, fresh = (
            {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            for folder in (root, Path("fresh"))
        )
        assert found == fresh

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
    def test_a_killed_run_of_several_processes_is_gone_on_with_and_leaves_the_index_of_one_run_of_one(
        self, tmp_path: Path
    ) -> None:
        for seed in range(3):
            write_song(tmp_path / "songs" / f"song {seed}", 6, seed)
        options = ("--data.root", "songs", "--chunk", "0.4", "--all-chunks", "--to")
        killed = tmp_path / "killed"
        running = start_command(["prepare", *options, "killed", "--workers", "2"])
        running.wait_until(lambda: list(killed.glob("*/002")))
        started = children(running.pid)
        running.kill()

        until = time.monotonic() + 240
        while any(Path(f"/proc/{pid}").exists() for pid in started):  # They must not go on beside the next run.
            assert time.monotonic() < until
            time.sleep(0.05)
        assert not index_of(killed)["finished"]
        with pytest.raises(MdxError, match="not finished"):
            PreparedSet(killed).songs()
        done = {
            killed / stored.file: (killed / stored.file).stat().st_mtime_ns
            for journal in killed.glob("*/chunks.jsonl")
            for chunk in SongJournal(journal, journal.parent.name).chunks().values()
            for stored in chunk.files
        }
        assert 2 * 5 <= len(done) < 3 * 15 * 5
        with next(killed.glob("*/chunks.jsonl")).open("a") as journal:
            journal.write('{"song": "song 0", "chu')  # As a kill in the middle of a line leaves it.

        assert prepare(*options, "killed", "--workers", 2) == 0
        assert prepare(*options, "alone") == 0

        assert {path: path.stat().st_mtime_ns for path in done} == done
        alone = tmp_path / "alone"
        assert (killed / "index.json").read_bytes() == (alone / "index.json").read_bytes()
        written = [sorted(path.relative_to(root) for path in root.rglob("*")) for root in (killed, alone)]
        assert written[0] == written[1]
        assert all(song.error is None for song in PreparedSet(killed, verify=True).songs())

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the workers in /proc")
    @pytest.mark.parametrize(
        ("whom", "how", "workers", "code", "told"),
        [
            ("main", signal.SIGTERM, 1, 143, STOPPED),
            ("main", signal.SIGTERM, 2, 143, STOPPED),
            ("main", signal.SIGINT, 2, 130, STOPPED),
            (
                "worker",
                signal.SIGKILL,
                2,
                1,
                "a worker process was killed, perhaps out of memory: run the command again",
            ),
        ],
    )
    def test_stopped_in_the_midst_of_songs_it_ends_soon_and_the_same_command_goes_on_to_the_same_files(
        self, tmp_path: Path, whom: str, how: signal.Signals, workers: int, code: int, told: str
    ) -> None:
        for seed in range(2):
            write_song(tmp_path / "songs" / f"song {seed}", 5, seed)
        options = ("--data.root", "songs", "--chunk", "0.2", "--all-chunks", "--to")
        running = start_command(["prepare", *options, "to", "--workers", str(workers)])
        running.wait_until(lambda: list(Path("to").glob("*/003")))
        if whom == "main":
            running.send(how)
        else:
            os.kill(next(pid for pid in children(running.pid) if b"spawn_main" in command_line(pid)), how)
        ended = running.wait()

        assert ended.exit_code == code
        lines = [line for line in ended.err.splitlines() if line.strip()]
        assert lines[-2:-1] == ["to: 0 of 2 songs complete"]
        assert lines[-1].startswith(f"mdx-progressive: error: {told}")
        assert not list(Path("to").rglob(".*"))
        assert len(list(Path("to").glob("*/[0-9]*"))) < 2 * 22
        assert prepare(*options, "to", "--workers", workers) == 0
        self.assert_same_as_fresh(Path("to"), options)


class TestReading:
    def test_a_run_on_it_has_the_results_of_a_run_on_the_songs(self, songs: Path, shared_songs: Path) -> None:
        shutil.copytree(shared_songs / "ev3_lithium", songs / "ev3_lithium")
        shutil.rmtree(songs / "one")
        cut = ("--chunk", "1.5")
        assert prepare("--data.root", songs, "--to", "to", *cut) == 0
        demo = ("test", "-c", DEMO, *NARROW, "--model.compare", "null", "--model.method.steps", "1",
                "--model.oracle", "false", "--model.targets", "[vocals]", "--data.batch_size", "2")  # fmt: skip

        assert main((*demo, "--data.root", str(songs), "--data.chunk", "1.5", "--data.trim", "60")) == 0
        assert main((*demo, "--data.dataset", "PreparedSet", "--data.dataset.root", "to")) == 0

        results = [Path(f"logs/demo/version_{run}/results.csv").read_bytes() for run in (0, 1)]
        assert results[0] == results[1]
        assert set(read_rows(Path("logs/demo/version_1/results.csv"))["song"]) == {"ev3_lithium", "two"}

    def test_nothing_is_read_before_the_chunks_are_wanted(self, songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert prepare("--data.root", songs, "--to", "to", "--chunk", 1, "--all-chunks") == 0
        read: list[Path] = []
        whole = AudioStream.read

        def counted(stream: AudioStream) -> tuple[Tensor, int]:
            read.append(stream.path)
            return whole(stream)

        monkeypatch.setattr(AudioStream, "read", counted)
        module = SongDataModule(RATE, SOURCES, dataset=PreparedSet(Path("to")), batch_size=4)

        module.setup("test")
        assert read == []
        batches = list(module.test_dataloader())

        found = sorted((origin.song, origin.chunk) for batch in batches for origin in batch.origins)
        assert found == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]
        assert len(read) == 2 * 4 + 2 * 5

    def test_songs_at_another_rate_are_resampled(self, tmp_path: Path) -> None:
        for seed in range(2):
            write_song(tmp_path / "songs" / f"low {seed}", 1.2345, seed, rate=22050)
        assert prepare("--data.root", "songs", "--to", "to") == 0
        assert {chunk["sample_rate"] for chunk in index_of(tmp_path / "to")["chunks"]} == {22050}
        module = SongDataModule(RATE, SOURCES, dataset=PreparedSet(Path("to")), batch_size=2)

        module.setup("test")
        (batch,) = list(module.test_dataloader())

        assert batch.mixture.shape == (2, 2, 2 * int(1.2345 * 22050))
        assert batch.references is not None
        torch.testing.assert_close(batch.mixture, batch.references.sum(dim=1))
        assert [(origin.sample_rate, origin.length) for origin in batch.origins] == [(22050, int(1.2345 * 22050))] * 2

    def test_chunks_are_separated_into_folders_of_their_own(self, songs: Path) -> None:
        shutil.rmtree(songs / "two")
        assert prepare("--data.root", songs, "--to", "to", "--chunk", 1, "--all-chunks") == 0

        code = main(("predict", "-c", DEMO, "--data.dataset", "PreparedSet", "--data.dataset.root", "to",
                     "--model.method.steps", "1", "--model.targets", "[vocals]", "--out", "separated"))  # fmt: skip

        assert code == 0
        written = sorted(path.relative_to("separated").as_posix() for path in Path("separated").rglob("*.wav"))
        assert written == ["one/0/vocals.wav", "one/1/vocals.wav"]

    def test_files_that_changed_or_are_gone_are_found_by_verifying(self, songs: Path) -> None:
        assert prepare("--data.root", songs, "--to", "to") == 0
        changed = Path("to/one/000/bass.flac")
        samples, rate = soundfile.read(changed, dtype="int16")
        soundfile.write(changed, np.roll(samples, 1, axis=0), rate)
        Path("to/two/000/drums.flac").unlink()

        one, two = PreparedSet(Path("to"), verify=True).songs()

        with pytest.raises(MdxError, match=r"one/000/bass\.flac changed"):
            one.check()
        with pytest.raises(MdxError, match=r"two/000/drums\.flac missing"):
            two.check()
        for song in PreparedSet(Path("to")).songs():
            song.check()

    def test_an_index_that_is_none_or_of_another_version_is_named(self, songs: Path, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"prepare --to"):
            PreparedSet(tmp_path).songs()
        assert prepare("--data.root", songs, "--to", "to") == 0
        index = index_of(tmp_path / "to")
        escaping = {
            **index,
            "chunks": [{**index["chunks"][0], "uniform": {"file": "../x", "encoding": "", "sha256": ""}}],
        }

        for content, named in (
            ({**index, "version": 99}, "version 99"),
            ({"version": 1}, r"index\.json: is no index"),
            ([], r"index\.json: is no index"),
            (escaping, "outside of the set"),
        ):
            Path("to/index.json").write_text(json.dumps(content))
            with pytest.raises(MdxError, match=named):
                PreparedSet(Path("to")).songs()

    def test_a_prepared_set_is_not_prepared_again(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert prepare("--data.root", songs, "--to", "to") == 0

        assert prepare("--data.dataset", "PreparedSet", "--data.dataset.root", "to", "--to", "again") == 1

        assert "prepared already" in capsys.readouterr().err
