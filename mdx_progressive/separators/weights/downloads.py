"""Downloads as other libraries make them, but with a time limit, tried again, and never left half done."""

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
OFFLINE_HINT = "a separator whose weights come with the package: -s spleeter"
"""The way out where no server can be reached."""


@contextmanager
def downloaded(path: Path, download: Callable[[], object], name: str, alternative: str) -> Iterator[None]:
    """Download a file by `urllib` unless it is there, and delete it again if what is done within fails.

    Without a checksum, an interrupted connection leaves a file that looks whole. The messages call the file `name`, and
    local weights instead of it `alternative`.
    """
    present = path.exists()
    if not present:
        default = socket.getdefaulttimeout()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            socket.setdefaulttimeout(PATIENCE)  # `urllib` itself waits forever.
            _retry(download, _is_temporary, "The download has failed (%s) and is tried again")
        except (OSError, HTTPException, RuntimeError) as error:
            raise MdxError(
                f"{name}: {path} is not there, and could not be downloaded ({error_text(error)}). Check the connection"
                f" and try again, give local weights (--model.separator.weights {alternative}), or take"
                f" {OFFLINE_HINT}"
            ) from error
        finally:
            socket.setdefaulttimeout(default)
    try:
        yield
    except MdxError as error:
        if not present:
            path.unlink(missing_ok=True)
        hint = "Delete it, and it is downloaded again" if present else "It has just been downloaded, and is deleted"
        raise MdxError(f"{error}. {hint}; or give local weights: --model.separator.weights {alternative}") from error


def check_server(ask: Callable[[float], object]) -> None:
    """Check that a server answers, where the client that is to download from it would wait for minutes.

    `ask` asks it anything, with a timeout in seconds; an OSError is an answer, which the client will see too.
    """
    with suppress(OSError):
        _retry(
            partial(ask, PATIENCE),
            lambda error: not isinstance(error, OSError),  # The timeouts of clients have no class in common.
            "The server has not answered (%s) and is asked again",
        )


def _is_temporary(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        error.close()
        return error.code >= 500
    return isinstance(error, OSError | HTTPException | RuntimeError)  # RuntimeError from a wrong checksum


def _retry(attempt: Callable[[], object], is_temporary: Callable[[Exception], bool], warning: str) -> None:
    for left in reversed(range(_TRIES)):
        try:
            attempt()
            return
        except Exception as error:
            if not is_temporary(error) or left == 0:
                raise
            log.warning(warning, error_text(error))
