"""Lightning without its notes on devices and tips."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOG = "lightning.pytorch.utilities.rank_zero"


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Within it, Lightning says nothing but warnings."""
    log = logging.getLogger(_LOG)
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)
