"""Schedules of the blend weight: how fast the estimate takes the place of the mixture.

A schedule maps the progress `u = n / N` of step `n` out of `N` to the weight `b_n` of the estimate. Step 0 is
always the plain mixture, `b_0 = 0`; the remaining gain of the accompaniment is `sigma_n = 1 - b_n`. Schedules
are fairly compared at an equal `maximum` and an equal number of steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mdx_progressive.errors import MdxError


class Schedule(ABC):
    """Blend weight of the estimate as a function of progress.

    Args:
        maximum: The weight `b_max` that the schedule ends at, within [0, 1).

    Raises:
        MdxError: If `maximum` lies outside [0, 1).
    """

    default_steps = 9

    def __init__(self, maximum: float = 0.9) -> None:
        self.maximum = _checked(maximum, "the schedule's maximum")

    @abstractmethod
    def curve(self, progress: Tensor) -> Tensor:
        """Weights at the given progress, each within [0, 1]."""

    def weights(self, steps: int) -> Tensor:
        """The weights `b_0 = 0, b_1 … b_N` of a plain pass and `N = steps` passes after it.

        Shape:
            - result: (steps + 1,)

        Raises:
            MdxError: If `steps` is negative.
        """
        if steps < 0:
            raise MdxError(f"the number of steps must be 0 or more, not {steps}")
        progress = torch.arange(steps + 1, dtype=torch.float64) / max(steps, 1)
        weights = self.curve(progress)
        weights[0] = 0.0
        return weights


class Constant(Schedule):
    """The same weight at every step: `b_n = b_max`.

    Args:
        maximum: The weight `b_max`, within [0, 1).

    Example:
        >>> Constant(0.4).weights(3).tolist()
        [0.0, 0.4, 0.4, 0.4]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return torch.full_like(progress, self.maximum)


class Linear(Schedule):
    """Equal increments, the founding study's schedule: `b_n = b_max u`.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).

    Example:
        >>> Linear(0.5).weights(4).tolist()
        [0.0, 0.125, 0.25, 0.375, 0.5]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return self.maximum * progress


class Cosine(Schedule):
    """Slow at both ends: `b_n = b_max sin^2(pi u / 2)`. After Nichol and Dhariwal, 2021, equation 17.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).

    Example:
        >>> [round(weight, 3) for weight in Cosine(0.8).weights(4).tolist()]
        [0.0, 0.117, 0.4, 0.683, 0.8]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return self.maximum * torch.sin(0.5 * torch.pi * progress) ** 2


class Exponential(Schedule):
    """The target grows by equally many decibels a step: `b_n = 1 - (1 - b_max)^u`.

    The accompaniment's gain falls as a geometric series, as the exponential noise schedule of k-diffusion
    with `sigma_max = 1` and `sigma_min = 1 - b_max`.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).

    Example:
        >>> Exponential(0.75).weights(2).tolist()
        [0.0, 0.5, 0.75]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return 1 - (1 - self.maximum) ** progress


class Karras(Schedule):
    """EDM's noise levels as a fraction of the first: `b_n = b_max (1 - sigma_n / sigma_max)`.

    `sigma_n / sigma_max = (1 + u (kappa^(1/rho) - 1))^rho`, Karras et al. 2022, equation 5, in which only the
    ratio `kappa = sigma_min / sigma_max` is left. EDM's own values (kappa 2.5e-5, rho 7) rise so fast that the
    second of ten weights is .47 b_max already.

    Args:
        maximum: The weight `b_max`, within [0, 1). The last step has `b_max (1 - kappa)`.
        kappa: Last noise level over the first, within (0, 1).
        rho: Curvature, above 0; 1 is linear.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 2) for weight in Karras(1 - 1e-9).weights(9).tolist()][:3]
        [0.0, 0.47, 0.74]
    """

    def __init__(self, maximum: float = 0.9, kappa: float = 2.5e-5, rho: float = 7.0) -> None:
        super().__init__(maximum)
        if not 0 < kappa < 1:
            raise MdxError(f"kappa must lie between 0 and 1, not {kappa}")
        self.kappa = kappa
        self.rho = _positive(rho, "rho")

    def curve(self, progress: Tensor) -> Tensor:
        sigma: Tensor = (1 + progress * (self.kappa ** (1 / self.rho) - 1)) ** self.rho
        return self.maximum * (1 - sigma)


class KarrasFlow(Schedule):
    """EDM's noise levels as noise-to-signal ratios: `b_n = 1 / (1 + sigma_n)`.

    That is the time of a flow-matching path with the signal-to-noise ratio of EDM's level. `sigma_min` is the
    one at which the last weight is `b_max`; EDM's own 0.002 is a `maximum` of 0.998.

    Args:
        maximum: The weight `b_max` of the last step, within (0, 1).
        sigma_max: First noise level, above `sigma_min = 1 / b_max - 1`.
        rho: Curvature, above 0.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 3) for weight in KarrasFlow(0.9).weights(3).tolist()]
        [0.0, 0.058, 0.324, 0.9]
    """

    def __init__(self, maximum: float = 0.9, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        super().__init__(_positive(maximum, "the maximum of KarrasFlow"))
        self.sigma_min = 1 / self.maximum - 1
        if not sigma_max > self.sigma_min:
            raise MdxError(f"sigma_max must be above 1 / maximum - 1 = {self.sigma_min:.4g}, not {sigma_max}")
        self.sigma_max = sigma_max
        self.rho = _positive(rho, "rho")

    def curve(self, progress: Tensor) -> Tensor:
        first, last = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        sigma: Tensor = (first + progress * (last - first)) ** self.rho
        return 1 / (1 + sigma)


class Explicit(Schedule):
    """The weights themselves, `b_1 … b_N`; the plain pass before them needs none.

    Args:
        values: One weight for each step after the plain pass, each within [0, 1).

    Raises:
        MdxError: If the list is empty or a weight lies outside [0, 1).

    Example:
        >>> Explicit([0.2, 0.6, 0.4]).weights(3).tolist()
        [0.0, 0.2, 0.6, 0.4]
    """

    def __init__(self, values: Sequence[float]) -> None:
        if not values:
            raise MdxError("an explicit schedule needs at least one weight")
        super().__init__(max(_checked(value, "a weight of the explicit schedule") for value in values))
        self.values = tuple(values)
        self.default_steps = len(self.values)

    def curve(self, progress: Tensor) -> Tensor:
        if len(progress) != len(self.values) + 1:
            raise MdxError(
                f"the explicit schedule has {len(self.values)} weights, but {len(progress) - 1} steps were asked"
                " for: leave `steps` out, or give as many weights"
            )
        return torch.tensor([0.0, *self.values], dtype=progress.dtype)


def _checked(weight: float, what: str) -> float:
    if not 0 <= weight < 1:
        raise MdxError(f"{what} must lie within [0, 1), not {weight}")
    return weight


def _positive(value: float, what: str) -> float:
    if not value > 0:
        raise MdxError(f"{what} must be above 0, not {value}")
    return value
