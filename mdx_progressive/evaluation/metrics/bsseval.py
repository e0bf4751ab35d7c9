"""BSSEval v4: SDR, ISR, SIR and SAR as museval computes them, in PyTorch.

Vincent et al. 2012 (the decomposition of an estimated source image) and Stöter, Liutkus and Ito 2018 (version 4: the
distortion filters are those of the whole signal, the ratios are taken in windows). An estimate is decomposed into the
true source, what filters of it can explain (spatial distortion), what filters of the other sources can (interference),
and the rest (artifacts). The matrix that gives the filters depends on the references alone, so it is factorised once,
and each further estimate costs a fraction of what it costs museval.
"""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from mdx_progressive.dsp import fast_fft_length
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.runtime import MdxError

RATIOS = ("bsseval_sdr", "bsseval_isr", "bsseval_sir", "bsseval_sar")


class BssEval(Metric):
    """The median over windows of museval's SDR, and optionally of its ISR, SIR and SAR: `bsseval_sdr` and so on.

    With the reference x, the estimate x̂, its projection p on filters of x and q on filters of all sources:

        SDR = |x|² / |x̂ - x|²     ISR = |x|² / |p - x|²     SIR = |p|² / |q - p|²     SAR = |q|² / |x̂ - q|²     in dB

    As in museval a window counts only if no source of the song and no estimate is zero throughout. A source that is
    zero in the whole chunk is ignored: it has no value, and the others are measured without it.

    Args:
        components: Whether ISR, SIR and SAR are computed, in seconds for each estimate. The SDR needs no filters.
        window: Length of a window in seconds; museval's 1. A shorter chunk is one window.
        hop: Distance of two windows in seconds.
        filter_length: Length of the distortion filters in samples.

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

    def _prepare(self, context: EvaluationContext) -> Measure:
        window, hop = (max(1, round(seconds * context.sample_rate)) for seconds in (self.window, self.hop))
        windows, length = _Windows(window, hop), self.filter_length if self.components else 0
        # Apple's GPUs have no float64.
        device = torch.device("cpu") if context.references.device.type == "mps" else context.references.device
        references = context.references.to(device, torch.float64)
        # The filters are regularised absolutely, as museval's are: at a level of 1, whatever that of the music is.
        gains = references.square().mean(dim=(1, 2, 3), keepdim=True).clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
        chunks = [_Chunk(sources, windows, length) for sources in gains * references]

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            pairs = zip(chunks, gains * estimates.to(device, torch.float64), strict=True)
            values = [chunk.ratios(estimate, context.targets) for chunk, estimate in pairs]
            medians = _median(torch.stack(values))  # (batch, ratio, target)
            return dict(zip(RATIOS if length else RATIOS[:1], medians.unbind(dim=1), strict=True))

        return measure


class _Windows(NamedTuple):
    """Cuts signals (..., time) into all windows that fit, (..., window, time); into one if none fits."""

    length: int
    hop: int

    def __call__(self, signals: Tensor) -> Tensor:
        return signals.unfold(-1, min(self.length, signals.shape[-1]), self.hop)


class _Chunk:
    """One chunk, ready to measure estimates: with the filters' matrix factorised, unless their length is 0.

    Args:
        references: All true sources, (source, channel, time).
        windows: How signals are cut.
        filter_length: Length of the distortion filters in samples.
    """

    def __init__(self, references: Tensor, windows: _Windows, filter_length: int) -> None:
        self.references, self.windows = references, windows
        self.ratio_count = len(RATIOS) if filter_length else 1
        self.active = [index for index, source in enumerate(references) if bool((source != 0).any())]
        self.nonzero = _nonzero(windows(references[self.active])).all(dim=0)
        self.projections: dict[tuple[int, ...], _Projection] = {}
        if filter_length and self.active:
            for group in {tuple(self.active), *((index,) for index in self.active)}:
                self.projections[group] = _Projection(references[list(group)], windows, filter_length)

    def ratios(self, estimates: Tensor, targets: list[int]) -> Tensor:
        """The ratios (ratio, target, window) in dB of estimates (target, channel, time)."""
        active = [position for position, index in enumerate(targets) if index in self.active]
        cut = self.windows(estimates)
        counted = self.nonzero & _nonzero(cut[active]).all(dim=0)
        values = cut.new_full((self.ratio_count, len(targets), cut.shape[-2]), torch.nan)
        for position in active:
            ratios = self._ratios(estimates[position], cut[position], targets[position])
            values[:, position] = torch.where(counted, ratios, torch.nan)
        return values

    def _ratios(self, estimate: Tensor, cut: Tensor, index: int) -> Tensor:
        reference = self.windows(self.references[index])
        if not self.projections:
            return _decibels(reference, cut - reference).unsqueeze(0)
        own = self.projections[index,](estimate)
        joint = self.projections[tuple(self.active)](estimate)
        padding = (0, own.shape[-1] - cut.shape[-1])
        reference, cut = (torch.nn.functional.pad(signal, padding) for signal in (reference, cut))
        return torch.stack(
            [
                _decibels(reference, cut - reference),
                _decibels(reference, own - reference),
                _decibels(own, joint - own),
                _decibels(joint, cut - joint),
            ]
        )


class _Projection:
    """Projects estimates on the space of all filtered versions of some sources.

    Args:
        sources: The sources, (source, channel, time).
        windows: How signals are cut.
        length: Length of the filters in samples.
    """

    def __init__(self, sources: Tensor, windows: _Windows, length: int) -> None:
        self.length = length
        signals = sources.flatten(0, 1)  # (signal, time)
        self.size = fast_fft_length(signals.shape[-1] + length - 1)
        self.spectra = torch.fft.rfft(signals, n=self.size)
        cut = windows(signals)
        self.time = cut.shape[-1] + length - 1
        self.cut_size = fast_fft_length(self.time)
        self.cut_spectra = torch.fft.rfft(cut, n=self.cut_size)
        taps = torch.arange(length, device=sources.device)
        lags = taps[None, :] - taps[:, None]
        gram = signals.new_empty(len(signals), length, len(signals), length)
        for index, spectrum in enumerate(self.spectra):
            gram[index] = self._correlation(spectrum, self.spectra)[:, lags].transpose(0, 1)
        gram = gram.flatten(2).flatten(0, 1)
        gram.diagonal().add_(torch.finfo(gram.dtype).eps)
        self.factors = self._factorise(gram)

    def __call__(self, estimate: Tensor) -> Tensor:
        """The projection of an estimate (channel, time) in every window, (channel, window, time + filter)."""
        spectrum = torch.fft.rfft(estimate, n=self.size)
        # Inner products of the estimate with the delayed signals.
        backwards = -torch.arange(self.length, device=estimate.device)
        products = torch.stack([self._correlation(own, spectrum)[:, backwards] for own in self.spectra])
        taps = torch.linalg.lu_solve(*self.factors, products.transpose(1, 2).flatten(0, 1))
        filters = torch.fft.rfft(taps.T.unflatten(1, (-1, self.length)), n=self.cut_size)  # (channel, signal, bin)
        filtered = torch.einsum("csf,swf->cwf", filters, self.cut_spectra)
        projection: Tensor = torch.fft.irfft(filtered, n=self.cut_size)[..., : self.time]
        return projection

    @staticmethod
    def _factorise(gram: Tensor) -> tuple[Tensor, Tensor]:
        """LU factors; of a slightly regularised matrix where it is singular, as for a mono source in two channels.

        museval solves that case by least squares of the least norm, without singular values below 1e-12 of the largest.
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


def _median(values: Tensor) -> Tensor:
    """Median over the windows (..., window) that have a value; NaN where none has.

    Half-way between a finite and an infinite value is the infinite one, where `nanquantile` has NaN, and half-way
    between the worst and the best the worst.
    """
    low, high = (values.nanquantile(0.5, dim=-1, interpolation=side) for side in ("lower", "higher"))
    return torch.where(low.isinf(), low, torch.where(high.isinf(), high, (low + high) / 2))


def _nonzero(cut: Tensor) -> Tensor:
    """Which windows (source, window) of cut signals (source, channel, window, time) are not zero, by museval's rule."""
    return (cut.sum(dim=1) != 0).any(dim=-1)


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """Energy over energy, over channels and time, of signals (channel, window, time)."""
    ratio: Tensor = signal.square().sum(dim=(0, 2)) / error.square().sum(dim=(0, 2))
    return 10 * torch.log10(ratio)
