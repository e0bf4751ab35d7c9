"""Small Open-Unmix networks with random weights that let sound through, in files as open-unmix writes them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mdx_progressive.runtime.torchaudio_import import import_torchaudio

FOUR = ("vocals", "drums", "bass", "other")
MUSIC = {"sample_rate": 44100, "nfft": 4096, "nhop": 1024, "nb_channels": 2}
SPEECH = {"sample_rate": 16000, "nfft": 1024, "nhop": 512, "nb_channels": 1}


def small_network(number: int, window: int = 4096, channels: int = 2, **settings: Any) -> nn.Module:
    """The real architecture, narrow; each with masks of its own."""
    import_torchaudio()
    from openunmix.model import OpenUnmix

    torch.manual_seed(number)
    bins = window // 2 + 1
    network: nn.Module = OpenUnmix(bins, channels, **{"hidden_size": 32, "max_bin": 3 * bins // 4, **settings})
    state = network.state_dict()
    generator = torch.Generator().manual_seed(number)

    def spread(name: str, low: float, high: float) -> None:
        state[name].copy_(low + (high - low) * torch.rand(state[name].shape, generator=generator))

    spread("input_mean", -0.5, 0.0)
    spread("input_scale", 0.2, 1.0)
    spread("output_mean", 0.0, 0.5)
    spread("output_scale", 0.2, 1.0)
    for norm in ("bn1", "bn2", "bn3"):
        spread(f"{norm}.running_mean", -0.1, 0.1)
        spread(f"{norm}.running_var", 0.5, 2.0)
    return network.eval()


def write(folder: Path, states: dict[str, dict[str, Tensor]], described: dict[str, int] | None = None) -> Path:
    """A folder as open-unmix's training writes it, without its logs."""
    for name, state in states.items():
        torch.save(state, folder / f"{name}.pth")
        (folder / f"{name}.json").write_text(json.dumps({"args": {**(described or {}), "hidden_size": 32}}))
    if described is not None:
        (folder / "separator.json").write_text(json.dumps(described))
    return folder


def small_folder(folder: Path, sources: Sequence[str] = FOUR, facts: dict[str, int] = MUSIC) -> Path:
    """One small network for each source, in files."""
    states = {
        source: small_network(number, facts["nfft"], facts["nb_channels"]).state_dict()
        for number, source in enumerate(sources)
    }
    return write(folder, states, facts)
