"""Texts and tables of a run of `test` for TensorBoard: its facts, its results, the settings of its methods."""

import math
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import SaveConfigCallback
from tabulate import tabulate

from mdx_progressive.engine.callbacks.run_context import song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation import (
    AGGREGATION,
    LINE_COLUMNS,
    NO_VALUE,
    Comparison,
    last_steps,
    separator_label,
    summarise,
    summary_lines,
)
from mdx_progressive.progressive import Method, Progressive
from mdx_progressive.runtime import counted, escape_markdown, escape_unprintable

Setting = str | int | float | bool

_IN_NAME = {("separator", "name"), ("separator", "weights")}
"""Settings that the name of the separator stands for, with the checksums of its weights."""
_IRRELEVANT = {"input", "batch_size", "num_workers"}
"""Settings of `predict`, and those that change the speed of a run, but not its results."""


def saved_settings(trainer: Trainer) -> str:
    """The configuration as YAML; empty where the command line was not used."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SaveConfigCallback):
            text: str = callback.parser.dump(callback.config, skip_none=False)
            return text
    return ""


def name_of_separator(module: ProgressiveDemixing, saved: str) -> str:
    """The name of the separator, as `mdx-progressive separators` lists it."""
    return separator_label(yaml.safe_load(saved) if saved else {}, type(module.separator).__name__)


def method_settings(
    trainer: Trainer, module: ProgressiveDemixing, method: Method, comparison: Comparison, saved: str
) -> dict[str, Setting]:
    """What makes runs and methods differ: settings of the separator, the data and the method.

    TensorBoard shows the first in the alphabet first: what matters less comes after "with".
    """
    settings: dict[str, Setting] = {
        "separator": comparison.separator,
        # Files can be called anything; their checksums identify them.
        "separator.weights": ", ".join(checksum[:8] for checksum in module.separator.checksums.values()),
        "precision": str(trainer.precision),
        **dict(_separator_and_data(yaml.safe_load(saved) if saved else {})),
        "method": method.name,
        "passes": module.passes_of(method),
        "steps": method.steps,
    }
    weight = float(comparison.songs.query("method == @method.name")["weight"].max())
    if not math.isnan(weight):
        settings["highest weight"] = weight
    if isinstance(method, Progressive):
        settings |= {
            "schedule": type(method.schedule).__name__,
            "with.sampler": type(method.sampler).__name__,
            "with.augmentations": type(method.augmentations).__name__,
            "with.combine": type(method.combine).__name__,
            "with.corrections": ", ".join(type(correction).__name__ for correction in method.corrections) or "none",
        }
    # They are text there, and the path of a data set may be none.
    return {key: escape_unprintable(value) if isinstance(value, str) else value for key, value in settings.items()}


def facts_table(trainer: Trainer, module: ProgressiveDemixing, comparison: Comparison) -> str:
    """The facts of a run, as Markdown."""
    separator = module.separator
    trained = {True: "yes: results on its songs prove nothing", False: "no", None: "not known"}
    datamodule = song_datamodule(trainer)
    left_out = "; ".join(failure.line for failure in datamodule.failures) or "nothing" if datamodule else "not known"
    chunks = comparison.songs.groupby("song")["chunks"].first()
    facts = {
        "separator": f"{comparison.separator}, {type(separator).__name__}",
        "sources": ", ".join(separator.sources),
        "sample rate": f"{separator.sample_rate} Hz",
        "SHA-256 of its weights": ", ".join(separator.checksums.values()) or "not known",
        "licence of the weights": separator.licence,
        "trained on MUSDB18's test set": trained[separator.musdb_test],
        "targets": ", ".join(module.targets),
        "songs": f"{len(chunks)}, in {counted(int(chunks.sum()), 'chunk')}",
        "left out": left_out,
        "passes a chunk": module.passes,
        "aggregation": AGGREGATION,
        "precision": trainer.precision,
        "device": str(trainer.strategy.root_device),
        "versions": f"mdx_progressive {version('mdx_progressive')}, torch {torch.__version__}",
    }
    rows = [(fact, escape_markdown(str(value))) for fact, value in facts.items()]
    return tabulate(rows, headers=["fact", ""], tablefmt="github", disable_numparse=True)


def results_text(comparison: Comparison, metric: str) -> str:
    """The results of all methods in a metric, as Markdown: what they gain over one pass, and their values."""
    means, scale = comparison.means, comparison.scales[metric]
    counts = means[means["metric"] == metric][list(NO_VALUE)].max().to_dict()
    left_out = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    parts = [
        f"{scale.axis}, {escape_markdown(comparison.caption)}. TensorBoard smooths the curves in TIME SERIES and"
        " SCALARS, unless Smoothing is 0: the results stand here, not at the ends of those curves.",
        f"**Gain over {comparison.baseline} at the last step**",
        _gains_table(comparison, metric),
        "**Values**",
        _values_table(comparison, metric),
    ]
    if lost := int(means[means["metric"] == metric]["lost"].max()):
        parts.append(f"Chunks of a source that are lost, and count as {scale.floor:g}: up to {lost}.")
    if left_out:
        parts.append(f"Chunks of a source left out of a mean: up to {left_out}.")
    return "\n\n".join(part for part in parts if part)


def _gains_table(comparison: Comparison, metric: str) -> str:
    """The gains of the methods, the best first; those that are given the references last."""
    gains = summarise(last_steps(comparison.gains[comparison.gains["metric"] == metric]))
    gains.sort(key=lambda gain: (gain.method not in comparison.methods, -gain.mean))
    sources = list(dict.fromkeys(source for gain in gains for source in gain.by_source))
    rows = [
        (
            escape_markdown(gain.method) + ("" if gain.method in comparison.methods else " (given the references)"),
            _signed(gain.mean),
            "" if math.isnan(gain.low) else f"{_signed(gain.low)} to {_signed(gain.high)}",
            f"{100 * gain.improved:.0f} %",
            f"{gain.passes:.3g}",
            *(_signed(gain.by_source[source]) if source in gain.by_source else "" for source in sources),
        )
        for gain in gains
    ]
    headers = ["method", "all sources", "95 % interval", "improved", "passes", *map(escape_markdown, sources)]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True) if rows else ""


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # Adding zero takes the sign off a negative one.


def _values_table(comparison: Comparison, metric: str) -> str:
    rows = [
        (escape_markdown(line.source), escape_markdown(method), *line.cells)
        for method in comparison.listed
        for line in summary_lines(comparison, metric, method)
    ]
    headers = ["source", "method", *LINE_COLUMNS]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _separator_and_data(config: dict[str, Any]) -> Iterator[tuple[str, Setting]]:
    groups = {
        "separator": config.get("model", {}).get("separator", {}).get("init_args", {}),
        "data": config.get("data", {}),
    }
    for group, values in groups.items():
        for name, value in values.items():
            if name not in _IRRELEVANT and (group, name) not in _IN_NAME:
                yield f"{group}.{name}", value if isinstance(value, Setting) else _one_word(value)


def _one_word(value: object) -> str:
    """A setting of no type of TensorBoard's: a class by its name, the rest as YAML in one line."""
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[-1]
    return "null" if value is None else yaml.safe_dump(value, default_flow_style=True).strip()
