"""Permissions of files that count even for root."""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def drop_privileges() -> Callable[[], None]:
    """From now on root may read and write no more than others; the result is what undoes it."""
    if os.geteuid() != 0:
        return lambda: None
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3, this process
    system = ctypes.CDLL(None)
    assert system.capget(header, sets) == 0
    effective = sets[0]

    def choose(capabilities: int) -> None:
        sets[0] = capabilities
        assert system.capset(header, sets) == 0

    choose(effective & ~0b110)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    return lambda: choose(effective)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Within it root may read and write no more than others."""
    restore = drop_privileges()
    try:
        yield
    finally:
        restore()
