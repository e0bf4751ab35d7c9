"""The page of a report, put together."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mdx_progressive.evaluation.report.answer import answer, decibels
from mdx_progressive.evaluation.report.charts import COLOURS, bounds_chart, cost_chart, gains_chart
from mdx_progressive.evaluation.report.findings import Findings
from mdx_progressive.evaluation.report.players import listening


def report_page(findings: Findings) -> str:
    """The whole page.

    Args:
        findings: What the run has found.
    """
    config = _config(findings.run.folder)
    separator = _separator(findings, config)
    script = (files(__package__) / "page" / "report.js").read_text(encoding="utf-8")
    panels = []
    for number, source in enumerate(findings.sources):
        gains = findings.gains_of(source)
        of_methods = [gain for gain in gains if gain.method != findings.oracle_method]
        charts = {
            "bounds": bounds_chart(findings, source, f"bounds-{number}"),
            "cost": cost_chart(findings, source, gains, f"cost-{number}") if of_methods else "",
            "gains": gains_chart(findings, source, of_methods, f"gains-{number}") if of_methods else "",
        }
        panels.append({"source": source, "charts": charts, "gains": {gain.method: gain for gain in gains}})
    environment = Environment(
        loader=PackageLoader("mdx_progressive.evaluation.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["db"] = decibels
    return environment.get_template("report.html").render(
        findings=findings,
        facts=findings.run.facts,
        separator=separator,
        answer=answer(findings, separator),
        panels=panels,
        colours=COLOURS,
        listening=listening(findings),
        config=config,
        style=Markup((files(__package__) / "page" / "report.css").read_text(encoding="utf-8")),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704 - our own
        # The page's policy lets this script run, and no other that might get into it.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _config(folder: Path) -> str:
    """The configuration of the run; empty if it is not there."""
    path = folder / "config.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _separator(findings: Findings, config: str) -> str:
    """What the separator is called: by its weights, as far as the configuration names them."""
    kind = str(findings.run.facts.get("separator", "the separator"))
    try:
        settings: dict[str, Any] = yaml.safe_load(config)["model"]["separator"]["init_args"]
        return Path(settings["weights"]).name if settings.get("weights") else str(settings["name"])
    except (KeyError, TypeError, yaml.YAMLError):
        return kind
