"""Decoding songs: aligned signals at the separator's sample rate."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mdx_progressive.audio import Signal, resample, zero_pad_together
from mdx_progressive.data.song import Song
from mdx_progressive.data.stem_grouping import elementary_stems
from mdx_progressive.runtime import MdxError

MixtureChoice = Literal["shipped", "sum"]


@dataclass(frozen=True)
class LoadedSong:
    """A decoded song, its signals aligned, with equally many channels and one sample rate.

    Shape:
        - mixture and each stem: (channel, time)
    """

    mixture: Tensor
    stems: dict[str, Tensor]
    sample_rate: int
    """The song's own sample rate in Hz."""
    uneven: bool
    """Whether its files differed in length, and the shorter ones are filled up with silence."""


def load_song(song: Song, sample_rate: int | None, mixture: MixtureChoice) -> LoadedSong:
    """Decode the mixture and the stems.

    Args:
        song: The song.
        sample_rate: The wanted sample rate in Hz; None for the song's own, that of its mixture or first stem.
        mixture: "shipped" takes the mixture file where there is one, else the sum of the stems; "sum" always
            the uniform sum.

    Raises:
        MdxError: If a file can't be read, has more than two channels, or there is neither a mixture nor a stem.
    """
    given, stems = mixture_and_stems(song, mixture)
    shipped = given.read() if given else None
    read = {name: stem.read() for name, stem in stems.items()}
    song.check()
    _, own_rate = shipped or next(iter(read.values()))

    before = [*read.values(), *([shipped] if shipped else [])]
    if (most := max(len(signal) for signal, _ in before)) > 2:
        raise MdxError(f"{song.place}: has {most} channels; mono and stereo can be measured, `predict` takes more")
    resampled = [resample(signal, rate, sample_rate or own_rate) for signal, rate in before]
    signals = zero_pad_together(resampled)
    uneven = any(signal.shape[-1] != signals[0].shape[-1] for signal in resampled)
    aligned = dict(zip(read, signals, strict=False))  # What has no name is the mixture, at the end.
    return LoadedSong(signals[-1] if shipped else sum_of_stems(aligned), aligned, own_rate, uneven)


def mixture_and_stems(song: Song, mixture: MixtureChoice) -> tuple[Signal | None, dict[str, Signal]]:
    """The mixture file that is to be taken, None where it is the sum of the stems, and the stems.

    Args:
        song: The song.
        mixture: As `load_song` has it.

    Raises:
        MdxError: If something is known against the song, or it has neither.
    """
    song.check()
    shipped = song.mixture if mixture == "shipped" else None
    stems = {name: song.stems[name] for name in elementary_stems(song.stems)}
    if shipped is None and not stems:
        raise MdxError(f"{song.place}: has no stems whose sum could be the mixture; set data.mixture to shipped")
    return shipped, stems


def sum_of_stems(stems: dict[str, Tensor]) -> Tensor:
    """The sum of the stems, each with weight 1."""
    return torch.stack(list(stems.values())).sum(dim=0)


class SongReader:
    """Reads songs, and keeps the last one: its chunks come one after the other.

    Args:
        sample_rate: The separator's sample rate in Hz.
        mixture: As `load_song` has it.
    """

    def __init__(self, sample_rate: int, mixture: MixtureChoice) -> None:
        self.sample_rate = sample_rate
        self.mixture: MixtureChoice = mixture
        self._last: tuple[Song, LoadedSong] | None = None

    def load(self, song: Song) -> LoadedSong:
        """The decoded song.

        Raises:
            MdxError: If it can't be read.
        """
        if self._last is None or self._last[0] is not song:
            self._last = None  # Two decoded songs at once would take twice the memory.
            self._last = song, load_song(song, self.sample_rate, self.mixture)
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}  # A decoded song is not sent to the worker processes.
