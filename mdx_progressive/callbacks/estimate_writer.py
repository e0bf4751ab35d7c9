"""The files that `predict` leaves: <out>/<song>/<source>.wav, or as they are asked for."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
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
from mdx_progressive.callbacks.estimate_files import Clip, EstimateFiles, Piece
from mdx_progressive.callbacks.file_formats import Encoding, Format
from mdx_progressive.callbacks.file_names import NamePattern
from mdx_progressive.callbacks.outputs import Outputs
from mdx_progressive.callbacks.surroundings import songs_of
from mdx_progressive.callbacks.tags import tags_of
from mdx_progressive.data import SongDataModule
from mdx_progressive.data.pieces import resampled
from mdx_progressive.data.song_stream import SongStream
from mdx_progressive.errors import MdxError
from mdx_progressive.module import ProgressiveDemixing
from mdx_progressive.parts import Parts
from mdx_progressive.safe_names import safe_names

log = logging.getLogger(__name__)

_PARTS = ".blocks-"
_LOCK = ".lock"
_PIECE = 1 << 18
"""Samples that are written at a time."""
_LEAST = 1 << 20
"""Bytes that the folder has to take, or the other songs are not tried."""


class EstimateWriter(Callback):
    """Writes each estimate as `<out>/<song>/<source>.<format>`, at the song's own sample rate and length.

    A file gets its name when it is whole. What exists already is kept; a song of which everything exists is not
    separated again, and one in which a run broke off goes on at the block that is missing.

    Args:
        out: The folder to write to; taken from --out.
        format: wav; flac, which holds integers only; mp3 (V0) or ogg (Vorbis, quality 8), of one or two channels.
        encoding: float32, int24 or int16; by default float32 for wav and int24 for flac. None for mp3 and ogg.
        clip: What to do with estimates above full scale: "rescale" turns all of a song's down alike, "clamp"
            cuts the peaks off, "keep" writes them as they are, which only float32 can. By default "keep" for
            float32, else "rescale". The log says when it was done.
        dither: Noise of triangular density beneath integers, the same at each run; by default for int16.
        name: Names of the files below `out`, without their suffix, of song, source, separator and method in braces.
        tags: Whether title, artist, album, track, date, genre, comment and copyright are copied from the song's file.
        complement: Sources of which `no_<source>` is written too: the song's file minus the estimate as it is written.
            The two add up to the file, to the last bit if that has up to 24 bits and the estimates no fewer;
            else to half a step of the larger of the three. "clamp", and the codes of mp3 and ogg, break the sum.
        exact_sum: Share out equally what is left of the song's file after all estimates, so that they add up to it, as
            exactly as complements do. It needs all sources.
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
        dither: bool | None = None,
        name: str = "{song}/{source}",
        tags: bool = False,
        complement: list[str] | str | None = None,
        exact_sum: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.out = out
        self.files = EstimateFiles(format, encoding, clip, dither)
        self.name = NamePattern(name)
        self.tags = tags
        self.complement = complement.split(",") if isinstance(complement, str) else complement or []
        self.exact_sum = exact_sum
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
        if self.exact_sum and set(pl_module.targets) != set(pl_module.separator.sources):
            raise MdxError("writer.exact_sum needs all sources: leave the targets out")
        names = [song.name for song in datamodule.songs if song.fault is None]
        self._check_paths(names, pl_module)
        self._unreadable = set()
        self._see_that_it_takes_more()
        if not self.overwrite:
            before = len(datamodule.songs)
            datamodule.keep(lambda song: not all(os.path.isfile(path) for path in self.paths(song, pl_module)))
            if done := before - len(datamodule.songs):
                log.info("%d of %d songs are separated already in %s; --writer.overwrite true does them again",
                         done, before, self.out)  # fmt: skip
        self._stamps = {
            song.name: sha256(f"{self.settings} {song.stamp}".encode()).hexdigest()[:16]
            for song in datamodule.songs
            if song.fault is None
        }
        origins = datamodule.plan()
        refused = self._refused(datamodule, origins)
        if trainer.is_global_zero:
            self._clear(names, keep=self.settings is not None and not self.overwrite)
        # Whoever begins first must not be seen by the others, or they would deal out the rest otherwise.
        trainer.strategy.barrier()
        there = {(origin.song, origin.chunk) for origin in origins if self._parts(origin.song).has(origin.chunk)}
        trainer.strategy.barrier()
        left_out = {(origin.song, origin.chunk) for origin in origins if origin.song in refused}
        if there or left_out:
            remaining = datamodule.leave_out(there | left_out)
            if there:
                log.info("%d blocks are there from a run that broke off, %d are to be separated", len(there), remaining)
        if trainer.is_global_zero:
            for origin in {origin.song: origin for origin in origins if origin.song not in refused}.values():
                self._keep(trainer, pl_module, origin)

    def outputs(self, module: ProgressiveDemixing) -> Outputs:
        """What is made of the estimates.

        Raises:
            MdxError: If a complement is of no target.
        """
        return Outputs(module.targets, self.complement, self.exact_sum)

    def paths(self, song: str, module: ProgressiveDemixing) -> list[Path]:
        """The files of a song."""
        method = safe_names([module.method.name])[module.method.name]
        separator, suffix = type(module.separator).__name__, self.files.format.suffix
        sources = self.outputs(module).names
        return [self.out / f"{self.name.name(song, source, separator, method)}.{suffix}" for source in sources]

    def _check_paths(self, songs: Sequence[str], module: ProgressiveDemixing) -> None:
        """Refuse a pattern that gives one file to two estimates."""
        users: dict[Path, str] = {}
        for song in songs:
            for path in self.paths(song, module):
                if path in users:
                    raise MdxError(f"writer.name: {path} would be two estimates, of {users[path]} and of {song}")
                users[path] = song

    def _refused(self, datamodule: SongDataModule, origins: Sequence[Origin]) -> set[str]:
        """Songs that the format can't hold; they are among the failures then."""
        refused: set[str] = set()
        for origin in {origin.song: origin for origin in origins}.values():
            try:
                self.files.format.check(origin.song, origin.sample_rate, origin.pairs.channels)
            except MdxError as error:
                datamodule.failures.append(Failure(origin.song, str(error)))
                refused.add(origin.song)
        return refused

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
        for origin, estimates in outputs.chunks():
            self._keep(trainer, pl_module, origin, origin.block.kept(estimates) if origin.block else estimates)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what is left of songs that could not be read to their end."""
        trainer.strategy.barrier()
        for song in self._unreadable & set(self._stamps):
            self._parts(song).remove()
        if trainer.is_global_zero:
            for song in self._stamps:
                (self.out / song / _LOCK).unlink(missing_ok=True)
                self._remove_empty(self.out / song)

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

    def _keep(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, part: Tensor | None = None) -> None:
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

    def _clear(self, songs: Sequence[str], keep: bool) -> None:
        """Remove the blocks that other settings have left, or all; of songs that are finished, what a kill has left."""
        for song in songs:
            folder = self.out / song
            for parts in folder.glob(f"{_PARTS}*"):
                if not keep or parts != self._parts(song).folder:
                    Parts(parts).remove()
            for part in folder.glob(".*.part"):  # Of a process that was killed.
                part.unlink(missing_ok=True)
            (folder / _LOCK).unlink(missing_ok=True)
            self._remove_empty(folder)

    def _remove_empty(self, folder: Path) -> None:
        """With a pattern of its own names, or of a song that could not be read, nothing else was in there."""
        with suppress(OSError):
            while folder != self.out:
                folder.rmdir()
                folder = folder.parent

    def _join(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin) -> None:
        """Write the files of a song if all of its blocks are there."""
        parts = self._parts(origin.song)
        # The last blocks of a song may be done in two processes at once.
        several = trainer.world_size > 1 and parts.folder.exists()
        with FileLock(parts.folder.with_name(_LOCK)) if several else nullcontext():
            if all(parts.has(number) for number in range(origin.blocks)):
                paths = self.paths(origin.song, module)
                wanted = {
                    number: path for number, path in enumerate(paths) if self.overwrite or not os.path.isfile(path)
                }
                if wanted:
                    self._write(trainer, module, origin, wanted)
                parts.remove()

    def _write(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, paths: dict[int, Path]) -> None:
        datamodule, outputs = songs_of(trainer), self.outputs(module)
        pieces = partial(_pieces, self._parts(origin.song), origin, module)
        mixture: SongStream | None = None
        tags: dict[str, str] = {}
        if datamodule is not None:
            song = next(song for song in datamodule.songs if song.name == origin.song)
            if outputs.need_the_input:
                mixture = SongStream(song, origin.sample_rate, datamodule.mixture)
            if self.tags and song.mixture is not None:
                tags = tags_of(song.mixture.path)
        both = partial(_with_input, pieces, mixture)
        self.files.write(origin.song, paths, outputs, both, origin.sample_rate, origin.length, tags)


def _with_input(pieces: Callable[[], Iterator[Tensor]], song: SongStream | None) -> Iterator[Piece]:
    """The pieces, each with the same stretch of the input."""
    start = 0
    for piece in pieces():
        stop = start + piece.shape[-1]
        yield Piece(piece, song.stretch(start, stop) if song else None)
        start = stop


def _pieces(parts: Parts, origin: Origin, module: ProgressiveDemixing) -> Iterator[Tensor]:
    """The estimates of a song (target, channel, time) at its own sample rate, piece by piece."""
    separator, targets = module.separator, len(module.targets)
    flat = (piece.flatten(0, 1) for piece in parts.joined(origin.blocks, separator.fade))
    missing, signals = origin.length, 0
    for piece in resampled(flat, separator.sample_rate, origin.sample_rate):
        within = piece[:, :missing]
        signals, missing = len(piece), missing - within.shape[-1]
        if within.shape[-1]:
            yield from within.unflatten(0, (targets, -1)).split(_PIECE, dim=-1)
    if missing:  # The resampled length may be off by a sample.
        yield torch.zeros(targets, signals // targets, missing)
