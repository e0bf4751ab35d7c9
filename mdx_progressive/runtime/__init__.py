"""The foundation of all rooms: errors, files, journals, memory, threads, timing.

Nothing here knows of audio; it imports no other room.
"""

from mdx_progressive.runtime.class_paths import foreign_class_text, importable, is_class_path, is_importable
from mdx_progressive.runtime.distributed import all_gather, is_first_process, warn_once
from mdx_progressive.runtime.errors import (
    RESUME_HINT,
    ChangedError,
    MdxError,
    StoppedError,
    abridged,
    causes,
    counted,
    error_text,
)
from mdx_progressive.runtime.escaping import (
    escape_cell,
    escape_latex,
    escape_lines,
    escape_markdown,
    escape_unprintable,
    read_cell,
)
from mdx_progressive.runtime.files import (
    atomic_write,
    check_folder_of,
    checksum,
    is_disk_full,
    real_path,
    remove_parts,
    set_aside,
    write_table,
)
from mdx_progressive.runtime.journal import Entry, Journal
from mdx_progressive.runtime.json_input import check_fields, check_type, read_json
from mdx_progressive.runtime.memory import (
    is_out_of_memory,
    keep_freed_memory,
    keep_layer_memory,
    peak_memory,
    release_freed_memory,
    release_layer_memory,
    reset_peak_memory,
)
from mdx_progressive.runtime.names import disk_name, find_name, safe_names, text_name
from mdx_progressive.runtime.package_data import package_file
from mdx_progressive.runtime.renamed_settings import former_names, rename_settings
from mdx_progressive.runtime.safe_yaml import check_yaml_size, load_yaml
from mdx_progressive.runtime.threads import BackgroundThread, prefetch, thread_pool
from mdx_progressive.runtime.timing import Stopwatch, device_name
from mdx_progressive.runtime.torchaudio_import import import_torchaudio

__all__ = [
    "RESUME_HINT", "BackgroundThread", "ChangedError", "Entry", "Journal", "MdxError", "StoppedError", "Stopwatch",
    "abridged", "all_gather", "atomic_write", "causes", "check_fields", "check_folder_of", "check_type",
    "check_yaml_size", "checksum", "counted", "device_name", "disk_name", "error_text", "escape_cell", "escape_latex",
    "escape_lines", "escape_markdown", "escape_unprintable", "find_name", "foreign_class_text", "former_names",
    "import_torchaudio", "importable", "is_class_path", "is_disk_full", "is_first_process", "is_importable",
    "is_out_of_memory", "keep_freed_memory", "keep_layer_memory", "load_yaml", "package_file", "peak_memory",
    "prefetch", "read_cell", "read_json", "real_path", "release_freed_memory", "release_layer_memory", "remove_parts",
    "rename_settings", "reset_peak_memory", "safe_names", "set_aside", "text_name", "thread_pool", "warn_once",
    "write_table",
]  # fmt: skip
