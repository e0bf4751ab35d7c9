"""Several processes of one run: what they gather from each other, and what only the first one says."""

import logging
import os
from typing import TypeVar

import torch

T = TypeVar("T")
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Where launchers tell a process its number, in the order in which Lightning looks for it."""


def all_gather(found: T, processes: int) -> list[T]:
    """What each of the processes has found, in the order of their ranks; all have to ask for it together.

    Args:
        found: What this one has found; it is pickled where there are others.
        processes: How many there are.

    Example:
        >>> all_gather("alone", 1)
        ['alone']
    """
    if processes == 1:
        return [found]
    everywhere = [found] * processes
    torch.distributed.all_gather_object(everywhere, found)
    return everywhere


def warn_once(log: logging.Logger, message: str, *values: object) -> None:
    """Warn in the first process of a run alone; every process reads the same songs, and would say the same.

    Args:
        log: The logger.
        message: The message, with placeholders as `logging` takes them.
        values: What they stand for.
    """
    number = next((os.environ[name] for name in _RANKS if name in os.environ), "0")
    if int(number) == 0:
        log.warning(message, *values)
