"""Fixtures of the tests of weights."""

import resource
from collections.abc import Iterator
from copy import deepcopy

import pytest

from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from tests.support.torchaudio_weights import tiny_hdemucs


@pytest.fixture
def tiny_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchaudio's pipelines stand for a tiny network."""
    pipelines = import_torchaudio().pipelines
    network = tiny_hdemucs()
    monkeypatch.setattr(pipelines.HDEMUCS_HIGH_MUSDB, "_model_factory_func", lambda: deepcopy(network))


@pytest.fixture
def few_megabytes() -> Iterator[None]:
    """The test takes less than half a GiB more than there was."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19
