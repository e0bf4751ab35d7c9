"""Writing a prepared set: each song once, in several processes, with interrupted runs resumed."""

import json
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path

import torch
from tqdm.auto import tqdm

from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.prepared.index import INDEX_NAME, PreparedIndex, PreparedSong, StoredChunk
from mdx_progressive.data.prepared.journal import SongJournal
from mdx_progressive.data.prepared.song_task import JOURNAL_NAME, CutSettings, SongTask
from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError, counted, remove_parts, safe_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedWriter:
    """Writes a prepared set: `<root>/<song>/<chunk>/` with mixture, uniform mixture and stems, and an index.

    Every file is read back as the samples that were cut, to the bit. A song that can't be prepared is in the index
    with the reason, and the others are done. What an earlier run has done is not done again, unless the song's
    files have changed since; the index is the same, however often the work was interrupted and in however many
    processes it was done.

    Args:
        dataset: The songs.
        root: The folder to write to.
        cutting: How they are cut and stored.
        workers: Processes; each holds one decoded song.
        overwrite: Delete what an earlier run wrote there, and begin anew.
        prune: Delete the chunks of songs that the data set no longer has; else these stay, and are named.

    Raises:
        MdxError: If `workers` is below 1.
    """

    dataset: SongDataset
    root: Path
    cutting: CutSettings
    workers: int = 1
    overwrite: bool = False
    prune: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise MdxError(f"--workers must be 1 or more, not {self.workers}")

    def run(self) -> PreparedIndex:
        """Prepare the songs.

        Raises:
            MdxError: If the folder holds something else, or was prepared with other settings.
        """
        songs = self._songs()
        remove_parts([self.root / INDEX_NAME])
        index = self._open_index()
        names = {song.name for song in songs}
        gone = [song for name, song in index.songs().items() if name not in names]
        folders = safe_names([*names, *(song.song for song in gone)])
        tasks = [SongTask(song, self.root, folders[song.name], self.cutting, song.fingerprint) for song in songs]
        remove_parts(self.root / folder for folder in folders.values())
        for task in tasks:
            task.journal.mend()
        kept = self._prune(gone, tasks)
        index = self._discard_changed(index, tasks)
        done = {name: song for name, song in index.songs().items() if song.is_complete(self.root)}
        tasks = [task for task in tasks if task.song.name not in done]
        begun = len(songs) - len(tasks)
        with tqdm(total=len(songs), initial=begun, desc="Preparing", unit="song", disable=None) as progress:
            try:
                for prepared in _results(tasks, self.workers):
                    done[prepared.song] = prepared
                    progress.update()
            except BaseException:
                remove_parts(self.root / folder for folder in folders.values())  # Those of workers that were killed.
                progress.close()
                complete = sum(song.error is None for song in done.values())
                log.info("%s: %d of %s complete", self.root, complete, counted(len(songs), "song"))
                raise
        index = PreparedIndex.finish(index.settings, [*(done[song.name] for song in songs), *kept])
        index.write(self.root)
        for task in tasks:
            task.journal.path.unlink(missing_ok=True)
        return index

    def _songs(self) -> list[Song]:
        songs = self.dataset.songs()
        if any(song.prepared for song in songs):
            raise MdxError("these songs are prepared already: name the set that they were cut from")
        twice = [name for name, count in Counter(song.name for song in songs).items() if count > 1]
        if twice:
            raise MdxError(f"two songs are called {twice[0]}; rename one")
        return songs

    def _open_index(self) -> PreparedIndex:
        """The index of an earlier run, or a new one, on disk at once: an interrupted run is known by its settings."""
        settings = json.loads(json.dumps({"dataset": self.dataset.description(), **asdict(self.cutting)}))
        if self.overwrite:
            _delete_set(self.root)
        if (self.root / INDEX_NAME).exists():
            index = PreparedIndex.read(self.root)
            changed = [key for key in settings if settings[key] != index.settings.get(key)]
            if changed:
                differing = "; ".join(f"{key} {index.settings.get(key)}, not {settings[key]}" for key in changed)
                raise MdxError(
                    f"{self.root}: was prepared with {differing}: name another folder with --to, or replace it with"
                    " --overwrite"
                )
            return index
        self.root.mkdir(parents=True, exist_ok=True)
        if any(self.root.iterdir()):
            raise MdxError(f"{self.root}: holds other files; name a folder with --to that is new or empty")
        index = PreparedIndex(settings)
        index.write(self.root)
        return index

    def _prune(self, gone: Sequence[PreparedSong], tasks: Sequence[SongTask]) -> Sequence[PreparedSong]:
        """Delete the songs that the data set no longer has, if that is wanted; those that stay are returned."""
        if self.prune:
            journals = _journals(self.root) - {task.journal.path for task in tasks}
            _delete_chunks(self.root, [chunk for song in gone for chunk in song.chunks], journals)
        if gone:
            stay = "not in the data set any more, but still in here and measured (--prune deletes their chunks)"
            action = "deleted, since the data set no longer has them" if self.prune else stay
            log.warning("%s: %s: %s", self.root, action, ", ".join(song.song for song in gone))
        return [] if self.prune else gone

    def _discard_changed(self, index: PreparedIndex, tasks: Sequence[SongTask]) -> PreparedIndex:
        """The index without the songs whose files have changed, whose chunks are deleted."""
        songs = index.songs()
        changed = set()
        for task in tasks:
            name = task.song.name
            if (name in songs and songs[name].fingerprint != task.fingerprint) or task.journal.outdated:
                log.warning("%s: its files have changed since it was prepared; it is prepared again", name)
                task.discard()
                changed.add(name)
        if changed & set(songs):
            chunks = [chunk for chunk in index.chunks if chunk.song not in changed]
            index = replace(index, finished=False, chunks=chunks)
            index.write(self.root)
        return index


def _results(tasks: Sequence[SongTask], workers: int) -> Iterator[PreparedSong]:
    """The prepared songs, each as soon as it is done."""
    if workers == 1 or len(tasks) < 2:
        yield from (task() for task in tasks)
        return
    others = active_children()
    executor = ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn"), _start_worker)
    try:
        for future in as_completed([executor.submit(SongTask.__call__, task) for task in tasks]):
            yield future.result()
    except BaseException as error:
        for process in active_children():
            if process not in others:
                process.kill()  # It would come to the end of its song first.
        if isinstance(error, BrokenProcessPool):
            raise MdxError(
                "a worker process was killed, perhaps out of memory: run the command again, with fewer --workers; it"
                " resumes where it stopped"
            ) from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)  # The main process gets it too, and ends this one.
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed main process can't end its workers: they would continue beside those of the next run."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _delete_set(root: Path) -> None:
    """Delete what an earlier run wrote, and nothing else."""
    _delete_chunks(root, PreparedIndex.read(root).chunks if (root / INDEX_NAME).exists() else [], _journals(root))
    (root / INDEX_NAME).unlink(missing_ok=True)


def _journals(root: Path) -> set[Path]:
    return set(root.glob(f"*/{JOURNAL_NAME}"))


def _delete_chunks(root: Path, chunks: Sequence[StoredChunk], journals: Set[Path]) -> None:
    """Delete these chunks and those of these journals, and the folders that are empty then."""
    unfinished = [chunk for path in journals for chunk in SongJournal(path, path.parent.name).chunks().values()]
    files = {root / stored.file for chunk in [*chunks, *unfinished] for stored in chunk.files}
    for path in files | journals:
        path.unlink(missing_ok=True)
    for folder in sorted({parent for path in files for parent in (path.parent, path.parent.parent)}, reverse=True):
        with suppress(OSError):  # It holds something else, or is gone.
            folder.rmdir()
