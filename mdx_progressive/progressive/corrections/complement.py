"""One source as what the others leave of the mixture."""

import torch
from torch import Tensor

from mdx_progressive.progressive.corrections.base import Correction, residual
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime import MdxError


class Complement(Correction):
    """One source is what the others leave of the mixture: `x_j + r`.

    Right where that source gathers what the network leaves out, as the accompaniment does.

    Args:
        source: Its name.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        if self.source not in passes.sources:
            raise MdxError(f"Complement: there is no source {self.source}, only {', '.join(passes.sources)}")
        taken = torch.tensor([source == self.source for source in passes.sources], device=estimates.device)
        return estimates + taken[:, None, None] * residual(passes, estimates)
