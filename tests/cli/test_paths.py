"""A path on the command line is a path, letter by letter; songs that are not named are not replaced by others."""

import inspect
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import soundfile
import yaml

import mdx_progressive as mdx
from mdx_progressive.cli.paths import PATHS
from tests.support.command import NARROW, run
from tests.support.paths import STUDY

pytestmark = pytest.mark.usefixtures("own_folder")

Capture = pytest.CaptureFixture[str]

NAMES = (
    "#1 hit.flac", "x #1.flac", "~", "null", "Null", "true", "12", "1.5", "2026-11-30", "- dash.flac", "-dash.flac",
    "-", "[FLAC]", "[FLAC", "{set}", "a: b", "key:", "'quoted'", '"quoted"', "&anchor", "*alias", "!tag", "%25", "@at",
    " ", "a, b", "| x", "=",
)  # fmt: skip
"""Names that are something else in YAML, or for a parser of options."""


def settings(capsys: Capture, *args: object) -> dict[str, dict[str, object]]:
    """What would run."""
    command, *further = args
    assert run(command, "--print_config", *further) == 0, capsys.readouterr().err
    shown: dict[str, dict[str, object]] = yaml.safe_load(capsys.readouterr().out)
    return shown


def init(shown: dict[str, dict[str, object]]) -> dict[str, object]:
    separator = shown["model"]["separator"]
    assert isinstance(separator, dict)
    arguments: dict[str, object] = separator["init_args"]
    return arguments


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_letter_by_letter(name: str, capsys: Capture) -> None:
    by_itself = settings(capsys, "predict", "-s", "spleeter", f"--log-json={name}", f"--out={name}", "--", name)
    by_option = settings(
        capsys, "predict", "-s", "spleeter", f"--data.input={name}", f"--model.separator.weights={name}"
    )
    songs = settings(capsys, "test", "-s", "spleeter", f"--data.root={name}")
    several = settings(capsys, "predict", "-s", "spleeter", "--", name, "b.mp3")

    for given in (by_itself["data"]["input"], by_itself["out"], by_option["data"]["input"], init(by_option)["weights"],
                  songs["data"]["root"], by_itself["log_json"]):  # fmt: skip
        assert isinstance(given, str)
        assert Path(given) == Path(name)
    assert isinstance(several["data"]["input"], list)
    assert [*map(Path, several["data"]["input"])] == [Path(name), Path("b.mp3")]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("-d")])
def test_a_path_is_no_option_unless_it_looks_like_one(name: str, capsys: Capture) -> None:
    by_itself = settings(capsys, "predict", "-s", "spleeter", name)
    by_option = settings(capsys, "predict", "-s", "spleeter", "--data.input", name)

    assert Path(str(by_itself["data"]["input"])) == Path(str(by_option["data"]["input"])) == Path(name)


def test_files_of_such_names_are_separated(tmp_path: Path) -> None:
    names = ["#1 hit.flac", "- dash.flac", "[FLAC].flac", "a: b.flac", "-dash.flac"]
    for name in names:
        soundfile.write(tmp_path / name, np.random.default_rng(0).normal(0, 0.1, (4410, 2)), 44100)

    assert run("predict", "-s", "spleeter", "-q", "fast", *NARROW, "-o", "#out", "--", *names) == 0
    assert run("predict", "-s", "spleeter", "-q", "fast", *NARROW, "-o", "[one]", "#1 hit.flac") == 0

    written = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("vocals.wav")}
    assert written == {f"#out/{Path(name).stem}" for name in names} | {"[one]/#1 hit"}


def test_prepare_takes_a_path_letter_by_letter(capsys: Capture) -> None:
    for name in ("~", "null", "[songs]", "#songs"):
        assert run("prepare", "--data.root", name, "--to", "there") == 1
        assert f"{name}: no such folder" in capsys.readouterr().err


def test_all_settings_that_are_paths_are_known() -> None:
    classes = [each for each in (getattr(mdx, name) for name in mdx.__all__) if inspect.isclass(each)]
    found = {
        name
        for each in classes
        for name, annotation in get_type_hints(each.__init__).items()
        if each.__module__.startswith("mdx_progressive") and Path in (annotation, *get_args(annotation))
    }
    assert {"root", "input", "weights", "config"} <= found
    assert found <= {*PATHS}


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("predict", "-s", "spleeter"), "no songs: give audio files or folders of them"),
        (("test", "-s", "spleeter"), "no songs: give a folder of songs with stems"),
        (("test",), "--data.dataset builtin-clip"),
        (("tune", "-s", "spleeter"), "no songs: give a folder of songs with stems"),
        (("prepare", "--to", "x"), "no songs: set data.root"),
        (("predict", "a.wav", ""), "--data.input is empty"),
        (("predict", "-s", "spleeter", "--data.input", ""), "--data.input is empty"),
        (("predict", "a.wav", "-o", ""), "-o is empty"),
        (("test", "--data.root="), "--data.root is empty"),
        (("predict", "a.wav", "--model.separator.weights", ""), "--model.separator.weights is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_not_named_is_asked_for(args: tuple[str, ...], told: str, tmp_path: Path, capsys: Capture) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((9, 2)), 44100)

    assert run(*args) in (1, 2)

    assert told in capsys.readouterr().err
    assert not (tmp_path / "separated").exists()
    assert not (tmp_path / "logs").exists()


def test_the_songs_of_the_command_line_take_the_place_of_those_of_a_configuration(capsys: Capture) -> None:
    Path("null").write_text("not settings")
    named = settings(capsys, "test", "-c", "demo")["data"]
    assert named["dataset"] == {"class_path": "mdx_progressive.BuiltinClip"}
    for args in (("songs",), ("--data.root", "songs")):
        shown = settings(capsys, "test", "-c", STUDY, *args)["data"]
        assert (shown["root"], shown["dataset"]) == ("songs", None)

    Path("mine.yaml").write_text("data:\n  root: songs\n")
    shown = settings(capsys, "test", "-c", "mine.yaml", "--data.dataset", "builtin-clip")["data"]
    assert (shown["root"], shown["dataset"]) == (None, named["dataset"])
