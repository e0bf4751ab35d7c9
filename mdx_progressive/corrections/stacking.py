"""Weights of the passes that were fitted on songs with known stems."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mdx_progressive.corrections.base import Correction
from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path
from mdx_progressive.spectra import bands_of_bins, spectra_of, waveforms_of


class Stacking(Correction):
    """The passes are put together with weights of each source and band, fitted on songs by `mdx-progressive tune`.

    `x_j = sum_k w_jbk x_jk` in band `b`, in place of what the combination of the method made of the passes.

    Args:
        bands: Number of bands that were asked for, equally wide in octaves where a bin is narrower than that.
        weights: For each source the bands, for each band the weights of the passes in the order in which they are
            made.

    Raises:
        MdxError: If sources differ in their numbers of bands or passes.
    """

    needs_others = False

    def __init__(self, bands: int, weights: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.band = bands_of_bins(bands)
        self.weights = {source: [list(band) for band in of_source] for source, of_source in weights.items()}
        count = int(self.band[-1]) + 1
        found = {len(band) for of_source in self.weights.values() for band in of_source}
        if len(found) != 1 or {len(of_source) for of_source in self.weights.values()} != {count}:
            raise MdxError(f"Stacking needs weights for {count} bands of each source, as many in each")
        (self.count,) = found

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        every = path.every
        if missing := [source for source in passes.sources if source not in self.weights]:
            raise MdxError(f"Stacking has no weights for {', '.join(missing)}, only for {', '.join(self.weights)}")
        if len(every) != self.count:
            raise MdxError(
                f"Stacking was fitted on {self.count} passes, but this method hands {len(every)} to it: use it with the"
                " method that it was fitted on"
            )
        weights = torch.tensor([self.weights[source] for source in passes.sources]).to(estimates)
        of_bins = weights[:, self.band]
        stacked = torch.zeros((), device=estimates.device)
        for number, each in enumerate(every):
            stacked = stacked + of_bins[:, None, :, None, number] * spectra_of(each)
        return waveforms_of(stacked, estimates.shape[-1])
