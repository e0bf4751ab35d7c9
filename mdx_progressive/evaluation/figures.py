"""Charts of what was found: the means between their bounds, the songs behind them, and the weights."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mdx_progressive.evaluation.results import Comparison, select_curve
from mdx_progressive.evaluation.statistics import last_steps


def curves_figure(comparison: Comparison, metric: str) -> Figure:
    """A panel for each source: the mean over songs as a line, from the lowest to the highest song as a band.

    Args:
        comparison: What was found. The one value of one-pass is drawn across all steps.
        metric: Name of the metric.
    """
    means, scale = comparison.means, comparison.scales[metric]
    baseline, oracle = comparison.baseline, comparison.oracle
    sources = _measured(comparison, metric)
    figure, axes = _panels(len(sources))
    bands = int(means["songs"].max()) > 1
    for axis, source in zip(axes, sources, strict=False):
        for number, method in enumerate(comparison.between):
            curve = select_curve(means, metric, method, source)
            (line,) = axis.plot(curve.index, curve["mean"], marker="o", markersize=3, label=method, color=f"C{number}")
            if bands:
                axis.fill_between(curve.index, curve["min"], curve["max"], alpha=0.12, color=line.get_color(), lw=0)
        sides = ("upper", "lower") if scale.lower_is_better else ("lower", "upper")
        if oracle is not None:
            bound = select_curve(means, metric, oracle, source)
            axis.plot(bound.index, bound["mean"], "--", color="0.35", label=f"{oracle} ({sides[1]} bound)")
        one_pass = float(select_curve(means, metric, baseline, source)["mean"].iloc[0])
        axis.axhline(one_pass, color="0.35", linestyle=":", label=f"{baseline} ({sides[0]} bound)")
        axis.set_title(source)
    axes[0].set_ylabel(scale.axis)
    band = "; band from the lowest to the highest song" if bands else ""
    figure.suptitle(comparison.caption + band, fontsize="medium")
    _legend(figure, axes)
    return figure


def songs_figure(comparison: Comparison, metric: str) -> Figure:
    """The songs behind the means, at each method's last step: a column for each source, above the gain over one pass,
    below the value itself. A box spans the middle half of the songs, with a line at the median; each song is a dot.

    Args:
        comparison: What was found. Bounds have a box of the value alone: their gains would dwarf all others.
        metric: Name of the metric.
    """
    scale, between, baseline = comparison.scales[metric], comparison.between, comparison.baseline
    gains = comparison.gains[comparison.gains["metric"] == metric]
    songs = last_steps(comparison.songs[comparison.songs["metric"] == metric]).dropna(subset="value")
    sources = _measured(comparison, metric)
    figure = Figure(figsize=(max(1, len(sources)) * 4.4, 6.4), layout="constrained")
    axes = figure.subplots(2, max(1, len(sources)), squeeze=False)
    shown = [baseline, *between, *([comparison.oracle] if comparison.oracle else [])]
    for column, source in enumerate(sources):
        above, below = axes[:, column]
        _boxes(above, gains[gains["source"] == source], "gain", between)
        above.axhline(0, color="0.35", linestyle=":")
        above.set_title(source)
        _boxes(below, songs[songs["source"] == source], "value", shown)
    axes[0, 0].set_ylabel(f"gain over {baseline}")
    axes[1, 0].set_ylabel("value")
    figure.suptitle(f"{scale.axis} of the last step; a dot is a song", fontsize="medium")
    return figure


def weights_figure(comparison: Comparison) -> Figure:
    """The blend weights that the methods have used: mean over the songs, from the lowest to the highest as a band.

    Args:
        comparison: What was found. Sources with the same weights share a panel; a method that has no one weight a step
            (a search, which may choose another for each stretch and channel) is left out.
    """
    metric = next(iter(comparison.scales))
    bounds = [comparison.oracle] if comparison.oracle else []
    rows = comparison.songs[comparison.songs["metric"] == metric].dropna(subset="weight")
    rows = rows[rows["method"].isin([*comparison.between, *bounds])]
    used = rows.groupby(["source", "method", "step"], sort=False)["weight"].agg(["mean", "min", "max"])
    panels: dict[tuple[float, ...], list[str]] = {}
    for source in rows["source"].unique():
        panels.setdefault(tuple(used.loc[source].to_numpy().ravel()), []).append(source)
    figure, axes = _panels(len(panels))
    for axis, sources in zip(axes, panels.values(), strict=False):
        of_source = used.loc[sources[0]]
        for number, method in enumerate(comparison.between + bounds):
            if method not in of_source.index:
                continue
            curve = of_source.loc[method].sort_index()
            color, line = ("0.35", "--") if method in bounds else (f"C{number}", "-")
            axis.plot(curve.index, curve["mean"], line, marker="o", markersize=3, label=method, color=color)
            axis.fill_between(curve.index, curve["min"], curve["max"], alpha=0.12, color=color, lw=0)
        axis.set(title=", ".join(sources), ylim=(-0.03, 1.03))
    axes[0].set_ylabel("blend weight b of the estimate")
    _legend(figure, axes)
    return figure


def _measured(comparison: Comparison, metric: str) -> list[str]:
    """The sources for which there is a value."""
    means, baseline = comparison.means, comparison.baseline
    return [
        source
        for source in means["source"].unique()
        if select_curve(means, metric, baseline, source)["songs"].gt(0).any()
    ]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """Panels over the steps, two in a row; one that stays empty where there is nothing to show."""
    columns = 1 if count < 2 else 2
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(columns * 4.4, 0.6 + rows * 3.4), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[:count]:
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
    for axis in axes[max(1, count) :]:
        axis.set_visible(False)
    return figure, axes


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    handles, labels = axes[0].get_legend_handles_labels()
    if handles:
        columns = min(len(labels), round(figure.get_figwidth() / 1.8))
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def _boxes(axis: Axes, songs: pd.DataFrame, column: str, methods: Sequence[str]) -> None:
    values = [songs[songs["method"] == method][column].tolist() for method in methods]
    places = range(len(methods))
    if values:  # With one pass alone nothing is gained.
        axis.boxplot(values, positions=places, widths=0.5, showfliers=False, medianprops={"color": "C1"})
    for place, of_method in zip(places, values, strict=True):
        axis.plot([place] * len(of_method), of_method, "o", color="C0", alpha=0.6, markersize=3.5)
    axis.set_xticks(places, methods, rotation=30, ha="right", fontsize="small")
    axis.grid(alpha=0.25, axis="y")
