"""What listens to a run and writes down what it hears."""

from mdx_progressive.engine.callbacks.estimate_writer import EstimateWriter
from mdx_progressive.engine.callbacks.event_log import EventLog
from mdx_progressive.engine.callbacks.failures import Failures
from mdx_progressive.engine.callbacks.progress import StepProgressBar
from mdx_progressive.engine.callbacks.result_files import ResultFiles
from mdx_progressive.engine.callbacks.run_context import run_folder
from mdx_progressive.engine.callbacks.sound_files import SoundFiles
from mdx_progressive.engine.callbacks.tensorboard_curves import TensorBoardCurves
from mdx_progressive.engine.callbacks.tensorboard_facts import TensorBoardFacts
from mdx_progressive.engine.callbacks.tensorboard_sound import TensorBoardSound

__all__ = [
    "EstimateWriter",
    "EventLog",
    "Failures",
    "ResultFiles",
    "SoundFiles",
    "StepProgressBar",
    "TensorBoardCurves",
    "TensorBoardFacts",
    "TensorBoardSound",
    "run_folder",
]
