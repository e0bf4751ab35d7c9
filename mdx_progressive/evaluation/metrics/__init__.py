"""How good an estimate is: one metric a file, and one rule for what has no value.

- A channel of a reference is *silent* where it is zero or 60 dB below the mixture: it can't be heard, and a ratio to it
  says nothing. Silent channels are left out of the mean over channels. A source of silent channels only has no value
  by any metric: NaN, counted as `silent`.
- An estimate with a sample that is NaN or infinite gets the worst value: -inf, or inf where lower is better.
- A source is *lost* where its value is -60 dB or worse (a log-spectral distance of 80 dB), or where the metric has a
  value for another method or step on this chunk, but none for this one. It is not left out, which would make a method
  better that fails on the hardest songs: in means and gains it counts as -60 dB, and it is counted as `lost`.
- An infinite value that is the best, of an estimate that equals its source, is left out of all means and counted as
  `infinite`.
- An estimate that is zero throughout, of a source that is not silent, is measured like any other; only SI-SDR and SDR
  are set to -60 dB, where torchmetrics returns 0 dB.
- A chunk shorter than a metric's window is one window: as it is for BSSEval, centred in silence for spectra. One sample
  is enough for every metric (except BSSEval's SIR and SAR, whose filters then explain everything).
- A metric that is undefined for another reason (BSSEval where no window has sound in all sources and estimates, or
  where it would divide zero by zero; SI-SDR improvement where the mixture equals the source to within 60 dB) has no
  value: NaN, counted as `undefined`.
- Of values in windows, as BSSEval's, the median is taken; where that lies between a finite and an infinite one, it is
  the infinite one.

The counts are of chunks, and are listed with each mean in `summary.json`.
"""

from mdx_progressive.evaluation.metrics.base import Metric
from mdx_progressive.evaluation.metrics.bsseval import BssEval
from mdx_progressive.evaluation.metrics.log_spectral import LogSpectralDistance
from mdx_progressive.evaluation.metrics.log_wmse import LogWmse
from mdx_progressive.evaluation.metrics.sdr import Sdr
from mdx_progressive.evaluation.metrics.si_sdr import SiSdr

# YAML may name each of them in short as soon as one is imported.
__all__ = ["BssEval", "LogSpectralDistance", "LogWmse", "Metric", "Sdr", "SiSdr"]
