"""Reading whole songs: their signals decoded, aligned and at one sample rate."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mdx_progressive.audio import Signal, resample, zero_pad_together
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.song import Song
from mdx_progressive.data.stem_grouping import elementary_stems
from mdx_progressive.dsp import Block, ReceptiveField, plan_blocks
from mdx_progressive.runtime import MdxError

MixtureChoice = Literal["shipped", "sum"]


@dataclass(frozen=True)
class ReadingOptions:
    """How chunks and blocks of songs are read.

    Args:
        sample_rate: The separator's sample rate in Hz.
        mixture: "shipped" takes a song's mixture file where there is one, else the sum of its stems; "sum" always
            the uniform sum.
        normalisation: The level of chunks and blocks; None keeps it.
        block: Seconds that are separated at once; None for whole chunks and songs.
        receptive_field: The separator's; without it nothing is cut into blocks.
        standardise: Whether the separator needs to know the level of a song, of which it gets a block.

    Raises:
        MdxError: If a block is not above 0 seconds.
    """

    sample_rate: int
    mixture: MixtureChoice
    normalisation: Normalisation | None
    block: float | None
    receptive_field: ReceptiveField | None
    standardise: bool = False

    def __post_init__(self) -> None:
        if self.block is not None and self.block <= 0:
            raise MdxError(f"data.block must be above 0 seconds, not {self.block}")

    def blocks(self, length: int) -> list[Block]:
        """The blocks of a chunk or song of a length in samples."""
        size = None if self.receptive_field is None or self.block is None else int(self.block * self.sample_rate)
        return plan_blocks(length, size, self.receptive_field or ReceptiveField(1, 0, 0, 0))

    def has_mixture(self, song: Song) -> bool:
        """Whether the mixture is a file of the song, which may hold more than its stems."""
        return self.mixture == "shipped" and song.mixture is not None

    def gain(self, mixture: Iterable[Tensor]) -> float:
        """The factor for a mixture, in pieces (channel, time), and its references."""
        return self.normalisation.gain(mixture, self.sample_rate) if self.normalisation else 1.0


@dataclass(frozen=True)
class LoadedSong:
    """A decoded song: aligned signals with the same sample rate and number of channels.

    Args:
        mixture: The mixture.
        stems: The stems by name.
        sample_rate: The song's own sample rate in Hz.
        padded: Whether its files differed in length, and the shorter ones are padded with silence.

    Shape:
        - mixture and each stem: (channel, time)
    """

    mixture: Tensor
    stems: dict[str, Tensor]
    sample_rate: int
    padded: bool


def load_song(song: Song, sample_rate: int | None, mixture: MixtureChoice) -> LoadedSong:
    """Decode the mixture and the stems.

    Args:
        song: The song.
        sample_rate: The wanted one in Hz; None for the song's own, that of its mixture or first stem.
        mixture: As for `ReadingOptions`.

    Raises:
        MdxError: If a file can't be read, has more than two channels, or there is neither a mixture nor a stem.
    """
    mixture_file, stems = mixture_and_stems(song, mixture)
    signals = [*([mixture_file] if mixture_file else []), *stems.values()]
    decoded = [signal.read() for signal in signals]
    song.check()
    own_rate = decoded[0][1]
    if (most := max(len(waveform) for waveform, _ in decoded)) > 2:
        raise MdxError(f"{song.path}: has {most} channels; mono and stereo can be measured, `predict` takes more")
    resampled = [resample(waveform, rate, sample_rate or own_rate) for waveform, rate in decoded]
    aligned = zero_pad_together(resampled)
    padded = any(waveform.shape[-1] != aligned[0].shape[-1] for waveform in resampled)
    aligned_stems = dict(zip(stems, aligned[len(aligned) - len(stems) :], strict=True))
    return LoadedSong(aligned[0] if mixture_file else sum_of_stems(aligned_stems), aligned_stems, own_rate, padded)


def mixture_and_stems(song: Song, mixture: MixtureChoice) -> tuple[Signal | None, dict[str, Signal]]:
    """The mixture file to read, None where the mixture is the sum of the stems, and the stems.

    Raises:
        MdxError: If the song can't be used, or has neither.
    """
    song.check()
    shipped = song.mixture if mixture == "shipped" else None
    stems = {name: song.stems[name] for name in elementary_stems(song.stems)}
    if shipped is None and not stems:
        raise MdxError(f"{song.path}: has no stems whose sum could be the mixture; set data.mixture to shipped")
    return shipped, stems


def sum_of_stems(stems: Mapping[str, Tensor]) -> Tensor:
    """The sum of the stems, each with weight 1."""
    return torch.stack(list(stems.values())).sum(dim=0)
