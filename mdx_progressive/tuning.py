"""What can be fitted on songs whose stems are known, and is then used without them: a schedule, weights of passes.

The separator stays as it is. A tuner goes through the songs, with the true sources at hand, and writes what it found
as a piece of YAML, to be used in a method like any other.
"""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from mdx_progressive import progressive
from mdx_progressive.batch import ChunkBatch
from mdx_progressive.corrections import Correction, Stacking
from mdx_progressive.errors import MdxError
from mdx_progressive.methods import Method, Progressive, followed
from mdx_progressive.metrics import si_sdr
from mdx_progressive.passes import Passes, pick
from mdx_progressive.progressive import FromMixture
from mdx_progressive.schedules import Explicit, PerSource, checked_weights
from mdx_progressive.separators import Separator
from mdx_progressive.spectra import bands_of_bins, products, spectra_of
from mdx_progressive.whole_file import whole_file

log = logging.getLogger(__name__)


class Chunks(NamedTuple):
    """A batch of chunks as a tuner sees it.

    Args:
        passes: The separator and the mixture.
        first: Estimates of the plain pass.
        references: The true sources.
        silent: Which of their channels count as silent (see `metrics.silent`).

    Shape:
        - first and references: (batch, source, channel, time)
        - silent: (batch, source, channel)
    """

    passes: Passes
    first: Tensor
    references: Tensor
    silent: Tensor


class Tuner(ABC):
    """Fits a part of a method on songs whose stems are known."""

    use: str
    """How a method takes what was fitted, as an argument of `test` and `predict`; `{}` is the file."""

    @abstractmethod
    def begin(self, method: Method, sources: Sequence[str]) -> int:
        """Get ready for a method and the sources that it follows; returns how many rounds over the songs it takes.

        Raises:
            MdxError: If it can't be used with that method.
        """

    @abstractmethod
    def see(self, chunks: Chunks) -> None:
        """Take in a batch."""

    @abstractmethod
    def end_round(self) -> None:
        """All songs were seen once more."""

    @abstractmethod
    def found(self) -> dict[str, Any]:
        """What was fitted, as the YAML of a class with its settings."""


class OfflineSearch(Tuner):
    """The best blend weight of each step and source, over all songs: the founding study's offline search.

    Step by step the candidates are tried on all songs, and for each source the one is kept whose estimates have the
    highest mean SI-SDR. The steps, rule, views and combination are those of `model.method`. Each step takes a round,
    in which a source costs as many passes as there are candidates, after those of the steps that are chosen already.

    Args:
        candidates: The weights to try, each within [0, 1).

    Raises:
        MdxError: If a candidate is out of its range, or there is none.
    """

    use = "--model.method.schedule {}"

    def __init__(self, candidates: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)) -> None:
        self.candidates = checked_weights(candidates, "OfflineSearch's candidates")

    def begin(self, method: Method, sources: Sequence[str]) -> int:
        if not isinstance(method, Progressive) or not isinstance(method.sampler, FromMixture) or method.steps < 1:
            raise MdxError(
                "OfflineSearch needs a Progressive model.method with one step or more, each from the mixture"
            )
        self._method, self._rule, self._sources = method, method.sampler.rule, list(sources)
        self._chosen: list[Tensor] = []
        self._values: list[Tensor] = []
        self._start: list[Tensor] = []
        return method.steps

    def see(self, chunks: Chunks) -> None:
        passes = chunks.passes
        path = self._method.start(passes, chunks.first)
        if not self._chosen:
            self._start.append(si_sdr(path.estimates, chunks.references, chunks.silent))
        for step, weights in enumerate(self._chosen, start=1):
            inputs = self._rule(passes.mixture, path.estimates, weights.to(path.estimates), passes.sources)
            path.add(passes.over(inputs, self._method.views.at(step)))
        inputs = torch.cat(
            [self._rule(passes.mixture, path.estimates, weight, passes.sources) for weight in self.candidates]
        )
        tried = passes.over(inputs, self._method.views.at(len(self._chosen) + 1))
        of_candidates = tried.unflatten(1, (len(self.candidates), -1)).unbind(dim=1)
        self._values.append(
            torch.stack([si_sdr(path.ahead(each), chunks.references, chunks.silent) for each in of_candidates])
        )

    def end_round(self) -> None:
        means = torch.cat(self._values, dim=1).nanmean(dim=1)  # (candidate, source)
        if not self._chosen:
            log.info("step 0: %s", self._shown(torch.cat(self._start).nanmean(dim=0)))
        best = means.nan_to_num(nan=-torch.inf).max(dim=0)
        self._chosen.append(torch.tensor(self.candidates)[best.indices.cpu()][:, None, None])
        log.info("step %d: %s", len(self._chosen), self._shown(best.values, self._chosen[-1].flatten()))
        self._values = []

    def found(self) -> dict[str, Any]:
        weights = torch.stack(self._chosen).flatten(1).T.double().round(decimals=6).tolist()
        of_sources = {
            source: _preset(Explicit, values=values) for source, values in zip(self._sources, weights, strict=True)
        }
        return _preset(PerSource, schedules=of_sources)

    def _shown(self, values: Tensor, weights: Tensor | None = None) -> str:
        at = [""] * len(values) if weights is None else [f" at {weight:.2g}" for weight in weights.tolist()]
        return ", ".join(
            f"{source} {value:.2f} dB{where}"
            for source, value, where in zip(self._sources, values.tolist(), at, strict=True)
        )


class StackingFit(Tuner):
    """Weights of the passes for each source and band, by least squares over all songs: see `corrections.Stacking`.

    Each chunk counts in proportion to the inverse of the error of its mean over the passes, so that loud or hard songs
    don't decide for the others. One round.

    Args:
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.
        ridge: How strongly the weights are drawn to the plain mean, as a part of the energy of the passes and of the
            error of their mean; 0 or more.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    use = "--model.method.corrections [{}]"

    def __init__(self, bands: int = 20, ridge: float = 0.01) -> None:
        if bands < 1 or not ridge >= 0:
            raise MdxError(f"bands must be 1 or more and ridge 0 or more, not {bands} and {ridge}")
        self.bands, self.ridge = bands, ridge
        self._band = bands_of_bins(bands)

    def begin(self, method: Method, sources: Sequence[str]) -> int:
        if not isinstance(method, Progressive):
            raise MdxError("StackingFit needs a Progressive model.method: it weights that one's passes")
        self._passes = _KeepPasses()
        self._method = copy.copy(method)
        self._method.corrections = [self._passes]
        self._sources = list(sources)
        self._energies: Tensor | float = 0.0
        return 1

    def see(self, chunks: Chunks) -> None:
        for _ in self._method.run(chunks.passes, chunks.first, None):
            pass
        every, references = self._passes.kept, chunks.references
        error = (every.mean(dim=0) - references).square().sum(dim=(-2, -1))
        counts = torch.where(chunks.silent.all(dim=-1), 0.0, 1 / (error + 1e-10))
        # As a batch of sources, each with its passes: (batch * source, pass, channel, bin, frame)
        spectra = spectra_of(every.permute(1, 2, 0, 3, 4).flatten(0, 1))
        truth = spectra_of(references.flatten(0, 1).unsqueeze(1))
        everything = torch.cat([spectra, truth], dim=1)
        of_chunks = products(everything, everything, self._band.to(spectra.device)).unflatten(0, counts.shape)
        self._energies = self._energies + (counts[..., None, None, None] * of_chunks).sum(dim=0).double()

    def end_round(self) -> None:
        pass

    def found(self) -> dict[str, Any]:
        energies = torch.as_tensor(self._energies)  # (source, band, pass or truth, pass or truth)
        gram, right, count = energies[..., :-1, :-1], energies[..., :-1, -1], energies.shape[-1] - 1
        of_mean = torch.tensor([*[1 / count] * count, -1.0], dtype=energies.dtype, device=energies.device)
        error = torch.einsum("k,sbkl,l->sb", of_mean, energies, of_mean)
        drawn = self.ridge * (gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1) + error) + 1e-9
        weights = torch.linalg.solve(
            gram + torch.diag_embed(drawn[..., None].expand_as(right)), right + drawn[..., None] / count
        )
        rounded = weights.round(decimals=5).tolist()
        return _preset(Stacking, bands=self.bands, weights=dict(zip(self._sources, rounded, strict=True)))


class Tuning:
    """Shows a tuner the songs.

    Args:
        separator: The separator.
        method: The method of which a part is fitted.
        targets: The sources that are wanted.
        tuner: What fits.

    Raises:
        MdxError: If the tuner can't be used with the method.
    """

    def __init__(self, separator: Separator, method: Method, targets: list[str], tuner: Tuner) -> None:
        self.separator, self.tuner = separator, tuner
        self.sources = followed([method], separator.sources, targets)
        self.rounds = tuner.begin(method, self.sources)

    def write(
        self,
        path: Path,
        loader: DataLoader[ChunkBatch],
        device: torch.device,
        precision: Callable[[], AbstractContextManager[object]],
    ) -> list[str]:
        """Fit, and write what was found as YAML; returns the names of the songs.

        Args:
            path: The file; it appears when all is done.
            loader: Batches of chunks with references.
            device: Where to run.
            precision: Makes the context that sets the precision of a pass.

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
                        self.tuner.see(self._chunks(batch.to(device)))
                    songs = list(dict.fromkeys(songs + names))
                    bar.update()
                if songs:
                    self.tuner.end_round()
        if not songs:
            raise MdxError("tune needs a chunk of music: give songs with stems, --data.root FOLDER")
        what = f"{type(self.tuner).__name__} with {type(self.separator).__name__}"
        # A name may hold a line break, and the comment must not end there.
        listed = ", ".join(" ".join(song.split()) for song in songs)
        heading = f"# Fitted by `mdx-progressive tune`: {what}, on {len(songs)} songs: {listed}\n"
        with whole_file(path) as temporary:
            found = yaml.safe_dump(self.tuner.found(), sort_keys=False, default_flow_style=None, width=120)
            temporary.write_text(heading + found, encoding="utf-8")
        return songs

    def _chunks(self, batch: ChunkBatch) -> Chunks:
        assert batch.references is not None
        assert batch.silent is not None
        passes = self.separator.passes_over(batch.mixture, self.sources)
        references = pick(batch.references, self.separator.sources, self.sources)
        silent = pick(batch.silent, self.separator.sources, self.sources)
        return Chunks(passes, self.separator(batch.mixture, self.sources), references, silent)


class _KeepPasses(Correction):
    """Changes nothing, and keeps all passes of the run."""

    needs_others = False

    def __call__(self, passes: Passes, path: progressive.Path, estimates: Tensor) -> Tensor:
        self.kept = torch.cat(path.passes)
        return estimates


def _preset(kind: type, **settings: object) -> dict[str, Any]:
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": settings}
