"""The cost of a run before it starts: songs, chunks, passes, time and disk space."""

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
from mdx_progressive.progressive import Method
from mdx_progressive.runtime import MdxError, counted

_TIMED = 10.0
"""Seconds of audio that are separated to measure the speed of the machine, at most; the mean length of the chunks if
that is shorter, since a network with long segments takes as long for a short chunk."""
_ROW = 100
"""Approximate bytes of a row of results.csv."""
_PICTURE = 130_000
"""Approximate bytes of a chart."""

Sounds = Callable[[ProgressiveDemixing, Sequence[ChunkLength]], int]


class Plan(NamedTuple):
    """The cost of a run.

    Args:
        songs: Number of songs.
        chunks: Number of chunks.
        audio_seconds: Length of all chunks in seconds.
        passes: Upper limit of the network passes over each chunk.
        seconds_per_second: Seconds that one process takes for a pass over one second of audio.
        processes: Number of processes that share the chunks.
        disk: Approximate bytes that are written.
    """

    songs: int
    chunks: int
    audio_seconds: float
    passes: int
    seconds_per_second: float
    processes: int
    disk: int

    @property
    def seconds(self) -> float:
        """Seconds for the passes; metrics and files are not included."""
        return self.audio_seconds * self.passes * self.seconds_per_second / min(self.processes, max(1, self.chunks))

    def print(self, folder: Path) -> None:
        """Print the plan.

        Args:
            folder: The folder that the run will write to.
        """
        existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(existing).free
        console = Console(highlight=False, markup=False, soft_wrap=True)
        songs, chunks = counted(self.songs, "song"), counted(self.chunks, "chunk")
        processes = counted(self.processes, "process", "processes")
        console.print(f"songs   {songs}, {chunks}, {duration(self.audio_seconds)} of music")
        console.print(f"passes  {self.passes} for each chunk at most, {self.passes * self.chunks} in all")
        console.print(f"time    about {duration(self.seconds)} for the passes")
        console.print(f"        {self.seconds_per_second:.2f} s for a second of music in a pass, {processes}")
        console.print(f"disk    about {_size(self.disk)} in {folder}, where {_size(free)} are free")
        console.print("Nothing was written. What is done already is counted too.")


def plan_test(
    trainer: Trainer, model: ProgressiveDemixing, datamodule: SongDataModule, sounds: Sequence[Sounds] = ()
) -> Plan:
    """The cost of `test`.

    Args:
        trainer: The trainer.
        model: The separator and the methods.
        datamodule: The songs.
        sounds: Each returns the bytes of audio that are kept of some songs.

    Raises:
        MdxError: If there is no song that can be read.
    """
    datamodule.setup("test")
    lengths = datamodule.chunk_lengths()
    rows = sum(method.steps + 1 for method in model.methods) * len(model.targets)
    metrics = sum(len(metric.scales) for metric in model.metrics)
    pictures = 2 + 2 * metrics  # the curves as a file; schedules, curves and songs in TensorBoard
    # Until the run ends, the rows are in the journal too.
    disk = 2 * _ROW * rows * metrics * len(lengths) + _PICTURE * pictures
    return _plan(trainer, model, lengths, model.methods, disk + sum(sound(model, lengths) for sound in sounds))


def plan_predict(
    trainer: Trainer,
    model: ProgressiveDemixing,
    datamodule: SongDataModule,
    skip_estimates: Callable[[SongDataModule, ProgressiveDemixing], None],
    bytes_per_sample: int,
) -> Plan:
    """The cost of `predict`.

    Args:
        trainer: The trainer.
        model: The separator and the method.
        datamodule: The songs.
        skip_estimates: Leaves out files that are estimates of an earlier run.
        bytes_per_sample: Bytes of a sample in the files that are written.

    Raises:
        MdxError: If there is no song that can be read.
    """
    datamodule.setup("predict")
    skip_estimates(datamodule, model)
    songs = {origin.song: origin for origin in datamodule.plan()}
    samples = sum(origin.length * origin.pairs.channels for origin in songs.values())
    disk = samples * bytes_per_sample * len(model.targets)
    return _plan(trainer, model, datamodule.chunk_lengths(), [model.method], disk)


def _plan(
    trainer: Trainer, model: ProgressiveDemixing, lengths: Sequence[ChunkLength], methods: Sequence[Method], disk: int
) -> Plan:
    if not lengths:
        raise MdxError("there is no song that could be read")
    audio_seconds = sum(length.seconds for length in lengths)
    return Plan(
        songs=len({length.song for length in lengths}),
        chunks=len(lengths),
        audio_seconds=audio_seconds,
        passes=1 + sum(model.passes_of(method) - 1 for method in methods),
        seconds_per_second=_time_a_pass(trainer, model, min(_TIMED, audio_seconds / len(lengths))),
        processes=trainer.world_size,
        disk=disk,
    )


def _time_a_pass(trainer: Trainer, model: ProgressiveDemixing, seconds: float) -> float:
    """Seconds that a pass takes for one second of audio; of noise, since the content does not change the time."""
    device = trainer.strategy.root_device
    separator = model.separator.to(device)
    noise = 0.1 * torch.randn(1, separator.channels, max(1, int(seconds * separator.sample_rate)), device=device)
    elapsed = 0.0
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for _ in range(2):  # the first one warms up
            start = time.perf_counter()
            separator(noise, model.targets).cpu()
            elapsed = time.perf_counter() - start
    return elapsed / seconds


def _size(count: float) -> str:
    """Bytes as megabytes or gigabytes.

    Example:
        >>> _size(2_400), _size(3e8), _size(5e10)
        ('0.1 MB', '300 MB', '50 GB')
    """
    if count < 1e9:
        return f"{max(count / 1e6, 0.1):.3g} MB"
    return f"{count / 1e9:.3g} GB"
