"""Signal processing as pure functions of tensors: blocks, overlap-add, spectra, tuning, silence.

It knows no file and no separator, and imports `runtime` alone.
"""

from mdx_progressive.dsp.blocks import Block, ReceptiveField, join_blocks, plan_blocks
from mdx_progressive.dsp.concert_pitch import pitch_correction
from mdx_progressive.dsp.overlap_add import OverlapAdd, padded_slice, segment_spans, stride, triangular_window
from mdx_progressive.dsp.silence import SILENCE_DB, silent_channels
from mdx_progressive.dsp.spectra import (
    HOP,
    STRETCH,
    apply_mixing,
    band_of_bin,
    band_products,
    channels_as_sources,
    deviations,
    in_stretches,
    to_spectra,
    to_waveforms,
)
from mdx_progressive.dsp.stft import framed_stft, overlap_add_frames

__all__ = [
    "HOP",
    "SILENCE_DB",
    "STRETCH",
    "Block",
    "OverlapAdd",
    "ReceptiveField",
    "apply_mixing",
    "band_of_bin",
    "band_products",
    "channels_as_sources",
    "deviations",
    "framed_stft",
    "in_stretches",
    "join_blocks",
    "overlap_add_frames",
    "padded_slice",
    "pitch_correction",
    "plan_blocks",
    "segment_spans",
    "silent_channels",
    "stride",
    "to_spectra",
    "to_waveforms",
    "triangular_window",
]
