"""The separator at hand: which one settings name, before any class is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdx_progressive.presets.names import preset_path, preset_settings

DEFAULT_SEPARATOR = "htdemucs"
_DEFAULT_NAMES = {
    "DemucsSeparator": "htdemucs",
    "TorchaudioSeparator": "HDEMUCS_HIGH_MUSDB",
    "SpleeterSeparator": "spleeter:2stems",
    "OpenUnmixSeparator": "umxhq",
}
"""The weights that a class takes where none are named."""
_FOUR = ("drums", "bass", "other", "vocals")
_SOURCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "DemucsSeparator": {
        **dict.fromkeys(("htdemucs", "htdemucs_ft", "hdemucs_mmi", "mdx", "mdx_extra", "mdx_q", "mdx_extra_q"), _FOUR),
        "htdemucs_6s": (*_FOUR, "guitar", "piano"),
    },
    "TorchaudioSeparator": dict.fromkeys(("HDEMUCS_HIGH_MUSDB", "HDEMUCS_HIGH_MUSDB_PLUS"), _FOUR),
    "SpleeterSeparator": {"spleeter:2stems": ("vocals", "accompaniment")},  # Those of the others are the user's files.
    "OpenUnmixSeparator": {
        **dict.fromkeys(("umxhq", "umxl", "umx"), ("vocals", "drums", "bass", "other")),
        "umxse": ("speech", "noise"),
    },
}
"""The sources of published weights, by class and name; the classes have them too, and a test compares them."""


def separator_name(settings: Any) -> str | None:
    """The name of the weights that the settings of a separator ask for, as their own tool knows it.

    Args:
        settings: The value of `model.separator`: the name of a preset or class, a path, or a mapping.

    Returns:
        The name; None where the family has no named weights, or nothing is known.

    Raises:
        MdxError: If there is no preset of that name.

    Example:
        >>> separator_name("spleeter"), separator_name("roformer"), separator_name({"class_path": "DemucsSeparator"})
        ('spleeter:2stems', None, 'htdemucs')
    """
    family, init = _taken_apart(settings)
    name = init.get("name") or _DEFAULT_NAMES.get(family)
    return name if isinstance(name, str) else None


def separator_sources(settings: Any, name: str | None = None) -> tuple[str, ...] | None:
    """The sources of the separator that settings ask for.

    Args:
        settings: The value of `model.separator`: the name of a preset or class, a path, or a mapping.
        name: The name of its weights, where it is given apart from the settings.

    Returns:
        The sources; None where they depend on files of the user, or nothing is known.

    Raises:
        MdxError: If there is no preset of that name.

    Example:
        >>> separator_sources("spleeter"), separator_sources("roformer")
        (('vocals', 'accompaniment'), None)
    """
    family, init = _taken_apart(settings)
    if init.get("weights") is not None:
        return None
    return _SOURCES.get(family, {}).get(name or init.get("name") or _DEFAULT_NAMES.get(family, ""))


def _taken_apart(settings: Any) -> tuple[str, Mapping[str, Any]]:
    """The name of the class, without its package, and its arguments."""
    if isinstance(settings, str):
        path = Path(preset_path("separator", settings))
        settings = preset_settings(path) if path.is_file() else {"class_path": settings}
    if not isinstance(settings, Mapping):
        return "", {}
    init = settings.get("init_args")
    return str(settings.get("class_path")).rpartition(".")[2], init if isinstance(init, Mapping) else {}
