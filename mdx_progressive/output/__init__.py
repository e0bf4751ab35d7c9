"""Estimates to files of stems: blocks kept until a song is complete, names, levels, claims on a folder.

It knows no Lightning, and imports `data`, `audio`, `dsp` and `runtime`.
"""

from mdx_progressive.output.block_store import BlockStore
from mdx_progressive.output.claims import Claims
from mdx_progressive.output.partial_songs import PartialSongs
from mdx_progressive.output.provenance import Maker, settings_digest
from mdx_progressive.output.song_choice import SongChoice
from mdx_progressive.output.song_estimates import resampled_estimates
from mdx_progressive.output.song_writer import SongWriter
from mdx_progressive.output.stem_files import Clip, StemFiles, save_stem
from mdx_progressive.output.stem_paths import StemPaths, check_pattern
from mdx_progressive.output.stems import StemMix

__all__ = [
    "BlockStore", "Claims", "Clip", "Maker", "PartialSongs", "SongChoice", "SongWriter", "StemFiles", "StemMix",
    "StemPaths", "check_pattern", "resampled_estimates", "save_stem", "settings_digest",
]  # fmt: skip
