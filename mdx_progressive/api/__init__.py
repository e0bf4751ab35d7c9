"""The functions of Python users: load by name, separate a file, iterate over a tensor, evaluate on songs.

They are exported by the package itself; what is large is imported when a function needs it.
"""

from mdx_progressive.api.evaluation import evaluate
from mdx_progressive.api.iteration import iterate
from mdx_progressive.api.loading import load_method, load_separator
from mdx_progressive.api.separation import Progress, Stem, separate

__all__ = ["Progress", "Stem", "evaluate", "iterate", "load_method", "load_separator", "separate"]
