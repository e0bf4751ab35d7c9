"""The table of results: its file, its means, its lines."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import (
    COLUMNS,
    Row,
    final_means,
    mean_curves,
    read_rows,
    read_songs,
    song_means,
    to_table,
    write_rows,
)
from mdx_progressive.evaluation.summary import Comparison, summary_lines, write_summary

NAN = float("nan")
SCALES = {"si_sdr": Scale("SI-SDR"), "sdr": Scale("SDR")}


def rows() -> list[Row]:
    values = {
        ("one", 0): {"one-pass": [5.0], "linear": [5.0, 7.0, 6.0], "oracle": [5.0, 9.0, 12.0]},
        ("one", 1): {"one-pass": [7.0], "linear": [7.0, 7.0, 7.0], "oracle": [7.0, 9.0, 12.0]},
        ("two, with a comma", 0): {"one-pass": [2.0], "linear": [2.0, 4.0, 0.0], "oracle": [2.0, 5.0, 6.0]},
        ("three", 0): {"one-pass": [NAN], "linear": [NAN, NAN, NAN], "oracle": [NAN, NAN, NAN]},
    }
    return [
        Row(song, chunk, method, step, 1 + step, 0.3 * step, "vocals", "si_sdr", value)
        for (song, chunk), methods in values.items()
        for method, steps in methods.items()
        for step, value in enumerate(steps)
    ]


def comparison(of: list[Row], lower_is_better: bool = False) -> Comparison:
    songs = song_means(to_table(of), SCALES)
    return Comparison(
        songs=songs,
        gains=songs.iloc[:0],
        means=mean_curves(songs),
        scales={"si_sdr": Scale("SI-SDR", lower_is_better=lower_is_better)},
        separator="S",
        baseline="one-pass",
        oracle="oracle",
        methods=["linear"],
    )


def test_the_file_has_exactly_the_columns_and_gives_the_rows_back(tmp_path: Path) -> None:
    write_rows(tmp_path / "results.csv", rows())

    text = (tmp_path / "results.csv").read_text()
    assert text.splitlines()[0] == "song,chunk,method,step,passes,weight,source,metric,value"
    assert '"two, with a comma",0,linear,1,2,0.3,vocals,si_sdr,4.0' in text
    found = [Row(*row) for row in read_rows(tmp_path / "results.csv").itertuples(index=False)]
    assert [row[:-1] for row in found] == [row._replace(weight=round(row.weight, 9))[:-1] for row in rows()]
    assert [row.value for row in found] == pytest.approx([row.value for row in rows()], nan_ok=True)
    assert list(tmp_path.iterdir()) == [tmp_path / "results.csv"]


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_songs_are_read_one_after_the_other_however_many_rows_are_read_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("mdx_progressive.evaluation.results._ROWS_AT_ONCE", piece)
    write_rows(tmp_path / "results.csv", [row._replace(song=row.song.replace("three", "NA")) for row in rows()])

    songs = list(read_songs(tmp_path / "results.csv"))

    assert [song["song"].unique().tolist() for song in songs] == [["one"], ["two, with a comma"], ["NA"]]
    assert_frame_equal(pd.concat(songs), read_rows(tmp_path / "results.csv"))


def test_what_is_left_of_a_song_does_not_depend_on_the_others() -> None:
    every = [
        *rows(),
        *(row._replace(metric="sdr", value=math.inf if row.step == 1 else NAN) for row in rows()),
        *(row._replace(source="bass", value=row.value / 3) for row in rows()),
    ]
    results = to_table(every)

    alone = pd.concat([song_means(of_song, SCALES) for _, of_song in results.groupby("song", sort=False)])

    keys = ["metric", "method", "source", "step", "song"]
    assert_frame_equal(alone.set_index(keys).sort_index(), song_means(results, SCALES).set_index(keys).sort_index())


def test_the_mean_is_over_songs_of_the_mean_over_chunks_and_silence_is_left_out_and_counted() -> None:
    means = mean_curves(song_means(to_table(rows()), SCALES))

    first = means[(means["method"] == "linear") & (means["step"] == 1)].iloc[0]
    assert first["mean"] == pytest.approx((7.0 + 4.0) / 2)
    assert (first["min"], first["max"]) == (4.0, 7.0)
    assert (first["songs"], first["silent"]) == (2, 1)
    assert first["weight"] == pytest.approx(0.3)


def test_what_has_no_value_is_left_out_what_is_lost_counts_and_both_are_counted() -> None:
    without = [row._replace(value=NAN) if (row.song, row.chunk) == ("one", 1) else row for row in rows()]
    perfect = [row._replace(value=math.inf) if row[:4] == ("one", 0, "linear", 2) else row for row in without]
    sdr = [row._replace(metric="sdr") for row in perfect]
    broken = [row._replace(value=-math.inf) if row.song == "one" and row.step == 2 else row for row in rows()]

    means = mean_curves(song_means(to_table([*broken, *sdr]), SCALES))

    ends = means[(means["method"] == "linear") & (means["step"] == 2)]
    of_si_sdr, of_sdr = ends.to_dict(orient="records")
    counts = ("silent", "undefined", "infinite", "lost", "songs")
    assert [of_si_sdr[name] for name in counts] == [1, 0, 0, 2, 2]
    assert of_si_sdr["mean"] == pytest.approx((-60.0 + 0.0) / 2)
    assert [of_sdr[name] for name in counts] == [1, 1, 1, 0, 1]
    assert of_sdr["mean"] == pytest.approx(0.0)


@pytest.mark.parametrize(("lower_is_better", "lost"), [(False, -60.0), (True, 80.0)])
def test_what_one_step_has_no_value_for_though_another_has_is_lost(lower_is_better: bool, lost: float) -> None:
    zero = [row._replace(value=NAN) if row[:4] == ("one", 0, "linear", 2) else row for row in rows()]

    songs = song_means(to_table(zero), {"si_sdr": Scale("", lower_is_better=lower_is_better, lost=lost)})

    last = songs[(songs["song"] == "one") & (songs["method"] == "linear") & (songs["step"] == 2)].iloc[0]
    assert last["value"] == pytest.approx((lost + 7.0) / 2)
    assert (last["lost"], last["undefined"]) == (1, 0)


def test_the_final_means_are_those_of_the_last_step_and_none_where_it_has_no_value() -> None:
    perfect = ("oracle", 2)
    broken = [
        row._replace(value=math.inf) if (row.method, row.step) == perfect and row.song != "three" else row
        for row in rows()
    ]
    louder = [row._replace(source="bass", value=row.value + 1.0) for row in broken]

    final = final_means(mean_curves(song_means(to_table([*broken, *louder]), SCALES)))

    assert final == pytest.approx(
        {
            "si_sdr/one-pass/vocals": (6.0 + 2.0) / 2,
            "si_sdr/one-pass/bass": (7.0 + 3.0) / 2,
            "si_sdr/one-pass/mean": 4.5,
            "si_sdr/linear/vocals": (6.5 + 0.0) / 2,
            "si_sdr/linear/bass": (7.5 + 1.0) / 2,
            "si_sdr/linear/mean": 3.75,
        }
    )


def test_the_best_step_of_a_distance_is_the_lowest() -> None:
    (line,) = summary_lines(comparison(rows(), lower_is_better=True), "si_sdr", "linear")

    assert line.best_step == 2
    assert line.best == pytest.approx(3.25)


def test_a_line_has_both_bounds_the_best_and_the_last_step() -> None:
    (line,) = summary_lines(comparison(rows()), "si_sdr", "linear")

    assert line.one_pass == pytest.approx((6.0 + 2.0) / 2)
    assert line.best_step == 1
    assert line.best == pytest.approx(5.5)
    assert line.last_step == 2
    assert line.last == pytest.approx((6.5 + 0.0) / 2)
    assert line.oracle == pytest.approx((12.0 + 6.0) / 2)
    assert line.cells == ("3", "4.00", "5.50 (1)", "3.25 (2)", "9.00 (2)")


def test_a_source_that_is_always_silent_has_no_line() -> None:
    assert summary_lines(comparison([row for row in rows() if row.song == "three"]), "si_sdr", "linear") == []


def test_the_summary_is_json_with_null_for_what_does_not_exist(tmp_path: Path) -> None:
    some = [*rows(), *(row._replace(source="bass", value=NAN) for row in rows())]

    write_summary(tmp_path / "summary.json", mean_curves(song_means(to_table(some), SCALES)), {"separator": "S"})

    summary = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["separator"] == "S"
    assert summary["si_sdr"]["linear"]["vocals"]["mean"] == pytest.approx([4.0, 5.5, 3.25])
    assert summary["si_sdr"]["linear"]["bass"]["mean"] == [None, None, None]
    assert summary["si_sdr"]["linear"]["bass"]["silent"] == [4, 4, 4]


def test_one_pass_is_the_bounds_also_for_a_method_whose_step_0_is_more_than_that() -> None:
    better = [row._replace(value=row.value + 1, passes=5) if row.method == "linear" else row for row in rows()]

    (line,) = summary_lines(comparison(better), "si_sdr", "linear")

    assert line.one_pass == pytest.approx(4.0)
    assert line.passes == 5


def test_the_columns_are_those_of_a_row() -> None:
    assert COLUMNS == ("song", "chunk", "method", "step", "passes", "weight", "source", "metric", "value")
