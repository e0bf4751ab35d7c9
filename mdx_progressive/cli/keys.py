"""The keys of the command line, checked before anything large is imported; a test compares them with the parser's."""

import re
from collections.abc import Mapping, Sequence

from mdx_progressive.cli.other_tools import ELSEWHERE
from mdx_progressive.presets import nearest
from mdx_progressive.runtime import MdxError

GROUPS: Mapping[str, tuple[str, ...]] = {
    "model": (
        "separator", "method", "compare", "targets", "ensemble", "schedules", "oracle", "metrics", "compile",
    ),
    "data": (
        "root", "dataset", "input", "mixture", "chunk", "block", "all_chunks", "trim", "normalisation", "batch_size",
        "num_workers", "receptive_field", "standardise",
    ),
    "writer": (
        "format", "encoding", "bitrate", "clip", "dither", "name", "tags", "complement", "exact_sum", "overwrite",
    ),
    "tensorboard": ("songs", "seconds"),
    "sound": ("songs", "seconds"),
    "log": (),
    "failures": (),
    "results": (),
}  # fmt: skip
"""The keys within each group of ours; `trainer` has those of Lightning's Trainer."""
OPTIONS = (
    "config", "separator", "quality", "methods", "out", "device", "targets", "two-stems", "format", "bitrate",
    "overwrite", "dry-run", "resume", "fail-fast", "log-json", "traceback", "print_config", "seed_everything",
    "allow", "help", "help-all",
)  # fmt: skip
"""The options of every command of LightningCLI that are in no group."""
OWN_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "predict": (),
    "test": (),
    "benchmark": ("rounds", "json", "precisions"),
    "tune": ("to", "tuner"),
}
"""The options that one command alone has."""
_FOREIGN = ("trainer", "tuner")
"""Groups whose keys depend on a class or another package."""


def check_keys(command: str, args: Sequence[str]) -> None:
    """See that options name keys that there are, as far as that can be told without the classes that have them.

    Args:
        command: The command.
        args: Its arguments in the spelling of LightningCLI.

    Raises:
        MdxError: If one does not; it names the nearest key.
    """
    options = [*OPTIONS, *OWN_OPTIONS[command]]
    everything = [*options, *GROUPS, *_FOREIGN, *(f"{group}.{key}" for group in GROUPS for key in GROUPS[group])]
    for arg in args:
        if not re.match("--?[a-zA-Z]", arg):  # A value, perhaps a negative one.
            continue
        if (there := arg.partition("=")[0]) in ELSEWHERE:
            raise MdxError(f"there is no option {there}: {ELSEWHERE[there]}")
        if not arg.startswith("--"):
            raise MdxError(f"there is no option {arg}: see `mdx-progressive {command} --help`")
        name = arg[2:].partition("=")[0].rstrip("+")
        group, dot, rest = name.partition(".")
        key = rest.partition(".")[0]
        if group in _FOREIGN or name in options or (group in GROUPS and (not dot or key in (*GROUPS[group], "help"))):
            continue
        close = nearest(f"{group}.{key}" if dot else name, everything)
        if group in GROUPS:
            close = [f"{group}.{each}" for each in nearest(key, GROUPS[group])] or close
        meant = f"did you mean {' or '.join(f'--{each}' for each in close)}?" if close else ""
        raise MdxError(f"there is no option --{name}: {meant or 'see'} `mdx-progressive {command} --help-all`")
