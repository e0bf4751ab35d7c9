"""What a benchmark measured, as a table on the terminal and as JSON."""

import json
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.engine.benchmark import Cost, NetworkCost
from mdx_progressive.runtime import atomic_write


def write_benchmark(costs: list[Cost], networks: list[NetworkCost], title: str, path: Path) -> None:
    """Print the table of ratios and write everything as JSON.

    Args:
        costs: The costs of the contenders.
        networks: What the networks alone reach.
        title: Heading of the table.
        path: The file to write.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("run", no_wrap=True)
    for name in ("calls", "s", "x bare", "x library", "MiB", "SNR dB", "SI-SDR"):
        table.add_column(name, justify="right")
    for precision in dict.fromkeys(cost.precision for cost in costs):
        table.add_row(f"[bold]{precision}[/bold]")
        for cost in (cost for cost in costs if cost.precision == precision):
            table.add_row(
                cost.run, _text(cost.forwards, "d"), _text(cost.seconds, ".2f"),
                _text(cost.over_bare, ".3f"), _text(cost.speedup, ".2f"),
                _text(None if cost.memory is None else cost.memory / 2**20, ".0f"),
                _text(cost.snr, ".1f"), _text(cost.change, "+.3f"),
            )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        "calls: of networks. x bare: time over that of the same calls alone, at this precision. x library: how many"
        " times faster than the separator's own library in float32 for as many passes. MiB: peak memory. SNR, SI-SDR:"
        " estimates against, and change from, those in float32, in dB, worst target.",
        highlight=False,
    )
    for network in networks:
        sizes = ", ".join(f"{size}: {seconds:.3f} s" for size, seconds in network.per_segment.items())
        console.print(
            f"{network.precision}: a segment takes, by the number that go through together, {sizes};"
            f" {network.flops / 1e9:.0f} GFLOP a pass at {network.rate / 1e12:.3g} TFLOP/s,"
            f" {network.rate / network.peak_rate:.0%} of a large matrix product",
            highlight=False,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "title": title,
        "costs": [cost._asdict() for cost in costs],
        "networks": [network._asdict() for network in networks],
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"wrote {path}", highlight=False)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
