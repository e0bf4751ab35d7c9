"""Stem grouping: which stems of a song add up to which source of a separator."""

from collections.abc import Collection, Sequence

from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError

COMPOSITES = frozenset({"accompaniment", "instrumental", "no_vocals"})
"""Sources that are everything but the vocals."""
REST = COMPOSITES | {"other"}
"""Sources that include every stem that no other source claims."""


def group_stems(stems: Collection[str], sources: Sequence[str], song: Song) -> dict[str, list[str]]:
    """The stems whose sum is the reference of each source.

    A source is the stem of its name. One of the names in `REST` is the sum of all stems that no other source
    claims, its own among them: the accompaniment is drums, bass and other; the other of a song with a guitar
    stem includes the guitar, unless the separator has a source for it. A composite stem is left out where the song
    has its parts.

    Args:
        stems: Names of the song's stems.
        sources: Names of the separator's sources.
        song: The song, for the message.

    Raises:
        MdxError: If a source has no stem.

    Example:
        >>> group_stems({"drums": 1, "bass": 1, "other": 1, "vocals": 1}, ["vocals", "accompaniment"], Song("a", None))
        {'vocals': ['vocals'], 'accompaniment': ['drums', 'bass', 'other']}
    """
    elementary = elementary_stems(stems)
    groups = {}
    for source in sources:
        rest = source in REST
        groups[source] = [stem for stem in elementary if stem == source or (rest and stem not in sources)]
        if not groups[source]:
            files = ", ".join(dict.fromkeys(stream.path.name for stream in song.streams))
            raise MdxError(
                f"{song.path}: no stem for the source {source!r}; the separator's sources are {', '.join(sources)},"
                f" the song's stems {', '.join(stems) or 'none'} (of the files {files})"
                f"{song.hint and ': '}{song.hint}"
            )
    return groups


def elementary_stems(stems: Collection[str]) -> list[str]:
    """The stems that add up to the mixture: all but a composite beside its parts.

    Example:
        >>> elementary_stems(["vocals", "drums", "instrumental"]), elementary_stems(["vocals", "instrumental"])
        (['vocals', 'drums'], ['vocals', 'instrumental'])
    """
    parts = [stem for stem in stems if stem not in COMPOSITES]
    return parts if set(parts) - {"vocals"} else list(stems)
