"""What a file holds, checked before a library reads it: nothing in it may be larger than the file itself.

`torch.load` unpacks compressed records, calls what a pickle names with any arguments, and believes the sizes that it
finds there: a file of a kilobyte can ask for gigabytes without asking for a class that is not allowed.
"""

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from zipfile import ZIP_STORED, ZipFile

import torch

from mdx_progressive.runtime import MdxError

_ZIP = b"PK\x03\x04"
_LONGEST = 1 << 22
"""Bytes of a pickle without the values of its tensors: those of large networks have 0.3 MB."""
_LONGEST_NUMBER = 8
"""Bytes of a whole number; longer ones can be chosen to make a dict slow."""
_LONGEST_TEXT = 100
"""Letters of a text that stands for a number."""
_CODE = 1 << 26
"""Bytes of the source code in a program, which is compressed."""
_FOOTER, _LOCATOR, _FOOTER_64 = 22, 20, 56


def check_safetensors(path: Path) -> None:
    """Check the length of a safetensors file's header; what stands in it, the library compares with the file.

    Raises:
        MdxError: If it is longer than that of any network: each empty tensor that it names takes time and memory.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if _LONGEST < length < path.stat().st_size:  # The library says that one beyond the file is none.
        _refuse(path, f"its header tells of {length} bytes, where those of large networks have 0.3 MB")


def check_archive(path: Path, code: bool = False) -> None:
    """Check that a zip archive holds no more than its file has.

    Args:
        path: The file.
        code: Whether it may have source code, compressed as TorchScript's is.

    Raises:
        MdxError: If it unfolds to more, or has two tables of contents.
    """
    size = path.stat().st_size
    with ZipFile(path) as archive:
        entries, start = archive.infolist(), archive.start_dir
        if start != _stated_start(path, size) or len({entry.filename for entry in entries}) != len(entries):
            _refuse(path, "it has more than one table of contents")
    compressed = [entry for entry in entries if entry.compress_type != ZIP_STORED]
    unfolded = sum(entry.file_size for entry in compressed)
    if compressed and (not code or unfolded > _CODE or any("/code/" not in entry.filename for entry in compressed)):
        _refuse(path, f"it is compressed, {compressed[0].filename} and what else unfolds to {unfolded} bytes")
    if sum(entry.file_size for entry in entries) - unfolded > size:
        _refuse(path, f"it holds more than its {size} bytes")


def _stated_start(path: Path, size: int) -> int:
    """Where the table of contents begins as the footer has it; Python looks for it at the end of the file instead."""
    with path.open("rb") as file:
        file.seek(max(0, size - _FOOTER_64 - _LOCATOR - _FOOTER))
        tail = file.read()
    footer = tail[-_FOOTER:]
    if footer[:4] != b"PK\5\6":
        return -1
    if tail[-_FOOTER - _LOCATOR :][:4] == b"PK\6\7":
        return int.from_bytes(tail[48:56], "little") if tail[:4] == b"PK\6\6" else -1
    return int.from_bytes(footer[16:20], "little")


def check_pickled(path: Path, allowed: Sequence[Any]) -> None:
    """Check that `torch.load` of a file makes nothing but what the file has the bytes for.

    Args:
        path: The file: a zip archive, or pickles and values one after the other, as before PyTorch 1.6.
        allowed: Classes that it may name, as for `torch.serialization.safe_globals`.

    Raises:
        MdxError: If a tensor is larger than its storage, a storage than its record, or the pickle is no state dict's.
        pickle.UnpicklingError: If it names another class; as PyTorch's error does.
    """
    with path.open("rb") as file:
        head = file.read(_LONGEST)
    if head[:4] != _ZIP:
        _check_legacy(path, head, allowed)
        return
    check_archive(path)
    with ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        pickles = [name for name in sizes if name.endswith("data.pkl")]
        if len(pickles) != 1 or sizes[pickles[0]] > _LONGEST:
            _refuse(path, f"it has {len(pickles)} pickles of up to {_LONGEST} bytes, where a checkpoint has one")
        root = pickles[0].removesuffix("data.pkl")
        _Reader(path, archive.read(pickles[0]), allowed, {
            name.removeprefix(f"{root}data/"): size for name, size in sizes.items()
        }).load()  # fmt: skip


def _check_legacy(path: Path, head: bytes, allowed: Sequence[Any]) -> None:
    """Magic number, protocol, system, the object, and the keys of the storages, each a pickle."""
    storages: dict[str, int] = {}
    position = 0
    for number in range(5):
        length = _length(path, head[position:])
        reader = _Reader(path, head[position : position + length], allowed, storages, declares=True)
        found = reader.load()
        if number == 0 and found != torch.serialization.MAGIC_NUMBER:
            _refuse(path, "it is no checkpoint of PyTorch")
        position += length
    if sum(storages.values()) > path.stat().st_size:
        _refuse(path, f"its tensors have more than the {path.stat().st_size} bytes of the file")


def _length(path: Path, content: bytes) -> int:
    """The length of the pickle at the beginning; refuses what would take memory or time beyond it."""
    for operation, value, position in pickletools.genops(content):
        # Python makes room for all results up to the last number that one is kept under.
        too_far = "PUT" in operation.name and isinstance(value, int) and value > len(content)
        long = isinstance(value, int) and value.bit_length() > 8 * _LONGEST_NUMBER
        if too_far or (long and value != torch.serialization.MAGIC_NUMBER):
            _refuse(path, f"its pickle has the number {value!r:.30}")
        if operation.name == "STOP":
            return (position or 0) + 1
    raise EOFError("the pickle ends early")


class _Storage(NamedTuple):
    """The values of tensors, which are not read.

    Args:
        length: How many there are.
    """

    length: int


class _Named:
    """Stands for a class, and does nothing."""

    __slots__ = ()


class _NumpyType(NamedTuple):
    """Stands for a type of NumPy.

    Args:
        bytes: Bytes of a number.
    """

    bytes: int

    def __setstate__(self, state: object) -> None:
        """Byte order and the like."""


class _Dict(OrderedDict[Any, Any]):
    """A dict with the versions of modules, which PyTorch keeps beside a state dict."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or not set(state) <= {"_metadata"}:
            raise ValueError("attributes of a dict")


class _Reader(pickle.Unpickler):
    """Reads a pickle with dummies in the place of tensors and classes, and checks the sizes that it tells.

    Args:
        path: The file, for messages.
        content: The pickle.
        allowed: Classes that it may name.
        storages: Bytes of each storage by its key.
        declares: Whether the pickle itself tells the sizes of storages, which are added.
    """

    def __init__(
        self, path: Path, content: bytes, allowed: Sequence[Any], storages: dict[str, int], declares: bool = False
    ) -> None:
        super().__init__(BytesIO(content[: _length(path, content)]), encoding="utf-8")
        self._path = path
        self._storages = storages
        self._declares = declares
        names = {each[1] if isinstance(each, tuple) else f"{each.__module__}.{each.__qualname__}" for each in allowed}
        if any(name.endswith(".scalar") for name in names):
            names.add("_codecs.encode")
        self._known: dict[str, object] = {name: _FUNCTIONS.get(name, _Named()) for name in names}
        self._known |= {
            "collections.OrderedDict": _empty_dict,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": _parameter,
        }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        dtype = getattr(getattr(torch, name, None), "dtype", None) if module == "torch" else None
        if name.endswith("Storage") and isinstance(dtype, torch.dtype):
            return dtype
        raise pickle.UnpicklingError(f"GLOBAL {full} was not an allowed global")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count, *views = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not _is_count(count) or any(views):
            raise ValueError("no storage of a tensor")
        needed = count * dtype.itemsize
        if self._declares:
            needed = self._storages.setdefault(key, needed)
        if self._storages.get(key) != needed:
            _refuse(self._path, f"it tells {needed} bytes of values {key!r:.20}, of which there are "
                                f"{self._storages.get(key, 0)}")  # fmt: skip
        return _Storage(self._storages[key] // dtype.itemsize)

    def _tensor(self, storage: _Storage, offset: int, size: Any, stride: Any, *_: object) -> tuple[()]:
        if not isinstance(storage, _Storage) or not all(map(_is_count, (offset, *size, *stride))):
            raise ValueError("no sizes of a tensor")
        last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if all(size) and last >= storage.length:
            _refuse(self._path, f"it tells of a tensor of shape {tuple(size)!s:.60} in {storage.length} values")
        return ()


def _refuse(path: Path, reason: str) -> NoReturn:
    raise MdxError(f"{path}: refused, {reason}: get the file again, or give another")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _empty_dict() -> _Dict:
    return _Dict()


def _parameter(*_: object) -> tuple[()]:
    return ()


def _fraction(*numbers: int | str) -> tuple[()]:
    # As text, too: Fraction("1e999999999") has a billion digits.
    texts = [number for number in numbers if type(number) is not int]
    if not all(type(text) is str and re.fullmatch(r"-?\d{1,18}(/\d{1,18})?", text) for text in texts):
        raise ValueError("no fraction")
    return ()


def _numpy_type(code: str, *_: object) -> _NumpyType:
    return _NumpyType({"f4": 4, "f8": 8}[code])


def _number(kind: _NumpyType, content: bytes) -> tuple[()]:
    if not isinstance(kind, _NumpyType) or len(content) != kind.bytes:
        raise ValueError("no number")
    return ()


def _encode(text: str, encoding: str) -> bytes:
    if len(text) > _LONGEST_TEXT or encoding != "latin1":
        raise ValueError("no bytes of a number")
    return text.encode(encoding)


_FUNCTIONS: Mapping[str, Callable[..., object]] = {
    "fractions.Fraction": _fraction,
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": _encode,
}
"""What a pickle may call besides the functions of tensors."""
