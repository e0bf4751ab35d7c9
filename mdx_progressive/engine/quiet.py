"""Lightning without its notes on devices, tips, and what torch has replaced."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOG = "lightning.pytorch.utilities.rank_zero"


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Within it, Lightning says nothing but warnings that a user can act on."""
    log = logging.getLogger(_LOG)
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        log.setLevel(before)
