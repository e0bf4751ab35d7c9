"""Short-time Fourier transforms, beside torch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.dsp.stft import framed_stft, overlap_add_frames
from tests.support.signals import noise

SIZES = pytest.mark.parametrize(("size", "hop"), [(4096, 1024), (64, 32), (30, 5), (8, 8)])


def window_of(size: int) -> Tensor:
    """Nowhere 0, so that every sample can be had back, even at the ends."""
    return 0.1 + torch.hann_window(size)


@SIZES
def test_the_spectrum_is_that_of_torch(size: int, hop: int) -> None:
    signal, window = noise(0.3), window_of(size)

    spectrum = framed_stft(signal, window, hop)

    expected = torch.stft(signal, size, hop, window=window, center=False, return_complex=True)
    torch.testing.assert_close(spectrum, expected.transpose(-1, -2))


@SIZES
def test_the_sum_is_that_of_torch(size: int, hop: int) -> None:
    signal, window = noise(0.3), window_of(size)
    spectrum = framed_stft(functional.pad(signal, (size // 2, size // 2)), window, hop)
    spectrum = spectrum * torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(0))

    frames = torch.fft.irfft(spectrum, n=size)
    weights = overlap_add_frames(window.expand(frames.shape[-2], -1), window, hop)
    result = overlap_add_frames(frames, window, hop) / weights

    expected = torch.istft(spectrum.transpose(-1, -2), size, hop, window=window)
    torch.testing.assert_close(result[..., size // 2 :][..., : expected.shape[-1]], expected, rtol=0, atol=1e-6)


@SIZES
def test_the_sum_takes_a_spectrum_back_to_the_signal(size: int, hop: int) -> None:
    signal, window = noise(0.3), window_of(size)

    frames = torch.fft.irfft(framed_stft(signal, window, hop), n=size)
    weights = overlap_add_frames(window.expand(frames.shape[-2], -1), window, hop)

    result = overlap_add_frames(frames, window, hop) / weights
    torch.testing.assert_close(result, signal[:, : result.shape[-1]], rtol=0, atol=1e-6)


def test_leading_dimensions_and_the_type_stay() -> None:
    frames = torch.rand(2, 3, 5, 8, dtype=torch.float64)

    result = overlap_add_frames(frames, torch.ones(8, dtype=torch.float64), hop=4)

    assert result.shape == (2, 3, 24)
    assert result.dtype == torch.float64
    torch.testing.assert_close(
        result[1, 2], overlap_add_frames(frames[1, 2], torch.ones(8, dtype=torch.float64), hop=4)
    )


def test_a_single_frame_is_its_own_sum() -> None:
    frame, window = torch.rand(1, 8), torch.rand(8)

    assert torch.equal(overlap_add_frames(frame, window, hop=2), frame[0] * window)
