"""What files say about a network, judged before it is believed."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from mdx_progressive.runtime import MdxError, check_yaml_size, safe_names
from mdx_progressive.separators.weights.state_dict import loading

HIGHEST_RATE = 1_000_000
"""Of any sound, in Hz."""
_LONGEST = 600


def read_yaml(path: Path, kind: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """What a YAML file says; tags of Python are refused.

    Args:
        path: The file.
        kind: What it should be, for the messages.
        loader: What knows its tags.

    Raises:
        MdxError: If it is missing or no such file.
    """
    with loading(path, kind):
        try:
            text = path.read_text(encoding="utf-8")
            check_yaml_size(text)
            return yaml.load(text, Loader=loader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError from dates and numbers, too
            said = " ".join(str(error).split())
            raise MdxError(f"{path}: not the {kind}, in plain YAML without tags of Python ({said})") from error


def check_sources(sources: Any, origin: Path | str) -> None:
    """Raise an error if these can't be the names of sources, after which estimates and their files are named.

    Args:
        sources: The names.
        origin: What says so.

    Raises:
        MdxError: If they are no names, not different, or not fit for files.
    """
    if not isinstance(sources, Sequence) or isinstance(sources, str) or not sources:
        raise MdxError(f"{origin}: its sources must be a list of names, at least one")
    if not all(isinstance(name, str) for name in sources) or len(set(sources)) != len(sources):
        raise MdxError(f"{origin}: its sources must be different names, not {', '.join(map(str, sources))}")
    for name, safe in safe_names(sources).items():
        if name != safe:
            raise MdxError(f"{origin}: refused, its source {name!r} can't be the name of a file")


def check_signal(origin: Path, sample_rate: Any, channels: Any, segment: Any = 1) -> None:
    """Raise an error if no sound has these properties.

    Args:
        origin: What says so.
        sample_rate: In Hz.
        channels: Channels of a mixture.
        segment: Length of a segment in seconds, if it tells one.

    Raises:
        MdxError: If one is no number or out of its range.
    """
    for name, value, most in (
        ("sample rate", sample_rate, HIGHEST_RATE),
        ("number of channels", channels, 2),
        ("segment", segment, _LONGEST),
    ):
        if not isinstance(value, int | float | Fraction) or not 0 < value <= most:
            raise MdxError(f"{origin}: its {name} must be a number above 0 and at most {most}, not {value!r:.40}")
