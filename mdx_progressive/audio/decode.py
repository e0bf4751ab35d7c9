"""Decoding audio files: soundfile for what libsndfile knows, PyAV for the rest (m4a, mp4, native stems, video)."""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdx_progressive.audio.truncation import counts_frames, ends_within_ogg_page, missing_bytes
from mdx_progressive.runtime import MdxError

log = logging.getLogger(__name__)

AUDIO_SUFFIXES = frozenset({
    ".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd", ".voc",
    ".ogg", ".oga", ".opus", ".mp2", ".mp3", ".aac", ".m4a", ".m4b", ".ac3", ".eac3", ".wma", ".wv", ".ape", ".tta",
    ".mp4", ".m4v", ".mov", ".mka", ".mkv", ".webm", ".avi", ".wmv", ".flv", ".3gp", ".ogv",
    ".mpg", ".mpeg", ".mts", ".m2ts",
})  # fmt: skip
"""What a folder is searched for; a file that is named itself may have any suffix."""

_LONGEST_FRAME = 4096
_PIECE = 1 << 18
"""Samples that are decoded at a time, in all channels."""
_SAMPLE_RATES = range(1_000, 1_000_001)
"""Plausible sample rates in Hz: a song at 1 Hz would become 44100 times as long."""
_MOST_SAMPLES_PER_BYTE = 1 << 13
"""Plausible samples of a channel in a byte: a frame of FLAC has 65535 of silence in 12 bytes."""
_HEADER_TOLERANCE = 2 * _LONGEST_FRAME
"""By how many samples the header of an intact MP3 or MP4 may be off."""
_XIPH_ORDER = {
    3: [0, 2, 1], 5: [0, 2, 1, 3, 4], 6: [0, 2, 1, 5, 3, 4], 7: [0, 2, 1, 6, 5, 3, 4], 8: [0, 2, 1, 7, 5, 6, 3, 4],
}  # fmt: skip
"""Where Vorbis and Opus store the first, second, ... channel of other formats (Vorbis I specification, 4.3.9);
libsndfile keeps their order."""
_SEEKABLE_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC"})
_SEEKABLE_ENCODINGS = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
"""Encodings whose samples are found at once; lossy ones need what comes before."""
_CERTAIN_LENGTH = frozenset(soundfile.available_subtypes()) - {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
"""Encodings of files whose number of samples is certain; that of an MP3 may be a guess by its size."""


class Header(NamedTuple):
    """What is known of a signal without decoding it.

    Args:
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        length: Samples per channel, perhaps a guess; None where it is unknown.
        encoding: How samples are stored: libsndfile's name of it (PCM_16, FLOAT, ...) or FFmpeg's of the codec (aac).
    """

    sample_rate: int
    channels: int
    length: int | None = None
    encoding: str = ""


@dataclass(frozen=True)
class AudioStream:
    """One audio stream of a file, a `Signal`.

    Args:
        path: The file.
        stream: Number of the audio stream within it; native stems files (.stem.mp4) have several.
    """

    path: Path
    stream: int = 0

    @property
    def streams(self) -> "tuple[AudioStream, ...]":
        return (self,)

    def header(self) -> Header:
        self._check_file()
        if sound := self._open_soundfile():
            with sound:
                return self._plausible(Header(sound.samplerate, sound.channels, sound.frames, sound.subtype))
        try:
            with open_with_ffmpeg(self.path) as container:
                stream = self._audio_stream(container)
                codec = stream.codec_context.name
                return self._plausible(Header(stream.rate, stream.channels, _length(stream), codec))
        except (av.FFmpegError, IndexError) as error:
            raise self._unreadable(error) from error

    def layout(self) -> tuple[str, ...] | None:
        """FFmpeg's names of the channels (FL, FR, FC, LFE, ...), in their order; None where the file does not tell."""
        with suppress(av.FFmpegError, IndexError, MdxError), open_with_ffmpeg(self.path) as container:
            names = tuple(channel.name for channel in self._audio_stream(container).layout.channels)
            return names if len(set(names)) == len(names) else None
        return None

    def read(self) -> tuple[Tensor, int]:
        return torch.cat(list(self.pieces()), dim=-1), self.header().sample_rate

    def length(self) -> int:
        header = self.header()
        if header.length is not None and header.encoding in _CERTAIN_LENGTH:
            return header.length
        return sum(piece.shape[-1] for piece in self.pieces())

    def seekable(self) -> bool:
        self._check_file()
        if (sound := self._open_soundfile()) is None:
            return False
        with sound:
            return sound.seekable() and sound.format in _SEEKABLE_FORMATS and sound.subtype in _SEEKABLE_ENCODINGS

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        self._check_file()
        sound = self._open_soundfile()
        rate = sound.samplerate if sound else self.header().sample_rate
        decoded = _decode_with_soundfile(sound) if sound else self._decode_with_ffmpeg()
        position = 0
        try:
            if sound and start:
                position = sound.seek(min(start, sound.frames))
            for samples in decoded:
                piece = torch.from_numpy(np.ascontiguousarray(samples))
                if not torch.isfinite(piece).all():
                    seconds = (position + int((~torch.isfinite(piece).all(dim=0)).nonzero()[0])) / rate
                    raise MdxError(f"{self.path}: a sample is not a number or infinite, the first at {seconds:.3f} s")
                position += piece.shape[-1]
                yield piece
        except soundfile.LibsndfileError as error:
            raise MdxError(f"{self.path}: is truncated at {position / rate:.2f} s ({error})") from error
        except (av.FFmpegError, IndexError) as error:
            raise self._unreadable(error) from error
        finally:
            if sound:
                sound.close()
        if not position:
            raise MdxError(f"{self.path}: holds no samples")
        if sound:
            self._check_end(sound, position)

    def _check_end(self, sound: soundfile.SoundFile, position: int) -> None:
        """Refuse a file of libsndfile's that ends before its header says; only warn if the header may be a guess."""
        missing, rate = sound.frames - position, sound.samplerate
        certain = sound.subtype in _CERTAIN_LENGTH
        if missing > 0 and (certain or (missing > _HEADER_TOLERANCE and counts_frames(self.path))):
            raise MdxError(f"{self.path}: is truncated at {position / rate:.2f} s of {sound.frames / rate:.2f} s")
        if missing >= _LONGEST_FRAME:
            end, length = position / rate, sound.frames / rate
            log.warning("%s: ends at %.2f s, where its header tells %.2f s", self.path, end, length)

    def _open_soundfile(self) -> soundfile.SoundFile | None:
        if self.stream != 0:
            return None
        try:
            sound = soundfile.SoundFile(soundfile_name(self.path))
        except soundfile.LibsndfileError:
            return None  # Not a format of libsndfile: FFmpeg may know it.
        if missing := missing_bytes(sound.extra_info):
            sound.close()
            raise MdxError(f"{self.path}: is truncated, its header tells of {missing} bytes more")
        return sound

    def _check_file(self) -> None:
        try:
            if not self.path.is_file():
                raise MdxError(f"{self.path}: {'not a file' if self.path.exists() else 'no such file'}")
            if not self.path.stat().st_size:
                raise MdxError(f"{self.path}: is empty")
            if ends_within_ogg_page(self.path):
                raise MdxError(f"{self.path}: is truncated within a page of Ogg")
        except OSError as error:
            raise MdxError(f"{self.path}: can't be read ({error.strerror})") from error

    def _plausible(self, header: Header) -> Header:
        if header.sample_rate not in _SAMPLE_RATES:
            raise MdxError(f"{self.path}: its header tells of a sample rate of {header.sample_rate} Hz")
        if header.length == 0:
            raise MdxError(f"{self.path}: holds no samples")
        if header.length is not None and header.length > self.path.stat().st_size * _MOST_SAMPLES_PER_BYTE:
            raise MdxError(f"{self.path}: its header tells of {header.length} samples, more than the file can hold")
        return header

    def _unreadable(self, error: av.FFmpegError | IndexError) -> MdxError:
        reason = "it has no such audio stream" if isinstance(error, IndexError) else error.strerror
        return MdxError(f"{self.path}: no audio could be read from it ({reason})")

    def _audio_stream(self, container: av.container.InputContainer) -> av.AudioStream:
        stream = container.streams.audio[self.stream]
        if stream.codec_context is None:
            raise MdxError(f"{self.path}: no audio could be read from it (its codec is not known)")
        return stream

    def _decode_with_ffmpeg(self) -> Iterator[NDArray[np.float32]]:
        """Consecutive pieces (channel, time)."""
        with open_with_ffmpeg(self.path) as container:
            stream = self._audio_stream(container)
            planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            length, position = _length(stream), 0
            surplus: list[NDArray[np.float32]] = []
            for frame in chain(container.decode(stream), [None]):
                try:
                    parts = planar.resample(frame)
                except ValueError as error:  # PyAV has no error of its own for a frame of another kind.
                    seconds = f"{position / stream.rate:.2f} s"
                    raise MdxError(f"{self.path}: its sample rate, channels or encoding change at {seconds}") from error
                for part in parts:
                    samples = part.to_ndarray().astype(np.float32, copy=False)
                    within = samples.shape[1] if length is None else max(0, length - position)
                    position += samples.shape[1]
                    if within:
                        yield samples[:, :within]
                    if within < samples.shape[1]:
                        surplus.append(samples[:, within:])
                # The padding of an encoder's last frame is not music; FFmpeg removes only that at the beginning.
                if surplus and length is not None and position - length >= _LONGEST_FRAME:
                    yield np.concatenate(surplus, axis=1)
                    surplus.clear()
            if length is not None and "mp4" in container.format.name and length - position > _HEADER_TOLERANCE:
                end, total = position / stream.rate, length / stream.rate
                raise MdxError(f"{self.path}: is truncated at {end:.2f} s of {total:.2f} s")


def open_with_ffmpeg(path: Path) -> av.container.InputContainer:
    """A file opened by FFmpeg, as a local file whatever its name (`http:a.mp3`), and with no playlist followed."""
    return av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")


def soundfile_name(path: Path) -> str | bytes:
    """A path as soundfile needs it: in a string it would expect UTF-8."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _decode_with_soundfile(sound: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """Consecutive pieces (channel, time)."""
    order = _XIPH_ORDER.get(sound.channels) if sound.subtype in ("VORBIS", "OPUS") else None
    size = max(1, _PIECE // sound.channels)
    while len(samples := sound.read(size, dtype="float32", always_2d=True)):
        yield samples.T if order is None else samples.T[order]


def _length(stream: av.AudioStream) -> int | None:
    if stream.duration and stream.time_base and stream.rate:
        return round(stream.duration * stream.time_base * stream.rate)
    return None
