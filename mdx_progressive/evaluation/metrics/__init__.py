"""How good an estimate is: one metric a file, and one written rule for what can't be measured.

- A channel of a reference is *silent* where it is zero or lies 60 dB below the mixture: nobody hears it, and a ratio to
  it says nothing. Silent channels are left out of the mean over channels. A source with no other channel has no value,
  by any metric: NaN, counted as `silent`.
- An estimate with a sample that is no number, or infinite, is as far from its source as can be: -inf, or inf where
  lower is better. A value without limit to either side is left out of all means, and counted as `infinite`.
- An estimate of nothing at all for a source that can be heard is measured like any other; only SI-SDR and SDR are
  given -60 dB, where torchmetrics says 0 dB.
- A chunk shorter than a metric's window is one window: as it is for BSSEval, in the middle of silence for spectra. One
  sample is enough for every metric (but BSSEval's SIR and SAR, whose filters then explain everything).
- A metric that has nothing to go by for another reason (BSSEval where no window holds sound of all sources and
  estimates, or where it would divide nothing by nothing; SI-SDR improvement where the mixture is the source to within
  60 dB) has no value: NaN, counted as `undefined`.

The counts are of chunks, and stand beside each mean in `summary.json`.
"""

from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric
from mdx_progressive.evaluation.metrics.bsseval import BssEval
from mdx_progressive.evaluation.metrics.log_spectral import LogSpectralDistance
from mdx_progressive.evaluation.metrics.log_wmse import LogWmse
from mdx_progressive.evaluation.metrics.ratios import Sdr, SiSdr, sdr, si_sdr

__all__ = [
    "BssEval",
    "EvaluationContext",
    "LogSpectralDistance",
    "LogWmse",
    "Measure",
    "Metric",
    "Sdr",
    "SiSdr",
    "sdr",
    "si_sdr",
]
