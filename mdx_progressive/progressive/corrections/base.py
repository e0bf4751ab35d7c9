"""The interface of a correction."""

from abc import ABC, abstractmethod

from torch import Tensor

from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory


class Correction(ABC):
    """Improves the estimates of a step."""

    needs_all_sources = True
    """Whether it needs the estimates of all sources, not of the targets alone."""

    needs_all_in_last_step = True
    """Whether the last step must estimate every source for it, also those that are not wanted in the end."""

    def passes(self, sources: int) -> int:
        """Network passes that it costs for a number of sources; by default none."""
        return 0

    @abstractmethod
    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        """The estimates, corrected.

        Args:
            passes: The separator and the mixture.
            trajectory: All passes that the combination of the method uses.
            estimates: The estimates of the method, or of the correction before this one.

        Shape:
            - estimates and the result: (batch, source, channel, time)
        """


def residual(passes: Passes, estimates: Tensor) -> Tensor:
    """The part of the mixture that is in no estimate, (batch, 1, channel, time)."""
    return passes.mixture.unsqueeze(1) - estimates.sum(dim=1, keepdim=True)
