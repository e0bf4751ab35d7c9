"""Weights out of files that may be damaged, of another network, or hostile."""

import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mdx_progressive.runtime import MdxError, error_text

_NAMED = 3
"""How many of the tensors that are wrong a message names."""
_SMALL = 2**25
"""Elements that a network may have however small its file is."""
_LEAST = 2**12
"""Elements that a tensor counts for however small it is: a billion of tiny ones are too many, too."""


@contextmanager
def loading(path: Path, kind: str) -> Iterator[None]:
    """Whatever goes wrong within is told as a fault of the file, in one line.

    Args:
        path: The file.
        kind: What it should hold, for the messages.

    Raises:
        MdxError: If the file is missing, is a folder, or something within has failed.
    """
    try:
        if path.is_dir():
            raise MdxError(f"{path}: a folder, where a file with {kind} belongs")
        if not path.is_file():
            raise MdxError(f"{path}: no such file ({kind})")
        with path.open("rb") as file:
            if not file.read(1):
                raise EOFError("it is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # What broken files are warned of, ends in an error.
            yield
    except MdxError:
        raise
    except OSError as error:
        raise MdxError(f"{path}: can't be read ({error_text(error)})") from error
    except Exception as error:  # A broken file fails wherever its first broken byte is read.
        said = shorten(error_text(error), 240, placeholder=" …")
        raise MdxError(
            f"{path}: no {kind} could be loaded from it ({said}). It is damaged, cut short or something else:"
            " get the file again, or give another"
        ) from error


def load_state(path: Path, kind: str, also: Sequence[Any] = (), within: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a pickled file by their names, on the CPU.

    Args:
        path: The file.
        kind: What it should hold, for the messages.
        also: What else may be in it, as for `torch.serialization.safe_globals`.
        within: Keys under which the state dict may lie, beside other things.

    Raises:
        MdxError: If the file is missing, broken, asks for other classes, or holds no state dict.
    """
    with loading(path, kind):
        state = unpickle(path, also, "tensors and numbers" if also else "tensors")
    for key in within:
        state = state[key] if isinstance(state, dict) and key in state else state
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        places = f", nor a checkpoint with one under {', '.join(within)}" if within else ""
        raise MdxError(f"{path}: not a state dict, which holds tensors by their names{places} ({kind})")
    return state


def unpickle(path: Path, also: Sequence[Any], named: str) -> Any:
    """What a pickled file holds, on the CPU; nothing but tensors and what is allowed beside them is unpickled.

    A broken file raises whatever its first broken byte leads to.

    Args:
        path: The file.
        also: What else may be in it, as for `torch.serialization.safe_globals`.
        named: All that may be in it, for the message.

    Raises:
        MdxError: If the file asks for other classes.
    """
    try:
        with torch.serialization.safe_globals(list(also)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = asked_for(error)
        asks = f"asks for {foreign}" if foreign else "can't be read as such"
        raise MdxError(
            f"{path}: refused, only {named} are unpickled, and it {asks}: get the file again, or give another"
        ) from error


def asked_for(error: BaseException | None) -> str | None:
    """The class that a refused file asks for, if PyTorch tells it.

    Example:
        >>> asked_for(pickle.UnpicklingError("Unsupported global: GLOBAL os.system was not an allowed global"))
        'os.system'
    """
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found[1] if found else None


class _Limit(TorchDispatchMode):
    """Refuses to make more elements than a number.

    Args:
        path: The file that asks for them.
        elements: The number.
    """

    def __init__(self, path: Path, elements: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.path = path
        self.most = self.left = elements

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # The functions that make tensors out of nothing, and only they, have the size as their first argument.
        if args and isinstance(args[0], Sequence) and all(isinstance(size, int) for size in args[0]):
            self.left -= max(_LEAST, prod(args[0]))
            if self.left < 0:
                raise MdxError(
                    f"{self.path}: refused, it asks for a network of more than {self.most} weights, which such a small"
                    " file can't hold: get the file again, or give another"
                )
        return func(*args, **(kwargs or {}))


def as_large_as(path: Path) -> TorchDispatchMode:
    """Within it no network can be made that is larger than its file could fill, with a bit for each weight.

    A file also tells the sizes of its network, and with a wrong byte there it would ask for terabytes.

    Args:
        path: The file with the weights.
    """
    return _Limit(path, max(_SMALL, 8 * path.stat().st_size))


def fill(network: nn.Module, state: dict[str, Tensor], origin: Path | str | None, whose: str) -> None:
    """`load_state_dict`, with a short complaint.

    Args:
        network: It gets the weights; if it is on the meta device, without a copy.
        state: The weights.
        origin: Where they are from.
        whose: What the network is, for the message.

    Raises:
        MdxError: If tensors are missing, foreign or of another shape, or hold what is not finite.
    """
    own = network.state_dict()
    meta = any(value.is_meta for value in own.values())
    try:
        network.load_state_dict(state, **({"assign": True} if meta else {}))  # Demucs's own doesn't know `assign`.
    except RuntimeError as error:
        faults = {
            "lacks": [name for name in own if name not in state],
            "has beyond it": [str(name) for name in state if name not in own],
            "has in another shape": [
                f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
                for name, value in own.items()
                if name in state and state[name].shape != value.shape
            ],
        }
        told = "; ".join(f"{fault} {_some(names)}" for fault, names in faults.items() if names)
        raise MdxError(f"{origin}: not the weights of {whose}: it {told or error_text(error)}") from error
    check_finite(network, origin)


def check_finite(network: nn.Module, origin: Path | str | None) -> None:
    """Raise an error if weights are not finite, which would make all estimates so.

    Args:
        network: The network.
        origin: Where its weights are from.

    Raises:
        MdxError: If there are any.
    """
    wrong = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    if wrong:
        raise MdxError(f"{origin}: damaged, it holds values that are not finite, in {_some(wrong)}: get it again")


def _some(names: Iterable[str]) -> str:
    first, *others = names = list(names)
    count = "1 tensor" if not others else f"{len(names)} tensors"
    return f"{count} ({', '.join([first, *others][:_NAMED])}{', …' if len(names) > _NAMED else ''})"
