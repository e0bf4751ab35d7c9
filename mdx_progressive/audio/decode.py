"""Decoding audio files, in a process of its own: by libsndfile what that knows, by FFmpeg the rest."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor

from mdx_progressive.audio.decoders import DecoderError, Message, ask, ask_once
from mdx_progressive.audio.structure import examine
from mdx_progressive.audio.truncation import counts_frames, missing_bytes
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
_SAMPLE_RATES = range(1_000, 1_000_001)
"""Plausible sample rates in Hz: a song at 1 Hz would become 44100 times as long."""
_MOST_SAMPLES_PER_BYTE = 1 << 13
"""Plausible samples of a channel in a byte: a frame of FLAC has 65535 of silence in 12 bytes."""
_HEADER_TOLERANCE = 2 * _LONGEST_FRAME
"""By how many samples the header of an intact MP3 or MP4 may be off."""
_EXACT = frozenset({"wv", "tta", "ape"})
_TELL_THEIR_LENGTH = _EXACT | {"mov", "caf"}
"""FFmpeg's names of the formats whose header has their length; that of others is a guess by bit rate or timestamps."""
_SEEKABLE_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC"})
_SEEKABLE_ENCODINGS = frozenset({"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
"""Encodings whose samples are found at once; lossy ones need what comes before."""
_CERTAIN_LENGTH = frozenset(soundfile.available_subtypes()) - {"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"}
"""Encodings of files whose number of samples is certain; that of an MP3 may be a guess by its size."""

Part = tuple[int, int] | None
"""First byte of a part of a file, and the byte behind its last; None for the whole file."""


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
        return self._header(self._probe())

    def layout(self) -> tuple[str, ...] | None:
        """FFmpeg's names of the channels (FL, FR, FC, LFE, ...), in their order; None where the file does not tell."""
        with suppress(DecoderError):
            names = tuple(ask_once(self.path, "describe", self.stream)["layout"])
            return names if len(set(names)) == len(names) else None
        return None

    def read(self) -> tuple[Tensor, int]:
        return torch.cat(list(self.pieces()), dim=-1), self.header().sample_rate

    def length(self) -> int:
        self._check_file()
        lengths = [self._certain_length(part) for part in self._parts()]
        if all(length is not None for length in lengths):
            return sum(length for length in lengths if length is not None)
        return sum(piece.shape[-1] for piece in self.pieces())

    def _certain_length(self, part: Part) -> int | None:
        header = self._header(self._probe(part))
        return header.length if header.encoding in _CERTAIN_LENGTH else None

    def seekable(self) -> bool:
        known = self._probe()
        suitable = known["format"] in _SEEKABLE_FORMATS and known["encoding"] in _SEEKABLE_ENCODINGS
        return bool(known["seekable"] and suitable and known["length"] is not None)

    def pieces(self, start: int = 0) -> Iterator[Tensor]:
        self._check_file()
        position = start
        parts = self._parts()
        if len(parts) > 1 and len({self._header(self._probe(part))[:2] for part in parts}) > 1:
            raise MdxError(f"{self.path}: is a chain of files of different sample rates or channels")
        for part in parts:
            for piece in self._pieces(part, start):
                position += piece.shape[-1]
                yield piece
        if not position:
            raise MdxError(f"{self.path}: holds no samples")

    def _pieces(self, part: Part, start: int) -> Iterator[Tensor]:
        position, header = start, None
        answer = ask(self.path, "decode", self.stream, start, part)
        try:
            known = self._checked(next(answer).values)
            header = self._header(known)
            position = min(start, header.length or 0)  # A stem may end before.
            for samples in _without_padding(known, self._waveforms(answer, header)):
                # By NumPy: threads of PyTorch would wait for each other more than ten times as long as this takes.
                if not np.isfinite(samples.numpy()).all():
                    seconds = (position + int((~torch.isfinite(samples).all(dim=0)).nonzero()[0])) / header.sample_rate
                    raise MdxError(f"{self.path}: a sample is not a number or infinite, the first at {seconds:.3f} s")
                position += samples.shape[-1]
                yield samples
        except DecoderError as error:
            if header is None:
                raise self._unreadable(error) from error
            seconds = position / header.sample_rate
            raise MdxError(f"{self.path}: is truncated or damaged at {seconds:.2f} s ({error})") from error
        self._check_end(known, position, part)

    def _waveforms(self, answer: Iterator[Message], header: Header) -> Iterator[Tensor]:
        """The samples of an answer (channel, time), with silence where its file has a gap."""
        position, most = 0, self.path.stat().st_size * _MOST_SAMPLES_PER_BYTE
        for values, data in answer:
            if "changes" in values:
                seconds = position / header.sample_rate
                raise MdxError(f"{self.path}: its sample rate, channels or encoding change at {seconds:.2f} s")
            if gap := values.get("gap"):
                begin, end = (time / header.sample_rate for time in (position, position + gap))
                log.warning("%s: has nothing from %.3f to %.3f s, which is silence now", self.path, begin, end)
                piece = torch.zeros(header.channels, gap)
            else:
                samples = np.frombuffer(data, np.float32).reshape(values["samples"], header.channels)
                piece = torch.from_numpy(np.array(samples.T, order="C"))
            position += piece.shape[-1]
            if position > most:
                raise MdxError(f"{self.path}: goes on beyond what a file of its size can hold")
            yield piece

    def _check_end(self, known: dict[str, Any], position: int, part: Part) -> None:
        """Refuse a file that ends before its header says; only warn if the header may be a guess."""
        if known["length"] is None:
            return
        missing, rate = known["length"] - position, known["sample_rate"]
        end, length = position / rate, known["length"] / rate
        certain = known["encoding"] in _CERTAIN_LENGTH
        if known["by"] == "FFmpeg":
            cut = missing > (0 if known["format"] in _EXACT else _HEADER_TOLERANCE) and _tells_its_length(known)
        elif certain:
            cut = missing > 0
        else:
            cut = missing > _HEADER_TOLERANCE and counts_frames(self.path, part[0] if part else 0)
        if missing < 0 and certain:
            raise MdxError(f"{self.path}: is damaged, it goes on beyond its {length:.2f} s")
        if cut:
            raise MdxError(f"{self.path}: is truncated at {end:.2f} s of {length:.2f} s")
        if missing >= _LONGEST_FRAME and known["by"] == "libsndfile":
            log.warning("%s: ends at %.2f s, where its header tells %.2f s", self.path, end, length)

    def _parts(self) -> Sequence[Part]:
        """The files in a chain of them, else the whole file."""
        structure = examine(self.path)
        if structure.fault:
            raise MdxError(f"{self.path}: {structure.fault}")
        return structure.parts or (None,)

    def _probe(self, part: Part = None) -> dict[str, Any]:
        """What a decoder tells of the file before it decodes it."""
        self._check_file()
        try:
            return self._checked(ask_once(self.path, "header", self.stream, part))
        except DecoderError as error:
            raise self._unreadable(error) from error

    def _checked(self, known: dict[str, Any]) -> dict[str, Any]:
        if missing := missing_bytes(known["log"]):
            raise MdxError(f"{self.path}: is truncated, its header tells of {missing} bytes more")
        return known

    def _check_file(self) -> None:
        try:
            if not self.path.is_file():
                raise MdxError(f"{self.path}: {'not a file' if self.path.exists() else 'no such file'}")
            if not self.path.stat().st_size:
                raise MdxError(f"{self.path}: is empty")
        except OSError as error:
            raise MdxError(f"{self.path}: can't be read ({error.strerror})") from error

    def _header(self, known: dict[str, Any]) -> Header:
        header = Header(*(known[name] for name in Header._fields))
        if header.sample_rate not in _SAMPLE_RATES:
            raise MdxError(f"{self.path}: its header tells of a sample rate of {header.sample_rate} Hz")
        if header.length == 0:
            raise MdxError(f"{self.path}: holds no samples")
        if header.length is not None and header.length > self.path.stat().st_size * _MOST_SAMPLES_PER_BYTE:
            raise MdxError(f"{self.path}: its header tells of {header.length} samples, more than the file can hold")
        return header

    def _unreadable(self, error: DecoderError) -> MdxError:
        return MdxError(f"{self.path}: no audio could be read from it ({error})")


def _tells_its_length(known: dict[str, Any]) -> bool:
    """Whether the length of what FFmpeg opens stands in its header, not in FFmpeg's guess by the bit rate."""
    return not _TELL_THEIR_LENGTH.isdisjoint(known["format"].split(","))


def _without_padding(known: dict[str, Any], pieces: Iterator[Tensor]) -> Iterator[Tensor]:
    """Without the padding of an encoder's last frame, which is no music; FFmpeg removes only that at the beginning."""
    if known["by"] != "FFmpeg" or known["length"] is None or not _tells_its_length(known):
        yield from pieces
        return
    length, position = known["length"], 0
    surplus: list[Tensor] = []
    for piece in pieces:
        within = min(max(0, length - position), piece.shape[-1])
        position += piece.shape[-1]
        if within:
            yield piece[:, :within]
        if within < piece.shape[-1]:
            surplus.append(piece[:, within:])
        if surplus and position - length >= _LONGEST_FRAME:  # So much is no padding.
            yield torch.cat(surplus, dim=-1)
            surplus.clear()
