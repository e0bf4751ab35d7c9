"""Layers kept in float32, and the batch size that fits."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from mdx_progressive.separators.batch_size import BatchSizeFinder
from mdx_progressive.separators.precision import FullPrecision

GIB = 2**30


class TestFullPrecision:
    def test_autocast_does_not_reach_the_layer(self) -> None:
        layer, signal = nn.Linear(64, 64), torch.randn(3, 64)

        with torch.autocast("cpu", dtype=torch.bfloat16):
            wrapped, bare = FullPrecision(layer)(signal), layer(signal)

        assert bare.dtype == torch.bfloat16
        assert torch.equal(wrapped, layer(signal))

    @pytest.mark.parametrize("cast", [nn.Module.bfloat16, nn.Module.half])
    def test_a_cast_to_half_precision_leaves_its_weights_as_they_are(self, cast: object) -> None:
        model = nn.Sequential(FullPrecision(nn.Linear(4, 4)), nn.Linear(4, 4))
        before = copy.deepcopy(model[0].state_dict())

        cast(model)  # type: ignore[operator]

        assert all(torch.equal(model[0].state_dict()[name], value) for name, value in before.items())
        assert model[1].weight.dtype != torch.float32

    def test_a_cast_to_double_precision_holds(self) -> None:
        assert FullPrecision(nn.Linear(4, 4)).double()(torch.ones(1, 4, dtype=torch.float64)).dtype == torch.float64


class TestBatchSizeFinder:
    def test_one_at_a_time_on_the_cpu_and_as_many_as_asked_for(self) -> None:
        cpu = torch.device("cpu")

        assert list(BatchSizeFinder().run(range(3), cpu, None, sum)) == [
            (range(1), 0),
            (range(1, 2), 1),
            (range(2, 3), 2),
        ]
        assert [count for _, count in BatchSizeFinder().run(range(7), cpu, 3, len)] == [3, 3, 1]

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
            RuntimeError("The following operation failed in the TorchScript interpreter.\nCUDA out of memory."),
            MemoryError(),
        ],
    )
    def test_half_as_many_from_then_on_where_memory_is_wanting(self, error: Exception) -> None:
        fit, cpu, tried = BatchSizeFinder(), torch.device("cpu"), []

        def network(batch: Sequence[int]) -> int:
            tried.append(len(batch))
            if len(batch) > 2:
                raise error
            return len(batch)

        assert [count for _, count in fit.run(range(9), cpu, 8, network)] == [2, 2, 2, 2, 1]
        assert [count for _, count in fit.run(range(3), cpu, 8, network)] == [2, 1]
        assert tried == [8, 4, 2, 2, 2, 2, 1, 2, 1]

    def test_other_errors_and_one_that_does_not_fit_are_raised(self) -> None:
        def network(batch: Sequence[int]) -> int:
            raise RuntimeError("shapes don't fit" if len(batch) > 1 else "CUDA out of memory")

        for size, said in ((4, "shapes"), (1, "memory")):
            with pytest.raises(RuntimeError, match=said):
                list(BatchSizeFinder().run(range(4), torch.device("cpu"), size, network))

    def test_on_cuda_the_first_segment_tells_how_many_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3 * GIB)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * GIB)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * GIB)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (18 * GIB, 24 * GIB))
        fit, cuda = BatchSizeFinder(), torch.device("cuda", 0)

        # 2 GiB for one, of 18 free and 2 held but unused: 8 leave a fifth.
        assert [count for _, count in fit.run(range(20), cuda, None, len)] == [1, 8, 8, 3]
        assert [count for _, count in fit.run(range(20), cuda, None, len)] == [8, 8, 4]
        assert [count for _, count in fit.run(range(20), cuda, 5, len)] == [5, 5, 5, 5]
