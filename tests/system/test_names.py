"""Songs of any name through all commands: they are measured, cut, separated and told, and drive no program."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.command import NARROW, run
from tests.support.paths import STUDY
from tests.support.signals import RATE, noise

NAMES = {
    b"n\xff": "n%FF",
    b"\x1b[31mred": "\x1b[31mred",
    b"two\nlines\rof it": "two\nlines\rof it",
    b"=1+1": "=1+1",
    b"-5": "-5",
    b"-2+3": "-2+3",
    b"'=1": "'=1",
    b"a|b<script>alert(1)<x>": "a|b<script>alert(1)<x>",
    b"[x](javascript:x) $\\frac{1$ & 5%": "[x](javascript:x) $\\frac{1$ & 5%",
    b"007": "007",
    b"NA": "NA",
    b"Case": "Case",
    b"case": "case",
}
"""Names of folders, and of the songs in them."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names are not bytes here")


def folders(root: Path) -> Path:
    for number, name in enumerate(NAMES):
        folder = Path(os.fsdecode(os.path.join(os.fsencode(root), name)))
        folder.mkdir(parents=True)
        for stem in ("vocals", "accompaniment"):
            sound = folder.parent.parent / "sound.wav"
            soundfile.write(sound, noise(0.3, seed=2 * number + (stem == "vocals")).T.numpy(), RATE)
            shutil.move(sound, folder / f"{stem}.wav")
    return root


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with songs of these names, and a run of `test` over them."""
    place = tmp_path_factory.mktemp("names")
    folders(place / "songs")
    quick = ("--model.method.steps", "1", "--model.compare", "null", "--model.metrics", "[SiSdr]", *NARROW)
    logs = ("--trainer.logger.init_args.save_dir", place / "logs", "--tensorboard.songs", 20, "--sound.songs", 20)
    assert run("test", "-c", STUDY, *quick, "--data.root", place / "songs", "--data.trim", "null", *logs) == 0
    return next(place.glob("logs/*/version_0"))


def test_the_table_has_all_of_them_and_no_cell_that_a_spreadsheet_computes(measured: Path) -> None:
    with (measured / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert len({row["song"] for row in rows}) == len(NAMES)
    for row in rows:
        assert not re.match(r"[=+@\t\r-]", row["song"]) or float(row["song"]) == -5
    assert any(float(row["value"]) < 0 for row in rows)
    assert pd.read_csv(measured / "results.csv", keep_default_na=False)["song"].nunique() == len(NAMES)
    json.loads((measured / "summary.json").read_text(encoding="utf-8"))


def test_they_are_compared_under_the_same_names(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("csv", "md", "tex"):
        assert run("compare", measured, "--songs", "--out", measured / f"songs.{kind}") == 0

    said = capsys.readouterr().out
    assert "\x1b" not in said
    for shown in ("n%FF", r"\x1b[31mred", r"two\nlines\rof it", "=1+1", "-5", "007", "NA"):
        assert shown in said
    again = pd.read_csv(measured / "songs.csv", dtype={"song": str}, keep_default_na=False)
    assert {re.sub(r"^'('*[=+@-])", r"\1", song) for song in again["song"]} == set(NAMES.values())
    assert "-0.0" in " ".join(again["gain"].astype(str)) or (again["gain"] < 0).any()
    markdown, latex = ((measured / f"songs.{kind}").read_text(encoding="utf-8") for kind in ("md", "tex"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", markdown + latex)
    assert r"a\|b\<script\>alert(1)\<x\>" in markdown
    assert r"\[x\](javascript:x)" in markdown
    assert len({line.replace(r"\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}) == 1
    assert r"\textbackslash{}x1b[31mred" in latex
    assert "007" in markdown
    assert "007" in latex


def test_they_are_reported_as_text(measured: Path) -> None:
    assert run("report", measured) == 0

    page = (measured / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "a|b&lt;script&gt;alert(1)&lt;x&gt;" in page
    assert "\x1b" not in page
    assert "n%FF" in page


def test_tensorboard_has_their_sound(measured: Path) -> None:
    events = EventAccumulator(str(measured), size_guidance={"audio": 0})
    events.Reload()

    tags = events.Tags()["audio"]
    assert all(any(tag.startswith(f"{name}/") for tag in tags) for name in ("n%FF", r"\x1b[31mred"))


def test_they_are_prepared_and_measured_from_there(own_folder: Path) -> None:
    folders(own_folder / "songs")

    assert run("prepare", "--data.root", "songs", "--to", "to", "--trim", "null") == 0

    index = json.loads(Path("to/index.json").read_text(encoding="utf-8"))
    assert {chunk["song"] for chunk in index["chunks"]} == set(NAMES.values())
    places = [chunk["uniform"]["file"] for chunk in index["chunks"]]
    assert len({place.casefold() for place in places}) == len(NAMES)
    assert all("\\" not in place and Path("to", place).is_file() for place in places)


def test_they_are_separated(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(own_folder / "in")
    for folder in (own_folder / "in").iterdir():
        os.rename(folder / "vocals.wav", f"{folder}.wav")
        shutil.rmtree(folder)

    line = ("predict", "-c", STUDY, *NARROW, "--model.method.steps", "0", "--data.input", "in", "--out", "out")
    assert run(*line, "--log-json", "log.jsonl") == 0

    assert {path.name for path in Path("out").iterdir()} == set(NAMES.values())
    events = [json.loads(line) for line in Path("log.jsonl").read_text(encoding="utf-8").splitlines()]
    written = {event["song"]: event["files"] for event in events if event["event"] == "song_written"}
    assert set(written) == set(NAMES.values())
    for song, files in written.items():
        assert files == [f"out/{song}/{stem}.wav" for stem in ("vocals", "accompaniment")]
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["test", "predict", "prepare"])
def test_two_folders_that_would_have_one_name_are_named(
    own_folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for name in (b"in/n\xff", b"in/n%FF", b"in/good"):
        folder = Path(os.fsdecode(name))
        folder.mkdir(parents=True)
        for stem in ("vocals", "accompaniment"):
            soundfile.write("sound.wav", noise(0.3).T.numpy(), RATE)
            shutil.move("sound.wav", folder / f"{stem}.wav")
    options = {
        "test": ("-c", STUDY, *NARROW, "--model.method.steps", "0", "--model.compare", "null", "--data.trim", "null"),
        "predict": ("-c", STUDY, *NARROW, "--model.method.steps", "0"),
        "prepare": ("--to", "to"),
    }

    assert run(command, *options[command], "--data.root", "in") == 1

    said = capsys.readouterr().err.split("error: ")[-1]
    assert "n%FF" in said
    if command == "test":
        assert set(pd.read_csv(next(Path("logs").rglob("results.csv")))["song"]) == {"good"}


def test_places_of_any_name(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(os.fsdecode(b"place \xff"))
    folder = place / "songs" / "good"
    folder.mkdir(parents=True)
    for stem in ("vocals", "accompaniment"):
        soundfile.write("sound.wav", noise(0.3).T.numpy(), RATE)
        shutil.move("sound.wav", folder / f"{stem}.wav")
    quick = ("-c", STUDY, *NARROW, "--model.method.steps", "0", "--model.compare", "null", "--data.trim", "null")

    assert run("test", *quick, "--data.root", place / "songs") == 0
    shutil.copytree("logs/demo/version_0", place / "run")
    for command in ("compare", "report"):
        assert run(command, place / "run") == 0
    assert run("compare", place / "run", "logs/demo/version_0", "--songs", "--out", place / "a.md") == 0
    assert run("prepare", "--data.root", place / "songs", "--to", place / "to") == 0
    separated = ("--data.input", folder / "vocals.wav", "--out", place / "out", "--log-json", place / "log.jsonl")
    assert run("predict", *quick[:6], *separated) == 0
    assert "Traceback" not in capsys.readouterr().err
