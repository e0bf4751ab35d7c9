"""Memory of a process: freed memory that is kept for the next layer, the peak, errors when it runs out."""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_DEFAULT, _ALL = 2**17, 2**31 - 1
_LONG = 2**26
"""Bytes of a tensor that is mapped by itself, to go back whole: four stereo sources of 48 s, no layer of htdemucs."""
_keeping = Event()
_OUT_OF_MEMORY = re.compile(
    r"out of memory|allocate memory|bad_alloc|_ALLOC_FAILED|MemoryAllocation|can't start new thread"
    # oneDNN, which refuses what is not possible for another reason before, as a "primitive descriptor".
    r"|could not \w+ a (primitive|memory object)$"
)
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")  # On Linux alone.


def keep_freed_memory() -> bool:
    """Have glibc keep freed memory instead of returning it to the kernel at once, except that of long tensors.

    By default every large activation is mapped anew, and each of its pages faults when it is first written: a
    quarter of the time of a Demucs pass on the CPU. It holds for the whole process, so the command line calls
    it, and importing the package does not. Only within `keep_layer_memory` long tensors are kept too.

    Returns:
        Whether it took effect; False where the C library is not glibc.
    """
    if kept := _set_glibc_thresholds(_LONG, _ALL):
        _keeping.set()
    return kept


def release_freed_memory() -> None:
    """Have glibc return freed memory to the kernel again, with what it has kept so far, where memory runs out.

    What is kept lies in pieces between what is used: too small for the next layer, and out of reach of libraries that
    ask the kernel themselves.
    """
    _keeping.clear()
    if _set_glibc_thresholds(_DEFAULT, _DEFAULT):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def keep_layer_memory() -> Iterator[None]:
    """While a network computes, long tensors too are kept for its next layer, if `keep_freed_memory` was called."""
    if not _keeping.is_set():
        yield
        return
    _set_glibc_thresholds(2**30, _ALL)
    try:
        yield
    finally:
        _set_glibc_thresholds(_LONG, _ALL)


def release_layer_memory() -> None:
    """Return to the kernel what `keep_layer_memory` has kept; the next pass begins anew.

    Long tensors would find no room in it, and split it up.
    """
    if _keeping.is_set():
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _set_glibc_thresholds(mmap_threshold: int, trim_threshold: int) -> bool:
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, mmap_threshold) and mallopt(_M_TRIM_THRESHOLD, trim_threshold))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: PyTorch's own, Python's, or those of the libraries below them.

    Example:
        >>> import torch
        >>> is_out_of_memory(torch.OutOfMemoryError()), is_out_of_memory(RuntimeError("a shape does not fit"))
        (True, False)
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."))
        True
    """
    import torch

    # TorchScript, MPS, the allocator of the CPU, cuBLAS and others have no class for it.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def reset_peak_memory(device: "torch.device") -> None:
    """Forget the peak so far of the memory of a device."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu" and _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_memory(device: "torch.device") -> int | None:
    """Largest use of memory since `reset_peak_memory`, in bytes; None where the system does not tell.

    Args:
        device: An accelerator, for what tensors took on it, or the CPU, for the whole process.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    if device.type == "cpu" and _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return None
