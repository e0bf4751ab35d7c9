"""`mdx-progressive schedules`: the schedules of the blend weight, as a table and a picture."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.presets import find_preset, preset_names, preset_settings
from mdx_progressive.progressive import Schedule, formulas
from mdx_progressive.runtime import atomic_write, check_folder_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAXIMUM = 0.9
"""The weight at which the schedules are shown side by side."""
_DESCRIPTION = """\
List the schedules of the blend weight, with their formulas and weights.

  mdx-progressive schedules --picture schedules.png
  mdx-progressive test songs/ -s spleeter --model.method linear \\
      --model.method.schedule cosine
"""


def schedules(args: Sequence[str]) -> None:
    """`mdx-progressive schedules`: print every schedule with its formula and its weights, and draw them.

    Raises:
        MdxError: If there is no folder for the picture.
    """
    parser = ArgumentParser(
        prog="mdx-progressive schedules", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="Draw them into this file too.")
    picture: Path | None = parser.parse_args(args).picture
    if picture is not None:
        check_folder_of(picture, "--picture")
    table = Table(title=f"Weights of 9 steps that end at {MAXIMUM}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("schedule", no_wrap=True)
    table.add_column("formula, source")
    table.add_column("weights")
    names = {str(preset_settings(find_preset("schedule", name))["class_path"]).rpartition(".")[2]: name
             for name in preset_names("schedule")}  # fmt: skip
    for schedule in formulas(MAXIMUM):
        meaning = " ".join((type(schedule).__doc__ or "").split("\n\n")[0].split())
        weights = " ".join(f"{weight:.2f}".lstrip("0") or "0" for weight in schedule.weights(9).tolist())
        table.add_row(names[type(schedule).__name__], meaning.replace("`", ""), weights)
    console = Console()
    console.print(table)
    console.print(
        "As --model.method.schedule takes them; the end of a schedule is set with --model.method.schedule.maximum 0.6."
        " explicit takes the weights themselves, per-source a schedule for each source.",
        highlight=False,
    )
    if picture is not None:
        with atomic_write(picture) as temporary:
            schedules_figure(formulas(MAXIMUM)).savefig(temporary, dpi=110, format="png")
        console.print(f"wrote {picture}", highlight=False)


def schedules_figure(schedules: Sequence[Schedule], steps: int = 50) -> "Figure":
    """The weights of several schedules over the progress of a run, each in a panel, the others behind it.

    Args:
        schedules: What to draw.
        steps: In how many steps.
    """
    from matplotlib.figure import Figure

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
