"""The time of methods: what the stopwatch counts, the file, and the times of the methods."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from mdx_progressive.evaluation.timings import ONE_PASS, Timing, compute_times, read_timings, write_timings
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.timing import Stopwatch


def timings(*chunks: tuple[float, float, float], audio_seconds: float = 2.0) -> list[Timing]:
    """Of one-pass, linear and ensemble over each chunk."""
    return [
        Timing("a, b", chunk, method, taken, audio_seconds, "cpu")
        for chunk, seconds in enumerate(chunks)
        for method, taken in zip((ONE_PASS, "linear", "ensemble"), seconds, strict=True)
    ]


def test_a_stopwatch_runs_while_items_are_made_and_not_while_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def passes() -> Iterator[int]:
        nonlocal now
        for number, seconds in enumerate((2.0, 3.0)):
            now += seconds
            yield number
        now += 5.0

    monkeypatch.setattr("time.perf_counter", lambda: now)
    watch, found = Stopwatch(torch.device("cpu")), []
    for number in watch.measure_items(passes()):
        found.append(number)
        now += 100.0

    assert found == [0, 1]
    assert watch.seconds == 10.0


def test_what_fails_is_not_counted() -> None:
    watch = Stopwatch(torch.device("cpu"))

    with pytest.raises(ZeroDivisionError), watch.measure():
        _ = 1 // 0

    assert watch.seconds == 0


def test_the_file_gives_the_times_back(tmp_path: Path) -> None:
    written = [*timings((0.5, 1.5, 2.0)), Timing("NA", 0, ONE_PASS, 1 / 3, 1.0, "cpu")]
    write_timings(tmp_path / "timings.csv", written)

    assert (tmp_path / "timings.csv").read_text().splitlines()[1] == '"a, b",0,one-pass,0.5,2.0,cpu'
    found = [Timing(*row) for row in read_timings(tmp_path / "timings.csv").itertuples(index=False)]
    assert found[:-1] == written[:-1]
    assert found[-1] == written[-1]._replace(seconds=0.333333)


def test_a_method_takes_the_plain_pass_and_its_own_over_the_music() -> None:
    found = compute_times(pd.DataFrame(timings((0.5, 1.5, 0.0))))

    assert found == {ONE_PASS: (0.25, 1.0), "linear": (1.0, 4.0), "ensemble": (0.25, 1.0)}


def test_a_first_chunk_that_makes_ready_does_not_count_and_short_chunks_count_by_their_length() -> None:
    chunks = [*timings((90.0, 1.5, 2.0), (0.5, 1.5, 2.0), (0.5, 1.5, 2.0))]
    short = [each._replace(song="short") for each in timings((0.125, 0.375, 0.5), audio_seconds=0.5)]

    found = compute_times(pd.DataFrame([*chunks, *short]))

    assert found == {ONE_PASS: (0.25, 1.0), "linear": (1.0, 4.0), "ensemble": (1.25, 5.0)}


def test_without_a_file_there_are_no_times(tmp_path: Path) -> None:
    assert compute_times(read_timings(tmp_path / "timings.csv")) == {}


@pytest.mark.parametrize(
    "text", ["", "song,method\na,b\n", "song,chunk,method,seconds,audio_seconds,device\na,0,b,x,1,c\n"]
)
def test_another_file_is_named_in_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "timings.csv"
    path.write_text(text)

    with pytest.raises(MdxError, match=r"timings\.csv is no table of times") as fault:
        read_timings(path)

    assert "\n" not in str(fault.value)
