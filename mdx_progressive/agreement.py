"""How far the passes of a step agree, and with it when to stop.

Where a separator knows the sources, its passes agree better once the other sources are taken out of what they hear.
Where it takes one for another, they don't: what was taken out was part of the target, and each further step takes more.
"""

import torch
from torch import Tensor

_SMALL = 1e-20


def agreement(passes: Tensor) -> Tensor:
    """The energy of the mean of some passes over their variance around it, in dB.

    Args:
        passes: Two passes or more over inputs that differ in their views alone, or in what was taken out of them.

    Shape:
        - passes: (view, batch, source, channel, time)
        - result: (batch, source)

    Example:
        >>> passes = torch.tensor([[3.0, -3.0], [1.0, -1.0]]).view(2, 1, 1, 1, 2)
        >>> round(agreement(passes).item(), 2)  # 4 over 2
        3.01
    """
    mean = passes.mean(dim=0)
    energy = mean.square().sum(dim=(-2, -1))
    # One by one: what is made meanwhile stays as large as a pass.
    variance = torch.stack([(each - mean).square().sum(dim=(-2, -1)) for each in passes]).sum(dim=0) / (len(passes) - 1)
    return 10 * torch.log10((energy + _SMALL) / (variance + _SMALL))


def settled(before: Tensor, passes: Tensor, margin: float) -> Tensor:
    """The passes of a step, with those of the step before it in place of the sources whose passes don't agree better.

    Args:
        before: The passes of the step before.
        passes: Those of this step, which are overwritten.
        margin: dB by which they have to agree better.

    Shape:
        - before, passes and the result: (view, batch, source, channel, time)
    """
    stays = agreement(passes) < agreement(before) + margin
    passes[:, stays] = before[:, stays]
    return passes
