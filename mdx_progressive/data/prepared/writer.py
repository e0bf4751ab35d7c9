"""Writing a prepared set: each song trimmed and cut once, in several processes, and gone on with after a break."""

import json
import logging
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
from torch import Tensor
from tqdm.auto import tqdm

from mdx_progressive.audio import AudioFormat, Signal, exact_storage
from mdx_progressive.data.chunk_plan import ChunkSpan, first_sound, plan_chunks
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.prepared.headers import Headers, bit_depth, read_headers, stem_differences
from mdx_progressive.data.prepared.index import INDEX_NAME, PreparedIndex, PreparedSong, StoredChunk, StoredFile
from mdx_progressive.data.prepared.journal import SongJournal
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import LoadedSong, load_song, sum_of_stems
from mdx_progressive.dsp import silent_channels
from mdx_progressive.runtime import MdxError, atomic_write, checksum, safe_names

log = logging.getLogger(__name__)

_JOURNAL = "chunks.jsonl"


@dataclass(frozen=True)
class CutSettings:
    """How songs are cut and stored.

    Args:
        chunk: Length of a chunk in seconds; None for all there is.
        trim: How many dB below its loudest frame a stem counts as not sounding yet; None starts at the very
            beginning.
        all_chunks: Whether to go on after the first chunk to the end of the song.
        format: flac or wav; what neither 16 nor 24 bits hold exactly is a float32 wav anyway.

    Raises:
        MdxError: If a length or level is not above 0.
    """

    chunk: float | None = 30.0
    trim: float | None = 60.0
    all_chunks: bool = False
    format: AudioFormat = "flac"

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk <= 0:
            raise MdxError(f"--chunk must be above 0 seconds, not {self.chunk}")
        if self.trim is not None and self.trim <= 0:
            raise MdxError(f"--trim must be above 0 dB, not {self.trim}")


class PreparedWriter:
    """Writes a prepared set: `<root>/<song>/<chunk>/` with mixture, uniform mixture and stems, and an index.

    Every file is read back as the samples that were cut, to the bit. A song that can't be prepared stands in the
    index with the reason, and the others are done. What an earlier run has done is not done again, unless the song's
    files have changed since; the index comes out the same, however often the work was broken off and in however many
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

    def __init__(
        self,
        dataset: SongDataset,
        root: Path,
        cutting: CutSettings,
        workers: int = 1,
        overwrite: bool = False,
        prune: bool = False,
    ) -> None:
        if workers < 1:
            raise MdxError(f"--workers must be 1 or more, not {workers}")
        self.dataset = dataset
        self.root = root
        self.cutting = cutting
        self.workers = workers
        self.overwrite = overwrite
        self.prune = prune

    def run(self) -> PreparedIndex:
        """Prepare the songs.

        Raises:
            MdxError: If the folder holds something else, or was prepared with other settings.
        """
        songs = self._songs()
        begun = self._begin()
        current = {song.name for song in songs}
        gone = [song for name, song in begun.songs().items() if name not in current]
        folders = safe_names([*current, *(song.song for song in gone)])
        every = [_Task(song, self.root, folders[song.name], self.cutting, song.stamp) for song in songs]
        kept = self._kept(gone, every)
        begun = self._without_changed(begun, every)
        done = {name: song for name, song in begun.songs().items() if song.whole(self.root)}
        tasks = [task for task in every if task.song.name not in done]
        with tqdm(
            total=len(songs), initial=len(songs) - len(tasks), desc="Preparing", unit="song", disable=None
        ) as progress:
            for prepared in _results(tasks, self.workers):
                done[prepared.song] = prepared
                progress.update()
        index = PreparedIndex.of(begun.settings, [*(done[song.name] for song in songs), *kept])
        index.write(self.root)
        for task in tasks:
            task.journal.path.unlink(missing_ok=True)
        return index

    def _songs(self) -> list[Song]:
        songs = self.dataset.songs()
        if any(song.cut for song in songs):
            raise MdxError("these songs are prepared already: name the set that they were cut from")
        twice = [name for name, count in Counter(song.name for song in songs).items() if count > 1]
        if twice:
            raise MdxError(f"two songs are called {twice[0]}; rename one")
        return songs

    def _begin(self) -> PreparedIndex:
        """The index to go on with; on disk from now on, so that a broken run is known by its settings."""
        settings = json.loads(json.dumps({"dataset": self.dataset.description(), **asdict(self.cutting)}))
        if self.overwrite:
            _delete(self.root)
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

    def _kept(self, gone: Sequence[PreparedSong], tasks: Sequence["_Task"]) -> Sequence[PreparedSong]:
        """Which of the songs that the data set no longer has remain; what was written of the others is deleted."""
        if self.prune:
            left = _journals(self.root) - {task.journal.path for task in tasks}
            _remove(self.root, [chunk for song in gone for chunk in song.chunks], left)
        if gone:
            names = ", ".join(song.song for song in gone)
            stay = "not in the data set any more, but still in here and measured (--prune deletes their chunks)"
            said = "deleted, since the data set no longer has them" if self.prune else stay
            log.warning("%s: %s: %s", self.root, said, names)
        return [] if self.prune else gone

    def _without_changed(self, index: PreparedIndex, tasks: Sequence["_Task"]) -> PreparedIndex:
        """The index without the songs whose files have changed; what was written of these is deleted."""
        before = index.songs()
        changed = set()
        for task in tasks:
            name = task.song.name
            if (name in before and before[name].stamp != task.stamp) or task.journal.outdated:
                log.warning("%s: its files have changed since it was prepared; it is prepared again", name)
                task.forget()
                changed.add(name)
        if changed & set(before):
            index = replace(index, finished=False, chunks=[kept for kept in index.chunks if kept.song not in changed])
            index.write(self.root)
        return index


class _Task(NamedTuple):
    """A song to prepare; may be called in a process of its own."""

    song: Song
    root: Path
    folder: str
    cutting: CutSettings
    stamp: str

    @property
    def journal(self) -> SongJournal:
        return SongJournal(self.root / self.folder / _JOURNAL, self.song.name, self.stamp)

    def __call__(self) -> PreparedSong:
        """What became of the song; its faults are an answer, not an error."""
        try:
            ended = self.journal.ended()
            return ended if ended is not None and ended.whole(self.root) else self._prepare()
        except (MdxError, OSError, soundfile.SoundFileError) as error:
            return PreparedSong(self.song.name, [], error=str(error))

    def forget(self) -> None:
        """Remove the folders of chunks that were written of the song, with what a kill may have left in them."""
        for folder in (self.root / self.folder).glob("[0-9]*"):
            shutil.rmtree(folder)
        self.journal.path.unlink(missing_ok=True)

    def _prepare(self) -> PreparedSong:
        song, cutting = self.song, self.cutting
        song.check()
        read = read_headers(song)
        loaded = load_song(song, None, "shipped")
        rate = loaded.sample_rate
        start = 0 if cutting.trim is None else first_sound(loaded.stems, cutting.trim)
        length = None if cutting.chunk is None else int(cutting.chunk * rate)
        if length == 0:
            raise MdxError(f"{song.place}: --chunk {cutting.chunk} is less than a sample")
        (self.root / self.folder).mkdir(exist_ok=True)
        self.journal.begin()
        before = self.journal.chunks()
        chunks = []
        for place in plan_chunks(song, start, loaded.mixture.shape[-1], length, cutting.all_chunks, rate):
            chunk = before.get(place.chunk)
            if chunk is None or not chunk.whole(self.root):
                chunk = self._store(place, loaded, read)
                self.journal.add(chunk)
            chunks.append(chunk)
        differing = stem_differences(song, read)
        self.journal.end(differing)
        return PreparedSong(song.name, chunks, differing, self.stamp)

    def _store(self, place: ChunkSpan, loaded: LoadedSong, read: Headers) -> StoredChunk:
        song, rate = self.song, loaded.sample_rate
        end = place.start + place.length
        stems = {name: stem[:, place.start : end] for name, stem in loaded.stems.items()}
        mixture = loaded.mixture[:, place.start : end]
        channels, length = mixture.shape
        unheard = (
            silent_channels(torch.stack(list(stems.values())).unsqueeze(0), mixture.unsqueeze(0))[0]
            .all(dim=-1)
            .tolist()
        )
        folder = self.root / self.folder / f"{place.chunk:03}"
        folder.mkdir(exist_ok=True)
        names = safe_names(stems, taken=("mixture", "uniform"))

        def store(name: str, waveform: Tensor, *parts: Signal) -> StoredFile:
            storage = exact_storage(waveform, self.cutting.format, bit_depth(parts, read) or 0)
            path = folder / f"{name}{storage.suffix}"
            with atomic_write(path) as temporary:
                storage.write(temporary, waveform, rate)
                found = checksum(temporary)
            return StoredFile(path.relative_to(self.root).as_posix(), storage.encoding, found)

        sources = [song.stems[name] for name in stems]
        return StoredChunk(
            song=song.name,
            chunk=place.chunk,
            start=place.start,
            start_seconds=place.start / rate,
            length=length,
            length_seconds=length / rate,
            sample_rate=rate,
            channels=channels,
            bit_depth=bit_depth([*([song.mixture] if song.mixture else []), *sources], read),
            silent=[name for name, is_silent in zip(stems, unheard, strict=True) if is_silent],
            mixture=store("mixture", mixture, song.mixture) if song.mixture else None,
            uniform=store("uniform", sum_of_stems(stems), *sources),
            stems={name: store(names[name], stem, song.stems[name]) for name, stem in stems.items()},
        )


def _results(tasks: Sequence[_Task], workers: int) -> Iterator[PreparedSong]:
    """What becomes of the songs, each as soon as it is known."""
    if workers == 1 or len(tasks) < 2:
        yield from (task() for task in tasks)
        return
    executor = ProcessPoolExecutor(min(workers, len(tasks)), get_context("spawn"), _become_worker)
    try:
        for future in as_completed([executor.submit(_Task.__call__, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise MdxError(
            "a worker process was ended from outside, for want of memory perhaps: run the command again, with fewer"
            " --workers; it goes on where it stopped"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def _become_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The main process is told too, and ends this one.
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Killed, the main process can't end its workers: they would go on beside those of the next run."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _delete(root: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    _remove(root, PreparedIndex.read(root).chunks if (root / INDEX_NAME).exists() else [], _journals(root))
    (root / INDEX_NAME).unlink(missing_ok=True)


def _journals(root: Path) -> set[Path]:
    return set(root.glob(f"*/{_JOURNAL}"))


def _remove(root: Path, chunks: Sequence[StoredChunk], journals: Set[Path]) -> None:
    """Remove these chunks and those of these journals, and the folders that are empty then."""
    begun = [chunk for path in journals for chunk in SongJournal(path, path.parent.name).chunks().values()]
    files = {root / stored.file for chunk in [*chunks, *begun] for stored in chunk.files}
    for path in files | journals:
        path.unlink(missing_ok=True)
    for folder in sorted({parent for path in files for parent in (path.parent, path.parent.parent)}, reverse=True):
        with suppress(OSError):  # It holds something else, or is gone.
            folder.rmdir()
