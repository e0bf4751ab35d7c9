"""Files that can't be written are told by their own names."""

from pathlib import Path

import pytest

from mdx_progressive.runtime import atomic_write


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "a.txt"

    with pytest.raises(FileNotFoundError) as caught, atomic_write(path) as temporary:
        temporary.write_text("x")

    assert caught.value.filename == str(path)
