"""Layers kept in float32, attention on the CPU, and the batch size that fits."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.separators.attention import CpuAttention
from mdx_progressive.separators.fit import BatchFit
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


class TestCpuAttention:
    @staticmethod
    def exact(query: Tensor, key: Tensor, value: Tensor, scale: float | None = None) -> Tensor:
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        doubles = [each.double() for each in (query, key, value)]
        return (factor * doubles[0] @ doubles[1].mT).softmax(-1) @ doubles[2]

    @pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
    @pytest.mark.parametrize("scale", [None, 0.3])
    def test_is_attention(self, kind: torch.dtype, tolerance: float, scale: float | None) -> None:
        query, key, value = (torch.randn(2, 3, length, 8).to(kind) for length in (5, 7, 7))

        with CpuAttention():
            result = functional.scaled_dot_product_attention(query, key, value, scale=scale)

        assert result.dtype == kind
        torch.testing.assert_close(result.double(), self.exact(query, key, value, scale), rtol=0, atol=tolerance)

    @pytest.mark.parametrize("half", [False, True])
    def test_multi_head_attention_gives_the_same(self, half: bool) -> None:
        layer = nn.MultiheadAttention(32, 4, batch_first=True).eval()
        signal = torch.randn(2, 9, 32)

        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            expected, _ = layer(signal, signal, signal, need_weights=False)
            with CpuAttention():
                result, _ = layer(signal, signal, signal, need_weights=False)

        torch.testing.assert_close(result, expected, rtol=0, atol=1e-2 if half else 1e-6)

    @pytest.mark.parametrize("settings", [{"is_causal": True}, {"attn_mask": torch.ones(5, 5).tril().bool()}])
    def test_masks_are_kept(self, settings: dict[str, object]) -> None:
        query = torch.randn(1, 2, 5, 8)
        expected = functional.scaled_dot_product_attention(query, query, query, **settings)  # type: ignore[arg-type]

        with CpuAttention(), torch.autocast("cpu", dtype=torch.bfloat16):
            result = functional.scaled_dot_product_attention(query, query, query, **settings)  # type: ignore[arg-type]

        torch.testing.assert_close(result.float(), expected, rtol=0, atol=3e-2)


class TestBatchFit:
    def test_one_at_a_time_on_the_cpu_and_as_many_as_asked_for(self) -> None:
        cpu = torch.device("cpu")

        assert list(BatchFit().batches(range(3), cpu, None)) == [range(1), range(1, 2), range(2, 3)]
        assert [len(batch) for batch in BatchFit().batches(range(7), cpu, 3)] == [3, 3, 1]

    def test_on_cuda_the_first_segment_tells_how_many_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3 * GIB)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 * GIB)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 5 * GIB)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (18 * GIB, 24 * GIB))
        fit, cuda = BatchFit(), torch.device("cuda", 0)

        # 2 GiB for one, of 18 free and 2 held but unused: 8 leave a fifth.
        assert [len(batch) for batch in fit.batches(range(20), cuda, None)] == [1, 8, 8, 3]
        assert [len(batch) for batch in fit.batches(range(20), cuda, None)] == [8, 8, 4]
        assert [len(batch) for batch in fit.batches(range(20), cuda, 5)] == [5, 5, 5, 5]
