"""The real command, killed and started again; songs that can't be read among others that can."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from mdx_progressive.cli import main
from mdx_progressive.journal import Journal
from mdx_progressive.results import read_rows
from tests.conftest import CONFIGS, RATE, SOURCES, noise

SMALL = (
    *("-c", str(CONFIGS / "htdemucs.yaml"), "--model.separator.weights", "small.safetensors"),
    *(
        "--model.method.steps",
        "1",
        "--model.metrics",
        "[Sdr]",
        "--model.targets",
        "[vocals]",
        "--model.oracle",
        "false",
    ),
)
CHUNKS = ("--data.chunk", "0.5", "--data.all_chunks", "true", "--tensorboard.songs", "0")


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_htdemucs_file: Path) -> Path:
    """Three short songs, in a folder of the current one, beside the weights of a small network."""
    shutil.copy(small_htdemucs_file, tmp_path / "small.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # On a busy machine threads that wait for each other cost minutes.
    for number in range(3):
        for seed, stem in enumerate(SOURCES, 10 * number):
            path = tmp_path / "songs" / f"song {number}" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise(4, 2, seed=seed, level=0.1).T.numpy(), RATE, subtype="FLOAT")
    return tmp_path / "songs"


def command(name: str, *more: str) -> list[str]:
    settings = (*SMALL, *CHUNKS, "--data.root", "songs", "--trainer.logger.init_args.name", name, *more)
    return [sys.executable, "-m", "mdx_progressive", "test", *settings]


def measured(folder: Path) -> int:
    return sum(path.read_bytes().count(b"}\n") for path in folder.glob("measured.*.jsonl"))


def stop_midway(arguments: list[str], folder: Path, how: signal.Signals, chunks: int) -> None:
    """Start the command, and send it a signal once so many chunks more are measured."""
    before = measured(folder)
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while measured(folder) < before + chunks:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    process.communicate(timeout=120)
    assert process.returncode != 0


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("results.csv", "summary.json")}


class TestResume:
    def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_files(self, songs: Path) -> None:
        whole, broken = Path("logs/whole/version_0"), Path("logs/broken/version_0")
        subprocess.run(command("whole"), check=True, capture_output=True, timeout=240)

        for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            stop_midway(command("broken"), broken, how, chunks=3)
            assert not (broken / "results.csv").exists()
        with (broken / "measured.0.jsonl").open("a") as file:
            file.write('{"song": "song 2", "chu')  # As a power failure may leave it.
        last = subprocess.run(command("broken"), check=True, capture_output=True, text=True, timeout=240)

        assert "goes on where it broke off" in last.stderr
        assert files(broken) == files(whole)
        assert not list(broken.glob("measured.*"))
        assert [path.name for path in broken.parent.iterdir()] == ["version_0"]

    def test_two_processes_that_were_killed_are_continued_by_one(self, songs: Path) -> None:
        two = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")
        whole, broken = Path("logs/whole/version_0"), Path("logs/broken/version_0")
        subprocess.run(command("whole"), check=True, capture_output=True, timeout=240)

        stop_midway(command("broken", *two), broken, signal.SIGTERM, chunks=4)
        subprocess.run(command("broken"), check=True, capture_output=True, timeout=240)

        assert files(broken) == files(whole)

    def test_a_run_that_was_stopped_between_its_last_chunk_and_its_end_is_ended(
        self, songs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = Path("logs/htdemucs/version_0")
        arguments = ("test", *SMALL, *CHUNKS, "--data.root", "songs")
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "remove", Journal.close)
            assert main(arguments) == 0
        before, lines = files(folder), measured(folder)
        (folder / "results.csv").unlink()

        assert main(arguments) == 0

        assert lines > 0
        assert files(folder) == before
        assert not list(folder.glob("measured.*"))

    def test_other_settings_or_no_resuming_begin_a_run_of_their_own(self, songs: Path) -> None:
        folder = Path("logs/run")
        stop_midway(command("run"), folder / "version_0", signal.SIGKILL, chunks=2)
        common = ("test", *SMALL, *CHUNKS, "--data.root", "songs", "--trainer.logger.init_args.name", "run")

        assert main((*common, "--resume", "false")) == 0
        assert main((*common, "--model.targets", "[drums]")) == 0

        assert {path.name for path in folder.iterdir()} == {"version_0", "version_1", "version_2"}
        assert measured(folder / "version_0") >= 2
        assert not (folder / "version_0" / "results.csv").exists()

    def test_a_song_that_has_changed_meanwhile_is_measured_again(self, songs: Path) -> None:
        folder = Path("logs/run/version_0")
        stop_midway(command("run"), folder, signal.SIGKILL, chunks=3)
        soundfile.write(songs / "song 0" / "vocals.wav", noise(4, 2, seed=77, level=0.1).T.numpy(), RATE)

        subprocess.run(command("run"), check=True, capture_output=True, timeout=240)
        subprocess.run(command("fresh"), check=True, capture_output=True, timeout=240)

        assert files(folder) == files(Path("logs/fresh/version_0"))


class TestBadSongs:
    def run(self, *more: str) -> int:
        return main(("test", *SMALL, "--data.chunk", "1", "--data.root", "songs", *more))

    def test_they_are_named_at_the_end_and_the_others_are_measured(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (songs / "song 1" / "drums.wav").write_bytes(b"no audio at all")
        (songs / "song 2" / "vocals.wav").unlink()

        assert self.run() == 1

        folder = Path("logs/htdemucs/version_0")
        assert set(read_rows(folder / "results.csv")["song"]) == {"song 0"}
        failed = json.loads((folder / "summary.json").read_text())["failed"]
        assert list(failed) == ["song 1", "song 2"]
        assert "drums.wav: no audio" in failed["song 1"]
        last = capsys.readouterr().err.split("error: ")[-1]
        assert last.startswith("2 of the songs could not be done, all others are done:\n")
        assert "drums.wav: no audio" in last
        assert "no stem for the source 'vocals'" in last

    def test_fail_fast_stops_at_the_first(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (songs / "song 1" / "drums.wav").write_bytes(b"no audio at all")

        assert self.run("--fail-fast") == 1

        assert "drums.wav: no audio" in capsys.readouterr().err
        assert not Path("logs/htdemucs/version_0/results.csv").exists()

    def test_without_a_good_one_all_are_named(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for song in songs.iterdir():
            (song / "drums.wav").write_bytes(b"no audio at all")

        assert self.run() == 1

        said = capsys.readouterr().err.split("error: ")[-1]
        assert [line.split("drums.wav")[0][-7:-1] for line in said.splitlines()] == ["song 0", "song 1", "song 2"]

    def test_predict_goes_on_with_the_other_files(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copy(songs / "song 0" / "vocals.wav", songs / "good.wav")
        (songs / "bad.wav").write_bytes(b"no audio at all")
        inputs = "[songs/bad.wav, songs/good.wav]"

        for workers in ("0", "1"):
            settings = ("--data.input", inputs, "--out", f"out {workers}", "--data.num_workers", workers)
            assert main(("predict", *SMALL, *settings)) == 1

            assert "bad.wav: no audio could be read" in capsys.readouterr().err
            assert [path.name for path in Path(f"out {workers}/good").iterdir()] == ["vocals.wav"]
            assert [path.name for path in Path(f"out {workers}").iterdir()] == ["good"]
