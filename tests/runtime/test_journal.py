"""What a journal holds of another kind is set aside and said; what is of use still counts."""

from pathlib import Path
from typing import Any

import pytest

from mdx_progressive.runtime.journal import Journal
from mdx_progressive.runtime.json_input import check_type, read_json

FOREIGN = {
    "number": "5",
    "null": "null",
    "empty": "{}",
    "list": "[1]",
    "text": '"x"',
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"chunk":' * 100_000 + "1" + "}" * 100_000,
    "other type": '{"chunk": "x"}',
    "not a number": '{"chunk": NaN}',
    "huge": '{"chunk": 1e999}',
}


def number(entry: dict[str, Any]) -> int:
    return check_type(entry["chunk"], int)


@pytest.mark.parametrize("line", FOREIGN.values(), ids=FOREIGN)
def test_entries_of_another_kind_are_set_aside_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    journal = Journal(tmp_path / "a.jsonl", number)
    journal.append("new", {"chunk": 1, "value": 1})
    before = journal.path.read_text() + line + "\n"
    journal.path.write_text(before + '{"chunk": 2, "va')

    for _ in range(2):
        journal.mend()
        current, outdated = journal.latest(lambda fingerprint, key: fingerprint == "new")
        assert ({key: entry.read()["value"] for key, entry in current.items()}, outdated) == ({1: 1}, set())

    assert (tmp_path / "a.jsonl.damaged").read_text().startswith(before)
    assert len(caplog.records) == 1
    assert "a.jsonl.damaged" in caplog.text
    journal.append("new", {"chunk": 3, "value": 3})
    assert set(journal.latest(lambda *_: True)[0]) == {1, 3}


def test_a_line_that_a_kill_has_cut_off_is_nothing_to_speak_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "a.jsonl", number)
    journal.append("new", {"chunk": 1})
    with journal.path.open("a") as file:
        file.write('{"chunk": 2, "va')

    journal.mend()

    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert not caplog.records


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "1e", b"\xff", "9" * 5000])
def test_a_file_that_is_no_json_is_an_error_that_names_it(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(ValueError, match=r"\w"):
        read_json(path)
