"""How the estimates of several passes become one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from mdx_progressive.runtime import MdxError


class Combination(ABC):
    """Maps the passes of all steps so far to the estimate that is handed out, and blended into the next input."""

    steps: int | None = None
    """How many of the latest steps it looks at; None for all of them."""

    @abstractmethod
    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        """One estimate out of all passes.

        Args:
            passes: For every step, from step 0, the estimates of its views.

        Shape:
            - passes: (view, batch, source, channel, time) each
            - result: (batch, source, channel, time)
        """


class Last(Combination):
    """The mean over the views of the latest step: nothing is kept of the steps before it.

    Example:
        >>> Last()([torch.zeros(1, 1), torch.tensor([[1.0], [3.0]])]).tolist()
        [2.0]
    """

    steps = 1

    def __call__(self, passes: Sequence[Tensor]) -> Tensor:
        return passes[-1].mean(dim=0)


class Mean(Combination):
    """The mean over all passes so far, those of later steps with a weight of their own.

    Blended into the next input, it settles where the last step alone would swing to and fro, since the separator takes
    one source for another and then the other way round (Mann, 1953, Mean value methods in iteration).

    Args:
        later: Weight of a pass of the steps after step 0, where one of step 0 has 1.

    Raises:
        MdxError: If `later` is not above 0.

    Example:
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
