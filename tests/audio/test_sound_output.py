"""What libsndfile writes through us is what it writes itself, and the system's errors are told as they are."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mdx_progressive.audio.sound_output import SoundOutput
from mdx_progressive.runtime.files import is_disk_full
from tests.support.disks import small_disk
from tests.support.signals import RATE, noise

KINDS = [("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("FLAC", "PCM_24"), ("MP3", "MPEG_LAYER_III"),
         ("OGG", "VORBIS")]  # fmt: skip


def write(path: Path, kind: str, subtype: str, seconds: float = 3) -> None:
    samples = noise(seconds).T.numpy()
    with SoundOutput(path, RATE, 2, subtype, kind) as sound:
        for piece in np.array_split(samples, 7):
            sound.write(piece)


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_a_file_is_the_one_that_libsndfile_writes_itself(tmp_path: Path, kind: str, subtype: str) -> None:
    write(tmp_path / "ours", kind, subtype)
    with soundfile.SoundFile(tmp_path / "theirs", "w", RATE, 2, subtype, format=kind) as sound:
        for piece in np.array_split(noise(3).T.numpy(), 7):
            sound.write(piece)

    ours, theirs = (soundfile.read(tmp_path / name)[0] for name in ("ours", "theirs"))
    np.testing.assert_array_equal(ours, theirs)
    assert (tmp_path / "ours").stat().st_size == (tmp_path / "theirs").stat().st_size


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_a_full_disk_is_told_as_one(tmp_path: Path, kind: str, subtype: str) -> None:
    with small_disk(tmp_path / "disk", kilobytes=24) as disk:
        with pytest.raises(OSError, match="No space left on device") as raised:
            write(disk / "a", kind, subtype)

        assert is_disk_full(raised.value)


class Quota:
    """The operating system's `write`, which takes less than it is given, and in the end nothing."""

    def __init__(self, room: int) -> None:
        self.room = room

    def __call__(self, descriptor: int, content: memoryview) -> int:
        if not self.room:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        count = os.pwrite(descriptor, content[: min(1000, self.room)], os.lseek(descriptor, 0, os.SEEK_CUR))
        os.lseek(descriptor, count, os.SEEK_CUR)
        self.room -= count
        return count


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_a_write_that_is_short_is_continued_and_one_that_is_refused_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, subtype: str
) -> None:
    write(tmp_path / "whole", kind, subtype)
    monkeypatch.setattr("mdx_progressive.audio.sound_output.os.write", Quota(10**7))
    write(tmp_path / "slowly", kind, subtype)
    np.testing.assert_array_equal(soundfile.read(tmp_path / "slowly")[0], soundfile.read(tmp_path / "whole")[0])

    monkeypatch.setattr("mdx_progressive.audio.sound_output.os.write", Quota(20_500))
    with pytest.raises(OSError, match="quota") as raised:
        write(tmp_path / "part", kind, subtype)

    assert is_disk_full(raised.value)
