"""The stems that are written of a song: its estimates, their complements, and sums that are exact."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mdx_progressive.runtime import MdxError, find_name

_EXACT_BITS = 24
"""Integers of 24 bits are exact in float32, and so are their sums up to twice full scale."""


class StemMix:
    """Computes the stems from estimates and mixture.

    Args:
        targets: Names of the estimates.
        complements: Those, in upper or lower case, of which `no_<target>` is written too: the mixture minus the
            estimate as it is written.
        exact_sum: Whether what is left of the mixture after all estimates is shared out equally among them.

    Raises:
        MdxError: If a complement is none of the targets.
    """

    def __init__(self, targets: Sequence[str], complements: Sequence[str], exact_sum: bool) -> None:
        found = {name: find_name(name, targets) for name in complements}
        if unknown := [name for name, target in found.items() if target is None]:
            raise MdxError(f"writer.complement: {', '.join(unknown)} is not separated, only {', '.join(targets)}")
        self.targets = len(targets)
        self._complements = [list(targets).index(target) for target in found.values() if target is not None]
        self.names = [*targets, *(f"no_{targets[index]}" for index in self._complements)]
        self.exact_sum = exact_sum

    @property
    def need_mixture(self) -> bool:
        """Whether the estimates alone are not enough."""
        return bool(self._complements) or self.exact_sum

    def mix(self, estimates: Tensor, mixture: Tensor | None, steps: "QuantisationSteps | None" = None) -> Tensor:
        """The stems.

        Args:
            estimates: The estimates.
            mixture: The mixture, where it is needed.
            steps: The steps that samples are rounded to.

        Shape:
            - estimates: (target, channel, time)
            - mixture: (channel, time)
            - result: (stem, channel, time)
        """
        if mixture is None:
            return steps.dithered(estimates) if steps else estimates
        if self.exact_sum:
            estimates = estimates + (mixture - estimates.sum(dim=0)) / len(estimates)
        if steps:
            # Differences between steps are exact, and add up to steps again.
            estimates = steps.dithered(estimates)
        if self.exact_sum:
            rest = mixture.double() - estimates[:-1].double().sum(dim=0)
            estimates = torch.cat([estimates[:-1], rest.float()[None]])
        stems = torch.cat([estimates, mixture - estimates[self._complements]])
        return steps.rounded(stems) if steps and steps.stored else stems


class QuantisationSteps:
    """The steps that samples lie on when they are stored as integers, or when their sums are to be exact.

    Args:
        bits: Bits of an integer sample; None for floats, which lie on those of 24 bits.
        dither: Whether estimates are dithered: noise of triangular density, two steps wide, makes the error of rounding
            independent of the music. It is the same at each run.
    """

    def __init__(self, bits: int | None, dither: bool) -> None:
        self.stored = bits is not None
        self._scale = float(2 ** ((bits or _EXACT_BITS) - 1))
        self._dither = np.random.default_rng(0) if dither else None

    def dithered(self, waveforms: Tensor) -> Tensor:
        """Waveforms (..., time) on the steps, with noise if they are dithered; the pieces of a song come in order."""
        if self._dither is None:
            return self.rounded(waveforms)
        # Time comes first, so that however a song is cut, its noise is the same.
        noise = self._dither.triangular(-1.0, 0.0, 1.0, size=(waveforms.shape[-1], *waveforms.shape[:-1]))
        return self.rounded(waveforms + torch.from_numpy(noise).movedim(0, -1) / self._scale)

    def rounded(self, waveforms: Tensor) -> Tensor:
        """Waveforms on the steps; integers end a step below full scale."""
        steps = (waveforms.double() * self._scale).round()
        return ((steps.clamp(-self._scale, self._scale - 1) if self.stored else steps) / self._scale).float()
