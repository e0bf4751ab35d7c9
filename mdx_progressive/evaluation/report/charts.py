"""The charts of a report: SVG drawn by matplotlib, which needs no script and takes its colours from the page."""

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mdx_progressive.evaluation.report.answer import decibels
from mdx_progressive.evaluation.report.findings import Findings
from mdx_progressive.evaluation.results import select_curve
from mdx_progressive.evaluation.statistics import Gain

COLOURS = 8
"""How many colours the page has for methods; those after them begin again, dashed."""
_SVG = "http://www.w3.org/2000/svg"
# matplotlib wants colours; these stand for the page's, light or dark.
_INK, _MUTED, _LINE = "#010101", "#020202", "#030303"
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _LINE: "var(--line)"} | {
    f"#0400{number:02x}": f"var(--m{number})" for number in range(COLOURS)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _MUTED,
    "text.parse_math": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "savefig.transparent": True,
}
_WIDTH = 4.4
"""Inches at 72 dots: as wide as a phone, so that letters have their size there."""


class Chart:
    """One chart, a panel that can be pointed at.

    Args:
        name: Unique within the page.
        description: What it shows, for those who can't see it.
        height: Its height in inches.
    """

    def __init__(self, name: str, description: str, height: float) -> None:
        self._name = name
        self._description = description
        self._told: dict[str, tuple[str, str]] = {}
        with mpl.rc_context(_STYLE):
            self._figure = Figure(figsize=(_WIDTH, height), layout="constrained")
            self.axis: Axes = self._figure.subplots()

    def told(self, told: str, css: str) -> str:
        """The id of something that says what it is when it is pointed at.

        Args:
            told: What it says.
            css: Its class, by which the page hides it.
        """
        identity = f"{self._name}-{len(self._told)}"
        self._told[identity] = told, css
        return identity

    def svg(self) -> Markup:
        """The chart as part of a page."""
        with mpl.rc_context({**_STYLE, "svg.hashsalt": self._name}), io.StringIO() as written:
            self._figure.savefig(written, format="svg", dpi=72, metadata={"Date": None})
            text = written.getvalue()
        ElementTree.register_namespace("", _SVG)
        ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
        root = ElementTree.fromstring(text)  # noqa: S314 - written by matplotlib a moment ago
        for unwanted in root.findall(f"{{{_SVG}}}metadata"):
            root.remove(unwanted)
        for size in ("width", "height"):
            del root.attrib[size]
        root.attrib.update({"role": "img", "aria-label": self._description})
        for group in root.iter(f"{{{_SVG}}}g"):
            told, css = self._told.get(group.get("id", ""), (None, ""))
            if told is not None:
                group.set("class", css)
                title = ElementTree.Element(f"{{{_SVG}}}title")
                title.text = told
                group.insert(0, title)
        text = ElementTree.tostring(root, encoding="unicode")
        for colour, variable in _VARIABLES.items():
            text = text.replace(colour, variable)
        return Markup(text)  # noqa: S704 - ElementTree has escaped it


def bounds_chart(findings: Findings, source: str, name: str) -> Markup:
    """The methods over their steps, the plain pass below and the oracle above.

    Args:
        findings: What the run has found.
        source: Name of the source.
        name: Name of the chart, unique within the page.
    """

    def curve(method: str) -> list[tuple[float, float]]:
        mean = select_curve(findings.means, findings.metric, method, source)["mean"].dropna()
        return list(zip(mean.index.tolist(), mean.tolist(), strict=True))

    chart = Chart(name, f"{source}: {findings.title} of the methods over their steps, between their bounds", 3.2)
    _level(
        chart,
        curve(findings.baseline)[0][1],
        f"{findings.baseline}: {curve(findings.baseline)[0][1]:.2f}{findings.unit}",
    )
    told = "step {:g}: {:.2f}" + findings.unit
    if findings.oracle_method is not None:
        _curve(chart, findings.oracle_method, curve(findings.oracle_method), (_INK, "--"), "ceiling", told)
    for number, method in enumerate(findings.methods):
        _curve(chart, method, curve(method), _look(number), f"m m{number}", told)
    chart.axis.set(xlabel="step", ylabel=findings.label)
    chart.axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return chart.svg()


def cost_chart(findings: Findings, source: str, gains: Iterable[Gain], name: str) -> Markup:
    """What the methods gain over the plain pass, by the passes that it costs, without the bounds that dwarf it.

    Args:
        findings: What the run has found.
        source: Name of the source.
        gains: What the methods gain at their last steps, where their intervals are drawn.
        name: Name of the chart, unique within the page.
    """
    chart = Chart(name, f"{source}: gain of the methods over one pass by the passes that it costs", 3.2)
    _level(chart, 0.0, f"{findings.baseline}: 1 pass")
    ends = {gain.method: gain for gain in gains}
    for number, method in enumerate(findings.methods):
        steps = findings.by_passes(method, source)
        points = list(zip(steps["passes"].tolist(), steps["gain"].tolist(), strict=True))
        _curve(chart, method, points, _look(number), f"m m{number}", "{:.3g} passes: {:+.2f}" + findings.unit)
        end = ends.get(method)
        if end is not None and not math.isnan(end.low):
            told = f"{method}: 95 % interval {decibels(end.low)} to {decibels(end.high)}{findings.unit}"
            gid = chart.told(told, f"m m{number}")
            # Methods that cost the same would hide each other's bars.
            place = end.passes + 0.6 * (number / max(1, len(findings.methods) - 1) - 0.5) * (len(findings.methods) > 1)
            chart.axis.plot([place] * 2, [end.low, end.high], color=_look(number)[0], linewidth=3, alpha=0.4, gid=gid)
    chart.axis.set(xlabel="passes for each source", ylabel=findings.gain, xlim=(0.5, None))
    chart.axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return chart.svg()


def gains_chart(findings: Findings, source: str, gains: Sequence[Gain], name: str) -> Markup:
    """The mean gain of each method with its interval, and the gain of each song behind it.

    Args:
        findings: What the run has found.
        source: Name of the source.
        gains: What the methods gain at their last steps, the ceiling not among them.
        name: Name of the chart, unique within the page.
    """
    chart = Chart(name, f"{source}: mean gain of each method with its interval over songs", 0.75 + 0.42 * len(gains))
    axis = chart.axis
    axis.axvline(0, color=_INK, linewidth=1)
    for row, gain in enumerate(gains):
        known = gain.method in findings.methods
        number = findings.methods.index(gain.method) if known else 0
        tint, css = (_look(number)[0], f"m m{number}") if known else (_MUTED, "told")
        songs = findings.ends(gain.method, source)
        # Behind each other, so that the mean lies above its songs and can be pointed at.
        axis.plot(songs, [row] * len(songs), "|", color=tint, alpha=0.45, markersize=9, gid=chart.told("songs", css))
        told = f"{gain.method}: {decibels(gain.mean)}{findings.unit}"
        if not math.isnan(gain.low):
            axis.plot([gain.low, gain.high], [row] * 2, color=tint, linewidth=2.5, gid=chart.told("95 % interval", css))
            told += f", 95 % interval {decibels(gain.low)} to {decibels(gain.high)}"
        axis.plot([gain.mean], [row], "o", color=tint, markersize=6, gid=chart.told(told, css))
        label = gain.method if known else f"{gain.method} (told the truth)"
        axis.annotate(
            label, (0, row), (4, 6), xycoords=axis.get_yaxis_transform(), textcoords="offset points",
            color=_INK, fontsize=9, gid=chart.told(told, f"{css} label"),
        )  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(5))  # Of small gains the labels are long.
    axis.set(xlabel=findings.gain, ylim=(len(gains) - 0.5, -0.8), yticks=[])
    axis.spines["left"].set_visible(False)
    return chart.svg()


def _look(number: int) -> tuple[str, str]:
    """The colour and the style of the line of a method, by its place among the methods."""
    return f"#0400{number % COLOURS:02x}", ("-", "--", ":")[number // COLOURS % 3]


def _level(chart: Chart, value: float, told: str) -> None:
    chart.axis.axhline(value, color=_INK, linewidth=1.2, gid=chart.told(told, "floor"))


def _curve(
    chart: Chart, method: str, points: Sequence[tuple[float, float]], look: tuple[str, str], css: str, told: str
) -> None:
    """A line, and a mark at each point that says what it is."""
    tint, style = look
    chart.axis.plot(*zip(*points, strict=True), style, color=tint, linewidth=1.6, gid=chart.told(method, css))
    for x, y in points:
        said = f"{method}, {told.format(x, y).replace('-', '−')}"
        chart.axis.plot([x], [y], "o", color=tint, markersize=4.5, gid=chart.told(said, css))
