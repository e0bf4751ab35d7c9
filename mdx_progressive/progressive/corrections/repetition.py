"""What repeats in the music: a loop, a sample, a programmed drum, heard again in other company.

A separator hears some seconds at a time. Where a source sounds again later on, sample by sample, while the others do
not, its estimate there is a second estimate of the same signal with other errors. Rafii and Pardo (REPET, 2013)
separate by repetition alone; here it refines what the network says. No pass is made for it, and music that does not
repeat stays as it is.
"""

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from mdx_progressive.dsp import HOP, band_of_bin, deviations, in_stretches, to_spectra, to_waveforms
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime import MdxError

_SMALL = 1e-12
_TILE = 16
"""Frames of a tile, in which signals are taken to be stationary; the next one begins at its middle."""
_UNLIKE = 0.2
"""The least part of the difference between two repeats that is taken for music: their errors are known roughly."""


class Repetition(Correction):
    """Where a source repeats, its estimates are averaged over the repeats, and the others give up what it gains.

    Let `x` be the estimates (source,) of a tile of time and frequency, `z` those a lag later, `V` the covariance of the
    passes around the mean of their step and `C = strength V`, which stands for the covariance of the errors. What is
    new in source `j` has the power `n_j = max(|z_j - x_j|^2 - C_jj - C'_jj, 0.2 |z_j - x_j|^2)`. Then, lag after lag,
    forwards and backwards, as in a Kalman filter,

        K = C (C + C' + diag n)^-1,    x <- x + K (z - x),    C <- C - K C

    where only the sources that repeat in the tile are looked at: of the others, what is new is not small. Nor is a
    source looked at whose passes disagree over the chunk: much of it is other music, whose repeats are not its own.

    Errors of sources that a network confuses are of opposite sign in `C`: so a loop that gets clearer takes out of the
    vocals what is its own. Needs a step with more than one view; without one nothing changes.

    Args:
        strength: Weight of the covariance of the passes, 0 or more: their errors have more in common than between them.
        similarity: How much alike a lag must make a source to be looked at, above 0 and up to 1: the peak of the
            autocorrelation of its whitened estimate, and then its coherence in a tile. Played music stays below 0.1,
            loops lie above 0.2.
        max_variance: A source takes part if its `C_jj` has at most this share of its energy over the chunk; above 0.
        lags: The most lags that are looked at.
        shortest: The shortest lag in seconds: shorter ones are pitch.
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    def __init__(
        self,
        strength: float = 8.0,
        similarity: float = 0.2,
        max_variance: float = 0.25,
        lags: int = 8,
        shortest: float = 0.25,
        bands: int = 80,
    ) -> None:
        if not strength >= 0:
            raise MdxError(f"the strength of Repetition must be 0 or more, not {strength}")
        if not 0 < similarity <= 1:
            raise MdxError(f"the similarity of repeats must lie above 0 and up to 1, not {similarity}")
        if not max_variance > 0:
            raise MdxError(f"max_variance must be above 0, not {max_variance}")
        if lags < 1 or bands < 1:
            raise MdxError(f"Repetition needs 1 lag and 1 band or more, not {lags} and {bands}")
        if not shortest > 0:
            raise MdxError(f"the shortest lag must be above 0 seconds, not {shortest}")
        self.strength, self.similarity, self.lags, self.shortest = strength, similarity, lags, shortest
        self.max_variance, self.bands = max_variance, bands

    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        if all(len(of_step) == 1 for of_step in trajectory.passes):
            return estimates
        found = [self.lags_of(of_chunk, passes.sample_rate) for of_chunk in estimates]
        if not any(found):
            return estimates
        tiles = _Tiles(self.bands, estimates.device)
        covariance = [torch.zeros((), device=estimates.device)] * len(estimates)
        for deviation in deviations(trajectory.passes):
            covariance = [
                total + self.strength * tiles.covariance(each) if lags else total
                for total, each, lags in zip(covariance, deviation, found, strict=True)
            ]
        return torch.stack(
            [
                self._refined(of_chunk, errors, lags, tiles) if lags else of_chunk
                for of_chunk, errors, lags in zip(estimates, covariance, found, strict=True)
            ]
        )

    def lags_of(self, estimates: Tensor, sample_rate: int) -> list[int]:
        """Lags in samples after which a source sounds again, those first that make it the most alike.

        Args:
            estimates: The estimates of a chunk, (source, channel, time).
            sample_rate: Sample rate in Hz.

        Example:
            >>> loop = torch.randn(1, 1, 1000, generator=torch.Generator().manual_seed(0))
            >>> Repetition().lags_of(loop.repeat(1, 1, 4), sample_rate=1000)
            [1000, 2000]
        """
        time = estimates.shape[-1]
        start, end = round(self.shortest * sample_rate), round(0.75 * time)
        apart = max(1, round(0.03 * sample_rate))
        alike: dict[int, float] = {}
        for source in estimates:
            # Half whitened: a peak is then narrow, and louder frequencies count for more all the same.
            power = torch.fft.rfft(source, next_fast_len(2 * time, real=True)).abs()
            correlation = torch.fft.irfft(power.sum(dim=0))[:time]
            if start >= end or not correlation[0] > 0:
                continue
            correlation = correlation / correlation[0] * (time / torch.arange(time, 0, -1, device=source.device))
            peaks = correlation[start:end]
            for _ in range(self.lags):
                peak = int(peaks.argmax())
                value = float(peaks[peak])
                if value < self.similarity:
                    break
                alike[start + peak] = max(value, alike.get(start + peak, 0.0))
                peaks[max(0, peak - apart) : peak + apart] = 0
        return sorted(alike, key=alike.__getitem__, reverse=True)[: self.lags]

    def _refined(self, estimates: Tensor, errors: Tensor, lags: list[int], tiles: "_Tiles") -> Tensor:
        """The estimates of a chunk.

        Shape:
            - estimates and the result: (source, channel, time)
            - errors: (band, tile, source, source), their covariance
        """
        time, count = estimates.shape[-1], errors.shape[1]
        spectra = to_spectra(estimates)
        energy = tiles.powers(spectra)
        known = tiles.total(errors.diagonal(dim1=-2, dim2=-1)) <= self.max_variance * tiles.total(energy)
        if not known.any():
            return estimates
        moved = spectra.zero_()
        floor = torch.diag_embed((1e-4 * energy.sum(dim=-1, keepdim=True) + _SMALL).expand_as(energy))
        unsure = errors
        middles = torch.arange(count, device=estimates.device) * (_TILE // 2 * HOP)
        margin = (_TILE // 2 + 2) * HOP
        for lag in [sign * each for each in lags for sign in (1, -1)]:
            change = to_spectra(_later(estimates, lag) - estimates)
            there = (torch.arange(count) + round(lag / (_TILE // 2 * HOP))).clamp(0, count - 1)
            of_lag = errors[:, there]
            difference = tiles.powers(change)
            explained = (errors + of_lag).diagonal(dim1=-2, dim2=-1)
            new = torch.maximum(difference - explained, _UNLIKE * difference)
            repeats = _coherence(energy, energy[:, there], difference, tiles.widths) >= self.similarity
            heard = (repeats & known).to(new)
            noise = of_lag + torch.diag_embed(new) + floor
            innovation = heard[:, :, None] * (unsure + noise) * heard[:, None] + torch.diag_embed(1 - heard)
            gain = torch.linalg.solve(innovation, unsure * heard[:, None], left=False)
            within = (middles + lag + margin <= time) if lag > 0 else (middles + lag - margin >= 0)
            gain = gain * within[:, None, None]
            tiles.follow(moved, change, gain)
            del change  # before that of the next lag is made
            unsure = unsure - gain @ unsure
            unsure = 0.5 * (unsure + unsure.mT)
        return estimates + to_waveforms(moved, time)


class _Tiles:
    """Bands of bins by stretches of `_TILE` frames that overlap by half."""

    def __init__(self, bands: int, device: torch.device) -> None:
        self.band = band_of_bin(bands).to(device)
        self.widths = torch.bincount(self.band)[:, None]

    def powers(self, spectra: Tensor) -> Tensor:
        """Mean powers (band, tile, source), over channels too.

        Args:
            spectra: (source, channel, bin, frame).
        """
        stretches = [self._over_bins(each.abs().square().mean(dim=1)) for each in in_stretches(spectra)]
        return self._over_frames(torch.cat(stretches, dim=-1)).movedim(0, -1)

    def total(self, powers: Tensor) -> Tensor:
        """Their sums over all bins (source,), of mean powers (band, tile, source)."""
        return (self.widths[:, :, None] * powers).sum(dim=(0, 1))

    def covariance(self, spectra: Tensor) -> Tensor:
        """Real parts of the means of products between sources (band, tile, source, source), over channels too.

        Args:
            spectra: (source, channel, bin, frame).
        """
        stretches = [
            self._over_bins(torch.einsum("scfn,tcfn->stfn", each, each.conj()).real / each.shape[1])
            for each in in_stretches(spectra)
        ]
        return self._over_frames(torch.cat(stretches, dim=-1)).permute(2, 3, 0, 1)

    def follow(self, moved: Tensor, change: Tensor, gain: Tensor) -> None:
        """Moves estimates by `moved += gain (change - moved)`, in place, stretch by stretch.

        Args:
            moved: By how much the estimates have moved so far, (source, channel, bin, frame).
            change: By how much those a lag later differ, likewise.
            gain: (band, tile, source, source).
        """
        begin, last = 0, gain.shape[1] - 1
        for old, new in zip(in_stretches(moved), in_stretches(change), strict=True):
            frames = torch.arange(begin, begin + old.shape[-1], device=gain.device)
            begin += len(frames)
            before = (frames // (_TILE // 2)).clamp(max=last)
            after = (before + 1).clamp(max=last)
            part = (frames % (_TILE // 2) / (_TILE // 2))[:, None, None]
            of_frames = torch.lerp(gain[:, before], gain[:, after], part)[self.band].to(old.dtype)
            old.add_(torch.einsum("fnst,tcfn->scfn", of_frames, new - old))

    def _over_bins(self, of_bins: Tensor) -> Tensor:
        total = of_bins.new_zeros(*of_bins.shape[:-2], len(self.widths), of_bins.shape[-1])
        return total.index_add_(-2, self.band, of_bins) / self.widths

    @staticmethod
    def _over_frames(of_frames: Tensor) -> Tensor:
        half = _TILE // 2
        flat = avg_pool1d(of_frames.flatten(0, -3), _TILE, half, padding=half, count_include_pad=False)
        return flat.view(*of_frames.shape[:-1], -1)


def _coherence(here: Tensor, there: Tensor, difference: Tensor, widths: Tensor) -> Tensor:
    """How much alike sources are in a tile and a lag later, over all bands, half whitened: 1 for equal ones.

    Args:
        here: Their mean powers.
        there: Those a lag later.
        difference: Those of the difference.
        widths: Bins of each band.

    Shape:
        - here, there and difference: (band, tile, source)
        - widths: (band, 1)
        - result: (tile, source)
    """
    geometric = (here * there).sqrt() + _SMALL
    weight = widths[:, :, None] * geometric**-0.5
    return (weight * (here + there - difference)).sum(dim=0) / (2 * weight * geometric).sum(dim=0)


def _later(signals: Tensor, lag: int) -> Tensor:
    """`signals(t + lag)`, zero where there is none."""
    return pad(signals[..., lag:], (0, lag)) if lag > 0 else pad(signals[..., :lag], (-lag, 0))
