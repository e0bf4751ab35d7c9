"""The processes of a run on several devices: when one of them ends, the others end too, and one line says so."""

import os
import signal
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import Popen

from lightning.pytorch import Trainer
from lightning.pytorch.trainer.states import TrainerStatus

from mdx_progressive.cli.parser import complain
from mdx_progressive.runtime import RESUME_HINT, MdxError

_FIRST = "MDX_PROGRESSIVE_FIRST"
"""By it the processes that the first one starts know which one that is."""
_GRACE = 2.0
"""Seconds until it is known that a process has ended, after its connection to the others has broken."""
_PAUSE = 0.1


@contextmanager
def watch_processes(trainer: Trainer) -> Iterator[None]:
    """While processes run together, see that none goes on without the others.

    Left alone, one that remains would wait for the one that is missing, or be killed by Lightning without a word.
    Processes that something else starts (torchrun, SLURM) are left to that.

    Args:
        trainer: What runs within, and starts the processes.

    Raises:
        MdxError: If the run has failed since another process has ended.
    """
    others: _Others | None = None
    if hasattr(trainer.strategy.launcher, "procs"):
        if trainer.local_rank == 0:
            os.environ[_FIRST] = str(os.getpid())
            others = _Started(trainer)
        elif _FIRST in os.environ:
            others = _First(trainer)
    if others is None:
        yield
        return
    try:
        yield
    except (MdxError, OSError, KeyboardInterrupt, SystemExit):
        others.end()
        raise
    except Exception as error:
        if others.missing.wait(_GRACE):
            raise MdxError(others.line) from error
        others.end()
        raise
    others.wait()


class _Others(ABC):
    """The other processes, watched until one has ended before its time.

    Args:
        trainer: What runs here.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.missing = threading.Event()
        """Whether one has."""
        self.line = ""
        """What is to be said of it."""
        self.over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @abstractmethod
    def _watch(self) -> None:
        """Wait for the end of the others."""

    @abstractmethod
    def end(self) -> None:
        """End those that this one has started."""

    @abstractmethod
    def wait(self) -> None:
        """Let those that this one has started come to their end."""

    def _miss(self, line: str) -> None:
        if self.over.is_set():
            return
        self.line = line
        self.missing.set()
        if self.trainer.state.status == TrainerStatus.INTERRUPTED:
            return  # The main thread has broken off, for this reason or another one, and says so.
        sys.stderr.write("\n")  # A bar of progress has ended none.
        complain(line)
        self.end()
        # Within a library that waits for the other, the main thread heeds no exception.
        os._exit(1)


class _Started(_Others):
    """The processes that this one, the first, has started."""

    @property
    def _processes(self) -> list[Popen[bytes]]:
        started: list[Popen[bytes]] = self.trainer.strategy.launcher.procs  # type: ignore[union-attr]
        return started

    def _watch(self) -> None:
        while not self._processes and not self.over.wait(_PAUSE):
            pass
        for number, process in enumerate(self._processes, start=2):
            threading.Thread(target=self._wait_for, args=(number, process), daemon=True).start()

    def _wait_for(self, number: int, process: "Popen[bytes]") -> None:
        code = process.wait()
        if code:
            reason = f"was ended from outside ({signal.Signals(-code).name})" if code < 0 else "has failed, as it says"
            self._miss(f"process {number} of {self.trainer.world_size} {reason}: {RESUME_HINT}")

    def end(self) -> None:
        self.over.set()
        for process in self._processes:
            process.kill()

    def wait(self) -> None:
        for process in self._processes:
            process.wait()
        self.over.set()


class _First(_Others):
    """The process that has started this one."""

    def _watch(self) -> None:
        first = int(os.environ[_FIRST])
        while os.getppid() == first:
            if self.over.wait(_PAUSE):
                return
        self._miss(f"process {self.trainer.local_rank + 1} of {self.trainer.world_size} ends, since the first one"
                   f" was ended: {RESUME_HINT}")  # fmt: skip

    def end(self) -> None:
        self.over.set()

    def wait(self) -> None:
        self.over.set()
