"""LightningCLI with `test`, `predict`, `benchmark` and `tune`: options, and how a run starts and ends."""

import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any

import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero_only

from mdx_progressive.cli.errors import TRACEBACK, interruptible, raise_thread_errors, signal_of
from mdx_progressive.cli.help_texts import SUMMARIES
from mdx_progressive.cli.parser import HelpFormatter, OneLineErrors, literal, separator_at_hand
from mdx_progressive.cli.processes import watch_processes
from mdx_progressive.cli.shorthand import DEFAULT_LOGGER_NAME
from mdx_progressive.data import SongDataModule
from mdx_progressive.engine import (
    EstimateWriter,
    EventLog,
    FailureCollector,
    ProgressiveDemixing,
    ProgressiveTrainer,
    ResultFiles,
    SoundFiles,
    StepProgressBar,
    TensorBoardResults,
    TensorBoardSound,
    plan_predict,
    plan_test,
    run_folder,
    separation_settings,
    unfinished_version,
    usable_precision,
)
from mdx_progressive.evaluation import lock_run
from mdx_progressive.runtime import (
    RESUME_HINT,
    MdxError,
    StoppedError,
    counted,
    escape_unprintable,
    importable,
    keep_freed_memory,
)


class _Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser with errors in one line."""


class ProgressiveCLI(LightningCLI):
    """`test`, `predict`, `benchmark` and `tune`; the data module gets sample rate and sources from the separator."""

    _resumes = False
    """Whether the logger has the folder of an interrupted run."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "datamodule", "ckpt_path", "weights_only"}
        return {
            "test": skipped | {"verbose"},
            "predict": skipped | {"return_predictions"},
            "benchmark": skipped,
            "tune": skipped,
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("model.separator.sample_rate", "data.sample_rate", apply_on="instantiate")
        parser.link_arguments("model.separator.sources", "data.sources", apply_on="instantiate")
        parser.link_arguments("model.separator.receptive_field", "data.receptive_field", apply_on="instantiate")
        parser.link_arguments("model.separator.standardise", "data.standardise", apply_on="instantiate")
        parser.add_lightning_class_args(EstimateWriter, "writer")
        parser.add_lightning_class_args(EventLog, "log")
        parser.add_lightning_class_args(TensorBoardSound, "tensorboard")
        parser.add_lightning_class_args(SoundFiles, "sound")
        parser.add_lightning_class_args(FailureCollector, "failures")
        parser.add_lightning_class_args(ResultFiles, "results")
        parser.add_argument("--targets", type=str, help="Short for model.targets: vocals,drums.")
        parser.add_argument("--out", type=str, default="separated", help="Folder that `predict` writes to.")
        parser.link_arguments("out", "writer.out")
        parser.add_argument(
            "--log-json",
            type=str | None,
            metavar="FILE",
            help="File that `predict` adds a line of JSON to for each song and block; - is stdout, where nothing else"
            " is written then. logs/README.md lists the keys.",
        )
        parser.link_arguments("log_json", "log.to")
        parser.add_argument("--fail-fast", action="store_true", help="Stop at the first song that can't be read.")
        parser.link_arguments("fail_fast", "failures.fail_fast")
        parser.add_argument(
            "--resume",
            type=bool,
            default=True,
            help="Whether `test` resumes an interrupted run of the same model and data, in its folder.",
        )
        parser.link_arguments("resume", "results.resume")
        parser.add_argument(
            "--dry-run", action="store_true", help="Print the cost of `test` or `predict` and stop before it."
        )
        parser.add_argument(TRACEBACK, action="store_true", help="Show where in the code an error was raised.")

    def before_instantiate_classes(self) -> None:
        """Let `test` resume in the folder of an interrupted run, and `predict` log nothing."""
        config = self.config.get(str(self.subcommand))
        if config.targets is not None:
            config.model.targets = [name.strip() for name in config.targets.split(",")]
        if config.dry_run and self.subcommand in ("benchmark", "tune"):
            raise MdxError("--dry-run is for `test` and `predict`: leave it out")
        if config.log_json is not None and (self.subcommand != "predict" or config.dry_run):
            raise MdxError("log_json is for runs of `predict`: leave it out")
        config.trainer.precision = usable_precision(config.trainer.precision, config.trainer.accelerator)
        if self.subcommand == "predict":  # in TensorBoard it would be an empty run
            config.trainer.logger = False
            self.save_config_callback = None
        if self.subcommand != "test" or not config.resume or getattr(rank_zero_only, "rank", 0) != 0:
            return
        version = unfinished_version(self._settings())
        self._resumes = version is not None
        if self._resumes:
            config.trainer.logger.init_args.version = version

    def predict(self, **kwargs: Any) -> None:
        """Separate without keeping the estimates in memory; the writer writes them."""
        writer: EstimateWriter = self._options.writer
        if self._options.dry_run:
            size = writer.files.format.bytes_per_sample
            plan_predict(self.trainer, self.model, self.datamodule, writer.leave_out_estimates, size).print(writer.out)
            self._report_failures()
            return
        events: EventLog = self._options.log
        writer.listeners.append(events.song_written)
        self._options.failures.listeners.append(events.song_failed)
        settings = {"weights": self.model.separator.checksums, **separation_settings(self._settings())}
        writer.settings = json.dumps(settings)
        with events.run():
            self._run_to_the_end(partial(self.trainer.predict, return_predictions=False, **kwargs))
            self._report_failures(writer.out)

    def test(self, **kwargs: Any) -> None:
        """Measure; the table is printed by `ResultFiles`."""
        if self._resumes:
            # The saved settings are to start a run in its own folder.
            self.config[str(self.subcommand)].trainer.logger.init_args.version = None
        if self._options.dry_run:
            sounds = [self._options.sound.disk, self._options.tensorboard.disk]
            plan_test(self.trainer, self.model, self.datamodule, sounds).print(run_folder(self.trainer))
        else:
            folder = getattr(self.trainer.logger, "log_dir", None)
            try:
                if folder and self.trainer.is_global_zero:
                    # Reading the songs takes long: until then nothing else would tell that the folder is in use.
                    self._options.results.lock = lock_run(Path(folder))
                self._run_to_the_end(partial(self.trainer.test, verbose=False, **kwargs))
            except MdxError:
                if lock := self._options.results.lock:
                    lock.release()
                _remove_empty_run(folder)
                raise
            except OSError as error:
                if error.filename is not None:
                    raise
                # Errors of reading songs are reported as failures of the songs: this is the run's own folder.
                place = folder or self.trainer.default_root_dir
                raise MdxError(f"{place}: could not be written to ({error.strerror}); {RESUME_HINT}") from error
        self._report_failures()

    def _run_to_the_end(self, run: Callable[[], object]) -> None:
        """Run, and say if a signal stopped it: Lightning exits silently, with the code of any error.

        Raises:
            StoppedError: If a signal stopped the run.
        """
        try:
            with watch_processes(self.trainer):
                run()
        except SystemExit as left:
            if self.trainer.state.status == TrainerStatus.INTERRUPTED and self.trainer.is_global_zero:
                raise StoppedError(signal_of(left.__context__)) from left
            raise

    def _settings(self) -> dict[str, Any]:
        """The settings of the subcommand, as they are saved in config.yaml."""
        name = str(self.subcommand)
        settings: dict[str, Any] = yaml.safe_load(self._parser(name).dump(self.config[name], skip_none=False))
        return settings

    @property
    def _options(self) -> Any:
        """The settings of the subcommand, with its classes instantiated."""
        return self.config_init[str(self.subcommand)]

    def _report_failures(self, out: Path | None = None) -> None:
        """Report the songs that are missing.

        Args:
            out: The output folder, which other runs may share.
        """
        failures, elsewhere = self.datamodule.failures, self.datamodule.claimed_elsewhere
        lines = []
        if failures:
            reasons = "\n  ".join(failure.line for failure in failures)
            others = len(failures) < len(self.datamodule.songs) and not self._options.dry_run and not elsewhere
            failed = counted(len(failures), "song")
            lines.append(f"{failed} failed{', all others are complete' if others else ''}:\n  {reasons}")
        if elsewhere:
            names = shorten(escape_unprintable(", ".join(elsewhere)), 300, placeholder=" …")
            lines.append(f"{out}: skipped, another run is writing them: {names}; repeat the command when it has ended")
        if lines and self.trainer.is_global_zero:
            raise MdxError("\n".join(lines))


def _remove_empty_run(folder: str | None) -> None:
    """Remove the folder of a run that failed before anything was measured: Lightning creates it before the songs."""
    files = list(Path(folder).iterdir()) if folder and Path(folder).is_dir() else []
    if files and all(file.name.startswith((".lock", "events.out.tfevents.")) for file in files):
        shutil.rmtree(folder or "")


def run(
    args: Sequence[str], separator: str | None, modules: Sequence[str] = (), paths: frozenset[str] = frozenset()
) -> None:
    """Parse the arguments and run the subcommand that they name.

    Args:
        args: The subcommand and its arguments.
        separator: The name of the separator at hand, which the names of methods in YAML files depend on.
        modules: Packages whose classes settings may name, beside ours.
        paths: Those among the arguments, which are no YAML.
    """
    keep_freed_memory()
    # Lightning handles SIGTERM only between training steps, but Ctrl-C stops all of its processes.
    with interruptible(), raise_thread_errors(), separator_at_hand(separator), importable(modules), literal(paths):
        _lightning(args)


def _lightning(args: Sequence[str]) -> None:
    # These arguments stand for those of the process, in another spelling.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    ProgressiveCLI(
        ProgressiveDemixing,
        SongDataModule,
        trainer_class=ProgressiveTrainer,
        args=list(args),
        parser_class=_Parser,
        parser_kwargs={
            "prog": "mdx-progressive",
            "formatter_class": HelpFormatter,
            **{
                name: {
                    "description": f"{SUMMARIES[name]} All keys; `mdx-progressive {name} --help` has everyday options.",
                    "usage": f"mdx-progressive {name} [options]",
                    "formatter_class": HelpFormatter,
                }
                for name in ProgressiveCLI.subcommands()
            },
        },
        trainer_defaults={
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": "logs", "name": DEFAULT_LOGGER_NAME},
            },
            "default_root_dir": "logs",
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "callbacks": [StepProgressBar(), TensorBoardResults()],
        },
        save_config_kwargs={"overwrite": True},
        seed_everything_default=False,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # nothing is trained
    )
