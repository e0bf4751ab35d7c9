"""The short spellings of the command line, as the keys of LightningCLI that they stand for."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mdx_progressive.cli.keys import check_keys
from mdx_progressive.cli.own_code import named_modules, take_allowed
from mdx_progressive.cli.paths import check_path, given_paths, is_of_path
from mdx_progressive.cli.values import CHECKED, check_choice, check_values, label
from mdx_progressive.presets import (
    DEFAULT_QUALITY,
    DEFAULT_SEPARATOR,
    QUALITIES,
    RECOMMENDED,
    Kind,
    preset_path,
    preset_settings,
    quality_levels,
    separator_name,
    separator_sources,
)
from mdx_progressive.runtime import MdxError, check_folder_of

_SHORT = {
    "-c": "config", "--config": "config",
    "-s": "separator", "--separator": "separator",
    "-q": "quality", "--quality": "quality",
    "-o": "out",
    "-d": "device", "--device": "device",
    "--two-stems": "two_stems",
    "--methods": "methods",
    "--format": "format",
    "--bitrate": "bitrate",
}  # fmt: skip
"""Options with a value that LightningCLI does not know, or that are looked at before it."""
_OVERWRITE = "--overwrite"
_FLAGS = frozenset({"--dry-run", "--fail-fast", "--traceback", "--print_config", _OVERWRITE})
"""Options without a value."""
_PRESET_OPTIONS: dict[str, Kind] = {
    "--model.separator": "separator",
    "--model.method": "method",
    "--model.method.schedule": "schedule",
    "--data.dataset": "dataset",
}
"""Options whose value may be the name of a preset."""
DEFAULT_LOGGER_NAME = "run"
"""The name of the folder of runs, where neither a configuration nor the separator gives one."""
_END = "--"
"""What follows it are files and folders, whatever they begin with."""
_NULL = " null"
"""No value; with a space, lest a file of that name is read."""
_METHOD, _COMPARE, _SEPARATOR = "--model.method", "--model.compare", "--model.separator"
NO_SONGS = (
    "no songs: give a folder of songs with stems (songs/<song>/vocals.wav, drums.wav, …), or"
    " --data.dataset builtin-clip for the 6 s that come with the package"
)
NO_FILES = "no songs: give audio files or folders of them"
_DEFAULT_METHODS = {"predict": DEFAULT_QUALITY, "test": RECOMMENDED, "benchmark": RECOMMENDED, "tune": "linear"}
_MANY = 3


@dataclass
class CommandLine:
    """A command line in the spelling of LightningCLI.

    Args:
        command: The subcommand.
        separator: The name of the separator at hand, as its own tool knows it; None where it has none.
        args: The arguments after the subcommand.
        method: What the method is called: a level of quality, a preset, or the name in a file.
        inputs: The files and folders that were given by themselves.
        log: The file of --log-json.
        modules: Packages whose classes files of settings may name, beside ours.
        paths: Files and folders that were given, which are no YAML.
        has_songs: Whether anything says where the songs are.
    """

    command: str
    separator: str | None
    args: list[str] = field(default_factory=list)
    method: str = ""
    inputs: list[str] = field(default_factory=list)
    log: str | None = None
    modules: list[str] = field(default_factory=list)
    paths: frozenset[str] = frozenset()
    has_songs: bool = True

    def check_paths(self) -> None:
        """See that there are songs, and their files and folders, and that of the log, before anything is loaded.

        Raises:
            MdxError: If there is something missing.
        """
        if not self.has_songs:
            raise MdxError(NO_SONGS if self.command != "predict" else NO_FILES)
        for path in self.inputs:
            if not os.path.lexists(path):
                raise MdxError(f"{path}: no such file or folder")
        if self.log is not None:
            check_folder_of(Path(self.log), "--log-json")

    @property
    def announcement(self) -> str:
        """Which method runs; for `predict` also what it costs, and how to choose another."""
        name = {RECOMMENDED: "best", "one-pass": "fast"}.get(self.method, self.method)
        separator = (self.separator or "the separator").replace(":", "-")
        if self.command != "predict":
            return f"{self.command}: {separator}, method {self.method}"
        if name not in QUALITIES:
            return f"{separator}, method {name} (-q fast, balanced or best takes another)"
        others = ", ".join(other for other in QUALITIES if other != name)
        return f"{separator}, -q {name} (or {others}): {quality_levels(self.separator)[name].text}"


def expand(command: str, args: Sequence[str]) -> CommandLine:
    """Spell out the short options of a command.

    Args:
        command: `predict`, `test`, `benchmark` or `tune`.
        args: What follows it.

    Raises:
        MdxError: If an option lacks its value, contradicts another, or names no preset.

    Example:
        >>> line = expand("predict", ["song.mp3", "-s", "umxl", "-q", "fast", "--two-stems", "vocals"])
        >>> [arg for arg in line.args if not arg.endswith(".yaml")]  # doctest: +NORMALIZE_WHITESPACE
        ['--model.separator', '--model.method', '--targets', 'vocals', '--writer.complement', 'vocals',
         '--data.input', 'song.mp3']
    """
    args, allowed = take_allowed(args)
    inputs, short, rest = _split(args)
    check_keys(command, rest)
    configs = [preset_path("config", value) for value in short.get("config", [])]
    model, data = _configured(configs, "model"), _configured(configs, "data")
    separator = _last(short, "separator") or _value_of(rest, _SEPARATOR)
    if separator is None and "separator" not in model:
        separator = DEFAULT_SEPARATOR
    name = _value_of(rest, f"{_SEPARATOR}.name") or separator_name(separator or model["separator"])
    local = _value_of(rest, f"{_SEPARATOR}.weights") is not None
    at_hand = separator or model["separator"]
    sources = None if local else separator_sources(at_hand, _value_of(rest, f"{_SEPARATOR}.name"))
    check_values(_checked(short, rest), sources, label(at_hand, name), bool(configs))
    named = [*rest, *short.get("separator", []), *(_last(short, "methods") or "").split(",")]
    modules = [*allowed, *named_modules(named, configs)]
    line = CommandLine(command, name, inputs=inputs, log=_value_of(rest, "--log-json"), modules=modules)
    for path in configs:
        line.args += ["-c", path]
    if separator is not None:
        line.args += [_SEPARATOR, preset_path("separator", separator)]
    line.args += _methods(line, short, rest, model.get("method"))
    if command == "test" and not configs and separator is not None and not any(map(_is_of_logger, rest)):
        line.args += ["--trainer.logger.init_args.name", (name or Path(separator).stem).replace(":", "-")]
    line.args += _others(command, short)
    line.paths = given_paths(rest) | {*inputs}
    songs = [*_songs(command, inputs, rest, data)]
    line.has_songs = bool(songs or configs) or any(map(_names_songs, rest))
    line.args += songs
    line.args += _with_paths([arg for arg in rest if arg != _OVERWRITE], name)
    if _OVERWRITE in rest:
        line.args += ["--writer.overwrite", "true"]
    return line


def _configured(configs: Sequence[str], group: str) -> dict[str, Any]:
    """The settings of a group in the configurations, of which the last one wins."""
    settings = [preset_settings(Path(path)).get(group) for path in configs]
    groups = [each for each in settings if isinstance(each, dict)]
    return {key: value for each in groups for key, value in each.items() if value}


def _split(args: Sequence[str]) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """The inputs, the values of the short options, and all else in its order."""
    inputs: list[str] = []
    short: dict[str, list[str]] = {}
    rest: list[str] = []
    left = list(args)
    while left:
        arg = left.pop(0)
        name, equals, value = arg.partition("=")
        if arg == _END:
            return [*inputs, *left], short, rest
        if name in _SHORT:
            if not equals:
                if not left:
                    raise MdxError(f"{name} needs a value")
                value = left.pop(0)
            short.setdefault(_SHORT[name], []).append(value)
        elif not _is_option(arg):
            inputs.append(arg)
        else:
            rest.append(arg)
            if not equals and arg not in _FLAGS and left and not _is_option(left[0]):
                rest.append(left.pop(0))
    return inputs, short, rest


def _is_option(arg: str) -> bool:
    """Not a number below 0, nor `-` by itself, nor a file whose name begins with a dash and a space."""
    return arg == _END or re.match("--?[a-zA-Z]", arg) is not None


def _last(short: dict[str, list[str]], name: str) -> str | None:
    return short[name][-1] if name in short else None


def _value_of(rest: Sequence[str], option: str) -> str | None:
    """The last value of a long option, with or without an equals sign."""
    found = None
    for arg, following in zip_longest(rest, rest[1:]):
        if arg == option:
            found = following
        elif arg.startswith(f"{option}="):
            found = arg.removeprefix(f"{option}=")
    return found


def _checked(short: dict[str, list[str]], rest: Sequence[str]) -> dict[str, str]:
    """The values that can be checked at once, by their options."""
    given = {f"--{name.replace('_', '-')}": values[-1] for name, values in short.items()}
    return given | {option: value for option in CHECKED if (value := _value_of(rest, option)) is not None}


def _methods(line: CommandLine, short: dict[str, list[str]], rest: Sequence[str], configured: Any) -> Iterator[str]:
    """The options that choose the methods; `configured` is that of a configuration, if there is one."""
    quality, several = _last(short, "quality"), _last(short, "methods")
    given = _value_of(rest, _METHOD)
    if sum(value is not None for value in (quality, several, given)) > 1:
        raise MdxError("--quality, --methods and --model.method all choose the method: give one of them")
    if quality is not None:
        check_choice("--quality", quality, QUALITIES)
    names = several.split(",") if several else []
    if several is not None and line.command != "test":
        raise MdxError("--methods is for `test`, which compares them; choose one by --quality or --model.method")
    if given is not None:
        line.method = _method_name(given)
        return
    chosen = quality or (names[0] if names else None if configured else _DEFAULT_METHODS[line.command])
    line.method = _method_name(chosen or configured)
    if chosen is None:
        return
    yield from (_METHOD, str(preset_path("method", chosen, line.separator)))
    if several is not None:
        yield from (_COMPARE, json.dumps([preset_path("method", name, line.separator) for name in names[1:]]))
    elif line.command == "test" and not configured and _value_of(rest, _COMPARE) is None:
        ensemble = preset_path("method", "ensemble", line.separator)
        if quality_levels(line.separator)["best"].method != "ensemble":
            yield from (_COMPARE, json.dumps([ensemble]))


def _is_of_logger(option: str) -> bool:
    return option.startswith("--trainer.logger")


def _method_name(method: Any) -> str:
    """What to call a method that is given by name, by path or by its settings."""
    if isinstance(method, dict):
        init = method.get("init_args")
        own = init.get("name") if isinstance(init, dict) else None
        return f"{own} of the configuration" if own else "of the configuration"
    name = str(method)
    return "of the settings" if "{" in name else Path(name).stem if Path(name).suffix in (".yaml", ".yml") else name


def _others(command: str, short: dict[str, list[str]]) -> Iterator[str]:
    """The options that have one meaning, whatever the others are."""
    if (out := _last(short, "out")) is not None:
        if command != "predict":
            raise MdxError(f"-o is for `predict`; `{command}` writes to --trainer.logger.init_args.save_dir")
        yield from ("--out", check_path("-o", out))
    if (stem := _last(short, "two_stems")) is not None:
        yield from ("--targets", stem, "--writer.complement", stem)
    for name in ("format", "bitrate"):
        if (value := _last(short, name)) is not None:
            yield from (f"--writer.{name}", value)
    if (device := _last(short, "device")) is not None:
        yield from _device(device)


def _device(device: str) -> Iterator[str]:
    """The Trainer's keys for a device as PyTorch names it.

    Example:
        >>> list(_device("cuda:1"))
        ['--trainer.accelerator', 'gpu', '--trainer.devices', '[1]']
    """
    kind, _, number = device.partition(":")
    accelerators = {"cuda": "gpu", "gpu": "gpu", "cpu": "cpu", "mps": "mps", "auto": "auto"}
    if kind not in accelerators or (number and not number.isdecimal()):
        raise MdxError(f"--device is cpu, cuda, cuda:1, mps or auto, not {device!r}")
    yield from ("--trainer.accelerator", accelerators[kind])
    if number:
        yield from ("--trainer.devices", f"[{number}]")


def _names_songs(arg: str) -> bool:
    return arg.startswith(("--data.root", "--data.dataset", "--data.input"))


def _songs(command: str, inputs: Sequence[str], rest: Sequence[str], configured: dict[str, Any]) -> Iterator[str]:
    """The options for the songs; where the command line says where they are, a configuration does not."""
    root = (bool(inputs) and command != "predict") or any(arg.startswith("--data.root") for arg in rest)
    dataset = any(arg.startswith("--data.dataset") for arg in rest)
    if root and not dataset and "dataset" in configured:
        yield from ("--data.dataset", _NULL)
    if dataset and not root and "root" in configured:
        yield from ("--data.root", _NULL)
    if command == "predict" and inputs:
        paths = [check_path("--data.input", path) for path in inputs]
        yield from ("--data.input", paths[0] if len(paths) == 1 else json.dumps(paths))
    elif inputs:
        yield from ("--data.root", _folder(command, inputs))
    elif command == "benchmark" and not (root or dataset or configured.keys() & {"root", "dataset"}):
        yield from ("--data.dataset", preset_path("dataset", "builtin-clip"))  # It measures time, not the song.


def _folder(command: str, inputs: Sequence[str]) -> str:
    """The one folder that a command takes."""
    if len(inputs) > 1:
        named = ", ".join(inputs[:_MANY])
        raise MdxError(f"`{command}` takes one folder of songs with stems, not {len(inputs)}: {named}")
    if Path(inputs[0]).is_file():
        raise MdxError(
            f"{inputs[0]}: `{command}` measures songs with stems, and takes their folder:"
            " songs/<song>/vocals.wav, drums.wav, …"
        )
    return check_path("--data.root", inputs[0])


def _with_paths(rest: Sequence[str], separator: str | None) -> Iterator[str]:
    """The long options, with paths for the names of presets; those of the separator were looked at already."""
    left = list(rest)
    while left:
        option, equals, value = left.pop(0).partition("=")
        kind = _PRESET_OPTIONS.get(option)
        takes_value = bool(equals) or ((kind or option == _COMPARE) and left)
        if option == _SEPARATOR:
            if not equals:
                left.pop(0)
        elif (kind or option == _COMPARE) and takes_value:
            given = value if equals else left.pop(0)
            yield from (option, preset_path(kind, given, separator) if kind else _compared(given, separator))
        elif is_of_path(option) and (equals or left):
            yield from (option, check_path(option, value if equals else left.pop(0)))
        else:
            yield option + equals + value


def _compared(value: str, separator: str | None) -> str:
    """The value of `model.compare`, with paths for the names in a list."""
    names = value.strip()
    if not (names.startswith("[") and names.endswith("]")) or "{" in names:
        return value
    listed: list[Any] = [name.strip().strip("'\"") for name in names[1:-1].split(",") if name.strip()]
    return json.dumps([preset_path("method", name, separator) for name in listed])


def prepare_args(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of `prepare`, with paths for the names of presets, and the packages that the user names."""
    rest, allowed = take_allowed(args)
    _, short, _ = _split(rest)
    return list(_with_paths(rest, None)), [*allowed, *named_modules(rest, short.get("config", []))]
