"""Estimates that add up to the mixture: the residual is handed out."""

import torch
from torch import Tensor

from mdx_progressive.corrections.base import Correction, residual
from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path

_SMALL = 1e-10


class MixtureConsistency(Correction):
    """The estimates are made to add up to the mixture: `x_j + w_j r`. Wisdom et al., 2019.

    Args:
        power: The weights `w_j` are the estimates' energies in the chunk to this power, over their sum: 0 gives
            every source the same part of the residual, 1 a part in proportion to its energy.

    Raises:
        MdxError: If `power` is negative.
    """

    def __init__(self, power: float = 0.0) -> None:
        if not power >= 0:
            raise MdxError(f"the power of the energies must be 0 or more, not {power}")
        self.power = power

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        weights = (estimates.square().sum(dim=(-2, -1), keepdim=True) + _SMALL) ** self.power
        return estimates + weights / weights.sum(dim=1, keepdim=True) * residual(passes, estimates)


class Complement(Correction):
    """One source is what the others leave of the mixture: `x_j + r`.

    Right where that source gathers what the network leaves out, as the accompaniment does.

    Args:
        source: Its name.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        if self.source not in passes.sources:
            raise MdxError(f"Complement: there is no source {self.source}, only {', '.join(passes.sources)}")
        taken = torch.tensor([source == self.source for source in passes.sources], device=estimates.device)
        return estimates + taken[:, None, None] * residual(passes, estimates)
