"""What can be done to estimates, at each step or after the last one.

They heed constraints that the network ignores, and take back errors that show. Let `x_j` be the estimates, `y` the
mixture and `r = y - sum_j x_j` the residual that is in none of them.
"""

from mdx_progressive.corrections.base import Correction
from mdx_progressive.corrections.consistency import Complement, MixtureConsistency
from mdx_progressive.corrections.disagreement import CovarianceShrinkage, VarianceConsistency, VarianceShrinkage
from mdx_progressive.corrections.rehearsal import Rehearsal
from mdx_progressive.corrections.repetition import Repetition
from mdx_progressive.corrections.separated_again import CleanUp, ResidualSeparation
from mdx_progressive.corrections.stacking import Stacking
from mdx_progressive.corrections.wiener import Wiener

__all__ = [
    "CleanUp",
    "Complement",
    "Correction",
    "CovarianceShrinkage",
    "MixtureConsistency",
    "Rehearsal",
    "Repetition",
    "ResidualSeparation",
    "Stacking",
    "VarianceConsistency",
    "VarianceShrinkage",
    "Wiener",
]
