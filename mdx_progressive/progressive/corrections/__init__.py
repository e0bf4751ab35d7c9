"""What can be done to estimates, at each step or after the last one.

They heed constraints that the network ignores, and take back errors that show. Let `x_j` be the estimates, `y` the
mixture and `r = y - sum_j x_j` the residual that is in none of them.
"""

from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.corrections.complement import Complement
from mdx_progressive.progressive.corrections.repetition import Repetition
from mdx_progressive.progressive.corrections.self_remix import SelfRemix
from mdx_progressive.progressive.corrections.variance import CovarianceShrinkage

__all__ = ["Complement", "Correction", "CovarianceShrinkage", "Repetition", "SelfRemix"]
