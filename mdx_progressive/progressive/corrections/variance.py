"""The variance between the passes of a step: it is error, and shows where estimates are unsure."""

import torch
from torch import Tensor

from mdx_progressive.dsp import (
    apply_mixing,
    band_indices,
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
    """Shrinks what varies between passes, across sources: a Wiener filter over the estimates, in each band.

    `x' = M (M + strength V)^-1 x` with the energies `M_jk = sum x_j x_k*` of the estimates and the covariance `V` of
    the passes around the mean of their step, over all frames of a band; `j` and `k` are the channels of all sources.
    The diagonal of `V` attenuates a source that varies between passes; off the diagonal, what one source gains where
    another one loses it (a leak between two sources) is moved back, and a source keeps its place in the stereo image.
    Needs a step with more than one pass.

    Args:
        strength: Weight of the covariance, 0 or more. The mean of `K` passes keeps `1 / K` of it by chance; but it is
            also a hint at the errors that all passes share, so that a larger weight pays.
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
        band = band_indices(self.bands).to(spectra.device)
        signal = band_products(spectra, spectra, band)
        noise = torch.zeros_like(signal)
        for deviation in map(channels_as_sources, deviations(trajectory.passes)):
            noise += band_products(deviation, deviation, band)
        energy = signal.diagonal(dim1=-2, dim2=-1)
        signal = signal + torch.diag_embed(1e-3 * energy + _SMALL)  # never singular, even where sources are silent
        kept: Tensor = torch.linalg.solve(signal + self.strength * noise, signal, left=False)
        return apply_mixing(estimates, spectra, kept - torch.eye(kept.shape[-1], device=kept.device), band)
