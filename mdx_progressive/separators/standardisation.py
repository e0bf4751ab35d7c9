"""Mixtures of mean 0 and deviation 1, as the `demucs` command gives them to its networks."""

from collections.abc import Callable

from torch import Tensor

from mdx_progressive.dsp import mono_levels


def separate_standardised(
    separate: Callable[[Tensor], Tensor], mixture: Tensor, levels: Tensor | None = None
) -> Tensor:
    """Separate a mixture normalised as by the `demucs` command, and undo that in the estimates.

    The command gives the mono mix mean 0 and deviation 1, over its whole length.

    Args:
        separate: The separator.
        mixture: The mixture, or a part of it.
        levels: What `dsp.mono_levels` tells of the whole; by default the mixture is that.

    Shape:
        - separate: from (item, channel, time) to (item, target, channel, time)
        - mixture: (item, channel, time)
        - levels: (item, 2)
        - result: (item, target, channel, time)

    Example:
        >>> import torch
        >>> inputs = []
        >>> result = separate_standardised(lambda x: inputs.append(x) or x[:, None], torch.tensor([[[1.0, 3.0, 5.0]]]))
        >>> inputs[0][0, 0].tolist(), result[0, 0, 0].tolist()
        ([-1.0, 0.0, 1.0], [1.0, 3.0, 5.0])
    """
    levels = mono_levels(mixture) if levels is None else levels.to(mixture)
    mean, deviation = levels[..., None, None].unbind(dim=1)
    estimates = separate((mixture - mean) / deviation)
    return estimates * deviation.unsqueeze(1) + mean.unsqueeze(1)
