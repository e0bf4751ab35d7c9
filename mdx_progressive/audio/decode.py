"""Reading audio: soundfile for what libsndfile knows, PyAV for the rest (m4a, mp4, native stems, video)."""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import av
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdx_progressive.audio.resampling import resample_stream, resampled_length, sum_streams
from mdx_progressive.audio.truncation import counts_frames, missing_bytes, torn_page
from mdx_progressive.runtime import MdxError

log = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset(
    {
        *(".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".voc"),
        *(
            ".ogg",
            ".oga",
            ".opus",
            ".mp2",
            ".mp3",
            ".aac",
            ".m4a",
            ".m4b",
            ".ac3",
            ".eac3",
            ".wma",
            ".wv",
            ".ape",
            ".tta",
        ),
        *(".mp4", ".m4v", ".mov", ".mka", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".3gp", ".ogv"),
        *(".mpg", ".mpeg", ".mts", ".m2ts"),
    }
)
"""What a folder is searched for; a file that is named itself may end in anything."""

_LONGEST_FRAME = 4096
_PIECE = 1 << 18
"""Samples that are decoded at a time, in all channels."""
_RATES = range(1_000, 1_000_001)
"""Sample rates in Hz that are believed: a song at 1 Hz would come out 44100 times as long."""
_DENSEST = 1 << 13
"""Samples of a channel in a byte that are believed: a frame of FLAC has 65535 of silence in 12 bytes."""
_ROUNDING = 2 * _LONGEST_FRAME
"""By how many samples a header of MP3 or MP4 may be off without the file being cut."""
_XIPH_ORDER = {
    3: [0, 2, 1],
    5: [0, 2, 1, 3, 4],
    6: [0, 2, 1, 5, 3, 4],
    7: [0, 2, 1, 6, 5, 3, 4],
    8: [0, 2, 1, 7, 5, 6, 3, 4],
}
"""Where Vorbis and Opus have what is the first, second, ... channel elsewhere (Vorbis I specification, 4.3.9);
libsndfile leaves it there."""
_INDEXED = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC"})
_UNCODED = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
"""Formats and encodings in which a sample is found at once; those with a loss need what comes before it."""
_COUNTED = frozenset(soundfile.available_subtypes()) - {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
"""Encodings of files whose number of samples is certain; that of an MP3 may be a guess, by its size."""


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


class SignalFormat(NamedTuple):
    """What is known of a waveform before it is decoded: its sample rate in Hz, and its channels."""

    sample_rate: int
    channels: int


class SignalSize(NamedTuple):
    """How much there is of a waveform: its sample rate in Hz, its channels, and their samples."""

    sample_rate: int
    channels: int
    length: int


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

    def seekable(self) -> bool:
        """Whether `pieces` can begin anywhere without decoding what comes before."""

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        """The same waveform in consecutive pieces (channel, time), from a sample on if it is seekable."""

    def shape(self) -> SignalFormat:
        """Its sample rate and channels, which its files tell."""

    def extent(self) -> SignalSize:
        """How much there is of it; it is decoded to be counted if a file does not tell."""


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
        if sound := self._opened():
            with sound:
                return self._believed(Header(sound.samplerate, sound.channels, sound.frames, sound.subtype))
        try:
            with open_with_ffmpeg(self.path) as container:
                stream = self._within(container)
                return self._believed(Header(stream.rate, stream.channels, _length(stream), stream.codec_context.name))
        except (av.FFmpegError, IndexError) as error:
            raise self._unreadable(error) from error

    def layout(self) -> tuple[str, ...] | None:
        """FFmpeg's names of the channels (FL, FR, FC, LFE, ...), in their order; None where the file does not tell."""
        with suppress(av.FFmpegError, IndexError, MdxError), open_with_ffmpeg(self.path) as container:
            names = tuple(channel.name for channel in self._within(container).layout.channels)
            return names if len(set(names)) == len(names) else None
        return None

    def read(self) -> tuple[Tensor, int]:
        """Waveform (channel, time), float32 with full scale at 1, and the sample rate in Hz.

        Raises:
            MdxError: If the file is missing, holds no audio, no samples, NaN or infinity, or breaks off before its end.
        """
        return torch.cat(list(self.pieces()), dim=-1), self.header().sample_rate

    def shape(self) -> SignalFormat:
        """Its sample rate and channels.

        Raises:
            MdxError: As `header`.
        """
        header = self.header()
        return SignalFormat(header.sample_rate, header.channels)

    def extent(self) -> SignalSize:
        """How much there is of it; it is decoded to be counted if the file does not tell for certain.

        Raises:
            MdxError: As `read`.
        """
        header = self.header()
        known = header.length if header.encoding in _COUNTED else None
        if known is None:
            known = sum(piece.shape[-1] for piece in self.pieces())
        return SignalSize(header.sample_rate, header.channels, known)

    def seekable(self) -> bool:
        """Whether libsndfile finds each sample of it at once, exactly.

        Raises:
            MdxError: If the file is missing, or breaks off before its end.
        """
        self._check_file()
        sound = self._opened()
        if sound is None:
            return False
        with sound:
            return sound.seekable() and sound.format in _INDEXED and sound.subtype in _UNCODED

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        """The waveform in consecutive pieces (channel, time), none of them empty.

        Args:
            start: The first sample, which may be another one than that of the file only where that is `seekable`.

        Raises:
            MdxError: As `read`, when the place is reached.
        """
        self._check_file()
        sound = self._opened()
        rate, decoded = (sound.samplerate, _frames_of(sound)) if sound else (self.header().sample_rate, self._packets())
        done = 0
        try:
            if sound and start:
                done = sound.seek(min(start, sound.frames))
            for samples in decoded:
                piece = torch.from_numpy(np.ascontiguousarray(samples))
                if not torch.isfinite(piece).all():
                    place = done + int((~torch.isfinite(piece).all(dim=0)).nonzero()[0])
                    raise MdxError(
                        f"{self.path}: a sample is not a number or infinite, the first at {place / rate:.3f} s"
                    )
                done += piece.shape[-1]
                yield piece
        except soundfile.LibsndfileError as error:
            raise MdxError(f"{self.path}: breaks off at {done / rate:.2f} s ({error})") from error
        except (av.FFmpegError, IndexError) as error:
            raise self._unreadable(error) from error
        finally:
            if sound:
                sound.close()
        if not done:
            raise MdxError(f"{self.path}: holds no samples")
        if sound and done < sound.frames:
            cut = sound.frames - done > _ROUNDING and counts_frames(self.path)
            if cut or sound.subtype in _COUNTED:
                raise MdxError(f"{self.path}: breaks off at {done / rate:.2f} s of {sound.frames / rate:.2f} s")
            if sound.frames - done >= _LONGEST_FRAME:
                log.warning(
                    "%s: ends at %.2f s, where its header tells %.2f s", self.path, done / rate, sound.frames / rate
                )

    def _opened(self) -> soundfile.SoundFile | None:
        if self.stream != 0:
            return None
        try:
            sound = soundfile.SoundFile(soundfile_name(self.path))
        except soundfile.LibsndfileError:
            return None  # Not a format of libsndfile: FFmpeg may know it.
        if missing := missing_bytes(sound.extra_info):
            sound.close()
            raise MdxError(f"{self.path}: breaks off, its header tells of {missing} bytes more")
        return sound

    def _check_file(self) -> None:
        try:
            if not self.path.is_file():
                raise MdxError(f"{self.path}: {'not a file' if self.path.exists() else 'no such file'}")
            if not self.path.stat().st_size:
                raise MdxError(f"{self.path}: is empty")
            if torn_page(self.path):
                raise MdxError(f"{self.path}: breaks off within a page of Ogg")
        except OSError as error:
            raise MdxError(f"{self.path}: can't be read ({error.strerror})") from error

    def _believed(self, header: Header) -> Header:
        if header.sample_rate not in _RATES:
            raise MdxError(f"{self.path}: its header tells of a sample rate of {header.sample_rate} Hz")
        if header.length == 0:
            raise MdxError(f"{self.path}: holds no samples")
        if header.length is not None and header.length > self.path.stat().st_size * _DENSEST:
            raise MdxError(f"{self.path}: its header tells of {header.length} samples, more than the file can hold")
        return header

    def _unreadable(self, error: av.FFmpegError | IndexError) -> MdxError:
        reason = "it has no such audio stream" if isinstance(error, IndexError) else error.strerror
        return MdxError(f"{self.path}: no audio could be read from it ({reason})")

    def _within(self, container: av.container.InputContainer) -> av.AudioStream:
        stream = container.streams.audio[self.stream]
        if stream.codec_context is None:
            raise MdxError(f"{self.path}: no audio could be read from it (its codec is not known)")
        return stream

    def _packets(self) -> Iterator[NDArray[np.float32]]:
        """What FFmpeg decodes, (channel, time)."""
        with open_with_ffmpeg(self.path) as container:
            stream = self._within(container)
            planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            length, done = _length(stream), 0
            beyond: list[NDArray[np.float32]] = []
            for frame in chain(container.decode(stream), [None]):
                try:
                    parts = planar.resample(frame)
                except ValueError as error:  # PyAV has no error of its own for a frame of another kind.
                    place = f"{done / stream.rate:.2f} s"
                    raise MdxError(f"{self.path}: its sample rate, channels or encoding change at {place}") from error
                for part in parts:
                    samples = part.to_ndarray().astype(np.float32, copy=False)
                    within = samples.shape[1] if length is None else max(0, length - done)
                    done += samples.shape[1]
                    if within:
                        yield samples[:, :within]
                    if within < samples.shape[1]:
                        beyond.append(samples[:, within:])
                # What an encoder added to fill its last frame is not music; FFmpeg cuts it off only at the beginning.
                if beyond and length is not None and done - length >= _LONGEST_FRAME:
                    yield np.concatenate(beyond, axis=1)
                    beyond.clear()
            if length is not None and "mp4" in container.format.name and length - done > _ROUNDING:
                raise MdxError(f"{self.path}: breaks off at {done / stream.rate:.2f} s of {length / stream.rate:.2f} s")


def open_with_ffmpeg(path: Path) -> av.container.InputContainer:
    """A file opened by FFmpeg, and by it alone: `http:a.mp3` is a name like others, and no playlist leads elsewhere."""
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")


def soundfile_name(path: Path) -> str | bytes:
    """What soundfile is to be told: as a string it would want a name to be UTF-8."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _frames_of(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """What libsndfile decodes, (channel, time)."""
    order = _XIPH_ORDER.get(sound.channels) if sound.subtype in ("VORBIS", "OPUS") else None
    size = max(1, _PIECE // sound.channels)
    while len(samples := sound.read(size, dtype="float32", always_2d=True)):
        yield samples.T if order is None else samples.T[order]


def _length(stream: av.AudioStream) -> int | None:
    if stream.duration and stream.time_base and stream.rate:
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
        return torch.cat(list(self.pieces()), dim=-1), self.shape().sample_rate

    def seekable(self) -> bool:
        """Whether all of them are, at one sample rate.

        Raises:
            MdxError: If one of them can't be read.
        """
        same = len({stream.shape().sample_rate for stream in self.streams}) == 1
        return same and all(stream.seekable() for stream in self.streams)

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        """The sum in consecutive pieces (channel, time).

        Args:
            start: The first sample, as for an `AudioStream`.

        Raises:
            MdxError: If one of them can't be read.
        """
        shape = self.shape()
        signals = [
            resample_stream(stream.pieces(start), stream.shape().sample_rate, shape.sample_rate)
            for stream in self.streams
        ]
        return sum_streams(signals, shape.channels)

    def shape(self) -> SignalFormat:
        """The highest of the sample rates, and the most channels.

        Raises:
            MdxError: If one of them can't be read.
        """
        rates, channels = zip(*(stream.shape() for stream in self.streams), strict=True)
        return SignalFormat(max(rates), max(channels))

    def extent(self) -> SignalSize:
        """How much there is of the sum.

        Raises:
            MdxError: If one of them can't be read.
        """
        extents, (highest, channels) = [stream.extent() for stream in self.streams], self.shape()
        return SignalSize(
            highest, channels, max(resampled_length(each.length, each.sample_rate, highest) for each in extents)
        )
