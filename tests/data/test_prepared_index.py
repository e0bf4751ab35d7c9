"""An index that others have written, or a disk has spoilt, is one line that names it and the way out."""

import json
from pathlib import Path
from typing import Any

import pytest

from mdx_progressive.data.prepared.index import PreparedIndex
from mdx_progressive.data.prepared.journal import SongJournal
from mdx_progressive.runtime.errors import MdxError
from tests.support.command import run

FILE = {"file": "a/000/uniform.flac", "encoding": "int16", "sha256": "0" * 64}
CHUNK: dict[str, Any] = {
    "song": "a", "chunk": 0, "start": 0, "start_seconds": 0.0, "length": 10, "length_seconds": 0.1,
    "sample_rate": 44100, "channels": 2, "bit_depth": 16, "silent": [], "mixture": None, "uniform": FILE,
    "stems": {"vocals": FILE},
}  # fmt: skip
INDEX: dict[str, Any] = {
    "version": 1, "settings": {}, "finished": True, "chunks": [CHUNK], "differences": {}, "failed": {}, "stamps": {},
}  # fmt: skip

BROKEN: dict[str, object] = {
    "number": 5,
    "null": None,
    "list": [],
    "empty": {},
    "settings": INDEX | {"settings": [1]},
    "chunks": INDEX | {"chunks": {"a": 1}},
    "chunk": INDEX | {"chunks": [5]},
    "song": INDEX | {"chunks": [CHUNK | {"song": 5}]},
    "rate": INDEX | {"chunks": [CHUNK | {"sample_rate": "44100"}]},
    "length": INDEX | {"chunks": [CHUNK | {"length": 10**30}]},
    "silent": INDEX | {"chunks": [CHUNK | {"silent": "vocals"}]},
    "stems": INDEX | {"chunks": [CHUNK | {"stems": [FILE]}]},
    "file": INDEX | {"chunks": [CHUNK | {"uniform": FILE | {"file": 5}}]},
    "outside": INDEX | {"chunks": [CHUNK | {"uniform": FILE | {"file": "../x.flac"}}]},
    "drive": INDEX | {"chunks": [CHUNK | {"uniform": FILE | {"file": "C:\\x.flac"}}]},
    "failed": INDEX | {"failed": ["a"]},
    "reason": INDEX | {"failed": {"a": 5}},
    "stamps": INDEX | {"stamps": 5},
    "finished": INDEX | {"finished": "yes"},
}


def test_a_good_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps(INDEX))

    assert [chunk.song for chunk in PreparedIndex.read(tmp_path).chunks] == ["a"]


@pytest.mark.parametrize("content", [*(json.dumps(each) for each in BROKEN.values()), "[" * 100_000, "\udcff", ""])
def test_a_broken_one_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(content.encode(errors="surrogateescape"))

    with pytest.raises(MdxError, match=r"index\.json: is .*prepare again"):
        PreparedIndex.read(tmp_path)


def test_prepare_tells_it_in_one_line(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("to").mkdir()
    Path("to/index.json").write_text(json.dumps(BROKEN["settings"]))

    assert run("prepare", "--data.dataset", "builtin-clip", "--to", "to") == 1

    assert "error: to/index.json: is no index" in capsys.readouterr().err


@pytest.mark.parametrize(
    "entry",
    [{"stored": 5}, {"stored": CHUNK | {"chunk": "x"}}, {"stored": CHUNK | {"chunk": -1}}, {"differences": 5}, {"x": 1},
     {"stored": CHUNK | {"uniform": 5}}, {"stored": CHUNK | {"sample_rate": None}}],
)  # fmt: skip
def test_entries_of_another_kind_do_not_count(tmp_path: Path, entry: dict[str, object]) -> None:
    journal = SongJournal(tmp_path / "chunks.jsonl", "a", "files")
    journal.begin()
    with journal.path.open("a") as file:
        file.write("[" * 100_000 + "\n5\n" + json.dumps({**entry, "stamp": "files"}) + "\n")

    assert journal.chunks() == {}
    assert journal.ended() is None
    assert not journal.outdated
