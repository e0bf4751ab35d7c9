"""What the numbers of a metric stand for: a label, a unit, a direction."""

from typing import NamedTuple


class Scale(NamedTuple):
    """How the values of a metric are read.

    Args:
        label: The metric's name in charts and tables.
        unit: Unit of its values; empty for none.
        lower_is_better: Whether a lower value is a better one, as with a distance.

    Example:
        >>> Scale("SI-SDR").axis
        'SI-SDR (dB)'
        >>> Scale("Log-spectral distance", lower_is_better=True).axis
        'Log-spectral distance (dB, lower is better)'
    """

    label: str
    unit: str = "dB"
    lower_is_better: bool = False

    @property
    def axis(self) -> str:
        """The label of an axis."""
        notes = [note for note in (self.unit, "lower is better" if self.lower_is_better else "") if note]
        return f"{self.label} ({', '.join(notes)})" if notes else self.label
