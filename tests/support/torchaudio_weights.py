"""A small HDemucs of torchaudio with random weights that let sound through, loaded as the real ones are."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from mdx_progressive.separators.torchaudio import TorchaudioSeparator
from tests.support.signals import SOURCES


def small_hdemucs(seed: int = 0, **settings: Any) -> nn.Module:
    """The real architecture at a third of its width."""
    torch.manual_seed(seed)
    network: nn.Module = import_torchaudio().models.HDemucs(list(SOURCES), **{"channels": 16, **settings})
    return network.eval()


def tiny_hdemucs() -> nn.Module:
    """One that is made in a moment, and separates nothing."""
    return small_hdemucs(channels=8, depth=2, nfft=16)


def small_bundles(patch: pytest.MonkeyPatch) -> None:
    """Let torchaudio's pipelines stand for the small network."""
    pipelines = import_torchaudio().pipelines
    for name in ("HDEMUCS_HIGH_MUSDB", "HDEMUCS_HIGH_MUSDB_PLUS"):
        patch.setattr(getattr(pipelines, name), "_model_factory_func", small_hdemucs)


def small_torchaudio(folder: Path, **settings: Any) -> TorchaudioSeparator:
    """The separator of the small network, from a state dict in the given folder."""
    path = folder / "small.pt"
    torch.save(small_hdemucs(seed=1).state_dict(), path)
    with pytest.MonkeyPatch.context() as patch:
        small_bundles(patch)
        return TorchaudioSeparator(weights=path, **settings)
