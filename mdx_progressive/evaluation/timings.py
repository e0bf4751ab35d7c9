"""The computing time of the methods of a run: the table of timings, its file, and the time of each method.

It is kept apart from the results, which do not depend on interruptions and on the machine.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from mdx_progressive.evaluation.results import read_texts
from mdx_progressive.runtime import MdxError, write_table

ONE_PASS = "one-pass"  # noqa: S105 - a pass through a network
"""The name of the method that is the plain pass."""


class Timing(NamedTuple):
    """Computing time of a method for a chunk.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song.
        method: Name of the method.
        seconds: Seconds of computing after the plain pass, which all methods share; of `ONE_PASS` those of that pass.
            The chunks of a batch share its time equally.
        audio_seconds: Length of the chunk in seconds.
        device: Name of the device.
    """

    song: str
    chunk: int
    method: str
    seconds: float
    audio_seconds: float
    device: str


class ComputeTime(NamedTuple):
    """Computing time of a method, including the plain pass that it begins with; medians over the chunks.

    Args:
        real_time_factor: Seconds of computing for a second of music.
        over_one_pass: Ratio to the time of one pass.
    """

    real_time_factor: float
    over_one_pass: float


def write_timings(path: Path, timings: Iterable[Timing]) -> None:
    """Write the table; the file appears, or replaces an older one, when it is complete."""
    write_table(path, Timing._fields, (timing._replace(seconds=round(timing.seconds, 6)) for timing in timings))


def read_timings(path: Path) -> pd.DataFrame:
    """Read the table; it has no rows if there is no file, as in older runs.

    Raises:
        MdxError: If the file is not what `test` writes.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(Timing._fields))
    try:
        types = Timing.__annotations__
        timings = read_texts(pd.read_csv(path, usecols=list(types), dtype=types, keep_default_na=False))
        if not (np.isfinite(timings["seconds"]) & (timings["seconds"] >= 0) & (timings["audio_seconds"] > 0)).all():
            raise ValueError("it has a time that is none")
    except (OverflowError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MdxError(f"{path} is no table of times of `mdx-progressive test`: {reason}; remove it") from error
    return timings


def compute_times(timings: pd.DataFrame) -> dict[str, ComputeTime]:
    """The time of each method, by its name; empty if the time of the plain pass is missing.

    The first pass on a machine takes longer (it compiles and allocates); medians are not affected by it.

    Args:
        timings: A table of `Timing`s.

    Example:
        >>> seconds = {"one-pass": 0.5, "linear": 1.5}
        >>> table = pd.DataFrame([Timing("a", 0, method, time, 2.0, "cpu") for method, time in seconds.items()])
        >>> compute_times(table)["linear"]
        ComputeTime(real_time_factor=1.0, over_one_pass=4.0)
    """
    if ONE_PASS not in timings["method"].unique():
        return {}
    factors = timings.assign(factor=timings["seconds"] / timings["audio_seconds"])
    added = factors.pivot_table(values="factor", index=["song", "chunk"], columns="method")
    one_pass = added[ONE_PASS]
    totals = added.add(one_pass, axis=0).assign(**{ONE_PASS: one_pass})
    return {
        str(method): ComputeTime(float(times.median()), float((times / one_pass).median()))
        for method, times in totals.items()
    }


def three_digits(value: float) -> str:
    """A time with three digits, of which none is cut off.

    Example:
        >>> three_digits(4.0), three_digits(122.4), three_digits(0.0512)
        ('4.00', '122', '0.0512')
    """
    return f"{value:#.3g}".rstrip(".")
