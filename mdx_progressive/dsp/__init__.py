"""Signal processing as pure functions of tensors: blocks, overlap-add, spectra, tuning, silence.

It knows no file and no separator, and imports no other room.
"""

from mdx_progressive.dsp.blocks import Block, ReceptiveField, join_blocks, plan_blocks
from mdx_progressive.dsp.concert_pitch import concert_pitch_ratio
from mdx_progressive.dsp.levels import MonoLevelMeter, mono_levels, without_mean
from mdx_progressive.dsp.overlap_add import OverlapAdd, padded_slice, segment_spans, stride, triangular_window
from mdx_progressive.dsp.silence import SILENCE_DB, silent_channels
from mdx_progressive.dsp.spectra import (
    FRAMES_AT_ONCE,
    HOP,
    apply_mixing,
    band_indices,
    band_products,
    channels_as_sources,
    deviations,
    split_frames,
    to_spectra,
    to_waveforms,
)
from mdx_progressive.dsp.stft import fast_fft_length, framed_stft, overlap_add_frames

__all__ = [
    "FRAMES_AT_ONCE", "HOP", "SILENCE_DB", "Block", "MonoLevelMeter", "OverlapAdd", "ReceptiveField", "apply_mixing",
    "band_indices", "band_products", "channels_as_sources", "concert_pitch_ratio", "deviations", "fast_fft_length",
    "framed_stft", "join_blocks", "mono_levels", "overlap_add_frames", "padded_slice", "plan_blocks", "segment_spans",
    "silent_channels", "split_frames", "stride", "to_spectra", "to_waveforms", "triangular_window", "without_mean",
]  # fmt: skip
