"""The levels of `--quality`: which method each of them is for a separator, what it costs, what it was measured to gain.

The numbers are those of the documents of benchmarks; a separator that nobody measured gets the plain ensemble.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Quality = Literal["fast", "balanced", "best"]
QUALITIES: tuple[Quality, ...] = get_args(Quality)
DEFAULT_QUALITY: Quality = "balanced"
RECOMMENDED = "recommended"
"""The name of the method of the best quality."""


class Level(NamedTuple):
    """A level of quality.

    Args:
        method: The preset of its method.
        passes: Network passes over the song, for all sources together.
        time: Computing time as a multiple of that of one pass; None where it was not measured.
        gain: Mean gain over one pass in dB SI-SDR; None where it was not measured.
        songs: On what it was measured.
    """

    method: str
    passes: int
    time: float | None = None
    gain: float | None = None
    songs: str = ""

    @property
    def text(self) -> str:
        """Passes, time and gain in words.

        Example:
            >>> print(quality_levels("umxl")["balanced"].text)
            3 passes, plain ensemble; gain not measured
        """
        if self.passes == 1:
            return "one pass, the separator by itself"
        if self.time is None or self.gain is None:
            return f"{self.passes} passes, plain ensemble; gain not measured"
        return f"{self.passes} passes, {self.time:.3g} x the time of one, {self.gain:+.2f} dB SI-SDR"


_FAST = Level("one-pass", 1, 1.0, 0.0)
_ANY: Mapping[Quality, Level] = {"fast": _FAST, "balanced": Level("ensemble-3", 3), "best": Level("ensemble", 9)}
_HTDEMUCS: Mapping[Quality, Level] = {
    "fast": _FAST,
    "balanced": Level("balanced-htdemucs", 7, 9.1, 0.44, "sixteen songs"),
    "best": Level("recommended-htdemucs", 19, 22.1, 0.51, "sixteen songs"),
}
_SPLEETER: Mapping[Quality, Level] = {
    "fast": _FAST,
    "balanced": Level("balanced-spleeter", 5, 6.6, 0.60, "sixteen songs"),
    "best": Level("recommended-spleeter", 15, 18.6, 0.64, "sixteen songs"),
}
_LEVELS = {"htdemucs": _HTDEMUCS, "spleeter:2stems": _SPLEETER}


def quality_levels(separator: str | None) -> Mapping[Quality, Level]:
    """The levels of a separator, the fastest first.

    Args:
        separator: Its name, as its own tool knows it; None where it has none.
    """
    return _LEVELS.get(separator or "", _ANY)


def is_measured(separator: str | None) -> bool:
    """Whether the levels of a separator were measured with it."""
    return separator in _LEVELS
