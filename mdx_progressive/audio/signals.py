"""Audio signals: the waveform of one stream of a file, or of several streams that are summed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from mdx_progressive.audio.decode import AudioStream, Header
from mdx_progressive.audio.resampling import resample_stream, resampled_length, sum_streams


class Signal(Protocol):
    """Audio that is read as one waveform.

    All methods raise an `MdxError` if a file is missing, holds no such audio, no samples, NaN or infinity, or is
    truncated; those that don't decode notice only what its header tells.
    """

    @property
    def path(self) -> Path:
        """File or folder to name in messages."""

    @property
    def streams(self) -> tuple[AudioStream, ...]:
        """The streams of files that belong to it."""

    def read(self) -> tuple[Tensor, int]:
        """Waveform (channel, time), float32 with full scale at 1, and its sample rate in Hz."""

    def seekable(self) -> bool:
        """Whether `pieces` can begin at any sample without decoding what comes before."""

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        """The waveform in consecutive pieces (channel, time), none of them empty.

        Args:
            start: The first sample; other than 0 only where the signal is `seekable`.
        """

    def header(self) -> Header:
        """What its files say of it."""

    def length(self) -> int:
        """Samples per channel; the signal is decoded to be counted if a file does not tell for certain."""


@dataclass(frozen=True)
class StreamSum:
    """The sum of several streams: a stem with one file for each microphone or player.

    They are resampled to the highest of their sample rates; the shorter ones are padded with silence.

    Args:
        streams: The streams.
    """

    streams: tuple[AudioStream, ...]

    @property
    def path(self) -> Path:
        """The folder that holds all of the files."""
        return Path(os.path.commonpath([stream.path.parent for stream in self.streams]))

    def header(self) -> Header:
        headers = [stream.header() for stream in self.streams]
        return Header(max(header.sample_rate for header in headers), max(header.channels for header in headers))

    def length(self) -> int:
        rate = self.header().sample_rate
        return max(resampled_length(stream.length(), stream.header().sample_rate, rate) for stream in self.streams)

    def read(self) -> tuple[Tensor, int]:
        return torch.cat(list(self.pieces()), dim=-1), self.header().sample_rate

    def seekable(self) -> bool:
        # Resampled, a sample depends in its last digits on where the filter began.
        same_rate = len({stream.header().sample_rate for stream in self.streams}) == 1
        return same_rate and all(stream.seekable() for stream in self.streams)

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        rate, channels, *_ = self.header()
        signals = [resample_stream(stream.pieces(start), stream.header().sample_rate, rate) for stream in self.streams]
        return sum_streams(signals, channels)
