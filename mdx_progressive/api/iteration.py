"""The steps of a method on a tensor: the idea without songs, files and Lightning."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mdx_progressive.progressive import Method, Passes, Step, select_sources, tracked_sources
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators import Separator


def iterate(
    separator: Separator,
    method: Method,
    mixture: Tensor,
    references: Tensor | None = None,
    targets: Sequence[str] | None = None,
) -> Iterator[Step]:
    """Yield the steps of a method, from the plain pass on.

    Args:
        separator: The frozen separator; the mixture is moved to its device.
        method: The method.
        mixture: The mixture at the separator's sample rate. It is separated as a whole: minutes of music take
            gigabytes, where `separate` cuts them into blocks.
        references: All true sources in the order of the separator's, for methods that are bounds; others ignore them.
        targets: Sources to estimate; all of the separator's by default.

    Shape:
        - mixture: (channel, time) or (batch, channel, time)
        - references: the same with (source, channel, time) in place of (channel, time)
        - estimates of a step: the same with (target, channel, time)

    Raises:
        MdxError: If a tensor has another shape, a target is no source, or the method lacks its references.

    Example:
        >>> import mdx_progressive as mdx
        >>> separator = mdx.load_separator("spleeter", bins=64)
        >>> steps = iterate(separator, mdx.Progressive(mdx.Linear(0.5), steps=2), torch.zeros(2, 44100))
        >>> [(step.number, tuple(step.estimates.shape)) for step in steps]
        [(0, (2, 2, 44100)), (1, (2, 2, 44100)), (2, (2, 2, 44100))]
    """
    if mixture.ndim not in (2, 3) or not mixture.is_floating_point():
        raise MdxError(
            f"mixture must be of floating point and (channel, time) or (batch, channel, time), not {mixture.dtype}"
            f" {tuple(mixture.shape)}"
        )
    alone = mixture.ndim == 2
    wanted = [separator.sources[index] for index in separator.target_indices(targets)]
    return _steps(separator, method, mixture[None] if alone else mixture, references, wanted, alone)


@torch.inference_mode()
def _steps(
    separator: Separator, method: Method, mixture: Tensor, references: Tensor | None, wanted: list[str], alone: bool
) -> Iterator[Step]:
    device = next(separator.parameters()).device
    sources = tracked_sources([method], separator.sources, wanted)
    mixture = mixture.to(device)
    passes = Passes.of(separator, mixture, sources, targets=wanted)
    given = None
    if method.needs_references and references is not None:
        true = references[None] if alone else references
        given = select_sources(true.to(device), separator.sources, sources)
    places = [sources.index(target) for target in wanted]
    for step in method.run(passes, passes.centred(separator(mixture, sources)), given):
        estimates = passes.restored(step.estimates[:, places])
        yield step._replace(estimates=estimates[0] if alone else estimates, weights=step.weights[places])
