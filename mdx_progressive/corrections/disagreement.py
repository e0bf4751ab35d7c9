"""What the passes of a step disagree on is error, and shows where estimates may move."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mdx_progressive.corrections.base import Correction, residual
from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path
from mdx_progressive.spectra import (
    bands_of_bins,
    channels_apart,
    deviations,
    mixed,
    products,
    spectra_of,
    waveforms_of,
)

_SMALL = 1e-10


class VarianceConsistency(Correction):
    """Mixture consistency with weights of each time-frequency bin: `w_j` is the share of source `j` in the variance.

    The variance is that between the passes, smoothed over five bins and five frames: where the passes disagree on a
    source, its estimate is the one that may move. Needs a step with more than one view.

    Args:
        strength: Part of the residual that is handed out, within [0, 1].

    Raises:
        MdxError: If `strength` is out of its range.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not 0 <= strength <= 1:
            raise MdxError(f"the strength of a correction must lie within [0, 1], not {strength}")
        self.strength = strength

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        variance = _variance(path) + _SMALL
        weights = variance / variance.sum(dim=1, keepdim=True)
        shared = weights * spectra_of(residual(passes, estimates))
        return estimates + self.strength * waveforms_of(shared, estimates.shape[-1])


class VarianceShrinkage(Correction):
    """Bins on which the passes disagree are turned down: `x P / (P + V / K)`, as a Wiener filter would.

    `P` is the power of the estimate and `V` the variance between the passes of a step, both smoothed over five bins and
    five frames, and `K` the number of all passes. Needs a step with more than one view.
    """

    needs_others = False

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        spectra = spectra_of(estimates)
        power, variance = _smooth(spectra.abs().square()), _variance(path) / len(path.every)
        return waveforms_of(spectra * power / (power + variance + _SMALL), estimates.shape[-1])


class CovarianceShrinkage(Correction):
    """What the passes disagree on is taken back, across sources: a Wiener filter over the estimates, in each band.

    `x' = M (M + strength V)^-1 x` with the energies `M_jk = sum x_j x_k*` of the estimates and the covariance `V` of
    the passes around the mean of their step, over all frames of a band; `j` and `k` are the channels of all sources.
    On its diagonal `V` turns a source down that the passes disagree on; off it, it moves what one source gains
    wherever another one loses it, which is how a leak between two sources shows, and it keeps a source where it is in
    the stereo image. Needs a step with more than one view.

    Args:
        strength: Weight of the covariance, 0 or more. The mean of `K` passes has `1 / K` of it left by chance; but
            what varies between passes also hints at what all of them get wrong, so that more pays.
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    def __init__(self, strength: float = 2.0, bands: int = 80) -> None:
        if not strength >= 0:
            raise MdxError(f"the strength of a shrinkage must be 0 or more, not {strength}")
        if bands < 1:
            raise MdxError(f"there must be 1 band or more, not {bands}")
        self.strength, self.bands = strength, bands

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        spectra = channels_apart(spectra_of(estimates))
        band = bands_of_bins(self.bands).to(spectra.device)
        signal = products(spectra, spectra, band)
        noise = torch.zeros_like(signal)
        for deviation in map(channels_apart, deviations(path.passes)):
            noise += products(deviation, deviation, band)
        energy = signal.diagonal(dim1=-2, dim2=-1)
        signal = signal + torch.diag_embed(1e-3 * energy + _SMALL)  # never singular, even where sources are silent
        kept: Tensor = torch.linalg.solve(signal + self.strength * noise, signal, left=False)
        return mixed(estimates, spectra, kept - torch.eye(kept.shape[-1], device=kept.device), band)


def _smooth(power: Tensor) -> Tensor:
    """Means over five bins and five frames, (batch, source, channel, bin, frame)."""
    flat = avg_pool2d(power.flatten(0, -3), 5, stride=1, padding=2, count_include_pad=False)
    return flat.view(power.shape)


def _variance(path: Path) -> Tensor:
    """Smoothed variance (batch, source, channel, bin, frame) between the passes of a step."""
    total = torch.zeros((*path.estimates.shape[:-1], 1, 1), device=path.estimates.device)
    for deviation in deviations(path.passes):
        total = total + deviation.abs().square()
    return _smooth(total)
