"""`mdx-progressive prepare`: the chunks of songs, written once for later runs of `test`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from mdx_progressive.cli.errors import TRACEBACK
from mdx_progressive.cli.parser import HelpFormatter, OneLineErrors
from mdx_progressive.cli.shorthand import prepare_args
from mdx_progressive.data import CutSettings, PreparedIndex, PreparedWriter, SongDataset, choose_dataset
from mdx_progressive.runtime import MdxError

log = logging.getLogger(__name__)

_DESCRIPTION = """\
Trim and cut songs with stems once, and write the chunks, so that runs of `test` read nothing else:

  mdx-progressive prepare --data.root songs/ --to prepared/
  mdx-progressive prepare --data.dataset Musdb18 --data.dataset.root MUSDB18/ --to prepared/ --workers 4
  mdx-progressive test -s spleeter --data.dataset PreparedSet --data.dataset.root prepared/

A chunk is <to>/<song>/<number>/ with mixture, uniform (the sum of the stems) and each stem, at the song's own sample
rate, as flac of 16 or 24 bits, or as a float32 wav where they would lose something or clip. <to>/index.json lists
them with start, length, silent stems and checksums. Without a data set it takes the built-in clip. The same command
resumes an interrupted run.
"""


def parser() -> ArgumentParser:
    """The options of the command."""
    options = OneLineErrors(prog="mdx-progressive prepare", description=_DESCRIPTION, formatter_class=HelpFormatter)
    options.add_argument("-c", "--config", action="config", help="YAML with these options.")
    options.add_subclass_arguments(SongDataset, "data.dataset", required=False, help="Where the songs come from.")
    options.add_argument("--data.root", type=str | None, help="A folder of songs, short for SongFolders of it.")
    options.add_argument("--to", type=str, required=True, help="Folder that the chunks are written to.")
    options.add_argument(
        "--format", type=Literal["flac", "wav"], default="flac", help="What samples of 16 and 24 bits are stored as."
    )
    options.add_argument("--chunk", type=float | None, default=30.0, help="Length of a chunk in seconds; null for all.")
    options.add_argument(
        "--trim",
        type=float | None,
        default=60.0,
        help="A stem starts at its first frame within this many dB of its loudest one; null starts at the beginning.",
    )
    options.add_argument(
        "--all-chunks", action="store_true", help="Continue after the first chunk to the end of the song."
    )
    options.add_argument("--workers", type=int, default=1, help="Processes; each holds one decoded song.")
    options.add_argument(
        "--overwrite", action="store_true", help="Delete what an earlier run wrote there; start again."
    )
    options.add_argument(
        "--prune",
        action="store_true",
        help="Delete the chunks of songs that the data set no longer has; without it they stay, and are named.",
    )
    options.add_argument(TRACEBACK, action="store_true", help="Show where in the code an error was raised.")
    return options


def prepare(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If songs could not be prepared; the others are.
        SystemExit: If an option is wrong, or the command is interrupted.
    """
    options_parser = parser()
    options = options_parser.instantiate_classes(options_parser.parse_args(prepare_args(args)))
    cutting = CutSettings(options.chunk, options.trim, options.all_chunks, options.format)
    songs = choose_dataset(options.data.get("dataset"), options.data.root)
    try:
        index = PreparedWriter(
            songs, Path(options.to), cutting, options.workers, options.overwrite, options.prune
        ).run()
    except KeyboardInterrupt as error:
        log.warning("stopped; the same command resumes")
        raise SystemExit(130) from error  # As a shell has it for Ctrl-C.
    _report(index, Path(options.to))


def _report(index: PreparedIndex, to: Path) -> None:
    for song, differing in index.differences.items():
        log.warning("%s: %s", song, "; ".join(differing))
    for song, silent in ((f"{chunk.song}, chunk {chunk.chunk}", chunk.silent) for chunk in index.chunks):
        if silent:
            log.warning("%s: silent: %s", song, ", ".join(silent))
    for song, reason in index.failed.items():
        log.warning("%s: not prepared: %s", song, reason)
    done = index.songs()
    without = sum(all(chunk.mixture is None for chunk in song.chunks) for song in done.values())
    note = f" ({without} ship no mixture; theirs is the uniform one)" if without else ""
    log.info("%s: chunks %d, songs %d%s", to, len(index.chunks), len(done), note)
    if index.failed:
        raise MdxError(f"{len(index.failed)} of {len(index.failed) + len(done)} songs could not be prepared, see above")
