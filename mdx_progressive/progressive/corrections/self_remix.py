"""What the separator gets wrong on this music, found out on a mixture whose sources are known.

The estimates, moved against each other in time, add up to a mixture of the same voices and instruments, in other
company. Its sources are the estimates themselves: so what the separator makes of it tells how much of each source it
takes for another, in which band. Tzinis et al. (RemixIT, 2022) train a network on such mixtures; here nothing is
trained, and what is learned is one small matrix for each band.
"""

import torch
from torch import Tensor

from mdx_progressive.dsp import HOP, STRETCH, apply_mixing, band_of_bin, band_products, channels_as_sources, to_spectra
from mdx_progressive.progressive.augmentations import golden_ratio_fraction
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime import MdxError

_SMALL = 1e-10


class SelfRemix(Correction):
    """Undoes, in each band, what the separator does to a mixture of the estimates: `x + strength (A - 1) x`.

    Let `z_j` be the estimates `x_j`, each turned round the chunk by another part of its length, and `z'` what the
    separator makes of their sum. Over all frames of a band,

        A = (sum z z'* + D) (sum z' z'* + D)^-1        D = ridge diag(sum z' z'*)

    is the matrix that brings `z'` nearest to `z`, by least squares; `j` counts the channels of all sources.
    It needs music to learn from: three seconds tell nothing, six something.

    Args:
        mixtures: How many mixtures are made, one pass each for all sources.
        strength: 0 leaves the estimates, 1 takes back all that was found: an estimate is easier to separate than
            the source was, and what it lacks or has of others passes for right.
        ridge: How much is added to the energies, so that bands with little in them stay as they are.
        bands: Number of bands, equally wide in octaves where a bin is narrower than that.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    def __init__(self, mixtures: int = 2, strength: float = 0.4, ridge: float = 0.02, bands: int = 80) -> None:
        if mixtures < 1 or bands < 1:
            raise MdxError(f"SelfRemix needs 1 mixture and 1 band or more, not {mixtures} and {bands}")
        if not (strength >= 0 and ridge > 0):
            raise MdxError(f"SelfRemix needs a strength of 0 or more and a ridge above 0, not {strength} and {ridge}")
        self.passes, self.strength, self.ridge, self.bands = mixtures, strength, ridge, bands

    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        band = band_of_bin(self.bands).to(estimates.device)
        stretch = STRETCH * HOP
        found, right = torch.zeros((), device=estimates.device), torch.zeros((), device=estimates.device)
        for number in range(1, self.passes + 1):
            known = _turned(estimates, number)
            heard = passes.separate(known.sum(dim=1, keepdim=True))[0]
            for of_heard, of_known in zip(heard.split(stretch, -1), known.split(stretch, -1), strict=True):
                spectra = channels_as_sources(to_spectra(of_heard))
                found = found + band_products(spectra, spectra, band)
                right = right + band_products(channels_as_sources(to_spectra(of_known)), spectra, band)
        ridge = torch.diag_embed(self.ridge * found.diagonal(dim1=-2, dim2=-1) + _SMALL)
        matrix = torch.linalg.solve(found + ridge, right + ridge, left=False)
        change = self.strength * (matrix - torch.eye(matrix.shape[-1], device=matrix.device))
        return apply_mixing(estimates, channels_as_sources(to_spectra(estimates)), change, band)


def _turned(estimates: Tensor, number: int) -> Tensor:
    """Each source turned round the chunk by golden ratios of its length, so that all of them lie far apart."""
    length = estimates.shape[-1]
    turns = [int(length * golden_ratio_fraction(number * source)) for source in range(estimates.shape[1])]
    return torch.stack([estimates[:, source].roll(turn, -1) for source, turn in enumerate(turns)], dim=1)
