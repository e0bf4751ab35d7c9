from .audio_clips import (
    SOUND_FOLDER,
    AudioClip,
    Excerpt,
    Kind,
    read_index,
    remove_index,
    write_index,
)
from .figures import curves_figure, songs_figure, spectrogram_figure, weights_figure
from .gain_files import TABLE_FORMATS, WARNING, write_gains
from .gain_table import GainTable, compare_runs
from .measurements import Measurements, discard_measurements, lock_run, was_begun, was_interrupted
from .metrics.base import EvaluationContext, Metric
from .metrics.bsseval import BssEval
from .metrics.log_spectral import LogSpectralDistance
from .metrics.log_wmse import LogWmse
from .metrics.sdr import Sdr
from .metrics.si_sdr import SiSdr, si_sdr
from .report.page import report_page
from .results import (
    NO_VALUE,
    Row,
    final_means,
    read_songs,
    select_curve,
    split_songs,
    to_table,
    write_rows,
)
from .run import METRIC_HELP, RUN_HELP, lies_in_run, read_run, read_settings, separator_label
from .statistics import last_steps, summarise
from .summary import (
    AGGREGATION,
    LINE_COLUMNS,
    Comparison,
    SummaryLine,
    compare_methods,
    summary_lines,
    write_summary,
)
from .timings import ONE_PASS, Timing, three_digits, write_timings

__all__ = [
    "AGGREGATION", "LINE_COLUMNS", "METRIC_HELP", "NO_VALUE", "ONE_PASS", "RUN_HELP", "SOUND_FOLDER", "TABLE_FORMATS",
    "WARNING", "AudioClip", "BssEval", "Comparison", "EvaluationContext", "Excerpt", "GainTable", "Kind",
    "LogSpectralDistance", "LogWmse", "Measurements", "Metric", "Row", "Sdr", "SiSdr", "SummaryLine", "Timing",
    "compare_methods", "compare_runs", "curves_figure", "discard_measurements", "final_means", "last_steps",
    "lies_in_run", "lock_run", "read_index", "read_run", "read_settings", "read_songs", "remove_index", "report_page",
    "select_curve", "separator_label", "si_sdr", "songs_figure", "spectrogram_figure", "split_songs", "summarise",
    "summary_lines", "three_digits", "to_table", "was_begun", "was_interrupted", "weights_figure", "write_gains",
    "write_index", "write_rows", "write_summary", "write_timings",
]  # fmt: skip
