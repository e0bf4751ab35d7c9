"""Faults of files, disks and processes, caused for real: the others go on, nothing that is done is lost."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from demucs.htdemucs import HTDemucs
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor

from mdx_progressive.audio.encode import Wav
from mdx_progressive.data.batch import ChunkBatch
from mdx_progressive.data.block_reader import BlockReader, SongBlock
from mdx_progressive.data.chunk_plan import ChunkSpan
from mdx_progressive.data.chunk_reader import ChunkReader
from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.song_stream import SongStream
from mdx_progressive.evaluation.results import read_rows
from mdx_progressive.output import song_writer as song_files
from mdx_progressive.runtime import text_name
from tests.support.command import NARROW, run
from tests.support.paths import STUDY, STUDY_HTDEMUCS
from tests.support.privileges import drop_privileges
from tests.support.processes import run_command, start_command
from tests.support.signals import RATE, SOURCES, noise

SPLEETER = ("-c", str(STUDY), "--model.method.steps", "0")


def write(path: Path, seconds: float = 0.3, level: float = 0.1, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, 2, rate=rate, level=level).T.numpy(), rate)
    return path


@pytest.fixture
def songs(own_folder: Path) -> Path:
    """A folder with a good song."""
    write(own_folder / "in" / "good.wav")
    return own_folder / "in"


def predict(*more: object) -> int:
    return run("predict", *SPLEETER, "--data.input", "in", "--out", "out", *more)


COMMAND = ["predict", *SPLEETER, "--data.input", "in", "--out", "out"]
"""For processes of their own."""


def stems(song: str) -> list[str]:
    return sorted(path.name for path in Path("out", song).iterdir())


def measure(*more: object) -> int:
    """`test` on songs/, as quickly as can be."""
    quick = ("--model.method.steps", "1", "--model.compare", "null", "--model.metrics", "[SiSdr]", *NARROW)
    return run("test", "-c", STUDY, *quick, "--data.root", "songs", "--data.trim", "null", *more)


BOTH = ["accompaniment.wav", "vocals.wav"]


def cut(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    return path


def not_finite(path: Path, value: float) -> None:
    samples = np.zeros((9000, 2), np.float32)
    samples[4000] = value
    soundfile.write(path, samples, RATE, subtype="FLOAT")


BAD: dict[str, Callable[[Path], object]] = {
    "cut.wav": lambda path: cut(write(path)),
    "cut.flac": lambda path: cut(write(path)),
    "cut.ogg": lambda path: cut(write(path)),
    "cut.mp3": lambda path: cut(write(path, 2)),
    "cut.aiff": lambda path: cut(write(path)),
    "empty.wav": lambda path: path.write_bytes(b""),
    "text.mp3": lambda path: path.write_text("no audio at all"),
    "nothing.wav": lambda path: soundfile.write(path, np.zeros((0, 2)), RATE),
    "nan.wav": lambda path: not_finite(path, np.nan),
    "inf.wav": lambda path: not_finite(path, np.inf),
    "dangling.wav": lambda path: path.symlink_to("nowhere.wav"),
    "loop.wav": lambda path: path.symlink_to("loop.wav"),
    "pipe.wav": os.mkfifo,
    "slow.wav": lambda path: write(path, rate=1, seconds=9),
}


class TestFiles:
    def test_bad_ones_are_named_and_the_good_one_is_done(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name, make in BAD.items():
            (songs / name.split(".")[1]).mkdir(exist_ok=True)
            make(songs / name.split(".")[1] / name)

        assert predict() == 1

        said = capsys.readouterr().err
        last = said.split("error: ")[-1]
        assert last.startswith(f"{len(BAD)} songs failed, all others are complete:\n")
        assert [line for line in last.splitlines()[1:] if not any(name in line for name in BAD)] == []
        assert "Traceback" not in said
        assert stems("good") == BOTH
        assert [path.name for path in Path("out").iterdir()] == ["good"]

    def test_silence_and_a_single_sample_are_separated(self, songs: Path) -> None:
        soundfile.write(songs / "silence.wav", np.zeros((5000, 2)), RATE)
        soundfile.write(songs / "one.wav", np.full((1, 2), 0.5), RATE)

        assert predict() == 0

        for name, length in (("silence", 5000), ("one", 1)):
            for stem in BOTH:
                samples, rate = soundfile.read(f"out/{name}/{stem}")
                assert (samples.shape, rate) == ((length, 2), RATE)
                assert np.isfinite(samples).all()

    def test_two_that_would_be_written_to_one_folder_are_named_and_the_others_done(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(songs / "a.wav")
        write(songs / "a.flac")

        assert predict() == 1

        assert "a.flac and in/a.wav: would be written to one folder, a; rename one" in capsys.readouterr().err
        assert [path.name for path in Path("out").iterdir()] == ["good"]

    @pytest.mark.parametrize("out", ["in/stems", "in"])
    def test_estimates_that_lie_among_the_songs_are_no_songs(self, songs: Path, out: str) -> None:
        write(songs / "album" / "song.wav")
        assert predict("--out", out, *NARROW) == 0
        before = {path: path.stat().st_mtime_ns for path in songs.rglob("*.*")}

        assert predict("--out", out, *NARROW) == 0

        assert {path: path.stat().st_mtime_ns for path in songs.rglob("*.*")} == before
        assert len(before) == 2 + 2 * len(BOTH)

    def test_one_file_by_several_ways_is_one_song(self, songs: Path) -> None:
        Path("link").symlink_to(songs)

        assert run("predict", *SPLEETER, "in", "link", "in/../in/good.wav", "--out", "out") == 0

        assert stems("good") == BOTH

    def test_a_file_where_a_folder_is_wanted_is_named_and_the_others_are_done(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(songs / "bad.wav")
        Path("out").mkdir()
        Path("out/bad").touch()

        assert predict(*NARROW) == 1

        assert "out/bad: could not be written to" in capsys.readouterr().err.split("error: ")[-1]
        assert stems("good") == BOTH

    @pytest.mark.parametrize("target", ["../../in/good.wav", "nowhere.wav", "vocals.wav"])
    def test_a_link_in_the_place_of_a_stem_is_replaced_and_what_it_points_to_left_alone(
        self, songs: Path, target: str
    ) -> None:
        song = (songs / "good.wav").read_bytes()
        Path("elsewhere/good").mkdir(parents=True)
        Path("out").symlink_to("elsewhere")
        Path("out/good/vocals.wav").symlink_to(target)

        assert predict(*NARROW, "--writer.overwrite", "true") == 0

        assert stems("good") == BOTH
        assert not Path("elsewhere/good/vocals.wav").is_symlink()
        assert (songs / "good.wav").read_bytes() == song
        assert sorted(path.name for path in Path("elsewhere").iterdir()) == ["good"]

    def test_a_second_run_elsewhere_writes_the_same_bytes(self, songs: Path) -> None:
        for out in ("out", "again"):
            assert run("predict", *SPLEETER, *NARROW, "--data.input", "in", "--out", out) == 0

        for name in BOTH:
            assert Path("out/good", name).read_bytes() == Path("again/good", name).read_bytes()

    def test_a_loop_of_folders_is_walked_once(self, songs: Path) -> None:
        (songs / "again").symlink_to(".")

        assert predict() == 0

        assert [path.name for path in Path("out").iterdir()] == ["good"]

    @pytest.mark.skipif(os.name != "posix", reason="names are not bytes here")
    def test_any_legal_name_is_a_song(self, songs: Path) -> None:
        legal = bytes(sorted(set(range(1, 256)) - set(b"/.")))
        names = [b"x" + legal[:120], b"x" + legal[120:], b"-c", b"ends with space ", b"x" * 251]
        names += ["é".encode(), "e\u0301".encode(), b"Case", b"case", b"http:x", b"concat:x", b"two\nlines"]
        names += [b"AUX", b"a:b", b"what?", b"Wait...", b"COM1"]  # Windows refuses these or takes them for others.
        source = write(songs / "good.wav", 0.05)
        for name in names:
            shutil.copy(os.fsencode(source), os.path.join(os.fsencode(songs), name + b".wav"))

        assert predict() == 0

        expected = {text_name(os.fsdecode(name)) for name in names}
        assert {path.name for path in Path("out").iterdir()} == {*expected, "good"}
        assert all(stems(path.name) == BOTH for path in Path("out").iterdir())

    def test_a_name_that_leads_out_of_the_folder_is_refused(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copy(songs / "good.wav", songs / "...wav")

        assert run("predict", *SPLEETER, "in/...wav", "in/good.wav", "--out", "out") == 1

        assert "leads out of the output folder" in capsys.readouterr().err
        assert not Path("vocals.wav").exists()
        assert stems("good") == BOTH

    @pytest.mark.parametrize(
        ("block", "seconds", "rate", "inplace"),
        [(0, 4, RATE, False), (0, 3, 22050, False), (1, 2, RATE, True), (1, 3, RATE, False)],
        ids=["longer", "other rate", "shorter, in place", "as long"],
    )
    def test_one_that_is_swapped_while_it_is_read_is_named_and_not_written(
        self,
        songs: Path,
        small_htdemucs_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        block: int,
        seconds: float,
        rate: int,
        inplace: bool,
    ) -> None:
        song, other = write(songs / "song.wav", 3), write(Path("other.wav"), seconds, 0.2, rate)
        network = ("-c", STUDY_HTDEMUCS, "--model.separator.weights", small_htdemucs_file)
        once = ("--model.method.steps", "0", "--model.targets", "[vocals]", "--data.block", "1")
        places = ("--data.input", "in", "--out", "out")
        read = BlockReader.__call__

        def swapped(self: BlockReader, place: SongBlock) -> ChunkBatch:
            if place.song.name == "song" and place.chunk == block:
                if inplace:
                    song.write_bytes(other.read_bytes())
                else:
                    other.replace(song)
            return read(self, place)

        monkeypatch.setattr(BlockReader, "__call__", swapped)
        assert run("predict", *network, *once, *places) == 1

        last = capsys.readouterr().err.split("error: ")[-1]
        assert "song.wav: " in last
        assert inplace or "was changed while it was in use" in last
        assert [path.name for path in Path("out").iterdir()] == ["good"]

        monkeypatch.setattr(BlockReader, "__call__", read)
        assert run("predict", *network, *once, *places) == 0
        assert soundfile.info("out/song/vocals.wav").duration == seconds

    @pytest.mark.parametrize("inplace", [False, True])
    def test_one_that_is_swapped_while_its_complement_is_written_is_named_and_not_written(
        self, songs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], inplace: bool
    ) -> None:
        song, other = write(songs / "song.wav"), write(Path("other.wav"), level=0.2)
        level = float(np.abs(soundfile.read(other)[0]).max())

        class Swapped(SongStream):
            def read(self, start: int, stop: int) -> Tensor:
                read = super().read(start, stop)
                if self.song.name == "song" and inplace:
                    song.write_bytes(other.read_bytes())
                elif self.song.name == "song":
                    os.replace(other, song)
                return read

        complement = (*NARROW, "--writer.complement", "vocals")
        monkeypatch.setattr(song_files, "SongStream", Swapped)
        assert predict(*complement) == 1

        last = capsys.readouterr().err.split("error: ")[-1]
        assert "song.wav: was changed while it was in use" in last
        assert [path.name for path in Path("out").iterdir()] == ["good"]

        monkeypatch.undo()
        os.chdir(songs.parent)
        assert predict(*complement) == 0
        total = soundfile.read("out/song/vocals.wav")[0] + soundfile.read("out/song/no_vocals.wav")[0]
        assert np.abs(total).max() == pytest.approx(level)

    def test_what_can_not_be_measured_is_named_and_the_others_are_measured(
        self, own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        songs = Path("songs")
        for name in ("good", "lengths", "rates", "nan", "silent", "one", "text", "swapped"):
            for stem in ("vocals", "accompaniment"):
                write(songs / name / f"{stem}.wav", 0.3)
        write(songs / "lengths" / "vocals.wav", 0.1)
        write(songs / "rates" / "vocals.wav", 0.3, rate=48000)
        not_finite(songs / "nan" / "vocals.wav", np.nan)
        for stem in ("vocals", "accompaniment"):
            write(songs / "silent" / f"{stem}.wav", level=0)
            write(songs / "one" / f"{stem}.wav", 1.5 / RATE)
        (songs / "text" / "mixture.wav").write_text("no audio at all")
        read = ChunkReader.__call__

        def swapped(self: ChunkReader, place: ChunkSpan) -> ChunkBatch:
            if place.song.name == "swapped":
                write(songs / "swapped" / "vocals.wav", 0.2)
            return read(self, place)

        monkeypatch.setattr(ChunkReader, "__call__", swapped)
        metrics = "[SiSdr, Sdr, BssEval, LogSpectralDistance, LogWmse]"
        assert measure("--trainer.logger", "false", "--sound.songs", "0", "--model.metrics", metrics) == 1

        said = capsys.readouterr().err
        last = said.split("error: ")[-1]
        assert last.startswith("3 songs failed, all others are complete:\n")
        for told in ("nan/vocals.wav: a sample", "text/mixture.wav: no audio", "swapped/vocals.wav: was changed"):
            assert told in last
        assert "songs/lengths: its files differ in length" in said
        rows = read_rows(Path("logs/results.csv"))
        assert set(rows["song"]) == {"good", "lengths", "rates", "silent", "one"}
        assert rows.loc[rows["song"] == "silent", "value"].isna().all()
        assert rows.loc[(rows["song"] == "good") & (rows["metric"] == "si_sdr"), "value"].notna().all()

    def test_a_second_run_does_what_was_missing(self, songs: Path) -> None:
        bad = cut(write(songs / "bad.wav"))
        assert predict() == 1
        before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.wav")}
        write(bad)

        assert predict() == 0

        assert stems("bad") == BOTH
        assert all(path.stat().st_mtime_ns == date for path, date in before.items())


@pytest.fixture
def full_disk(own_folder: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = own_folder / "out"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)],  # noqa: S607
                             check=False, capture_output=True)  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("a small file system can't be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)  # noqa: S607


class TestDisks:
    def test_a_full_disk_keeps_what_is_done(
        self, songs: Path, full_disk: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write(songs / "long.wav", 4)

        assert predict("--log-json", "log.jsonl") == 1

        last = json.loads(Path("log.jsonl").read_text().splitlines()[-1])
        assert (last["event"], last["exit_code"]) == ("run_ended", 1)
        assert "out" in last["error"]
        said = capsys.readouterr().err.split("error: ")[-1]
        assert "out" in said
        assert "long" in said or "nothing more can be written" in said
        assert stems("good") == BOTH
        assert soundfile.read("out/good/vocals.wav")[0].shape[0] == int(0.3 * RATE)
        assert not list(full_disk.rglob("*.part"))
        assert not list(full_disk.glob("long/*.wav"))

    def test_a_full_disk_beneath_the_logs_is_named_and_the_run_goes_on_when_there_is_room(
        self, own_folder: Path, full_disk: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for number, stem in enumerate(("vocals", "accompaniment")):
            write(own_folder / "songs" / "song" / f"{stem}.wav", 1, 0.1 + number)
        filler = full_disk / "filler"
        subprocess.run(["mount", "-o", "remount,size=4m", str(full_disk)], check=True)  # noqa: S607 - room for pictures
        filler.write_bytes(bytes(2**22 - 3 * 2**16))

        assert measure("--trainer.logger.init_args.save_dir", full_disk) == 1

        said = capfd.readouterr().err
        folder = full_disk / "demo" / "version_0"
        assert re.search(rf"error: {folder}.*No space left on device.*; what is done is kept", said)
        assert "Traceback" not in said
        assert not (folder / "results.csv").exists()
        assert not list(folder.rglob(".*.part"))

        filler.unlink()
        assert measure("--trainer.logger.init_args.save_dir", full_disk) == 0
        assert len(list(full_disk.glob("demo/*/results.csv"))) == 1

    def test_a_file_that_may_not_grow_is_named_and_the_others_are_done(self, songs: Path) -> None:
        write(songs / "long.wav", 10)

        ended = run_command(COMMAND, prepare=limit_files)

        assert ended.exit_code == 1
        assert "long" in ended.err.split("error: ")[-1]
        assert "Traceback" not in ended.err
        assert stems("good") == BOTH
        assert not list(Path("out").rglob("*.part"))
        assert not list(Path("out/long").glob("*.wav"))

    def test_what_may_not_be_read_or_written_is_named(self, songs: Path) -> None:
        write(songs / "secret.wav").chmod(0)
        write(songs / "closed" / "song.wav").parent.chmod(0)
        Path("fixed").mkdir(mode=0o555)

        ended = run_command(COMMAND, prepare=drop_privileges)
        refused = run_command([*COMMAND, "--out", "fixed"], prepare=drop_privileges)

        assert ended.exit_code == refused.exit_code == 1
        last = ended.err.split("error: ")[-1]
        assert "secret.wav" in last
        assert "Permission denied" in last
        assert "closed: can't be read" in last
        assert stems("good") == BOTH
        assert "fixed: nothing more can be written there" in refused.err
        assert "Traceback" not in ended.err + refused.err

    @pytest.mark.parametrize("out", ["in/good.wav", "in/good.wav/out"])
    def test_a_file_in_the_place_of_the_folder_is_named(
        self, songs: Path, out: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert predict("--out", out, *NARROW) == 1

        assert capsys.readouterr().err.endswith(
            f"error: {out}: is no folder, or is within a file: set --out to another one\n"
        )

    def test_logs_that_are_read_only_are_one_line_of_test_and_nothing_to_predict(self, songs: Path) -> None:
        Path("fixed").mkdir(mode=0o555)
        options = [*COMMAND[1:], "--trainer.logger.init_args.save_dir", "fixed"]

        measured, separated = (run_command([name, *options], prepare=drop_privileges) for name in ("test", "predict"))

        assert (measured.exit_code, separated.exit_code) == (1, 0)
        assert re.search(r"error: .*fixed.*: Permission denied$", measured.err.splitlines()[-1])
        assert "Traceback" not in measured.err
        assert "fixed" not in separated.err


def limit_files() -> None:
    """No file of this process may become longer than 2.5 MB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_500_000, 2_500_000))


def kill_readers() -> None:
    """Each process that reads ahead kills itself."""

    def killed(self: BlockReader, place: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    pytest.MonkeyPatch().setattr(BlockReader, "__call__", killed)


class TestProcesses:
    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_killed_at_any_moment_it_goes_on_to_the_same_files(self, songs: Path, how: signal.Signals) -> None:
        for number in range(3):
            write(songs / f"{number}.wav", 1)
        assert predict("--out", "whole") == 0
        for passed in (0.0, 0.1):
            running = start_command(COMMAND)
            running.wait_until(lambda: list(Path("out").rglob("*.npy")))
            time.sleep(passed)
            running.send(how)
            running.wait()
            for path in Path("out").glob("*/*.wav"):
                assert path.read_bytes() == Path("whole", path.parent.name, path.name).read_bytes()

        assert predict() == 0

        for path in Path("whole").rglob("*.wav"):
            assert Path("out", *path.parts[1:]).read_bytes() == path.read_bytes()
        assert not list(Path("out").rglob(".*"))

    @pytest.mark.parametrize("pattern", ["{song}/{source}", "{source}/{song}"])
    def test_killed_while_it_writes_a_song_the_next_run_leaves_stems_and_nothing_else(
        self, songs: Path, pattern: str
    ) -> None:
        command = [*COMMAND, *NARROW, "--writer.name", pattern]
        assert run_command(command, prepare=kill_writers).exit_code == -signal.SIGKILL
        assert len(list(Path("out").rglob("*.part"))) == len(BOTH)

        assert run(*command) == 0

        expected = {pattern.format(song="good", source=stem.removesuffix(".wav")) + ".wav" for stem in BOTH}
        assert {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()} == expected
        assert all(any(path.iterdir()) for path in Path("out").rglob("*") if path.is_dir())

    @pytest.mark.parametrize("where", ["_chunk_spans", "test_dataloader"], ids=["songs are read", "before a chunk"])
    def test_killed_before_anything_is_measured_the_next_run_takes_its_place(
        self, own_folder: Path, where: str
    ) -> None:
        for stem in ("vocals", "accompaniment"):
            write(Path("songs", "song", f"{stem}.wav"))
        quick = ("--model.method.steps", "0", "--model.compare", "null", "--model.metrics", "[SiSdr]", *NARROW)
        command = ["test", "-c", str(STUDY), *quick, "--data.root", "songs", "--data.trim", "null"]
        killed = run_command([*command, "--sound.songs", "0"], prepare=partial(kill_at, where))
        assert killed.exit_code == -signal.SIGKILL
        assert Path("logs/demo/version_0").exists()

        assert run(*command, "--sound.songs", "0") == 0

        assert [path.name for path in Path("logs/demo").iterdir()] == ["version_0"]
        assert Path("logs/demo/version_0/results.csv").exists()
        assert not Path("logs/demo/version_0/.lock").exists()

    def test_a_reading_process_that_is_killed_is_one_line(self, songs: Path) -> None:
        ended = run_command([*COMMAND, "--data.num_workers", "1"], prepare=kill_readers)

        assert ended.exit_code == 1
        assert "a data.num_workers process was killed" in ended.err.splitlines()[-1]
        assert predict() == 0


def kill_at(method: str) -> None:
    """A process kills itself where a method of the data module is called."""

    def killed(self: SongDataModule) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    pytest.MonkeyPatch().setattr(SongDataModule, method, killed)


def kill_writers() -> None:
    """A process kills itself when a stem is encoded, before the file has its name."""

    def killed(self: Wav, *arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    pytest.MonkeyPatch().setattr(Wav, "close", killed)


def refuse_batches(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Networks of Demucs find no memory for more than so many segments."""
    forward = HTDemucs.forward

    def limited(self: HTDemucs, mix: Tensor) -> Tensor:
        if len(mix) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, mix)

    monkeypatch.setattr(HTDemucs, "forward", limited)


class TestMemory:
    @pytest.fixture
    def small(self, small_htdemucs_file: Path) -> tuple[object, ...]:
        return (
            *("-c", STUDY_HTDEMUCS, "--model.separator.weights", small_htdemucs_file),
            *("--model.separator.batch_size", "8", "--model.targets", "[bass,vocals]", "--model.method.steps", "1"),
            *("--data.block", "1", "--data.input", "in", "--data.root", "in", "--data.trim", "null"),
            *("--sound.songs", "0", "--trainer.logger", "false", "--model.oracle", "false", "--model.metrics", "[Sdr]"),
        )

    def test_a_batch_that_does_not_fit_is_halved_to_the_same_result(
        self,
        songs: Path,
        small: tuple[object, ...],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for number, stem in enumerate(SOURCES):
            write(songs / "good" / f"{stem}.wav", 1.2, level=0.1 + 0.02 * number)
        for name in ("whole", "halved"):
            if name == "halved":
                refuse_batches(monkeypatch, 3)
            assert run("predict", *small, "--out", name, "--data.input", "in/good/bass.wav") == 0
            assert run("test", *small, "--trainer.default_root_dir", f"{name} logs") == 0

        said = capsys.readouterr().err
        # Once for each of the commands: segments of both targets, of a second, in steps of 0.75.
        assert said.count("4 segments at once do not fit into the memory of cpu: continuing with 2") == 2
        for path in Path("whole/bass").iterdir():
            halved = soundfile.read(Path("halved/bass", path.name))[0]
            np.testing.assert_allclose(halved, soundfile.read(path)[0], rtol=0, atol=1e-6)
        before, after = (read_rows(Path(f"{name} logs", "results.csv")) for name in ("whole", "halved"))
        np.testing.assert_allclose(after["value"], before["value"], rtol=0, atol=1e-3)

    def test_what_does_not_fit_alone_is_one_line(
        self,
        songs: Path,
        small: tuple[object, ...],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        refuse_batches(monkeypatch, 0)

        assert run("predict", *small, "--out", "out") == 1

        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(
            "mdx-progressive: error: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.)"
        )
        assert "data.block" in last


class TestAnySong:
    @given(
        length=some.integers(1, 9000),
        rate=some.sampled_from([8000, 22050, 32000, 44100, 48000, 96000]),
        channels=some.sampled_from([1, 2, 3, 6]),
        level=some.sampled_from([0.0, 1e-30, 1e-6, 1e-3, 1.0, 1e6]),
        offset=some.sampled_from([0.0, 0.5, -1e3]),
    )
    @settings(max_examples=8, deadline=None)
    def test_its_estimates_have_its_rate_length_and_channels(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        length: int,
        rate: int,
        channels: int,
        level: float,
        offset: float,
    ) -> None:
        folder, shape = tmp_path_factory.mktemp("any"), (length, channels)
        samples = level * np.random.default_rng(length).normal(size=shape) + offset
        soundfile.write(folder / "a.wav", samples.astype(np.float32), rate, subtype="FLOAT")

        places = ("--data.input", folder / "a.wav", "--out", folder / "out")
        assert run("predict", *SPLEETER, *NARROW, *places, "--trainer.logger", "false") == 0

        for stem in BOTH:
            estimate, own = soundfile.read(folder / "out" / "a" / stem, always_2d=True)
            assert own == rate
            assert estimate.shape == shape
            assert np.isfinite(estimate).all()
