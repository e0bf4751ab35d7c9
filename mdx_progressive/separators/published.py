"""What is known of the weights that a family's authors have published."""

from typing import NamedTuple


class Published(NamedTuple):
    """Facts about weights that can be had by name; `mdx-progressive separators` lists them.

    Args:
        name: Name by which the family's own tool knows them.
        sources: Names of the sources, in the order of the outputs.
        sample_rate: In Hz.
        channels: Channels that the network takes.
        segment: Native length of a segment in seconds; None where the network takes a whole song.
        licence: Licence of the weights, as their authors state it.
        musdb_test: Whether they were trained on the test set of MUSDB18, so that results on it prove nothing;
            None where that is not known.
    """

    name: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    segment: float | None
    licence: str
    musdb_test: bool | None
