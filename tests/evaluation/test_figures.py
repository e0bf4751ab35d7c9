"""The charts hold the numbers of the results."""

import math
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from mdx_progressive.evaluation.figures import curves_figure, songs_figure, weights_figure
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import Row, mean_curves, song_means, to_table
from mdx_progressive.evaluation.statistics import last_steps, paired_gains
from mdx_progressive.evaluation.summary import Comparison

VALUES = {"one": 5.0, "two": 3.0, "three": 10.0}
GAINS = {"one": 1.0, "two": -1.0, "three": 3.0}


def comparison(
    sources: tuple[str, ...] = ("vocals",),
    silent: str = "",
    lower_is_better: bool = False,
    further: tuple[str, ...] = (),
) -> Comparison:
    """Two methods, `further` ones that are like the first, and the bounds."""
    rows = []
    for song, baseline in VALUES.items():
        for source in sources:
            value = math.nan if source == silent else baseline
            rows.append(Row(song, 0, "one-pass", 0, 1, 0.0, source, "si_sdr", value))
            for step, weight in enumerate((0.0, 0.2, 0.6)):
                gain = GAINS[song] * step / 2
                for method in ("linear", *further):
                    rows.append(Row(song, 0, method, step, 1 + step, weight, source, "si_sdr", value + gain))
                rows.append(Row(song, 0, "search", step, 1 + step, math.nan, source, "si_sdr", value + gain / 2))
                rows.append(Row(song, 0, "oracle", step, 1 + step, weight, source, "si_sdr", value + 4 * step))
    results = to_table(rows)
    scales = {"si_sdr": Scale("SI-SDR", lower_is_better=lower_is_better, lost=80.0 if lower_is_better else -60.0)}
    songs = song_means(results, scales)
    gains = paired_gains(last_steps(results), "si_sdr", "one-pass", scales["si_sdr"]).assign(metric="si_sdr")
    means = mean_curves(songs)
    methods = ["linear", "search", *further]
    return Comparison(songs, gains, means, scales, "three songs", "one-pass", "oracle", methods)


def boxes(axis: Axes) -> dict[str, list[float]]:
    """The dots of each method."""
    names = [label.get_text() for label in axis.get_yticklabels()]
    dots = [line for line in axis.get_lines() if line.get_marker() == "o"]
    return {name: np.asarray(line.get_xdata()).tolist() for name, line in zip(names, dots, strict=True)}


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_each_song_has_a_dot_at_its_gain_and_at_its_value(lower_is_better: bool) -> None:
    above, below = songs_figure(comparison(lower_is_better=lower_is_better), "si_sdr").axes

    sign = -1 if lower_is_better else 1
    assert boxes(above) == {
        "linear": pytest.approx([sign * gain for gain in GAINS.values()]),
        "search": pytest.approx([sign * gain / 2 for gain in GAINS.values()]),
    }
    values = boxes(below)
    assert list(values) == ["one-pass", "linear", "search", "oracle"]
    assert values["one-pass"] == list(VALUES.values())
    assert values["linear"] == pytest.approx([VALUES[song] + GAINS[song] for song in VALUES])


def test_sources_with_the_same_weights_share_a_panel_and_a_search_has_none() -> None:
    (axis,) = weights_figure(comparison(("vocals", "bass"))).axes

    assert axis.get_title() == "vocals, bass"
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in axis.get_lines()}
    assert drawn == {name: pytest.approx([0.0, 0.2, 0.6]) for name in ("linear", "oracle")}


@pytest.mark.parametrize("size", [10, 13])
@pytest.mark.parametrize("sources", [("vocals",), ("vocals", "accompaniment")])
def test_no_letter_is_cut_off_or_covered_at_any_size_of_letters(sources: tuple[str, ...], size: int) -> None:
    many = comparison(sources, further=tuple(f"a method of a long name, {number}" for number in range(10)))
    many = many._replace(scales={"si_sdr": Scale("Log-spectral distance", lower_is_better=True)})
    with mpl.rc_context({"font.size": size}):
        for draw in (partial(curves_figure, metric="si_sdr"), partial(songs_figure, metric="si_sdr"), weights_figure):
            figure = draw(many)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            drawn = figure.get_tightbbox(canvas.get_renderer())
            assert min(drawn.x0, drawn.y0) >= 0
            assert drawn.x1 <= figure.get_figwidth()
            assert drawn.y1 <= figure.get_figheight()
            assert min(axis.get_window_extent().height / figure.dpi for axis in figure.axes) > 1  # inches


def test_a_distance_has_its_bounds_the_other_way_round() -> None:
    labels: dict[bool, set[Any]] = {}
    for lower_is_better in (False, True):
        (axis,) = curves_figure(comparison(lower_is_better=lower_is_better), "si_sdr").axes
        labels[lower_is_better] = {line.get_label() for line in axis.get_lines()}

    assert {"one-pass (lower bound)", "oracle (upper bound)"} <= labels[False]
    assert {"one-pass (upper bound)", "oracle (lower bound)"} <= labels[True]


def test_a_silent_source_has_no_panel_and_a_silent_run_an_empty_one() -> None:
    two = comparison(("vocals", "bass"), silent="bass")
    nothing = comparison(("bass",), silent="bass")

    assert [axis.get_title() for axis in curves_figure(two, "si_sdr").axes] == ["vocals"]
    assert len(songs_figure(two, "si_sdr").axes) == 2
    for figure in (curves_figure(nothing, "si_sdr"), songs_figure(nothing, "si_sdr"), weights_figure(nothing)):
        figure.canvas.draw()
