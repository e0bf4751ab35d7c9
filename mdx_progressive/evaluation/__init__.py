"""How good estimates are: metrics, tables of results, statistics, charts, the report.

It knows no Lightning and no data set, and imports `dsp` and `runtime`.
"""

from mdx_progressive.evaluation.audio_clips import (
    FOLDER,
    AudioClip,
    Excerpt,
    Kind,
    read_index,
    remove_index,
    write_index,
)
from mdx_progressive.evaluation.comparability import run_differences
from mdx_progressive.evaluation.figures import curves_figure, songs_figure, weights_figure
from mdx_progressive.evaluation.gain_table import CAREFUL, FORMATS, GainTable
from mdx_progressive.evaluation.measurements import Measurements, discard_measurements, was_interrupted
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Metric
from mdx_progressive.evaluation.metrics.bsseval import BssEval
from mdx_progressive.evaluation.metrics.log_spectral import LogSpectralDistance
from mdx_progressive.evaluation.metrics.log_wmse import LogWmse
from mdx_progressive.evaluation.metrics.ratios import Sdr, SiSdr, sdr, si_sdr
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.report.findings import Findings
from mdx_progressive.evaluation.report.page import report_page
from mdx_progressive.evaluation.results import (
    AGGREGATION,
    LINE_COLUMNS,
    NO_VALUE,
    Comparison,
    Row,
    SummaryLine,
    mean_curves,
    read_songs,
    select_curve,
    song_means,
    summary_lines,
    title,
    write_rows,
    write_summary,
)
from mdx_progressive.evaluation.run import METRIC_HELP, RUN_HELP, Run, read_run, settings_of
from mdx_progressive.evaluation.spectrograms import spectrogram_figure
from mdx_progressive.evaluation.statistics import (
    CHOSEN,
    last_steps,
    leave_one_song_out,
    paired_gains,
    side_by_side,
    summarise,
)
from mdx_progressive.evaluation.timings import ONE_PASS, ComputeTime, Timing, compute_times, write_timings

__all__ = [
    "AGGREGATION",
    "CAREFUL",
    "CHOSEN",
    "FOLDER",
    "FORMATS",
    "LINE_COLUMNS",
    "METRIC_HELP",
    "NO_VALUE",
    "ONE_PASS",
    "RUN_HELP",
    "AudioClip",
    "BssEval",
    "Comparison",
    "ComputeTime",
    "EvaluationContext",
    "Excerpt",
    "Findings",
    "GainTable",
    "Kind",
    "LogSpectralDistance",
    "LogWmse",
    "Measurements",
    "Metric",
    "Row",
    "Run",
    "Scale",
    "Sdr",
    "SiSdr",
    "SummaryLine",
    "Timing",
    "compute_times",
    "curves_figure",
    "discard_measurements",
    "last_steps",
    "leave_one_song_out",
    "mean_curves",
    "paired_gains",
    "read_index",
    "read_run",
    "read_songs",
    "remove_index",
    "report_page",
    "run_differences",
    "sdr",
    "select_curve",
    "settings_of",
    "si_sdr",
    "side_by_side",
    "song_means",
    "songs_figure",
    "spectrogram_figure",
    "summarise",
    "summary_lines",
    "title",
    "was_interrupted",
    "weights_figure",
    "write_index",
    "write_rows",
    "write_summary",
    "write_timings",
]
