"""What is left, and what was found, separated once more."""

import torch
from torch import Tensor

from mdx_progressive.corrections.base import Correction, residual
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path


class ResidualSeparation(Correction):
    """What no estimate has is separated too: `x_j + f_j(r)`. One pass for all sources."""

    passes = 1

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        return estimates + passes.over(residual(passes, estimates))[0]


class CleanUp(Correction):
    """Each estimate is separated once more, alone: `x_t + strength (f_t(x_t) - x_t)`. One pass for each source.

    Args:
        strength: 0 leaves the estimate, 1 takes the second one instead.
    """

    needs_others = False
    passes = 1

    def __init__(self, strength: float = 0.5) -> None:
        self.strength = strength

    def inputs(self, sources: int) -> int:
        return self.passes * sources

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        return torch.lerp(estimates, passes.over(estimates)[0], self.strength)
