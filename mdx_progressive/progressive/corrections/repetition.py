"""Averaging over repeats in the music: a loop, a sample, a programmed drum, in another mixture each time.

A separator's context is a few seconds. Where a source repeats later, sample by sample, while the others do not, its
estimate there is a second estimate of the same signal with other errors. Rafii and Pardo (REPET, 2013) separate by
repetition alone; here it refines the network's estimates. It costs no pass, and leaves music without repeats as it is.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

from mdx_progressive.dsp import HOP, band_indices, deviations, fast_fft_length, split_frames, to_spectra, to_waveforms
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime import MdxError

_SMALL = 1e-12
_TILE = 16
"""Frames of a tile, within which signals are assumed to be stationary; the next tile begins at its middle."""
_LEAST_NEW = 0.2
"""The least share of the difference between two repeats that counts as new music: error covariances are rough."""


class Repetition(Correction):
    """Averages the estimates of a source over its repeats, and corrects the other sources accordingly.

    Let `x` be the estimates (source,) of a tile of time and frequency, `z` those one lag later, `V` the covariance of
    the passes around the mean of their step and `C = strength V` the assumed covariance of the errors. The new music in
    source `j` has the power `n_j = max(|z_j - x_j|^2 - C_jj - C'_jj, 0.2 |z_j - x_j|^2)`. Then, for each lag, forwards
    and backwards, as in a Kalman filter,

        K = C (C + C' + diag n)^-1,    x <- x + K (z - x),    C <- C - K C

    over the sources that repeat in the tile only, since the others have much new music. A source whose passes vary too
    much over the chunk takes no part either: much of its estimate is other music, with repeats of its own.

    Errors of sources that a network confuses have opposite signs in `C`: a loop whose estimate improves is thereby
    removed from the vocals. Needs a step with more than one pass; otherwise nothing changes.

    Args:
        strength: Weight of the covariance of the passes, 0 or more; errors that all passes share are not in it.
        similarity: Similarity of a source and its repeat from which on they are averaged, above 0 and up to 1: the
            peak of the autocorrelation of the whitened estimate, then the coherence in a tile. Played music stays
            below 0.1, loops lie above 0.2.
        max_variance: A source takes part if its `C_jj` has at most this share of its energy over the chunk; above 0.
        lags: Maximum number of lags.
        shortest: The shortest lag in seconds; shorter ones are pitch.
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    # Sources that the last step leaves out add nothing to the covariance, which the other passes estimate as well.
    needs_all_in_last_step = False

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
        if all(len(passes_of_step) == 1 for passes_of_step in trajectory.passes):
            return estimates
        lags_of_chunks = [self.find_lags(chunk, passes.sample_rate) for chunk in estimates]
        if not any(lags_of_chunks):
            return estimates
        tiles = _Tiles(self.bands, estimates.device)
        covariance = [torch.zeros((), device=estimates.device)] * len(estimates)
        for deviation in deviations(trajectory.passes):
            covariance = [
                total + self.strength * tiles.covariance(each) if lags else total
                for total, each, lags in zip(covariance, deviation, lags_of_chunks, strict=True)
            ]
        return torch.stack(
            [
                self._refine(chunk, errors, lags, tiles) if lags else chunk
                for chunk, errors, lags in zip(estimates, covariance, lags_of_chunks, strict=True)
            ]
        )

    def find_lags(self, estimates: Tensor, sample_rate: int) -> list[int]:
        """Lags in samples after which a source repeats, the most similar first.

        Args:
            estimates: The estimates of a chunk, (source, channel, time).
            sample_rate: Sample rate in Hz.

        Example:
            >>> loop = torch.randn(1, 1, 1000, generator=torch.Generator().manual_seed(0))
            >>> Repetition().find_lags(loop.repeat(1, 1, 4), sample_rate=1000)
            [1000, 2000]
        """
        time = estimates.shape[-1]
        start, end = round(self.shortest * sample_rate), round(0.75 * time)
        distance = max(1, round(0.03 * sample_rate))
        similarities: dict[int, float] = {}
        for source in estimates:
            # Half whitened: peaks are narrow, and louder frequencies still count for more.
            power = torch.fft.rfft(source, fast_fft_length(2 * time)).abs()
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
                similarities[start + peak] = max(value, similarities.get(start + peak, 0.0))
                peaks[max(0, peak - distance) : peak + distance] = 0
        return sorted(similarities, key=similarities.__getitem__, reverse=True)[: self.lags]

    def _refine(self, estimates: Tensor, errors: Tensor, lags: list[int], tiles: "_Tiles") -> Tensor:
        """The refined estimates of a chunk.

        Shape:
            - estimates and the result: (source, channel, time)
            - errors: (band, tile, source, source), the covariance of their errors
        """
        time, count = estimates.shape[-1], errors.shape[1]
        spectra = to_spectra(estimates)
        energy = tiles.powers(spectra)
        reliable = tiles.total(errors.diagonal(dim1=-2, dim2=-1)) <= self.max_variance * tiles.total(energy)
        if not reliable.any():
            return estimates
        moved = spectra.zero_()
        floor = torch.diag_embed((1e-4 * energy.sum(dim=-1, keepdim=True) + _SMALL).expand_as(energy))
        remaining = errors
        middles = torch.arange(count, device=estimates.device) * (_TILE // 2 * HOP)
        margin = (_TILE // 2 + 2) * HOP
        for lag in [sign * each for each in lags for sign in (1, -1)]:
            change = to_spectra(_later(estimates, lag) - estimates)
            later = (torch.arange(count) + round(lag / (_TILE // 2 * HOP))).clamp(0, count - 1)
            later_errors = errors[:, later]
            difference = tiles.powers(change)
            error_power = (errors + later_errors).diagonal(dim1=-2, dim2=-1)
            new = torch.maximum(difference - error_power, _LEAST_NEW * difference)
            repeats = _coherence(energy, energy[:, later], difference, tiles.widths) >= self.similarity
            used = (repeats & reliable).to(new)
            noise = later_errors + torch.diag_embed(new) + floor
            innovation = used[:, :, None] * (remaining + noise) * used[:, None] + torch.diag_embed(1 - used)
            gain = torch.linalg.solve(innovation, remaining * used[:, None], left=False)
            within = (middles + lag + margin <= time) if lag > 0 else (middles + lag - margin >= 0)
            gain = gain * within[:, None, None]
            tiles.update(moved, change, gain)
            del change  # before that of the next lag is computed
            remaining = remaining - gain @ remaining
            remaining = 0.5 * (remaining + remaining.mT)
        return estimates + to_waveforms(moved, time)


class _Tiles:
    """Bands of bins by stretches of `_TILE` frames that overlap by half."""

    def __init__(self, bands: int, device: torch.device) -> None:
        self.band = band_indices(bands).to(device)
        self.widths = torch.bincount(self.band)[:, None]

    def powers(self, spectra: Tensor) -> Tensor:
        """Mean powers (band, tile, source), also over channels.

        Args:
            spectra: (source, channel, bin, frame).
        """
        stretches = [self._over_bins(each.abs().square().mean(dim=1)) for each in split_frames(spectra)]
        return self._over_frames(torch.cat(stretches, dim=-1)).movedim(0, -1)

    def total(self, powers: Tensor) -> Tensor:
        """Sums over all bins and tiles (source,) of mean powers (band, tile, source)."""
        return (self.widths[:, :, None] * powers).sum(dim=(0, 1))

    def covariance(self, spectra: Tensor) -> Tensor:
        """Real parts of the mean products between sources (band, tile, source, source), also over channels.

        Args:
            spectra: (source, channel, bin, frame).
        """
        stretches = [
            self._over_bins(torch.einsum("scfn,tcfn->stfn", each, each.conj()).real / each.shape[1])
            for each in split_frames(spectra)
        ]
        return self._over_frames(torch.cat(stretches, dim=-1)).permute(2, 3, 0, 1)

    def update(self, moved: Tensor, change: Tensor, gain: Tensor) -> None:
        """Updates `moved += gain (change - moved)` in place, stretch by stretch.

        Args:
            moved: Change of the estimates so far, (source, channel, bin, frame).
            change: Difference of the estimates one lag later, likewise.
            gain: (band, tile, source, source).
        """
        begin, last = 0, gain.shape[1] - 1
        for old, new in zip(split_frames(moved), split_frames(change), strict=True):
            frames = torch.arange(begin, begin + old.shape[-1], device=gain.device)
            begin += len(frames)
            previous = (frames // (_TILE // 2)).clamp(max=last)
            following = (previous + 1).clamp(max=last)
            fraction = (frames % (_TILE // 2) / (_TILE // 2))[:, None, None]
            frame_gains = torch.lerp(gain[:, previous], gain[:, following], fraction)[self.band].to(old.dtype)
            old.add_(torch.einsum("fnst,tcfn->scfn", frame_gains, new - old))

    def _over_bins(self, values: Tensor) -> Tensor:
        total = values.new_zeros(*values.shape[:-2], len(self.widths), values.shape[-1])
        return total.index_add_(-2, self.band, values) / self.widths

    @staticmethod
    def _over_frames(values: Tensor) -> Tensor:
        half = _TILE // 2
        flat = avg_pool1d(values.flatten(0, -3), _TILE, half, padding=half, count_include_pad=False)
        return flat.view(*values.shape[:-1], -1)


def _coherence(here: Tensor, there: Tensor, difference: Tensor, widths: Tensor) -> Tensor:
    """Similarity of each source in a tile and one lag later, over all bands, half whitened: 1 for equal ones.

    Args:
        here: Mean powers in the tile.
        there: Mean powers one lag later.
        difference: Mean powers of the difference.
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
    """`signals(t + lag)`, zero beyond the end."""
    return pad(signals[..., lag:], (0, lag)) if lag > 0 else pad(signals[..., :lag], (-lag, 0))
