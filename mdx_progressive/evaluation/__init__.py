"""The quality of estimates: metrics, tables of results, statistics, charts, the report.

It knows no Lightning and no data set, and imports `dsp`, `runtime` and of `presets` what finds the nearest name.

What it exports is imported when it is first asked for: `compare` needs no charts, and `report` no metrics.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
