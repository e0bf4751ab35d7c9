"""Decoding songs: aligned signals at the separator's sample rate."""

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.data.audio import resample
from mdx_progressive.data.grouping import elementary
from mdx_progressive.data.songs import Song
from mdx_progressive.errors import MdxError

log = logging.getLogger(__name__)

MixtureChoice = Literal["shipped", "sum"]


@dataclass(frozen=True)
class LoadedSong:
    """A decoded song, its signals aligned, with equally many channels, at the separator's sample rate.

    Shape:
        - mixture and each stem: (channel, time)
    """

    mixture: Tensor
    stems: dict[str, Tensor]
    sample_rate: int
    """The song's own sample rate in Hz."""
    length: int
    """Length in samples at that rate."""


class SongReader:
    """Reads songs, and keeps the last one: its chunks come one after the other.

    Args:
        sample_rate: The separator's sample rate in Hz.
        mixture: "shipped" takes the mixture file where there is one, else the sum of the stems; "sum" always
            the uniform sum.
        with_stems: Whether to read the stems even where the mixture needs none.
    """

    def __init__(self, sample_rate: int, mixture: MixtureChoice, with_stems: bool) -> None:
        self.sample_rate = sample_rate
        self.mixture = mixture
        self.with_stems = with_stems
        self._last: tuple[Song, LoadedSong] | None = None

    def load(self, song: Song) -> LoadedSong:
        """Decode the mixture and, if asked for, the stems.

        Raises:
            MdxError: If a file can't be read, or there is neither a mixture nor a stem.
        """
        if self._last is None or self._last[0] is not song:
            self._last = None  # Two decoded songs at once would take twice the memory.
            self._last = song, self._load(song)
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}  # A decoded song is not sent to the worker processes.

    def _load(self, song: Song) -> LoadedSong:
        shipped = song.mixture.read() if song.mixture and self.mixture == "shipped" else None
        names = elementary(song.stems) if self.with_stems or shipped is None else []
        read = {name: song.stems[name].read() for name in names}
        if shipped is None and not read:
            raise MdxError(f"{song.place}: has no stems whose sum could be the mixture; set data.mixture to shipped")
        waveform, sample_rate = shipped or next(iter(read.values()))

        stems = {name: resample(stem, rate, self.sample_rate) for name, (stem, rate) in read.items()}
        mixture = [resample(*shipped, self.sample_rate)] if shipped else []
        signals = [*stems.values(), *mixture]
        channels = max(signal.shape[0] for signal in signals)
        time = max(signal.shape[-1] for signal in signals)
        if any(signal.shape[-1] != time for signal in signals):
            log.warning("%s: its files differ in length; the shorter ones are filled up with silence", song.place)

        def fit(signal: Tensor) -> Tensor:
            return functional.pad(signal, (0, time - signal.shape[-1])).expand(channels, -1)

        stems = {name: fit(stem) for name, stem in stems.items()}
        whole = fit(mixture[0]) if mixture else torch.stack(list(stems.values())).sum(dim=0)
        return LoadedSong(whole, stems, sample_rate, waveform.shape[-1])
