"""Cutting and adding up."""

import pytest
import torch

from mdx_progressive.dsp.overlap_add import OverlapAdd, padded_slice, segment_spans, triangular_window


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 100])
def test_overlap_add_undoes_cutting(length: int, overlap: float) -> None:
    signal = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0))
    total = OverlapAdd(signal, 3)

    for item in range(2):
        for start, samples in segment_spans(length, 16, overlap):
            total.add(item, start, padded_slice(signal[item], start, samples), triangular_window(16))

    torch.testing.assert_close(total.result(), signal)


def test_overlap_add_is_0_where_no_window_reaches() -> None:
    total = OverlapAdd(torch.ones(1, 4))

    total.add(0, 1, torch.full((3,), 2.0), torch.tensor([1.0, 0.0, 1.0]))

    assert total.result().tolist() == [[0, 2, 0, 2]]


@pytest.mark.parametrize(("start", "length"), [(-5, 3), (-2, 4), (0, 6), (3, 2), (4, 4), (9, 2), (-3, 12)])
def test_cut_is_indexing_into_endless_zeros(start: int, length: int) -> None:
    signal = torch.arange(1.0, 7.0)
    endless = torch.cat([torch.zeros(20), signal, torch.zeros(20)])

    assert torch.equal(padded_slice(signal, start, length), endless[20 + start : 20 + start + length])


@pytest.mark.parametrize("length", [1, 2, 7, 8])
def test_the_window_is_positive_symmetric_and_peaks_at_1(length: int) -> None:
    window = triangular_window(length)

    assert (window > 0).all()
    assert window.max() == 1
    assert torch.equal(window, window.flip(0))
