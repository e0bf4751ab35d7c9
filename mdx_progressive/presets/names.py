"""Presets by name: the YAML files of `configs/`, which are installed with the package."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from mdx_progressive.presets.quality import QUALITIES, RECOMMENDED, Quality, quality_levels
from mdx_progressive.runtime import MdxError, load_yaml

Kind = Literal["config", "separator", "method", "schedule", "dataset"]

_KEYS: dict[str, Kind] = {
    "separator": "separator",
    "members": "separator",
    "method": "method",
    "compare": "method",
    "schedule": "schedule",
    "dataset": "dataset",
}
"""The keys of settings whose value may be the name of a preset, or a list of names."""
_ALIASES = {"spleeter": "spleeter-2stems", "demucs": "htdemucs"}
_ALMOST = 0.08
"""How much less alike than the nearest a name may be to be named too."""
_NAME = re.compile(r"[a-z0-9][\w:-]*")
"""What is meant as the name of a preset: classes begin with a capital, paths have a suffix or a slash."""


@cache
def preset_folder() -> Path:
    """The folder of the presets: within the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def preset_names(kind: Kind) -> list[str]:
    """The names of all presets of a kind, in alphabetical order.

    Example:
        >>> preset_names("config"), "htdemucs" in preset_names("separator")
        (['demo', 'htdemucs'], True)
    """
    return sorted(path.stem for path in _folder(kind).glob("*.yaml"))


def accepted_names(kind: Kind) -> list[str]:
    """All names that `find_preset` takes: short ones and those that depend on the separator, then the presets.

    Example:
        >>> accepted_names("method")[:4], "spleeter" in accepted_names("separator")
        (['recommended', 'fast', 'balanced', 'best'], True)
    """
    more = {"separator": [*_ALIASES], "method": [RECOMMENDED, *QUALITIES]}.get(kind, [])
    return [*more, *preset_names(kind)]


def _folder(kind: Kind) -> Path:
    """The folder of the presets of a kind."""
    return preset_folder() / ("" if kind == "config" else kind)


def find_preset(kind: Kind, name: str, separator: str | None = None) -> Path:
    """The file of a preset.

    Args:
        kind: What it is a preset of.
        name: Its name. A method may also be `recommended` or a level of quality: then it is that of the separator.
        separator: The name of the separator at hand, as its own tool knows it, or None.

    Raises:
        MdxError: If there is no such preset.

    Example:
        >>> find_preset("method", "recommended", "htdemucs").name, find_preset("separator", "spleeter").name
        ('recommended-htdemucs.yaml', 'spleeter-2stems.yaml')
    """
    wanted = _ALIASES.get(name, name.replace(":", "-")) if kind == "separator" else name
    if kind == "method" and name in (RECOMMENDED, *QUALITIES):
        quality: Quality = "best" if name == RECOMMENDED else name  # type: ignore[assignment]
        wanted = quality_levels(separator)[quality].method
    if wanted not in preset_names(kind):
        raise MdxError(_unknown(kind, name, accepted_names(kind)))
    return _folder(kind) / f"{wanted}.yaml"


def preset_path(kind: Kind, value: str, separator: str | None = None) -> str:
    """The path that a value of a setting stands for: a file that exists wins over the preset of that name.

    Args:
        kind: What the value is a preset of.
        value: A path, the name of a preset or a class, or settings as YAML; only the name of a preset is replaced.
        separator: The name of the separator at hand, or None.

    Raises:
        MdxError: If it looks like a name, and there is neither a file nor a preset of it.
    """
    if value == "null" or not _NAME.fullmatch(value) or Path(value).is_file():
        return value
    return str(find_preset(kind, value, separator))


def resolve_names(settings: Any, separator: str | None = None) -> Any:
    """Settings with the names of presets replaced by their paths, wherever a preset may stand.

    Args:
        settings: Values as YAML holds them; not changed.
        separator: The name of the separator at hand, for methods that depend on it.

    Raises:
        MdxError: If there is no preset of a name.
    """
    if isinstance(settings, list):
        return [resolve_names(value, separator) for value in settings]
    if not isinstance(settings, dict):
        return settings
    return {key: _resolve(_KEYS.get(key), value, separator) for key, value in settings.items()}


def _resolve(kind: Kind | None, value: Any, separator: str | None) -> Any:
    if kind and isinstance(value, str):
        return preset_path(kind, value, separator)
    if kind and isinstance(value, list):
        return [_resolve(kind, each, separator) for each in value]
    return resolve_names(value, separator)


def inlined_settings(path: Path, separator: str | None = None) -> dict[str, Any]:
    """The settings of a file, with those of the presets and files that it names in their places.

    Args:
        path: The file; paths within it start from its folder.
        separator: The name of the separator at hand, for methods that depend on it.

    Raises:
        MdxError: If a file can't be read as settings, or there is no preset of a name.
    """
    settings = preset_settings(path)
    if not settings:
        raise MdxError(f"{path}: holds no settings")
    return {key: _inlined(_KEYS.get(key), value, path.parent, separator) for key, value in settings.items()}


def _inlined(kind: Kind | None, value: Any, folder: Path, separator: str | None) -> Any:
    if isinstance(value, list):
        return [_inlined(kind, each, folder, separator) for each in value]
    if isinstance(value, dict):
        return {key: _inlined(_KEYS.get(key), each, folder, separator) for key, each in value.items()}
    if kind is None or not isinstance(value, str):
        return value
    named = folder / value if (folder / value).is_file() else Path(preset_path(kind, value, separator))
    return inlined_settings(named, separator) if named.is_file() else value


def preset_settings(path: Path) -> dict[str, Any]:
    """The settings that a file of YAML holds; none if it is no file of settings, which its own reader reports."""
    try:
        text = path.read_text(encoding="utf-8")
        settings = load_yaml(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}


def nearest(name: str, names: Sequence[str], count: int = 3) -> list[str]:
    """The names that are most like a name, the best first; also those that it is the beginning of.

    Example:
        >>> nearest("htdemus", ["htdemucs", "htdemucs_ft", "umxl"]), nearest("nothing", ["umxl"])
        (['htdemucs'], [])
        >>> nearest("umx", ["htdemucs", "umxhq", "umxl"])
        ['umxl', 'umxhq']
    """
    alike = {each: SequenceMatcher(None, name, each).ratio() for each in names}
    best = max(alike.values(), default=0.0)
    close = [each for each in get_close_matches(name, names, count) if alike[each] > best - _ALMOST]
    begun = [each for each in names if len(name) > 1 and each.startswith(name)]
    return list(dict.fromkeys([*close, *begun]))[:count]


def _unknown(kind: Kind, name: str, names: Sequence[str]) -> str:
    close = nearest(name, names)
    meant = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}."
    what = {"config": "configuration", "dataset": "data set"}.get(kind, kind)
    return f"there is no {what} of the name {name!r}, and no file: {meant} They lie in {preset_folder()}"
