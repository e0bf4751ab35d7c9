"""The kinds of files that estimates are written to, and what each of them can hold."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import soundfile
from torch import Tensor

from mdx_progressive.audio.channel_masks import FLAC_ROOM, finish_flac, finish_wav
from mdx_progressive.audio.decode import soundfile_name
from mdx_progressive.audio.lossless import exact_integers
from mdx_progressive.audio.tags import finish_mp3, reserve_space, write_tags
from mdx_progressive.runtime import MdxError

Encoding = Literal["float32", "int24", "int16"]

_SUBTYPES: dict[Encoding, str] = {"float32": "FLOAT", "int24": "PCM_24", "int16": "PCM_16"}
_LARGEST_WAV = 2**32 - 2**16
"""Bytes of samples that a plain wav holds; RF64 is the wav for more."""
_AT_ONCE = 1 << 16
"""Samples that an encoder is given at a time: Vorbis keeps what it is given on the stack."""


class FileFormat(ABC):
    """A kind of file.

    Args:
        encoding: How samples are stored; by default the first of the format's `encodings`.

    Raises:
        MdxError: If it has no such encoding.
    """

    suffix: ClassVar[str]
    encodings: ClassVar[tuple[Encoding, ...]] = ()
    """What samples can be stored as; empty for a format that codes them with a loss."""
    most_channels: ClassVar[int]

    def __init__(self, encoding: Encoding | None) -> None:
        if encoding is not None and encoding not in self.encodings:
            known = " or ".join(self.encodings[::-1])
            way_out = f"set writer.encoding to {known}" if known else "leave writer.encoding out"
            raise MdxError(f"{self.suffix} can't hold {encoding}: {way_out}, or set writer.format to wav")
        self.encoding: Encoding | None = encoding or next(iter(self.encodings), None)

    @property
    def bits(self) -> int | None:
        """Bits of an integer sample; None where samples are floats or coded."""
        return None if self.encoding in (None, "float32") else int(self.encoding[-2:])

    @property
    def bytes_per_sample(self) -> int:
        """Bytes that a sample takes, before flac makes them smaller; of coded ones at most."""
        return 1 if self.encoding is None else int(self.encoding[-2:]) // 8

    def check(self, song: str, sample_rate: int, channels: int) -> None:
        """See that it can hold the estimates of a song.

        Raises:
            MdxError: If its sample rate or its number of channels is none that the format knows.
        """
        if not self._knows(sample_rate):
            raise MdxError(f"{song}: {self.suffix} does not know {sample_rate} Hz: set writer.format to flac or wav")
        if channels > self.most_channels:
            raise MdxError(
                f"{song}: has {channels} channels, {self.suffix} takes {self.most_channels}:"
                " set writer.format to flac or wav"
            )

    def _knows(self, sample_rate: int) -> bool:
        return True

    @abstractmethod
    def open(self, path: Path, sample_rate: int, channels: int, length: int, mask: int) -> soundfile.SoundFile:
        """A file to write `length` samples of each channel to; `mask` as for `close`."""

    def write(self, file: soundfile.SoundFile, piece: Tensor) -> None:
        """Add a piece (channel, time) to a file; for integers it lies on their steps already."""
        for part in piece.split(_AT_ONCE, dim=-1):
            if self.bits is None:
                file.write(part.T.numpy())
            else:
                file.write(exact_integers(part))

    def tag(self, file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
        """Put tags into a file, before its first sample."""
        write_tags(file, tags)

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        """End a file that lies at a path.

        Args:
            file: The file.
            path: Where it lies.
            mask: Which speakers more than two channels are for; 0 tells nothing.
            tags: As they were given to `tag`.
        """
        file.close()


class Wav(FileFormat):
    """Plain wav, WAVEX where it names its channels, or RF64 where it gets too large for these."""

    suffix = "wav"
    encodings = ("float32", "int24", "int16")
    most_channels = 1024

    def open(self, path: Path, sample_rate: int, channels: int, length: int, mask: int) -> soundfile.SoundFile:
        assert self.encoding is not None
        too_large = length * channels * self.bytes_per_sample > _LARGEST_WAV
        kind = "RF64" if too_large else "WAVEX" if mask else "WAV"
        return soundfile.SoundFile(
            soundfile_name(path), "w", sample_rate, channels, _SUBTYPES[self.encoding], format=kind
        )

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        many = file.channels > 2  # libsndfile takes six channels for 5.1 if it is told nothing.
        super().close(file, path, mask, tags)
        finish_wav(path, mask if many else None)


class Flac(FileFormat):
    """Flac, without loss."""

    suffix = "flac"
    encodings = ("int24", "int16")
    most_channels = 8

    def open(self, path: Path, sample_rate: int, channels: int, length: int, mask: int) -> soundfile.SoundFile:
        assert self.encoding is not None
        file = soundfile.SoundFile(
            soundfile_name(path), "w", sample_rate, channels, _SUBTYPES[self.encoding], format="FLAC"
        )
        if mask:
            file.license = FLAC_ROOM
        return file

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        super().close(file, path, mask, tags)
        if mask:
            finish_flac(path, mask)


class Mp3(FileFormat):
    """MP3 at LAME's V0, about 245 kb/s for music in stereo."""

    suffix = "mp3"
    most_channels = 2
    rates: ClassVar = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})

    def open(self, path: Path, sample_rate: int, channels: int, length: int, mask: int) -> soundfile.SoundFile:
        return soundfile.SoundFile(
            soundfile_name(path), "w", sample_rate, channels, "MPEG_LAYER_III", format="MP3",
            bitrate_mode="VARIABLE", compression_level=0.0,
        )  # fmt: skip

    def tag(self, file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
        reserve_space(file, tags)

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        super().close(file, path, mask, tags)
        finish_mp3(path, tags)

    def _knows(self, sample_rate: int) -> bool:
        return sample_rate in self.rates


class Ogg(FileFormat):
    """Ogg Vorbis at a quality of 8, about 256 kb/s for music in stereo; libsndfile numbers its streams at random."""

    suffix = "ogg"
    most_channels = 2

    def open(self, path: Path, sample_rate: int, channels: int, length: int, mask: int) -> soundfile.SoundFile:
        return soundfile.SoundFile(
            soundfile_name(path), "w", sample_rate, channels, "VORBIS", format="OGG", compression_level=0.2
        )

    def _knows(self, sample_rate: int) -> bool:
        return sample_rate <= 200_000  # libsndfile crashes above it.


Format = Literal["wav", "flac", "mp3", "ogg"]
FORMATS: Mapping[Format, type[FileFormat]] = {"wav": Wav, "flac": Flac, "mp3": Mp3, "ogg": Ogg}
