"""What the passes of a step disagree on is error, and shows where estimates may move."""

import torch
from torch import Tensor

from mdx_progressive.dsp import (
    apply_mixing,
    band_of_bin,
    band_products,
    channels_as_sources,
    deviations,
    to_spectra,
)
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime import MdxError

_SMALL = 1e-10


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

    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        spectra = channels_as_sources(to_spectra(estimates))
        band = band_of_bin(self.bands).to(spectra.device)
        signal = band_products(spectra, spectra, band)
        noise = torch.zeros_like(signal)
        for deviation in map(channels_as_sources, deviations(trajectory.passes)):
            noise += band_products(deviation, deviation, band)
        energy = signal.diagonal(dim1=-2, dim2=-1)
        signal = signal + torch.diag_embed(1e-3 * energy + _SMALL)  # never singular, even where sources are silent
        kept: Tensor = torch.linalg.solve(signal + self.strength * noise, signal, left=False)
        return apply_mixing(estimates, spectra, kept - torch.eye(kept.shape[-1], device=kept.device), band)
