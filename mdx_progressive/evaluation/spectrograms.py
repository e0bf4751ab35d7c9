"""What an estimate looks like beside another one and the truth: spectrograms over logarithmic frequency."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from mdx_progressive.dsp import framed_stft

_WINDOW = 4096
_COLUMNS = 500
_BANDS = 160
_LOWEST = 40.0
_RANGE_DB = 80.0

Levels = NDArray[np.floating]


def levels(waveform: Tensor, sample_rate: int) -> Levels:
    """Levels in dB of bands of equal width on a logarithmic axis, from 40 Hz up to half the sample rate.

    At most some hundred frames, evenly spread over the waveform. A band's power is the mean over its part of the bins,
    and over the channels.

    Args:
        waveform: The sound, (channel, time).
        sample_rate: In Hz.

    Shape:
        - result: (band, frame)
    """
    time = waveform.shape[-1]
    hop = max(_WINDOW // 4, -(-time // _COLUMNS))
    padded = pad(waveform, (_WINDOW // 2, _WINDOW // 2))
    power = framed_stft(padded, torch.hann_window(_WINDOW, device=waveform.device), hop).abs().square().mean(dim=0)
    total = np.concatenate([np.zeros((len(power), 1)), power.double().cpu().numpy().cumsum(axis=1)], axis=1)
    # Bin k reaches from k - 1/2 to k + 1/2 bins.
    edges = band_edges(sample_rate) * _WINDOW / sample_rate + 0.5
    upto = np.stack([np.interp(edges, np.arange(total.shape[1]), frame) for frame in total])
    found: Levels = 10 * np.log10(np.maximum(np.diff(upto, axis=1) / np.diff(edges), 1e-12)).T
    return found


def band_edges(sample_rate: int) -> Levels:
    """Lower edges of the bands in Hz, and the upper one of the last."""
    return np.geomspace(_LOWEST, sample_rate / 2, _BANDS + 1)


def spectrogram_figure(
    reference: Tensor, one_pass: Tensor, best: Tensor, sample_rate: int, title: str, best_name: str
) -> Figure:
    """Reference, one pass and best step on one scale, and how the level changes from one pass to the best step.

    Args:
        reference: The true source.
        one_pass: Estimate of the plain pass.
        best: Estimate of the best step.
        sample_rate: In Hz.
        title: What is shown.
        best_name: The title of the best step's panel.

    Shape:
        - reference, one_pass, best: (channel, time)
    """
    shown = {"reference": reference, "one-pass": one_pass, best_name: best}
    pictures = {name: levels(waveform, sample_rate) for name, waveform in shown.items()}
    top = max(float(picture.max()) for picture in pictures.values())
    floor = top - _RANGE_DB
    audible = {name: np.maximum(picture, floor) for name, picture in pictures.items()}
    low, high = np.log10(band_edges(sample_rate)[[0, -1]])
    place: dict[str, Any] = {
        "extent": (0, reference.shape[-1] / sample_rate, low, high), "origin": "lower", "aspect": "auto",
    }  # fmt: skip
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for axis, (name, picture) in zip(axes.flat, audible.items(), strict=False):
        image = axis.imshow(picture, vmin=floor, vmax=top, cmap="magma", **place)
        axis.set_title(name, fontsize="medium")
    figure.colorbar(image, ax=axes[0, :], label="level (dB), on all three", pad=0.01)
    change = audible[best_name] - audible["one-pass"]
    image = axes[1, 1].imshow(change, vmin=-30, vmax=30, cmap="RdBu_r", **place)
    axes[1, 1].set_title("from one-pass to best step", fontsize="medium")
    figure.colorbar(image, ax=axes[1, :], label="change (dB)", pad=0.01)
    # The bands are of one width on this axis, so that pictures will do.
    marks = {"100": 100.0, "1k": 1e3, "10k": 1e4}
    axes[0, 0].set_yticks(np.log10(list(marks.values())), list(marks))
    figure.supxlabel("seconds", fontsize="medium")
    figure.supylabel("Hz", fontsize="medium")
    figure.suptitle(title, fontsize="medium")
    return figure
