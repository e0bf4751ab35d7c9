"""Several runs that write to one folder at the same time: real processes, one of which stands still meanwhile."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile

from mdx_progressive.cli.main import main
from mdx_progressive.output.claims import Claims
from tests.support.paths import STUDY_HTDEMUCS
from tests.support.processes import Running, Stop, run_command, start_command
from tests.support.signals import RATE, noise

SONGS = {"a": 3.9, "b": 1.7, "c": 0.3}
Stopped = Callable[[list[str]], Running]


def predict(songs: str, *more: str) -> list[str]:
    return [
        *("predict", "-c", str(STUDY_HTDEMUCS), "--model.separator.weights", "small.safetensors"),
        *("--model.method.steps", "0", "--trainer.logger", "false", "--targets", "vocals", "--data.block", "1"),
        *(*(f"in/{song}.wav" for song in songs), "--out", "out", *more),
    ]


@pytest.fixture
def songs(own_folder: Path, small_htdemucs_file: Path) -> None:
    """A song of several blocks and two of one, beside the weights of a small network."""
    shutil.copy(small_htdemucs_file, "small.safetensors")
    Path("in").mkdir()
    for name, seconds in SONGS.items():
        soundfile.write(f"in/{name}.wav", noise(seconds).T.numpy(), RATE)


@pytest.fixture
def stopped() -> Iterator[Stopped]:
    """Starts a command, which stands still when it has kept one block."""
    commands = []

    def stop(arguments: list[str]) -> Running:
        commands.append(command := start_command(arguments, Stop(signal.SIGSTOP, after=1)))
        command.wait_until(lambda: list(Path("out").glob("*/.blocks-*/0*.npy")))
        return command

    yield stop
    for command in commands:
        command.kill()


def resume(command: Running) -> int:
    command.send(signal.SIGCONT)
    return command.wait().exit_code


def files() -> list[str]:
    return sorted(str(path.relative_to("out")) for path in Path("out").rglob("*") if not path.is_dir())


@pytest.mark.usefixtures("songs")
class TestOtherSongs:
    def test_a_song_that_another_run_is_at_is_left_to_it(
        self, stopped: Stopped, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = stopped(predict("ab"))

        assert main(predict("bc", "--log-json", "log.jsonl")) == 1

        last = capsys.readouterr().err.split("error: ")[-1]
        assert last == ("out: skipped, another run is writing them: b; repeat the command when it has ended\n")
        lines = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
        assert [line["song"] for line in lines if line["event"] == "song_left"] == ["b"]
        assert [lines[-1][key] for key in ("written", "failed", "left", "exit_code")] == [1, 0, 1, 1]
        assert [file for file in files() if "/vocals" in file] == ["c/vocals.wav"]
        assert resume(first) == 0
        assert main(predict("bc")) == 0
        assert files() == ["a/vocals.wav", "b/vocals.wav", "c/vocals.wav"]

    @pytest.mark.parametrize("more", [(), ("--targets", "drums", "--writer.overwrite", "true")])
    def test_of_the_same_songs_all_are_left_and_the_blocks_of_the_first_run_stay(
        self, stopped: Stopped, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = stopped(predict("ab"))
        before = files()

        assert main(predict("ba", *more)) == 1

        assert "out: skipped, another run is writing them: b, a;" in capsys.readouterr().err.split("error: ")[-1]
        assert files() == before
        assert resume(first) == 0
        assert files() == ["a/vocals.wav", "b/vocals.wav"]

    def test_one_file_of_several_songs_belongs_to_the_first(
        self, stopped: Stopped, capsys: pytest.CaptureFixture[str]
    ) -> None:
        name = ("--writer.name", "{source}")
        first = stopped(predict("a", *name))

        assert main(predict("b", *name)) == 1

        assert "another run is writing them: b;" in capsys.readouterr().err
        assert resume(first) == 0
        assert files() == ["vocals.wav"]
        assert soundfile.info("out/vocals.wav").duration == SONGS["a"]

    def test_what_a_killed_run_was_at_is_done_by_another_one(self, stopped: Stopped) -> None:
        first = stopped(predict("ab"))
        first.kill()

        assert run_command(predict("bc")).exit_code == 0

        assert [file for file in files() if ".blocks-" not in file] == ["b/vocals.wav", "c/vocals.wav"]
        assert run_command(predict("ab")).exit_code == 0
        assert files() == ["a/vocals.wav", "b/vocals.wav", "c/vocals.wav"]

    def test_processes_of_one_run_share_its_songs_while_another_one_has_some(self, stopped: Stopped) -> None:
        first = stopped(predict("bc"))

        second = run_command(predict("ab"), processes=2)

        assert second.exit_code == 1
        assert second.err.splitlines()[-1].endswith("them: b; repeat the command when it has ended")
        assert "Traceback" not in second.err
        assert resume(first) == 0
        assert files() == ["a/vocals.wav", "b/vocals.wav", "c/vocals.wav"]


def claim_and_fork(out: Path, place: Path) -> None:
    """Claims a file, and is killed while a process that it has forked, as those that read ahead, lives on."""
    claims = Claims(out)
    with claims.choosing():
        claims.claim({place})
    if worker := os.fork():
        (out / "begun").write_text(str(worker))
        (out / "begun").rename(out / "worker")
    time.sleep(60)
    os._exit(0)


class TestClaims:
    def test_a_process_that_outlives_a_killed_run_keeps_nothing(self, tmp_path: Path) -> None:
        process = Running(claim_and_fork, tmp_path, tmp_path / "a")
        process.wait_until((tmp_path / "worker").exists)
        worker = int((tmp_path / "worker").read_text())
        with Claims(tmp_path).choosing() as claimed:
            assert claimed == {tmp_path / "a"}

        process.kill()

        try:
            with Claims(tmp_path).choosing() as claimed:
                assert claimed == set()
        finally:
            os.kill(worker, signal.SIGKILL)

    def test_each_process_of_a_run_keeps_what_all_of_them_have_claimed(self, tmp_path: Path) -> None:
        first, second, other = (Claims(tmp_path) for _ in range(3))
        places = {tmp_path / "a", tmp_path / "b\udcff" / "c"}
        for process in (first, second):
            with process.choosing():
                process.claim(places)
        first.end()
        with other.choosing() as claimed:
            assert claimed == places
        second.end()
        with other.choosing() as claimed:
            assert claimed == set()
        assert not list(tmp_path.iterdir())

    def test_what_a_killed_process_leaves_is_removed(self, tmp_path: Path) -> None:
        for name in (".run-1.lock", ".run-1.json", "..run-1.json.part", ".run-2.lock", ".beginning.lock"):
            (tmp_path / name).write_text("[")

        with Claims(tmp_path).choosing() as claimed:
            assert claimed == set()

        assert not list(tmp_path.iterdir())
