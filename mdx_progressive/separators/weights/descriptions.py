"""What files say about a network, checked before it is used."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mdx_progressive.runtime import MdxError, load_yaml, safe_names
from mdx_progressive.separators.weights.state_dict import reading

HIGHEST_RATE = 1_000_000
"""The highest sample rate in Hz."""
_LONGEST = 600


def read_yaml(path: Path, kind: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Read a YAML file without tags of Python; `kind` is what it should contain."""
    with reading(path, kind):
        try:
            text = path.read_text(encoding="utf-8")
            return load_yaml(text, partial(yaml.load, Loader=loader))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise MdxError(f"{path}: not the {kind}, in plain YAML without tags of Python ({reason})") from error


def check_sources(sources: Any, path: Path) -> None:
    """Check the names of sources that a file gives, after which estimates and their files are named."""
    if not isinstance(sources, Sequence) or isinstance(sources, str) or not sources:
        raise MdxError(f"{path}: its sources must be a list of names, at least one")
    if not all(isinstance(name, str) for name in sources) or len(set(sources)) != len(sources):
        raise MdxError(f"{path}: its sources must be different names, not {', '.join(map(str, sources))}")
    for name, safe in safe_names(sources).items():
        if name != safe:
            raise MdxError(f"{path}: refused, its source {name!r} can't be the name of a file")


def check_signal(path: Path, sample_rate: Any, channels: Any, segment: Any = 1) -> None:
    """Check the properties of the audio that a file gives: Hz, channels, and the seconds of a segment."""
    for name, value, highest in (
        ("sample rate", sample_rate, HIGHEST_RATE),
        ("number of channels", channels, 2),
        ("segment", segment, _LONGEST),
    ):
        if not isinstance(value, int | float | Fraction) or not 0 < value <= highest:
            raise MdxError(f"{path}: its {name} must be a number above 0 and at most {highest}, not {value!r:.40}")
