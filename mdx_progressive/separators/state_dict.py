"""State dicts out of pickled files, and nothing but state dicts."""

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mdx_progressive.errors import MdxError


def load_state(path: Path, kind: str) -> dict[str, Tensor]:
    """The tensors of a file by their names, on the CPU; nothing else in it is unpickled.

    Args:
        path: The file.
        kind: What it should be, for the messages.

    Raises:
        MdxError: If the file is missing, broken, asks for other classes, or holds no state dict.
    """
    if not path.is_file():
        raise MdxError(f"{path}: no such file ({kind})")
    try:
        state = unpickle(path, kind)
    except MdxError:
        raise
    except Exception as error:  # A broken file fails wherever its first broken byte is read.
        raise MdxError(f"{path}: nothing could be loaded from it, {reason(error)} ({kind})") from error
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise MdxError(f"{path}: not a state dict, which holds tensors by their names ({kind})")
    return state


def unpickle(path: Path, kind: str, also: Sequence[Any] = (), named: str = "tensors") -> Any:
    """What a pickled file holds, on the CPU; nothing but tensors and what is allowed beside them is unpickled.

    A broken file raises whatever its first broken byte leads to.

    Args:
        path: The file.
        kind: What it should be, for the message.
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
        raise MdxError(f"{path}: refused, only {named} are unpickled, and it {asks} ({kind})") from error


def asked_for(error: pickle.UnpicklingError) -> str | None:
    """The class that a refused file asks for, if PyTorch tells it.

    Example:
        >>> asked_for(pickle.UnpicklingError("Unsupported global: GLOBAL os.system was not an allowed global"))
        'os.system'
    """
    found = re.search(r"GLOBAL (\S+)", str(error))
    return found[1] if found else None


def reason(error: Exception) -> str:
    """The first line of what a library says, or else the name of its error.

    Example:
        >>> reason(OSError("no such host")), reason(EOFError())
        ('no such host', 'EOFError')
    """
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__
