"""Estimates of a song at its own sample rate and length, from those of its blocks."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from mdx_progressive.audio import resample_stream
from mdx_progressive.data import Origin


def resampled_estimates(pieces: Iterable[Tensor], origin: Origin, sample_rate: int) -> Iterator[Tensor]:
    """The estimates of a song at its own sample rate and of its own length, piece by piece.

    Args:
        pieces: Its estimates at the separator's sample rate, joined: consecutive pieces.
        origin: One of its blocks, which has its rate and length.
        sample_rate: The separator's sample rate in Hz.

    Shape:
        - pieces and results: (target, channel, time)
    """
    missing, shape = origin.length, (0, 0)

    def flat() -> Iterator[Tensor]:
        nonlocal shape
        for piece in pieces:
            shape = piece.shape[0], piece.shape[1]
            yield piece.flatten(0, 1)

    for piece in resample_stream(flat(), sample_rate, origin.sample_rate):
        within = piece[:, :missing]
        missing -= within.shape[-1]
        if within.shape[-1]:
            yield within.unflatten(0, shape)
    if missing:  # The resampled length may be off by a sample.
        yield torch.zeros(*shape, missing)
