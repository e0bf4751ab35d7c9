"""Names in YAML and on the command line: short names of classes, and settings of earlier versions."""

import shutil
from pathlib import Path

import pytest
import yaml

import mdx_progressive
from mdx_progressive import (
    AugmentationPlan,
    Combination,
    Correction,
    Method,
    Metric,
    Normalisation,
    Remix,
    Sampler,
    Schedule,
    Score,
    Separator,
    SongDataset,
)
from tests.support.command import run
from tests.support.paths import STUDY

DEMO = str(STUDY)
FORMER = Path(__file__).parents[1] / "support" / "model-0.1.yaml"
"""The settings of the demo's model as version 0.1 saved them."""


def settings(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    assert run("test", *arguments, "--print_config") == 0
    loaded: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
    return loaded


def test_every_class_that_settings_can_name_is_found_in_the_package() -> None:
    bases = [
        AugmentationPlan, Combination, Correction, Method, Metric, Normalisation, Remix, Sampler, Schedule, Score,
        Separator, SongDataset,
    ]  # fmt: skip

    def concrete(base: type) -> set[type]:
        subclasses: list[type] = base.__subclasses__()
        below = {kind for subclass in subclasses for kind in concrete(subclass)}
        own = not getattr(base, "__abstractmethods__", None) and base.__module__.startswith("mdx_progressive.")
        return below | ({base} if own else set())

    for name in mdx_progressive.__all__:
        getattr(mdx_progressive, name)  # imports them all
    classes = {kind for base in bases for kind in concrete(base)}
    assert len(classes) > 40
    assert {kind.__name__ for kind in classes} <= set(mdx_progressive.__all__)
    for kind in classes:
        assert getattr(mdx_progressive, kind.__name__) is kind


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("model.method", "Search"),
        ("model.method", "OnePass"),
        ("model.method.sampler", "Halves"),
        ("model.method.schedule", "Karras"),
        ("model.method.augmentations", "AugmentationCycle"),
        ("model.method.combine", "Mean"),
        ("data.dataset", "BuiltinClip"),
        ("data.normalisation", "Loudness"),
    ],
)
def test_a_short_name_is_enough(key: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--{key}", name] + (["--model.method.score", "Interference"] if name == "Search" else [])

    node: object = settings(capsys, "-c", DEMO, *arguments)

    for part in key.split("."):
        assert isinstance(node, dict)
        node = node.get("init_args", node).get(part) if part not in node else node[part]
    assert isinstance(node, dict)
    assert node["class_path"] == f"mdx_progressive.{name}"


def test_a_short_name_is_enough_in_yaml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.yaml").write_text(
        "class_path: Progressive\ninit_args: {schedule: Linear, steps: 2, sampler: {class_path: Heun}}\n"
    )

    model = settings(capsys, "-c", DEMO, "--model.method", str(tmp_path / "m.yaml"))["model"]

    assert isinstance(model, dict)
    method = model["method"]
    assert method["class_path"] == "mdx_progressive.Progressive"
    assert method["init_args"]["sampler"]["class_path"] == "mdx_progressive.Heun"


def test_the_settings_of_an_earlier_version_are_those_of_today(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    former = tmp_path / "config.yaml"
    shutil.copy(FORMER, former)

    assert settings(capsys, "-c", str(former))["model"] == settings(capsys, "-c", DEMO)["model"]


@pytest.mark.parametrize(
    ("option", "value", "today"),
    [("each_step", "null", "step_corrections"), ("views", "null", "augmentations"), ("retune", "15", "pitch_correct")],
)
def test_a_former_option_is_answered_with_the_name_of_today(
    option: str, value: str, today: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("test", "-c", DEMO, f"--model.method.{option}", value) == 2

    error = capsys.readouterr().err
    assert f"{option} is called {today} now" in error
    assert len(error.splitlines()) == 2  # The first says what runs.
