"""Measures the separator's errors on a remix of its own estimates, whose sources are known.

The estimates, shifted against each other in time, add up to a new mixture of the same voices and instruments. Its
sources are the estimates themselves, so that its separation shows how much of each source is confused with another,
in each band. Tzinis et al. (RemixIT, 2022) train a network on such mixtures; here nothing is trained, and one small
matrix is fitted for each band.
"""

import torch
from torch import Tensor

from mdx_progressive.dsp import (
    FRAMES_AT_ONCE,
    HOP,
    apply_mixing,
    band_indices,
    band_products,
    channels_as_sources,
    to_spectra,
)
from mdx_progressive.progressive.augmentations import golden_ratio_fraction
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime import MdxError

_SMALL = 1e-10


class SelfRemix(Correction):
    """Inverts, in each band, the confusion of sources that a remix of the estimates shows: `x + strength (A - 1) x`.

    Let `z_j` be the estimates `x_j`, each rotated within the chunk by another part of its length, and `z'` the
    estimates of their sum. Over all frames of a band,

        A = (sum z z'* + D) (sum z' z'* + D)^-1        D = ridge diag(sum z' z'*)

    is the matrix that maps `z'` to `z` by least squares; `j` counts the channels of all sources. It needs enough music
    to fit: three seconds are too short, six help.

    Args:
        mixtures: Number of remixes, one pass each for all sources.
        strength: 0 keeps the estimates, 1 applies the whole matrix. An estimate is easier to separate than the true
            source, and its own errors count as correct.
        ridge: Relative amount that is added to the energies, so that bands with little energy stay as they are.
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    def __init__(self, mixtures: int = 2, strength: float = 0.4, ridge: float = 0.02, bands: int = 80) -> None:
        if mixtures < 1 or bands < 1:
            raise MdxError(f"SelfRemix needs 1 mixture and 1 band or more, not {mixtures} and {bands}")
        if not (strength >= 0 and ridge > 0):
            raise MdxError(f"SelfRemix needs a strength of 0 or more and a ridge above 0, not {strength} and {ridge}")
        self.mixtures, self.strength, self.ridge, self.bands = mixtures, strength, ridge, bands

    def passes(self, sources: int) -> int:
        return self.mixtures

    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        band = band_indices(self.bands).to(estimates.device)
        stretch = FRAMES_AT_ONCE * HOP
        gram, right = torch.zeros((), device=estimates.device), torch.zeros((), device=estimates.device)
        for number in range(1, self.mixtures + 1):
            remix = _rotate(estimates, number)
            separated = passes.separate(remix.sum(dim=1, keepdim=True))[0]
            for part, reference in zip(separated.split(stretch, -1), remix.split(stretch, -1), strict=True):
                spectra = channels_as_sources(to_spectra(part))
                gram = gram + band_products(spectra, spectra, band)
                right = right + band_products(channels_as_sources(to_spectra(reference)), spectra, band)
        ridge = torch.diag_embed(self.ridge * gram.diagonal(dim1=-2, dim2=-1) + _SMALL)
        matrix = torch.linalg.solve(gram + ridge, right + ridge, left=False)
        change = self.strength * (matrix - torch.eye(matrix.shape[-1], device=matrix.device))
        return apply_mixing(estimates, channels_as_sources(to_spectra(estimates)), change, band)


def _rotate(estimates: Tensor, number: int) -> Tensor:
    """Each source rotated within the chunk by golden ratios of its length, so that all are far apart."""
    length = estimates.shape[-1]
    shifts = [int(length * golden_ratio_fraction(number * source)) for source in range(estimates.shape[1])]
    return torch.stack([estimates[:, source].roll(shift, -1) for source, shift in enumerate(shifts)], dim=1)
