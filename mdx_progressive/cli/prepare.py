"""`mdx-progressive prepare`: the chunks of songs, written once for later runs of `test`."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser

from mdx_progressive.cli.errors import TRACEBACK, interruptible, signal_of
from mdx_progressive.cli.own_code import ALLOW
from mdx_progressive.cli.parser import HelpFormatter, OneLineErrors, literal
from mdx_progressive.cli.paths import given_paths
from mdx_progressive.cli.shorthand import prepare_args
from mdx_progressive.data import CutSettings, PreparedIndex, PreparedWriter, SongDataset, choose_dataset
from mdx_progressive.runtime import MdxError, StoppedError, counted, importable

log = logging.getLogger(__name__)

_DESCRIPTION = "All options; `mdx-progressive prepare --help` has the everyday ones, with examples."


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
    options.add_argument(ALLOW, help="A module of yours, whose classes files of settings may name.")
    options.add_argument(TRACEBACK, action="store_true", help="Show where in the code an error was raised.")
    return options


def prepare(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If songs could not be prepared; the others are.
        StoppedError: If a signal stopped it.
        SystemExit: If an option is wrong.
    """
    options_parser = parser()
    given, modules = prepare_args(args)
    with importable(modules), literal(given_paths(given)):
        options = options_parser.instantiate_classes(options_parser.parse_args(given))
    cutting = CutSettings(options.chunk, options.trim, options.all_chunks, options.format)
    songs = choose_dataset(options.data.get("dataset"), options.data.root)
    writer = PreparedWriter(songs, Path(options.to), cutting, options.workers, options.overwrite, options.prune)
    try:
        with interruptible():
            index = writer.run()
    except KeyboardInterrupt as error:
        raise StoppedError(signal_of(error)) from error
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
    note = f" (without a mixture of their own: {without}, which have the uniform one)" if without else ""
    log.info("%s: %s of %s%s", to, counted(len(index.chunks), "chunk"), counted(len(done), "song"), note)
    if index.failed:
        total = counted(len(index.failed) + len(done), "song")
        raise MdxError(f"{len(index.failed)} of {total} could not be prepared, see above")
