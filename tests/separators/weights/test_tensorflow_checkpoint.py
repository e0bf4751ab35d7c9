"""TensorFlow checkpoints: genuine ones, several beside each other, and damaged ones."""

import shutil
import struct
from pathlib import Path

import pytest
import torch

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.spleeter import SpleeterSeparator
from mdx_progressive.separators.weights.tensorflow_checkpoint import TensorFlowCheckpoint, _table, find_checkpoint
from tests.support.spleeter_reference import DATA


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint that TensorFlow has written."""
    shutil.copytree(DATA / "2stems", tmp_path / "2stems")
    return tmp_path / "2stems"


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def field(number: int, value: int) -> bytes:
    """A number in a protocol buffer."""
    return varint(number << 3) + varint(value)


def nested(number: int, content: bytes) -> bytes:
    """A message in a protocol buffer."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def table(entries: dict[bytes, bytes], times: int = 1) -> bytes:
    """A LevelDB table of one block, to which its index leads as many times."""

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        written = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs)
        return written + bytes(4) + struct.pack("<I", 1)

    values = block(sorted(entries.items()))
    index = block([(b"~", varint(0) + varint(len(values)))] * times)
    footer = varint(0) * 2 + varint(len(values) + 5) + varint(len(index))
    return values + bytes(5) + index + bytes(5) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


class TestReading:
    def test_names_shapes_and_types(self, folder: Path) -> None:
        checkpoint = TensorFlowCheckpoint(folder / "model")

        names = checkpoint.names()
        assert len(names) == 149
        assert names == sorted(names)
        assert {name.split("/")[0] for name in names} >= {"conv2d_13", "conv2d_transpose_11", "batch_normalization_23"}
        assert checkpoint.read("conv2d_1/kernel").shape == (5, 5, 1, 2)
        assert checkpoint.read("conv2d_1/kernel").dtype == torch.float32
        assert checkpoint.read("global_step").dtype == torch.int64
        assert checkpoint.read("global_step").item() == 0

    def test_the_variables_fill_the_data(self, folder: Path) -> None:
        checkpoint = TensorFlowCheckpoint(folder / "model")

        data = b"".join(checkpoint.read(name).numpy().tobytes() for name in checkpoint.names())

        assert data == checkpoint.data().read_bytes()

    def test_an_unknown_variable_is_named(self, folder: Path) -> None:
        with pytest.raises(MdxError, match="'dense/kernel'"):
            TensorFlowCheckpoint(folder / "model").read("dense/kernel")


class TestChoice:
    @pytest.mark.parametrize("named", ["model-20", "/home/someone/2stems/model-20", r"C:\models\2stems\model-20"])
    def test_the_note_names_the_checkpoint_wherever_it_was_written(self, folder: Path, named: str) -> None:
        for step in (10, 20, 30):
            shutil.copy(folder / "model.index", folder / f"model-{step}.index")
        (folder / "checkpoint").write_text(
            f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "model-10"\n'
        )

        assert find_checkpoint(folder) == folder / "model-20"

    def test_an_only_one_needs_no_note(self, folder: Path) -> None:
        (folder / "checkpoint").unlink()
        (folder / "._model.index").write_bytes(b"what a Mac puts into archives")

        assert find_checkpoint(folder) == folder / "model"

    def test_several_without_a_note_and_none_are_refused(self, folder: Path, tmp_path: Path) -> None:
        shutil.copy(folder / "model.index", folder / "model-20.index")
        (folder / "checkpoint").unlink()

        with pytest.raises(MdxError, match="holds 2 TensorFlow checkpoints"):
            find_checkpoint(folder)
        with pytest.raises(MdxError, match="holds 0 TensorFlow checkpoints"):
            find_checkpoint(tmp_path)


class TestDamage:
    def test_a_missing_index(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"model.index: no such file"):
            TensorFlowCheckpoint(tmp_path / "model")

    @pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n" * 4])
    def test_something_else_under_the_name_of_an_index(self, folder: Path, content: bytes) -> None:
        (folder / "model.index").write_bytes(content)

        with pytest.raises(MdxError, match=r"model.index: no index of a TensorFlow checkpoint"):
            TensorFlowCheckpoint(folder / "model")

    def test_an_index_that_lacks_its_beginning(self, folder: Path) -> None:
        index = folder / "model.index"
        index.write_bytes(index.read_bytes()[100:])

        with pytest.raises(MdxError, match=r"model.index: no index of a TensorFlow checkpoint"):
            TensorFlowCheckpoint(folder / "model")

    def test_any_wrong_byte_of_the_index_is_refused_or_does_no_harm(self, folder: Path) -> None:
        index = folder / "model.index"
        content = index.read_bytes()
        refused = 0

        for position in range(0, len(content), 17):
            index.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
            try:
                checkpoint = TensorFlowCheckpoint(folder / "model")
                for name in checkpoint.names():
                    checkpoint.read(name)
            except MdxError:
                refused += 1

        assert refused > 0

    @pytest.mark.parametrize("name", ["conv2d/bias", "conv2d/kernel", "batch_normalization/gamma"])
    def test_a_variable_that_is_a_single_number_where_there_are_more(self, folder: Path, name: str) -> None:
        index = folder / "model.index"
        parts = dict(_table(index.read_bytes()))
        # The same type, shard and offset, but no shape, and the four bytes of a number.
        offset = TensorFlowCheckpoint(folder / "model")._variables[name][3]
        index.write_bytes(table({**parts, name.encode(): field(1, 1) + field(4, offset) + field(5, 4)}))

        with pytest.raises(MdxError, match=r"2stems.*not the weights of|model.index: no weights"):
            SpleeterSeparator(weights=folder)

    def test_an_index_that_tells_of_billions(self, folder: Path) -> None:
        index = folder / "model.index"
        parts = dict(_table(index.read_bytes()))

        index.write_bytes(table({**parts, b"": field(1, 2**60)}))
        with pytest.raises(MdxError, match=f"refused, it tells of {2**60} files"):
            TensorFlowCheckpoint(folder / "model")

        index.write_bytes(table({**parts, b"a": field(1, 1) + nested(2, nested(2, field(1, 2**60)) * 1000)}))
        with pytest.raises(MdxError, match="a variable of 1000 dimensions"):
            TensorFlowCheckpoint(folder / "model")

        index.write_bytes(table({**parts, b"a" * 2000: b""}))
        with pytest.raises(MdxError, match="a name is too long"):
            TensorFlowCheckpoint(folder / "model")

        index.write_bytes(table(parts, times=2))
        with pytest.raises(MdxError, match="its blocks are longer than the file"):
            TensorFlowCheckpoint(folder / "model")

    def test_missing_data(self, folder: Path) -> None:
        (folder / "model.data-00000-of-00001").unlink()

        with pytest.raises(MdxError, match=r"data-00000-of-00001: no such file"):
            TensorFlowCheckpoint(folder / "model").read("conv2d/kernel")

    def test_data_cut_short(self, folder: Path) -> None:
        data = folder / "model.data-00000-of-00001"
        data.write_bytes(data.read_bytes()[:-10])
        checkpoint = TensorFlowCheckpoint(folder / "model")

        assert checkpoint.read("conv2d/kernel").isfinite().all()
        with pytest.raises(MdxError, match=r"cut short.*'global_step'"):
            checkpoint.read("global_step")
