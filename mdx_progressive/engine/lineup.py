"""Which methods a run of `test` compares: the bounds, the method, what it has to beat, and further ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from mdx_progressive.progressive import (
    Linear,
    Method,
    OnePass,
    Oracle,
    Progressive,
    with_every_schedule,
)
from mdx_progressive.runtime import MdxError


@dataclass(frozen=True)
class Lineup:
    """The methods of a run.

    Args:
        baseline: One pass, the lower bound.
        oracle: The upper bound; None where it is not run.
        others: All methods that are no bound; `method` is the first of them unless it is one pass.
    """

    baseline: OnePass
    oracle: Oracle | None
    others: list[Method]

    @property
    def methods(self) -> list[Method]:
        """All of them, in the order in which they are run."""
        bounds: list[Method] = [self.baseline, self.oracle] if self.oracle else [self.baseline]
        return [*bounds, *self.others]


def lineup(
    method: Method,
    compare: Sequence[Method] = (),
    ensemble: Method | None = None,
    schedules: bool = False,
    oracle: bool = True,
) -> Lineup:
    """The methods that are compared.

    Args:
        method: The method under test.
        compare: Further methods. One with the name of `method` is left out: a preset that was among them has become
            the method itself; so is one pass, which always runs.
        ensemble: A plain ensemble of as many passes as `method`, to run beside it.
        schedules: Whether `method` also runs with every other schedule; a schedule whose name is that of a method in
            `compare` is left to that one.
        oracle: Whether the upper bound runs: with the schedule of `method`, or a linear one where that has none, in as
            many steps. A method without steps has no such bound.

    Raises:
        MdxError: If two methods have one name, or `method` has no schedule that could be replaced.
    """
    bound = None
    if oracle and method.steps:
        bound = Oracle(method.schedule if isinstance(method, Progressive) else Linear(), method.steps)
    further = [each for each in compare if each.name != method.name and not isinstance(each, OnePass)]
    others = [] if isinstance(method, OnePass) else [method]
    if ensemble is not None:
        others.append(ensemble)
    if schedules:
        listed = {each.name for each in further}
        others += [each for each in with_every_schedule(method) if each.name not in listed]
    result = Lineup(method if isinstance(method, OnePass) else OnePass(), bound, [*others, *further])
    names = [each.name for each in result.methods]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MdxError(f"two methods have the name {', '.join(twice)}: give one of them another, with init_args.name")
    return result
