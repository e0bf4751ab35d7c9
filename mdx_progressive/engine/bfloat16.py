"""Whether a device computes in bfloat16: a CPU that does not would take a hundred times as long as in float32."""

import logging

import torch

log = logging.getLogger(__name__)

_FLOAT32 = "32-true"


def has_bfloat16(device: torch.device) -> bool:
    """Whether oneDNN has instructions for bfloat16 here; other CPUs compute convolutions in one thread, in software.

    True for accelerators, and where PyTorch can't tell.
    """
    if device.type != "cpu":
        return True
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # PyTorch without oneDNN.
        return True


def usable_precision(precision: str | int | None, accelerator: object) -> str | int | None:
    """The precision of a Trainer, or float32 where the CPU would compute bfloat16 in software, which is logged.

    Args:
        precision: The Trainer's setting.
        accelerator: The Trainer's setting.
    """
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not accelerated)
    if not str(precision).startswith("bf16") or not on_cpu or has_bfloat16(torch.device("cpu")):
        return precision
    log.warning("trainer.precision %s: this CPU has no bfloat16 and would be far slower: runs in float32", precision)
    return _FLOAT32
