"""Frozen, pretrained separators: mixtures to estimates, one family a file; `weights` reads their files.

A separator knows no method: it imports `dsp` and `runtime`.
"""

from mdx_progressive.separators.base import PublishedWeights, Separator
from mdx_progressive.separators.committee import Cascade, Committee
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.exported import ExportedSeparator
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.roformer import RoFormerSeparator
from mdx_progressive.separators.spleeter import SpleeterSeparator
from mdx_progressive.separators.torchaudio import TorchaudioSeparator

__all__ = [
    "Cascade", "Committee", "DemucsSeparator", "ExportedSeparator", "OpenUnmixSeparator", "PublishedWeights",
    "RoFormerSeparator", "Separator", "SpleeterSeparator", "TorchaudioSeparator",
]  # fmt: skip
