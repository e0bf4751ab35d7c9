"""LightningCLI with `test`, `predict`, `benchmark` and `tune`: its options, and what surrounds a run."""

import json
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities import rank_zero_only

from mdx_progressive.cli.parser import TRACEBACK, HelpFormatter, OneLineErrors
from mdx_progressive.cli.processes import watch_processes
from mdx_progressive.data import SongDataModule
from mdx_progressive.engine import (
    EstimateWriter,
    EventLog,
    Failures,
    ProgressiveDemixing,
    ProgressiveTrainer,
    ResultFiles,
    SoundFiles,
    StepProgressBar,
    TensorBoardCurves,
    TensorBoardFacts,
    TensorBoardSound,
    decisive_settings,
    plan_predict,
    plan_test,
    run_folder,
    unfinished_version,
)
from mdx_progressive.runtime import RESUME_HINT, MdxError, keep_freed_memory, one_line

_DESCRIPTION = """\
Progressive inference for music demixing: a frozen pretrained separator is applied again and again to a mixture
in which the estimated target grows louder. No training.

  mdx-progressive test    -c configs/demo.yaml
      one-pass, every schedule and the oracle on the built-in clip: a table, curves, TensorBoard
  mdx-progressive predict -c configs/demo.yaml --data.input song.mp3 --out separated/
      the stems of your own music
  mdx-progressive benchmark -c configs/demo.yaml
      what the method costs on this machine, as ratios to the bare network and to the separator's own library
  mdx-progressive tune -c configs/demo.yaml --data.root songs/ --to schedule.yaml
      the best weight of each step and source, or of each pass and band, on songs with stems, for use without them
  mdx-progressive compare logs/demo/version_0
      what each method of a run has gained over one pass, song by song, with intervals
  mdx-progressive report logs/demo/version_0
      a run as one HTML file: answer, charts, gains, songs, and players that switch between the takes
  mdx-progressive prepare --data.root songs/ --to prepared/
      trim and cut songs once, for all runs to come
  mdx-progressive separators
      the pretrained separators, their sources, licences and training data
  mdx-progressive schedules [--picture FILE.png]
      the schedules, their formulas and weights

Settings come from YAML files (-c, several are merged) and from options of the same names. `test --help` and
`predict --help` list them all; `--model.separator.help SpleeterSeparator` explains a class.
"""
_SUMMARIES = {
    "test": "Measure one-pass, oracle and the configured methods on songs with known stems.",
    "predict": "Separate music and write the stems to files.",
    "benchmark": "Measure what the method costs on this machine, on the first chunk of the songs.",
    "tune": "Fit a part of the method on songs with known stems, and write it as YAML.",
}
_GUIDES = {
    "test": """
  mdx-progressive test -c configs/demo.yaml
      on the built-in clip
  mdx-progressive test -c configs/demo.yaml --data.root songs/ --trainer.logger.init_args.name songs
      on your own songs: songs/<song>/vocals.wav, drums.wav, … and mixture.wav if there is one
  mdx-progressive test -c configs/htdemucs.yaml --model.method configs/method/heun.yaml --data.root songs/ --dry-run
      another separator and method; tells what it would take

Results are in logs/<name>/version_<N>, for `compare` and `report`. A run that is stopped goes on where it stopped when
the same command is started again. What is mostly changed is in the groups of model and data below.
""",
    "predict": """
  mdx-progressive predict -c configs/demo.yaml --data.input song.mp3 --out separated/
  mdx-progressive predict -c configs/htdemucs.yaml --model.method configs/method/recommended-htdemucs.yaml
      with htdemucs, by its recommended method (and the input as above)
  mdx-progressive predict -c configs/demo.yaml --data.input music/ --targets vocals --writer.format flac

What exists is kept, so that the same command goes on where it was stopped. What is mostly changed is in the groups of
model, data and writer below.
""",
    "benchmark": """
  mdx-progressive benchmark -c configs/htdemucs.yaml --model.targets [vocals] --data.chunk 5
""",
    "tune": """
  mdx-progressive tune -c configs/demo.yaml --data.root songs/ --to schedule.yaml
  mdx-progressive predict -c configs/demo.yaml --model.method.schedule schedule.yaml --data.input song.mp3
""",
}

_REQUIRED = "arguments are required"
"""How argparse begins to name them."""


class _Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's, which complains in one line, and tells where to get what is not given."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        way_out = ": take a configuration that has them, -c configs/demo.yaml" if _REQUIRED in message else ""
        super().error(message + way_out, ex)


class ProgressiveCLI(LightningCLI):
    """`test`, `predict`, `benchmark` and `tune`; the separator tells the data its sample rate and sources."""

    _goes_on = False
    """Whether the logger has been given the folder of a run that broke off."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "datamodule", "ckpt_path", "weights_only"}
        return {
            "test": skipped | {"verbose"},
            "predict": skipped | {"return_predictions"},
            "benchmark": skipped,
            "tune": skipped,
        }

    def setup_parser(
        self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, dict[str, Any]]
    ) -> None:
        super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
        # Lightning lists the subcommands with the first lines of the Trainer's docstrings.
        subcommands = self.parser._subcommands_action
        for listed in subcommands._choices_actions if subcommands else []:
            listed.help = _SUMMARIES[listed.dest]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("model.separator.sample_rate", "data.sample_rate", apply_on="instantiate")
        parser.link_arguments("model.separator.sources", "data.sources", apply_on="instantiate")
        parser.link_arguments("model.separator.receptive_field", "data.receptive_field", apply_on="instantiate")
        parser.add_lightning_class_args(EstimateWriter, "writer")
        parser.add_lightning_class_args(EventLog, "log")
        parser.add_lightning_class_args(TensorBoardSound, "tensorboard")
        parser.add_lightning_class_args(SoundFiles, "sound")
        parser.add_lightning_class_args(Failures, "failures")
        parser.add_lightning_class_args(ResultFiles, "results")
        parser.add_argument("--targets", type=str, help="Short for model.targets: vocals,drums.")
        parser.add_argument("--out", type=Path, default=Path("separated"), help="Folder that `predict` writes to.")
        parser.link_arguments("out", "writer.out")
        parser.add_argument(
            "--log-json",
            type=str | None,
            metavar="FILE",
            help="File that `predict` adds a line of JSON to for each song and block; - is stdout, where nothing else"
            " is written then. The README lists the keys.",
        )
        parser.link_arguments("log_json", "log.to")
        parser.add_argument("--fail-fast", action="store_true", help="Stop at the first song that can't be read.")
        parser.link_arguments("fail_fast", "failures.fail_fast")
        parser.add_argument(
            "--resume",
            type=bool,
            default=True,
            help="Whether `test` goes on with a run of the same model and data that broke off, in its folder.",
        )
        parser.link_arguments("resume", "results.resume")
        parser.add_argument(
            "--dry-run", action="store_true", help="Tell how much `test` or `predict` would do, and stop before it."
        )
        parser.add_argument(TRACEBACK, action="store_true", help="Show where in the code an error was raised.")

    def before_instantiate_classes(self) -> None:
        """Let `test` go on in the folder of a run that broke off, and `predict` log nothing."""
        config = self.config.get(str(self.subcommand))
        if config.targets is not None:
            config.model.targets = [name.strip() for name in config.targets.split(",")]
        if config.log_json is not None and (self.subcommand != "predict" or config.dry_run):
            raise MdxError("log_json is for runs of `predict`: leave it out")
        if self.subcommand == "predict":  # Nothing is logged: in TensorBoard it would be an empty run.
            config.trainer.logger = False
            self.save_config_callback = None
        if self.subcommand != "test" or not config.resume or getattr(rank_zero_only, "rank", 0) != 0:
            return
        version = unfinished_version(self._settings())
        self._goes_on = version is not None
        if self._goes_on:
            config.trainer.logger.init_args.version = version

    def predict(self, **kwargs: Any) -> None:
        """Separate without keeping the estimates in memory: the writer has them."""
        writer: EstimateWriter = self._chosen.writer
        if self._chosen.dry_run:
            size = writer.files.format.bytes_per_sample
            plan_predict(self.trainer, self.model, self.datamodule, writer.leave_out_estimates, size).tell(writer.out)
            self._name_failures()
            return
        events: EventLog = self._chosen.log
        writer.watchers.append(events.song_written)
        self._chosen.failures.watchers.append(events.song_failed)
        known = {"weights": self.model.separator.checksums, **decisive_settings(self._settings())}
        writer.settings = json.dumps(known)
        with events.run():
            self._to_its_end(partial(self.trainer.predict, return_predictions=False, **kwargs))
            self._name_failures(writer.out)

    def test(self, **kwargs: Any) -> None:
        """Measure; the table is printed by `ResultFiles`."""
        if self._goes_on:
            # The settings that are saved from here on are to be run again in a folder of their own.
            self.config[str(self.subcommand)].trainer.logger.init_args.version = None
        if self._chosen.dry_run:
            sounds = [self._chosen.sound.disk, self._chosen.tensorboard.disk]
            plan_test(self.trainer, self.model, self.datamodule, sounds).tell(run_folder(self.trainer))
        else:
            try:
                self._to_its_end(partial(self.trainer.test, verbose=False, **kwargs))
            except OSError as error:
                if error.filename is not None:
                    raise
                # What is read of songs is told as their faults, so that it is the run's own folder.
                folder = getattr(self.trainer.logger, "log_dir", None) or self.trainer.default_root_dir
                raise MdxError(f"{folder}: could not be written to ({error.strerror}); {RESUME_HINT}") from error
        self._name_failures()

    def _to_its_end(self, run: Callable[[], object]) -> None:
        """Run, and say so where a signal stops it: Lightning leaves without a word.

        Raises:
            MdxError: If one does.
        """
        try:
            with watch_processes(self.trainer):
                run()
        except SystemExit as left:
            if self.trainer.state.status == TrainerStatus.INTERRUPTED and self.trainer.is_global_zero:
                raise MdxError(f"stopped by a signal; {RESUME_HINT}") from left
            raise

    def _settings(self) -> dict[str, Any]:
        """The settings of the subcommand, as they are saved in config.yaml."""
        name = str(self.subcommand)
        settings: dict[str, Any] = yaml.safe_load(self._parser(name).dump(self.config[name], skip_none=False))
        return settings

    @property
    def _chosen(self) -> Any:
        """The settings of the subcommand, with its classes made."""
        return self.config_init[str(self.subcommand)]

    def _name_failures(self, out: Path | None = None) -> None:
        """Say which songs are not there.

        Args:
            out: The folder that was written to, beside other runs perhaps.
        """
        failures, elsewhere = self.datamodule.failures, self.datamodule.elsewhere
        lines = []
        if failures:
            reasons = "\n  ".join(failure.line for failure in failures)
            others = "" if self._chosen.dry_run or elsewhere else ", all others are done"
            lines.append(f"{len(failures)} of the songs could not be done{others}:\n  {reasons}")
        if elsewhere:
            names = shorten(one_line(", ".join(elsewhere)), 300, placeholder=" …")
            lines.append(
                f"{out}: left to another run, which is writing there: {names}; after its end the same command does what"
                " is missing"
            )
        if lines and self.trainer.is_global_zero:
            raise MdxError("\n".join(lines))


def run(args: Sequence[str] | None) -> None:
    """Parse the arguments and run the subcommand that they name.

    Args:
        args: The arguments; by default those of the process.
    """
    keep_freed_memory()
    # Lightning heeds SIGTERM between the steps of a training alone, but with Ctrl-C it stops all of its processes.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    hook = threading.excepthook
    # TensorBoard writes in a thread of its own, and tells the main thread of a full disk too.
    threading.excepthook = lambda args: None if isinstance(args.exc_value, OSError) else hook(args)
    try:
        _lightning(args)
    finally:
        signal.signal(signal.SIGTERM, before)
        threading.excepthook = hook


def _lightning(args: Sequence[str] | None) -> None:
    ProgressiveCLI(
        ProgressiveDemixing,
        SongDataModule,
        trainer_class=ProgressiveTrainer,
        args=None if args is None else list(args),
        parser_class=_Parser,
        parser_kwargs={
            "prog": "mdx-progressive",
            "description": _DESCRIPTION,
            "formatter_class": HelpFormatter,
            **{
                name: {
                    "description": f"{summary}\n{_GUIDES[name]}",
                    "usage": f"mdx-progressive {name} -c CONFIG [options]",
                    "formatter_class": HelpFormatter,
                }
                for name, summary in _SUMMARIES.items()
            },
        },
        trainer_defaults={
            "logger": {
                "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
                "init_args": {"save_dir": "logs", "name": "run"},
            },
            "default_root_dir": "logs",
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "callbacks": [StepProgressBar(), TensorBoardCurves(), TensorBoardFacts()],
        },
        save_config_kwargs={"overwrite": True},
        seed_everything_default=False,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,  # There are no checkpoints: nothing is trained.
    )
