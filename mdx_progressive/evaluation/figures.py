"""Charts: means between their bounds, the songs behind the means, blend weights, spectrograms.

The look of lines comes from matplotlib's settings, so that the report draws the same curves in a style of its own.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mdx_progressive.evaluation.results import select_curve
from mdx_progressive.evaluation.spectrograms import RANGE_DB, band_levels, log_bands
from mdx_progressive.evaluation.statistics import last_steps
from mdx_progressive.evaluation.summary import Comparison
from mdx_progressive.runtime import escape_unprintable

_BOUND_COLOUR = "0.35"
_PANEL_HEIGHT = 3.4
"""Inches."""
_PLAIN: dict[Any, Any] = {"text.parse_math": False}
"""Dollars in a name are its own."""
_SMALL_MARKERS: dict[Any, Any] = {"lines.markersize": 3, **_PLAIN}


def draw_curve(axis: Axes, curve: "pd.Series[float]", number: int, **look: Any) -> Line2D:
    """Draw a line with a mark at each point, in the colour and line style of the method of that number."""
    colours = len(mpl.rcParams["axes.prop_cycle"])
    method_look = {"color": f"C{number % colours}", "linestyle": ("-", "--", ":")[number // colours % 3], "marker": "o"}
    (line,) = axis.plot(curve.index, curve, **{**method_look, **look})
    return line


def draw_bounds(axis: Axes, comparison: Comparison, metric: str, source: str) -> dict[str, Line2D]:
    """Draw the means of the methods over their steps, and those of one-pass and of the oracle as their bounds.

    Returns:
        The lines by the names of the methods; the single value of one-pass is a line across all steps.
    """
    means = {
        method: select_curve(comparison.means, metric, method, source)["mean"].dropna()
        for method in filter(None, [comparison.baseline, comparison.oracle, *comparison.methods])
    }
    baseline, oracle = comparison.baseline, comparison.oracle
    sides = ("upper", "lower") if comparison.scales[metric].lower_is_better else ("lower", "upper")
    label = f"{baseline} ({sides[0]} bound)"
    lines = {baseline: axis.axhline(means[baseline].iloc[0], color=_BOUND_COLOUR, linestyle=":", label=label)}
    if oracle is not None:
        look = {"color": _BOUND_COLOUR, "linestyle": "--", "label": f"{oracle} ({sides[1]} bound)"}
        lines[oracle] = draw_curve(axis, means[oracle], 0, **look)
    for number, method in enumerate(comparison.methods):
        lines[method] = draw_curve(axis, means[method], number, label=escape_unprintable(method))
    label_steps(axis)
    return lines


def label_steps(axis: Axes, label: str = "step") -> None:
    """Label an axis of whole numbers."""
    axis.set_xlabel(label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


@mpl.rc_context(_SMALL_MARKERS)
def curves_figure(comparison: Comparison, metric: str) -> Figure:
    """A panel for each source: the mean over songs as a line, from the lowest to the highest song as a band."""
    sources = _sources_with_values(comparison, metric)
    figure, axes = _panels(len(sources))
    bands = int(comparison.means["songs"].max()) > 1
    for axis, source in zip(axes, sources, strict=False):
        lines = draw_bounds(axis, comparison, metric, source)
        for method in comparison.methods if bands else []:
            _draw_band(axis, select_curve(comparison.means, metric, method, source), lines[method])
        axis.set_title(escape_unprintable(source))
    axes[0].set_ylabel(_wrapped(comparison.scales[metric].axis, _PANEL_HEIGHT - 0.8))
    note = "; band from the lowest to the highest song" if bands else ""
    _add_title(figure, comparison.caption + note)
    _add_legend(figure, axes)
    return figure


@mpl.rc_context(_PLAIN)
def songs_figure(comparison: Comparison, metric: str) -> Figure:
    """The songs behind the means, at each method's last step: a column for each source, the gain over one pass above
    the value. A box spans the middle half of the songs, with a line at the median; each song is a dot. Bounds have a
    box of the value alone: their gains would dwarf all others.
    """
    methods, baseline = comparison.methods, comparison.baseline
    gains = last_steps(comparison.gains[comparison.gains["metric"] == metric])
    songs = last_steps(comparison.songs[comparison.songs["metric"] == metric]).dropna(subset="value")
    sources = _sources_with_values(comparison, metric)
    with_bounds = [baseline, *methods, *([comparison.oracle] if comparison.oracle else [])]
    columns, heights = max(1, len(sources)), [1 + len(methods), 1 + len(with_bounds)]
    figure = Figure(figsize=(2 + columns * 3.2, 1.4 + 0.34 * sum(heights)), layout="constrained")
    axes = figure.subplots(2, columns, squeeze=False, sharey="row", height_ratios=heights)
    for source, (upper, lower) in zip(sources, axes.T, strict=False):
        _draw_boxes(upper, gains[gains["source"] == source], "gain", methods)
        upper.axvline(0, color=_BOUND_COLOUR, linestyle=":")
        upper.set(title=escape_unprintable(source), xlabel=f"gain over {baseline}")
        _draw_boxes(lower, songs[songs["source"] == source], "value", with_bounds)
        lower.set_xlabel("value")
    _add_title(figure, f"{comparison.scales[metric].axis} of the last step; a dot is a song")
    return figure


@mpl.rc_context(_SMALL_MARKERS)
def weights_figure(comparison: Comparison) -> Figure:
    """The blend weights of the methods: mean over the songs, from the lowest to the highest as a band.

    Sources with the same weights share a panel; a method without one weight a step (a search, which may choose another
    one for each block and channel) is left out.
    """
    metric = next(iter(comparison.scales))
    methods = [*comparison.methods, *([comparison.oracle] if comparison.oracle else [])]
    rows = comparison.songs[comparison.songs["metric"] == metric].dropna(subset="weight")
    rows = rows[rows["method"].isin(methods)]
    weights = rows.groupby(["source", "method", "step"], sort=False)["weight"].agg(["mean", "min", "max"])
    panels: dict[tuple[float, ...], list[str]] = {}
    for source in rows["source"].unique():
        panels.setdefault(tuple(weights.loc[source].to_numpy().ravel()), []).append(source)
    figure, axes = _panels(len(panels))
    for axis, sources in zip(axes, panels.values(), strict=False):
        curves = weights.loc[sources[0]]
        for number, method in enumerate(methods):
            if method in curves.index:
                curve = pd.DataFrame(curves.loc[method]).sort_index()
                look = {"color": _BOUND_COLOUR, "linestyle": "--"} if method == comparison.oracle else {}
                _draw_band(
                    axis, curve, draw_curve(axis, curve["mean"], number, label=escape_unprintable(method), **look)
                )
        axis.set(title=escape_unprintable(", ".join(sources)), ylim=(-0.03, 1.03))
        label_steps(axis)
    axes[0].set_ylabel("blend weight b")
    _add_legend(figure, axes)
    return figure


@mpl.rc_context(_PLAIN)
def spectrogram_figure(
    reference: Tensor, one_pass: Tensor, best: Tensor, sample_rate: int, title: str, best_name: str
) -> Figure:
    """Reference, one pass and best step on one scale, and the change in level from one pass to the best step.

    Shape:
        - reference, one_pass, best: (channel, time)
    """
    edges = log_bands(sample_rate)
    panels = {"reference": reference, "one-pass": one_pass, best_name: best}
    levels = {name: band_levels(waveform, sample_rate, edges) for name, waveform in panels.items()}
    top = max(float(panel.max()) for panel in levels.values())
    levels = {name: np.maximum(panel, top - RANGE_DB) for name, panel in levels.items()}
    # The bands are equally wide on the logarithmic axis, so they can be drawn as an image.
    low, high = np.log10(edges[[0, -1]])
    place: dict[str, Any] = {
        "extent": (0, reference.shape[-1] / sample_rate, low, high), "origin": "lower", "aspect": "auto",
    }  # fmt: skip
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for axis, (name, panel) in zip(axes.flat, levels.items(), strict=False):
        image = axis.imshow(panel, vmin=top - RANGE_DB, vmax=top, cmap="magma", **place)
        axis.set_title(name, fontsize="medium")
    figure.colorbar(image, ax=axes[0, :], label="level (dB), on all three", pad=0.01)
    image = axes[1, 1].imshow(levels[best_name] - levels["one-pass"], vmin=-30, vmax=30, cmap="RdBu_r", **place)
    axes[1, 1].set_title("from one-pass to best step", fontsize="medium")
    figure.colorbar(image, ax=axes[1, :], label="change (dB)", pad=0.01)
    axes[0, 0].set_yticks([2, 3, 4], ["100", "1k", "10k"])
    figure.supxlabel("seconds", fontsize="medium")
    figure.supylabel("Hz", fontsize="medium")
    _add_title(figure, title)
    return figure


def _sources_with_values(comparison: Comparison, metric: str) -> list[str]:
    means = comparison.means
    rows = means[(means["metric"] == metric) & (means["method"] == comparison.baseline) & (means["songs"] > 0)]
    return [str(source) for source in rows["source"].unique()]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels, two in a row; with an empty one if there is nothing to show."""
    columns = 1 if count < 2 else 2
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(columns * 4.4, 0.6 + rows * _PANEL_HEIGHT), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[:count]:
        axis.grid(alpha=0.25)
    for axis in axes[max(1, count) :]:
        axis.set_visible(False)
    return figure, axes


def _letter_width(size: Any) -> float:
    """The width of a letter of a size in inches, about."""
    return 0.6 * FontProperties(size=size).get_size_in_points() / 72


def _wrapped(text: str, inches: float) -> str:
    """A text of medium size in lines of that length, about."""
    return textwrap.fill(text, max(1, int(inches / _letter_width("medium"))))


def _add_title(figure: Figure, text: str) -> None:
    """Add a title in as many lines as it needs."""
    figure.suptitle(_wrapped(escape_unprintable(text), figure.get_figwidth()), fontsize="medium")


def _add_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Add a legend below the panels, and make room for its lines."""
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        letter = _letter_width(mpl.rcParams["legend.fontsize"])
        entry = (max(map(len, labels)) + 6) * letter  # The line before a name takes as much as six letters.
        columns = min(len(labels), max(1, int(figure.get_figwidth() / entry)))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
        figure.set_figheight(figure.get_figheight() + 2.5 * letter * (-(-len(labels) // columns) - 1))


def _draw_band(axis: Axes, curve: pd.DataFrame, line: Line2D) -> None:
    axis.fill_between(curve.index, curve["min"], curve["max"], alpha=0.12, color=line.get_color(), lw=0)


def _draw_boxes(axis: Axes, songs: pd.DataFrame, column: str, methods: Sequence[str]) -> None:
    """A row for each method, the first one on top."""
    axis.use_sticky_edges = False  # A box would have the frame as its side, and half the dots outside.
    for place, method in enumerate(methods):
        values = songs[songs["method"] == method][column].to_numpy()
        if len(values):
            low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
            axis.barh(place, high - low, left=low, height=0.5, facecolor="none", edgecolor="k")
            axis.vlines(median, place - 0.25, place + 0.25, color="C1")
        axis.plot(values, [place] * len(values), "o", color="C0", alpha=0.6, markersize=4)
    axis.set_yticks(range(len(methods)), [escape_unprintable(method) for method in methods])
    axis.set_ylim(len(methods) - 0.4, -0.6)
    axis.grid(alpha=0.25, axis="x")
