"""Where there is no POSIX, as on Windows: every command runs, and what is written is what is written elsewhere."""

import os
import sys
from pathlib import Path

import pytest
import soundfile

from tests.support.command import NARROW, run
from tests.support.paths import REPOSITORY
from tests.support.processes import Ended, run_interpreter
from tests.support.signals import RATE, SOURCES, noise

pytestmark = [
    pytest.mark.usefixtures("own_folder"),
    pytest.mark.skipif(sys.platform != "linux", reason="plays it with /proc"),
]

COMMANDS = """
import sys
from mdx_progressive.cli.main import main
if __name__ == "__main__":
    sys.argv = ["mdx-progressive"]
    for command in {commands}:
        assert main(command) == 0, command
"""
SPLEETER = ("-s", "spleeter", "-q", "fast", *NARROW)
RUN = "logs/spleeter-2stems/version_0"


def run_without_posix(*commands: tuple[str, ...]) -> Ended:
    """Run commands in an interpreter of a system without POSIX, whose stdout takes the letters of Western Europe."""
    Path("commands.py").write_text(COMMANDS.format(commands=commands), encoding="utf-8")
    places = os.pathsep.join((str(REPOSITORY / "tests/support/without_posix"), str(REPOSITORY)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", places)
        patch.setenv("PYTHONIOENCODING", "cp1252")
        return run_interpreter("commands.py")


def files(folder: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_every_command_runs_and_writes_the_same() -> None:
    for seed, stem in enumerate(SOURCES):
        for song in ("Ωμέγα", "two"):
            path = Path("songs", song, f"{stem}.wav")
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise(1, 2, seed=seed, level=0.05).T.numpy(), RATE)
    soundfile.write("song.wav", noise(2.5).T.numpy(), RATE)
    prepare = ("prepare", "--data.root", "songs", "--chunk", "0.5", "--workers", "2", "--to")
    predict = ("predict", "song.wav", *SPLEETER, "--data.block", "1", "-o")

    ended = run_without_posix(
        ("--help",), (*predict, "out"), ("test", "songs", *SPLEETER, "--data.num_workers", "1"), (*prepare, "to"),
        ("compare", RUN, "--songs"), ("report", RUN),
    )  # fmt: skip

    assert ended.exit_code == 0, ended.err
    assert "Traceback" not in ended.err
    assert r"\u03a9\u03bc\u03ad\u03b3\u03b1" in ended.out  # What stdout can't take is as on stderr.
    assert run(*predict, "elsewhere") == 0
    assert files("out") == files("elsewhere")
    assert run(*prepare, "prepared") == 0
    assert files("to") == files("prepared")
