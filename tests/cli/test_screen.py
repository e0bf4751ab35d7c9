"""What is on the screen: lines of our own, from the first second to the last, and none of a library."""

import re
from pathlib import Path

import pytest
import soundfile

from mdx_progressive.cli.shorthand import expand
from mdx_progressive.engine.callbacks import progress
from mdx_progressive.presets import QUALITIES, preset_names
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators import SpleeterSeparator
from tests.support.command import NARROW, run
from tests.support.paths import STUDY
from tests.support.processes import run_interpreter
from tests.support.signals import RATE, noise

pytestmark = pytest.mark.usefixtures("own_folder")

SPLEETER = ("-s", "spleeter", "-q", "fast", *NARROW)


def test_predict_begins_with_what_it_runs_and_ends_with_what_it_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    Path("music").mkdir()
    for name in ("a", "b"):
        soundfile.write(f"music/{name}.wav", noise(1).T.numpy(), RATE)

    assert run("predict", "music/a.wav", *SPLEETER) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "spleeter-2stems, -q fast (or balanced, best): one pass, the separator by itself"
    assert re.fullmatch(r"wrote 2 stems of 1 song to separated/a/ in \d+ s \([\d.]+x real time\)", lines[-1])

    assert run("predict", "music", "-s", "spleeter", "-q", "balanced", *NARROW, "-o", "both") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("spleeter-2stems, -q balanced (or fast, best): 5 passes, 6.6 x the time of one, +0.6")
    assert re.fullmatch(r"wrote 4 stems of 2 songs to both/ in \d+ s \(.*x real time\)", lines[-1])

    assert run("predict", "music", "-s", "spleeter", "-q", "balanced", *NARROW, "-o", "both") == 0
    assert "finished in both: 2 of 2 songs; --overwrite separates them again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("-s", "umxl"), "umxl, -q balanced (or fast, best): 3 passes, plain ensemble; gain not measured\n"),
        (("--model.method", "heun"), "htdemucs, method heun (-q fast, balanced or best takes another)"),
    ],
)
def test_what_was_not_measured_is_said(options: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.mp3").touch()

    assert run("predict", "empty.mp3", *options) == 1

    assert capsys.readouterr().err.startswith(line)


def test_every_level_of_every_separator_is_announced_in_a_line() -> None:
    for separator in preset_names("separator"):
        for quality in QUALITIES:
            said = expand("predict", ["-s", separator, "-q", quality]).announcement
            assert len(said) <= 100, said


def test_a_corrupt_file_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("corrupt.mp3").write_bytes(bytes(range(256)) * 16)

    assert run("predict", "corrupt.mp3", *SPLEETER) == 1
    _, *lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "mdx-progressive: error: 1 song failed:"
    assert [line.split(":")[0] for line in lines[1:]] == ["  corrupt.mp3"]


def test_a_failure_is_told_too_where_the_run_does_not_come_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("corrupt.mp3").write_bytes(bytes(range(256)) * 16)
    soundfile.write("good.wav", noise(1).T.numpy(), RATE)

    def stop(*_: object, **__: object) -> None:
        raise MdxError("no more")

    monkeypatch.setattr(SpleeterSeparator, "forward", stop)
    assert run("predict", "corrupt.mp3", "good.wav", *SPLEETER) == 1
    _, *lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["left out", "mdx-progressive"]


@pytest.mark.parametrize(
    "command",
    ["init nodir/x.yaml", "schedules --picture nodir/x.png", "predict song.wav -s spleeter --log-json nodir/x.jsonl"],
)
def test_a_folder_that_is_not_there_is_told_before_anything_else(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("song.wav").touch()

    assert run(*command.split()) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert told.err.endswith(f"{command.rsplit(maxsplit=1)[-1]}: there is no folder nodir\n")


@pytest.mark.parametrize("command", ["predict", "test"])
def test_an_input_that_is_not_there_is_told_at_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "gone.mp3") == 1

    assert capsys.readouterr().err == "mdx-progressive: error: gone.mp3: no such file or folder\n"


def test_test_ends_with_the_commands_that_come_next(capsys: pytest.CaptureFixture[str]) -> None:
    narrow = (*NARROW, "--data.chunk", "1", "--model.method.steps", "1", "--model.compare", "[one-pass,heun]")

    assert run("test", "-c", STUDY, *narrow) == 0

    shown = capsys.readouterr().out
    assert "mdx-progressive compare logs/demo/version_0" in shown
    assert "mdx-progressive report logs/demo/version_0" in shown
    assert "oracle: the true sources blended in, with the weights of linear." in " ".join(shown.split())
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in shown.splitlines() if line.strip()}
    assert len(rows["vocals", "linear"]) == len(rows["vocals", "heun"]) + 2  # The oracle and its step.


def test_no_note_of_a_library_gets_past_ours() -> None:
    soundfile.write("whole.mp3", noise(3).T.numpy(), RATE)
    data = Path("whole.mp3").read_bytes()
    middle = len(data) // 2
    Path("junk.mp3").write_bytes(data[:middle] + b"JUNK" * 600 + data[middle:] + b"TAIL" * 400)

    ended = run_interpreter(
        "-m", "mdx_progressive", "predict", "junk.mp3", *SPLEETER, "--trainer.precision", "16-mixed"
    )

    assert ended.exit_code == 1
    lines = ended.err.strip().splitlines()
    assert all(line.startswith(("spleeter", "mdx-progressive: ", "  junk.mp3")) for line in lines), lines
    assert any("warning: You passed `Trainer(accelerator='cpu', precision='16-mixed')`" in line for line in lines)


def test_what_other_libraries_write_passes(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from mdx_progressive.cli.library_notes import drop_library_notes\n"
        "with drop_library_notes():\n"
        "    os.write(2, b'Note: Illegal Audio-MPEG-Header 0x0\\nsomething else\\nwithout an end')\n"
        "    print('of Python', file=sys.stderr)\n"
        "os.write(2, b'\\nNote: afterwards\\n')\n"
    )

    said = run_interpreter("-c", code).err

    assert "Illegal" not in said
    assert all(text in said for text in ("something else\n", "without an end", "of Python\n", "Note: afterwards\n"))


def test_the_time_left_is_told_after_the_first_chunk_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_WORTH_TELLING", 0.0)
    chunks = ("--data.chunk", "2", "--data.all_chunks", "true", "--methods", "heun")

    assert run("test", "-s", "spleeter", "--data.dataset", "builtin-clip", *NARROW, *chunks) == 0

    lines = [line for line in capsys.readouterr().err.splitlines() if "left" in line]
    assert len(lines) == 1
    assert re.fullmatch(r"33 %: .*, \d+ s left", lines[0])


def test_the_sound_of_runs_is_not_taken_for_songs_unless_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--data.dataset", "builtin-clip", "--methods", "one-pass", "--data.chunk", "1")
    assert run("test", *SPLEETER[:2], *NARROW, *short) == 0
    soundfile.write("own.wav", noise(1).T.numpy(), RATE)
    clips = [path for path in Path("logs").rglob("*.*") if path.suffix in (".mp3", ".flac", ".wav")]
    assert clips
    capsys.readouterr()

    assert run("predict", ".", *SPLEETER) == 0
    told = capsys.readouterr().err
    assert f"skipped {len(clips)} files of runs of `test`, which are no songs\n" in told
    assert [path.name for path in Path("separated").iterdir()] == ["own"]

    assert run("predict", *clips[:1], *SPLEETER, "-o", "given") == 0
    assert "skipped" not in capsys.readouterr().err


def test_a_run_that_fails_before_its_songs_leaves_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()

    assert run("test", "empty", *SPLEETER) == 1

    assert "empty: holds no song" in capsys.readouterr().err
    assert not list(Path("logs").rglob("*.*"))
