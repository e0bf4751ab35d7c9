"""What the numbers of a metric stand for: a label, a unit, a direction."""

from typing import NamedTuple

from mdx_progressive.dsp import SILENCE_DB


class Scale(NamedTuple):
    """How the values of a metric are read.

    Args:
        label: The metric's name in charts and tables.
        unit: Unit of its values; empty for none.
        lower_is_better: Whether a lower value is a better one, as with a distance.
        lost: What a lost source counts as in means and gains, and anything worse than it; by default -60, or 60 where
            lower is better.

    Example:
        >>> Scale("SI-SDR").axis
        'SI-SDR (dB)'
        >>> Scale("Log-spectral distance", lower_is_better=True).axis
        'Log-spectral distance (dB, lower is better)'
    """

    label: str
    unit: str = "dB"
    lower_is_better: bool = False
    lost: float | None = None

    @property
    def floor(self) -> float:
        """The worst value that means and gains take."""
        if self.lost is not None:
            return self.lost
        return SILENCE_DB if self.lower_is_better else -SILENCE_DB

    @property
    def axis(self) -> str:
        """The label of an axis."""
        notes = [note for note in (self.unit, "lower is better" if self.lower_is_better else "") if note]
        return f"{self.label} ({', '.join(notes)})" if notes else self.label
