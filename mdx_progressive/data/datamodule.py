"""The LightningDataModule: songs, their chunks for `test` and their blocks for `predict`."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from mdx_progressive.data.batch import ChunkBatch, Failure, Origin
from mdx_progressive.data.block_reader import BlockReader, SongBlock
from mdx_progressive.data.chunk_plan import ChunkPlan, ChunkSpan
from mdx_progressive.data.chunk_reader import ChunkReader
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.datasets.folders import choose_dataset
from mdx_progressive.data.loading import PrefetchLoader, RankSampler, SpanDataset, batch_equal_lengths, without_done
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.song import Song, audio_files, distinct_songs
from mdx_progressive.data.song_reader import MixtureChoice, ReadingOptions, load_song
from mdx_progressive.data.stem_grouping import group_stems
from mdx_progressive.dsp import ReceptiveField
from mdx_progressive.runtime import MdxError, all_gather
from mdx_progressive.separators import Separator

log = logging.getLogger(__name__)


class ChunkLength(NamedTuple):
    """How many seconds are separated for a chunk or block of a song, context included."""

    song: str
    seconds: float


class SongDataModule(LightningDataModule):
    """Serves chunks of songs: of a folder or data set of songs with stems, or for `predict` of any audio.

    For `test` a chunk begins where every stem has begun to sound; for `predict` a chunk is a whole song. What is longer
    than a block is separated block by block, each with as much context as the separator needs.

    Args:
        sample_rate: The separator's sample rate in Hz; taken from the separator.
        sources: The separator's sources; taken from the separator.
        receptive_field: How much context the separator needs around a block; taken from the separator. Without it
            nothing is cut into blocks.
        standardise: Whether the separator needs to know the level of the song that a block is from; taken from the
            separator.
        root: A folder of songs, each a folder with one audio file per stem (drums.wav, bass.flac, …) and, if
            there is one, mixture.wav.
        dataset: Where songs with stems come from, instead of `root`: SongFolders, Musdb18, PreparedSet, BuiltinClip
            (6 s of MUSDB18).
        input: For `predict`: audio files or folders of them. Without it the songs with stems are separated.
        mixture: "shipped" takes a song's mixture file where there is one, else the sum of its stems; "sum"
            takes the uniform sum always.
        chunk: Length of a chunk in seconds, for `test`; null for whole songs.
        block: Seconds that are separated at once, which bounds the memory; null for whole songs. Longer blocks take a
            little less time, since each needs a segment or two of its neighbours as context.
        all_chunks: Whether `test` measures all chunks of a song, not only the first.
        trim: A stem starts at its first frame within this many dB of its loudest one, and the first chunk where all
            stems have started; null starts at the beginning of the song.
        normalisation: Level of the chunks: Peak, Rms or Loudness; null keeps it.
        batch_size: Chunks a batch, for `test`. Only chunks of equal length and channels share one.
        num_workers: Worker processes that prefetch. With 0 the main process reads; for `predict` a thread prefetches
            one block.

    Raises:
        MdxError: If a setting is out of its range, both `root` and `dataset` are given, or nothing says where the
            songs are.
    """

    def __init__(
        self,
        sample_rate: int,
        sources: list[str],
        receptive_field: ReceptiveField | None = None,
        standardise: bool = False,
        root: str | Path | None = None,
        dataset: SongDataset | None = None,
        input: Sequence[str | Path] | str | Path | None = None,  # noqa: A002  # The option is called --data.input.
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
        if batch_size < 1:
            raise MdxError(f"data.batch_size must be 1 or more, not {batch_size}")
        self.sources = list(sources)
        inputs = [input] if isinstance(input, str | PathLike) else input or []
        if not all(map(str, inputs)) or root == "":
            raise MdxError("a path of data.input or data.root is empty: give one, . for the current folder")
        self.inputs = [Path(path) for path in inputs]
        with_stems = dataset is not None or root is not None
        self.dataset = choose_dataset(dataset, root) if with_stems or not self.inputs else None
        self.reading = ReadingOptions(sample_rate, mixture, normalisation, block, receptive_field, standardise)
        self.chunk_plan = ChunkPlan(chunk, trim, all_chunks)
        self.chunk_plan.length(sample_rate)  # Refused here, not song by song.
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.songs: list[Song] = []
        self.failures: list[Failure] = []
        """Songs that could not be read; those that fail later come with the batches."""
        self.claimed_elsewhere: list[str] = []
        """Songs that another run is working on."""
        self.done: set[tuple[str, int]] = set()
        """What is done already: song and number of chunk."""
        self._test: list[list[ChunkSpan]] = []
        self._predict: list[list[SongBlock]] | None = None

    @classmethod
    def for_separator(cls, separator: Separator, **settings: Any) -> "SongDataModule":
        """The songs as a separator needs them.

        Args:
            separator: It tells sample rate, sources, receptive field, and whether it standardises.
            settings: All other arguments.
        """
        return cls(
            separator.sample_rate, separator.sources, separator.receptive_field, separator.standardise, **settings
        )

    def setup(self, stage: str) -> None:
        """Find the songs and, for `test`, read each once to see where it begins and that it is whole.

        For `predict` nothing is read before `plan` is called, so that songs which are done can be left out first.

        Raises:
            MdxError: If there is no song, or none that can be read.
        """
        self.failures, self.claimed_elsewhere, self.done, self._predict = [], [], set(), None
        if stage == "predict":
            if self.inputs or self.dataset is None:
                self.songs = audio_files(self.inputs)
            else:  # The chunks of a prepared song are written to folders of their own.
                self.songs = distinct_songs(song.with_chunk_in_name() for song in self.dataset.songs())
            if all(song.error for song in self.songs):
                raise MdxError("\n".join(song.error for song in self.songs if song.error))
            return
        self.songs = distinct_songs(choose_dataset(self.dataset, None).songs())
        self._test = batch_equal_lengths(self._chunk_spans(), self.batch_size)
        if not self._test:
            reasons = [failure.reason for failure in self.failures]
            raise MdxError("\n".join(reasons) or f"{type(self.dataset).__name__}: it has no songs")

    def chunk_lengths(self) -> list[ChunkLength]:
        """What is separated of each chunk that `test` measures, or of each block of `predict`."""
        if self._predict is not None:
            origins = [block.origin for (block,) in self._predict]
            lengths = [(origin.song, [origin.block] * len(origin.pairs.groups)) for origin in origins]
        else:
            lengths = [(span.song.name, [*self.reading.blocks(span.length)]) for batch in self._test for span in batch]
        samples = [(song, sum(block.stop - block.start for block in blocks if block)) for song, blocks in lengths]
        return [ChunkLength(song, count / self.reading.sample_rate) for song, count in samples]

    def filter_songs(self, wanted: Callable[[str], bool]) -> None:
        """Keep the songs whose name is wanted, before `plan`; for callbacks that know what is done already.

        Those with an error are kept too, to be reported.
        """
        self.songs = [song for song in self.songs if song.error or wanted(song.name)]

    def plan(self) -> list[Origin]:
        """The blocks that `predict` separates, in order. A song that can't be read is among the `failures`.

        A song may have to be decoded for that, so several processes share the songs; all must call it together.
        """
        if self._predict is None:
            self._predict = []
            processes, rank = self._processes()
            reader = BlockReader(self.reading)
            plans = [_plan_song(reader, song) for song in _progress_bar(self.songs[rank::processes])]
            for plan in chain.from_iterable(zip_longest(*all_gather(plans, processes))):
                if isinstance(plan, Failure):
                    self.failures.append(plan)
                else:
                    self._predict += [[block] for block in plan or []]
        return [block.origin for (block,) in self._predict]

    def own_plan(self) -> list[Origin]:
        """The blocks of `plan` that this process separates."""
        processes, rank = self._processes()
        return self.plan()[rank::processes]

    def skip_done(self, done: set[tuple[str, int]]) -> int:
        """Leave out what is done already, by song and number of chunk or block; returns how many of them remain.

        A batch stays whole if one of its chunks is not done: in another batch its numbers might differ in the last
        digit.
        """
        self.done = done
        if self._predict is not None:
            self._predict = without_done(self._predict, done)
            return len(self._predict)
        remaining = without_done(self._test, done)
        self._test = remaining or [[]]  # Lightning skips a run without batches, and nothing would be written.
        return sum(map(len, remaining))

    def test_dataloader(self) -> DataLoader[ChunkBatch]:
        return self._loader(SpanDataset(self._test, ChunkReader(self.reading, self.sources)))

    def predict_dataloader(self) -> DataLoader[ChunkBatch] | PrefetchLoader:
        self.plan()
        loader = self._loader(SpanDataset(self._predict or [], BlockReader(self.reading)))
        return loader if self.num_workers else PrefetchLoader(loader)

    def _chunk_spans(self) -> Iterator[tuple[int, ChunkSpan]]:
        """The chunks of all songs that can be read, each with its number of channels.

        Songs are decoded for that, so several processes share them.
        """
        processes, rank = self._processes() if torch.distributed.is_initialized() else (1, 0)
        own = [self._song_spans(song) for song in _progress_bar(self.songs[rank::processes])]
        for found in chain.from_iterable(zip_longest(*all_gather(own, processes))):
            if isinstance(found, Failure):
                self.failures.append(found)
            elif found:
                yield from found

    def _song_spans(self, song: Song) -> list[tuple[int, ChunkSpan]] | Failure:
        """The chunks of a song, each with its number of channels, or why it can't be read."""
        rate = self.reading.sample_rate
        try:
            song.check()
            groups = group_stems(song.stems, self.sources, song, self.reading.has_mixture(song))
            for source in (source for source, stems in groups.items() if not stems):
                log.info("%s: the reference of %s is the mixture without the song's stems", song.path, source)
            if chunk := song.prepared:
                length = round(chunk.length * rate / chunk.sample_rate)
                return [(chunk.channels, ChunkSpan(song, chunk.chunk, 0, length))]
            loaded = load_song(song, rate, self.reading.mixture)
        except (MdxError, OSError) as error:
            return Failure(song.name, str(error))
        if loaded.padded:
            log.warning("%s: its files differ in length; the shorter ones are padded with silence", song.path)
        return [(len(loaded.mixture), span) for span in self.chunk_plan.spans(song, loaded, rate)]

    def _processes(self) -> tuple[int, int]:
        """How many there are, and the rank of this one."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, batches: SpanDataset[Any]) -> DataLoader[ChunkBatch]:
        trainer = self.trainer
        processes, rank = self._processes()
        return DataLoader(
            batches,
            batch_size=None,  # An item is a batch already.
            sampler=RankSampler(batches, num_replicas=processes, rank=rank, shuffle=False),
            num_workers=self.num_workers,
            pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
        )


def _plan_song(reader: BlockReader, song: Song) -> list[SongBlock] | Failure:
    try:
        return reader.plan(song)
    except (MdxError, OSError) as error:
        return Failure(song.name, str(error))


def _progress_bar(songs: list[Song]) -> Iterable[Song]:
    """The songs, with a progress bar on a terminal while they are read."""
    return tqdm(songs, desc="Reading songs", unit="song", leave=False, disable=True if len(songs) < 2 else None)
