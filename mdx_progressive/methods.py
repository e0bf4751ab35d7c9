"""Methods: what is done with a mixture from its plain pass on. `predict` runs one, `test` compares several."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor

from mdx_progressive.errors import MdxError
from mdx_progressive.progressive import Separate, Step, progressive
from mdx_progressive.schedules import Schedule


class Method(ABC):
    """A way to use a frozen separator at inference time.

    Args:
        name: Name in tables, charts and files.
    """

    needs_references = False
    """Whether it is told the true sources. Such a method is a bound, open to evaluation only."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many passes it makes after the plain one."""

    @abstractmethod
    def run(self, separate: Separate, mixture: Tensor, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        """Yield every step, from step 0, whose estimates are `first`.

        Args:
            separate: The separator, bound to its targets (see `progressive.Separate`).
            mixture: The mixture.
            first: Estimates of the plain pass, made once for all methods.
            references: The true targets, for the methods that need them.

        Shape:
            - mixture: (batch, channel, time)
            - first, references and the estimates: (batch, target, channel, time)
        """


class OnePass(Method):
    """The separator as it is: the plain pass and nothing after it. The lower bound.

    Args:
        name: Name in tables, charts and files.
    """

    def __init__(self, name: str = "one-pass") -> None:
        super().__init__(name)

    @property
    def steps(self) -> int:
        return 0

    def run(self, separate: Separate, mixture: Tensor, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        yield Step(0, 0.0, first)


class Progressive(Method):
    """Progressive inference: the estimate is blended into the mixture, more at each step, and separated again.

    Args:
        schedule: How the weight of the estimate grows.
        steps: Number of passes after the plain one; by default 9, or the length of an explicit schedule.
        name: Name in tables, charts and files; by default the schedule's.

    Raises:
        MdxError: If the schedule can't be laid over that many steps.
    """

    def __init__(self, schedule: Schedule, steps: int | None = None, name: str | None = None) -> None:
        super().__init__(name or type(schedule).__name__.lower())
        self.schedule = schedule
        self.weights = schedule.weights(schedule.default_steps if steps is None else steps)

    @property
    def steps(self) -> int:
        return len(self.weights) - 1

    def run(self, separate: Separate, mixture: Tensor, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        return progressive(separate, mixture, self.weights, first=first)


class Oracle(Progressive):
    """The true sources blended in where the estimates would be: the upper bound of re-weighting the input.

    Args:
        schedule: How the weight of the true source grows.
        steps: Number of passes after the plain one; by default 9, or the length of an explicit schedule.
        name: Name in tables, charts and files.
    """

    needs_references = True

    def __init__(self, schedule: Schedule, steps: int | None = None, name: str = "oracle") -> None:
        super().__init__(schedule, steps, name)

    def run(self, separate: Separate, mixture: Tensor, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        if references is None:
            raise MdxError(f"the method {self.name!r} needs the true sources: it works in `test`, not in `predict`")
        return progressive(separate, mixture, self.weights, first=first, oracle=references)
