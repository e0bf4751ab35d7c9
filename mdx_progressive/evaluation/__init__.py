"""The quality of estimates: metrics, tables of results, statistics, charts, the report.

It knows no Lightning and no data set, and imports `dsp` and `runtime`.
"""

from mdx_progressive.evaluation.audio_clips import (
    SOUND_FOLDER,
    AudioClip,
    Excerpt,
    Kind,
    read_index,
    remove_index,
    write_index,
)
from mdx_progressive.evaluation.figures import curves_figure, songs_figure, spectrogram_figure, weights_figure
from mdx_progressive.evaluation.gain_files import TABLE_FORMATS, WARNING, write_gains
from mdx_progressive.evaluation.gain_table import GainTable, compare_runs
from mdx_progressive.evaluation.measurements import Measurements, discard_measurements, was_interrupted
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Metric
from mdx_progressive.evaluation.metrics.bsseval import BssEval
from mdx_progressive.evaluation.metrics.log_spectral import LogSpectralDistance
from mdx_progressive.evaluation.metrics.log_wmse import LogWmse
from mdx_progressive.evaluation.metrics.sdr import Sdr
from mdx_progressive.evaluation.metrics.si_sdr import SiSdr, si_sdr
from mdx_progressive.evaluation.report.page import report_page
from mdx_progressive.evaluation.results import (
    NO_VALUE,
    Row,
    final_means,
    read_songs,
    select_curve,
    split_songs,
    to_table,
    write_rows,
)
from mdx_progressive.evaluation.run import METRIC_HELP, RUN_HELP, read_run, read_settings, separator_label
from mdx_progressive.evaluation.statistics import last_steps, summarise
from mdx_progressive.evaluation.summary import (
    AGGREGATION,
    LINE_COLUMNS,
    Comparison,
    SummaryLine,
    compare_methods,
    summary_lines,
    write_summary,
)
from mdx_progressive.evaluation.timings import ONE_PASS, Timing, write_timings

__all__ = [
    "AGGREGATION", "LINE_COLUMNS", "METRIC_HELP", "NO_VALUE", "ONE_PASS", "RUN_HELP", "SOUND_FOLDER",
    "TABLE_FORMATS", "WARNING", "AudioClip", "BssEval", "Comparison", "EvaluationContext", "Excerpt", "GainTable",
    "Kind", "LogSpectralDistance", "LogWmse", "Measurements", "Metric", "Row", "Sdr", "SiSdr", "SummaryLine",
    "Timing", "compare_methods", "compare_runs", "curves_figure", "discard_measurements", "final_means",
    "last_steps", "read_index", "read_run", "read_settings", "read_songs", "remove_index", "report_page",
    "select_curve", "separator_label", "si_sdr", "songs_figure", "spectrogram_figure", "split_songs", "summarise",
    "summary_lines", "to_table", "was_interrupted", "weights_figure", "write_gains", "write_index", "write_rows",
    "write_summary", "write_timings",
]  # fmt: skip
