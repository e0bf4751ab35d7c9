"""The command in a process of its own, up to a signal: in a fork, or by `stopping.py SIGNAL CHUNKS ARGUMENT …`."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from librosa.effects import trim

from mdx_progressive.cli import main
from mdx_progressive.journal import Journal

# The server of forks imports this module once, for all processes.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.stopping"])
trim(np.ones(4096))  # Librosa loads seconds of code at its first call.


def forked(arguments: Sequence[str], how: signal.Signals | None = None, chunks: int = 0) -> int:
    """The exit code of the command in a fork, which is sent a signal right after it has measured so many chunks."""
    process = FORKS.Process(target=_run, args=(arguments, how, chunks))
    process.start()
    process.join(240)
    assert process.exitcode is not None
    return process.exitcode


def _run(arguments: Sequence[str], how: signal.Signals | None, chunks: int) -> None:
    torch.set_num_threads(1)  # On a busy machine threads that wait for each other cost minutes.
    append = Journal.append

    def counted(self: Journal, *measured: object) -> None:
        append(self, *measured)  # type: ignore[arg-type]
        if how is not None and self.appended == chunks and os.environ.get("LOCAL_RANK", "0") == "0":
            os.kill(os.getpid(), how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "append", counted)
        sys.exit(main(tuple(arguments)))


if __name__ == "__main__":
    _run(sys.argv[3:], signal.Signals[sys.argv[1]], int(sys.argv[2]))
