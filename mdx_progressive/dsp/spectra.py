"""The spectra on which corrections work, and their bands."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

_WINDOW = 4096
STRETCH = 256
"""Frames that are looked at together, so that what is made of them meanwhile stays small."""
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
    complex_type = torch.complex128 if signals.dtype == torch.float64 else torch.complex64
    spectra = torch.empty(
        len(flat), _WINDOW // 2 + 1, flat.shape[-1] // HOP + 1, dtype=complex_type, device=signals.device
    )
    # One by one, since the frames of all of them at once would take several times the memory of their spectra.
    for signal, spectrum in zip(flat, spectra, strict=True):
        spectrum.copy_(torch.stft(signal, _WINDOW, HOP, window=window, return_complex=True, pad_mode="constant"))
    return spectra.view(*signals.shape[:-1], *spectra.shape[-2:])


def to_waveforms(spectra: Tensor, length: int) -> Tensor:
    """The signals of spectra.

    Args:
        spectra: What `to_spectra` made.
        length: Number of samples.

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
    signals = [torch.istft(each, _WINDOW, HOP, window=window, length=length) for each in flat]
    return torch.stack(signals).view(*spectra.shape[:-2], length)


def band_of_bin(count: int, bins: int = _WINDOW // 2 + 1) -> Tensor:
    """The band (bin,) of each bin, from 0 on without a gap: so there may be fewer than were asked for.

    Args:
        count: Number of bands, equally wide in octaves where a bin is narrower than that.
        bins: Number of bins; by default those of `to_spectra`.

    Example:
        >>> band_of_bin(4, bins=9).tolist()
        [0, 0, 1, 2, 2, 3, 3, 3, 3]
    """
    octaves = torch.log2(torch.arange(bins, dtype=torch.float64).clamp(min=1))
    wanted = (octaves / (octaves[-1] + 1e-9) * count).long().clamp(max=count - 1)
    band: Tensor = torch.unique_consecutive(wanted, return_inverse=True)[1]
    return band


def band_products(left: Tensor, right: Tensor, band: Tensor) -> Tensor:
    """Inner products between spectra in each band, their real part, over channels and frames.

    Args:
        left: Some spectra.
        right: Others, or the same.
        band: The band of each bin.

    Shape:
        - left: (batch, one, channel, bin, frame)
        - right: (batch, other, channel, bin, frame)
        - band: (bin,)
        - result: (batch, band, one, other)
    """
    stretches = zip(in_stretches(left), in_stretches(right), strict=True)
    of_bins = sum(torch.einsum("bscfn,btcfn->bfst", one, other.conj()).real for one, other in stretches)
    assert isinstance(of_bins, Tensor)
    total = of_bins.new_zeros(len(of_bins), int(band[-1]) + 1, *of_bins.shape[2:])
    total.index_add_(1, band, of_bins)
    return total


def channels_as_sources(spectra: Tensor) -> Tensor:
    """Spectra (batch, source, channel, bin, frame) with each channel a source of its own."""
    return spectra.flatten(1, 2).unsqueeze(2)


def apply_mixing(signals: Tensor, spectra: Tensor, change: Tensor, band: Tensor) -> Tensor:
    """What becomes of signals whose channels are mixed anew in each band: `x + change x`.

    Args:
        signals: The signals of all sources.
        spectra: Their spectra with the channels apart, which are overwritten.
        change: For each band what every channel of every source gets of every other.
        band: The band of each bin.

    Shape:
        - signals and the result: (batch, source, channel, time)
        - spectra: (batch, source * channel, 1, bin, frame)
        - change: (batch, band, source * channel, source * channel)
        - band: (bin,)

    Example:
        >>> signals = torch.randn(1, 2, 1, 5000)
        >>> exchange = torch.tensor([[0.0, 1.0], [1.0, 0.0]]) - torch.eye(2)
        >>> spectra = channels_as_sources(to_spectra(signals))
        >>> exchanged = apply_mixing(signals, spectra, exchange.expand(1, 4, 2, 2), band_of_bin(4))
        >>> torch.allclose(exchanged, signals.flip(1), atol=1e-5)
        True
    """
    of_bins = change[:, band].to(spectra.dtype)
    for stretch in in_stretches(spectra):
        stretch.copy_(torch.einsum("bfst,btcfn->bscfn", of_bins, stretch))
    return signals + to_waveforms(spectra, signals.shape[-1]).view(signals.shape)


def in_stretches(spectra: Tensor) -> Sequence[Tensor]:
    """Spectra (..., bin, frame) in stretches of some frames, so that what is made of them meanwhile stays small."""
    return torch.split(spectra, STRETCH, dim=-1)


def deviations(steps: Sequence[Tensor]) -> Iterator[Tensor]:
    """Spectra of the passes' deviations from the mean of their step, scaled so that the sum of powers is the variance.

    Only passes of one step hear the same input: what differs between steps is what was blended in, not chance. A step
    of one pass tells nothing.

    Args:
        steps: The passes of each step.

    Shape:
        - steps: (view, batch, source, channel, time) each
        - each result: (batch, source, channel, bin, frame)
    """
    freedom = max(1, sum(len(passes) - 1 for passes in steps))
    for passes in steps:
        if len(passes) > 1:
            mean = passes.mean(dim=0)
            for each in passes:
                yield to_spectra((each - mean) / freedom**0.5)
