"""BSSEval v4: SDR, ISR, SIR and SAR as museval computes them, in PyTorch.

Vincent et al. 2012 (the decomposition of an estimated source image) and Stöter, Liutkus and Ito 2018 (version 4: the
distortion filters are those of the whole signal, the ratios are taken in windows). An estimate is taken apart into the
true source, what filters of it could explain (spatial distortion), what filters of the other sources could
(interference), and the rest (artifacts). The matrix that gives the filters depends on the references alone, so it is
factorised once, and every further estimate costs a fraction of what it costs museval.
"""

from typing import ClassVar

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.runtime import MdxError

RATIOS = ("bsseval_sdr", "bsseval_isr", "bsseval_sir", "bsseval_sar")


class BssEval(Metric):
    """The median over windows of museval's SDR, and of its ISR, SIR and SAR on request.

    As in museval a window counts only if no source of the song and no estimate is zero all through it. A source that is
    zero in the whole chunk is no source: it has no value, and the others are measured without it.

    Args:
        components: Whether ISR, SIR and SAR are computed, in seconds for each estimate. The SDR needs no filters.
        window: Length of a window in seconds; museval's 1. A shorter chunk is one window.
        hop: From one window to the next in seconds.
        filter_length: Samples of the distortion filters.

    Raises:
        MdxError: If a length is not above 0.
    """

    scales: ClassVar[dict[str, Scale]] = {name: Scale(f"{name[-3:].upper()}, BSSEval v4") for name in RATIOS}

    def __init__(
        self, components: bool = False, window: float = 1.0, hop: float = 1.0, filter_length: int = 512
    ) -> None:
        if not (window > 0 and hop > 0 and filter_length > 0):
            raise MdxError(f"the lengths of BssEval must be above 0, not {window}, {hop} and {filter_length}")
        self.components, self.window, self.hop, self.filter_length = components, window, hop, filter_length

    def _prepare(self, known: EvaluationContext) -> Measure:
        window, hop = (max(1, round(seconds * known.sample_rate)) for seconds in (self.window, self.hop))
        frames, length = _Frames(window, hop), self.filter_length if self.components else 0
        # Apple's GPUs have no float64.
        home = torch.device("cpu") if known.references.device.type == "mps" else known.references.device
        chunks = [_Chunk(sources.to(home, torch.float64), frames, length) for sources in known.references]

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            of_chunks = zip(chunks, estimates.to(home, torch.float64), strict=True)
            values = [chunk.ratios(of_chunk, known.targets) for chunk, of_chunk in of_chunks]
            medians = torch.stack(values).nanquantile(0.5, dim=-1)  # (batch, ratio, target)
            return dict(zip(RATIOS if length else RATIOS[:1], medians.unbind(dim=1), strict=True))

        return measure


class _Frames:
    """Cuts signals (..., time) into all windows that fit, (..., window, time); one window if none does."""

    def __init__(self, window: int, hop: int) -> None:
        self.window, self.hop = window, hop

    def __call__(self, signals: Tensor) -> Tensor:
        if signals.shape[-1] <= self.window:
            return signals.unsqueeze(-2)
        return signals.unfold(-1, self.window, self.hop)


class _Chunk:
    """One chunk, ready to measure estimates: with the filters' matrix factorised, unless their length is 0.

    Args:
        references: All true sources, (source, channel, time).
        frames: How signals are cut.
        filter_length: Samples of the distortion filters.
    """

    def __init__(self, references: Tensor, frames: _Frames, filter_length: int) -> None:
        self.references, self.frames = references, frames
        self.ratio_count = len(RATIOS) if filter_length else 1
        self.there = [number for number, source in enumerate(references) if bool((source != 0).any())]
        self.sounding = _sounding(frames(self.references[self.there])).all(dim=0)
        self.filters: dict[tuple[int, ...], _Projection] = {}
        if filter_length and self.there:
            groups = [tuple(self.there), *((number,) for number in self.there)]
            self.filters = {group: _Projection(self.references[list(group)], frames, filter_length) for group in groups}

    def ratios(self, estimates: Tensor, targets: list[int]) -> Tensor:
        """The ratios (ratio, target, window) in dB of estimates (target, channel, time)."""
        kept = [position for position, number in enumerate(targets) if number in self.there]
        cut = self.frames(estimates)
        counted = self.sounding & _sounding(cut[kept]).all(dim=0)
        values = cut.new_full((self.ratio_count, len(targets), cut.shape[-2]), torch.nan)
        for position in kept:
            of_target = self._ratios(estimates[position], cut[position], targets[position])
            values[:, position] = torch.where(counted, of_target, torch.nan)
        return values

    def _ratios(self, estimate: Tensor, cut: Tensor, number: int) -> Tensor:
        true = self.frames(self.references[number])
        if not self.filters:
            return _decibels(true, cut - true).unsqueeze(0)
        alone = self.filters[number,](estimate)
        together = self.filters[tuple(self.there)](estimate)
        true, heard = (torch.nn.functional.pad(each, (0, alone.shape[-1] - each.shape[-1])) for each in (true, cut))
        return torch.stack(
            [
                _decibels(true, heard - true),
                _decibels(true, alone - true),
                _decibels(alone, together - alone),
                _decibels(together, heard - together),
            ]
        )


class _Projection:
    """Projects estimates on all that filters of some sources can make.

    Args:
        sources: The sources, (source, channel, time).
        frames: How signals are cut.
        length: Samples of the filters.
    """

    def __init__(self, sources: Tensor, frames: _Frames, length: int) -> None:
        self.length = length
        signals = sources.flatten(0, 1)  # (signal, time)
        self.size = next_fast_len(signals.shape[-1] + length - 1, real=True)
        self.spectra = torch.fft.rfft(signals, n=self.size)
        cut = frames(signals)
        self.time = cut.shape[-1] + length - 1
        self.cut_size = next_fast_len(self.time, real=True)
        self.cut_spectra = torch.fft.rfft(cut, n=self.cut_size)
        taps = torch.arange(length, device=sources.device)
        lags = taps[None, :] - taps[:, None]
        gram = signals.new_empty(len(signals), length, len(signals), length)
        for number, spectrum in enumerate(self.spectra):
            gram[number] = self._correlation(spectrum, self.spectra)[:, lags].transpose(0, 1)
        gram = gram.flatten(2).flatten(0, 1)
        gram.diagonal().add_(torch.finfo(gram.dtype).eps)
        self.factors = self._factorised(gram)

    def __call__(self, estimate: Tensor) -> Tensor:
        """The projection of an estimate (channel, time) in every window, (channel, window, time of it + filter)."""
        spectrum = torch.fft.rfft(estimate, n=self.size)
        # Inner products of the estimate with the delayed signals.
        backwards = -torch.arange(self.length, device=estimate.device)
        products = torch.stack([self._correlation(each, spectrum)[:, backwards] for each in self.spectra])
        taps = torch.linalg.lu_solve(*self.factors, products.transpose(1, 2).flatten(0, 1))
        filters = torch.fft.rfft(taps.T.unflatten(1, (-1, self.length)), n=self.cut_size)  # (channel, signal, bin)
        filtered = torch.einsum("csf,swf->cwf", filters, self.cut_spectra)
        projection: Tensor = torch.fft.irfft(filtered, n=self.cut_size)[..., : self.time]
        return projection

    @staticmethod
    def _factorised(gram: Tensor) -> tuple[Tensor, Tensor]:
        """LU factors. A mono source in two channels makes the matrix singular: then of one that is a little less so.

        There museval takes the least squares of the least norm, without singular values below 1e-12 of the largest.
        """
        factors, pivots, singular = torch.linalg.lu_factor_ex(gram)
        if singular:
            gram.diagonal().add_(1e-13 * torch.linalg.matrix_norm(gram, 1))
            factors, pivots = torch.linalg.lu_factor(gram)
        return factors, pivots

    def _correlation(self, spectrum: Tensor, others: Tensor) -> Tensor:
        """`sum_n x(n + k) y(n)` at lag `k`, negative ones from the end, for each other signal `y`."""
        correlation: Tensor = torch.fft.irfft(spectrum * others.conj(), n=self.size)
        return correlation


def _sounding(cut: Tensor) -> Tensor:
    """Which windows (source, window) of cut signals (source, channel, window, time) hold sound, by museval's rule."""
    return (cut.sum(dim=1) != 0).any(dim=-1)


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """Energy over energy, over channels and time, of signals (channel, window, time)."""
    ratio: Tensor = signal.square().sum(dim=(0, 2)) / error.square().sum(dim=(0, 2))
    return 10 * torch.log10(ratio)
