"""Spectrograms: power spectra, their levels in dB, and bands on a logarithmic or mel axis."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from mdx_progressive.dsp import framed_stft

RANGE_DB = 80.0
"""What pictures show below the loudest level."""

Array = NDArray[np.floating]


def power_spectra(signals: Tensor, window: int, hop: int) -> Tensor:
    """Power spectra of all frames that fit, with a Hann window; its length and the hop are in samples.

    Shape:
        - signals: (..., time)
        - result: (..., frame, bin)
    """
    weights = torch.hann_window(window, device=signals.device, dtype=signals.dtype)
    return framed_stft(signals, weights, hop).abs().square()


def decibels(powers: Tensor, floor: Tensor | float) -> Tensor:
    """Levels of powers in dB; those below the floor are raised to it.

    Example:
        >>> decibels(torch.tensor([100.0, 0.0]), floor=1e-3)
        tensor([ 20., -30.])
    """
    return 10 * torch.log10(powers.clamp(min=floor))


def log_bands(sample_rate: int, count: int = 160, lowest: float = 40.0) -> Array:
    """Edges in Hz of bands that are equally wide on a logarithmic axis up to half the sample rate."""
    return np.geomspace(lowest, sample_rate / 2, count + 1)


def mel_bands(highest: float, count: int) -> Array:
    """Edges in Hz of bands that are equally wide on Slaney's mel scale: linear up to 1 kHz, logarithmic above.

    Example:
        >>> mel_bands(6400.0, 42).round()[[0, 15, 28, 42]]
        array([   0., 1000., 2444., 6400.])
    """
    per_octave = 27 / np.log(6.4)
    mels = np.linspace(0, 15 + per_octave * np.log(highest / 1000), count + 1)
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) / per_octave))


def band_levels(waveform: Tensor, sample_rate: int, edges: Array, window: int = 4096, columns: int = 500) -> Array:
    """Levels in dB of bands: of the mean power over a band's part of the bins and over the channels.

    Args:
        waveform: The waveform.
        sample_rate: In Hz.
        edges: Edges of the bands in Hz.
        window: Length of a frame in samples.
        columns: Number of frames, roughly; they are evenly spread over the waveform.

    Shape:
        - waveform: (channel, time)
        - result: (band, frame)
    """
    hop = max(1, -(-waveform.shape[-1] // columns))
    powers = power_spectra(pad(waveform, (window // 2, window // 2)), window, hop).mean(dim=0).cpu().double().numpy()
    sums = np.pad(powers.cumsum(axis=1), ((0, 0), (1, 0)))
    # Bin k reaches from k - 1/2 to k + 1/2 bins.
    positions = edges * window / sample_rate + 0.5
    sums_at_edges = np.stack([np.interp(positions, np.arange(sums.shape[1]), frame) for frame in sums])
    bands = np.diff(sums_at_edges, axis=1) / np.diff(positions)
    levels: Array = decibels(torch.from_numpy(bands.T), 1e-12).numpy()
    return levels
