"""Attention on the CPU, by the kernel that is fastest there."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class CpuAttention(TorchFunctionMode):
    """Within it, attention takes the faster of PyTorch's ways on the CPU, with the same result.

    In float32 that is the fused kernel of `scaled_dot_product_attention`; `nn.MultiheadAttention` would rather
    take its own "fast path", which it leaves alone while a mode like this one is active. In half precision it is
    plain matrix products, which use the CPU's half-precision units; the fused kernel does not.

    Example:
        >>> query = torch.randn(1, 2, 3, 4)
        >>> with CpuAttention():
        ...     result = functional.scaled_dot_product_attention(query, query, query)
        >>> result.shape
        torch.Size([1, 2, 3, 4])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is functional.scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    half = torch.is_autocast_enabled("cpu") or query.dtype in (torch.float16, torch.bfloat16)
    if not half or attn_mask is not None or dropout_p or is_causal or enable_gqa:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (factor * query) @ key.transpose(-1, -2)
    # Under autocast the softmax would widen its input and so double the traffic; it sums in float32 anyway.
    with torch.autocast("cpu", enabled=False):
        weights = scores.softmax(dim=-1)
    return weights @ value
