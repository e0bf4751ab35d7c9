"""A disk that is full, for real: the run stops at once, says so and where, and resumes when there is room."""

import json
import re
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
import soundfile

from tests.support.command import NARROW, run
from tests.support.disks import small_disk
from tests.support.paths import STUDY
from tests.support.signals import RATE, noise

SPLEETER = ("-c", STUDY, *NARROW, "--model.method.steps", "0")
SONGS = [f"song {number}" for number in range(8)]
FULL = "No space left on device"


def write(path: Path, seconds: float = 3.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds).T.numpy(), RATE)


@pytest.fixture
def songs(own_folder: Path) -> Path:
    """Songs whose stems take 2.1 MB each, and their block as much."""
    for name in SONGS:
        write(own_folder / "in" / f"{name}.wav")
    return own_folder / "in"


@pytest.fixture
def with_stems(own_folder: Path) -> Path:
    """The same with stems."""
    for name in SONGS:
        for stem in ("vocals", "accompaniment"):
            write(own_folder / "songs" / name / f"{stem}.wav")
    return own_folder / "songs"


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "System error" not in said
    return said.split("error: ")[-1]


class TestPredict:
    # What is left of it is above the megabyte that a run looks for, and less than what a song needs.
    @pytest.mark.parametrize("kilobytes", [1700, 3700], ids=["no room for a block", "no room for stems"])
    def test_it_stops_and_resumes(self, songs: Path, capsys: pytest.CaptureFixture[str], kilobytes: int) -> None:
        command = ("predict", *SPLEETER, "--data.input", songs, "--out")
        with small_disk(Path("small"), kilobytes) as disk:
            assert run(*command, disk, "--log-json", "log.jsonl") == 1

            said = last_line(capsys)
            assert FULL in said
            assert "the same command resumes the run" in said
            assert "small" in said
            assert said.count("\n") == 1
            events = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
            begun = [event["song"] for event in events if event["event"] == "song_started"]
            assert len(begun) < len(SONGS) / 2
            assert events[-1]["event"] == "run_ended"
            assert not list(disk.rglob("*.part"))
            shutil.copytree(disk, "large")

        assert run(*command, "large") == 0
        assert {path.parent.name for path in Path("large").rglob("*.wav")} == set(SONGS)
        assert not list(Path("large").rglob(".*"))

    def test_a_line_of_the_log_that_is_cut_off_stops_it(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with small_disk(Path("small"), 64) as disk:
            log = disk / "log.jsonl"
            log.write_text("x" * (4096 - 20) + "\n")
            with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            assert run("predict", *SPLEETER, "--data.input", songs, "--out", "out", "--log-json", log) == 1

        assert f"log_json: {log} could not be written to ({FULL})" in last_line(capsys)


class TestPrepare:
    def test_it_stops_and_resumes(self, with_stems: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ("prepare", "--data.root", with_stems, "--format", "wav", "--to")
        with small_disk(Path("small"), 3000) as disk:
            assert run(*command, disk) == 1

            said = last_line(capsys)
            assert FULL in said
            assert re.search(r"small/song \d", said)
            assert "the same command resumes the run" in said
            assert "could not be prepared" not in said
            assert json.loads((disk / "index.json").read_text())["failed"] == {}
            assert not list(disk.rglob("*.part"))
            shutil.copytree(disk, "large")

        assert run(*command, "large") == 0
        assert len(list(Path("large").rglob("uniform.wav"))) == len(SONGS)


class TestTest:
    @pytest.mark.parametrize("kilobytes", [100, 700])
    def test_it_stops_names_the_place_and_resumes(
        self, with_stems: Path, capsys: pytest.CaptureFixture[str], kilobytes: int
    ) -> None:
        for name in SONGS[2:]:
            shutil.rmtree(with_stems / name)
        quick = ("--model.method.steps", "1", "--model.compare", "null", "--model.metrics", "[SiSdr]", *NARROW)
        command = ("test", "-c", STUDY, *quick, "--data.root", with_stems, "--data.trim", "null")
        with small_disk(Path("small"), kilobytes) as disk:
            assert run(*command, "--trainer.logger.init_args.save_dir", disk) == 1

            said = last_line(capsys)
            assert FULL in said
            assert "small/demo" in said
            assert "the same command resumes the run" in said
            (run_folder,) = disk.glob("demo/version_*")
            for table in run_folder.glob("*.csv"):
                assert table.read_text().endswith("\n")
            assert not list(disk.rglob(".*.part"))

    def test_the_temporary_folder_that_long_chunks_lie_in_is_named_too(
        self, with_stems: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in SONGS[1:]:
            shutil.rmtree(with_stems / name)
        for path in (with_stems / SONGS[0]).iterdir():
            write(path, 30)  # Two segments and more.
        blocks = ("--data.block", "1", "--data.chunk", "null", "--data.trim", "null", "--model.compare", "null")
        command = ("test", *SPLEETER, *blocks, "--data.root", with_stems)
        with small_disk(Path("small"), 700) as disk:
            monkeypatch.setattr("tempfile.tempdir", str(disk.absolute()))
            assert run(*command) == 1

        said = last_line(capsys)
        assert FULL in said
        assert str(Path("small").absolute()) in said
