"""Which run the same command resumes, whatever a kill or a disk has left in its folder."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mdx_progressive.engine.resume import unfinished_version
from mdx_progressive.evaluation.measurements import lock_run
from mdx_progressive.evaluation.run import read_settings

SETTINGS: dict[str, Any] = {
    "model": {"separator": {"class_path": "a.B", "init_args": {"name": "x"}}},
    "data": {"root": "songs"},
    "trainer": {
        "precision": None,
        "logger": {"class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                   "init_args": {"save_dir": "logs", "name": "run", "version": None}},
    },
}  # fmt: skip

BROKEN = {
    "text": "trainer: abc\n",
    "cut off": "model:\n  separator: {class_path: a.B, init_args: [\n",
    "list": "- 1\n",
    "number": "5\n",
    "sections": "model: 5\ndata: [1]\ntrainer: {}\n",
    "separator": "model: {separator: abc}\n",
    "arguments": "model: {separator: {class_path: a.B, init_args: abc}}\n",
    "deep": "[" * 5_000,
    "class": "model: {separator: {class_path: [1]}}\n",
}


@pytest.fixture
def run_folder(own_folder: Path) -> Path:
    folder = Path("logs/run/version_0")
    folder.mkdir(parents=True)
    (folder / "measured.0.jsonl").touch()
    return folder


def test_an_interrupted_run_of_the_same_settings_is_resumed(run_folder: Path) -> None:
    (run_folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS))

    assert unfinished_version(SETTINGS) == 0


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_configuration_that_is_none_is_set_aside_and_said(
    run_folder: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (run_folder / "config.yaml").write_text(content)

    assert read_settings(run_folder) == {}
    assert unfinished_version(SETTINGS) is None
    assert (run_folder / "config.yaml.damaged").read_text() == content
    assert "config.yaml.damaged" in caplog.text


def test_a_run_that_was_killed_before_its_first_line_leaves_its_place(own_folder: Path) -> None:
    folder = Path("logs/run/version_3")
    lock = lock_run(folder)
    (folder / "events.out.tfevents.1").touch()

    assert unfinished_version(SETTINGS) is None  # It is running.
    lock.release()
    assert unfinished_version(SETTINGS) == 3
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS | {"data": {"root": "others"}}))
    assert unfinished_version(SETTINGS) is None
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    assert unfinished_version(SETTINGS) == 3
    (folder / "results.csv").touch()
    assert unfinished_version(SETTINGS) is None
