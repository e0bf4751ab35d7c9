"""The command in a process of its own, up to a signal: in a fork, or by `stopping.py SIGNAL RANK CHUNKS ARGUMENT …`."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess

import numpy as np
import pytest
import torch
from librosa.effects import trim

from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.measurements import Measurements
from mdx_progressive.output.block_store import BlockStore

# The server of forks imports this module once, for all processes.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.support.processes"])
trim(np.ones(4096))  # Librosa loads seconds of code at its first call.


def forked(arguments: Sequence[str], how: signal.Signals | None = None, chunks: int = 0) -> int:
    """The exit code of the command in a fork, which is sent a signal right after it has done so many chunks."""
    process = begun(arguments, how, chunks)
    process.join(240)
    assert process.exitcode is not None
    return process.exitcode


def begun(arguments: Sequence[str], how: signal.Signals | None = None, chunks: int = 0) -> ForkServerProcess:
    """As `forked`, while it runs."""
    process = FORKS.Process(target=_run, args=(arguments, how, 0, chunks))
    process.start()
    return process


def stopped(
    how: signal.Signals, rank: int, chunks: int, arguments: Sequence[str]
) -> "subprocess.CompletedProcess[str]":
    """The command, of whose processes that of a rank is sent a signal; it comes back when all of them have ended."""
    words = [sys.executable, __file__, how.name, str(rank), str(chunks), *arguments]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=600)


def _run(arguments: Sequence[str], how: signal.Signals | None, rank: int, chunks: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell has it ignored by what it starts with `&`.
    torch.set_num_threads(1)  # On a busy machine threads that wait for each other cost minutes.
    place: type = BlockStore if arguments[0] == "predict" else Measurements
    name = "put" if arguments[0] == "predict" else "append"
    keep, kept = getattr(place, name), []

    def counted(*what: object) -> None:
        keep(*what)
        kept.append(what)
        if how is not None and len(kept) == chunks and int(os.environ.get("LOCAL_RANK", "0")) == rank:
            os.kill(os.getpid(), how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, counted)
        sys.exit(main(tuple(arguments)))


if __name__ == "__main__":
    _run(sys.argv[4:], signal.Signals[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3]))
