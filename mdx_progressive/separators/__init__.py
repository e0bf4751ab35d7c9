"""Frozen, pretrained separators, one family a file."""

from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.spleeter import SpleeterSeparator

__all__ = ["DemucsSeparator", "Separator", "SpleeterSeparator"]
