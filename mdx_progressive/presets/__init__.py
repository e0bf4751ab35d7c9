"""Presets by name, and the levels of quality of each separator.

Nothing here imports torch, so that the command line can check what was asked for before it loads anything.
"""

from mdx_progressive.presets.at_hand import DEFAULT_SEPARATOR, separator_name, separator_sources
from mdx_progressive.presets.names import (
    Kind,
    accepted_names,
    find_preset,
    inlined_settings,
    nearest,
    preset_folder,
    preset_names,
    preset_path,
    preset_settings,
    resolve_names,
)
from mdx_progressive.presets.quality import (
    DEFAULT_QUALITY,
    QUALITIES,
    RECOMMENDED,
    Level,
    Quality,
    is_measured,
    quality_levels,
)

__all__ = [
    "DEFAULT_QUALITY", "DEFAULT_SEPARATOR", "QUALITIES", "RECOMMENDED", "Kind", "Level", "Quality",
    "accepted_names", "find_preset", "inlined_settings", "is_measured", "nearest", "preset_folder", "preset_names",
    "preset_path", "preset_settings", "quality_levels", "resolve_names", "separator_name",
    "separator_sources",
]  # fmt: skip
