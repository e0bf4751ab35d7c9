"""Checkpoints that are small on the disk and huge when they are read: refused before anything is allocated."""

import codecs
import shutil
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from copy import copy
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
import torch

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.weights.archives import check_archive
from mdx_progressive.separators.weights.state_dict import load_state_dict
from tests.separators.weights.test_hostile import CASES, PICKLES, pickled_state, refusal

pytestmark = pytest.mark.usefixtures("few_megabytes", "tiny_torchaudio")
LEGACY = {"_use_new_zipfile_serialization": False}


class Asks:
    """Is unpickled by a call."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.made = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.made


def rewritten(path: Path, change: Callable[[bytes], bytes] = bytes, compression: int = ZIP_STORED) -> None:
    """Write the records anew, with another pickle."""
    source = path.with_suffix(".before")
    shutil.move(path, source)
    with ZipFile(source) as before, ZipFile(path, "w", compression) as after:
        for entry in before.infolist():
            content = before.read(entry)
            after.writestr(entry.filename, change(content) if entry.filename.endswith("data.pkl") else content)


def replaced(path: Path, before: bytes, after: bytes) -> None:
    """Change the pickle of an archive, or of a file from before archives."""

    def change(content: bytes) -> bytes:
        assert before in content
        return content.replace(before, after)

    if path.read_bytes()[:2] == b"PK":
        rewritten(path, change)
    else:
        path.write_bytes(change(path.read_bytes()))


class TestArchives:
    @pytest.mark.parametrize("name", PICKLES)
    def test_a_compressed_one_is_refused(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        rewritten(path, compression=ZIP_DEFLATED)

        assert "refused, it is compressed" in refusal(CASES[name], path)

    @pytest.mark.parametrize("name", ["torchscript", "torch-export"])
    def test_a_compressed_program_is_refused(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        rewritten(path, compression=ZIP_DEFLATED)

        assert "refused, it is compressed" in refusal(CASES[name], path)

    def test_source_code_that_unfolds_to_gigabytes_is_refused(self, tmp_path: Path) -> None:
        path = CASES["torchscript"].write(tmp_path)
        with ZipFile(path, "a", ZIP_DEFLATED) as archive:
            archive.writestr(f"{path.stem}/code/more.py", bytes(2**26))

        assert "refused, it is compressed" in refusal(CASES["torchscript"], path)

    @pytest.mark.parametrize("name", PICKLES)
    def test_one_that_tells_of_more_than_it_has_is_refused(self, tmp_path: Path, name: str) -> None:
        path = CASES[name].write(tmp_path)
        with ZipFile(path, "a") as archive:
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
            for number in range(path.stat().st_size // max(1, largest.file_size) + 1):
                again = copy(largest)
                again.filename = f"{largest.filename}{number}"
                archive.filelist.append(again)
            archive.writestr("x", b"")  # The table is written only after a change.

        assert "refused, it holds more than" in refusal(CASES[name], path)

    def test_one_with_two_tables_of_contents_is_refused(self, tmp_path: Path) -> None:
        path = CASES["torchaudio"].write(tmp_path)
        content = path.read_bytes()
        with ZipFile(path) as archive:
            start = archive.start_dir
        end = content.rindex(b"PK\5\6")
        path.write_bytes(content[:end] + content[start:end] + content[end:])

        assert "refused, it has more than one table" in refusal(CASES["torchaudio"], path)

    def test_one_with_two_records_of_a_name_is_refused(self, tmp_path: Path) -> None:
        path = CASES["torchaudio"].write(tmp_path)
        with ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(archive.namelist()[0], b"another")

        assert "refused, it has more than one table" in refusal(CASES["torchaudio"], path)

    def test_large_ones_as_pytorch_writes_them_are_taken(self, tmp_path: Path) -> None:
        path = tmp_path / "large.pt"
        with ZipFile(path, "w") as archive:
            archive.writestr("x", b"x")
        whole = path.read_bytes()
        end = whole.rindex(b"PK\5\6")
        start = end - struct.unpack("<I", whole[end + 12 : end + 16])[0]
        large = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, end - start, start)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
        path.write_bytes(whole[:end] + large + locator + whole[end:])

        check_archive(path)


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
class TestPickles:
    @pytest.mark.parametrize("name", PICKLES)
    @pytest.mark.parametrize(
        "asked",
        [
            Asks(bytearray, 10**11),
            Asks(torch.FloatTensor, 10**11),
            Asks(codecs.encode, b"00", "hex"),
            Asks(Counter, [1, 2]),
            Asks(OrderedDict, [(1, 2)]),
            Asks(torch.Size, (1, 2)),
            Asks(Fraction, "1e999999999"),
            Asks(torch._utils._rebuild_meta_tensor_no_storage, torch.float32, (10**12,), (1,), False),
        ],
        ids=["bytearray", "FloatTensor", "encode", "Counter", "OrderedDict", "Size", "Fraction", "meta"],
    )
    def test_a_call_that_no_state_dict_needs_is_refused(
        self, tmp_path: Path, name: str, asked: Asks, options: dict[str, bool]
    ) -> None:
        path = CASES[name].write(tmp_path)
        content, state = pickled_state(path)
        state["weight"] = asked  # type: ignore[assignment]
        torch.save(content, path, **options)

        refusal(CASES[name], path)

    def test_a_text_that_doubles_at_each_step_is_refused(self, tmp_path: Path, options: dict[str, bool]) -> None:
        path = tmp_path / "net.ckpt"
        doubled: object = "x"
        for _ in range(40):
            doubled = Asks(codecs.encode, doubled, "hex")
        torch.save({"a": doubled}, path, **options)

        with pytest.raises(MdxError, match=r"net.ckpt: refused, .*asks for _codecs.encode"):
            load_state_dict(path, "weights")

    def test_a_storage_of_more_than_its_record_is_refused(self, tmp_path: Path, options: dict[str, bool]) -> None:
        path = saved(tmp_path, options)
        replaced(path, b"cpuq\x06K\x05", b"cpuq\x06J\x00\x00\x00\x70")

        with pytest.raises(MdxError, match=r"net.pt: refused, it tells|net.pt: refused, its tensors have more"):
            load_state_dict(path, "weights")

    @pytest.mark.parametrize("size", [b"J\x00\x00\x00\x70", b"K\x06"], ids=["7 GB", "one more"])
    def test_a_tensor_of_more_than_its_storage_is_refused(
        self, tmp_path: Path, options: dict[str, bool], size: bytes
    ) -> None:
        path = saved(tmp_path, options)
        replaced(path, b"K\x00K\x05\x85", b"K\x00" + size + b"\x85")

        with pytest.raises(MdxError, match="refused, it tells of a tensor of shape"):
            load_state_dict(path, "weights")

    def test_views_of_one_storage_are_loaded(self, tmp_path: Path, options: dict[str, bool]) -> None:
        path = tmp_path / "net.pt"
        whole = torch.arange(12.0)
        state = {
            "a": whole.view(3, 4).T, "b": whole[2:5].expand(10**6, 3), "c": torch.zeros(0, 5), "d": torch.tensor(3),
            "e": torch.nn.Parameter(whole[1::2].half()), "f": whole.bfloat16(),
        }  # fmt: skip
        torch.save(OrderedDict(state), path, **options)

        loaded = load_state_dict(path, "weights")

        assert all(torch.equal(loaded[name], value) for name, value in state.items())

    def test_the_state_of_a_module_keeps_its_versions(self, tmp_path: Path, options: dict[str, bool]) -> None:
        path = tmp_path / "net.pt"
        torch.save(torch.nn.BatchNorm1d(2).state_dict(), path, **options)

        assert load_state_dict(path, "weights")._metadata[""] == {"version": 2}  # type: ignore[attr-defined]


def saved(folder: Path, options: dict[str, bool]) -> Path:
    torch.save({"a": torch.zeros(5)}, folder / "net.pt", **options)
    return folder / "net.pt"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",
        b"\x80\x02\x8a\x0a" + bytes(9) + b"\x01.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        b"\x80\x02" + b"]" * 2**22,
        b"\x80\x02ccollections\nOrderedDict\n)R}(X\x01\x00\x00\x00aK\x01ub.",
    ],
    ids=["memo", "number", "bytes", "no end", "attributes"],
)
def test_a_pickle_that_takes_memory_or_time_is_refused(tmp_path: Path, content: bytes) -> None:
    for path in (tmp_path / "plain.pt", tmp_path / "zip.pt"):
        with ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", content)
        if path.stem == "plain":
            path.write_bytes(content)

        with pytest.raises(MdxError):
            load_state_dict(path, "weights")


def test_the_class_that_is_asked_for_is_named(tmp_path: Path) -> None:
    torch.save({"a": Asks(torch.FloatTensor, 3)}, tmp_path / "net.pt")

    with pytest.raises(MdxError, match=r"net.pt: refused, .* asks for torch.FloatTensor"):
        load_state_dict(tmp_path / "net.pt", "tensors")
