"""Schedules of the blend weight: how fast the estimate takes the place of the mixture.

A schedule maps the progress `u = n / N` of step `n` out of `N` to the weight `b_n` of the estimate. Step 0 is
always the plain mixture, `b_0 = 0`; the remaining gain of the accompaniment is `sigma_n = 1 - b_n`. Schedules
are fairly compared at an equal `maximum` and an equal number of steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mdx_progressive.runtime import MdxError, counted


class Schedule(ABC):
    """Blend weights of the estimates, for each step and source."""

    default_steps = 9

    @abstractmethod
    def weights(self, steps: int, source: str = "") -> Tensor:
        """The weights `b_0 = 0, b_1 … b_N` of a plain pass and `N = steps` passes after it.

        Args:
            steps: The number of steps `N`, 0 or more.
            source: The source that they are for; most schedules have the same for all.

        Shape:
            - result: (steps + 1,)

        Raises:
            MdxError: If there can't be that many steps, or there are no weights for the source.
        """

    def check(self, steps: int) -> None:
        """Raise MdxError if the schedule can't be laid over that many steps."""
        self.weights(steps)


class Formula(Schedule):
    """Blend weight of the estimates as a function of progress.

    Args:
        maximum: The weight `b_max` that the schedule ends at, within [0, 1).

    Raises:
        MdxError: If `maximum` lies outside [0, 1).
    """

    def __init__(self, maximum: float = 0.9) -> None:
        (self.maximum,) = checked_weights([maximum], "the schedule's maximum")

    @abstractmethod
    def curve(self, progress: Tensor) -> Tensor:
        """Weights at the given progress, each within [0, 1]."""

    def weights(self, steps: int, source: str = "") -> Tensor:
        if steps < 0:
            raise MdxError(f"the number of steps must be 0 or more, not {steps}")
        weights = self.curve(torch.arange(steps + 1, dtype=torch.float64) / max(steps, 1))
        weights[0] = 0.0
        return weights


class Constant(Formula):
    """The same weight at every step: `b_n = b_max`.

    Args:
        maximum: The weight `b_max`, within [0, 1).

    Example:
        >>> Constant(0.4).weights(3).tolist()
        [0.0, 0.4, 0.4, 0.4]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return torch.full_like(progress, self.maximum)


class Linear(Formula):
    """Equal increments, the founding study's schedule: `b_n = b_max u`.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).

    Example:
        >>> Linear(0.5).weights(4).tolist()
        [0.0, 0.125, 0.25, 0.375, 0.5]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return self.maximum * progress


class Power(Formula):
    """Slow at first (`exponent` above 1) or fast at first (below 1): `b_n = b_max u^p`.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).
        exponent: The power `p`, above 0; 1 is linear.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> Power(0.8, exponent=2).weights(4).tolist()
        [0.0, 0.05, 0.2, 0.45, 0.8]
    """

    def __init__(self, maximum: float = 0.9, exponent: float = 2.0) -> None:
        super().__init__(maximum)
        self.exponent = _positive(exponent, "the exponent")

    def curve(self, progress: Tensor) -> Tensor:
        return self.maximum * progress**self.exponent


class Cosine(Formula):
    """Slow at both ends: `b_n = b_max sin^2(pi u / 2)`. After Nichol and Dhariwal, 2021, equation 17.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).

    Example:
        >>> [round(weight, 3) for weight in Cosine(0.8).weights(4).tolist()]
        [0.0, 0.117, 0.4, 0.683, 0.8]
    """

    def curve(self, progress: Tensor) -> Tensor:
        return self.maximum * torch.sin(0.5 * torch.pi * progress) ** 2


class Sigmoid(Formula):
    """A logistic curve from 0 to the maximum: `b_n = b_max (s(u) - s(0)) / (s(1) - s(0))`.

    `s(u) = 1 / (1 + exp(-slope (u - 1/2)))`. After the sigmoid schedule of Jabri et al., 2022 (section 2.1).

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).
        slope: Steepness in the middle, above 0; near 0 it is linear.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 3) for weight in Sigmoid(0.8, slope=6).weights(4).tolist()]
        [0.0, 0.119, 0.4, 0.681, 0.8]
    """

    def __init__(self, maximum: float = 0.9, slope: float = 6.0) -> None:
        super().__init__(maximum)
        self.slope = _positive(slope, "the slope")

    def curve(self, progress: Tensor) -> Tensor:
        end = torch.sigmoid(progress.new_tensor(0.5 * self.slope))
        return self.maximum * (torch.sigmoid(self.slope * (progress - 0.5)) - (1 - end)) / (2 * end - 1)


class SmoothStep(Formula):
    """The founding study's smooth step: `b_n = b_max (u^p / (u^p + (1 - u)^p))^k`.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).
        sharpness: `p`, above 0; 1 is a straight line, much more is a jump in the middle.
        delay: `k`, above 0; more than 1 keeps the weight low for longer.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 3) for weight in SmoothStep(0.8).weights(4).tolist()]
        [0.0, 0.08, 0.4, 0.72, 0.8]
    """

    def __init__(self, maximum: float = 0.9, sharpness: float = 2.0, delay: float = 1.0) -> None:
        super().__init__(maximum)
        self.sharpness = _positive(sharpness, "the sharpness")
        self.delay = _positive(delay, "the delay")

    def curve(self, progress: Tensor) -> Tensor:
        rising = progress**self.sharpness
        return self.maximum * (rising / (rising + (1 - progress) ** self.sharpness)) ** self.delay


class Exponential(Formula):
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


class Polyexponential(Formula):
    """k-diffusion's polyexponential noise levels: `b_n = 1 - (1 - b_max)^(1 - (1 - u)^rho)`.

    That is `sigma_n = exp((1 - u)^rho log(sigma_max / sigma_min) + log sigma_min)` with `sigma_max = 1` and
    `sigma_min = 1 - b_max`, and `b_n = 1 - sigma_n`.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).
        rho: Curvature, above 0; 1 is `Exponential`, more is faster at first.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 3) for weight in Polyexponential(0.75, rho=2).weights(2).tolist()]
        [0.0, 0.646, 0.75]
    """

    def __init__(self, maximum: float = 0.9, rho: float = 2.0) -> None:
        super().__init__(maximum)
        self.rho = _positive(rho, "rho")

    def curve(self, progress: Tensor) -> Tensor:
        return 1 - (1 - self.maximum) ** (1 - (1 - progress) ** self.rho)


class VariancePreserving(Formula):
    """The gain of the noise in a variance preserving diffusion: `b_n = b_max (1 - s(1 - u) / s(1))`.

    `s(t) = sqrt(1 - exp(-beta_d t^2 / 2 - beta_min t))` with `beta_d = beta_max - beta_min`, Song et al. 2021,
    equation 33. With the paper's values the noise stays for long and goes at the end.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).
        beta_min: First rate of the noise, 0 or more.
        beta_max: Last rate of the noise, above `beta_min`.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 3) for weight in VariancePreserving(0.8).weights(4).tolist()]
        [0.0, 0.001, 0.032, 0.248, 0.8]
    """

    def __init__(self, maximum: float = 0.9, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        super().__init__(maximum)
        if not 0 <= beta_min < beta_max:
            raise MdxError(f"0 <= beta_min < beta_max must hold, not {beta_min} and {beta_max}")
        self.beta_min, self.beta_max = beta_min, beta_max

    def curve(self, progress: Tensor) -> Tensor:
        time = 1 - progress
        noise = (-torch.expm1(-0.5 * (self.beta_max - self.beta_min) * time**2 - self.beta_min * time)).sqrt()
        return self.maximum * (1 - noise / noise[0])


class FlowShift(Formula):
    """The shifted time of flow matching: `b_n = b_max (1 - v_n)`, `v_n = s v / (1 + (s - 1) v)`, `v = 1 - u`.

    After Esser et al. 2024 (Stable Diffusion 3), equation 23.

    Args:
        maximum: The weight `b_max` of the last step, within [0, 1).
        shift: `s`, above 0; 1 is linear, more stays longer at low weights.

    Raises:
        MdxError: If a parameter is out of its range.

    Example:
        >>> [round(weight, 3) for weight in FlowShift(0.8, shift=3).weights(4).tolist()]
        [0.0, 0.08, 0.2, 0.4, 0.8]
    """

    def __init__(self, maximum: float = 0.9, shift: float = 3.0) -> None:
        super().__init__(maximum)
        self.shift = _positive(shift, "the shift")

    def curve(self, progress: Tensor) -> Tensor:
        left = 1 - progress
        return self.maximum * (1 - self.shift * left / (1 + (self.shift - 1) * left))


class Karras(Formula):
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


class KarrasFlow(Formula):
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
        self.values = checked_weights(values, "the weights of the explicit schedule")
        self.default_steps = len(self.values)

    def weights(self, steps: int, source: str = "") -> Tensor:
        if steps != len(self.values):
            raise MdxError(
                f"the explicit schedule has {counted(len(self.values), 'weight')}, but was asked for"
                f" {counted(steps, 'step')}: leave `steps` out, or give as many weights"
            )
        return torch.tensor([0.0, *self.values], dtype=torch.float64)


class PerSource(Schedule):
    """A schedule of its own for each source, as `mdx-progressive tune` finds them.

    Args:
        schedules: The schedules, by the name of the source.

    Raises:
        MdxError: If there is none.

    Example:
        >>> schedule = PerSource({"vocals": Explicit([0.2, 0.4]), "accompaniment": Constant(0.1)})
        >>> schedule.weights(2, "accompaniment").tolist(), schedule.default_steps
        ([0.0, 0.1, 0.1], 2)
    """

    def __init__(self, schedules: Mapping[str, Schedule]) -> None:
        if not schedules:
            raise MdxError("a schedule per source needs at least one source")
        self.schedules = dict(schedules)
        self.default_steps = min(schedule.default_steps for schedule in schedules.values())

    def weights(self, steps: int, source: str = "") -> Tensor:
        if source not in self.schedules:
            raise MdxError(f"there is no schedule for the source {source}, only for {', '.join(self.schedules)}")
        return self.schedules[source].weights(steps)

    def check(self, steps: int) -> None:
        for schedule in self.schedules.values():
            schedule.check(steps)


def formulas(maximum: float) -> list[Formula]:
    """Every schedule that is a formula, with its defaults, ending at the same weight.

    Args:
        maximum: That weight.
    """
    return [kind(maximum=maximum) for kind in Formula.__subclasses__()]


def checked_weights(weights: Sequence[float], what: str) -> list[float]:
    """The blend weights.

    Args:
        weights: The weights.
        what: What they are, for the message.

    Raises:
        MdxError: If there is none, or one is not within [0, 1): at 1 nothing of the mixture would be left.
    """
    if not weights or not all(0 <= weight < 1 for weight in weights):
        raise MdxError(f"{what} must lie within [0, 1), not {', '.join(map(str, weights)) or 'an empty list'}")
    return list(weights)


def _positive(value: float, what: str) -> float:
    if not value > 0:
        raise MdxError(f"{what} must be above 0, not {value}")
    return value
