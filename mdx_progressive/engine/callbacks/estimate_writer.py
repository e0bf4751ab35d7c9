"""The files that `predict` leaves: <out>/<song>/<source>.wav, or as they are asked for."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mdx_progressive.audio import Encoding, Format
from mdx_progressive.data import Failure, Origin, Prediction, SongDataModule
from mdx_progressive.engine.callbacks.run_context import datamodule_of
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.output import Claims, Clip, FilenamePattern, KeptBlocks, SongWriter, StemFiles, StemMix
from mdx_progressive.runtime import RESUME_HINT, BackgroundThread, MdxError, safe_names

log = logging.getLogger(__name__)

_LEAST = 1 << 20
"""Bytes that the folder has to take, or the other songs are not tried."""
_WAITING = 1 << 27
"""Bytes of estimates that may wait to be written: a block of a minute, or many short songs."""


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
        self.files = StemFiles(format, encoding, clip, dither)
        self.name = FilenamePattern(name)
        self.tags = tags
        self.complement = complement.split(",") if isinstance(complement, str) else complement or []
        self.exact_sum = exact_sum
        self.overwrite = overwrite
        self.settings: str | None = None
        """What decides on the estimates, if blocks of a run that broke off are to be used where it is the same."""
        self.watchers: list[Callable[[str, list[Path]], None]] = []
        """Told a song and its files when all of them are there, in the thread that writes."""
        self._songs: SongWriter | None = None
        self._claims = Claims(out)
        self._background: BackgroundThread[Failure | None] = BackgroundThread(_WAITING)
        self._unreadable: set[str] = set()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out the songs that are finished, before any of them is read, and the blocks that are there."""
        datamodule = datamodule_of(trainer)
        if stage != "predict" or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        if self.exact_sum and set(pl_module.targets) != set(pl_module.separator.sources):
            raise MdxError("writer.exact_sum needs all sources: leave the targets out")
        self.leave_out_estimates(datamodule, pl_module)
        names = [song.name for song in datamodule.songs if song.error is None]
        self._check_paths(names, pl_module)
        self._unreadable = set()
        self._see_that_it_takes_more()
        done, taken = self._choose(trainer, {song: self.paths(song, pl_module) for song in names})
        if done:
            log.info("%d of %d songs are separated already in %s; --writer.overwrite true does them again",
                     len(done), len(names), self.out)  # fmt: skip
        not_ours = done | taken
        datamodule.filter_songs(lambda song: song not in not_ours)
        datamodule.claimed_elsewhere = [song for song in names if song in taken - done]
        if datamodule.claimed_elsewhere and trainer.is_global_zero:
            log.info("%d of %d songs are left to another run, which is writing them to %s",
                     len(datamodule.claimed_elsewhere), len(names), self.out)  # fmt: skip
        songs = self._songs = self._song_files(trainer, pl_module, datamodule)
        origins = datamodule.plan()
        refused = self._refused(datamodule, origins)
        if trainer.is_global_zero:
            own = [song for song in names if song not in taken]
            songs.kept.clear(own, keep=self.settings is not None and not self.overwrite)
        # Whoever begins first must not be seen by the others, or they would deal out the rest otherwise.
        trainer.strategy.barrier()
        there = {(origin.song, origin.chunk) for origin in origins if songs.kept.of(origin.song).has(origin.chunk)}
        trainer.strategy.barrier()
        left_out = {(origin.song, origin.chunk) for origin in origins if origin.song in refused}
        if there or left_out:
            remaining = datamodule.skip_done(there | left_out)
            if there:
                log.info("%d blocks are there from a run that broke off, %d are to be separated", len(there), remaining)
        if trainer.is_global_zero:
            for origin in {origin.song: origin for origin in origins if origin.song not in refused}.values():
                self._take([self._keep(songs, origin)], datamodule)
        self._background = BackgroundThread(_WAITING)

    def _choose(self, trainer: Trainer, files: Mapping[str, Sequence[Path]]) -> tuple[set[str], set[str]]:
        """The songs that are finished, and those that another run is at; the others, and what is finished, are claimed.

        Args:
            trainer: Its first process chooses for all, since another run may finish a song between two looks.
            files: The files of each song.
        """
        # The folder of a song has its blocks, wherever its files are.
        places = {song: {self.out / song, *paths} for song, paths in files.items()}

        def claim(taken: set[str]) -> None:
            self._claims.claim(chain.from_iterable(places[song] for song in files.keys() - taken))

        chosen: tuple[set[str], set[str]] = set(), set()
        if trainer.is_global_zero:
            with self._claims.choosing() as others:
                taken = {song for song in files if not others.isdisjoint(places[song])}
                whole = {song for song, paths in files.items() if all(os.path.isfile(path) for path in paths)}
                chosen = set() if self.overwrite else whole, taken
                claim(taken)
        chosen = trainer.strategy.broadcast(chosen)
        if not trainer.is_global_zero:
            with self._claims.choosing():
                claim(chosen[1])
        return chosen

    def leave_out_estimates(self, datamodule: SongDataModule, module: ProgressiveDemixing) -> None:
        """Leave out what lies in `out` within a folder that was searched, and what this run writes: no songs."""
        out = Path(os.path.realpath(self.out))
        within = any(Path(os.path.realpath(folder)) in out.parents for folder in datamodule.inputs or [])
        given = {os.path.realpath(path) for path in datamodule.inputs or []}
        files = {song.name: Path(os.path.realpath(song.path)) for song in datamodule.songs if song.error is None}
        written = {Path(os.path.realpath(path)) for name in files for path in self.paths(name, module)}
        estimates = {
            name
            for name, path in files.items()
            if str(path) not in given and (path in written or (within and out in path.parents))
        }
        if estimates:
            datamodule.filter_songs(lambda song: song not in estimates)
            log.info("%d files in %s are taken for estimates, not for songs", len(estimates), self.out)

    def outputs(self, module: ProgressiveDemixing) -> StemMix:
        """What is made of the estimates.

        Raises:
            MdxError: If a complement is of no target.
        """
        return StemMix(module.targets, self.complement, self.exact_sum)

    def paths(self, song: str, module: ProgressiveDemixing) -> list[Path]:
        """The files of a song."""
        method = safe_names([module.method.name])[module.method.name]
        separator, suffix = type(module.separator).__name__, self.files.format.suffix
        sources = self.outputs(module).names
        return [self.out / f"{self.name.name(song, source, separator, method)}.{suffix}" for source in sources]

    def _song_files(self, trainer: Trainer, module: ProgressiveDemixing, datamodule: SongDataModule) -> SongWriter:
        songs = {song.name: song for song in datamodule.songs if song.error is None}
        return SongWriter(
            files=self.files,
            outputs=self.outputs(module),
            paths=lambda song: self.paths(song, module),
            kept=KeptBlocks(self.out, self.settings, {name: song.fingerprint for name, song in songs.items()}),
            songs=songs,
            mixture=datamodule.reading.mixture,
            tags=self.tags,
            sample_rate=module.separator.sample_rate,
            crossfade=module.separator.crossfade,
            targets=len(module.targets),
            overwrite=self.overwrite,
            shared=trainer.world_size > 1,
        )

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
        datamodule = datamodule_of(trainer)
        if self._songs is None or datamodule is None or not isinstance(outputs, Prediction):
            return
        self._unreadable |= {failure.song for failure in batch.failures}
        for origin, estimates in outputs.chunks():
            part = (origin.block.kept(estimates) if origin.block else estimates).float().cpu()
            self._background.add(partial(self._keep, self._songs, origin, part), holding=part.nbytes)
        self._take(self._background.done(), datamodule)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for what is being written, and remove what is left of songs that could not be read to their end."""
        if datamodule := datamodule_of(trainer):
            self._take(self._background.rest(), datamodule)
        trainer.strategy.barrier()
        if self._songs is None:
            return
        for song in self._unreadable:
            self._songs.kept.remove(song)
        if trainer.is_global_zero:
            self._songs.kept.unlock()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._close()

    def _close(self) -> None:
        self._background.close()
        self._claims.end()

    def _see_that_it_takes_more(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise MdxError(f"{self.out}: is no folder, or is within a file: set --out to another one") from error
        except OSError as error:
            raise MdxError(f"{self.out}: can't be made ({error.strerror})") from error
        try:
            with TemporaryFile(dir=self.out) as file:
                file.write(bytes(_LEAST))
                file.flush()
        except OSError as error:
            raise MdxError(
                f"{self.out}: nothing more can be written there ({error.strerror}); {RESUME_HINT}"
            ) from error

    def _keep(self, songs: SongWriter, origin: Origin, part: Tensor | None = None) -> Failure | None:
        """Keep a block of a song, and write the files of the song if it was the last one; tells why that failed."""
        try:
            files = songs.join(origin) if part is None else songs.keep(origin, part)
        except (MdxError, OSError) as error:
            self._see_that_it_takes_more()
            if isinstance(error, MdxError):
                return Failure(origin.song, str(error))
            return Failure(origin.song, f"{self.out / origin.song}: could not be written to: {error.strerror or error}")
        if files:
            for watch in self.watchers:
                watch(origin.song, files)
        return None

    @staticmethod
    def _take(results: Sequence[Failure | None], datamodule: SongDataModule) -> None:
        datamodule.failures += [failure for failure in results if failure]
