"""Encoding: the kinds of files that estimates are written to, and what each of them can hold."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import soundfile
from torch import Tensor

from mdx_progressive.audio.channel_masks import MASK_COMMENT, finish_wav
from mdx_progressive.audio.lossless import exact_integers
from mdx_progressive.audio.sound_output import SoundOutput
from mdx_progressive.audio.tags import write_flac_comment, write_id3_tags
from mdx_progressive.runtime import MdxError

Encoding = Literal["float32", "int24", "int16"]

_SUBTYPES: dict[Encoding, str] = {"float32": "FLOAT", "int24": "PCM_24", "int16": "PCM_16"}
_LARGEST_WAV = 2**32 - 2**16
"""Bytes of samples that a plain wav holds; RF64 is the wav for more."""
_SAMPLES_PER_WRITE = 1 << 16
"""What an encoder gets at a time: Vorbis keeps it on the stack."""


class FileFormat:
    """A kind of file.

    Args:
        encoding: How samples are stored; by default the first of the format's `encodings`.
        bitrate: A constant bitrate in kb/s, for MP3 alone.

    Raises:
        MdxError: If it has no such encoding or bitrate.
    """

    suffix: ClassVar[str]
    encodings: ClassVar[tuple[Encoding, ...]] = ()
    """What samples can be stored as; empty for a lossy format."""
    codec: ClassVar[str] = ""
    """libsndfile's name of the encoding of a lossy format."""
    codec_options: ClassVar[Mapping[str, object]] = {}
    bitrates: ClassVar[tuple[int, ...]] = ()
    """Constant bitrates in kb/s that it can have."""
    most_channels: ClassVar[int]
    rates: ClassVar[Container[int]] = range(1, 2**31)
    """Sample rates in Hz that it can have."""

    def __init__(self, encoding: Encoding | None, bitrate: int | None = None) -> None:
        if bitrate is not None and bitrate not in self.bitrates:
            known = ", ".join(map(str, self.bitrates))
            way_out = f"it takes {known} kb/s" if known else "leave writer.bitrate out, or set writer.format to mp3"
            raise MdxError(f"{self.suffix} has no bitrate of {bitrate} kb/s: {way_out}")
        self.bitrate = bitrate
        if encoding is not None and encoding not in self.encodings:
            known = " or ".join(self.encodings[::-1])
            way_out = f"set writer.encoding to {known}" if known else "leave writer.encoding out"
            raise MdxError(f"{self.suffix} can't hold {encoding}: {way_out}, or set writer.format to wav")
        self.encoding: Encoding | None = encoding or next(iter(self.encodings), None)

    @property
    def bits(self) -> int | None:
        """Bits of an integer sample; None where samples are floats or lossy."""
        return None if self.encoding in (None, "float32") else int(self.encoding[-2:])

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of a sample before flac compresses them; at most, where it is lossy."""
        return 1 if self.encoding is None else int(self.encoding[-2:]) // 8

    def check(self, song: str, sample_rate: int, channels: int) -> None:
        """See that it can hold the estimates of a song.

        Raises:
            MdxError: If it can't have this sample rate or number of channels.
        """
        if sample_rate not in self.rates:
            raise MdxError(f"{song}: {self.suffix} does not know {sample_rate} Hz: set writer.format to flac or wav")
        if channels > self.most_channels:
            raise MdxError(
                f"{song}: has {channels} channels, {self.suffix} takes {self.most_channels}:"
                " set writer.format to flac or wav"
            )

    def open(self, path: Path, sample_rate: int, channels: int, length: int, mask: int) -> soundfile.SoundFile:
        """A file to write `length` samples of each channel to; `mask` as for `close`."""
        subtype = _SUBTYPES[self.encoding] if self.encoding else self.codec
        kind = self._container(length * channels * self.bytes_per_sample, mask)
        return SoundOutput(path, sample_rate, channels, subtype, kind, **self._codec_options(sample_rate))

    def _codec_options(self, sample_rate: int) -> Mapping[str, object]:
        """Libsndfile's options for the encoding."""
        return self.codec_options

    def _container(self, size: int, mask: int) -> str:
        """The format, by libsndfile's name, of a file with `size` bytes of samples."""
        return self.suffix.upper()

    def write(self, file: soundfile.SoundFile, piece: Tensor) -> None:
        """Add a piece (channel, time) to a file; for integers it lies on their steps already."""
        for part in piece.split(_SAMPLES_PER_WRITE, dim=-1):
            file.write(part.T.numpy() if self.bits is None else exact_integers(part))

    def tag(self, file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
        """Set the tags of a file, by libsndfile's names, before its first sample."""
        for name, value in tags.items():
            setattr(file, name, value)

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        """Finish a file; `mask` is the channel mask (0 where it is unknown), `tags` are the same as for `tag`."""
        file.close()


class Wav(FileFormat):
    """Plain wav, WAVEX where it names its channels, or RF64 where it gets too large for these."""

    suffix = "wav"
    encodings = ("float32", "int24", "int16")
    most_channels = 1024

    def _container(self, size: int, mask: int) -> str:
        return "RF64" if size > _LARGEST_WAV else "WAVEX" if mask else "WAV"

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        many = file.channels > 2  # By default libsndfile takes six channels for 5.1.
        super().close(file, path, mask, tags)
        finish_wav(path, mask if many else None)


class Flac(FileFormat):
    """Flac, without loss."""

    suffix = "flac"
    encodings = ("int24", "int16")
    most_channels = 8

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        super().close(file, path, mask, tags)
        if mask:
            write_flac_comment(path, MASK_COMMENT, f"0x{mask:04x}")


class Mp3(FileFormat):
    """MP3 at LAME's V0, about 245 kb/s for music in stereo, or at a constant bitrate."""

    suffix = "mp3"
    codec = "MPEG_LAYER_III"
    codec_options: ClassVar = {"bitrate_mode": "VARIABLE", "compression_level": 0.0}
    bitrates = (64, 96, 112, 128, 160, 192, 224, 256, 320)
    most_channels = 2
    rates = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})

    def _codec_options(self, sample_rate: int) -> Mapping[str, object]:
        if self.bitrate is None:
            return self.codec_options
        # libsndfile takes a share of the way from the highest bitrate to the lowest, which depend on the rate.
        highest, lowest = (320, 32) if sample_rate >= 32000 else (160, 8) if sample_rate >= 16000 else (64, 8)
        level = (highest - min(self.bitrate, highest)) / (highest - lowest)
        return {"bitrate_mode": "CONSTANT", "compression_level": level}

    def tag(self, file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
        """Nothing yet: `close` sets them."""

    def close(self, file: soundfile.SoundFile, path: Path, mask: int, tags: Mapping[str, str]) -> None:
        super().close(file, path, mask, tags)
        if tags:
            write_id3_tags(path, tags)


class Ogg(FileFormat):
    """Ogg Vorbis at a quality of 8, about 256 kb/s for music in stereo; libsndfile numbers its streams at random."""

    suffix = "ogg"
    codec = "VORBIS"
    codec_options: ClassVar = {"compression_level": 0.2}
    most_channels = 2
    rates = range(1, 200_001)  # Above it libsndfile crashes.


Format = Literal["wav", "flac", "mp3", "ogg"]
FORMATS: Mapping[Format, type[FileFormat]] = {"wav": Wav, "flac": Flac, "mp3": Mp3, "ogg": Ogg}
