"""`mdx-progressive completion`: what a shell offers when Tab is pressed."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence

from mdx_progressive.cli.help_texts import SUMMARIES
from mdx_progressive.cli.keys import GROUPS, OPTIONS, OWN_OPTIONS
from mdx_progressive.cli.values import BITRATES, CHOICES
from mdx_progressive.presets import QUALITIES, RECOMMENDED, accepted_names, preset_names

_DESCRIPTION = """\
Print a script that completes commands, options, and the names of separators,
methods and configurations, in the start file of a shell:

  eval "$(mdx-progressive completion bash)"
  eval "$(mdx-progressive completion zsh)"
"""
# The shell asks for the words, which depend on the presets, and adds files where there are none.
_BASH = """\
_mdx_progressive() {
  local words="$(mdx-progressive completion words "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)"
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _mdx_progressive mdx-progressive
"""
_SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": "autoload -U +X bashcompinit && bashcompinit\n" + _BASH}


def completion(args: Sequence[str]) -> None:
    """Run the command."""
    if args[:1] == ["words"]:
        print(" ".join(words_after(args[1:])))
        return
    parser = ArgumentParser(
        prog="mdx-progressive completion", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("shell", choices=_SCRIPTS, help="The shell that is to complete.")
    print(_SCRIPTS[parser.parse_args(args).shell], end="")


def words_after(given: Sequence[str]) -> list[str]:
    """What may follow the words of a command line; nothing where files may.

    Example:
        >>> words_after(["predict", "song.mp3", "-q"])
        ['fast', 'balanced', 'best']
    """
    if not given:
        return [*SUMMARIES, "--help", "--version"]
    values: dict[str, list[str]] = {
        "separator": accepted_names("separator"),
        "quality": list(QUALITIES),
        "config": preset_names("config"),
        "method": accepted_names("method"),
        "schedule": preset_names("schedule"),
        "dataset": preset_names("dataset"),
        "methods": [RECOMMENDED, *preset_names("method")],
        "format": [*CHOICES["--writer.format"]],
        "bitrate": [*map(str, BITRATES)],
        "device": ["cpu", "cuda", "mps", "auto"],
    }
    last = {"-s": "separator", "-q": "quality", "-c": "config", "-d": "device"}.get(given[-1], given[-1])
    if last in values or (last.startswith("--") and last.rpartition(".")[2].lstrip("-") in values):
        return values[last.rpartition(".")[2].lstrip("-")]
    if given[0] not in OWN_OPTIONS or last in ("-o", "--out"):
        return []
    keys = [f"--{group}.{key}" for group, of_group in GROUPS.items() for key in of_group]
    return [*(f"--{option}" for option in (*OPTIONS, *OWN_OPTIONS[given[0]])), *keys]
