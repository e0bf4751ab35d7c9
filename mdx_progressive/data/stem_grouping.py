"""Stem grouping: which stems of a song add up to which source of a separator."""

from collections.abc import Collection, Sequence

from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError, disk_name, find_name

COMPOSITES = frozenset({"accompaniment", "instrumental", "no_vocals"})
"""Sources that are everything but the vocals, in lower case."""
REST = COMPOSITES | {"other"}
"""Sources that include every stem that no other source claims."""


def group_stems(
    stems: Collection[str], sources: Sequence[str], song: Song, mixture: bool = False
) -> dict[str, list[str]]:
    """The stems whose sum is the reference of each source; none for the one that is the mixture without the stems.

    A source is the stem of its name, in upper or lower case. One of the names in `REST` is the sum of all stems that no
    other source claims, its own among them: the accompaniment is drums, bass and other; the other of a song with a
    guitar stem includes the guitar, unless the separator has a source for it. A composite stem is left out where the
    song has its parts.

    A single source without stems is what these leave of the mixture, if it is one of `REST`, or the only one beside it.

    Args:
        stems: Names of the song's stems.
        sources: Names of the separator's sources.
        song: The song, for the message.
        mixture: Whether the song has a mixture that is more than the sum of its stems.

    Raises:
        MdxError: If a source has no stem.

    Example:
        >>> group_stems({"drums": 1, "bass": 1, "other": 1, "vocals": 1}, ["vocals", "accompaniment"], Song("a", None))
        {'vocals': ['vocals'], 'accompaniment': ['drums', 'bass', 'other']}
        >>> group_stems(["vocals"], ["Vocals", "Instrumental"], Song("a", None), mixture=True)
        {'Vocals': ['vocals'], 'Instrumental': []}
    """
    elementary = elementary_stems(stems)
    owners = {stem: source for source in sources if (stem := _stem(source, sources, elementary))}
    unclaimed = [stem for stem in elementary if stem not in owners]
    groups = {}
    for source in sources:
        own = [stem for stem, owner in owners.items() if owner == source] + (unclaimed if _is_rest(source) else [])
        groups[source] = [stem for stem in elementary if stem in own]
    missing = [source for source, group in groups.items() if not group]
    if missing and not (mixture and len(missing) == 1 and _is_complement(missing[0], sources, elementary)):
        files = ", ".join(dict.fromkeys(stream.path.name for stream in song.streams))
        raise MdxError(
            f"{song.path}: no stem for the source {missing[0]!r}; the separator's sources are {', '.join(sources)},"
            f" the song's stems {', '.join(stems) or 'none'} (of the files {files})"
            f"{song.hint and ': '}{song.hint}"
        )
    return groups


def _stem(source: str, sources: Sequence[str], stems: Sequence[str]) -> str | None:
    """The stem of the name of a source, unless it is rather another source's."""
    stem = find_name(source, stems)
    return stem if stem is not None and find_name(stem, sources) == source else None


def _is_rest(source: str) -> bool:
    return disk_name(source) in REST


def _is_complement(source: str, sources: Sequence[str], stems: Sequence[str]) -> bool:
    """Whether a source is the mixture without all stems, which are those of the other sources."""
    if any(disk_name(stem) == disk_name(source) for stem in stems):  # Several are: which one can't be told.
        return False
    return _is_rest(source) or (len(sources) == 2 and any(map(_is_rest, sources)))


def elementary_stems(stems: Collection[str]) -> list[str]:
    """The stems that add up to the mixture: all but a composite beside its parts.

    Example:
        >>> elementary_stems(["vocals", "drums", "instrumental"]), elementary_stems(["vocals", "instrumental"])
        (['vocals', 'drums'], ['vocals', 'instrumental'])
    """
    parts = [stem for stem in stems if disk_name(stem) not in COMPOSITES]
    return parts if set(map(disk_name, parts)) - {"vocals"} else list(stems)
