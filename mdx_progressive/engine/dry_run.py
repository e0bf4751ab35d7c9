"""What a run is going to take, told before it starts: songs, chunks, passes, time, disk."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Trainer
from rich.console import Console

from mdx_progressive.data import ChunkLength, SongDataModule
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.progress_rate import duration
from mdx_progressive.progressive import Method, tracked_sources
from mdx_progressive.runtime import MdxError

_TIMED = 10.0
"""Seconds of music that are separated to see how fast the machine is, at most; less where the chunks are shorter in the
mean: a network with long segments takes as long for less."""
_ROW = 100
"""Bytes of a row of results.csv, roughly."""
_PICTURE = 60_000
"""Bytes of a chart, roughly."""

Sounds = Callable[[ProgressiveDemixing, Sequence[ChunkLength]], int]


class Plan(NamedTuple):
    """What a run is going to take.

    Args:
        songs: Number of songs.
        chunks: Number of chunks.
        music: Seconds of music in all chunks.
        passes: Passes that each chunk takes at most, each input counted as one.
        pace: Seconds that a pass takes for a second of music, in one process.
        processes: Processes among which the chunks are dealt out.
        disk: Bytes that are written, roughly.
    """

    songs: int
    chunks: int
    music: float
    passes: int
    pace: float
    processes: int
    disk: int

    @property
    def seconds(self) -> float:
        """How long the passes take: all but what is done between them, the metrics and the files."""
        return self.music * self.passes * self.pace / min(self.processes, max(1, self.chunks))

    def tell(self, place: Path) -> None:
        """Print it.

        Args:
            place: Where the run is going to write to.
        """
        there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        console = Console(highlight=False, markup=False)
        console.print(f"songs   {self.songs}: {self.chunks} chunks, {duration(self.music)} of music")
        console.print(f"passes  {self.passes} a chunk at most, {self.passes * self.chunks} in all")
        one = f"{self.pace:.2f} s for a second of music in a pass, processes: {self.processes}"
        console.print(f"time    about {duration(self.seconds)} for the passes ({one})")
        console.print(f"disk    about {_size(self.disk)} in {place}, where {_size(free)} are free")
        console.print("Nothing was written. What is done already is not taken off.")


def plan_test(
    trainer: Trainer, model: ProgressiveDemixing, datamodule: SongDataModule, sounds: Sequence[Sounds] = ()
) -> Plan:
    """What `test` is going to take.

    Args:
        trainer: The trainer.
        model: The separator and the methods.
        datamodule: The songs.
        sounds: Tell the bytes of the sound that is kept of some songs.

    Raises:
        MdxError: If there is no song that can be read.
    """
    datamodule.setup("test")
    extents = datamodule.extents()
    rows = sum(method.steps + 1 for method in model.methods) * len(model.targets)
    metrics = sum(len(metric.scales) for metric in model.metrics)
    pictures = 2 + 2 * metrics  # The curves as a file; the schedules, curves and songs in TensorBoard.
    # The rows are in the journal too, until the run ends.
    disk = 2 * _ROW * rows * metrics * len(extents) + _PICTURE * pictures
    return _plan(trainer, model, extents, model.methods, disk + sum(sound(model, extents) for sound in sounds))


def plan_predict(
    trainer: Trainer,
    model: ProgressiveDemixing,
    datamodule: SongDataModule,
    sift: Callable[[SongDataModule, ProgressiveDemixing], None],
    bytes_per_sample: int,
) -> Plan:
    """What `predict` is going to take.

    Args:
        trainer: The trainer.
        model: The separator and the method.
        datamodule: The songs.
        sift: Leaves out what are no songs.
        bytes_per_sample: Of the files that are written.

    Raises:
        MdxError: If there is no song that can be read.
    """
    datamodule.setup("predict")
    sift(datamodule, model)
    songs = {origin.song: origin for origin in datamodule.plan()}
    samples = sum(origin.length * origin.pairs.channels for origin in songs.values())
    disk = samples * bytes_per_sample * len(model.targets)
    return _plan(trainer, model, datamodule.extents(), [model.method], disk)


def _plan(
    trainer: Trainer, model: ProgressiveDemixing, extents: Sequence[ChunkLength], methods: Sequence[Method], disk: int
) -> Plan:
    if not extents:
        raise MdxError("there is no song that could be read")
    separator = model.separator
    music = sum(extent.seconds for extent in extents)
    inputs = [method.inputs(len(tracked_sources([method], separator.sources, model.targets))) - 1 for method in methods]
    return Plan(
        songs=len({extent.song for extent in extents}),
        chunks=len(extents),
        music=music,
        passes=1 + sum(inputs),
        pace=_pace(trainer, model, min(_TIMED, music / len(extents))),
        processes=trainer.world_size,
        disk=disk,
    )


def _pace(trainer: Trainer, model: ProgressiveDemixing, seconds: float) -> float:
    """Seconds for a second of music, of a pass over noise: what it hears does not change the time that it takes."""
    device = trainer.strategy.root_device
    separator = model.separator.to(device)
    noise = 0.1 * torch.randn(1, separator.channels, max(1, int(seconds * separator.sample_rate)), device=device)
    taken = 0.0
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for _ in range(2):  # The first one makes ready.
            start = time.perf_counter()
            separator(noise, model.targets).cpu()
            taken = time.perf_counter() - start
    return taken / seconds


def _size(count: float) -> str:
    """Bytes as megabytes or gigabytes.

    Example:
        >>> _size(2_400), _size(3e8), _size(5e10)
        ('0.1 MB', '300 MB', '50 GB')
    """
    if count < 1e9:
        return f"{max(count / 1e6, 0.1):.3g} MB"
    return f"{count / 1e9:.3g} GB"
