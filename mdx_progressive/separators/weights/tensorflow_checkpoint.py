"""Variables of a TensorFlow checkpoint, read without TensorFlow, a package of 570 MB.

A checkpoint `model` is an index, `model.index`, and data, `model.data-00000-of-00001`. The index is a LevelDB table
from the names of variables to protocol buffers that say where in the data each is (`BundleEntryProto` in
tensorflow/core/protobuf/tensor_bundle.proto).
"""

import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.weights.state_dict import reading

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_SHARDS = 1000
_LONGEST_NAME = 1000
_DIMENSIONS = 8
"""More than any checkpoint of a separator has."""
_DTYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64}
"""By the numbers of `DataType` in tensorflow/core/framework/types.proto."""


class TensorFlowCheckpoint:
    """A checkpoint as `tf.train.Saver` writes it. Its lengths are verified, its checksums are not.

    The prefix is the path of the index without its `.index`.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self.index = prefix.with_name(f"{prefix.name}.index")
        with reading(self.index, "index of a TensorFlow checkpoint"):
            entries = dict(_table(self.index.read_bytes()))
            header, _ = _message(entries.pop(b""))
            self._variables = {name.decode(): _variable(entry) for name, entry in entries.items()}
        if header[2] != 0:
            raise MdxError(f"{self.index}: the checkpoint of a big-endian machine, which can't be read")
        if not 1 <= header[1] <= _SHARDS:
            raise MdxError(f"{self.index}: refused, it tells of {header[1]} files with values, not 1 to {_SHARDS}")
        self._shards = header[1]

    def names(self) -> list[str]:
        """Names of the variables, sorted."""
        return list(self._variables)

    def data(self, shard: int = 0) -> Path:
        """A file with values; most checkpoints have a single one."""
        return self._prefix.with_name(f"{self._prefix.name}.data-{shard:05d}-of-{self._shards:05d}")

    @property
    def files(self) -> list[Path]:
        """The index and the data."""
        return [self.index, *map(self.data, range(self._shards))]

    def read(self, name: str) -> Tensor:
        """The value of a variable."""
        if name not in self._variables:
            raise MdxError(f"{self.index}: there is no variable {name!r} in this checkpoint")
        number, shape, shard, offset, size = self._variables[name]
        dtype = _DTYPES.get(number)
        if dtype is None or not 0 < size == prod(shape) * dtype.itemsize:
            raise MdxError(f"{self.index}: the variable {name!r} is of a kind that can't be read")
        path = self.data(shard)
        if not path.is_file():
            raise MdxError(f"{path}: no such file, but {self.index.name} asks for it")
        if path.stat().st_size < offset + size:
            raise MdxError(f"{path}: cut short, it ends before or within the variable {name!r}")
        with path.open("rb") as file:
            file.seek(offset)
            values = bytearray(file.read(size))
        return torch.frombuffer(values, dtype=dtype).reshape(shape)


def find_checkpoint(folder: Path) -> Path:
    """Prefix of the checkpoint that a folder's file `checkpoint` names, else of the only one there."""
    # Archives made on a Mac hold a hidden `._model.index` beside each `model.index`.
    prefixes = sorted(index.with_suffix("") for index in folder.glob("*.index") if not index.name.startswith("."))
    note = folder / "checkpoint"
    if note.is_file():
        match = re.search(r'^model_checkpoint_path: "(?:.*[/\\])?(.+)"', note.read_text(errors="replace"), re.MULTILINE)
        prefixes = [prefix for prefix in prefixes if match and prefix.name == match[1]] or prefixes
    if len(prefixes) != 1:
        raise MdxError(
            f"{folder} holds {len(prefixes)} TensorFlow checkpoints (.index), so it is not clear which to load"
        )
    return prefixes[0]


def _variable(entry: bytes) -> tuple[int, list[int], int, int, int]:
    """Type, shape, shard, offset and size of a variable."""
    numbers, messages = _message(entry)
    shape = [_message(dimension)[0][1] for dimensions in messages[2] for dimension in _message(dimensions)[1][2]]
    if len(shape) > _DIMENSIONS:
        raise ValueError(f"a variable of {len(shape)} dimensions")
    return numbers[1], shape, numbers[3], numbers[4], numbers[5]


def _message(data: bytes) -> tuple[defaultdict[int, int], defaultdict[int, list[bytes]]]:
    """The fields of a protocol buffer: numbers, of which a 0 is not written, and nested messages."""
    numbers: defaultdict[int, int] = defaultdict(int)
    messages: defaultdict[int, list[bytes]] = defaultdict(list)
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            numbers[field], position = _varint(data, position)
        elif kind == 2:
            size, position = _varint(data, position)
            messages[field].append(data[position : position + size])
            position += size
        else:
            position += {1: 8, 5: 4}[kind]
    return numbers, messages


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a LevelDB table: its footer leads to the index of its blocks."""
    footer = content[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("no LevelDB table")
    _, _, position = _span(footer, 0)
    left = len(content)
    for _, place in _block(content, *_span(footer, position)[:2]):
        start, size, _ = _span(place, 0)
        left -= size
        if left < 0:
            raise ValueError("its blocks are longer than the file")
        yield from _block(content, start, size)


def _block(content: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. Of a key, only what differs from the key before is written."""
    if content[start + size] != 0:
        raise ValueError("it is compressed")
    block = content[start : start + size]
    end = size - 4 * (1 + struct.unpack("<I", block[-4:])[0])
    key, position = b"", 0
    while position < end:
        shared, position = _varint(block, position)
        added, length, position = _span(block, position)
        if shared + added > _LONGEST_NAME:
            raise ValueError("a name is too long")
        key = key[:shared] + block[position : position + added]
        position += added
        yield key, block[position : position + length]
        position += length


def _span(data: bytes, position: int) -> tuple[int, int, int]:
    """Two numbers, and the position behind them."""
    first, position = _varint(data, position)
    second, position = _varint(data, position)
    return first, second, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the position behind it."""
    number = shift = 0
    while shift < 64:
        byte = data[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
    raise ValueError("a number of more than 64 bits")
