"""Runs methods on batches of chunks, block by block where a chunk is longer than what is separated at once."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from mdx_progressive.data import ChunkBatch
from mdx_progressive.dsp import Block, join_blocks
from mdx_progressive.evaluation import ONE_PASS
from mdx_progressive.output import BlockStore
from mdx_progressive.progressive import Method, Passes, Step, select_sources, tracked_sources
from mdx_progressive.separators import Separator

PassListener = Callable[[str, int], None]
"""Called with the name of the method and a number of passes, after each call of the separator."""


class PlainPass(NamedTuple):
    """The pass over the plain mixture, which all methods share.

    Args:
        sources: The sources that it has estimates of.
        estimates: These, (batch, source, channel, time).
    """

    sources: list[str]
    estimates: Tensor

    def of(self, sources: list[str]) -> Tensor:
        """The estimates of some of its sources."""
        return select_sources(self.estimates, self.sources, sources)


class BlockInput(NamedTuple):
    """A block of the chunks of a batch: its place, its part of the batch, and the plain pass over that."""

    block: Block
    batch: ChunkBatch
    first: PlainPass


class MethodRunner:
    """Runs methods with one separator, for some of its sources.

    Args:
        separator: The frozen separator.
        targets: The wanted sources.
    """

    def __init__(self, separator: Separator, targets: list[str]) -> None:
        self.separator, self.targets = separator, targets
        self.listeners: list[PassListener] = []

    def tracked(self, *methods: Method) -> list[str]:
        """The sources that these methods need the estimates of."""
        return tracked_sources(methods, self.separator.sources, self.targets)

    def plain_pass(self, batch: ChunkBatch, methods: Sequence[Method]) -> PlainPass:
        """One pass for all of these methods, with every source that one of them tracks."""
        sources = self.tracked(*methods)
        estimates: Tensor = self.separator(batch.mixture, sources, levels=batch.levels)
        for listener in self.listeners:
            listener(ONE_PASS, 1)
        return PlainPass(sources, estimates)

    def blocks(self, batch: ChunkBatch, methods: Sequence[Method]) -> list[BlockInput]:
        """The blocks of a batch, each with its plain pass."""
        return [BlockInput(block, part, self.plain_pass(part, methods)) for block, part in batch.split()]

    def run(
        self, method: Method, batch: ChunkBatch, first: PlainPass, references: Tensor | None = None
    ) -> Iterator[tuple[Step, Passes]]:
        """Yield the steps of a method with the estimates of the targets, and the passes it has made so far.

        Args:
            method: The method.
            batch: The chunks.
            first: Their plain pass.
            references: All true sources (batch, source, channel, time); a method that is no bound does not get them.
        """
        sources = self.tracked(method)
        passes = Passes.of(self.separator, batch.mixture, sources, batch.levels, self.targets)
        passes.listeners = [partial(listener, method.name) for listener in self.listeners]
        given = None
        if method.needs_references and references is not None:
            given = select_sources(references, self.separator.sources, sources)
        for step in method.run(passes, passes.centred(first.of(sources)), given):
            estimates = passes.restored(select_sources(step.estimates, sources, self.targets))
            weights = step.weights[[sources.index(target) for target in self.targets]]
            yield step._replace(estimates=estimates, weights=weights), passes

    def run_blocks(self, method: Method, blocks: Sequence[BlockInput]) -> Iterator[tuple[Step, int]]:
        """Yield the steps over whole chunks, each with the passes that it took per chunk, the first one included.

        The estimates of several blocks are kept on disk until all blocks of a step are done.

        Args:
            method: The method.
            blocks: What `blocks` returned.
        """
        if len(blocks) == 1:
            ((_, batch, first),) = blocks
            for step, passes in self.run(method, batch, first, batch.references):
                yield step, 1 + passes.count
            return
        with TemporaryDirectory(prefix="mdx_progressive-") as folder:
            weights: list[list[Tensor]] = [[] for _ in range(method.steps + 1)]
            counts = [0] * (method.steps + 1)
            for block, batch, first in blocks:
                for step, passes in self.run(method, batch, first, batch.references):
                    BlockStore(Path(folder, str(step.number))).put(block.number, block.kept(step.estimates))
                    weights[step.number].append(step.weights)
                    counts[step.number] = max(counts[step.number], 1 + passes.count)
            for number, block_weights in enumerate(weights):
                store = BlockStore(Path(folder, str(number)))
                estimates = torch.cat(list(store.joined(len(blocks), self.separator.crossfade)), dim=-1)
                store.remove()
                equal = (torch.stack(block_weights) == block_weights[0]).all(dim=0)
                shared = torch.where(equal, block_weights[0], torch.nan)
                yield Step(number, shared, estimates.to(blocks[0].batch.mixture.device)), counts[number]

    def join_plain_pass(self, blocks: Sequence[BlockInput]) -> Tensor:
        """The plain pass over whole chunks, (batch, target, channel, time)."""
        parts = [block.kept(first.of(self.targets)) for block, _, first in blocks]
        return parts[0] if len(parts) == 1 else torch.cat(list(join_blocks(parts, self.separator.crossfade)), dim=-1)
