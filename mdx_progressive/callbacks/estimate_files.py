"""How estimates are stored: format, encoding, and what becomes of peaks above full scale."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import soundfile
from torch import Tensor

from mdx_progressive.errors import MdxError
from mdx_progressive.whole_file import whole_file

log = logging.getLogger(__name__)

Format = Literal["wav", "flac"]
Encoding = Literal["float32", "int24", "int16"]
Clip = Literal["rescale", "clamp", "keep"]
Pieces = Callable[[], Iterator[Tensor]]
"""Begins anew with the first of consecutive pieces (target, channel, time)."""

_SUBTYPES: dict[Encoding, str] = {"float32": "FLOAT", "int24": "PCM_24", "int16": "PCM_16"}
_LARGEST_WAV = 2**32 - 2**16
"""Bytes of samples that a plain wav holds; RF64 is the wav for more."""


class EstimateFiles:
    """Writes the estimates of a song piece by piece, each to a file that gets its name when all of them are whole.

    Args:
        format: wav, or flac, which holds integers only.
        encoding: float32, int24 or int16; by default float32 for wav and int24 for flac.
        clip: What to do with estimates above full scale, as in `EstimateWriter`.

    Raises:
        MdxError: If the settings contradict one another.
    """

    def __init__(self, format: Format, encoding: Encoding | None, clip: Clip | None) -> None:  # noqa: A002
        self.format = format
        self.encoding: Encoding = encoding or ("float32" if format == "wav" else "int24")
        self.clip: Clip = clip or ("keep" if self.encoding == "float32" else "rescale")
        if format == "flac" and self.encoding == "float32":
            raise MdxError("flac can't hold float32: set writer.encoding to int24 or int16, or writer.format to wav")
        if self.clip == "keep" and self.encoding != "float32":
            raise MdxError(f"{self.encoding} can't hold samples above full scale: set writer.clip to rescale or clamp")

    @property
    def bytes_a_sample(self) -> int:
        """Bytes that a sample takes in the files, before flac makes them smaller."""
        return int(self.encoding[-2:]) // 8

    def write(self, song: str, paths: Mapping[int, Path], pieces: Pieces, sample_rate: int, length: int) -> None:
        """Write some of the targets of a song.

        Args:
            song: Its name, for messages.
            paths: The files, by the number of the target.
            pieces: What is written.
            sample_rate: Sample rate in Hz.
            length: Samples in all pieces.

        Raises:
            MdxError: If a file can't be written.
        """
        change = self._within_full_scale(song, pieces)
        try:
            with ExitStack() as stack:
                files: dict[int, soundfile.SoundFile] = {}
                temporary = {number: stack.enter_context(whole_file(path)) for number, path in paths.items()}
                for piece in pieces():
                    _, channels, _ = piece.shape
                    size = length * channels * self.bytes_a_sample
                    kind = "RF64" if self.format == "wav" and size > _LARGEST_WAV else self.format.upper()
                    for number in paths:
                        if number not in files:
                            files[number] = stack.enter_context(
                                soundfile.SoundFile(
                                    _name(temporary[number]),
                                    "w",
                                    sample_rate,
                                    channels,
                                    _SUBTYPES[self.encoding],
                                    format=kind,
                                )
                            )
                        files[number].write(change(piece[number]).T.numpy())
                for number, file in files.items():
                    file.close()
                    _forget_the_time(temporary[number])
        except (OSError, soundfile.SoundFileError) as error:
            raise MdxError(f"{', '.join(map(str, paths.values()))}: could not be written ({error})") from error

    def _within_full_scale(self, song: str, pieces: Pieces) -> Callable[[Tensor], Tensor]:
        """What is done to the pieces, given all of them."""
        peak, above = 0.0, 0
        for piece in pieces():
            peak = max(peak, float(piece.abs().max()))
            above += int((piece.abs() > 1).sum())
        if peak <= 1:
            return lambda piece: piece
        if self.clip == "rescale":
            log.warning("%s: peak %.3f, all of its estimates were divided by it", song, peak)
            return lambda piece: piece / peak
        if self.clip == "clamp":
            log.warning("%s: peak %.3f, %d samples were cut off", song, peak, above)
            return lambda piece: piece.clamp(-1, 1)
        log.warning("%s: peak %.3f, kept above full scale", song, peak)
        return lambda piece: piece


def _name(path: Path) -> str | bytes:
    """As a string, soundfile would want a name to be UTF-8."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _forget_the_time(path: Path) -> None:
    """Beside the peak of a float file libsndfile writes the time of day; equal estimates should make equal files."""
    with path.open("r+b") as file:
        place = file.read(4096).find(b"PEAK")
        if place >= 0:
            file.seek(place + 12)
            file.write(bytes(4))
