"""Writing the stems of a song: piece by piece, within full scale, on the steps of the encoding."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import soundfile
from torch import Tensor

from mdx_progressive.audio import FORMATS, Encoding, Format, channel_mask
from mdx_progressive.data import ChannelPairs, Origin
from mdx_progressive.output.stems import QuantisationSteps, StemMix
from mdx_progressive.runtime import MdxError, atomic_write, thread_pool

log = logging.getLogger(__name__)

Clip = Literal["rescale", "clamp", "keep"]


class Piece(NamedTuple):
    """A piece of a song: estimates (target, channel, time), and where it is needed the mixture (channel, time)."""

    estimates: Tensor
    mixture: Tensor | None


Pieces = Callable[[], Iterator[Piece]]
"""Begins anew with the first of consecutive pieces."""


class StemFiles:
    """Writes the stems of a song piece by piece, each to a file that gets its name when all of them are whole.

    Args:
        format: The kind of file.
        encoding: How samples are stored; by default as the format has it.
        clip: What to do with stems above full scale, as in `EstimateWriter`.
        dither: Whether estimates are dithered; by default where they are stored in 16 bits.
        bitrate: Of mp3, a constant one in kb/s.

    Raises:
        MdxError: If the settings contradict one another.
    """

    def __init__(
        self,
        format: Format,  # noqa: A002
        encoding: Encoding | None,
        clip: Clip | None,
        dither: bool | None,
        bitrate: int | None = None,
    ) -> None:
        self.format = FORMATS[format](encoding, bitrate)
        floats = self.format.encoding == "float32"
        self.clip: Clip = clip or ("keep" if floats else "rescale")
        self.dither = self.format.bits == 16 if dither is None else dither
        stored = self.format.encoding or format
        if self.clip == "keep" and not floats:
            raise MdxError(f"{stored} can't hold samples above full scale: set writer.clip to rescale or clamp")
        if self.dither and self.format.bits is None:
            raise MdxError(f"{stored} is not rounded to steps: writer.dither is for int16 and int24")

    def write(
        self, origin: Origin, paths: Mapping[int, Path], stems: StemMix, pieces: Pieces, tags: Mapping[str, str]
    ) -> None:
        """Write some of the stems of a song; they are encoded in parallel, while the next piece is computed.

        Args:
            origin: One of its blocks, which has its rate, length and channels.
            paths: The files, by the number of the stem.
            stems: Computes the stems of a piece.
            pieces: Estimates and mixture.
            tags: Tags of the files.

        Raises:
            MdxError: If a file can't be written.
        """
        level, peak = 1.0 if self.clip == "keep" else self._level(origin.song, stems, pieces), 0.0
        exact = self.format.encoding == "float32" and stems.need_mixture
        steps = QuantisationSteps(self.format.bits, self.dither) if self.format.bits or exact else None
        shape, mask = (origin.sample_rate, origin.pairs.channels, origin.length), channel_mask(origin.layout)
        try:
            with ExitStack() as stack:
                for path in paths.values():
                    path.parent.mkdir(parents=True, exist_ok=True)
                temporary = {number: stack.enter_context(atomic_write(path)) for number, path in paths.items()}
                files = {}
                for number, path in temporary.items():
                    files[number] = stack.enter_context(self.format.open(path, *shape, mask))
                    self.format.tag(files[number], tags)
                # The last one to be entered, so that no file is closed while it is written to.
                encoders = stack.enter_context(thread_pool(len(files)))
                encoded: Iterator[None] = iter(())
                for estimates, mixture in pieces():
                    samples = stems.mix(estimates / level, None if mixture is None else mixture / level, steps)
                    if self.clip == "keep":
                        peak = max(peak, float(samples.abs().max()))
                    else:  # Dither and codes may go a step above the peak.
                        samples = samples.clamp(-1, 1)
                    list(encoded)  # Wait for the piece before, and raise what a thread has raised.
                    encoded = encoders.map(self.format.write, files.values(), [samples[number] for number in files])
                list(encoded)
                for number, file in files.items():
                    self.format.close(file, temporary[number], mask, tags)
        except (OSError, soundfile.SoundFileError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MdxError(f"{', '.join(map(str, paths.values()))}: could not be written ({reason})") from error
        if peak > 1:
            log.warning("%s: peak %.3f, kept above full scale", origin.song, peak)

    def _level(self, song: str, stems: StemMix, pieces: Pieces) -> float:
        """What all stems are divided by, whichever of them are written."""
        peak, above = 0.0, 0
        for estimates, mixture in pieces():
            levels = stems.mix(estimates, mixture).abs()
            peak = max(peak, float(levels.max()))
            above += int((levels > 1).sum())
        if peak <= 1:
            return 1.0
        if self.clip == "rescale":
            log.warning("%s: peak %.3f, all of its estimates were divided by it", song, peak)
            return peak
        log.warning("%s: peak %.3f, %d samples were cut off", song, peak, above)
        return 1.0


def save_stem(path: Path, samples: Tensor, sample_rate: int) -> Path:
    """Write one stem to a file, of the kind that its suffix says and with the defaults of that kind.

    Args:
        path: The file, with the suffix wav, flac, mp3 or ogg.
        samples: The samples.
        sample_rate: In Hz.

    Shape:
        - samples: (channel, time)

    Raises:
        MdxError: If there is no such kind of file, it can't hold the stem, or it can't be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    known = next((name for name in FORMATS if name == kind), None)
    if known is None:
        raise MdxError(f"{path}: its name must end in one of {', '.join(f'.{name}' for name in FORMATS)}")
    files = StemFiles(known, None, None, None)
    origin = Origin(path.stem, 0, sample_rate, samples.shape[-1], pairs=ChannelPairs.for_layout(len(samples)))
    files.format.check(path.name, sample_rate, len(samples))
    stem = samples.detach().float().cpu()[None]
    files.write(origin, {0: path}, StemMix([path.stem], [], exact_sum=False), lambda: iter([Piece(stem, None)]), {})
    return path
