"""A run that others have written, or a disk has spoilt: compare and report say in a line which file it is and why."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mdx_progressive.evaluation.results import Row, write_rows
from mdx_progressive.evaluation.timings import Timing, write_timings
from tests.support.command import run

HEAD = "song,chunk,method,step,passes,weight,source,metric,value"
SUMMARY: dict[str, Any] = {
    "methods": ["one-pass", "linear"], "bounds": [], "metrics": {"si_sdr": {"label": "SI-SDR", "unit": "dB"}},
    "separator": "S", "failed": {}, "weights": {"a": "b"}, "versions": {"torch": "2"},
}  # fmt: skip
EXCERPT: dict[str, Any] = {
    "song": "a", "chunk": 0, "seconds": 1.0, "chunk_seconds": 1.0, "gain_db": 0.0, "method": "linear",
    "takes": {"vocals": [{"kind": "mixture", "file": "a/mixture.mp3"}]},
}  # fmt: skip


@pytest.fixture
def folder(own_folder: Path) -> Path:
    """A run of two songs."""
    place = Path("run")
    place.mkdir()
    rows = [
        Row(song, 0, method, step, step + 1, 0.1 * step, "vocals", "si_sdr", value + step)
        for song, value in (("a", 1.0), ("b", -2.0))
        for method, steps in (("one-pass", 1), ("linear", 2))
        for step in range(steps)
    ]
    write_rows(place / "results.csv", rows)
    write_timings(place / "timings.csv", [Timing(row.song, 0, row.method, 1.0, 1.0, "cpu") for row in rows[:2]])
    (place / "summary.json").write_text(json.dumps(SUMMARY))
    return place


def table(*lines: str, head: str = HEAD) -> str:
    return "\n".join([head, *lines]) + "\n"


ROW = "a,0,one-pass,0,1,0.0,vocals,si_sdr,1.0"
TABLES = {
    "empty": "",
    "head alone": table(),
    "no column": table("a,0", head="song,chunk"),
    "text for a step": table("a,0,one-pass,x,1,0.0,vocals,si_sdr,1.0"),
    "text for a value": table("a,0,one-pass,0,1,0.0,vocals,si_sdr,=1+1"),
    "no step": table("a,0,one-pass,,1,0.0,vocals,si_sdr,1.0"),
    "NaN for a step": table("a,0,one-pass,nan,1,0.0,vocals,si_sdr,1.0"),
    "negative step": table("a,0,one-pass,-1,1,0.0,vocals,si_sdr,1.0"),
    "huge step": table("a,0,one-pass,99999999999,1,0.0,vocals,si_sdr,1.0"),
    "beyond all integers": table(f"a,{'9' * 400},one-pass,0,1,0.0,vocals,si_sdr,1.0"),
    "half a step": table("a,0,one-pass,0.5,1,0.0,vocals,si_sdr,1.0"),
    "twice": table(ROW, ROW),
    "zeros": "\0" * 1000,
    "no text": "\udcff\udcfe" * 100,
    "other metric": table(ROW.replace("si_sdr", "x")),
    "thousands of methods": table(*(ROW.replace("one-pass", f"m{number}") for number in range(5000))),
    "thousands of metrics": table(*(ROW.replace("si_sdr", f"m{number}") for number in range(5000))),
    "a name of a megabyte, twice": table(*[ROW.replace("a,", f"{'a' * 1_000_000},", 1)] * 2),
    "thousands of columns": table("a,0," + "1," * 5000, head="song,chunk," + ",".join(map(str, range(5000)))),
    "not finite": table(ROW, ROW.replace("1.0", "inf"), ROW.replace("0,1", "0,inf")),
}
SUMMARIES: dict[str, object] = {
    "number": 5,
    "list": [],
    "bounds": {"bounds": 5},
    "methods": SUMMARY | {"methods": "one-pass"},
    "numbers": SUMMARY | {"methods": [1, 2]},
    "metrics": SUMMARY | {"metrics": []},
    "scale": SUMMARY | {"metrics": {"si_sdr": {"x": 1}}},
    "label": SUMMARY | {"metrics": {"si_sdr": {"label": 5}}},
    "weights": SUMMARY | {"weights": [1]},
    "failed": SUMMARY | {"failed": "x"},
    "versions": SUMMARY | {"versions": 5},
}


def refused(capsys: pytest.CaptureFixture[str], command: str, name: str) -> None:
    capsys.readouterr()
    assert run(command, "run") == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert name in said.split("error: ")[-1]
    assert len(said) < 1500


@pytest.mark.parametrize("command", ["compare", "report"])
class TestRefused:
    @pytest.mark.parametrize("content", TABLES.values(), ids=TABLES)
    def test_tables(self, folder: Path, capsys: pytest.CaptureFixture[str], command: str, content: str) -> None:
        (folder / "results.csv").write_bytes(content.encode(errors="surrogateescape"))

        refused(capsys, command, "results.csv")

    @pytest.mark.parametrize("content", [*map(json.dumps, SUMMARIES.values()), "[" * 100_000, "", "\udcff"])
    def test_summaries(self, folder: Path, capsys: pytest.CaptureFixture[str], command: str, content: str) -> None:
        (folder / "summary.json").write_bytes(content.encode(errors="surrogateescape"))

        refused(capsys, command, "summary.json")

    @pytest.mark.parametrize("line", ["a,0,one-pass,x,1.0,cpu", "a,0,one-pass,nan,1.0,cpu", "a,0,one-pass,1.0,0,cpu",
                                      "a,x,one-pass,1.0,1.0,cpu", "a,0"])  # fmt: skip
    def test_timings(self, folder: Path, capsys: pytest.CaptureFixture[str], command: str, line: str) -> None:
        (folder / "timings.csv").write_text(f"song,chunk,method,seconds,audio_seconds,device\n{line}\n")

        refused(capsys, command, "timings.csv")


@pytest.mark.parametrize(
    "index",
    [5, {}, [5], [EXCERPT | {"seconds": "x"}], [EXCERPT | {"takes": {}}], [EXCERPT | {"takes": {"vocals": []}}],
     [EXCERPT | {"takes": {"vocals": [{"kind": "x", "file": "a"}]}}], [EXCERPT | {"chunk": []}], [EXCERPT | {"x": 1}],
     [EXCERPT | {"takes": {"vocals": [{"kind": "mixture", "file": 5}]}}],
     [EXCERPT | {"takes": {"vocals": [{"kind": "mixture", "file": "../results.csv"}]}}],
     [EXCERPT | {"takes": {"vocals": [{"kind": "mixture", "file": "loop.mp3"}]}}]],
)  # fmt: skip
def test_an_index_of_sound_that_is_none_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], index: object
) -> None:
    (folder / "sound").mkdir()
    (folder / "sound" / "loop.mp3").symlink_to("loop.mp3")
    (folder / "sound" / "index.json").write_text(json.dumps(index))

    refused(capsys, "report", "index.json")


@pytest.mark.parametrize("content", ["trainer: abc", "model: {separator: 5}", "[" * 5_000, "- 1", "\x1b[31m"])
def test_settings_that_are_none_keep_nothing_from_being_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (folder / "config.yaml").write_text(content)
    shutil.copytree(folder, "other")

    assert run("compare", folder, "other") == run("report", folder) == 0
    assert "the settings of run are not known" in capsys.readouterr().out
    assert (folder / "config.yaml").read_text() == content


EVIL = '</script><img src=x onerror="alert(1)">\x1b[31m=1|\udcff'


@pytest.mark.parametrize(
    "place",
    [lambda summary: summary.update(separator=EVIL), lambda summary: summary.update(failed={EVIL: EVIL}),
     lambda summary: summary.update(versions={EVIL: EVIL}), lambda summary: summary.update(licence_of_weights=EVIL),
     lambda summary: summary["metrics"]["si_sdr"].update(label=EVIL, unit=EVIL)],
)  # fmt: skip
def test_what_a_summary_says_is_text_in_the_report(
    folder: Path, capsys: pytest.CaptureFixture[str], place: Callable[[dict[str, Any]], object]
) -> None:
    summary = json.loads(json.dumps(SUMMARY))
    place(summary)
    (folder / "summary.json").write_text(json.dumps(summary))

    assert run("report", folder) == run("compare", folder) == 0

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "\x1b" not in page + capsys.readouterr().out
