"""Processes of tests: a function or the command in a fork, which a signal may stop, alone or as a run of two.

The forks come from a server that has imported once what takes an interpreter many seconds. What only a new interpreter
shows is run by `run_interpreter`.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from librosa.effects import trim
from lightning.pytorch.strategies.launchers import subprocess_script

from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.measurements import Measurements
from mdx_progressive.output.block_store import BlockStore

_FORKS = multiprocessing.get_context("forkserver")
# The server imports this module once, for all processes.
_FORKS.set_forkserver_preload(["tests.support.processes"])
trim(np.ones(4096))  # Librosa loads seconds of code at its first call.

PATIENCE = 240.0
"""Seconds after which a process hangs."""
TWO_DEVICES = ("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp")


class Ended(NamedTuple):
    """A process that has ended; its exit code is negative if a signal has killed it."""

    exit_code: int
    out: str
    err: str


class Stop(NamedTuple):
    """A signal that a process of the command sends to itself right after it has kept that many chunks or blocks."""

    signum: signal.Signals
    after: int
    rank: int = 0


class Running:
    """A function in a fork, with the environment and in the folder of the caller.

    Args:
        function: Known by its name in a module.
        arguments: What it is called with.
        environment: Variables beside those of the caller.
        terminal: What takes the place of stderr.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        terminal: str | None = None,
    ) -> None:
        self._folder = TemporaryDirectory()
        streams = [os.path.join(self._folder.name, "out"), terminal or os.path.join(self._folder.name, "err")]
        # Open in all processes that come from this one, until the last of them has ended.
        self._end, theirs = _FORKS.Pipe(duplex=False)
        self.process = _FORKS.Process(
            target=_begin, args=(theirs, streams, {**os.environ, **(environment or {})}, function, arguments)
        )
        self.process.start()
        theirs.close()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def wait(self) -> Ended:
        """Let it and all processes that it has started come to their end."""
        try:
            self.process.join(PATIENCE)
            assert self.process.exitcode is not None, f"{self.process} hangs"
            assert self._end.poll(PATIENCE), f"a process that {self.process} has started hangs"
            out, err = (path.read_text() if path.exists() else "" for path in self._streams())
            return Ended(self.process.exitcode, out, err)
        finally:
            self.kill()

    def wait_until(self, reached: Callable[[], object]) -> None:
        """Wait for what is reached while it runs."""
        until = time.monotonic() + PATIENCE
        while not reached():
            assert self.process.is_alive(), [path.read_text() for path in self._streams() if path.exists()]
            assert time.monotonic() < until
            time.sleep(0.005)

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to it alone."""
        os.kill(self.pid, signum)

    def kill(self) -> None:
        """End it, if it has not ended; what it has started is not waited for."""
        self.process.kill()
        self.process.join(PATIENCE)
        self._folder.cleanup()

    def _streams(self) -> Iterable[Path]:
        return (Path(self._folder.name, name) for name in ("out", "err"))


def start_command(
    arguments: Sequence[str],
    stop: Stop | None = None,
    *,
    processes: int = 1,
    prepare: Callable[[], object] | None = None,
    environment: Mapping[str, str] | None = None,
    terminal: str | None = None,
) -> Running:
    """Start `mdx-progressive` in a fork.

    Args:
        arguments: Those of the command.
        stop: What stops it.
        processes: 2 for a run of two devices, whose second process Lightning starts.
        prepare: Is called first in its process, or in both.
        environment: Variables beside those of the caller.
        terminal: What takes the place of stderr.
    """
    if processes == 2:
        arguments = (*arguments, *TWO_DEVICES)
    return Running(_run_command, tuple(arguments), stop, processes, prepare, environment=environment, terminal=terminal)


def run_command(
    arguments: Sequence[str],
    stop: Stop | None = None,
    *,
    processes: int = 1,
    prepare: Callable[[], object] | None = None,
) -> Ended:
    """As `start_command`, until all its processes have ended."""
    return start_command(arguments, stop, processes=processes, prepare=prepare).wait()


def run_interpreter(*arguments: str) -> Ended:
    """A new interpreter, with what it starts."""
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True, timeout=PATIENCE)
    return Ended(done.returncode, done.stdout, done.stderr)


def _begin(
    end: object, streams: list[str], environment: dict[str, str], function: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:  # fmt: skip
    for number, path in enumerate(streams, start=1):
        stream = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY)
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(None, force=True)  # As in any process; here it is that of the server.
    function(*arguments)


def _run_command(
    arguments: tuple[str, ...], stop: Stop | None, processes: int, prepare: Callable[[], object] | None
) -> None:
    if processes == 2:
        _fork_second_process()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell has it ignored by what it starts with `&`.
    if prepare is not None:
        prepare()
    if stop is None:
        sys.exit(main(arguments))
    store: type = BlockStore if arguments[0] == "predict" else Measurements
    name = "put" if arguments[0] == "predict" else "append"
    keep, kept = getattr(store, name), []

    def counted(*item: object) -> None:
        keep(*item)
        kept.append(item)
        if len(kept) == stop.after and int(os.environ.get("LOCAL_RANK", "0")) == stop.rank:
            os.kill(os.getpid(), stop.signum)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, name, counted)
        sys.exit(main(arguments))


def _fork_second_process() -> None:
    """Comes back in two processes; in the second one when the launcher of the first one starts it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writing)
        with open(reading) as file:
            environment = file.read()
        if not environment:
            os._exit(0)  # The first process has ended without it.
        os.environ.clear()
        os.environ.update(json.loads(environment))
        return
    os.close(reading)

    class Launched(subprocess.Popen[bytes]):
        """Where the launcher would start the same command anew, the process begins that has waited."""

        def _execute_child(self, command: object, *details: object) -> None:
            self.pid = pid
            self._child_created = True
            environment = details[5]
            with open(writing, "w") as file:
                json.dump(environment, file)

    pytest.MonkeyPatch().setattr(subprocess_script, "subprocess", SimpleNamespace(Popen=Launched))
