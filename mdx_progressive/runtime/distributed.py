"""Several processes of one run: values gathered from all of them, and warnings of the first one alone."""

import logging
import os
from typing import TypeVar

T = TypeVar("T")
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Where launchers tell a process its number, in the order in which Lightning looks for it."""


def all_gather(value: T, processes: int) -> list[T]:
    """The values of all processes, in the order of their ranks; all of them have to call it together.

    Args:
        value: The value of this process; it is pickled where there are others.
        processes: How many there are.

    Example:
        >>> all_gather("alone", 1)
        ['alone']
    """
    values = [value] * processes
    if processes > 1:
        import torch

        torch.distributed.all_gather_object(values, value)
    return values


def warn_once(log: logging.Logger, message: str, *values: object) -> None:
    """Warn as `log.warning`, in the first process of a run alone: all of them read the same songs."""
    if is_first_process():
        log.warning(message, *values)


def is_first_process() -> bool:
    """Whether this is the first of the processes that a launcher has started, or there is no launcher."""
    return int(next((os.environ[name] for name in _RANKS if name in os.environ), "0")) == 0
