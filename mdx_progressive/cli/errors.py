"""How the command line tells an error, also of a thread, and signals; a reader of stdout that is gone is none."""

import _thread
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mdx_progressive.runtime import MdxError, StoppedError, causes, escape_lines

_SOON = 0.02
"""Seconds until a signal that was lost is sent again."""
TRACEBACK = "--traceback"
"""The option that shows where in the code an error was raised."""


def print_error(message: str) -> None:
    """Print an error message."""
    print(f"mdx-progressive: error: {escape_lines(message)}", file=sys.stderr)


def system_error_text(error: OSError) -> str:
    """An error of the operating system in one line."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


@contextmanager
def interruptible() -> Iterator[None]:
    """Within it SIGTERM interrupts as Ctrl-C does, with its number in the exception.

    What a signal raises within a callback of a library in C, or while an object is deleted, is lost: then the signal is
    sent again, until it is not.

    Raises:
        StoppedError: If a signal was lost, and the callback that it broke off makes the library fail before it is sent
            again.
    """
    lost: list[tuple[int, threading.Timer]] = []
    before, hook = signal.signal(signal.SIGTERM, _interrupt), sys.unraisablehook

    def keep(args: "sys.UnraisableHookArgs") -> None:
        if isinstance(args.exc_value, KeyboardInterrupt):
            signum = signal_of(args.exc_value)
            again = threading.Timer(_SOON, _send, [signum])
            again.daemon = True
            lost.append((signum, again))
            again.start()
        else:
            hook(args)

    sys.unraisablehook = keep
    try:
        yield
    except Exception as error:
        if lost and not isinstance(error, MdxError):
            raise StoppedError(lost[0][0]) from error
        raise
    finally:
        for _, again in lost:
            again.cancel()
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt(signum)


def _send(signum: int) -> None:
    """Send a signal to the main thread, which wakes it if it waits, where the system has that."""
    if send := getattr(signal, "pthread_kill", None):
        send(threading.main_thread().ident, signum)
    else:
        _thread.interrupt_main(signal.Signals(signum))


def signal_of(interrupt: BaseException | None) -> int:
    """The number of the signal that has interrupted."""
    return interrupt.args[0] if interrupt and interrupt.args else signal.SIGINT


@contextmanager
def raise_thread_errors() -> Iterator[None]:
    """Raise at the end what the operating system has refused to a thread, instead of a traceback in the midst.

    TensorBoard, for one, writes in a thread of its own, and may not tell the main one. Where the main thread fails
    with the same error, that is told once; beside another error it is printed.
    """
    refused: list[OSError] = []
    hook = threading.excepthook

    def keep(args: threading.ExceptHookArgs) -> None:
        if isinstance(args.exc_value, OSError):
            refused.append(args.exc_value)
        else:
            hook(args)

    threading.excepthook = keep
    try:
        yield
    except BaseException as error:
        told = set(map(id, causes(error)))
        for other in refused:
            if id(other) not in told:
                print_error(system_error_text(other))
        raise
    finally:
        threading.excepthook = hook
    if refused:
        raise refused[0]


def is_stdout_gone() -> bool:
    """Whether nobody reads what this process prints any more; from then on it prints to nowhere."""
    if sys.platform == "win32":  # There it is no `BrokenPipeError`.
        return False
    try:
        stdout = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # There is none, as within tests.
        return False
    poller = select.poll()
    poller.register(stdout, 0)
    if not any(event & select.POLLERR for _, event in poller.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stdout)  # Python flushes once more at its end.
    os.close(nowhere)
    return True
