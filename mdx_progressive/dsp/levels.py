"""Mean and deviation of a mixture, which many networks want to be 0 and 1, of a whole song or of a part of it."""

import torch
from torch import Tensor

_SILENCE = 1e-8
"""Added to deviations, so that silence is not divided by 0."""


def mono_levels(mixture: Tensor) -> Tensor:
    """Mean and standard deviation of the mono mix of each item.

    Shape:
        - mixture: (item, channel, time)
        - result: (item, 2)

    Example:
        >>> mono_levels(torch.tensor([[[1.0, 3.0, 5.0]]])).tolist()
        [[3.0, 2.0]]
    """
    mono = mixture.mean(dim=1)
    return torch.stack([mono.mean(dim=-1), mono.std(dim=-1, correction=min(1, mono.shape[-1] - 1)) + _SILENCE], dim=-1)


def without_mean(mixture: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """A mixture without the mean of the song that it belongs to, and the levels of that song without it.

    Args:
        mixture: The mixture.
        levels: What `mono_levels` tells of the song.

    Shape:
        - mixture: (item, channel, time)
        - levels and those of the result: (item, 2)

    Example:
        >>> without_mean(torch.tensor([[[1.0, 3.0, 5.0]]]), torch.tensor([[3.0, 2.0]]))
        (tensor([[[-2.,  0.,  2.]]]), tensor([[0., 2.]]))
    """
    return mixture - levels[:, :1, None].to(mixture), levels * levels.new_tensor([0, 1])


class MonoLevelMeter:
    """`mono_levels` of a mixture that comes piece by piece.

    Args:
        items: How many there are.

    Example:
        >>> meter = MonoLevelMeter(1)
        >>> meter.add(torch.tensor([[[1.0, 3.0]]]))
        >>> meter.add(torch.tensor([[[5.0]]]))
        >>> meter.levels().tolist()
        [[3.0, 2.0]]
    """

    def __init__(self, items: int) -> None:
        self._sums = torch.zeros(items, 2, dtype=torch.float64)
        self._count = 0

    def add(self, piece: Tensor) -> None:
        """Measure the next piece (item, channel, time)."""
        mono = piece.double().mean(dim=1)
        self._sums += torch.stack([mono.sum(dim=-1), mono.square().sum(dim=-1)], dim=-1)
        self._count += mono.shape[-1]

    def levels(self) -> Tensor:
        """Mean and deviation so far, (item, 2)."""
        total, squares = self._sums.unbind(dim=-1)
        mean = total / self._count
        variance = (squares - total * mean).clamp(min=0) / max(1, self._count - 1)
        return torch.stack([mean, variance.sqrt() + _SILENCE], dim=-1).float()
