"""How the estimates of several passes are combined into one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from mdx_progressive.runtime import MdxError


class Combination(ABC):
    """Combines the passes of all steps so far into the estimate that is returned, and blended into the next input."""

    steps: int | None = None
    """Number of latest steps that it uses; None for all steps."""

    @abstractmethod
    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        """One estimate from all passes.

        Args:
            passes: For every step, from step 0, the estimates of its passes.

        Shape:
            - passes: (pass, batch, source, channel, time) each
            - result: (batch, source, channel, time)
        """


class Last(Combination):
    """The mean over the passes of the latest step; earlier steps are discarded.

    Example:
        >>> import torch
        >>> Last()([torch.zeros(1, 1), torch.tensor([[1.0], [3.0]])]).tolist()
        [2.0]
    """

    steps = 1

    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        return passes[-1].mean(dim=0)


class Mean(Combination):
    """The mean over all passes so far; passes of later steps may have another weight than those of step 0.

    Where the separator confuses two sources, the last step alone may oscillate between them; the mean converges (Mann,
    1953, Mean value methods in iteration).

    Args:
        later: Weight of a pass of the steps after step 0, where one of step 0 has 1.

    Raises:
        MdxError: If `later` is not above 0.

    Example:
        >>> import torch
        >>> Mean()([torch.zeros(1, 1), torch.tensor([[1.0], [3.0]])]).tolist()
        [1.3333333730697632]
        >>> Mean(later=2.0)([torch.zeros(2, 1), torch.full((1, 1), 4.0)]).tolist()
        [2.0]
    """

    def __init__(self, later: float = 1.0) -> None:
        if not later > 0:
            raise MdxError(f"the weight of later passes must be above 0, not {later}")
        self.later = later

    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        first, *others = passes
        total, weight = first.sum(dim=0), float(len(first))
        for each in others:
            total, weight = total + self.later * each.sum(dim=0), weight + self.later * len(each)
        return total / weight
