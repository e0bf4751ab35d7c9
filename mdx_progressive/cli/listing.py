"""The tables of `mdx-progressive separators` and `mdx-progressive schedules`."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive import separators
from mdx_progressive.progressive import Schedule, formulas
from mdx_progressive.runtime import atomic_write
from mdx_progressive.separators import PublishedWeights, Separator

MAXIMUM = 0.9
"""The weight at which the schedules are shown side by side."""
_SEPARATORS = """\
List the pretrained separators: sources, sample rates, segments, the licences of the weights, and whether these have
seen MUSDB18's test set. Each has a preset:

  mdx-progressive test -c configs/demo.yaml --model.separator configs/separator/htdemucs.yaml
"""
_SCHEDULES = """\
List the schedules of the blend weight, with their formulas and weights. Each has a preset:

  mdx-progressive test -c configs/demo.yaml --model.method.schedule configs/schedule/cosine.yaml
"""


def families() -> list[type[Separator]]:
    """All families of separators, in alphabetical order."""
    exported = [getattr(separators, name) for name in separators.__all__]
    return [each for each in exported if issubclass(each, Separator) and each is not Separator]


def list_separators(args: Sequence[str]) -> None:
    """`mdx-progressive separators`: print every family with its published weights and what is known of them."""
    ArgumentParser(
        prog="mdx-progressive separators",
        description=_SEPARATORS,
        formatter_class=RawDescriptionHelpFormatter,
    ).parse_args(args)
    console = Console()
    for family in families():
        table = Table(title=family.__name__, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for name in ("name", "sources", "rate", "segment", "licence of the weights", "MUSDB18 test"):
            table.add_column(name, overflow="fold", no_wrap=name == "name")
        for weights in family.published:
            table.add_row(*_facts(weights))
        if not family.published:
            table.add_row("your own files", "as they say", "", "", "theirs", "unknown")
        console.print(table)
    console.print(
        "MUSDB18 test: whether they were trained on its test set. Presets, to be used with --model.separator, are in"
        " configs/separator/. All settings of a class:"
        " mdx-progressive test --model.separator.help CLASS",
        highlight=False,
    )


def _facts(weights: PublishedWeights) -> tuple[str, ...]:
    segment = "whole song" if weights.segment is None else f"{weights.segment:g} s"
    tested = {True: "yes", False: "no", None: "unknown"}[weights.musdb_test]
    rate = f"{weights.sample_rate / 1000:g} kHz{' mono' if weights.channels == 1 else ''}"
    return weights.name, ", ".join(weights.sources), rate, segment, weights.licence, tested


def list_schedules(args: Sequence[str]) -> None:
    """`mdx-progressive schedules`: print every schedule with its formula and its weights, and draw them."""
    parser = ArgumentParser(
        prog="mdx-progressive schedules", description=_SCHEDULES, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="Draw them into this file too.")
    picture: Path | None = parser.parse_args(args).picture
    table = Table(title=f"Weights of 9 steps that end at {MAXIMUM}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("schedule", no_wrap=True)
    table.add_column("formula, source")
    table.add_column("weights")
    for schedule in formulas(MAXIMUM):
        meaning = " ".join((type(schedule).__doc__ or "").split("\n\n")[0].split())
        weights = " ".join(f"{weight:.2f}".lstrip("0") or "0" for weight in schedule.weights(9).tolist())
        table.add_row(type(schedule).__name__, meaning.replace("`", ""), weights)
    console = Console()
    console.print(table)
    console.print(
        "Presets, to be used with --model.method.schedule, are in configs/schedule/; the end of a schedule is set with"
        " --model.method.schedule.maximum 0.6. Explicit takes the weights themselves, PerSource a schedule for"
        " each source.",
        highlight=False,
    )
    if picture is not None:
        with atomic_write(picture) as temporary:
            schedules_figure(formulas(MAXIMUM)).savefig(temporary, dpi=110, format="png")
        console.print(f"wrote {picture}", highlight=False)


def schedules_figure(schedules: Sequence[Schedule], steps: int = 50) -> Figure:
    """The weights of several schedules over the progress of a run, each in a panel, the others behind it.

    Args:
        schedules: What to draw.
        steps: In how many steps.
    """
    columns = 4
    rows = -(-len(schedules) // columns)
    figure = Figure(figsize=(columns * 2.3, rows * 1.9), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    progress = [step / steps for step in range(steps + 1)]
    curves = [schedule.weights(steps).tolist() for schedule in schedules]
    for number, axis in enumerate(axes):
        if number >= len(schedules):
            axis.set_visible(False)
            continue
        for curve in curves:
            axis.plot(progress[1:], curve[1:], color="0.88", linewidth=0.8)
        axis.plot(progress[1:], curves[number][1:], color="C0")
        axis.set_title(type(schedules[number]).__name__, fontsize="small")
        axis.tick_params(labelsize="x-small")
    figure.supxlabel("progress n / N", fontsize="small")
    figure.supylabel("blend weight b", fontsize="small")
    return figure
