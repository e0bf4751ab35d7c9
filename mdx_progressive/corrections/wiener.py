"""The multichannel Wiener filter."""

import torch
from torch import Tensor

from mdx_progressive.corrections.base import Correction
from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path
from mdx_progressive.spectra import spectra_of, waveforms_of
from mdx_progressive.torchaudio_import import import_torchaudio


class Wiener(Correction):
    """Multichannel Wiener filter of all sources, its spectra and spatial covariances refined by EM.

    Nugraha, Liutkus and Vincent, 2016, as openunmix implements it.

    Args:
        iterations: Iterations of expectation maximisation, 1 or more.
        strength: 0 leaves the estimates, 1 takes the filtered ones instead.

    Raises:
        MdxError: If `iterations` is below 1.
    """

    def __init__(self, iterations: int = 1, strength: float = 0.1) -> None:
        if iterations < 1:
            raise MdxError(f"Wiener needs 1 iteration or more, not {iterations}")
        self.iterations, self.strength = iterations, strength

    def __call__(self, passes: Passes, path: Path, estimates: Tensor) -> Tensor:
        import_torchaudio()  # openunmix imports it
        from openunmix.filtering import expectation_maximization

        filtered = []
        for mixture, of_chunk in zip(passes.mixture, estimates, strict=True):
            heard, spectra = spectra_of(mixture), spectra_of(of_chunk)
            scale = max(1.0, heard.abs().amax().item() / 10)
            # openunmix has (frame, bin, channel, real and imaginary, source)
            sources = torch.view_as_real(spectra.permute(3, 2, 1, 0)).movedim(-1, -2) / scale
            found, *_ = expectation_maximization(
                sources, torch.view_as_real(heard.permute(2, 1, 0)) / scale, self.iterations
            )
            filtered.append(torch.view_as_complex(found.movedim(-1, -2).contiguous()).permute(3, 2, 1, 0) * scale)
        return torch.lerp(estimates, waveforms_of(torch.stack(filtered), estimates.shape[-1]), self.strength)
