"""Quantised weights of Demucs, checked before `diffq` unpacks them: they could grow far beyond their file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mdx_progressive.runtime import MdxError


def check_quantised(state: dict[str, Any], path: Path) -> None:
    """Check that the unpacked weights are no larger than the network, whose own size is limited.

    `diffq` trusts the shapes of a file: an empty or repeated tensor takes no byte there and terabytes when it is
    unpacked, and levels, limits and bits of several shapes are broadcast against each other.
    """

    def refused(content: str) -> MdxError:
        return MdxError(f"{path}: refused, its quantised weights hold {content}: get the file again, or give another")

    for tensor in _tensors(state):
        stored = tensor.untyped_storage().nbytes()
        if not 0 < tensor.numel() * tensor.element_size() <= stored:
            raise refused(f"a tensor of shape {tuple(tensor.shape)} in {stored} bytes")
    weights = state.get("quantized")
    if not isinstance(weights, list):
        raise refused("no list of quantised weights")
    for weight in weights:
        if not isinstance(weight, Sequence) or len(weight) not in (2, 3):
            raise refused("a weight without its levels and limits")
        levels, limits, *bits = weight
        if not isinstance(limits, Sequence) or len(limits) != 2 or not all(map(_is_one_number, limits)):
            raise refused("limits of a weight that are not two numbers")
        # Packed bits and levels get the shape of the network's weight.
        if bits and isinstance(levels, Tensor) and levels.shape[:1] != bits[0].shape[:1]:
            raise refused("a weight with more levels than bits, or fewer")


def _tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _tensors(value)


def _is_one_number(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)
