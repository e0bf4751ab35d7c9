"""`mdx-progressive init`: one complete configuration file, with what each key means, to be edited."""

import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import chain
from pathlib import Path
from textwrap import wrap

import yaml

from mdx_progressive.cli.own_code import ALLOW, take_allowed
from mdx_progressive.cli.shorthand import DEFAULT_LOGGER_NAME, expand
from mdx_progressive.runtime import MdxError, atomic_write, check_folder_of

_DESCRIPTION = """\
Write a configuration file to start from: separator, method, data, output and
device, with what each key means, and no reference to other files.

  mdx-progressive init my.yaml
  mdx-progressive init my.yaml -s spleeter -q best
  mdx-progressive predict song.mp3 -c my.yaml
  mdx-progressive test songs/ -c my.yaml
"""
_WIDTH = 118
_GROUPS = {
    "model": "The separator, and the methods that run on it.",
    "data": "The songs.",
    "writer": "The files of `predict`.",
}
_TRAINER = {
    "accelerator": "cpu, gpu or mps; auto takes the best there is.",
    "devices": "How many devices, or which: 2, or [1].",
    "precision": "bf16-mixed is faster on GPUs of today; null is float32.",
    "logger": "Where `test` writes: <save_dir>/<name>/version_<number>.",
}
"""The keys of the trainer that matter where nothing is trained."""
_LOGGER = "lightning.pytorch.loggers.TensorBoardLogger"
_TYPE = re.compile(r" ?\((?:required, )?type: (?:.*known subclasses: (.*)|.*)\)$")
_COMMENT = re.compile(r"^( *)# (.*)$")
_KEY = re.compile(r"^( *)([\w+.-]+):")


def init(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If the file exists, or an option names no preset.
    """
    parser = ArgumentParser(
        prog="mdx-progressive init", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE.yaml", help="The file to write.")
    parser.add_argument("-c", "--config", help="A configuration to start from: demo, htdemucs or a YAML file.")
    parser.add_argument("-s", "--separator", help="The separator (default: htdemucs).")
    parser.add_argument("-q", "--quality", help="The method: fast, balanced (the default) or best of the separator.")
    parser.add_argument("--overwrite", action="store_true", help="Replace a file that exists.")
    parser.add_argument(ALLOW, metavar="MODULE", help="A module of yours, whose classes files of settings may name.")
    given, allowed = take_allowed(args)
    options = parser.parse_args(given)
    file: Path = options.file
    if file.suffix not in (".yaml", ".yml"):
        raise MdxError(f"{file}: the name must end in .yaml, as the files that -c takes")
    if file.exists() and not options.overwrite:
        raise MdxError(f"{file} exists: give another name, or --overwrite")
    check_folder_of(file)
    short = [("-c", options.config), ("-s", options.separator), ("-q", options.quality)]
    line = expand("predict", [part for option, value in short if value is not None for part in (option, value)])
    text = _described_settings(line.args, line.separator, [*allowed, *line.modules])
    name = (line.separator or "run").replace(":", "-")
    head = f"# mdx-progressive predict song.mp3 -c {file.name}\n# mdx-progressive test songs/ -c {file.name}"
    lines = [*_readable(_chosen(text.splitlines())), *_trainer(text, name)]
    with atomic_write(file) as temporary:
        temporary.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    print(f"wrote {file}: mdx-progressive predict song.mp3 -c {file}")


def _described_settings(args: Sequence[str], separator: str | None, modules: Sequence[str]) -> str:
    """All settings of `predict` as YAML, with comments."""
    from mdx_progressive.cli.lightning import run

    printed = StringIO()
    try:
        with redirect_stdout(printed):
            run(["predict", *args, "--print_config=comments"], separator, modules)
    except SystemExit as left:
        if left.code:
            raise
    return printed.getvalue()


def _chosen(lines: Sequence[str]) -> Iterator[str]:
    """The lines of the groups and keys that matter, each with the comments above it."""
    chosen: dict[str, list[str]] = {group: [] for group in _GROUPS}
    above: list[str] = []
    group, wanted = "", False
    for line in lines:
        if not line.strip() or _COMMENT.match(line):
            above.append(line)
            continue
        key = _KEY.match(line)
        if key and not key[1]:
            group, wanted = key[2], key[2] in _GROUPS
            above = ["", f"# {_GROUPS.get(group, '')}"]
        if wanted:
            chosen[group] += [*above, line]
        above.clear()
    yield from chain.from_iterable(chosen.values())


def _readable(lines: Iterator[str]) -> Iterator[str]:
    """Lines with short comments, and null where ruamel.yaml leaves the value out."""
    every = list(lines)
    for number, line in enumerate(every):
        if comment := _COMMENT.match(line):
            text = _TYPE.sub(lambda kind: f" One of {kind[1]}." if kind[1] else "", comment[2])
            text = text.replace("mdx_progressive.", "")
            yield from wrap(text, _WIDTH, initial_indent=f"{comment[1]}# ", subsequent_indent=f"{comment[1]}# ")
        elif line.rstrip().endswith(":") and not _has_value(line, every[number + 1 :]):
            yield f"{line.rstrip()} null"
        else:
            yield line


def _trainer(text: str, name: str) -> Iterator[str]:
    """The lines of the trainer.

    Args:
        text: All settings.
        name: That of the logger, where none was chosen.
    """
    settings = yaml.safe_load(text)["trainer"]
    logger = settings["logger"]
    if isinstance(logger, dict) and logger.get("class_path") == _LOGGER:
        init = logger["init_args"]
        chosen = name if init["name"] == DEFAULT_LOGGER_NAME else init["name"]
        settings["logger"] = {"class_path": _LOGGER, "init_args": {"save_dir": init["save_dir"], "name": chosen}}
    yield from ("", "# Devices and logs.", "trainer:")
    for key, comment in _TRAINER.items():
        yield from ("", f"  # {comment}")
        dumped = yaml.safe_dump({key: settings[key]}, sort_keys=False, allow_unicode=True)
        yield from (f"  {line}" for line in dumped.splitlines())


def _has_value(line: str, following: Sequence[str]) -> bool:
    """Whether the value of a key stands in the lines below it."""
    indent = len(line) - len(line.lstrip())
    after = next((each for each in following if each.strip() and not _COMMENT.match(each)), "")
    deeper = len(after) - len(after.lstrip())
    return deeper > indent or (deeper == indent and after.lstrip().startswith("- "))
