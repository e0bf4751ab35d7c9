"""The command `report`: read a run, put the page together, write it."""

import base64
import hashlib
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mdx_progressive.errors import MdxError
from mdx_progressive.report.answer import answer, decibels
from mdx_progressive.report.charts import COLOURS, bounds_chart, cost_chart, gains_chart
from mdx_progressive.report.findings import Findings
from mdx_progressive.report.players import listening
from mdx_progressive.runs import METRIC_HELP, RUN_HELP, read_run
from mdx_progressive.whole_file import whole_file

_DESCRIPTION = """\
A run of `test` as one HTML file that loads nothing from anywhere: the question and its answer in three sentences, the
methods between their bounds, gains by source with intervals, a table of songs that sorts, and players that switch
between mixture, one pass, the method's steps, oracle and reference.

  mdx-progressive report logs/demo/version_0
  mdx-progressive report logs/demo/version_0 --metric sdr --out sdr.html
"""


def parser() -> ArgumentParser:
    """The options of the command."""
    made = ArgumentParser(
        prog="mdx-progressive report", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    made.add_argument("run", type=Path, metavar="RUN", help=RUN_HELP)
    made.add_argument(
        "--metric",
        default="si_sdr",
        help=METRIC_HELP,
    )
    made.add_argument("--out", type=Path, metavar="FILE.html", help="The file to write (default: RUN/report.html).")
    return made


def report(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If the run has no results, lacks the metric, or its sound is damaged.
    """
    wanted = parser().parse_args(args)
    findings = Findings(read_run(wanted.run, wanted.metric))
    out: Path = wanted.out or findings.run.folder / "report.html"
    if not out.parent.is_dir():
        raise MdxError(f"--out {out}: there is no folder {out.parent}")
    text = page(findings)
    with whole_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"wrote {out} ({out.stat().st_size / 1e6:.2g} MB)")


def page(findings: Findings) -> str:
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
        of_methods = [gain for gain in gains if gain.method != findings.ceiling]
        charts = {
            "bounds": bounds_chart(findings, source, f"bounds-{number}"),
            "cost": cost_chart(findings, source, gains, f"cost-{number}") if of_methods else "",
            "gains": gains_chart(findings, source, of_methods, f"gains-{number}") if of_methods else "",
        }
        panels.append({"source": source, "charts": charts, "gains": {gain.method: gain for gain in gains}})
    environment = Environment(
        loader=PackageLoader("mdx_progressive.report", "page"),
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
