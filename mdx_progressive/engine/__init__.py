"""Runs methods on devices: the LightningModule, the Trainer, callbacks, benchmark, tuning, dry run.

The room that knows Lightning; it imports every room but `cli`.
"""

from mdx_progressive.engine.bfloat16 import usable_precision
from mdx_progressive.engine.callbacks.estimate_writer import EstimateWriter
from mdx_progressive.engine.callbacks.event_log import EventLog
from mdx_progressive.engine.callbacks.failure_collector import FailureCollector
from mdx_progressive.engine.callbacks.progress import StepProgressBar
from mdx_progressive.engine.callbacks.result_files import ResultFiles
from mdx_progressive.engine.callbacks.row_collector import RowCollector
from mdx_progressive.engine.callbacks.run_context import run_folder
from mdx_progressive.engine.callbacks.sound_files import SoundFiles
from mdx_progressive.engine.callbacks.tensorboard_results import TensorBoardResults
from mdx_progressive.engine.callbacks.tensorboard_sound import TensorBoardSound
from mdx_progressive.engine.dry_run import plan_predict, plan_test
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.quiet import quiet_lightning
from mdx_progressive.engine.resume import separation_settings, unfinished_version
from mdx_progressive.engine.trainer import ProgressiveTrainer
from mdx_progressive.engine.tuning import OfflineSearch

__all__ = [
    "EstimateWriter", "EventLog", "FailureCollector", "OfflineSearch", "ProgressiveDemixing", "ProgressiveTrainer",
    "ResultFiles", "RowCollector", "SoundFiles", "StepProgressBar", "TensorBoardResults", "TensorBoardSound",
    "plan_predict", "plan_test", "quiet_lightning", "run_folder", "separation_settings", "unfinished_version",
    "usable_precision",
]  # fmt: skip
