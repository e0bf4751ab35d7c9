"""What TensorBoard tells of `test` in words and tables: the run's facts, its results, its settings."""

import math
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from tabulate import tabulate
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mdx_progressive.engine.callbacks.run_context import datamodule_of, tensorboard_writer
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation import AGGREGATION, LINE_COLUMNS, NO_VALUE, Comparison, summary_lines
from mdx_progressive.progressive import Method, Progressive

Setting = str | int | float | bool

_NO_MATTER = {"input", "batch_size", "num_workers"}
"""Settings of `predict`, and those that change how fast a result is there, but not the result."""


class TensorBoardFacts(Callback):
    """Logs text (facts, a table of results for each metric, the configuration), and each method's settings.

    The settings stand in the HPARAMS tab beside the means of the last step, so that runs and methods can be sorted.
    """

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        writer = tensorboard_writer(trainer)
        comparison = pl_module.comparison
        if writer is None or comparison is None:
            return
        text = _configuration(trainer)
        settings = dict(_main_settings(yaml.safe_load(text) if text else {}))
        writer.add_text("facts", _facts(trainer, pl_module, comparison))
        for metric in comparison.scales:
            writer.add_text(f"results/{metric}", _results(comparison, metric))
        if text:
            # An indented block is code in Markdown.
            writer.add_text("settings", "".join(f"    {line}\n" for line in text.splitlines()))
        for method in pl_module.methods:
            of_method = {
                "separator": type(pl_module.separator).__name__,
                "precision": str(trainer.precision),
                **settings,
                **_settings_of(method, comparison),
            }
            # Without the first of the three, which would fix the columns of all runs, TensorBoard collects them.
            _, start, end = hparams(of_method, {})
            with SummaryWriter(str(Path(writer.log_dir) / method.name)) as method_writer:
                method_writer.file_writer.add_summary(start)
                method_writer.file_writer.add_summary(end)
        writer.flush()


def _configuration(trainer: Trainer) -> str:
    """The configuration as YAML; empty where the command line was not used."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, SaveConfigCallback):
            text: str = callback.parser.dump(callback.config, skip_none=False)
            return text
    return ""


def _main_settings(config: dict[str, Any]) -> Iterator[tuple[str, Setting]]:
    """What makes runs differ: the separator's settings and the data's."""
    groups = {
        "separator": config.get("model", {}).get("separator", {}).get("init_args", {}),
        "data": config.get("data", {}),
    }
    for group, values in groups.items():
        for name, value in values.items():
            if name not in _NO_MATTER:
                yield f"{group}.{name}", value if isinstance(value, Setting) else _word(value)


def _word(value: object) -> str:
    """A setting that is none of TensorBoard's kinds: a class by its name, the rest as YAML has it in one line."""
    if isinstance(value, dict) and "class_path" in value:
        return str(value["class_path"]).rpartition(".")[-1]
    return "null" if value is None else yaml.safe_dump(value, default_flow_style=True).strip()


def _settings_of(method: Method, comparison: Comparison) -> dict[str, Setting]:
    """TensorBoard shows the first in the alphabet first: what matters less comes after "with"."""
    found: dict[str, Setting] = {"method": method.name, "passes": method.passes, "steps": method.steps}
    weight = float(comparison.songs.query("method == @method.name")["weight"].max())
    if not math.isnan(weight):
        found["highest weight"] = weight
    if isinstance(method, Progressive):
        found |= {
            "schedule": type(method.schedule).__name__,
            "with.sampler": type(method.sampler).__name__,
            "with.augmentations": type(method.augmentations).__name__,
            "with.combine": type(method.combine).__name__,
            "with.corrections": ", ".join(type(each).__name__ for each in method.corrections) or "none",
        }
    return found


def _facts(trainer: Trainer, module: ProgressiveDemixing, comparison: Comparison) -> str:
    separator = module.separator
    known = {True: "yes: results on its songs prove nothing", False: "no", None: "not known"}
    datamodule = datamodule_of(trainer)
    chunks = comparison.songs.groupby("song")["chunks"].first()
    facts = {
        "separator": type(separator).__name__,
        "sources": ", ".join(separator.sources),
        "sample rate": f"{separator.sample_rate} Hz",
        "weights": ", ".join(f"{name} (SHA-256 {found})" for name, found in separator.checksums.items()) or "not known",
        "licence of the weights": separator.licence,
        "trained on MUSDB18's test set": known[separator.musdb_test],
        "targets": ", ".join(module.targets),
        "songs": f"{len(chunks)}, in {chunks.sum()} chunks",
        "left out": "; ".join(failure.line for failure in datamodule.failures) or "nothing"
        if datamodule
        else "not known",
        "passes a chunk": module.passes,
        "aggregation": AGGREGATION,
        "precision": trainer.precision,
        "device": str(trainer.strategy.root_device),
        "versions": f"mdx_progressive {version('mdx_progressive')}, torch {torch.__version__}",
    }
    return tabulate(list(facts.items()), headers=["fact", ""], tablefmt="github")


def _results(comparison: Comparison, metric: str) -> str:
    means, scale = comparison.means, comparison.scales[metric]
    of_metric = means[means["metric"] == metric]
    rows = [
        (line.source, method, *line.cells)
        for method in comparison.listed
        for line in summary_lines(comparison, metric, method)
    ]
    table = tabulate(rows, headers=["source", "method", *LINE_COLUMNS], tablefmt="github", disable_numparse=True)
    counts = of_metric[list(NO_VALUE)].max().to_dict()
    left_out = ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)
    note = f"\n\nChunks of a source left out of a mean: up to {left_out}." if left_out else ""
    return f"{scale.axis}, {comparison.caption}\n\n{table}{note}"
