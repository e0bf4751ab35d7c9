"""The files that `predict` leaves: <out>/<song>/<source>.wav or .flac."""

import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch
from filelock import FileLock
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mdx_progressive.batch import Failure, Origin, Prediction
from mdx_progressive.callbacks.estimate_files import Clip, Encoding, EstimateFiles, Format
from mdx_progressive.callbacks.surroundings import songs_of
from mdx_progressive.data.pieces import resampled
from mdx_progressive.errors import MdxError
from mdx_progressive.module import ProgressiveDemixing
from mdx_progressive.parts import Parts

log = logging.getLogger(__name__)

_PARTS = ".blocks-"
_LOCK = ".lock"
_LEAST = 1 << 20
"""Bytes that the folder has to take, or the other songs are not tried."""


class EstimateWriter(Callback):
    """Writes each estimate as `<out>/<song>/<source>.<format>`, at the song's own sample rate and length.

    A file gets its name when it is whole. What exists already is kept; a song of which everything exists is not
    separated again, and one in which a run broke off goes on at the block that is missing. A song that can't be written
    is left to a next run, and the others are done; nothing is, once the folder itself takes no more.

    Args:
        out: The folder to write to; taken from --out.
        format: wav, or flac, which holds integers only.
        encoding: float32, int24 or int16; by default float32 for wav and int24 for flac.
        clip: What to do with estimates above full scale: "rescale" turns all of a song's down alike, "clamp"
            cuts the peaks off, "keep" writes them as they are, which only float32 can. By default "keep" for
            float32, else "rescale". The log says when it was done.
        overwrite: Replace files that exist.

    Raises:
        MdxError: If the settings contradict one another, or nothing can be written to `out`.
    """

    def __init__(
        self,
        out: Path = Path("separated"),
        format: Format = "wav",  # noqa: A002  # The option is called --writer.format.
        encoding: Encoding | None = None,
        clip: Clip | None = None,
        overwrite: bool = False,
    ) -> None:
        self.out = out
        self.files = EstimateFiles(format, encoding, clip)
        self.overwrite = overwrite
        self.settings: str | None = None
        """What decides on the estimates, if blocks of a run that broke off are to be used where it is the same."""
        self._stamps: dict[str, str] = {}
        self._unreadable: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out the songs that are finished, before any of them is read, and the blocks that are there."""
        datamodule = songs_of(trainer)
        if stage != "predict" or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        self._unreadable = set()
        self._see_that_it_takes_more()
        if not self.overwrite:
            targets, before = pl_module.targets, len(datamodule.songs)
            datamodule.keep(lambda song: not all(os.path.isfile(self.path(song, target)) for target in targets))
            if done := before - len(datamodule.songs):
                log.info("%d of %d songs are separated already in %s; --writer.overwrite true does them again",
                         done, before, self.out)  # fmt: skip
        self._stamps = {
            song.name: sha256(f"{self.settings} {song.stamp}".encode()).hexdigest()[:16]
            for song in datamodule.songs
            if song.fault is None
        }
        origins = datamodule.plan()
        if trainer.is_global_zero:
            self._clear(keep=self.settings is not None and not self.overwrite)
        # Whoever begins first must not be seen by the others, or they would deal out the rest otherwise.
        trainer.strategy.barrier()
        there = {(origin.song, origin.chunk) for origin in origins if self._parts(origin.song).has(origin.chunk)}
        trainer.strategy.barrier()
        if there:
            remaining = datamodule.leave_out(there)
            log.info("%d blocks are there from a run that broke off, %d are to be separated", len(there), remaining)
        if trainer.is_global_zero:
            for origin in {origin.song: origin for origin in origins}.values():
                self._write(trainer, pl_module, origin)

    def path(self, song: str, target: str) -> Path:
        """The file of an estimate."""
        return self.out / song / f"{target}.{self.files.format}"

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        if not isinstance(outputs, Prediction):
            return
        self._unreadable |= {failure.song for failure in batch.failures}
        for origin, estimates in zip(outputs.origins, outputs.estimates, strict=True):
            self._write(trainer, pl_module, origin, origin.block.kept(estimates) if origin.block else estimates)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what is left of songs that could not be read to their end."""
        trainer.strategy.barrier()
        for song in self._unreadable & set(self._stamps):
            self._parts(song).remove()
        if trainer.is_global_zero:
            for song in self._stamps:
                (self.out / song / _LOCK).unlink(missing_ok=True)
        for song in self._unreadable:
            with suppress(OSError):  # It holds what an earlier run has finished, or is none.
                (self.out / song).rmdir()

    def _see_that_it_takes_more(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.out) as file:
                file.write(bytes(_LEAST))
                file.flush()
        except OSError as error:
            raise MdxError(
                f"{self.out}: nothing more can be written there ({error.strerror}); what is done stays, and the same"
                " command goes on with it"
            ) from error

    def _write(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, part: Tensor | None = None) -> None:
        """Keep a block of a song, and write the files of the song if it was the last one."""
        try:
            if part is not None:
                self._parts(origin.song).put(origin.chunk, part)
            self._join(trainer, module, origin)
        except (MdxError, OSError) as error:
            self._see_that_it_takes_more()
            datamodule = songs_of(trainer)
            if datamodule is None:
                raise
            place = "" if isinstance(error, MdxError) else f"{self.out / origin.song}: could not be written to: "
            datamodule.failures.append(Failure(origin.song, f"{place}{error}"))

    def _parts(self, song: str) -> Parts:
        return Parts(self.out / song / f"{_PARTS}{self._stamps.get(song, '')}")

    def _clear(self, keep: bool) -> None:
        """Remove the blocks that other settings have left, or all."""
        for song in self._stamps:
            folder = self.out / song
            for parts in folder.glob(f"{_PARTS}*"):
                if not keep or parts != self._parts(song).folder:
                    Parts(parts).remove()
            for part in folder.glob(".*.part"):  # Of a process that was killed.
                part.unlink(missing_ok=True)
            (folder / _LOCK).unlink(missing_ok=True)

    def _join(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin) -> None:
        """Write the files of a song if all of its blocks are there."""
        parts = self._parts(origin.song)
        # The last blocks of a song may be done in two processes at once.
        several = trainer.world_size > 1 and parts.folder.exists()
        with FileLock(parts.folder.with_name(_LOCK)) if several else nullcontext():
            if all(parts.has(number) for number in range(origin.blocks)):
                paths = [self.path(origin.song, target) for target in module.targets]
                wanted = {
                    number: path for number, path in enumerate(paths) if self.overwrite or not os.path.isfile(path)
                }
                if wanted:
                    pieces = partial(_pieces, parts, origin, module)
                    self.files.write(origin.song, wanted, pieces, origin.sample_rate, origin.length)
                parts.remove()


def _pieces(parts: Parts, origin: Origin, module: ProgressiveDemixing) -> Iterator[Tensor]:
    """The estimates of a song (target, channel, time) at its own sample rate, piece by piece."""
    separator, targets = module.separator, len(module.targets)
    flat = (piece.flatten(0, 1) for piece in parts.joined(origin.blocks, separator.fade))
    missing, signals = origin.length, 0
    for piece in resampled(flat, separator.sample_rate, origin.sample_rate):
        within = piece[:, :missing]
        signals, missing = len(piece), missing - within.shape[-1]
        if within.shape[-1]:
            yield within.unflatten(0, (targets, -1))
    if missing:  # The resampled length may be off by a sample.
        yield torch.zeros(targets, signals // targets, missing)
