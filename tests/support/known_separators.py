"""Separators whose answers are known, and methods run on them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mdx_progressive.progressive.combine import Combination, Last
from mdx_progressive.progressive.methods import Method
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Step, Trajectory

BATCH, CHANNELS, TIME = 3, 2, 64
SOURCES = ["vocals", "accompaniment"]
RATE = 8


class LinearSeparator:
    """Estimates source `j` as `gains[j]` times its input, and keeps what it heard."""

    def __init__(self, *gains: float) -> None:
        self.gains = torch.tensor(gains).view(1, -1, 1, 1)
        self.inputs: list[Tensor] = []

    def __call__(self, mixtures: Tensor, input_index: Sequence[int] | None = None) -> Tensor:
        self.inputs.append(mixtures.clone())
        return self.gains.to(mixtures.dtype) * of_sources(mixtures, input_index)


class PerfectSeparator:
    """Knows the stems: finds the gain of each within any weighting of them, by least squares."""

    def __init__(self, stems: Tensor) -> None:
        self.stems = stems

    def __call__(self, mixtures: Tensor, input_index: Sequence[int] | None = None) -> Tensor:
        copies = len(mixtures) // len(self.stems)
        stems = self.stems.repeat(copies, 1, 1, 1)
        mixtures = of_sources(mixtures, input_index).expand(-1, stems.shape[1], -1, -1)
        flat = stems.flatten(2).transpose(1, 2)  # (batch, channel * time, stem)
        gains = torch.linalg.lstsq(flat, mixtures.flatten(2).transpose(1, 2)).solution  # (batch, stem, source)
        return gains.diagonal(dim1=1, dim2=2)[..., None, None] * stems


class LeakySeparator:
    """Estimates `leak @ sources` of a mixture whose sources lie in bands of their own, `split` the bin between them."""

    def __init__(self, leak: Sequence[Sequence[float]], split: int) -> None:
        self.leak = torch.tensor(leak, dtype=torch.float64)
        self.split = split

    def __call__(self, mixtures: Tensor) -> Tensor:
        spectra = torch.fft.rfft(mixtures[:, 0].double())
        low = torch.arange(spectra.shape[-1]) < self.split
        sources = torch.stack([torch.where(low, spectra, 0), torch.where(low, 0, spectra)], dim=1)
        mixed = torch.einsum("st,btcf->bscf", self.leak.to(sources.dtype), sources)
        return torch.fft.irfft(mixed, n=mixtures.shape[-1]).to(mixtures.dtype)


def of_sources(mixtures: Tensor, input_index: Sequence[int] | None) -> Tensor:
    """The input of each source."""
    return mixtures if input_index is None else mixtures[:, list(input_index)]


def mixture() -> Tensor:
    return 0.2 * torch.randn(BATCH, CHANNELS, TIME, generator=torch.Generator().manual_seed(1))


def stems() -> Tensor:
    shape = (BATCH, len(SOURCES), CHANNELS, TIME)
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def passes_of(separate: Callable[..., Tensor], y: Tensor, sources: Sequence[str] = SOURCES) -> Passes:
    return Passes(separate, y, sources, RATE)


def path_of(passes: Passes, combine: Combination | None = None) -> Trajectory:
    return Trajectory(passes.separate(passes.mixture.unsqueeze(1)), combine or Last())


def run(
    method: Method,
    separate: Callable[..., Tensor],
    y: Tensor,
    references: Tensor | None = None,
    sources: Sequence[str] = SOURCES,
) -> tuple[list[Step], int]:
    """The steps of a method, and the passes that it made."""
    passes = passes_of(separate, y, sources)
    steps = list(method.run(passes, separate(y.unsqueeze(1)), references))
    return steps, 1 + passes.count
