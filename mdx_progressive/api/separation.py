"""A song into stems, as `mdx-progressive predict` makes them, without files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mdx_progressive.api.loading import load_method, load_separator
from mdx_progressive.progressive import Method
from mdx_progressive.separators import Separator


class Progress(NamedTuple):
    """How far `separate` is.

    Args:
        block: Number of the block that is being separated, from 1.
        blocks: How many the song has.
        done: The part of the whole that is done, from 0 to 1.
        method: The name of the method.
    """

    block: int
    blocks: int
    done: float
    method: str

    def __str__(self) -> str:
        return f"{self.method}: {self.done:.0%} (block {self.block} of {self.blocks})"


@dataclass(frozen=True)
class Stem:
    """A stem of a song, at the song's own sample rate, length and channels.

    Args:
        source: The name of the source.
        samples: The samples, float32.
        rate: Sample rate in Hz.

    Shape:
        - samples: (channel, time)
    """

    source: str
    samples: Tensor = field(repr=False)
    rate: int

    def save(self, path: str | Path) -> Path:
        """Write the stem to a file, whose suffix decides on its kind: wav (float32), flac, mp3 or ogg.

        Raises:
            MdxError: If there is no such kind of file, it can't hold the stem, or it can't be written.
        """
        from mdx_progressive.output import save_stem

        return save_stem(Path(path), self.samples, self.rate)


def separate(
    song: str | Path,
    separator: Separator | str | None = None,
    method: Method | str | None = None,
    *,
    targets: Sequence[str] | None = None,
    block: float | None = 60.0,
    progress: Callable[[Progress], object] | None = None,
) -> dict[str, Stem]:
    """Separate a song.

    Args:
        song: An audio file, of any rate, length and number of channels.
        separator: The frozen separator, or its name; by default htdemucs.
        method: The method, or its name; by default the balanced one of the separator.
        targets: Sources to estimate; all of the separator's by default.
        block: Seconds that are separated at once, which bounds the memory of the network; None for the whole song.
            The stems of the whole song are in memory.
        progress: Called after each pass; `print` will do.

    Returns:
        The stems by source: the samples that `mdx-progressive predict` writes.

    Raises:
        MdxError: If the song can't be read, or a target is no source of the separator.

    Example:
        >>> stems = separate("song.mp3", load_separator("spleeter"))  # doctest: +SKIP
        >>> stems["vocals"].save("vocals.wav")  # doctest: +SKIP
    """
    from mdx_progressive.data import BlockReader, ReadingOptions, audio_files
    from mdx_progressive.engine import ProgressiveDemixing
    from mdx_progressive.output import resampled_estimates

    if not isinstance(separator, Separator):
        separator = load_separator(separator or "htdemucs")
    if not isinstance(method, Method):
        method = load_method(method or "balanced", separator)
    model = ProgressiveDemixing(separator, method, targets=list(targets) if targets else None)
    options = ReadingOptions(
        separator.sample_rate, "shipped", None, block, separator.receptive_field, separator.standardise
    )
    reader = BlockReader(options)
    (file,) = audio_files([Path(song)])
    file.check()
    plan = reader.plan(file)
    device = next(separator.parameters()).device
    predictions = []
    for number, span in enumerate(plan):
        if progress is not None:
            model.pass_listeners[:] = [_Counter(progress, number, len(plan), method.name, model.passes_of(method))]
        with torch.inference_mode():
            predictions.append(model.predict_step(reader(span).to(device), number).to(torch.device("cpu")))
    origin = plan[0].origin
    (joined,) = model.join_songs(predictions).values()
    samples = torch.cat(list(resampled_estimates([joined], origin, separator.sample_rate)), dim=-1)
    return {source: Stem(source, samples[index], origin.sample_rate) for index, source in enumerate(model.targets)}


class _Counter:
    """Counts the passes of a block."""

    def __init__(
        self, progress: Callable[[Progress], object], block: int, blocks: int, method: str, total: int
    ) -> None:
        self.progress, self.block, self.blocks, self.method, self.total = progress, block, blocks, method, total
        self.passes = 0

    def __call__(self, _: str, passes: int) -> None:
        self.passes += passes
        part = min(1.0, self.passes / self.total)
        self.progress(Progress(self.block + 1, self.blocks, (self.block + part) / self.blocks, self.method))
