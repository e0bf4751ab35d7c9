"""`mdx-progressive separators`: what -s takes, with sources, downloads, licences and what was measured."""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive import separators as families
from mdx_progressive.presets import (
    QUALITIES,
    Level,
    find_preset,
    is_measured,
    preset_names,
    preset_settings,
    quality_levels,
    separator_name,
)
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators import PublishedWeights, Separator

_DESCRIPTION = """\
List the pretrained separators by the names that -s takes: sources, size of the
download, licence of the weights, and whether they were trained on the test set
of MUSDB18.

  mdx-progressive separators
  mdx-progressive separators --stem vocals
  mdx-progressive separators --json
"""
_WIDTH = 80
_FOUR_STEMS = 23
"""Letters of the names of four stems, which stay on one line."""


class Entry(NamedTuple):
    """A separator that -s takes.

    Args:
        name: Its name there.
        family: Its class.
        weights: The published weights; None where they are the user's own files.
    """

    name: str
    family: type[Separator]
    weights: PublishedWeights | None

    @property
    def facts(self) -> dict[str, Any]:
        """What is known, for JSON; times are multiples of that of one pass, gains in dB SI-SDR."""
        weights = self.weights._asdict() if self.weights else {}
        published = weights.pop("name", None)
        levels = {name: level._asdict() for name, level in quality_levels(published).items()}
        return {"name": self.name, "family": self.family.__name__, "published": published, **weights, "quality": levels}


def entries() -> list[Entry]:
    """All separators that have a preset, family by family."""
    found = []
    for name in preset_names("separator"):
        settings = preset_settings(find_preset("separator", name))
        family: type[Separator] = getattr(families, str(settings["class_path"]).rpartition(".")[2])
        published = separator_name(settings)
        found.append(Entry(name, family, next((each for each in family.published if each.name == published), None)))
    return sorted(found, key=lambda entry: (entry.weights is None, entry.family.__name__))


def separators(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If no separator has the stem.
    """
    parser = ArgumentParser(
        prog="mdx-progressive separators", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("--stem", metavar="STEM", help="Only those that estimate this stem, such as vocals or guitar.")
    parser.add_argument("--json", action="store_true", help="Print everything that is known, as JSON.")
    options = parser.parse_args(args)
    chosen = [each for each in entries() if options.stem is None or options.stem in _sources(each)]
    if not chosen:
        stems = sorted({source for each in entries() for source in _sources(each)})
        raise MdxError(f"no separator has the stem {options.stem!r}; there are {', '.join(stems)}")
    if options.json:
        print(json.dumps([each.facts for each in chosen], indent=2))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("-s", "sources", "download", "weights' licence", "seen"):
        table.add_column(title, overflow="fold", min_width=_FOUR_STEMS if title == "sources" else None)
    for each in chosen:
        table.add_row(each.name, *_cells(each.weights))
    console = Console(width=_WIDTH)
    console.print(table)
    console.print(
        "seen: whether they were trained on the test set of MUSDB18. Sample rates, segments and the costs of --quality:"
        " --json. `spleeter` is short for spleeter-2stems.\n",
        highlight=False,
    )
    console.print(_quality_table(chosen))


def _sources(entry: Entry) -> Sequence[str]:
    return entry.weights.sources if entry.weights else ()


def _cells(weights: PublishedWeights | None) -> tuple[str, ...]:
    if weights is None:
        return "as your files say", "", "of your files", "unknown"
    size = {None: "", 0: "none"}.get(weights.download, f"{weights.download} MB")
    return " ".join(weights.sources), size, weights.licence, _answer(weights.musdb_test)


def _answer(known: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[known]


def _quality_table(chosen: Sequence[Entry]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for title in ("--quality", *QUALITIES):
        table.add_column(title, overflow="fold")
    names = {entry.name: entry.weights.name if entry.weights else None for entry in chosen}
    measured = {name: quality_levels(published) for name, published in names.items() if is_measured(published)}
    rows = dict(measured)
    if len(measured) < len(chosen):
        rows["all others" if measured else "all of these"] = quality_levels(None)
    for name, levels in rows.items():
        table.add_row(name, *(_level(levels[quality]) for quality in QUALITIES))
    return table


def _level(level: Level) -> str:
    return f"{level.text} ({level.songs})" if level.songs else level.text
