"""Loading batches: chunks of one length together, each batch in one process, the next one read ahead."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mdx_progressive.data.batch import ChunkBatch, Failure
from mdx_progressive.data.block_reader import SongBlock
from mdx_progressive.data.chunk_plan import ChunkSpan
from mdx_progressive.runtime import MdxError, prefetch

_EMPTY_BATCH = -1

SpanT = TypeVar("SpanT", ChunkSpan, SongBlock)


@dataclass(frozen=True)
class SpanDataset(Dataset[ChunkBatch], Generic[SpanT]):
    """Batches of chunks of one length, or of one block each.

    Args:
        batches: What each batch consists of.
        read: Reads a chunk or block.
    """

    batches: Sequence[Sequence[SpanT]]
    read: Callable[[SpanT], ChunkBatch]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> ChunkBatch:
        chunks, failures = [], []
        for span in [] if index == _EMPTY_BATCH else self.batches[index]:
            try:
                chunks.append(self.read(span))
            except (MdxError, OSError) as error:
                failures.append(Failure(span.song.name, str(error)))
        return ChunkBatch.join(chunks, failures)


class RankSampler(DistributedSampler[int]):
    """Distributes the batches among the processes, each to one of them.

    Torch's own sampler repeats some to make the shares equal, and Lightning would replace any sampler that is not of
    its kind. A process without a share gets an empty batch: Lightning lets it skip the run otherwise, and the others
    wait for it forever.
    """

    @property
    def indices(self) -> Sequence[int]:
        """The batches of this process."""
        batches = len(self.dataset)  # type: ignore[arg-type]
        return range(self.rank, batches, self.num_replicas) or ([_EMPTY_BATCH] if batches else [])

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class PrefetchLoader:
    """The batches of a loader, the next of which a thread reads ahead.

    Args:
        loader: The loader.
    """

    loader: DataLoader[ChunkBatch]

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[ChunkBatch]:
        return prefetch(self.loader)


def batch_equal_lengths(spans: Iterable[tuple[int, ChunkSpan]], size: int) -> list[list[ChunkSpan]]:
    """Batches of at most `size` chunks of one length and number of channels, in the order of their first chunks."""
    batches: list[list[ChunkSpan]] = []
    unfilled: dict[tuple[int, int], list[ChunkSpan]] = {}
    for channels, span in spans:
        batch = unfilled.get((channels, span.length))
        if batch is None or len(batch) == size:
            batch = unfilled[channels, span.length] = []
            batches.append(batch)
        batch.append(span)
    return batches


def without_done(batches: list[list[SpanT]], done: set[tuple[str, int]]) -> list[list[SpanT]]:
    """The batches of which a song and number of chunk is not done yet."""
    return [batch for batch in batches if not all((span.song.name, span.chunk) in done for span in batch)]
