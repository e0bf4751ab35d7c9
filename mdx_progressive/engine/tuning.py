"""Offline search: the blend weights of a schedule, fitted on songs whose stems are known, for use without them.

The separator is not changed. The search runs over the songs, with the references, and writes a schedule as YAML.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mdx_progressive.data import ChunkBatch
from mdx_progressive.evaluation import si_sdr
from mdx_progressive.progressive import (
    Explicit,
    FromMixture,
    Method,
    Passes,
    PerSource,
    Progressive,
    checked_weights,
    select_sources,
    tracked_sources,
)
from mdx_progressive.runtime import MdxError, atomic_write, counted
from mdx_progressive.separators import Separator

log = logging.getLogger(__name__)


class Chunks(NamedTuple):
    """A batch of chunks as the search sees it.

    Args:
        songs: The song of each chunk.
        passes: The separator and the mixture.
        first: Estimates of the plain pass.
        references: The true sources.
        silent: Which of their channels count as silent (see `dsp.silent_channels`).

    Shape:
        - first and references: (batch, source, channel, time)
        - silent: (batch, source, channel)
    """

    songs: Sequence[str]
    passes: Passes
    first: Tensor
    references: Tensor
    silent: Tensor


class OfflineSearch:
    """The best blend weight of each step and source, over all songs: the founding study's offline search.

    Step by step the candidates are tried on all songs, and for each source the one is kept whose estimates have the
    highest SI-SDR, mean over songs of the mean over their chunks. All else is as in `model.method`, with its
    corrections. Each step takes a round over the songs, in which a source costs as many passes as there are candidates,
    after those of the steps that are chosen already.

    Args:
        candidates: The weights to try, each within [0, 1).

    Raises:
        MdxError: If a candidate is out of its range, or there is none.
    """

    def __init__(self, candidates: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)) -> None:
        self.candidates = checked_weights(candidates, "OfflineSearch's candidates")

    def begin(self, method: Method, sources: Sequence[str]) -> int:
        """Start a search for a method and the sources that it tracks; returns the number of rounds over the songs.

        Raises:
            MdxError: If the method has no schedule that a search could replace.
        """
        if not isinstance(method, Progressive) or not isinstance(method.sampler, FromMixture) or method.steps < 1:
            raise MdxError(
                "OfflineSearch needs a Progressive model.method with one step or more, each from the mixture"
            )
        self._method, self._rule, self._sources = method, method.sampler.rule, list(sources)
        self._chosen: list[Tensor] = []
        self._values: list[Tensor] = []
        self._start: list[Tensor] = []
        self._songs: list[str] = []
        return method.steps

    def add(self, chunks: Chunks) -> None:
        """Try the candidates of the current step on a batch."""
        passes = chunks.passes
        trajectory = self._method.start(passes, chunks.first)
        augmentations = self._method.augmentations.for_span(passes.span)
        if not self._chosen:
            self._start.append(si_sdr(trajectory.estimates, chunks.references, chunks.silent))
        for step, weights in enumerate(self._chosen, start=1):
            inputs = self._rule(passes.mixture, trajectory.estimates, weights.to(trajectory.estimates), passes.sources)
            trajectory.add(passes.separate(inputs, augmentations.at(step)))
        inputs = torch.cat(
            [self._rule(passes.mixture, trajectory.estimates, weight, passes.sources) for weight in self.candidates]
        )
        step = len(self._chosen) + 1
        tried = passes.separate(inputs, augmentations.at(step))
        values = []
        for of_candidate in tried.unflatten(1, (len(self.candidates), -1)).unbind(dim=1):
            branch = trajectory.branch()
            estimates = self._method.finish(step, passes, branch, branch.add(of_candidate))
            values.append(si_sdr(estimates, chunks.references, chunks.silent))
        self._values.append(torch.stack(values))
        self._songs += chunks.songs

    def end_round(self) -> None:
        """Choose the weights of the current step; the next one follows."""
        means = self._mean_over_songs(torch.cat(self._values, dim=1))
        if not self._chosen:
            log.info("step 0: %s", self._describe(self._mean_over_songs(torch.cat(self._start).unsqueeze(0))[0]))
        best = means.nan_to_num(nan=-torch.inf).max(dim=0)
        self._chosen.append(torch.tensor(self.candidates)[best.indices.cpu()][:, None, None])
        log.info("step %d: %s", len(self._chosen), self._describe(best.values, self._chosen[-1].flatten()))
        self._values, self._songs = [], []

    def _mean_over_songs(self, values: Tensor) -> Tensor:
        """Mean over songs, of values (candidate, chunk, source): a song counts once, however many chunks it has."""
        by_song = [
            values[:, [index for index, song in enumerate(self._songs) if song == name]].nanmean(dim=1)
            for name in dict.fromkeys(self._songs)
        ]
        return torch.stack(by_song, dim=1).nanmean(dim=1)

    def schedule(self) -> dict[str, Any]:
        """The chosen weights as the YAML of a schedule."""
        weights = torch.stack(self._chosen).flatten(1).T.double().round(decimals=6).tolist()
        by_source = {
            source: _preset(Explicit, values=values) for source, values in zip(self._sources, weights, strict=True)
        }
        return _preset(PerSource, schedules=by_source)

    def _describe(self, values: Tensor, weights: Tensor | None = None) -> str:
        at = [""] * len(values) if weights is None else [f" at {weight:.2g}" for weight in weights.tolist()]
        return ", ".join(
            f"{source} {value:.2f} dB{where}"
            for source, value, where in zip(self._sources, values.tolist(), at, strict=True)
        )


class Tuning:
    """Runs an offline search over songs.

    Args:
        separator: The separator.
        method: The method whose schedule is fitted.
        targets: The wanted sources.
        search: The search.

    Raises:
        MdxError: If the method has no schedule that a search could replace.
    """

    def __init__(self, separator: Separator, method: Method, targets: list[str], search: OfflineSearch) -> None:
        self.separator, self.search = separator, search
        self.sources = tracked_sources([method], separator.sources, targets)
        self.rounds = search.begin(method, self.sources)

    def write(
        self,
        path: Path,
        loader: DataLoader[ChunkBatch],
        device: torch.device,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> list[str]:
        """Search, and write the schedule as YAML; returns the names of the songs.

        Args:
            path: The file; it appears when it is complete.
            loader: Batches of chunks with references.
            device: Where to run.
            precision: Returns the context that sets the precision of a pass.

        Raises:
            MdxError: If there are no chunks with references.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.separator.to(device)
        songs: list[str] = []
        # None shows it on a terminal only: in a log file every refresh would be a line.
        with (
            torch.inference_mode(),
            tqdm(total=self.rounds * len(loader), desc="tune", unit="batch", disable=None) as bar,
        ):
            for _ in range(self.rounds):
                for batch in loader:
                    names = [origin.song for origin in batch.origins]
                    bar.set_postfix_str(", ".join(dict.fromkeys(names)))
                    with precision():
                        self.search.add(self._chunks(batch.to(device)))
                    songs = list(dict.fromkeys(songs + names))
                    bar.update()
                if songs:
                    self.search.end_round()
        if not songs:
            raise MdxError("tune needs a chunk of music: give songs with stems, --data.root FOLDER")
        what = f"{type(self.search).__name__} with {type(self.separator).__name__}"
        # A name may hold a line break, and the comment must not end there.
        listed = ", ".join(" ".join(song.split()) for song in songs)
        heading = f"# Fitted by `mdx-progressive tune`: {what}, on {counted(len(songs), 'song')}: {listed}\n"
        with atomic_write(path) as temporary:
            schedule = yaml.safe_dump(self.search.schedule(), sort_keys=False, default_flow_style=None, width=120)
            temporary.write_text(heading + schedule, encoding="utf-8")
        return songs

    def _chunks(self, batch: ChunkBatch) -> Chunks:
        assert batch.references is not None
        assert batch.silent is not None
        passes = Passes.of(self.separator, batch.mixture, self.sources)
        references = select_sources(batch.references, self.separator.sources, self.sources)
        silent = select_sources(batch.silent, self.separator.sources, self.sources)
        songs = [origin.song for origin in batch.origins]
        first = passes.centred(self.separator(batch.mixture, self.sources))
        return Chunks(songs, passes, first, references, silent)


def _preset(kind: type, **settings: object) -> dict[str, Any]:
    return {"class_path": f"mdx_progressive.{kind.__name__}", "init_args": settings}
