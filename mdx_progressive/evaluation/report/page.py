"""The page of a report, put together from its template."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mdx_progressive.evaluation.report.charts import COLOURS, bounds_chart, cost_chart, gains_chart
from mdx_progressive.evaluation.report.data import ReportData, decimal
from mdx_progressive.evaluation.report.headline import report_headline
from mdx_progressive.evaluation.report.players import report_players
from mdx_progressive.evaluation.run import Run
from mdx_progressive.evaluation.timings import three_digits
from mdx_progressive.runtime import escape_lines


def report_page(run: Run) -> str:
    """The whole page, as HTML.

    Raises:
        MdxError: If the run's summary does not name its methods, or its audio files are damaged.
    """
    data = ReportData(run)
    panels = []
    for number, source in enumerate(data.sources):
        gains = data.source_gains(source)
        charts = {"bounds": bounds_chart(data, source, f"bounds-{number}")}
        if any(gain.method in data.methods for gain in gains):
            charts["cost"] = cost_chart(data, source, gains, f"cost-{number}")
            charts["gains"] = gains_chart(data, gains, f"gains-{number}", source)
        panels.append({"source": source, "charts": charts, "gains": {gain.method: gain for gain in gains}})
    environment = Environment(
        loader=PackageLoader("mdx_progressive.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["decimal"] = decimal
    environment.filters["three_digits"] = three_digits
    config = run.folder / "config.yaml"
    script = _template_file("report.js")
    return environment.get_template("report.html").render(
        data=data,
        headline=report_headline(data),
        overview=gains_chart(data, data.gains, "gains") if data.best else "",
        panels=panels,
        colours=COLOURS,
        players=report_players(data),
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        style=Markup(_template_file("report.css")),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        # The page's policy lets this script run, and no other that might get into it.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _printable(value: object) -> object:
    """What the page shows of a value; markup is our own."""
    return escape_lines(str(value)) if isinstance(value, Path) or type(value) is str else value


def _template_file(name: str) -> str:
    return (files(__package__) / "template" / name).read_text(encoding="utf-8")
