"""The callback of `predict` that writes stems: <out>/<song>/<source>.wav, or as the options have it."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mdx_progressive.audio import Encoding, Format
from mdx_progressive.data import ChunkBatch, Failure, Origin, Prediction, SongDataModule
from mdx_progressive.engine.callbacks.run_context import song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.progress_rate import duration
from mdx_progressive.evaluation import lies_in_run
from mdx_progressive.output import (
    Claims,
    Clip,
    Maker,
    PartialSongs,
    SongChoice,
    SongWriter,
    StemFiles,
    StemMix,
    StemPaths,
    check_pattern,
    settings_digest,
)
from mdx_progressive.runtime import (
    RESUME_HINT,
    BackgroundThread,
    MdxError,
    all_gather,
    counted,
    is_disk_full,
    real_path,
    remove_parts,
)

log = logging.getLogger(__name__)

_MAX_WAITING = 1 << 27
"""Bytes of estimates that may wait to be written: a block of a minute, or many short songs."""


class _Written(NamedTuple):
    """The files of a song, and how many seconds of audio it has."""

    files: list[Path]
    seconds: float


class EstimateWriter(Callback):
    """Writes each estimate as `<out>/<song>/<source>.<format>`, at the song's own sample rate and length.

    A file gets its name when it is whole, and tells in its tags what made it. Existing files are kept if this run
    would make the same, complete songs are skipped, and an interrupted song resumes at its first missing block.

    Args:
        out: The folder to write to; taken from --out.
        format: wav; flac, which holds integers only; mp3 (V0) or ogg (Vorbis, quality 8), of one or two channels.
        encoding: float32, int24 or int16; by default float32 for wav and int24 for flac. None for mp3 and ogg.
        bitrate: Of mp3, a constant one in kb/s, such as 320; by default LAME's V0, about 245 kb/s.
        clip: What to do with estimates above full scale: "rescale" scales all stems of a song by one gain, "clamp"
            cuts the peaks off, "keep" writes them as they are, which only float32 can. By default "keep" for
            float32, else "rescale". It is logged.
        dither: Noise of triangular density beneath integers, the same at each run; by default for int16.
        name: Names of the files below `out`, without their suffix, of song, source, separator and method in braces.
        tags: Whether title, artist, album, track, date, genre, comment and copyright are copied from the song's file.
        complement: Sources of which `no_<source>` is written too: the song's file minus the estimate as it is written.
            The two add up to the file, to the last bit if that has up to 24 bits and the estimates no fewer;
            else to half a step of the larger of the three. "clamp" and lossy encoding (mp3, ogg) break the sum.
        exact_sum: Distribute the residual equally over the estimates, so that they add up to the song's file as exactly
            as complements do. It needs all sources.
        overwrite: Replace files that exist.

    Raises:
        MdxError: If the settings contradict one another, or nothing can be written to `out`.
    """

    def __init__(
        self,
        out: str | Path = Path("separated"),
        format: Format = "wav",  # noqa: A002  # The option is called --writer.format.
        encoding: Encoding | None = None,
        bitrate: int | None = None,
        clip: Clip | None = None,
        dither: bool | None = None,
        name: str = "{song}/{source}",
        tags: bool = False,
        complement: list[str] | str | None = None,
        exact_sum: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.out = Path(out)
        self.files = StemFiles(format, encoding, clip, dither, bitrate)
        check_pattern(name)
        self.name = name
        self.tags = tags
        self.complement = complement.split(",") if isinstance(complement, str) else complement or []
        self.exact_sum = exact_sum
        self.overwrite = overwrite
        self.settings: str | None = None
        """What decides on the estimates, if runs of the same settings are to be told from others."""
        self.listeners: list[Callable[[str, list[Path]], None]] = []
        """Called with a song and its files when all of them are written, in the thread that writes."""
        self._writer: SongWriter | None = None
        self._blocks: list[tuple[str, int]] = []
        """All blocks of the songs of this run: the song, and the number."""
        self._kept: set[tuple[str, int]] = set()
        """Those that were there, or that this process has separated."""
        self._claims = Claims(self.out)
        self._background: BackgroundThread[Failure | None] = BackgroundThread(_MAX_WAITING)
        self._unreadable: set[str] = set()
        self._written: dict[str, _Written] = {}
        self._begin = time.perf_counter()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out the songs that are finished, before any of them is read, and the blocks that are there."""
        datamodule = song_datamodule(trainer)
        if stage != "predict" or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        self._written, self._begin = {}, time.perf_counter()
        if self.exact_sum and set(pl_module.targets) != set(pl_module.separator.sources):
            raise MdxError("writer.exact_sum needs all sources: leave the targets out")
        self.leave_out_estimates(datamodule, pl_module)
        paths = self._paths(pl_module)
        names = [song.name for song in datamodule.songs if song.error is None]
        paths.check_distinct(names)
        paths.check_writable()
        if trainer.is_global_zero:
            paths.check_distinct_on_disk(names)
        maker = self._maker(pl_module)
        own = self._leave_out_songs(trainer, datamodule, paths, maker)
        songs = {song.name: song for song in datamodule.songs if song.error is None}
        blocks = None if self.settings is None else f"{self.settings} {pl_module.targets}"
        fingerprints = {name: song.fingerprint for name, song in songs.items()}
        writer = self._writer = SongWriter(
            files=self.files,
            paths=paths,
            stems=self._stems(pl_module),
            partial_songs=PartialSongs(self.out, blocks, fingerprints, shared=trainer.world_size > 1),
            songs=songs,
            mixture=datamodule.reading.mixture,
            tags=self.tags,
            maker=maker,
            sample_rate=pl_module.separator.sample_rate,
            crossfade=pl_module.separator.crossfade,
        )
        if trainer.is_global_zero:
            remove_parts(chain.from_iterable(map(paths.files, own)))
            writer.partial_songs.clear(own, keep=not self.overwrite)
        self._unreadable = set()
        self._background = BackgroundThread(_MAX_WAITING)
        self._leave_out_blocks(trainer, datamodule, writer)

    def leave_out_estimates(self, datamodule: SongDataModule, module: ProgressiveDemixing) -> None:
        """Leave out files in `out` that a search has found there, and those that this run writes: they are no songs."""
        songs = [song for song in datamodule.songs if song.error is None]
        estimates = self._paths(module).own_estimates(songs, datamodule.inputs or [])
        if estimates:
            datamodule.filter_songs(lambda song: song not in estimates)
            log.info("skipped %s: estimates, not songs", counted(len(estimates), "file"))
        given = {real_path(path) for path in datamodule.inputs or []}
        found = {song.name: real_path(song.path) for song in songs if song.name not in estimates}
        clips = {name for name, path in found.items() if path not in given and lies_in_run(path, given)}
        if clips:
            datamodule.filter_songs(lambda song: song not in clips)
            log.info("skipped %s of runs of `test`, which are no songs", counted(len(clips), "file"))

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        datamodule = song_datamodule(trainer)
        if self._writer is None or datamodule is None or not isinstance(outputs, Prediction):
            return
        if not isinstance(batch, ChunkBatch):  # A Trainer keeps its last data module even if it runs a loader next.
            return
        self._unreadable |= {failure.song for failure in batch.failures}
        for origin, context in outputs.chunks():
            self._kept.add((origin.song, origin.chunk))
            estimates = (origin.block.kept(context) if origin.block else context).float().cpu()
            self._background.add(partial(self._write, self._writer, origin, estimates), size=estimates.nbytes)
        _add_failures(datamodule, self._background.results())

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for what is being written, and remove what is left of songs that could not be read to their end."""
        if datamodule := song_datamodule(trainer):
            _add_failures(datamodule, self._background.results(wait=True))
        trainer.strategy.barrier()
        if self._writer is not None:
            if datamodule:
                datamodule.failures += self._lost_songs(trainer, {failure.song for failure in datamodule.failures})
            self._writer.partial_songs.remove(self._unreadable)
            if trainer.is_global_zero:
                self._writer.partial_songs.unlock()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell what was written, below a progress bar that is closed by now."""
        if self._writer is not None:
            self._tell(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell what is kept, as far as the same command can resume it."""
        self.teardown(trainer, pl_module, "predict")
        if self._writer is None or not self._writer.partial_songs.resumable or not trainer.is_global_zero:
            return
        songs = {song for song, _ in self._blocks}
        complete = sum(not self._writer.paths.missing(song) for song in songs)
        kept = sum(self._writer.partial_songs.blocks(song).has(number) for song, number in self._blocks)
        if complete or kept:
            songs_complete = f"{complete} of {counted(len(songs), 'song')} complete"
            log.info("%s: %s, %s of others kept", self.out, songs_complete, counted(kept, "block"))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._background.close()
        self._claims.end()

    def _stems(self, module: ProgressiveDemixing) -> StemMix:
        return StemMix(module.targets, self.complement, self.exact_sum)

    def _paths(self, module: ProgressiveDemixing) -> StemPaths:
        suffix, stems = self.files.format.suffix, self._stems(module).names
        separator, method = type(module.separator).__name__, module.method.name
        return StemPaths(self.out, self.name, suffix, stems, separator, method, self.overwrite)

    def _maker(self, module: ProgressiveDemixing) -> Maker | None:
        """What the stems are to tell of this run; None where its settings are not known."""
        if self.settings is None:
            return None
        separator = module.separator.name or type(module.separator).__name__
        files = (self.files.format.encoding, self.files.format.bitrate, self.files.clip, self.files.dither)
        digest = settings_digest([self.settings, *files, self.exact_sum, self.tags])
        return Maker(f"{separator}, {module.method.name}", digest)

    def _leave_out_songs(
        self, trainer: Trainer, datamodule: SongDataModule, paths: StemPaths, maker: Maker | None
    ) -> list[str]:
        """Leave out the songs that are finished, and those of another run; returns all but the latter.

        Raises:
            MdxError: If there are stems that this run would not make, which nobody has asked to replace.
        """
        songs, choice = [song for song in datamodule.songs if song.error is None], SongChoice(0)
        if trainer.is_global_zero:  # For all, since another run may finish a song between two looks.
            choice = SongChoice.of(songs, paths, maker, self._claims)
        choice = trainer.strategy.broadcast(choice)
        choice.check(self.out)
        if trainer.is_global_zero:
            choice.tell(self.out)
        else:
            choice.claim(songs, paths, self._claims)
        left_out = choice.finished | choice.taken
        datamodule.filter_songs(lambda song: song not in left_out)
        names = [song.name for song in songs]
        datamodule.claimed_elsewhere = [name for name in names if name in choice.taken - choice.finished]
        return [name for name in names if name not in choice.taken]

    def _leave_out_blocks(self, trainer: Trainer, datamodule: SongDataModule, writer: SongWriter) -> None:
        """Leave out the blocks of an interrupted run, and songs that the format can't hold, which are failures."""
        refused: set[str] = set()
        origins = datamodule.plan()
        self._blocks = [(origin.song, origin.chunk) for origin in origins]
        songs = {origin.song: origin for origin in origins}
        for song, origin in songs.items():
            try:
                self.files.format.check(song, origin.sample_rate, origin.pairs.channels)
            except MdxError as error:
                datamodule.failures.append(Failure(song, str(error)))
                refused.add(song)
        if trainer.is_global_zero:
            damaged = sum(writer.partial_songs.blocks(each.song).discard_damaged(each.chunk) for each in origins)
            if damaged:
                log.info("%s of an interrupted run damaged, to be separated again", counted(damaged, "block"))
        # No process may begin before all have seen the same blocks, or they would deal out the rest differently.
        trainer.strategy.barrier()
        stored = {(each.song, each.chunk) for each in origins if writer.partial_songs.blocks(each.song).has(each.chunk)}
        trainer.strategy.barrier()
        self._kept = set(stored)
        left_out = {(origin.song, origin.chunk) for origin in origins if origin.song in refused}
        if stored or left_out:
            remaining = datamodule.skip_done(stored | left_out)
            if stored:
                log.info("%s kept from an interrupted run, %d left", counted(len(stored), "block"), remaining)
        if trainer.is_global_zero:
            results = [self._write(writer, origin) for song, origin in songs.items() if song not in refused]
            _add_failures(datamodule, results)
            writer.partial_songs.unlock(self._written)  # Where nothing is left to separate, no epoch ends.

    def _lost_songs(self, trainer: Trainer, failed: set[str]) -> list[Failure]:
        """The songs that were not written though all of their blocks were kept: one is gone, whoever has deleted it."""
        ends = all_gather((self._kept, {*self._written, *self._unreadable, *failed}), trainer.world_size)
        kept, ended = (set(chain.from_iterable(parts)) for parts in zip(*ends, strict=True))
        incomplete = {song for song, number in self._blocks if (song, number) not in kept}
        lost = sorted({song for song, _ in self._blocks} - incomplete - ended) if trainer.is_global_zero else []
        reason = "a block of it is gone from there; the same command separates it again"
        return [Failure(song, f"{self.out / song}: {reason}") for song in lost]

    def _write(self, writer: SongWriter, origin: Origin, estimates: Tensor | None = None) -> Failure | None:
        """Store a block of a song, and write the files of the song if it was the last one; returns why that failed."""
        try:
            files = writer.finish(origin) if estimates is None else writer.add(origin, estimates)
        except (MdxError, OSError) as error:
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"{self.out / origin.song}: could not be written to: {error.strerror or error}"
            if is_disk_full(error):
                raise MdxError(f"{reason}; {RESUME_HINT}") from error
            writer.paths.check_writable()
            return Failure(origin.song, reason)
        if files:
            self._written[origin.song] = _Written(files, origin.length / origin.sample_rate)
        for listener in self.listeners if files else []:
            listener(origin.song, files)
        return None

    def _tell(self, trainer: Trainer) -> None:
        """Tell what was written, where, and how long it took, in the first process for all of them."""
        songs: dict[str, _Written] = {}
        for written in all_gather(self._written, trainer.world_size):
            songs |= written
        if not songs or not trainer.is_global_zero:
            return
        stems = sum(len(song.files) for song in songs.values())
        seconds = time.perf_counter() - self._begin
        rate = sum(song.seconds for song in songs.values()) / seconds
        (first, *others) = songs.values()
        folder = self.out if others else Path(os.path.commonpath([file.parent for file in first.files]))
        log.info(
            "wrote %s of %s to %s%s in %s (%.2gx real time)",
            counted(stems, "stem"), counted(len(songs), "song"), folder, os.sep, duration(seconds), rate,
        )  # fmt: skip


def _add_failures(datamodule: SongDataModule, results: Sequence[Failure | None]) -> None:
    datamodule.failures += [failure for failure in results if failure]
