"""Progressive inference: separate, blend the estimate into the mixture, separate again.

Let `y` be the mixture, `f` a frozen separator, `t` the target and `b_0 = 0, b_1, …, b_N` the blend weights
of a schedule. Then

    x_0 = f_t(y)                                    the plain one pass
    y_n = (1 - b_n) y + b_n x_{n-1}                 the target grows louder by -20 log10(1 - b_n) dB
    x_n = f_t(y_n)                                  the same network, an easier mixture

The rest of the mixture plays the part of the noise in a diffusion sampler: what is left of it at step `n` is
`sigma_n = 1 - b_n`. Every step starts again from the mixture (it is "re-noised from the original"), so an
error made at one step is not carried along by the input of the next, only by the estimate blended into it.

With the true stem in place of the estimate the same lines are the **oracle**, the upper bound of all that a
re-weighting of the input can give. It needs the references, so it belongs to evaluation alone.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from torch import Tensor

from mdx_progressive.remix import add_to_mixture, limit_peak

Separate = Callable[[Tensor], Tensor]
"""Mixtures (batch, 1 or target, channel, time) to estimates (batch, target, channel, time): every target out
of the one mixture, or each target out of the mixture that was made for it."""


class Step(NamedTuple):
    """What one pass through the separator gave."""

    step: int
    """Number of the step; 0 is the plain one pass."""
    weight: float
    """Blend weight `b_n` of the estimate within the input of this pass."""
    estimates: Tensor
    """Estimates `x_n` (batch, target, channel, time)."""


def progressive(
    separate: Separate,
    mixture: Tensor,
    weights: Tensor,
    *,
    first: Tensor | None = None,
    oracle: Tensor | None = None,
) -> Iterator[Step]:
    """Yield the estimates of every step; the targets travel side by side, each with its own input.

    Args:
        separate: The frozen separator, bound to its targets.
        mixture: The mixture `y`.
        weights: Blend weights `b_0 … b_N`, each within [0, 1). The first belongs to the plain pass and is 0.
        first: The estimates of the plain pass, where they are known already; saves that pass.
        oracle: The true targets. They are blended in where the estimates would be.

    Shape:
        - mixture: (batch, channel, time)
        - weights: (step,)
        - first, oracle and the estimates: (batch, target, channel, time)

    Example:
        A separator that hears half of what it should gets 3/4 of it back from a mixture in which its
        estimate stands for half:

        >>> import torch
        >>> steps = progressive(lambda mixtures: 0.5 * mixtures, torch.ones(1, 1, 4), torch.tensor([0.0, 0.5]))
        >>> [step.estimates[0, 0, 0, 0].item() for step in steps]
        [0.5, 0.375]
    """
    estimates = separate(mixture.unsqueeze(1)) if first is None else first
    yield Step(0, 0.0, estimates)
    for step, weight in enumerate(weights[1:].tolist(), start=1):
        blended = add_to_mixture(mixture, estimates if oracle is None else oracle, weight)
        blended, gain = limit_peak(blended, mixture)
        estimates = separate(blended) / gain
        yield Step(step, weight, estimates)
