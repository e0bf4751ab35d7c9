"""State dicts out of files that may be damaged, of another network, or hostile, and networks filled with them."""

import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mdx_progressive.runtime import MdxError, counted, error_text
from mdx_progressive.separators.weights.archives import check_pickled

_NAMES = 3
"""How many wrong tensors a message names."""
_ALLOWED = 2**25
"""Elements that a network may have however small its file is."""
_SMALLEST = 2**12
"""Elements that a tensor counts for however small it is: a billion of tiny ones are too many, too."""
_FOREIGN = 1000
"""Tensors that a network does not have, at most."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Any failure within is reported in one line as an error of the file; `kind` is what it should contain."""
    try:
        if path.is_dir():
            raise MdxError(f"{path}: a folder, where a file with {kind} belongs")
        if not path.is_file():
            raise MdxError(f"{path}: no such file ({kind})")
        with path.open("rb") as file:
            if not file.read(1):
                raise EOFError("it is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A file that causes warnings and is broken ends in an error.
            yield
    except MdxError:
        raise
    except OSError as error:
        raise MdxError(f"{path}: can't be read ({error_text(error)})") from error
    except Exception as error:  # A broken file fails wherever its first broken byte is read.
        raise MdxError(
            f"{path}: no {kind} could be loaded from it ({shorten(error_text(error), 240, placeholder=' …')}). It is"
            " damaged, cut short or something else: get the file again, or give another"
        ) from error


def load_state_dict(path: Path, kind: str, allowed: Sequence[Any] = (), keys: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read the state dict of a pickled file, on the CPU; it may be under one of the keys.

    Besides tensors the file may contain the allowed classes, as for `torch.serialization.safe_globals`.
    """
    with reading(path, kind):
        state = safe_unpickle(path, allowed, "tensors and numbers" if allowed else "tensors")
    for key in keys:
        state = state[key] if isinstance(state, dict) and key in state else state
    if not isinstance(state, dict) or not state or not all(map(_is_named_tensor, state.items())):
        alternative = f", nor a checkpoint with one under {', '.join(keys)}" if keys else ""
        raise MdxError(f"{path}: not a state dict, which holds tensors by their names{alternative} ({kind})")
    return state


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def safe_unpickle(path: Path, allowed: Sequence[Any], named: str) -> Any:
    """Unpickle tensors and the allowed classes, on the CPU; a broken file can raise anything.

    A file that asks for other classes is refused, with everything that it may contain `named`.
    """
    try:
        check_pickled(path, allowed)
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = refused_class(error)
        reason = f"asks for {refused}" if refused else "can't be read as such"
        raise MdxError(
            f"{path}: refused, only {named} are unpickled, and it {reason}: get the file again, or give another"
        ) from error


def refused_class(error: BaseException | None) -> str | None:
    """The class that a refused file asks for, if PyTorch names it.

    Example:
        >>> refused_class(pickle.UnpicklingError("Unsupported global: GLOBAL os.system was not an allowed global"))
        'os.system'
    """
    match = re.search(r"GLOBAL (\S+)", str(error))
    return match[1] if match else None


class SizeLimit(TorchDispatchMode):
    """Within it no network can be made that is larger than its file could fill, with a bit for each weight.

    A file also gives the sizes of its network; a wrong byte there would ask for terabytes, or for the same layer a
    hundred thousand times.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.limit = self.left = max(_ALLOWED, 8 * path.stat().st_size)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # The functions that make tensors out of nothing, and only they, have the size as their first argument.
        if args and isinstance(args[0], Sequence) and all(isinstance(size, int) for size in args[0]):
            self._take(prod(args[0]))
        elif func is torch.ops.aten.clone.default:  # A layer is copied.
            self._take(args[0].numel())
        return func(*args, **(kwargs or {}))

    def _take(self, elements: int) -> None:
        self.left -= max(_SMALLEST, elements)
        if self.left < 0:
            raise MdxError(
                f"{self.path}: refused, it asks for a network of more than {self.limit} weights, which such a small"
                " file can't hold: get the file again, or give another"
            )


def fill_network(network: nn.Module, state: dict[str, Tensor], path: Path | None, kind: str) -> None:
    """Fill a network, of this kind, with the weights of a file; one on the meta device gets them without a copy.

    Tensors that are missing, foreign, of another shape, or not finite are counted and named in the error.
    """
    own = network.state_dict()
    meta = any(value.is_meta for value in own.values())
    try:
        if sum(name not in own for name in state) > _FOREIGN:  # PyTorch compares each with each module.
            raise RuntimeError("it has too many others")
        network.load_state_dict(state, **({"assign": True} if meta else {}))  # Demucs's own doesn't know `assign`.
    except RuntimeError as error:
        differences = {
            "lacks": [name for name in own if name not in state],
            "has beyond it": [str(name) for name in state if name not in own],
            "has in another shape": [
                f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
                for name, value in own.items()
                if name in state and state[name].shape != value.shape
            ],
        }
        reason = "; ".join(f"{verb} {_count_and_name(names)}" for verb, names in differences.items() if names)
        raise MdxError(f"{path}: not the weights of {kind}: it {reason or error_text(error)}") from error
    check_finite(network, path)


def check_finite(network: nn.Module, path: Path | None) -> None:
    """Check that no weight is infinite or NaN, which would make all estimates so."""
    wrong = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    if wrong:
        raise MdxError(
            f"{path}: damaged, it holds values that are not finite, in {_count_and_name(wrong)}: get it again"
        )


def _count_and_name(names: Sequence[str]) -> str:
    return f"{counted(len(names), 'tensor')} ({', '.join(names[:_NAMES])}{', …' if len(names) > _NAMES else ''})"
