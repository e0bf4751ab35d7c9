"""Signals for tests."""

import torch
from torch import Tensor

SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 44100


def noise(seconds: float, channels: int = 2, seed: int = 0, rate: int = RATE, level: float = 0.1) -> Tensor:
    """White noise (channel, time)."""
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(channels, int(seconds * rate), generator=generator)
