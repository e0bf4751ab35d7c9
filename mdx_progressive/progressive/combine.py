"""How the estimates of several passes are combined into one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.runtime import MdxError

_FRAMES = 16
"""Frames of a window over which energies are smoothed."""
_TINY = 1e-10
"""Energy of a sample at -100 dB of full scale: two estimates below it are alike."""


class Combination(ABC):
    """Combines the passes of all steps so far into the estimate that is returned, and blended into the next input."""

    steps: int | None = None
    """Number of latest steps that it uses; None for all steps."""

    @abstractmethod
    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        """One estimate from all passes.

        Args:
            passes: For every step, from step 0, the estimates of its passes.

        Shape:
            - passes: (pass, batch, source, channel, time) each
            - result: (batch, source, channel, time)
        """

    def for_rate(self, sample_rate: int) -> "Combination":
        """The combination for estimates of a sample rate in Hz."""
        return self


class Last(Combination):
    """The mean over the passes of the latest step; earlier steps are discarded.

    Example:
        >>> import torch
        >>> Last()([torch.zeros(1, 1), torch.tensor([[1.0], [3.0]])]).tolist()
        [2.0]
    """

    steps = 1

    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        return passes[-1].mean(dim=0)


class Mean(Combination):
    """The mean over all passes so far; passes of later steps may have another weight than those of step 0.

    Where the separator confuses two sources, the last step alone may oscillate between them; the mean converges (Mann,
    1953, Mean value methods in iteration).

    Args:
        later: Weight of a pass of the steps after step 0, where one of step 0 has 1.

    Raises:
        MdxError: If `later` is not above 0.

    Example:
        >>> import torch
        >>> Mean()([torch.zeros(1, 1), torch.tensor([[1.0], [3.0]])]).tolist()
        [1.3333333730697632]
        >>> Mean(later=2.0)([torch.zeros(2, 1), torch.full((1, 1), 4.0)]).tolist()
        [2.0]
    """

    def __init__(self, later: float = 1.0) -> None:
        if not later > 0:
            raise MdxError(f"the weight of later passes must be above 0, not {later}")
        self.later = later

    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        first, *others = passes
        total, weight = first.sum(dim=0), float(len(first))
        for each in others:
            total, weight = total + self.later * each.sum(dim=0), weight + self.later * len(each)
        return total / weight


class GuardedMean(Mean):
    """As `Mean`, but a pass that finds much less of a source than step 0 did counts less there.

    A network that hears a part of the sources, without the context of the others, may call one of them by another's
    name; what it lost is then missing in that pass alone. The weight of a pass of the later steps is multiplied by
    `min(1, E / E0)`, with the energies of its estimate and of that of step 0 around each sample.

    Args:
        later: Weight of a pass of the steps after step 0, where one of step 0 has 1.
        window: Seconds over which the energies are smoothed.

    Raises:
        MdxError: If `later` or `window` is not above 0.

    Example:
        The mean of 1 and 2, where a third pass has lost the source:

        >>> first, lost = torch.ones(1, 1, 1, 1, 4), torch.zeros(1, 1, 1, 1, 4)
        >>> GuardedMean().for_rate(4)([first, torch.cat([2 * first, lost])]).flatten().tolist()
        [1.5, 1.5, 1.5, 1.5]
    """

    def __init__(self, later: float = 1.0, window: float = 0.75) -> None:
        super().__init__(later)
        if not window > 0:
            raise MdxError(f"the window of the guarded mean must be above 0 seconds, not {window}")
        self.window = window
        self._samples = 0

    def for_rate(self, sample_rate: int) -> "GuardedMean":
        other = copy(self)
        other._samples = max(round(self.window * sample_rate), 1)
        return other

    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        first, *others = passes
        total, weight = first.sum(dim=0), torch.full_like(first[0, :, :, :1], float(len(first)))
        expected = self._energy(first.mean(dim=0))
        for each in others:
            for estimates in each:
                share = self.later * ((self._energy(estimates) + _TINY) / (expected + _TINY)).clamp(max=1)
                total, weight = total + share * estimates, weight + share
        return total / weight

    def _energy(self, estimates: Tensor) -> Tensor:
        """The energy around each sample (batch, source, 1, time)."""
        time = estimates.shape[-1]
        hop = max(self._samples // _FRAMES, 1)
        power = estimates.square().sum(dim=-2)
        frames = functional.avg_pool1d(power, hop, ceil_mode=True, count_include_pad=False)
        smooth = functional.avg_pool1d(frames, _FRAMES + 1, 1, _FRAMES // 2, count_include_pad=False)
        return functional.interpolate(smooth, time, mode="linear").unsqueeze(-2)
