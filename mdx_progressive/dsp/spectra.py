"""The spectra that corrections change, and their bands."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_WINDOW = 4096
FRAMES_AT_ONCE = 256
"""Frames that are processed at once, so that intermediate results stay small."""
HOP = _WINDOW // 4
"""Samples between two frames."""


def to_spectra(signals: Tensor) -> Tensor:
    """STFT of signals.

    Shape:
        - signals: (..., time)
        - result: (..., bin, frame), complex
    """
    window = torch.hann_window(_WINDOW, device=signals.device, dtype=signals.dtype)
    flat = signals.reshape(-1, signals.shape[-1])
    spectra = torch.empty(
        len(flat), _WINDOW // 2 + 1, flat.shape[-1] // HOP + 1, dtype=signals.dtype.to_complex(), device=signals.device
    )
    # One by one, since the frames of all signals at once would take several times the memory of their spectra.
    for signal, spectrum in zip(flat, spectra, strict=True):
        spectrum.copy_(torch.stft(signal, _WINDOW, HOP, window=window, return_complex=True, pad_mode="constant"))
    return spectra.view(*signals.shape[:-1], *spectra.shape[-2:])


def to_waveforms(spectra: Tensor, length: int) -> Tensor:
    """Signals of `length` samples from the spectra of `to_spectra`.

    Shape:
        - spectra: (..., bin, frame)
        - result: (..., time)

    Example:
        >>> signal = torch.randn(2, 5000)
        >>> torch.allclose(to_waveforms(to_spectra(signal), 5000), signal, atol=1e-5)
        True
    """
    window = torch.hann_window(_WINDOW, device=spectra.device, dtype=spectra.real.dtype)
    flat = spectra.reshape(-1, *spectra.shape[-2:])
    signals = [torch.istft(spectrum, _WINDOW, HOP, window=window, length=length) for spectrum in flat]
    return torch.stack(signals).view(*spectra.shape[:-2], length)


def band_indices(count: int, bins: int = _WINDOW // 2 + 1) -> Tensor:
    """The band of each bin, from 0 on without a gap: there may be fewer bands than `count`.

    Args:
        count: Number of bands, equally wide in octaves where a bin is narrower than that.
        bins: Number of bins; by default those of `to_spectra`.

    Example:
        >>> band_indices(4, bins=9).tolist()
        [0, 0, 1, 2, 2, 3, 3, 3, 3]
    """
    octaves = torch.log2(torch.arange(bins, dtype=torch.float64).clamp(min=1))
    bands = (octaves / (octaves[-1] + 1e-9) * count).long().clamp(max=count - 1)
    indices: Tensor = torch.unique_consecutive(bands, return_inverse=True)[1]
    return indices


def band_products(left: Tensor, right: Tensor, band: Tensor) -> Tensor:
    """Real parts of the inner products, over channels and frames, between spectra in each band.

    Shape:
        - left: (batch, one, channel, bin, frame)
        - right: (batch, other, channel, bin, frame)
        - band: (bin,), as of `band_indices`
        - result: (batch, band, one, other)
    """
    parts = zip(split_frames(left), split_frames(right), strict=True)
    products = sum(torch.einsum("bscfn,btcfn->bfst", one, other.conj()).real for one, other in parts)
    assert isinstance(products, Tensor)
    total = products.new_zeros(len(products), int(band[-1]) + 1, *products.shape[2:])
    total.index_add_(1, band, products)
    return total


def channels_as_sources(spectra: Tensor) -> Tensor:
    """Spectra (batch, source, channel, bin, frame) with each channel a source of its own."""
    return spectra.flatten(1, 2).unsqueeze(2)


def apply_mixing(signals: Tensor, spectra: Tensor, change: Tensor, band: Tensor) -> Tensor:
    """Mix the channels of all sources in each band: `x + change x`.

    Args:
        signals: The signals of all sources.
        spectra: Their spectra after `channels_as_sources`; overwritten.
        change: For each band, how much every channel of every source receives of every other.
        band: The band of each bin.

    Shape:
        - signals and result: (batch, source, channel, time)
        - spectra: (batch, source * channel, 1, bin, frame)
        - change: (batch, band, source * channel, source * channel)
        - band: (bin,)

    Example:
        >>> signals = torch.randn(1, 2, 1, 5000)
        >>> exchange = torch.tensor([[0.0, 1.0], [1.0, 0.0]]) - torch.eye(2)
        >>> spectra = channels_as_sources(to_spectra(signals))
        >>> exchanged = apply_mixing(signals, spectra, exchange.expand(1, 4, 2, 2), band_indices(4))
        >>> torch.allclose(exchanged, signals.flip(1), atol=1e-5)
        True
    """
    bin_change = change[:, band].to(spectra.dtype)
    for part in split_frames(spectra):
        part.copy_(torch.einsum("bfst,btcfn->bscfn", bin_change, part))
    return signals + to_waveforms(spectra, signals.shape[-1]).view(signals.shape)


def split_frames(spectra: Tensor) -> Sequence[Tensor]:
    """Spectra (..., bin, frame) in parts of `FRAMES_AT_ONCE` frames."""
    return torch.split(spectra, FRAMES_AT_ONCE, dim=-1)


def deviations(steps: Sequence[Tensor]) -> Iterator[Tensor]:
    """Spectra of the passes' deviations from the mean of their step; the sum of their powers is the variance.

    Only the passes of one step have the same input: steps differ by what was blended in, not by chance. A step with a
    single pass has no deviations.

    Args:
        steps: The passes of each step.

    Shape:
        - steps: (pass, batch, source, channel, time) each
        - each result: (batch, source, channel, bin, frame)
    """
    freedom = max(1, sum(len(passes) - 1 for passes in steps))
    for passes in steps:
        if len(passes) > 1:
            mean = passes.mean(dim=0)
            for estimate in passes:
                yield to_spectra((estimate - mean) / freedom**0.5)
