"""The time that the methods of a run have taken: its table, its file, and what it comes to for each method.

It stands apart from the results: those are the same however often a run was stopped, and on whatever machine.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mdx_progressive.runtime import MdxError, write_table

ONE_PASS = "one-pass"  # noqa: S105 - a pass through a network
"""The method under whose name the plain pass stands."""


class Timing(NamedTuple):
    """How long a method took over a chunk.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song.
        method: Name of the method.
        seconds: Seconds of computing after the plain pass, which all methods share; under `ONE_PASS` that pass itself.
            Chunks of one batch share its time equally.
        audio_seconds: Length of the chunk in seconds.
        device: What computed.
    """

    song: str
    chunk: int
    method: str
    seconds: float
    audio_seconds: float
    device: str


class ComputeTime(NamedTuple):
    """What a method takes in time, the plain pass that it begins with included; medians over the chunks.

    Args:
        real_time_factor: Seconds of computing for a second of music.
        over_one_pass: How many times longer than one pass.
    """

    real_time_factor: float
    over_one_pass: float


def write_timings(path: Path, timings: Iterable[Timing]) -> None:
    """Write the whole table; the file appears, or replaces an older one, when it is complete."""
    write_table(path, Timing._fields, (timing._replace(seconds=round(timing.seconds, 6)) for timing in timings))


def read_timings(path: Path) -> pd.DataFrame:
    """The table of a run; without rows where there is no file, as older runs have none.

    Raises:
        MdxError: If the file is not what `test` writes.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(Timing._fields))
    try:
        types = {"song": str, "chunk": int, "method": str, "seconds": float, "audio_seconds": float, "device": str}
        return pd.read_csv(path, usecols=list(types), dtype=types, keep_default_na=False)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise MdxError(f"{path} is no table of times of `mdx-progressive test`: {reason}; remove it") from error


def compute_times(timings: pd.DataFrame) -> dict[str, ComputeTime]:
    """What each method takes.

    The first pass on a machine makes ready (compiles, finds memory) and takes longer; a median is not moved by it.

    Args:
        timings: A table of `Timing`s.

    Example:
        >>> taken = {"one-pass": 0.5, "linear": 1.5}
        >>> table = pd.DataFrame([Timing("a", 0, method, seconds, 2.0, "cpu") for method, seconds in taken.items()])
        >>> compute_times(table)["linear"]
        ComputeTime(real_time_factor=1.0, over_one_pass=4.0)
    """
    if ONE_PASS not in timings["method"].unique():
        return {}
    factors = timings.assign(factor=timings["seconds"] / timings["audio_seconds"])
    own = factors.pivot_table(values="factor", index=["song", "chunk"], columns="method")
    plain = own[ONE_PASS]
    whole = own.add(plain, axis=0).assign(**{ONE_PASS: plain})
    return {
        str(method): ComputeTime(float(of_method.median()), float((of_method / plain).median()))
        for method, of_method in whole.items()
    }
