"""How far music is off concert pitch, the tones of twelve equal steps an octave around A = 440 Hz.

Networks are trained on music at concert pitch and may know no other: music that htdemucs separates well loses most
when it is played 50 cents (half a semitone) lower. Resampled to concert pitch, it is separated as before.
"""

import math

import torch
from torch import Tensor

_CONCERT_A = 440.0
_WINDOW = 8192
_LOWEST, _HIGHEST = 80.0, 2000.0
_PART = 1 << 18
"""Samples that are transformed at once."""
_CLEAR = 0.1
_SMALL = 1e-12


def estimate_tuning(signal: Tensor, sample_rate: int) -> tuple[float, float]:
    """Estimate by how many cents music is sharp (above 0) or flat, and how clearly.

    Each spectral peak (80 Hz to 2 kHz, interpolated by a parabola through the log magnitudes) deviates from the
    nearest tone. The deviations are averaged as directions on a circle, weighted by magnitudes.

    Shape:
        - signal: (channel, time)

    Returns:
        Cents from -50 to 50, and the length of the mean direction: 1 if all peaks agree, about 0 for noise.

    Example:
        >>> time = torch.arange(44100) / 44100
        >>> cents, clarity = estimate_tuning(torch.sin(2 * torch.pi * 450 * time)[None], 44100)
        >>> round(cents), round(clarity, 1)
        (39, 1.0)
    """
    window = torch.hann_window(_WINDOW, device=signal.device)
    lowest = max(1, int(_LOWEST * _WINDOW / sample_rate))
    highest = min(int(_HIGHEST * _WINDOW / sample_rate), _WINDOW // 2 - 1)
    bins = torch.arange(lowest, highest + 1, device=signal.device)
    direction, total = 0j, 0.0
    for part in signal.float().split(_PART, dim=-1):
        spectra = torch.stft(part, _WINDOW, _WINDOW // 4, window=window, return_complex=True, pad_mode="constant")
        magnitudes = spectra[:, lowest - 1 : highest + 2].abs()
        levels = magnitudes.clamp(min=_SMALL).log()
        below, level, above = levels[:, :-2], levels[:, 1:-1], levels[:, 2:]
        peaks = (level > below) & (level >= above)
        offsets = 0.5 * (below - above) / (below - 2 * level + above).clamp(max=-_SMALL)
        frequencies = (bins[:, None] + offsets.clamp(-0.5, 0.5)) * (sample_rate / _WINDOW)
        angles = 2 * math.pi * 12 * torch.log2(frequencies / _CONCERT_A)
        weights = magnitudes[:, 1:-1] * peaks
        direction += complex((weights * angles.cos()).sum().item(), (weights * angles.sin()).sum().item())
        total += weights.sum().item()
    mean = direction / max(total, _SMALL)
    return 100 * math.atan2(mean.imag, mean.real) / (2 * math.pi), abs(mean)


def concert_pitch_ratio(signal: Tensor, sample_rate: int, tolerance: float) -> float:
    """Factor by which to slow music down, which lowers its pitch, so that it is at concert pitch.

    Sharp music is lowered to the nearest tone, flat music to the tone below (slowing down loses nothing), in whole
    cents. 1 for music that is in tune within `tolerance` cents, or whose tuning is unclear.

    Shape:
        - signal: (channel, time)

    Example:
        >>> time = torch.arange(44100) / 44100
        >>> tones = [torch.sin(2 * torch.pi * pitch * time)[None] for pitch in (443, 450, 430)]
        >>> [round(pitch / concert_pitch_ratio(tone, 44100, 15)) for pitch, tone in zip((443, 450, 430), tones)]
        [443, 440, 415]
    """
    cents, clarity = estimate_tuning(signal, sample_rate)
    if abs(cents) <= tolerance or clarity < _CLEAR:
        return 1.0
    return float(2 ** (round(cents) % 100 / 1200))
