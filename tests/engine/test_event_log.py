"""What `predict` tells while it runs: bars for a terminal, lines of JSON for machines."""

import json
import os
import pty
import shutil
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.support.command import run
from tests.support.paths import STUDY_HTDEMUCS
from tests.support.processes import start_command
from tests.support.signals import RATE, noise

KEYS = {
    "run_started": {"songs", "seconds", "blocks", "passes", "processes"},
    "song_started": {"song", "seconds", "blocks"},
    "block_done": {"song", "block", "blocks", "passes", "seconds", "real_time_factor", "time_left"},
    "song_written": {"song", "files"},
    "song_failed": {"song", "reason"},
    "song_left": {"song"},
    "run_ended": {"written", "failed", "left", "seconds", "loop_seconds", "network_seconds", "exit_code", "error"},
}
SETTINGS = (
    *("-c", str(STUDY_HTDEMUCS), "--model.separator.weights", "small.safetensors"),
    *("--model.method.steps", "1", "--targets", "vocals", "--data.block", "1.5", "--data.input", "in", "--out", "out"),
)
SECONDS = {"long": 4.3, "short": 0.5}


@pytest.fixture
def songs(own_folder: Path, small_htdemucs_file: Path) -> Path:
    """A song of two blocks, one of one, and one that can't be read, beside the weights of a small network."""
    shutil.copy(small_htdemucs_file, own_folder / "small.safetensors")
    (own_folder / "in").mkdir()
    for name, seconds in SECONDS.items():
        soundfile.write(own_folder / "in" / f"{name}.wav", noise(seconds).T.numpy(), RATE)
    (own_folder / "in" / "bad.wav").write_text("no audio")
    return own_folder / "in"


def events(text: str) -> list[dict[str, Any]]:
    """The lines, of which each is an object with the keys that are known."""
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert set(line) == {"event", "time", "process"} | KEYS[line["event"]]
    return lines


def on_a_terminal(command: list[str]) -> tuple[int, str, str]:
    """Exit code, stdout, and what is shown on the terminal that is its stderr."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 160))
    running = start_command(command, terminal=os.ttyname(theirs))
    shown: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 4096):
                shown.append(piece)
        except OSError:  # The other end is closed.
            pass

    reading = threading.Thread(target=read)
    reading.start()
    try:
        ended = running.wait()
    finally:
        os.close(theirs)
        reading.join(10)
        os.close(ours)
    return ended.exit_code, ended.out, b"".join(shown).decode()


def test_stdout_has_the_lines_alone_and_a_terminal_shows_song_block_step_pace_and_time_left(
    songs: Path,
) -> None:
    code, said, shown = on_a_terminal(["predict", *SETTINGS, "--log-json", "-"])

    lines = events(said)
    of = {name: [line for line in lines if line["event"] == name] for name in KEYS}
    assert [lines[0]["event"], lines[-1]["event"]] == ["run_started", "run_ended"]
    total = sum(SECONDS.values())
    blocks = of["block_done"]
    assert (lines[0]["songs"], lines[0]["blocks"], lines[0]["passes"]) == (2, len(blocks), 2 * len(blocks))
    assert lines[0]["seconds"] == pytest.approx(total, abs=0.01)
    assert [(line["song"], line["block"], line["blocks"]) for line in blocks] == [
        ("long", 1, 2), ("long", 2, 2), ("short", 1, 1),
    ]  # fmt: skip
    assert sum(line["seconds"] for line in blocks) == pytest.approx(total, abs=0.01)
    assert [line["passes"] for line in blocks] == [2, 2, 2]
    # Seconds of computing for a second of music, as `compare --out` has it.
    assert sum(line["seconds"] for line in blocks) * blocks[-1]["real_time_factor"] <= lines[-1]["seconds"]
    assert blocks[0]["time_left"] > 0
    assert blocks[-1]["time_left"] == 0
    assert [(line["song"], line["seconds"], line["blocks"]) for line in of["song_started"]] == [
        ("long", 4.3, 2), ("short", 0.5, 1),
    ]  # fmt: skip
    assert {line["song"]: line["files"] for line in of["song_written"]} == {
        name: [str(Path("out", name, "vocals.wav"))] for name in SECONDS
    }
    assert all(Path(file).is_file() for line in of["song_written"] for file in line["files"])
    ((failed,), last) = (of["song_failed"], lines[-1])
    assert failed["song"] == "bad"
    assert "bad.wav: no audio could be read" in failed["reason"]
    assert (last["written"], last["failed"], last["exit_code"], code) == (2, 1, 1, 1)
    assert 0 < last["network_seconds"] < last["loop_seconds"] < last["seconds"]
    for told in ("long 2/2", "short", "step 1/1", "100%", "x real time", " left"):
        assert told in shown


def test_without_a_terminal_there_are_no_bars_and_a_file_is_added_to(
    songs: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (songs / "bad.wav").unlink()
    (songs / "long.wav").unlink()

    assert run("predict", *SETTINGS, "--log-json", "log.jsonl") == 0
    assert run("predict", *SETTINGS, "--log-json", "log.jsonl") == 0

    said = capfd.readouterr()
    assert said.out == ""
    assert "\r" not in said.err
    lines = events(Path("log.jsonl").read_text())
    assert [line["event"] for line in lines] == [
        *("run_started", "song_started", "block_done", "song_written", "run_ended"),
        *("run_started", "run_ended"),
    ]
    assert (lines[-2]["songs"], lines[-1]["written"], lines[-1]["exit_code"]) == (0, 0, 0)


@pytest.mark.parametrize(("to", "why"), [("/dev/full", "No space left"), ("in", "Is a dir")])
def test_a_file_that_can_not_be_written_to_is_named(
    songs: Path, to: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("predict", *SETTINGS, "--log-json", to) == 1

    assert f"error: log_json: {to} could not be written to ({why}" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("words", [["test"], ["predict", "--dry-run"]])
def test_it_is_for_runs_of_predict(words: list[str], songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words[0], *SETTINGS, *words[1:], "--log-json", "-") == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[1:] == ["mdx-progressive: error: log_json is for runs of `predict`: leave it out"]
