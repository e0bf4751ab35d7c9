"""Whose code runs: files of settings import nothing of their own, the user's own words may."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdx_progressive.api import load_method, load_separator
from mdx_progressive.runtime import MdxError
from tests.support.command import run
from tests.support.processes import run_interpreter

pytestmark = pytest.mark.usefixtures("evil_folder")
Capture = pytest.CaptureFixture[str]
EVIL = """
from pathlib import Path
Path("witness").touch()
from mdx_progressive import Linear
class A: ...
class Late(Linear): ...
def call(**settings): Path("called").touch()
"""
SCHEDULE = "class_path: evilmod.A\n"
METHOD = "class_path: Progressive\ninit_args:\n  schedule: "
FILES = {
    "a separator": (SCHEDULE, "test . --model.separator given.yaml", "given.yaml:1: class_path"),
    "a separator in short": (SCHEDULE, "predict x.wav -s given.yaml", "given.yaml:1: class_path"),
    "a method": (SCHEDULE, "test . -s spleeter --model.method given.yaml", "given.yaml:1: class_path"),
    "a preset's name": (SCHEDULE, "test . -s spleeter --model.method heun", "heun:1: class_path"),
    "a method of a list": (SCHEDULE, "test . -s spleeter --methods linear,given.yaml", "given.yaml:1: class_path"),
    "a compared method": (SCHEDULE, "test . -s spleeter --model.compare [given.yaml]", "given.yaml:1: class_path"),
    "a schedule": (
        SCHEDULE,
        "test . -s spleeter --model.method linear --model.method.schedule given.yaml",
        "given.yaml:1: class_path",
    ),
    "a schedule within a method": (
        f"{METHOD}{{class_path: evilmod.A}}\n",
        "test . -s spleeter --model.method given.yaml",
        "given.yaml:3: schedule",
    ),
    "its name within a method": (
        f"{METHOD}evilmod.A\n",
        "test . -s spleeter --model.method given.yaml",
        "given.yaml:3: schedule",
    ),
    "a file within a method": (
        f"{METHOD}schedule.yaml\n",
        "test . -s spleeter --model.method given.yaml",
        "schedule.yaml:1: class_path",
    ),
    "a correction": (
        f"{METHOD}linear\n  corrections: [{{class_path: evilmod.A}}]\n",
        "test . -s spleeter --model.method given.yaml",
        "given.yaml:4: corrections",
    ),
    "the name of a correction": (
        f"{METHOD}linear\n  corrections: [evilmod.A]\n",
        "test . -s spleeter --model.method given.yaml",
        "given.yaml:4: corrections",
    ),
    "a function": (
        f"{METHOD}{{class_path: evilmod.call}}\n",
        "test . -s spleeter --model.method given.yaml",
        "given.yaml:3: schedule",
    ),
    "a setting of a separator": (
        "class_path: SpleeterSeparator\ninit_args:\n  bins: {class_path: evilmod.A}\n",
        "test . -s given.yaml",
        "given.yaml:3: bins",
    ),
    "songs.yaml": (SCHEDULE, "test -s spleeter --data.dataset given.yaml", "given.yaml:1: class_path"),
    "songs.yaml of prepare": (SCHEDULE, "prepare --to out --data.dataset given.yaml", "given.yaml:1: class_path"),
    "benchmark": (SCHEDULE, "benchmark -s spleeter --model.method given.yaml", "given.yaml:1: class_path"),
    "tune": (SCHEDULE, "tune songs -s spleeter --to t.yaml --model.method given.yaml", "given.yaml:1: class_path"),
    "init": (SCHEDULE, "init new.yaml -s given.yaml", "given.yaml:1: class_path"),
    "a file of one's own configuration": (SCHEDULE, "test -c own.yaml", "given.yaml:1: class_path"),
    "through our own package": (
        "class_path: mdx_progressive.runtime.files.os.system\n",
        "test . -s spleeter --model.method given.yaml",
        "model.method",
    ),
}


@pytest.fixture
def evil_folder(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder holds a module that leaves a trace, and Python finds it."""
    (own_folder / "evilmod.py").write_text(EVIL)
    (own_folder / "own.yaml").write_text("model: {separator: spleeter, method: given.yaml}\n")
    (own_folder / "schedule.yaml").write_text(SCHEDULE)
    (own_folder / "x.wav").touch()
    (own_folder / "songs").mkdir()
    monkeypatch.syspath_prepend(str(own_folder))
    yield own_folder
    sys.modules.pop("evilmod", None)


def traces() -> list[str]:
    return [name for name in ("witness", "called") if Path(name).exists()]


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_no_other_package(name: str, capsys: Capture) -> None:
    content, command, place = FILES[name]
    Path("heun" if "heun" in command else "given.yaml").write_text(content)

    assert run(*command.split()) == 2

    error = capsys.readouterr().err.splitlines()[-1]
    assert traces() == []
    assert place in error
    assert not Path("new.yaml").exists()
    assert "evilmod" not in content or ("evilmod." in error and error.endswith("if you trust it: --allow evilmod"))


def test_nothing_is_imported_in_a_process_of_its_own() -> None:
    Path("s1.yaml").write_text(SCHEDULE)

    ended = run_interpreter("-m", "mdx_progressive", "predict", "x.wav", "--model.separator", "s1.yaml")

    assert traces() == []
    assert ended.exit_code == 2
    assert "s1.yaml:1: class_path: evilmod.A is code of another package" in ended.err
    assert "--allow evilmod" in ended.err


@pytest.mark.parametrize(
    "options",
    [
        ["--model.method", "given.yaml", "--allow", "evilmod"],
        ["--model.method", "given.yaml", "--allow=other,evilmod"],
        ["--model.method", "linear", "--model.method.schedule", "evilmod.Late"],
        ["--model.method", "linear", "--model.method.schedule", "{class_path: evilmod.Late}"],
        ["-c", "mine.yaml"],
    ],
    ids=str,
)
def test_what_the_user_names_is_imported(options: list[str], capsys: Capture) -> None:
    Path("given.yaml").write_text(f"{METHOD}{{class_path: evilmod.Late}}\n")
    Path("mine.yaml").write_text(
        "model: {method: {class_path: Progressive, init_args: {schedule: {class_path: evilmod.Late}}}}\n"
    )

    assert run("test", "-s", "spleeter", *options, "--print_config") == 0

    assert "class_path: evilmod.Late" in capsys.readouterr().out
    assert traces() == ["witness"]


def test_what_was_allowed_once_is_not_allowed_for_good(capsys: Capture) -> None:
    Path("given.yaml").write_text(f"{METHOD}{{class_path: evilmod.Late}}\n")
    given = ("test", "-s", "spleeter", "--model.method", "given.yaml", "--print_config")

    assert run(*given, "--allow", "evilmod") == 0
    assert run(*given) == 2


@pytest.mark.parametrize("value", ["", "../evil", "evilmod.py/"])
def test_only_modules_are_allowed(value: str, capsys: Capture) -> None:
    assert run("test", "-s", "spleeter", "--allow", value) == 2

    assert "--allow takes the name of a module" in capsys.readouterr().err


class TestFromPython:
    def test_a_file_imports_no_other_package(self) -> None:
        Path("given.yaml").write_text(f"{METHOD}{{class_path: evilmod.Late}}\n")
        Path("s1.yaml").write_text(SCHEDULE)

        with pytest.raises(MdxError, match=r"given.yaml: .*evilmod.Late is code of another .* allow=\['evilmod'\]"):
            load_method("given.yaml")
        with pytest.raises(MdxError, match=r"s1.yaml: .*evilmod.A is code of another package"):
            load_separator("s1.yaml")
        assert traces() == []

    def test_what_the_caller_names_is_imported(self) -> None:
        Path("given.yaml").write_text(f"{METHOD}{{class_path: evilmod.Late}}\n")

        assert type(load_method("given.yaml", allow=["evilmod"]).schedule).__name__ == "Late"  # type: ignore[attr-defined]
        given = load_method("linear", schedule={"class_path": "evilmod.Late"})
        assert type(given.schedule).__name__ == "Late"  # type: ignore[attr-defined]

    def test_parsers_of_the_caller_are_left_alone(self) -> None:
        from jsonargparse import ArgumentParser

        load_method("linear")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--a", type=type)

        assert parser.parse_args(["--a", "fractions.Fraction"]).a.__name__ == "Fraction"
