"""The idea: a frozen separator is applied again to a re-weighted mixture, along a schedule or a search.

It needs a callable and torch; it imports `dsp` and the errors of `runtime`, and knows neither files nor Lightning.
"""

from mdx_progressive.progressive.augmentations import Augmentation, AugmentationCycle, AugmentationPlan, NoAugmentation
from mdx_progressive.progressive.combine import Combination, GuardedMean, Last, Mean
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.corrections.complement import Complement
from mdx_progressive.progressive.corrections.repetition import Repetition
from mdx_progressive.progressive.corrections.self_remix import SelfRemix
from mdx_progressive.progressive.corrections.variance import CovarianceShrinkage
from mdx_progressive.progressive.methods import (
    Method,
    OnePass,
    Oracle,
    Progressive,
    plain_ensemble,
    tracked_sources,
    with_every_schedule,
)
from mdx_progressive.progressive.passes import Passes, select_sources
from mdx_progressive.progressive.remix import AddToMixture, Remix, RemixStems, SubtractOthers
from mdx_progressive.progressive.samplers import Euler, FromMixture, Halves, Heun, Sampler
from mdx_progressive.progressive.schedules import (
    Constant,
    Cosine,
    Explicit,
    Exponential,
    FlowShift,
    Formula,
    Karras,
    KarrasFlow,
    Linear,
    PerSource,
    Polyexponential,
    Power,
    Schedule,
    Sigmoid,
    SmoothStep,
    VariancePreserving,
    checked_weights,
    formulas,
)
from mdx_progressive.progressive.search import (
    Agreement,
    ErrorScore,
    Interference,
    MissedTarget,
    OracleScore,
    Region,
    Residual,
    Score,
    Search,
    Weighted,
)
from mdx_progressive.progressive.trajectory import Step

__all__ = [
    "AddToMixture", "Agreement", "Augmentation", "AugmentationCycle", "AugmentationPlan", "Combination", "Complement",
    "Constant", "Correction", "Cosine", "CovarianceShrinkage", "ErrorScore", "Euler", "Explicit", "Exponential",
    "FlowShift", "Formula", "FromMixture", "GuardedMean", "Halves", "Heun", "Interference", "Karras", "KarrasFlow",
    "Last", "Linear", "Mean", "Method", "MissedTarget", "NoAugmentation", "OnePass", "Oracle", "OracleScore",
    "Passes", "PerSource", "Polyexponential", "Power", "Progressive", "Region", "Remix", "RemixStems", "Repetition",
    "Residual", "Sampler", "Schedule", "Score", "Search", "SelfRemix", "Sigmoid", "SmoothStep", "Step",
    "SubtractOthers", "VariancePreserving", "Weighted", "checked_weights", "formulas", "plain_ensemble",
    "select_sources", "tracked_sources", "with_every_schedule",
]  # fmt: skip
