"""Frozen, pretrained separators, one family a file."""

from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.exported import ExportedSeparator
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.roformer import RoFormerSeparator
from mdx_progressive.separators.spleeter import SpleeterSeparator
from mdx_progressive.separators.torchaudio import TorchaudioSeparator

__all__ = [
    "DemucsSeparator",
    "ExportedSeparator",
    "OpenUnmixSeparator",
    "RoFormerSeparator",
    "Separator",
    "SpleeterSeparator",
    "TorchaudioSeparator",
]
