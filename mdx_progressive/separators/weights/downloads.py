"""Downloads by `urllib`, as other libraries make them: with a limit of time, tried again, and never left half done."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from mdx_progressive.runtime import MdxError, error_text

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds without a byte after which a server counts as hanging."""
_TRIES = 3


@contextmanager
def cached(path: Path, download: Callable[[], object], what: str, instead: str) -> Iterator[None]:
    """Within it the file is there, downloaded if it was not; if it then can't be used, it does not stay for next time.

    Without a checksum, a connection that broke off leaves a file that looks whole.

    Args:
        path: The file.
        download: Makes it.
        what: What it is, for the messages.
        instead: What local weights are, for the messages.

    Raises:
        MdxError: If it can't be had, or what is done within has failed.
    """
    found = path.exists()
    if not found:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _downloaded(download)
        except (OSError, HTTPException, RuntimeError) as error:
            raise MdxError(
                f"{what}: {path} is not there, and could not be downloaded ({error_text(error)}). Check the connection"
                f" and try again, or give local weights: --model.separator.weights {instead}"
            ) from error
    try:
        yield
    except MdxError as error:
        if not found:
            path.unlink(missing_ok=True)
        way = "Delete it, and it is downloaded again" if found else "It has just been downloaded, and is deleted"
        raise MdxError(f"{error}. {way}; or give local weights: --model.separator.weights {instead}") from error


def answers(ask: Callable[[float], object]) -> None:
    """See that a server answers at all, where the client that is to download from it would try that for minutes.

    Args:
        ask: Asks it something, and waits for so many seconds. An OSError is an answer, of which the client is to make
            what it can.

    Raises:
        Exception: If it does not.
    """
    with suppress(OSError):
        _tried_again(
            partial(ask, PATIENCE),
            lambda error: not isinstance(error, OSError),  # Clients have no class in common for what has not come.
            "The server has not answered (%s) and is asked again",
        )


def _downloaded(download: Callable[[], object]) -> None:
    """Make a download with a limit of time, for `urllib` itself waits forever; what the server lacks is lacking."""
    with _patience():
        _tried_again(download, _may_pass, "The download has failed (%s) and is tried again")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        error.close()
        return error.code >= 500
    return isinstance(error, OSError | HTTPException | RuntimeError)  # RuntimeError from a wrong checksum


def _tried_again(attempt: Callable[[], object], may_pass: Callable[[Exception], bool], message: str) -> None:
    """Try something once more while its fault is one that may pass, and warn each time with the reason."""
    for left in reversed(range(_TRIES)):
        try:
            attempt()
            return
        except Exception as error:
            if not may_pass(error) or left == 0:
                raise
            log.warning(message, error_text(error))


@contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
