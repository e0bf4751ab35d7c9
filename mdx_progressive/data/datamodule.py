"""The LightningDataModule: which songs there are, how they are cut, and which process gets which batch."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from tqdm.auto import tqdm

from mdx_progressive.data.batch import ChunkBatch, Failure, Origin
from mdx_progressive.data.block_reader import BlockReader, SongBlock
from mdx_progressive.data.chunk_plan import ChunkSpan, first_sound, plan_chunks, prepared_span
from mdx_progressive.data.chunk_reader import Chunker
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.datasets.folders import dataset_of
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.song import Song, audio_files
from mdx_progressive.data.song_reader import MixtureChoice, SongReader
from mdx_progressive.data.stem_grouping import group_stems
from mdx_progressive.dsp import BlockPlanner, ReceptiveField, plan_blocks
from mdx_progressive.runtime import MdxError, all_gather, prefetch, warn_once

log = logging.getLogger(__name__)


class ChunkLength(NamedTuple):
    """How much there is to separate of a song, or of a chunk of it: its name, and what is heard of it in seconds."""

    song: str
    seconds: float


class SongDataModule(LightningDataModule):
    """Serves chunks of songs: a folder of songs with stems, the built-in clip, or for `predict` any audio.

    For `test` a chunk begins where every stem has begun to sound; for `predict` a chunk is a whole song. What is longer
    than a block is separated block by block, each with as much around it as the separator needs.

    Args:
        sample_rate: The separator's sample rate in Hz; taken from the separator.
        sources: The separator's sources; taken from the separator.
        receptive_field: How far the separator listens around a block; taken from the separator. Without it
            nothing is cut into blocks.
        root: A folder of songs, each a folder with one audio file per stem (drums.wav, bass.flac, …) and, if
            there is one, mixture.wav. Without it the built-in clip is served, 6 s of MUSDB18.
        dataset: Where songs with stems come from, instead of `root`: SongFolders, Musdb18, PreparedSet, BuiltinClip.
        input: For `predict`: audio files or folders of them. Without it the songs with stems are separated.
        mixture: "shipped" takes a song's mixture file where there is one, else the sum of its stems; "sum"
            takes the uniform sum always.
        chunk: Length of a chunk in seconds, for `test`; null for all there is.
        block: Seconds that are separated at once, which bounds the memory; null for all there is. Longer ones take a
            little less time, since each hears a segment or two of what belongs to its neighbours.
        all_chunks: Whether `test` goes on after the first chunk to the end of the song.
        trim: How many dB below its loudest frame a stem counts as not sounding yet; null starts at the very
            beginning.
        normalisation: Level of the chunks: Peak, Rms or Loudness; null keeps it.
        batch_size: Chunks a batch, for `test`. Only chunks of equal length and channels share one.
        num_workers: Processes that read ahead. With 0 the main one reads, for `predict` in a thread, a block ahead.
    """

    def __init__(
        self,
        sample_rate: int,
        sources: list[str],
        receptive_field: ReceptiveField | None = None,
        root: Path | None = None,
        dataset: SongDataset | None = None,
        input: Path | list[Path] | None = None,  # noqa: A002  # The option is called --data.input.
        mixture: MixtureChoice = "shipped",
        chunk: float | None = 30.0,
        block: float | None = 60.0,
        all_chunks: bool = False,
        trim: float | None = 60.0,
        normalisation: Normalisation | None = None,
        batch_size: int = 1,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if chunk is not None and chunk * sample_rate < 1:
            raise MdxError(f"data.chunk must be above 0 seconds, not {chunk}")
        if block is not None and block <= 0:
            raise MdxError(f"data.block must be above 0 seconds, not {block}")
        if trim is not None and trim <= 0:
            raise MdxError(f"data.trim must be above 0 dB, not {trim}")
        if batch_size < 1:
            raise MdxError(f"data.batch_size must be 1 or more, not {batch_size}")
        self.sample_rate = sample_rate
        self.sources = list(sources)
        self.dataset = dataset_of(dataset, root)
        self.inputs = [input] if isinstance(input, Path) else input
        self.mixture: MixtureChoice = mixture
        self.chunk = chunk
        size = None if receptive_field is None or block is None else int(block * sample_rate)
        self.cut: BlockPlanner = partial(
            plan_blocks,
            size=size,
            receptive_field=receptive_field or ReceptiveField(grid=1, before=0, crossfade=0, after=0),
        )
        """The blocks of a chunk."""
        self.all_chunks = all_chunks
        self.trim = trim
        self.normalisation = normalisation
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.songs: list[Song] = []
        self.failures: list[Failure] = []
        """Songs that could not be done; what is found out while they are separated comes with the batches."""
        self.elsewhere: list[str] = []
        """Songs that are left to another run, which is at them."""
        self.done: set[tuple[str, int]] = set()
        """What is done already, song and number of chunk."""
        self._test: list[list[ChunkSpan]] = []
        self._predict: list[list[SongBlock]] | None = None

    def setup(self, stage: str) -> None:
        """Find the songs and, for `test`, read each once to see where it begins and that it is whole.

        For `predict` nothing is read before `plan` is called, so that songs which are done can be left out first.

        Raises:
            MdxError: If there is no song, or none that can be read.
        """
        self.failures, self.elsewhere, self.done, self._predict = [], [], set(), None
        if stage == "predict":
            self.songs = audio_files(self.inputs) if self.inputs else self._as_separate_songs()
            if all(song.error for song in self.songs):
                raise MdxError("\n".join(song.error for song in self.songs if song.error))
            return
        self.songs = self.dataset.songs()
        self._test = _alike(self._places(), self.batch_size)
        if not self._test:
            reasons = [failure.reason for failure in self.failures]
            raise MdxError("\n".join(reasons) or f"{type(self.dataset).__name__}: it has no songs")

    def extents(self) -> list[ChunkLength]:
        """What there is to separate of the chunks that `test` measures, or of the blocks of `predict`."""
        if self._predict is not None:
            return [ChunkLength(block.song.name, self._seconds(block.origin)) for (block,) in self._predict]
        chunks = [(place.song.name, self.cut(place.length)) for batch in self._test for place in batch]
        return [
            ChunkLength(name, sum(block.stop - block.start for block in parts) / self.sample_rate)
            for name, parts in chunks
        ]

    def _seconds(self, origin: Origin) -> float:
        assert origin.block is not None
        return len(origin.pairs.groups) * (origin.block.stop - origin.block.start) / self.sample_rate

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Leave out the songs whose name is not wanted, before `plan`; for callbacks that know what is done already.

        Those with a fault stay, to be told of.
        """
        self.songs = [song for song in self.songs if song.error or wanted(song.name)]

    def plan(self) -> list[Origin]:
        """The blocks that `predict` separates, in order. A song that can't be read is among the `failures`.

        A song may have to be decoded for that, so several processes share the songs; all have to ask for it together.
        """
        if self._predict is None:
            self._predict = []
            replicas, rank = self._processes()
            reader = self._block_reader()
            shares = all_gather([_planned(reader, song) for song in self._each_song(rank, replicas)], replicas)
            for planned in chain.from_iterable(zip_longest(*shares)):
                if isinstance(planned, Failure):
                    self.failures.append(planned)
                else:
                    self._predict += [[block] for block in planned or []]
        return [block.origin for (block,) in self._predict]

    def share(self) -> list[Origin]:
        """The blocks among those of `plan` that this process separates."""
        replicas, rank = self._processes()
        return self.plan()[rank::replicas]

    def leave_out(self, done: set[tuple[str, int]]) -> int:
        """Leave out what is done already, song and number of chunk or block; returns how many of them remain.

        A batch remains whole if one of its chunks does: in another company its numbers might differ in the last digit.
        """
        self.done = done
        if self._predict is not None:
            self._predict = _without(self._predict, done)
            return len(self._predict)
        remaining = _without(self._test, done)
        self._test = remaining or [[]]  # Lightning skips a run without batches, and nothing would be written.
        return sum(len(batch) for batch in remaining)

    def test_dataloader(self) -> DataLoader[ChunkBatch]:
        return self._loader(_Batches(self._test, self._chunker()))

    def predict_dataloader(self) -> "DataLoader[ChunkBatch] | _Ahead":
        self.plan()
        loader = self._loader(_Batches(self._predict or [], self._block_reader()))
        return loader if self.num_workers else _Ahead(loader)

    def _each_song(self, first: int = 0, step: int = 1) -> Iterable[Song]:
        """The songs, or some of them, with a bar on a terminal while they are read."""
        songs = self.songs[first::step]
        hidden = True if len(songs) < 2 else None
        return tqdm(songs, desc="Reading songs", unit="song", leave=False, disable=hidden)

    def _as_separate_songs(self) -> list[Song]:
        """The songs with stems, chunks of one song as songs of their own, which are written to different folders."""
        return [song.as_separate_song() for song in self.dataset.songs()]

    def _chunker(self) -> Chunker:
        reader = SongReader(self.sample_rate, self.mixture)
        return Chunker(reader, self.sources, self.normalisation, self.cut)

    def _block_reader(self) -> BlockReader:
        return BlockReader(self.sample_rate, self.mixture, self.normalisation, self.cut)

    def _places(self) -> Iterator[tuple[int, ChunkSpan]]:
        """The chunks of all songs that can be read, each with its number of channels."""
        reader = self._chunker().reader
        chunk = None if self.chunk is None else int(self.chunk * self.sample_rate)
        for song in self._each_song():
            try:
                song.check()
                group_stems(song.stems, self.sources, song)
                if song.cut is not None:
                    yield song.cut.channels, prepared_span(song, song.cut, self.sample_rate)
                    continue
                loaded = reader.load(song)
            except (MdxError, OSError) as error:
                self.failures.append(Failure(song.name, str(error)))
                continue
            if loaded.uneven:
                warn_once(
                    log, "%s: its files differ in length; the shorter ones are filled up with silence", song.place
                )
            start = 0 if self.trim is None else first_sound(loaded.stems, self.trim)
            channels, time = loaded.mixture.shape
            for place in plan_chunks(song, start, time, chunk, self.all_chunks, self.sample_rate):
                yield channels, place

    def _processes(self) -> tuple[int, int]:
        """How many there are, and the number of this one."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, batches: "_Batches[Any]") -> DataLoader[ChunkBatch]:
        trainer = self.trainer
        replicas, rank = self._processes()
        return DataLoader(
            batches,
            batch_size=None,  # An item is a batch already.
            sampler=_EachOnce(batches, num_replicas=replicas, rank=rank, shuffle=False),
            num_workers=self.num_workers,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )


class _Ahead:
    """The batches of a loader, of which a thread makes the next one."""

    def __init__(self, loader: DataLoader[ChunkBatch]) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[ChunkBatch]:
        return prefetch(self._loader)


_NOTHING = -1


_PlaceT = TypeVar("_PlaceT", ChunkSpan, SongBlock)


class _Batches(Dataset[ChunkBatch], Generic[_PlaceT]):
    """Ready batches, each of chunks of one length, or of one block."""

    def __init__(self, batches: Sequence[Sequence[_PlaceT]], read: Callable[[_PlaceT], ChunkBatch]) -> None:
        self.batches: Sequence[Sequence[_PlaceT]] = batches
        self.read: Callable[[_PlaceT], ChunkBatch] = read

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> ChunkBatch:
        chunks, failures = [], []
        for place in [] if index == _NOTHING else self.batches[index]:
            try:
                chunks.append(self.read(place))
            except (MdxError, OSError) as error:
                failures.append(Failure(place.song.name, str(error)))
        return ChunkBatch.join(chunks, failures)


class _EachOnce(DistributedSampler[int]):
    """Deals the batches out to the processes. Torch's own sampler repeats some to make the shares equal, and
    Lightning would put it in place of any sampler that is not of its kind.

    A process that goes away empty-handed gets a batch of nothing: Lightning lets one without batches skip the
    run, and the others then wait for it forever.
    """

    @property
    def share(self) -> Sequence[int]:
        batches = len(self.dataset)  # type: ignore[arg-type]
        return range(self.rank, batches, self.num_replicas) or ([_NOTHING] if batches else [])

    def __iter__(self) -> Iterator[int]:
        return iter(self.share)

    def __len__(self) -> int:
        return len(self.share)


def _planned(reader: BlockReader, song: Song) -> list[SongBlock] | Failure:
    try:
        return reader.plan(song)
    except (MdxError, OSError) as error:
        return Failure(song.name, str(error))


def _without(batches: list[list[_PlaceT]], done: set[tuple[str, int]]) -> list[list[_PlaceT]]:
    return [batch for batch in batches if not all((place.song.name, place.chunk) in done for place in batch)]


def _alike(chunks: Iterator[tuple[int, ChunkSpan]], size: int) -> list[list[ChunkSpan]]:
    """Batches of at most `size` chunks of one length and number of channels, in the order of their first chunks."""
    batches: list[list[ChunkSpan]] = []
    unfilled: dict[tuple[int, int], list[ChunkSpan]] = {}
    for channels, place in chunks:
        batch = unfilled.get((channels, place.length))
        if batch is None or len(batch) == size:
            batch = unfilled[channels, place.length] = []
            batches.append(batch)
        batch.append(place)
    return batches
