"""The settings of a run, which may be somebody else's."""

from pathlib import Path

import pytest

from mdx_progressive.evaluation.run import read_settings


@pytest.mark.parametrize(
    "text", ["a: " + "1" * 5000, "a: 2001-99-99", "a: !!bool maybe", "a: !!python/object/apply:os.mkdir [it_ran]",
             "[" * 1000, "a: [" + "1, " * 30_000 + "1]", "\udcff", "class_path: evilmod.A"]
)  # fmt: skip
def test_settings_that_are_none_or_name_code_are_only_text(text: str, own_folder: Path) -> None:
    (own_folder / "evilmod.py").write_text("open('it_ran', 'w')")
    (own_folder / "config.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")

    assert read_settings(own_folder) in ({}, {"class_path": "evilmod.A"})
    assert not (own_folder / "it_ran").exists()
