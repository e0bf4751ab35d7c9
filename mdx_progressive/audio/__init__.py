"""Files to samples and samples to files: decoding, resampling, encoding, tags.

It knows neither songs nor separators, and imports `runtime`.
"""

from mdx_progressive.audio.channel_masks import channel_mask
from mdx_progressive.audio.decode import AUDIO_SUFFIXES, AudioStream, Header
from mdx_progressive.audio.encode import FORMATS, Encoding, Format, Mp3
from mdx_progressive.audio.lossless import AudioFormat, exact_storage
from mdx_progressive.audio.resampling import resample, resample_stream, resampled_length, sum_streams, zero_pad_together
from mdx_progressive.audio.signals import Signal, StreamSum
from mdx_progressive.audio.sound_output import SoundOutput
from mdx_progressive.audio.tags import read_tags

__all__ = [
    "AUDIO_SUFFIXES", "FORMATS", "AudioFormat", "AudioStream", "Encoding", "Format", "Header", "Mp3", "Signal",
    "SoundOutput", "StreamSum", "channel_mask", "exact_storage", "read_tags", "resample", "resample_stream",
    "resampled_length", "sum_streams", "zero_pad_together",
]  # fmt: skip
