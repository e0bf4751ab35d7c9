"""The processes of a run on several devices: if one ends early, the others end too, and one line says why."""

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

from mdx_progressive.cli.errors import print_error
from mdx_progressive.runtime import RESUME_HINT, MdxError

_FIRST = "MDX_PROGRESSIVE_FIRST"
"""Environment variable with the process id of the first process, for the processes that it starts."""
_GRACE = 2.0
"""Seconds to wait for news of an ended process after the connection to it was lost."""
_PAUSE = 0.1


@contextmanager
def watch_processes(trainer: Trainer) -> Iterator[None]:
    """Make sure that no process of a run continues without the others.

    Otherwise the remaining processes would wait for the missing one, or be killed by Lightning silently. Processes
    started by torchrun or SLURM are left to their launcher.

    Args:
        trainer: The trainer that runs inside, and starts the processes.

    Raises:
        MdxError: If the run failed because another process ended.
    """
    others: _Peers | None = None
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


class _Peers(ABC):
    """The other processes of a run, watched until one ends early.

    Args:
        trainer: The trainer of this process.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.missing = threading.Event()
        """Set when a process has ended early."""
        self.line = ""
        """The message about it."""
        self.over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @abstractmethod
    def _watch(self) -> None:
        """Wait until one of the others ends."""

    @abstractmethod
    def end(self) -> None:
        """End the processes that this one has started."""

    @abstractmethod
    def wait(self) -> None:
        """Wait for the processes that this one has started."""

    def _miss(self, line: str) -> None:
        if self.over.is_set():
            return
        self.line = line
        self.missing.set()
        if self.trainer.state.status == TrainerStatus.INTERRUPTED:
            return  # the main thread was interrupted, and reports it
        sys.stderr.write("\n")  # after a progress bar
        print_error(line)
        self.end()
        # The main thread may wait inside a library, where no exception reaches it.
        os._exit(1)


class _Started(_Peers):
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
            reason = f"was ended from outside ({signal.Signals(-code).name})" if code < 0 else "failed, see its message"
            self._miss(f"process {number} of {self.trainer.world_size} {reason}: {RESUME_HINT}")

    def end(self) -> None:
        self.over.set()
        for process in self._processes:
            process.kill()

    def wait(self) -> None:
        for process in self._processes:
            process.wait()
        self.over.set()


class _First(_Peers):
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
