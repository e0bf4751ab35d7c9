"""The table of separators that `mdx-progressive separators` prints."""

from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive import separators
from mdx_progressive.separators import Separator
from mdx_progressive.separators.published import Published


def families() -> list[type[Separator]]:
    """All families of separators, in alphabetical order."""
    found = [getattr(separators, name) for name in separators.__all__]
    return [family for family in found if family is not Separator]


def print_separators() -> None:
    """Print every family with its published weights and what is known of them."""
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
        "MUSDB18 test: whether they were trained on its test set. A preset for each:"
        " --model.separator configs/separator/NAME.yaml. All settings of a class:"
        " mdx-progressive test --model.separator.help CLASS",
        highlight=False,
    )


def _facts(weights: Published) -> tuple[str, ...]:
    segment = "whole song" if weights.segment is None else f"{weights.segment:g} s"
    tested = {True: "yes", False: "no", None: "unknown"}[weights.musdb_test]
    rate = f"{weights.sample_rate / 1000:g} kHz{' mono' if weights.channels == 1 else ''}"
    return weights.name, ", ".join(weights.sources), rate, segment, weights.licence, tested
