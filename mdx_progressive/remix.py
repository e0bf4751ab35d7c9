"""How the input of the next pass is built from the mixture and what is known of the targets."""

import torch
from torch import Tensor


def add_to_mixture(mixture: Tensor, estimates: Tensor, weight: float) -> Tensor:
    """The founding study's equation 1: `(1 - b) y + b x_t`, for every target at once.

    It equals `y + g x_t` with `b = g / (1 + g)`, up to an overall scale. With the true stems for `estimates`
    it is the oracle; where the mixture is the sum of its stems that is `x_t + (1 - b) sum_{j != t} x_j`.

    Args:
        mixture: The mixture `y`.
        estimates: What is blended in, one signal for each target.
        weight: Weight `b` of the estimate, within [0, 1).

    Shape:
        - mixture: (batch, channel, time)
        - estimates and the result: (batch, target, channel, time)

    Example:
        >>> add_to_mixture(torch.full((1, 1, 2), 1.0), torch.full((1, 1, 1, 2), 3.0), 0.25)
        tensor([[[[1.5000, 1.5000]]]])
    """
    return torch.lerp(mixture.unsqueeze(1).expand_as(estimates), estimates, weight)


def limit_peak(blended: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor]:
    """Scale down each blend that is above full scale; the estimate is to be divided by the returned gain.

    Separators are trained on signals within full scale, and not all of them are scale-free. A mixture that is
    itself above full scale (the sum of stems often is) goes to the plain pass as it is, so it sets the limit
    for its blends too: at weight 0 they are the very same input.

    Args:
        blended: Inputs of the next pass.
        mixture: The mixture that they were made from.

    Returns:
        The blends with no peak above `max(1, peak of the mixture)`, and the gain that was applied, at most 1.

    Shape:
        - blended: (batch, target, channel, time)
        - mixture: (batch, channel, time)
        - gain: (batch, target, 1, 1)

    Example:
        >>> limited, gain = limit_peak(torch.tensor([[[[0.5, -2.0]]]]), torch.tensor([[[0.9, -0.8]]]))
        >>> limited.tolist(), gain.item()
        ([[[[0.25, -1.0]]]], 0.5)
    """
    limit = mixture.abs().amax(dim=(-2, -1)).clamp(min=1.0)
    peak = blended.abs().amax(dim=(-2, -1))
    gain = (limit.unsqueeze(1) / peak).clamp(max=1.0)[..., None, None]
    return blended * gain, gain
