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
    if isinstance(settings, str):
        path = Path(preset_path("separator", settings))
        settings = preset_settings(path) if path.is_file() else {"class_path": settings}
    if not isinstance(settings, Mapping):
        return None
    family = str(settings.get("class_path")).rpartition(".")[2]
    name = (settings.get("init_args") or {}).get("name") or _DEFAULT_NAMES.get(family)
    return name if isinstance(name, str) else None
