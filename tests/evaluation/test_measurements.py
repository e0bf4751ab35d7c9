"""An interrupted run leaves what it has measured, and the next one resumes from there."""

import json
import time
from pathlib import Path

import pytest

from mdx_progressive.evaluation.measurements import Measurements, run_progress, was_interrupted
from mdx_progressive.evaluation.results import Row
from mdx_progressive.evaluation.timings import Timing
from mdx_progressive.runtime.errors import MdxError
from tests.support.processes import Running


def rows(song: str, chunk: int = 0, value: float = 1 / 3) -> list[Row]:
    values = {"one-pass": value, "linear": float("nan")}
    return [Row(song, chunk, name, 0, 1, 0.0, "vocals", "si_sdr", each) for name, each in values.items()]


def timings(song: str, chunk: int = 0, seconds: float = 0.25) -> list[Timing]:
    return [Timing(song, chunk, name, seconds, 1.0, "cpu") for name in ("one-pass", "linear")]


FINGERPRINTS = {song: f"files of {song}" for song in "ab"}


def filled(folder: Path, *chunks: tuple[str, int], rank: int = 0) -> Measurements:
    journal = Measurements(folder, rank, FINGERPRINTS)
    for song, chunk in chunks:
        journal.append(song, chunk, rows(song, chunk), timings(song, chunk))
    return journal


def test_rows_of_all_processes_come_back_exactly_and_in_the_order_of_songs_and_chunks(tmp_path: Path) -> None:
    other = filled(tmp_path, ("b", 1), ("a", 0), rank=1)
    journal = filled(tmp_path, ("b", 10), ("b", 2))

    chunks, outdated = journal.chunks()

    assert not outdated
    found = list(journal.rows(chunks))
    expected = [row for place in [("a", 0), ("b", 1), ("b", 2), ("b", 10)] for row in rows(*place)]
    assert repr(found) == repr(expected)  # NaN does not equal itself.
    taken = list(journal.timings(chunks))
    assert taken == [timing for place in [("a", 0), ("b", 1), ("b", 2), ("b", 10)] for timing in timings(*place)]
    other.close()
    journal.close()


def test_what_is_written_is_on_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    journal = filled(tmp_path, ("a", 0), ("a", 1))

    assert len((tmp_path / "measured.0.jsonl").read_text().split("\n\n")) == 2
    journal.close()


@pytest.mark.parametrize("torn", [1, 7, 30])
def test_a_torn_line_does_not_count_and_is_written_anew(tmp_path: Path, torn: int) -> None:
    filled(tmp_path, ("a", 0), ("a", 1)).close()
    path = tmp_path / "measured.0.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"{") + torn])

    journal = filled(tmp_path)
    assert set(journal.chunks()[0]) == {("a", 0)}
    journal.append("a", 1, rows("a", 1), timings("a", 1))

    assert list(journal.rows(journal.chunks()[0]))[::2] == [*rows("a", 0)[:1], *rows("a", 1)[:1]]
    journal.close()


def test_a_song_whose_files_have_changed_is_measured_again_and_then_counts(tmp_path: Path) -> None:
    filled(tmp_path, ("a", 0), ("b", 0)).close()
    journal = Measurements(tmp_path, fingerprints={**FINGERPRINTS, "a": "other files"})

    chunks, outdated = journal.chunks()
    assert (set(chunks), outdated) == ({("b", 0)}, {("a", 0)})
    journal.append("a", 0, rows("a", value=2.0), timings("a", seconds=0.5))

    chunks, outdated = journal.chunks()
    assert not outdated
    assert [row.value for row in journal.rows(chunks)][::2] == [2.0, 1 / 3]
    assert [timing.seconds for timing in journal.timings(chunks)] == [0.5, 0.5, 0.25, 0.25]
    journal.close()


@pytest.mark.parametrize(
    "change",
    [{"rows": [[1, 2]]}, {"rows": None}, {"timings": [["one-pass"]]}, {"song": None}, {"song": ["a"]}, {"chunk": {}},
     {"song": 5}, {"chunk": True}, {"rows": [["one-pass", "x", 1, 0.0, "vocals", "si_sdr", 1.0]]}, {"rows": {"a": 1}},
     {"rows": [["one-pass", 0, 1, 0.0, "vocals", "si_sdr", "=1"]]}, {"timings": [["one-pass", "x", 1.0, "cpu"]]}],
)  # fmt: skip
def test_entries_of_another_version_do_not_count(tmp_path: Path, change: dict[str, object]) -> None:
    filled(tmp_path, ("a", 0), ("b", 0)).close()
    path = tmp_path / "measured.0.jsonl"
    _, first, _, second, _ = path.read_text().split("\n")
    lines = [json.dumps(json.loads(first) | change), second, "[]", "3", "null"]
    path.write_text("\n".join(lines) + "\n")

    journal = filled(tmp_path)

    assert set(journal.chunks()[0]) == {("b", 0)}
    assert run_progress(tmp_path)
    journal.close()


def test_a_complete_run_leaves_nothing_behind(tmp_path: Path) -> None:
    journal = filled(tmp_path, ("a", 0))
    journal.remove()

    assert list(tmp_path.iterdir()) == []
    assert not was_interrupted(tmp_path)


def measure_and_wait(folder: Path) -> None:
    journal = filled(folder, ("a", 0))
    (folder / "ready").touch()
    time.sleep(60)
    journal.close()


def test_a_killed_run_was_interrupted_and_a_running_one_was_not(tmp_path: Path) -> None:
    process = Running(measure_and_wait, tmp_path)
    process.wait_until((tmp_path / "ready").exists)

    assert not was_interrupted(tmp_path)
    with pytest.raises(MdxError, match="another run is writing"):
        Measurements(tmp_path)

    process.kill()
    assert was_interrupted(tmp_path)
    assert set(filled(tmp_path).chunks()[0]) == {("a", 0)}
