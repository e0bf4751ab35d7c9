"""Batches of chunks and failures: what travels from the data module through the model to the callbacks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mdx_progressive.data.channel_pairs import STEREO, ChannelPairs
from mdx_progressive.dsp import Block, mono_levels
from mdx_progressive.runtime import MdxError, escape_unprintable


class Failure(NamedTuple):
    """A song that could not be read, or its estimates not written, and why."""

    song: str
    reason: str

    @property
    def line(self) -> str:
        """The reason in one printable line."""
        return escape_unprintable(self.reason)


@dataclass(frozen=True)
class Origin:
    """Where a chunk was taken from.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song, from 0.
        sample_rate: The song's own sample rate in Hz.
        length: Length of the chunk in samples at that rate; in `predict` that of the whole song.
        block: In `predict`, the block of the song that is separated at once; `chunk` is its number.
        blocks: How many blocks the song has.
        pairs: In `predict`, the channels that are separated together, each an item of the batch with this origin.
        layout: In `predict`, FFmpeg's names of more than two channels, in their order, if the song tells them.
    """

    song: str
    chunk: int
    sample_rate: int
    length: int
    block: Block | None = None
    blocks: int = 1
    pairs: ChannelPairs = STEREO
    layout: tuple[str, ...] | None = None


class ChunkBatch:
    """Chunks of one length, at the separator's sample rate; empty where there was nothing to do or to read.

    No dataclass, on purpose: a Trainer of half precision casts every tensor in the collections that it gets, and the
    audio has to stay in float32.

    Args:
        origins: Where each chunk comes from.
        mixture: The mixtures, normalised.
        gain: The gain of the normalisation; estimates are divided by it.
        references: The true sources, in the order of the separator's, normalised alike; None in `predict`.
        silent: Which channels of the references count as silent (see `dsp.silent_channels`).
        failures: Songs that should have been in it.
        blocks: The blocks of chunks that are too long to be separated at once; by default the whole chunk.
        levels: Of parts of songs, what `dsp.mono_levels` tells of each song as a whole, at the level of the mixture.

    Shape:
        - levels: (batch, 2)
        - mixture: (batch, channel, time)
        - gain: (batch,)
        - references: (batch, source, channel, time)
        - silent: (batch, source, channel)
    """

    def __init__(
        self,
        origins: list[Origin],
        mixture: Tensor,
        gain: Tensor,
        references: Tensor | None = None,
        silent: Tensor | None = None,
        failures: Sequence[Failure] = (),
        blocks: Sequence[Block] | None = None,
        levels: Tensor | None = None,
    ) -> None:
        self.origins = origins
        self.mixture = mixture
        self.gain = gain
        self.references = references
        self.silent = silent
        self.failures = list(failures)
        self.levels = levels
        time = mixture.shape[-1]
        self.blocks = list(blocks or [Block(0, 0, time, 0, time)])

    @classmethod
    def join(cls, batches: Sequence["ChunkBatch"], failures: Sequence[Failure] = ()) -> "ChunkBatch":
        """One batch of several, which all have references or all have none; `failures` should have been among them."""
        if not batches:
            return cls([], torch.zeros(0, 1, 1), torch.zeros(0), failures=failures)
        references = [batch.references for batch in batches if batch.references is not None]
        silent = [batch.silent for batch in batches if batch.silent is not None]
        levels = [batch.levels for batch in batches if batch.levels is not None]
        return cls(
            [origin for batch in batches for origin in batch.origins],
            torch.cat([batch.mixture for batch in batches]),
            torch.cat([batch.gain for batch in batches]),
            torch.cat(references) if references else None,
            torch.cat(silent) if silent else None,
            failures,
            batches[0].blocks,
            torch.cat(levels) if levels else None,
        )

    @classmethod
    def of_waveforms(cls, mixture: Tensor, sample_rate: int, name: str) -> "ChunkBatch":
        """A batch of mixtures that come from no song, as they are.

        Args:
            mixture: The mixtures; half precision becomes float32.
            sample_rate: Sample rate in Hz.
            name: Name of the batch; origins are called by it and their number.

        Shape:
            - mixture: (batch, channel, time)

        Raises:
            MdxError: If it has another shape, or is not of floating point.
        """
        if mixture.ndim != 3:
            raise MdxError(f"mixtures must have the shape (batch, channel, time), not {tuple(mixture.shape)}")
        if not mixture.is_floating_point():
            raise MdxError(f"mixtures must be of floating point, within -1 and 1, not of {mixture.dtype}")
        precise = mixture if mixture.dtype == torch.float64 else mixture.float()
        origins = [Origin(f"{name}, item {item}", 0, sample_rate, mixture.shape[-1]) for item in range(len(mixture))]
        return cls(origins, precise, torch.ones(len(mixture), device=mixture.device))

    def split(self) -> Iterator[tuple[Block, "ChunkBatch"]]:
        """The blocks, each with its context."""
        levels = self.levels
        if len(self.blocks) > 1 and levels is None:
            levels = mono_levels(self.mixture)
        for block in self.blocks:
            context = slice(block.start, block.stop)
            references = None if self.references is None else self.references[..., context]
            mixture = self.mixture[..., context]
            yield block, ChunkBatch(self.origins, mixture, self.gain, references, self.silent, levels=levels)

    def to(self, device: torch.device) -> "ChunkBatch":
        """The same batch on another device."""
        return self._map_tensors(lambda tensor: tensor.to(device))

    def pin_memory(self) -> "ChunkBatch":
        """The same batch in page-locked memory, from which accelerators copy faster."""
        return self._map_tensors(torch.Tensor.pin_memory)

    def _map_tensors(self, change: Callable[[Tensor], Tensor]) -> "ChunkBatch":
        references = None if self.references is None else change(self.references)
        silent = None if self.silent is None else change(self.silent)
        mixture, gain = change(self.mixture), change(self.gain)
        levels = None if self.levels is None else change(self.levels)
        return ChunkBatch(self.origins, mixture, gain, references, silent, self.failures, self.blocks, levels)
