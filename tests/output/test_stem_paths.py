"""Where stems are written, on disks that do not tell upper and lower case apart, too."""

import os
from pathlib import Path

import pytest

from mdx_progressive.output.stem_paths import StemPaths
from mdx_progressive.runtime.errors import MdxError


def paths(out: Path, pattern: str = "{song}/{source}") -> StemPaths:
    return StemPaths(out, pattern, "wav", ["vocals"], "S", "m", overwrite=False)


def test_this_disk_tells_upper_and_lower_case_apart_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    (tmp_path / "probe").touch()
    if (tmp_path / "PROBE").exists():
        pytest.skip("it does not")
    (tmp_path / "probe").unlink()

    paths(tmp_path).check_distinct_on_disk(["a", "A", "a.", "é", "e\u0301", "b"])

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pattern", ["{song}/{source}", "{source}/{song}/x"])
@pytest.mark.parametrize("other", ["A", "a.", "A .. "])
def test_two_songs_that_a_disk_takes_for_one_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, other: str
) -> None:
    def as_written(path: Path) -> list[str]:
        return [part.casefold().rstrip(". ") for part in path.parts]

    def exists(path: Path) -> bool:
        """As on Windows, and as on macOS for upper and lower case alone."""
        return any(as_written(each) == as_written(path) for each in tmp_path.rglob("*"))

    monkeypatch.setattr(os.path, "exists", exists)

    paths(tmp_path, pattern).check_distinct_on_disk(["a", "b"])
    with pytest.raises(MdxError, match=r"takes .*[Aa].* for one file: rename one"):
        paths(tmp_path, pattern).check_distinct_on_disk(["b", "a", other])
