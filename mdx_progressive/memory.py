"""Memory: keep what was freed for the next layer, tell the peak, and when there is no more."""

import ctypes
import re
from pathlib import Path

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")  # Linux alone has them


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of giving it back to the kernel at once.

    By default every large activation is mapped anew, and each of its pages faults when it is first written: a
    quarter of the time of a Demucs pass on the CPU. It holds for the whole process, so the command line calls
    it, and importing the package does not.

    Returns:
        Whether it could be told; False where the C library is not glibc.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is wanting: PyTorch's own, Python's, or those of the libraries below them.

    Example:
        >>> is_out_of_memory(torch.OutOfMemoryError()), is_out_of_memory(RuntimeError("a shape does not fit"))
        (True, False)
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."))
        True
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # TorchScript, MPS, the allocator of the CPU, cuBLAS, cuDNN and ONNX Runtime raise errors of no kind of their own.
    return bool(re.search(r"out of memory|allocate memory|_ALLOC_FAILED|MemoryAllocation", str(error)))


def restart_peak_memory(device: torch.device) -> None:
    """Forget the peak so far.

    Args:
        device: Whose memory it is.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu" and _CLEAR.exists():
        _CLEAR.write_text("5")


def peak_memory(device: torch.device) -> int | None:
    """Largest use of memory since `restart_peak_memory`, in bytes; None where the system does not tell.

    Args:
        device: An accelerator, for what tensors took on it, or the CPU, for the whole process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "cpu" and _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return None
