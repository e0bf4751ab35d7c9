"""The charts of a report: SVG drawn by matplotlib, without scripts, in the colours of the page."""

import io
import math
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from cycler import cycler
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mdx_progressive.evaluation.figures import draw_bounds, draw_curve, label_steps
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.report.data import ReportData, decimal, interval
from mdx_progressive.evaluation.statistics import Gain
from mdx_progressive.runtime import escape_unprintable

COLOURS = 8
"""Number of colours that the page has for methods; further methods repeat them with other line styles."""
_SVG = "http://www.w3.org/2000/svg"
# matplotlib needs colours: these stand for the variables of the page, which are different in light and dark mode.
_INK, _MUTED, _LINE = "#010101", "#020202", "#030303"
_METHODS = [f"#0400{number:02x}" for number in range(COLOURS)]
_VARIABLES = {
    _INK: "var(--ink)", _MUTED: "var(--muted)", _LINE: "var(--line)",
    **{colour: f"var(--m{number})" for number, colour in enumerate(_METHODS)},
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": _MUTED,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.prop_cycle": cycler(color=_METHODS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "savefig.transparent": True,
}
_WIDTH = 4.4
"""Inches at 72 dots: as wide as a phone, so that text keeps its size there."""
_LONGEST = 22
"""Letters of a name in a chart."""
_BASELINE: dict[str, Any] = {"color": _INK, "linestyle": "-", "linewidth": 1.2}


class _Chart:
    """One chart, whose lines and points have tooltips.

    Args:
        name: Unique within the page.
        description: What it shows, for screen readers.
        height: Its height in inches.
    """

    def __init__(self, name: str, description: str, height: float) -> None:
        self._name = name
        self._description = escape_unprintable(description)
        self._labels: dict[str, tuple[str, str, Sequence[str]]] = {}
        self._figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        self.axis = self._figure.subplots()

    def label(self, artist: Artist, css: str, tooltip: str, points: Sequence[str] = ()) -> None:
        """Give something that was drawn a class, by which the page can hide it, and tooltips for it and its marks."""
        identity = f"{self._name}-{len(self._labels)}"
        artist.set_gid(identity)
        self._labels[identity] = css, tooltip, points

    def svg(self) -> Markup:
        """The chart as part of a page."""
        with mpl.rc_context({"svg.hashsalt": self._name}), io.StringIO() as file:
            self._figure.savefig(file, format="svg", dpi=72, metadata={"Date": None})
            text = file.getvalue()
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        root = ElementTree.fromstring(text)  # noqa: S314 - written by matplotlib above
        for metadata in root.findall(f"{{{_SVG}}}metadata"):
            root.remove(metadata)
        for size in ("width", "height"):
            del root.attrib[size]
        root.attrib.update({"role": "img", "aria-label": self._description})
        for group in root.iter(f"{{{_SVG}}}g"):
            css, tooltip, points = self._labels.get(group.get("id", ""), ("", "", ()))
            if css:
                group.set("class", css)
                _set_title(group, tooltip)
            for mark, point in zip(group.iter(f"{{{_SVG}}}use") if points else (), points, strict=True):
                _set_title(mark, point)
        text = ElementTree.tostring(root, encoding="unicode")
        for colour, variable in _VARIABLES.items():
            text = text.replace(colour, variable)
        return Markup(text)  # noqa: S704 - ElementTree has escaped it


def _set_title(element: ElementTree.Element, text: str) -> None:
    title = ElementTree.Element(f"{{{_SVG}}}title")
    title.text = escape_unprintable(text)
    element.insert(0, title)


@mpl.rc_context(_STYLE)
def bounds_chart(data: ReportData, source: str, name: str) -> Markup:
    """The methods over their steps, between the plain pass and the oracle."""
    chart = _Chart(name, f"{source}: {data.scale.label} of the methods over their steps, between their bounds", 3.2)
    for method, line in draw_bounds(chart.axis, data.comparison, data.metric, source).items():
        steps = np.asarray(line.get_xydata()).tolist()
        values = [f"{decimal(value, sign=False)}{data.unit}" for _, value in steps]
        if method == data.comparison.baseline:
            line.set(**_BASELINE)
            chart.label(line, "baseline", f"{method}: {values[0]}")
            continue
        if method == data.oracle:
            line.set_color(_INK)
        css = "oracle" if method == data.oracle else _css(data, method)
        points = [f"{method}, step {step:g}: {value}" for (step, _), value in zip(steps, values, strict=True)]
        chart.label(line, css, method, points)
    chart.axis.set_ylabel(data.scale.axis)
    return chart.svg()


@mpl.rc_context(_STYLE)
def cost_chart(data: ReportData, source: str, gains: Sequence[Gain], name: str) -> Markup:
    """The gain of the methods over the plain pass, by the passes they take, without the oracle, which would dwarf them.

    The intervals of the gains at the last steps are drawn there.
    """
    chart = _Chart(name, f"{source}: gain of the methods over one pass by the passes that it costs", 3.2)
    chart.label(chart.axis.axhline(0.0, **_BASELINE), "baseline", f"{data.comparison.baseline}: 1 pass")
    last = {gain.method: gain for gain in gains}
    rows = data.comparison.gains[data.comparison.gains["source"] == source]
    count = len(data.methods)
    for number, method in enumerate(data.methods):
        steps = rows[rows["method"] == method].groupby("step")[["passes", "gain"]].mean()
        curve = steps.set_index("passes")["gain"]
        line = draw_curve(chart.axis, curve, number)
        points = [f"{method}, {passes:.3g} passes: {decimal(gain)}{data.unit}" for passes, gain in curve.items()]
        chart.label(line, _css(data, method), method, points)
        gain = last.get(method)
        if gain is not None and not math.isnan(gain.low):
            # Methods that cost the same would hide each other's bars.
            passes = gain.passes + (0.6 * (number / (count - 1) - 0.5) if count > 1 else 0)
            ends = [gain.low, gain.high]
            (bar,) = chart.axis.plot([passes] * 2, ends, color=line.get_color(), linewidth=3, alpha=0.4)
            chart.label(bar, _css(data, method), f"{method}: {interval(gain)}{data.unit}")
    label_steps(chart.axis, "network passes over the song")
    chart.axis.set(ylabel=_gain_label(data), xlim=(0.5, None))
    return chart.svg()


@mpl.rc_context(_STYLE)
def gains_chart(data: ReportData, gains: Sequence[Gain], name: str, source: str | None = None) -> Markup:
    """The mean gain of each method with its interval; of one source, the gain of each song behind it too.

    The methods that are given the references are left out: the axis is for gains of the others.
    """
    gains = [gain for gain in gains if gain.method in data.methods]
    what = f"{source or 'all sources'}: mean gain of each method over one pass, with its interval over songs"
    chart = _Chart(name, what, 0.8 + 0.44 * len(gains))
    axis = chart.axis
    # At each row below its name, which it would cross.
    begin, end = ([row + edge for row in range(len(gains))] for edge in (-0.12, 0.37))
    chart.label(axis.vlines([0] * len(gains), begin, end, color=_INK, linewidth=1), "zero", "no gain")
    for row, gain in enumerate(gains):
        css, colour = _css(data, gain.method), f"C{data.methods.index(gain.method) % COLOURS}"
        tooltip, value = f"{gain.method}: {decimal(gain.mean)}{data.unit}", decimal(gain.mean)
        # Drawn first, so that the mean is above its songs and can be pointed at.
        if source is not None and gain.songs > 1:
            rows = data.last_gains[(data.last_gains["source"] == source) & (data.last_gains["method"] == gain.method)]
            (ticks,) = axis.plot(rows["gain"], [row] * len(rows), "|", color=colour, alpha=0.45, markersize=9)
            chart.label(ticks, css, "songs")
        if not math.isnan(gain.low):
            (bar,) = axis.plot([gain.low, gain.high], [row] * 2, color=colour, linewidth=2.5)
            chart.label(bar, css, "95 % interval")
            tooltip += f", {interval(gain)}"
            value += f" ({decimal(gain.low)} to {decimal(gain.high)})"
        (dot,) = axis.plot([gain.mean], [row], "o", color=colour, markersize=6)
        chart.label(dot, css, tooltip)
        for text, edge, side in ((_shortened(gain.method), 0, "left"), (value, 1, "right")):
            written = axis.annotate(
                text, (edge, row), (0, 7), xycoords=axis.get_yaxis_transform(), textcoords="offset points", ha=side,
                color=_INK,
            )  # fmt: skip
            chart.label(written, f"{css} label", tooltip)
    axis.margins(x=0.06)
    axis.xaxis.set_major_locator(MaxNLocator(5))  # Labels of small gains are long.
    axis.set(xlabel=_gain_label(data), ylim=(len(gains) - 0.5, -0.8), yticks=[])
    axis.spines["left"].set_visible(False)
    return chart.svg()


def _shortened(name: str) -> str:
    """A name that leaves room for its value on a phone; the tooltip has all of it.

    Example:
        >>> _shortened("linear"), _shortened("ensemble of schedules, 12 passes")
        ('linear', 'ensemble o… 12 passes')
    """
    name = escape_unprintable(name)
    return name if len(name) <= _LONGEST else f"{name[:10]}…{name[-10:]}"  # Names often differ at their end.


def _css(data: ReportData, method: str) -> str:
    return f"m m{data.methods.index(method)}"


def _gain_label(data: ReportData) -> str:
    """The label of an axis of gains; a higher gain is better whatever the metric."""
    return Scale("gain over one pass", data.scale.unit).axis
