"""Decoder processes: started when a file is to be opened, kept for the next one, killed if they crash or hang."""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

_PROGRAM = Path(__file__).with_name("decoder_process.py")
_PATIENCE = 60.0
"""Seconds without an answer after which a decoder is given up."""
_IDLE = 4
"""Decoders that are kept for the next file."""


class Message(NamedTuple):
    """A part of a decoder's answer.

    Args:
        values: What it says.
        data: What it has attached: samples.
    """

    values: dict[str, Any]
    data: bytes


class DecoderError(Exception):
    """Why a file could not be decoded."""


class _Decoder:
    def __init__(self) -> None:
        command = [sys.executable, "-P", str(_PROGRAM)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # It only copies.
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            cwd=_PROGRAM.parent,
        )  # fmt: skip

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def answers(self, request: dict[str, Any]) -> Generator[Message, None, None]:
        assert self._process.stdin
        assert self._process.stdout
        with suppress(BrokenPipeError):  # It has died: that is found out at once.
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        while True:
            late = threading.Event()
            alarm = threading.Timer(_PATIENCE, self._give_up, [late])
            alarm.start()
            try:
                line = self._process.stdout.readline()
                values = json.loads(line) if line.endswith(b"\n") else None
                data = self._process.stdout.read(values["bytes"]) if values else b""
            finally:
                alarm.cancel()
            if values is None or len(data) < values["bytes"]:
                ended = self._last_words()
                raise DecoderError(f"nothing came for {_PATIENCE:.0f} s" if late.is_set() else ended)
            if "error" in values:
                raise DecoderError(values["error"])
            if "end" in values:
                return
            yield Message(values, data)

    def _give_up(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _last_words(self) -> str:
        code = self._process.wait()
        return f"its decoder ended by {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()


_idle: dict[int, list[_Decoder]] = {}
"""By process: a fork must not use those of its parent."""
_busy: dict[int, set[_Decoder]] = {}
"""So that none is garbage before the generator that closes it."""


def ask(path: Path, do: str, stream: int = 0, start: int = 0, part: tuple[int, int] | None = None) -> Iterator[Message]:
    """Let a decoder process open a file.

    Args:
        path: The file.
        do: "describe", "header" or "decode".
        stream: Number of the audio stream.
        start: The first sample to decode.
        part: First byte of a part of the file that is read as if it were one, and the byte behind its last; None for
            the whole file.

    Raises:
        DecoderError: If it can't be decoded, or only as far as was yielded.
    """
    idle, busy = _idle.setdefault(os.getpid(), []), _busy.setdefault(os.getpid(), set())
    decoder = _take(idle)
    busy.add(decoder)
    request = {"path": os.path.abspath(path), "do": do, "stream": stream, "start": start, "part": part}
    free = False
    try:
        with closing(decoder.answers(request)) as answers:
            yield from answers
        free = True
    except DecoderError:
        free = decoder.lives
        raise
    finally:
        if free and len(idle) < _IDLE:
            idle.append(decoder)
        else:
            decoder.close()
        busy.discard(decoder)


def _take(idle: list[_Decoder]) -> _Decoder:
    """One that waits, or a new one."""
    while idle:
        decoder = idle.pop()
        if decoder.lives:
            return decoder
        decoder.close()
    return _Decoder()


def ask_once(path: Path, do: str, stream: int = 0, part: tuple[int, int] | None = None) -> dict[str, Any]:
    """The one message that is the answer to "describe" and "header"; arguments and errors as for `ask`."""
    (message,) = ask(path, do, stream, part=part)
    return message.values


@atexit.register
def _close_all() -> None:
    for decoder in [*_idle.pop(os.getpid(), []), *_busy.pop(os.getpid(), set())]:
        decoder.close()
