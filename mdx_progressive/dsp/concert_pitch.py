"""How far music lies off concert pitch, the tones of twelve equal steps an octave around A = 440 Hz.

Most music that networks are trained on lies on them, and a network may know no other: played 50 cents (half a
semitone) lower, the music that htdemucs separates well loses most. What is resampled onto them is as it knows it.
"""

import math

import torch
from torch import Tensor

_CONCERT_A = 440.0
_WINDOW = 8192
_LOWEST, _HIGHEST = 80.0, 2000.0
_STRETCH = 1 << 18
_CLEAR = 0.1
_SMALL = 1e-12


def tuning_deviation(signal: Tensor, sample_rate: int) -> tuple[float, float]:
    """Hundredths of a semitone by which the music is sharp (above 0) or flat, and how clearly so.

    Each peak of the spectrum (80 Hz to 2 kHz, its place interpolated by a parabola through the levels) points
    somewhere between two tones of the scale; what is told is the mean direction, weighed by magnitudes.

    Args:
        signal: Waveforms, whose channels are looked at together.
        sample_rate: Sample rate in Hz.

    Shape:
        - signal: (channel, time)

    Returns:
        Cents from -50 to 50, and the length of the mean direction: 1 if all peaks agree, about 0 for noise.

    Example:
        >>> time = torch.arange(44100) / 44100
        >>> cents, clarity = tuning_deviation(torch.sin(2 * torch.pi * 450 * time)[None], 44100)
        >>> round(cents), round(clarity, 1)
        (39, 1.0)
    """
    window = torch.hann_window(_WINDOW, device=signal.device)
    lowest = max(1, int(_LOWEST * _WINDOW / sample_rate))
    highest = min(int(_HIGHEST * _WINDOW / sample_rate), _WINDOW // 2 - 1)
    bins = torch.arange(lowest, highest + 1, device=signal.device)
    direction, total = 0j, 0.0
    for stretch in signal.float().split(_STRETCH, dim=-1):
        whole = torch.stft(stretch, _WINDOW, _WINDOW // 4, window=window, return_complex=True, pad_mode="constant")
        spectra = whole[:, lowest - 1 : highest + 2].abs()
        levels = spectra.clamp(min=_SMALL).log()
        below, level, above = levels[:, :-2], levels[:, 1:-1], levels[:, 2:]
        peaks = (level > below) & (level >= above)
        beside = 0.5 * (below - above) / (below - 2 * level + above).clamp(max=-_SMALL)
        frequencies = (bins[:, None] + beside.clamp(-0.5, 0.5)) * (sample_rate / _WINDOW)
        angles = 2 * math.pi * 12 * torch.log2(frequencies / _CONCERT_A)
        weights = spectra[:, 1:-1] * peaks
        direction += complex((weights * angles.cos()).sum().item(), (weights * angles.sin()).sum().item())
        total += weights.sum().item()
    mean = direction / max(total, _SMALL)
    return 100 * math.atan2(mean.imag, mean.real) / (2 * math.pi), abs(mean)


def pitch_correction(signal: Tensor, sample_rate: int, tolerance: float) -> float:
    """How many times slower, and so lower, music is to be played so that it lies on the tones of concert pitch.

    Sharp music is lowered by what it is sharp, flat music to the tone below (nothing is lost of what is slower), to
    the cent. 1 for music that is in tune, or where no tuning is clear.

    Args:
        signal: Waveforms.
        sample_rate: Sample rate in Hz.
        tolerance: Cents off up to which music is left alone.

    Shape:
        - signal: (channel, time)

    Example:
        >>> time = torch.arange(44100) / 44100
        >>> tones = [torch.sin(2 * torch.pi * pitch * time)[None] for pitch in (443, 450, 430)]
        >>> [round(pitch / pitch_correction(tone, 44100, 15)) for pitch, tone in zip((443, 450, 430), tones)]
        [443, 440, 415]
    """
    cents, clarity = tuning_deviation(signal, sample_rate)
    if abs(cents) <= tolerance or clarity < _CLEAR:
        return 1.0
    return float(2 ** (round(cents) % 100 / 1200))
