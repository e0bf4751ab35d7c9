"""bfloat16 where the CPU has none: float32 in its place, and a line that says so."""

import pytest
import torch

from mdx_progressive.engine import bfloat16
from tests.support.command import NARROW, run
from tests.support.paths import STUDY

NOTE = "this CPU has no bfloat16"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without instructions for bfloat16, as the library tells it, and no accelerator."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize(
    ("precision", "accelerator", "used"),
    [
        ("bf16-mixed", "auto", "32-true"),
        ("bf16-true", "cpu", "32-true"),
        ("bf16-mixed", "cuda", "bf16-mixed"),
        ("16-mixed", "cpu", "16-mixed"),
        (None, "auto", None),
    ],
)
def test_float32_takes_its_place_on_a_cpu_alone(precision: str | None, accelerator: str, used: str | None) -> None:
    assert bfloat16.usable_precision(precision, accelerator) == used


def test_it_is_used_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)

    assert bfloat16.usable_precision("bf16-mixed", "cpu") == "bf16-mixed"


@pytest.mark.usefixtures("without", "own_folder")
def test_the_command_says_so_and_the_results_are_those_of_float32(capsys: pytest.CaptureFixture[str]) -> None:
    quick = ("-c", STUDY, *NARROW, "--data.chunk", "1", "--model.method.steps", "1", "-d", "cpu")

    assert run("test", *quick, "--trainer.precision", "bf16-mixed") == 0

    assert f"trainer.precision bf16-mixed: {NOTE}" in capsys.readouterr().err
