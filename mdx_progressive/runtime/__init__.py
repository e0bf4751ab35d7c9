"""What every other room stands on: errors, files, memory, threads, timing.

Nothing here knows of music; it imports no other room.
"""

from mdx_progressive.runtime.checksums import checksum
from mdx_progressive.runtime.distributed import all_gather, warn_once
from mdx_progressive.runtime.errors import RESUME_HINT, ChangedError, MdxError, error_text, one_line
from mdx_progressive.runtime.files import atomic_write, write_table
from mdx_progressive.runtime.journal import Journal
from mdx_progressive.runtime.memory import (
    is_out_of_memory,
    keep_freed_memory,
    layer_memory_kept,
    peak_memory,
    release_freed_memory,
    release_layer_memory,
    restart_peak_memory,
)
from mdx_progressive.runtime.names import safe_names
from mdx_progressive.runtime.package_data import package_file
from mdx_progressive.runtime.renamed_settings import former_names, rename_settings
from mdx_progressive.runtime.safe_yaml import check_extent
from mdx_progressive.runtime.threads import BackgroundThread, ThreadRound, prefetch
from mdx_progressive.runtime.timing import Stopwatch, device_name
from mdx_progressive.runtime.torchaudio_import import import_torchaudio

__all__ = [
    "RESUME_HINT",
    "BackgroundThread",
    "ChangedError",
    "Journal",
    "MdxError",
    "Stopwatch",
    "ThreadRound",
    "all_gather",
    "atomic_write",
    "check_extent",
    "checksum",
    "device_name",
    "error_text",
    "former_names",
    "import_torchaudio",
    "is_out_of_memory",
    "keep_freed_memory",
    "layer_memory_kept",
    "one_line",
    "package_file",
    "peak_memory",
    "prefetch",
    "release_freed_memory",
    "release_layer_memory",
    "rename_settings",
    "restart_peak_memory",
    "safe_names",
    "warn_once",
    "write_table",
]
