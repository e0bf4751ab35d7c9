"""Sound files that are written: libsndfile encodes, and the errors of the disk are the operating system's."""

import os
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray


class SoundOutput(soundfile.SoundFile):  # type: ignore[misc] # soundfile has no types.
    """A new sound file. What the disk refuses is raised as it was said; libsndfile alone says "System error".

    Args:
        path: The file; it may have any name.
        sample_rate: In Hz.
        channels: Number of channels.
        subtype: Libsndfile's name of the encoding.
        format: Libsndfile's name of the kind of file.
        options: Libsndfile's options for the encoding.

    Raises:
        OSError: If it can't be written, then or later.
    """

    def __init__(
        self,
        path: Path,
        sample_rate: int,
        channels: int,
        subtype: str,
        format: str,  # noqa: A002  # As libsndfile calls it.
        **options: object,
    ) -> None:
        self._disk = _Disk(path)
        try:
            super().__init__(self._disk, "w", sample_rate, channels, subtype, format=format, **options)
        except BaseException:
            self._disk.close()
            self._disk.check()
            raise

    def write(self, data: NDArray[Any]) -> None:
        """Add samples (time, channel)."""
        try:
            super().write(data)
        except (soundfile.SoundFileError, AssertionError):  # The latter where fewer samples were written.
            self._disk.check()
            raise
        self._disk.check()

    def close(self) -> None:
        """Write what is left, and the header."""
        if self.closed:
            return
        try:
            super().close()
        except soundfile.SoundFileError:
            self._disk.check()
            raise
        finally:
            self._disk.close()
        self._disk.check()


class _Disk:
    """The file as libsndfile sees it, which can't be raised to: what was refused is kept."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        self._refused: OSError | None = None

    def write(self, content: bytes) -> int:
        """Write all of it, in as many writes as it takes; nothing more after one that was refused."""
        rest = memoryview(content)
        try:
            while rest and self._refused is None:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._refused = error
        return len(content) - len(rest)

    def seek(self, offset: int, whence: int) -> int:
        return os.lseek(self._file, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._file, 0, os.SEEK_CUR)

    def check(self) -> None:
        """Raise what was refused."""
        if self._refused is not None:
            raise self._refused

    def close(self) -> None:
        try:
            os.close(self._file)
        except OSError as error:  # A share of a disk may be found to be full only then.
            self._refused = self._refused or error
