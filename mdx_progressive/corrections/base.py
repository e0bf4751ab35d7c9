"""What a correction is."""

from abc import ABC, abstractmethod

from torch import Tensor

from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path


class Correction(ABC):
    """Changes the estimates that a method hands out."""

    needs_others = True
    """Whether it needs the estimates of all sources, whichever are wanted."""
    passes = 0
    """Passes that it makes."""

    def inputs(self, sources: int) -> int:
        """How many inputs its passes have, with so many sources: by default one for all of them each."""
        return self.passes

    @abstractmethod
    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        """The estimates, corrected.

        Args:
            passes: The separator and the mixture.
            path: All passes that the combination of the method looks at.
            estimates: What the method, or the correction before this one, gave.

        Shape:
            - estimates and the result: (batch, source, channel, time)
        """


def residual(passes: Passes, estimates: Tensor) -> Tensor:
    """What no estimate has of the mixture, (batch, 1, channel, time)."""
    return passes.mixture.unsqueeze(1) - estimates.sum(dim=1, keepdim=True)
