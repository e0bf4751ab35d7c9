"""Reading audio: soundfile for what libsndfile knows, PyAV for the rest (m4a, mp4, native stems, video)."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import av
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mdx_progressive.errors import MdxError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".w64", ".rf64"}
)
"""What a folder is searched for; a file that is named itself may end in anything."""

_LONGEST_FRAME = 4096


class Header(NamedTuple):
    """What a file says of an audio stream, without decoding it.

    Args:
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        length: Number of samples of a channel; None where the file does not tell.
        encoding: How samples are stored: libsndfile's name of it (PCM_16, FLOAT, ...) or FFmpeg's of the codec (aac).
    """

    sample_rate: int
    channels: int
    length: int | None
    encoding: str


class Signal(Protocol):
    """What is read as one waveform: a stream of a file, or several that are summed."""

    @property
    def path(self) -> Path:
        """Where it lies, for messages."""

    @property
    def streams(self) -> "tuple[AudioStream, ...]":
        """What it is made of."""

    def read(self) -> tuple[Tensor, int]:
        """Waveform (channel, time), float32 with full scale at 1, and the sample rate in Hz."""


@dataclass(frozen=True)
class AudioStream:
    """One audio stream of a file.

    Args:
        path: The file.
        stream: Number of the audio stream within it; native stems files (.stem.mp4) have several.
    """

    path: Path
    stream: int = 0

    @property
    def streams(self) -> "tuple[AudioStream, ...]":
        """Itself."""
        return (self,)

    def header(self) -> Header:
        """What the file says of the stream.

        Raises:
            MdxError: If the file is missing or holds no such audio.
        """
        self._check_file()
        if self.stream == 0:
            try:
                info = soundfile.info(self.path)
                return Header(int(info.samplerate), int(info.channels), int(info.frames), str(info.subtype))
            except soundfile.LibsndfileError:
                pass  # Not a format of libsndfile: FFmpeg may know it.
        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.audio[self.stream]
                return Header(int(stream.rate), stream.channels, _length(stream), stream.codec_context.name)
        except (av.FFmpegError, IndexError) as error:
            raise self._unreadable(error) from error

    def read(self) -> tuple[Tensor, int]:
        """Waveform (channel, time), float32 with full scale at 1, and the sample rate in Hz.

        Raises:
            MdxError: If the file is missing, holds no audio, no samples, more than two channels, NaN or infinity.
        """
        self._check_file()
        samples, sample_rate = self._decode()
        if samples.shape[-1] == 0:
            raise MdxError(f"{self.path}: holds no samples")
        if samples.shape[0] > 2:
            raise MdxError(f"{self.path}: has {samples.shape[0]} channels; mono and stereo can be separated")
        waveform = torch.from_numpy(samples)
        if not torch.isfinite(waveform).all():
            place = int((~torch.isfinite(waveform).all(dim=0)).nonzero()[0])
            raise MdxError(
                f"{self.path}: a sample is not a number or infinite, the first at {place / sample_rate:.3f} s"
            )
        return waveform, sample_rate

    def _decode(self) -> tuple[NDArray[np.float32], int]:
        if self.stream == 0:
            try:
                samples, sample_rate = soundfile.read(self.path, dtype="float32", always_2d=True)
                return np.ascontiguousarray(samples.T), int(sample_rate)
            except soundfile.LibsndfileError:
                pass  # Not a format of libsndfile: FFmpeg may know it.
        try:
            return self._decode_with_ffmpeg()
        except (av.FFmpegError, IndexError) as error:
            raise self._unreadable(error) from error

    def _check_file(self) -> None:
        if not self.path.is_file():
            raise MdxError(f"{self.path}: {'not a file' if self.path.exists() else 'no such file'}")

    def _unreadable(self, error: av.FFmpegError | IndexError) -> MdxError:
        reason = "it has no such audio stream" if isinstance(error, IndexError) else error.strerror
        return MdxError(f"{self.path}: no audio could be read from it ({reason})")

    def _decode_with_ffmpeg(self) -> tuple[NDArray[np.float32], int]:
        with av.open(str(self.path)) as container:
            stream = container.streams.audio[self.stream]
            planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            frames = [part for frame in container.decode(stream) for part in planar.resample(frame)]
            frames += planar.resample(None)
            blocks = [frame.to_ndarray() for frame in frames]
            empty = np.zeros((stream.channels, 0), dtype=np.float32)
            samples = np.concatenate([empty, *blocks], axis=1)
            length = _length(stream)
            # What an encoder added to fill its last frame is not music; FFmpeg cuts it off only at the beginning.
            if length is not None and 0 < samples.shape[1] - length < _LONGEST_FRAME:
                samples = samples[:, :length]
            return np.ascontiguousarray(samples), int(stream.rate)


def _length(stream: av.AudioStream) -> int | None:
    if stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * stream.rate)
    return None


@dataclass(frozen=True)
class StreamSum:
    """The sum of several streams: a stem that lies in one file for each microphone or player.

    They are brought to the highest of their sample rates; the shorter ones are filled up with silence.

    Args:
        streams: What is summed.
    """

    streams: tuple[AudioStream, ...]

    @property
    def path(self) -> Path:
        """The folder that holds all of them."""
        return Path(os.path.commonpath([stream.path.parent for stream in self.streams]))

    def read(self) -> tuple[Tensor, int]:
        """The sum (channel, time), float32 with full scale at 1, and its sample rate in Hz.

        Raises:
            MdxError: If one of them can't be read.
        """
        read = [stream.read() for stream in self.streams]
        highest = max(rate for _, rate in read)
        signals = align([resample(waveform, rate, highest) for waveform, rate in read])
        return torch.stack(signals).sum(dim=0), highest


def align(signals: Sequence[Tensor]) -> list[Tensor]:
    """Signals of equal length and number of channels: filled up with silence at the end, mono on both sides.

    Shape:
        - signals: each (channel, time)
        - result: each (most channels, longest time)
    """
    channels = max(signal.shape[0] for signal in signals)
    time = max(signal.shape[-1] for signal in signals)
    return [functional.pad(signal, (0, time - signal.shape[-1])).expand(channels, -1) for signal in signals]


def resample(waveform: Tensor, before: int, after: int) -> Tensor:
    """Change the sample rate with soxr's very-high-quality filter.

    Args:
        waveform: Waveform, on the CPU.
        before: Its sample rate in Hz.
        after: The wanted sample rate in Hz.

    Shape:
        - waveform: (channel, time)
        - result: (channel, round(time * after / before))
    """
    if before == after:
        return waveform
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(waveform.T.numpy(), before, after, quality="VHQ").T))
