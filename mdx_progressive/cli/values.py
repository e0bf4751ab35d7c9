"""The values of options, checked before anything large is imported; tests compare them with the classes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdx_progressive.presets import nearest
from mdx_progressive.runtime import MdxError, find_name

CHOICES: Mapping[str, tuple[str, ...]] = {
    "--writer.format": ("wav", "flac", "mp3", "ogg"),
    "--writer.encoding": ("float32", "int24", "int16", "null"),
    "--writer.clip": ("rescale", "clamp", "keep", "null"),
    "--data.mixture": ("shipped", "sum"),
}
"""What the options can be that have a few values."""
BITRATES = (64, 96, 112, 128, 160, 192, 224, 256, 320)
"""The constant bitrates of mp3 in kb/s."""
_CHOICES = {**CHOICES, "--format": CHOICES["--writer.format"]}
_TARGETS, _BITRATE = ("--two-stems", "--targets", "--model.targets"), ("--bitrate", "--writer.bitrate")
CHECKED = (*_TARGETS[1:], *_BITRATE[1:], *CHOICES)
"""The long options whose values are checked."""


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """See that a value is one of a few.

    Raises:
        MdxError: If it is not; it names the nearest.
    """
    if value not in choices:
        close = nearest(value.lower(), choices, 1)
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise MdxError(f"{option} is {listed}, not {value!r}" + (f" ({close[0]}?)" if close else ""))


def check_values(given: Mapping[str, str], sources: Sequence[str] | None, separator: str, configured: bool) -> None:
    """See that values are among those that there are.

    Args:
        given: The values by their options, `CHECKED` and short ones.
        sources: The sources of the separator; None where they are not known yet.
        separator: What to call it.
        configured: Whether there is a configuration, which may set what is not given.

    Raises:
        MdxError: If one is not; it names the nearest.
    """
    written = given.get("--format") or given.get("--writer.format") or (None if configured else "wav")
    for option, value in given.items():
        if option in _CHOICES:
            check_choice(option, value, _CHOICES[option])
        elif option in _TARGETS and sources:
            _check_targets(option, value, sources, separator)
        elif option in _BITRATE:
            check_choice(option, value, [*map(str, BITRATES)])
            if written not in ("mp3", None):
                raise MdxError(f"{option} is of mp3: give --format mp3 too")


def _check_targets(option: str, value: str, sources: Sequence[str], separator: str) -> None:
    """Names with commas between them, also as a list of YAML; in upper or lower case."""
    for name in re.findall(r"[^\s,'\"\[\]]+", value):
        if name != "null" and find_name(name, sources) is None:
            close = nearest(name.lower(), sources, 1)
            listed = ", ".join(sources) + (f" ({close[0]}?)" if close else "")
            raise MdxError(f"{option}: {separator} has no source {name!r}, but {listed}")


def label(separator: Any, name: str | None) -> str:
    """What to call a separator in a message: its name as -s takes it, or what it was given as."""
    return (name or (Path(separator).stem if isinstance(separator, str) else "the separator")).replace(":", "-")
