"""Errors of threads are told, a reader of stdout that is gone is none, names in messages don't drive the terminal."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from io import BytesIO, TextIOWrapper

import cffi  # type: ignore[import-untyped]
import pytest

from mdx_progressive.cli import lightning
from mdx_progressive.cli.errors import interruptible, raise_thread_errors, signal_of
from mdx_progressive.cli.main import main
from mdx_progressive.runtime.errors import MdxError


def in_a_thread(error: Exception) -> None:
    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def fail_beside(in_thread: Exception, raised: Exception) -> None:
    with raise_thread_errors():
        in_a_thread(in_thread)
        raise raised


class TestThreads:
    def test_an_error_of_the_system_in_a_thread_is_that_of_the_command(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = OSError(errno.EIO, "Input/output error", "events")
        monkeypatch.setattr(lightning, "_lightning", lambda args: in_a_thread(error))

        assert main(["test", "."]) == 1

        said = capsys.readouterr().err
        assert said.endswith("error: events: Input/output error\n")
        assert "Traceback" not in said

    @pytest.mark.parametrize("wrap", [lambda error: error, lambda error: ValueError("told in other words")])
    def test_one_that_the_main_thread_raises_too_is_told_once(
        self, wrap: Callable[[OSError], Exception], capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = OSError(errno.ENOSPC, "No space left on device")
        raised = wrap(error)
        raised.__cause__ = None if raised is error else error

        with pytest.raises(type(raised)):
            fail_beside(error, raised)

        assert capsys.readouterr().err == ""

    def test_one_beside_another_error_is_told_before_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ValueError, match="other"):
            fail_beside(PermissionError(errno.EACCES, "Permission denied", "events"), ValueError("other"))

        assert "error: events: Permission denied" in capsys.readouterr().err


PIPED = """
import sys
from mdx_progressive.cli.main import main
sys.argv = ["mdx-progressive"]
sys.exit(main({arguments}))
"""


@pytest.mark.skipif(os.name != "posix", reason="pipes end otherwise here")
class TestSignals:
    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
    def test_one_that_is_lost_in_a_callback_comes_again(self, signum: signal.Signals) -> None:
        class Deleted:
            def __del__(self) -> None:
                signal.raise_signal(signum)
                sum(range(1000))

        ffi = cffi.FFI()
        called = []

        @ffi.callback("int(int)")  # type: ignore[untyped-decorator]
        def callback(number: int) -> int:
            called.append(number)
            if len(called) < 3:
                signal.raise_signal(signum)
            return sum(range(1000))

        def wait(lose: Callable[[], object]) -> None:
            with interruptible():
                lose()
                time.sleep(20)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # In the background it is ignored.
        try:
            for lose in (Deleted, lambda: callback(1)):
                with pytest.raises(KeyboardInterrupt) as stopped:
                    wait(lose)
                assert signal_of(stopped.value) == signum
        finally:
            signal.signal(signal.SIGINT, before)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    @pytest.mark.parametrize("failure", [AssertionError("short"), MdxError("the disk is full")])
    def test_what_fails_by_one_that_was_lost_is_stopped_by_it(self, failure: Exception) -> None:
        @cffi.FFI().callback("int(int)")  # type: ignore[untyped-decorator]
        def callback(number: int) -> int:
            signal.raise_signal(signal.SIGTERM)
            return sum(range(1000))

        def fail() -> None:
            with interruptible():
                callback(1)
                raise failure

        with pytest.raises(MdxError) as stopped:
            fail()

        time.sleep(0.1)  # The signal, which would end this process now, is not sent again.
        assert getattr(stopped.value, "exit_code", None) == (143 if isinstance(failure, AssertionError) else 1)


class TestPipes:
    def test_a_reader_of_stdout_that_is_gone_ends_the_command_silently(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-c", PIPED.format(arguments=["--help"])]
        with os.fdopen(writing, "wb") as gone:
            ended = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, check=False)

        assert (ended.returncode, ended.stderr) == (141, b"")

    def test_another_pipe_that_is_broken_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(args: object) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

        monkeypatch.setattr(lightning, "_lightning", broken)

        assert main(["test", "."]) == 1
        assert "Broken pipe" in capsys.readouterr().err


def test_what_a_message_names_does_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "\x1b[31mred\udcff"]) == 1

    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"\x1b[31mred\udcff" in said


def test_what_stdout_can_not_take_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_ = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(bytes_, encoding="ascii"))

    assert main(["predict", "--help"]) == 0

    assert rb"roformer, \u2026: see" in bytes_.getvalue()
