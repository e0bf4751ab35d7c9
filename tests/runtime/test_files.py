"""Files are written whole or not at all, whoever writes them; what a kill leaves is found, a full disk is named."""

import errno
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from mdx_progressive.runtime.files import atomic_write, is_disk_full, remove_parts
from tests.support.disks import small_disk
from tests.support.processes import Running


def test_several_writers_of_one_file_each_write_a_whole_one(tmp_path: Path) -> None:
    target, together = tmp_path / "a.txt", Barrier(2)

    def write(letter: str) -> None:
        with atomic_write(target) as temporary, temporary.open("w") as file:
            for _ in range(100):
                file.write(letter)
                file.flush()
                together.wait(10)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, "ab"))

    assert target.read_text() in ("a" * 100, "b" * 100)
    assert list(tmp_path.iterdir()) == [target]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for target in (tmp_path / ("x" * 251 + ".wav"), tmp_path / os.fsdecode(b"\xff" * 251 + b".wav")):
        with atomic_write(target) as temporary:
            temporary.write_text("all of it")

        assert target.read_text() == "all of it"


def write_and_wait(target: Path) -> None:
    with atomic_write(target) as temporary:
        temporary.write_text("half")
        time.sleep(60)


@pytest.mark.parametrize("where", [lambda target: target, lambda target: target.parents[1]], ids=["file", "folder"])
def test_what_a_killed_writer_leaves_is_removed_and_nothing_else(tmp_path: Path, where: Callable[[Path], Path]) -> None:
    target = tmp_path / "folder" / "x[1].wav"
    target.parent.mkdir()
    others = [target.with_name(name) for name in ("x[1].wav.part", ".hidden", "x1.wav", ".x1.wav.part.txt")]
    for other in others:
        other.touch()
    process = Running(write_and_wait, target)
    process.wait_until(lambda: len(list(target.parent.iterdir())) > len(others))
    process.send(signal.SIGKILL)
    process.kill()

    remove_parts([tmp_path / "folder" / "x1.wav"])
    assert len(list(target.parent.iterdir())) == len(others) + 1
    remove_parts([where(target)])

    assert sorted(target.parent.iterdir()) == sorted(others)


def test_a_link_in_the_place_of_a_file_is_replaced_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    other, link = tmp_path / "other.txt", tmp_path / "link.txt"
    other.write_text("mine")
    link.symlink_to(other)

    with atomic_write(link) as temporary:
        temporary.write_text("new")

    assert (other.read_text(), link.read_text(), link.is_symlink()) == ("mine", "new", False)


def test_a_full_disk_is_known_and_the_file_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kilobytes=64) as disk:
        (disk / "old.txt").write_text("old")
        with pytest.raises(OSError, match="No space left on device") as raised, atomic_write(disk / "old.txt") as part:
            part.write_bytes(bytes(2**20))

        assert is_disk_full(raised.value)
        assert raised.value.filename == str(disk / "old.txt")
        assert (disk / "old.txt").read_text() == "old"
        assert [path.name for path in disk.iterdir()] == ["old.txt"]


@pytest.mark.parametrize(
    ("code", "full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EFBIG, False), (errno.EACCES, False)]
)
def test_a_quota_is_a_full_disk_and_a_refusal_is_not(code: int, full: bool) -> None:
    error = OSError(code, os.strerror(code))

    assert is_disk_full(error) is full
    told = ValueError("an error of a library")
    told.__cause__ = error
    assert is_disk_full(told) is full


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.txt"

    with pytest.raises(FileNotFoundError) as caught, atomic_write(path) as temporary:
        temporary.write_text("x")

    assert caught.value.filename == str(path)
