"""Short spellings are the long ones; names are presets; what is wrong is told with the nearest."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import yaml

from mdx_progressive.audio import FORMATS
from mdx_progressive.cli.keys import GROUPS, OPTIONS, OWN_OPTIONS
from mdx_progressive.cli.lightning import ProgressiveCLI
from mdx_progressive.cli.lightning import run as run_lightning
from mdx_progressive.cli.other_tools import ELSEWHERE
from mdx_progressive.cli.separators import entries
from mdx_progressive.cli.shorthand import expand
from mdx_progressive.cli.values import BITRATES, CHOICES
from mdx_progressive.data.song_reader import MixtureChoice
from mdx_progressive.engine import EstimateWriter
from mdx_progressive.presets import (
    QUALITIES,
    find_preset,
    preset_names,
    preset_settings,
    quality_levels,
    separator_sources,
)
from tests.support.command import run
from tests.support.paths import CONFIGS
from tests.support.processes import run_interpreter

pytestmark = pytest.mark.usefixtures("own_folder")

Capture = pytest.CaptureFixture[str]


def settings(capsys: Capture, *args: object) -> dict[str, object]:
    """What would run."""
    assert run(*args, "--print_config") == 0, capsys.readouterr().err
    shown: dict[str, object] = yaml.safe_load(capsys.readouterr().out)
    return shown


def at(shown: object, path: str) -> object:
    for key in path.split("."):
        assert isinstance(shown, dict)
        shown = shown[key]
    return shown


def preset(kind: str, name: str) -> Path:
    return CONFIGS / kind / f"{name}.yaml"


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (
            ["predict", "a.mp3", "b.mp3", "-s", "umxl", "-q", "fast", "-o", "out", "-d", "cpu"],
            ["predict", "--model.separator", preset("separator", "umxl"),
             "--model.method", preset("method", "one-pass"), "--out", "out", "--trainer.accelerator", "cpu",
             "a.mp3", "b.mp3"],
        ),
        (
            ["predict", "--overwrite", "--two-stems=vocals", "song.mp3", "--format", "mp3", "--bitrate", "320"],
            ["predict", "--model.separator", preset("separator", "htdemucs"),
             "--model.method", preset("method", "balanced-htdemucs"), "--data.input", "song.mp3", "--targets", "vocals",
             "--writer.complement", "vocals", "--writer.format", "mp3", "--writer.bitrate", "320",
             "--writer.overwrite", "true"],
        ),
        (
            ["test", ".", "-s", "spleeter", "--methods", "recommended,ensemble,heun"],
            ["test", "--data.root", ".", "--model.separator", preset("separator", "spleeter-2stems"),
             "--model.method", preset("method", "recommended-spleeter"),
             "--model.compare", f"[{preset('method', 'ensemble')},{preset('method', 'heun')}]"],
        ),
        (
            ["predict", "x.wav", "--dry-run", "-s", "spleeter:2stems", "--model.method", "linear",
             "--model.method.schedule", "karras", "--model.method.steps", "3"],
            ["predict", "--data.input", "x.wav", "--dry-run", "--model.separator",
             preset("separator", "spleeter-2stems"), "--model.method", preset("method", "linear"),
             "--model.method.schedule", preset("schedule", "karras"), "--model.method.steps", "3"],
        ),
        (
            ["test", "-s", "umxl", "--data.dataset", "musdb18hq", "--model.compare", "[euler,heun]"],
            ["test", "--model.separator", preset("separator", "umxl"), "--model.method", preset("method", "ensemble"),
             "--data.dataset", preset("dataset", "musdb18hq"),
             "--model.compare", f"[{preset('method', 'euler')},{preset('method', 'heun')}]"],
        ),
    ],
    ids=lambda args: args[0] if args[0] == "test" else " ".join(map(str, args[1:4])),
)  # fmt: skip
def test_a_short_spelling_is_the_long_one(short: Sequence[object], long: Sequence[object], capsys: Capture) -> None:
    assert settings(capsys, *short) == settings(capsys, *long)


@pytest.mark.parametrize(
    ("separator", "method"),
    [("htdemucs", "balanced"), ("spleeter", "balanced"), ("umxhq", "ensemble-3"), ("roformer", "ensemble-3")],
)
def test_predict_takes_the_balanced_method_of_the_separator_and_says_so(
    separator: str, method: str, capsys: Capture
) -> None:
    shown = settings(capsys, "predict", "song.mp3", "-s", separator)

    assert at(shown, "model.method.init_args.name") == method


@pytest.mark.parametrize("config", preset_names("config"))
def test_no_configuration_predicts_with_a_study_schedule(config: str, capsys: Capture) -> None:
    assert at(settings(capsys, "predict", "-c", config), "model.method.init_args.name") == "recommended"


def test_the_method_of_a_configuration_follows_the_separator(capsys: Capture) -> None:
    of_demo = settings(capsys, "test", "-c", "demo")
    of_htdemucs = settings(capsys, "test", "-c", "demo", "-s", "htdemucs")
    alone = settings(capsys, "test", "-s", "htdemucs")

    assert at(of_demo, "model.method") != at(of_htdemucs, "model.method")
    assert at(of_htdemucs, "model.method") == at(alone, "model.method")


def test_a_name_within_a_file_is_a_preset_and_a_file_of_that_name_wins(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.yaml").write_text("model: {separator: spleeter, method: heun, compare: [euler, recommended]}\n")
    shown = settings(capsys, "test", "-c", "mine.yaml")
    assert at(shown, "model.method.init_args.name") == "heun"
    compared = at(shown, "model.compare")
    assert isinstance(compared, list)
    assert [at(each, "init_args.name") for each in compared] == ["euler", "recommended"]

    (tmp_path / "heun").write_text(preset("method", "euler").read_text())
    assert at(settings(capsys, "test", "-s", "spleeter", "--model.method", "heun"), "model.method.init_args.name") == (
        "euler"
    )


def test_every_level_of_every_separator_is_a_preset() -> None:
    methods = preset_names("method")

    assert entries()
    for entry in entries():
        levels = quality_levels(entry.weights.name if entry.weights else None)
        assert [*levels] == [*QUALITIES]
        assert all(level.method in methods for level in levels.values())
        passes = [level.passes for level in levels.values()]
        assert passes == sorted(passes)


def test_the_keys_that_are_checked_first_are_those_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, set[str]] = {}

    def keep(self: ProgressiveCLI, parser: object, args: object) -> None:
        for command in self.subcommands():
            options = {option for action in self._parser(command)._actions for option in action.option_strings}
            found[command] = {option[2:].removesuffix("+") for option in options if option.startswith("--")}
        raise SystemExit

    monkeypatch.setattr(ProgressiveCLI, "parse_arguments", keep)
    with pytest.raises(SystemExit):
        run_lightning(["test"], None)

    short = {
        "separator", "quality", "methods", "device", "two-stems", "format", "bitrate", "overwrite", "help-all", "allow",
    }  # fmt: skip
    own = {f"{group}.{key}" for group, keys in GROUPS.items() for key in keys} - {
        "data.receptive_field",
        "data.standardise",
    }
    for command, options in found.items():
        known = {name for name in options if not name.endswith(".help") and name.partition(".")[0] != "trainer"}
        expected = {*own, *GROUPS, *OPTIONS, *OWN_OPTIONS[command]} - short
        assert known == expected


def test_the_values_that_are_checked_first_are_those_of_the_classes() -> None:
    hints = get_type_hints(EstimateWriter.__init__) | {"mixture": MixtureChoice}
    for option, choices in CHOICES.items():
        kinds = get_args(hints[option.rpartition(".")[2]])
        literals = {value for kind in kinds for value in (get_args(kind) or (kind,)) if isinstance(value, str)}
        assert {*choices} - {"null"} == literals
        assert ("null" in choices) == (type(None) in kinds)
    assert FORMATS["mp3"].bitrates == BITRATES


def test_the_sources_that_are_checked_first_are_those_of_the_separators() -> None:
    for entry in entries():
        given = preset_settings(find_preset("separator", entry.name))
        local = (given.get("init_args") or {}).get("weights")
        assert separator_sources(given) == (entry.weights.sources if entry.weights and not local else None)
    named = {"class_path": "DemucsSeparator", "init_args": {"name": "htdemucs"}}
    assert separator_sources(named) == ("drums", "bass", "other", "vocals")
    assert separator_sources(named | {"class_path": "my_package.Mine"}) is None


def test_other_weights_may_have_other_sources(capsys: Capture) -> None:
    options = ("--model.separator.weights", "x.safetensors", "--targets", "speech")
    assert at(settings(capsys, "predict", "x.wav", *options), "targets") == "speech"


@pytest.mark.parametrize("option", ELSEWHERE)
def test_an_option_of_another_tool_is_answered_with_the_one_here(option: str, capsys: Capture) -> None:
    assert run("predict", "song.mp3", option, "x") == 2

    error = capsys.readouterr().err
    assert error == f"mdx-progressive: error: there is no option {option}: {ELSEWHERE[option]}\n"
    for words in re.findall("`(.*?)`", error):
        expand("predict", ["song.mp3", *words.split()])


WRONG = {
    "predict x.wav -s htdemus": "there is no separator of the name 'htdemus', and no file: did you mean htdemucs?",
    "predict x.wav --data.inptu y": "there is no option --data.inptu: did you mean --data.input?",
    "predict x.wav --separater y": "there is no option --separater: did you mean --separator?",
    "predict x.wav -q bset": "--quality is fast, balanced or best, not 'bset' (best?)",
    "predict x.wav -q best --model.method heun": "--quality, --methods and --model.method all choose the method",
    "predict x.wav --format aac": "--format is wav, flac, mp3 or ogg, not 'aac'",
    "predict x.wav --format MP3": "--format is wav, flac, mp3 or ogg, not 'MP3' (mp3?)",
    "predict x.wav --writer.format=wva": "--writer.format is wav, flac, mp3 or ogg, not 'wva' (wav?)",
    "predict x.wav --writer.encoding int8": "--writer.encoding is float32, int24, int16 or null, not 'int8'",
    "predict x.wav --format mp3 --bitrate 999": "--bitrate is 64, 96, 112, 128, 160, 192, 224, 256 or 320, not '999'",
    "predict x.wav --format mp3 --bitrate 320k": "192, 224, 256 or 320, not '320k' (320?)",
    "predict x.wav --bitrate 320": "--bitrate is of mp3: give --format mp3 too",
    "predict x.wav --format flac --bitrate 320": "--bitrate is of mp3: give --format mp3 too",
    "predict x.wav --two-stems drmus": (
        "--two-stems: htdemucs has no source 'drmus', but drums, bass, other, vocals (drums?)"
    ),
    "predict x.wav -s spleeter --targets vocals,bas": (
        "--targets: spleeter-2stems has no source 'bas', but vocals, accompaniment"
    ),
    "test . -s umxse --model.targets [voice]": "--model.targets: umxse has no source 'voice', but speech, noise",
    "test -c demo --targets drums": "--targets: spleeter-2stems has no source 'drums', but vocals, accompaniment",
    "predict x.wav -x": "there is no option -x: see `mdx-progressive predict --help`",
    "predict x.wav -s spleter": "did you mean spleeter",
    "tune . -s spleeter --dry-run": "--dry-run is for `test` and `predict`",
    "predict x.wav -d gpux": "--device is cpu, cuda, cuda:1, mps or auto, not 'gpux'",
    "predict x.wav -s": "-s needs a value",
    "predict x.wav --methods heun": "--methods is for `test`",
    "test -o out": "-o is for `predict`",
    "test . -s spleeter --model.method.step 3": "--model.method.step: did you mean --model.method.steps",
    "test . -s spleeter --model.method Progresive": "no class or preset Progresive: did you mean Progressive?",
    "test . -s spleeter --trainer.precison 16": "--trainer.precison: did you mean --trainer.precision?",
    "test . -s spleeter --model.method linear --model.method.schedule karas": "'karas', and no file: did you mean kar",
    "separators --stem gitar": "no separator has the stem 'gitar'; there are accompaniment, bass, drums, guitar",
}


@pytest.mark.parametrize("command", WRONG)
def test_what_is_misspelt_is_told_with_what_is_meant(command: str, capsys: Capture) -> None:
    Path("x.wav").touch()

    assert run(*command.split()) in (1, 2)

    error = capsys.readouterr().err
    assert WRONG[command] in error
    assert "Traceback" not in error


IN_FILES = {
    "schedul: linear, schedule: linear": "there is no key model.method.schedul of Progressive: did you mean schedule?",
    "schedule: karas": "there is no schedule of the name 'karas', and no file: did you mean karras?",
    "schedule: linear, steps: many": "model.method.steps must be int or null, not many",
    "schedule: {class_path: Linearr}": "there is no class or preset Linearr: did you mean Linear?",
    "schedule: linear, corrections: [{class_path: Repetition, init_args: {strength: much}}]": (
        "model.method.corrections.strength must be float, not much"
    ),
    "schedule: wrong.yaml": "there is no class Karass: did you mean Karras?",
}


@pytest.mark.parametrize("init", IN_FILES)
def test_what_is_wrong_in_a_file_is_told_with_its_line(init: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "wrong.yaml").write_text("class_path: mdx_progressive.Karass\n")
    text = f"model:\n  separator: spleeter\n  method: {{class_path: Progressive, init_args: {{{init}}}}}\n"
    (tmp_path / "mine.yaml").write_text(text)

    assert run("test", "-c", "mine.yaml") == 2

    error = capsys.readouterr().err
    place = "wrong.yaml:1: " if "wrong" in init else "mine.yaml:3: "
    assert f"error: {place}{IN_FILES[init]}" in error
    assert len(error.splitlines()) == 2  # The first says what runs.


def test_a_misspelt_command_lists_all_commands(capsys: Capture) -> None:
    assert run("tset") == 2

    error = capsys.readouterr().err
    assert "did you mean test?" in error
    assert all(name in error for name in ("predict", "compare", "report", "init", "separators", "schedules", "prepare"))


@pytest.mark.parametrize(
    ("command", "absent"),
    [
        ("--help", ("torch", "lightning", "jsonargparse", "numpy")),
        ("--version", ("torch", "lightning", "jsonargparse", "numpy")),
        ("tset", ("torch", "lightning", "jsonargparse", "numpy")),
        ("predict x.wav --data.inptu y", ("torch", "lightning", "jsonargparse", "numpy")),
        ("predict --help", ("torch", "lightning", "jsonargparse", "numpy")),
        ("predict x.wav --format wva", ("torch", "lightning", "jsonargparse", "numpy")),
        ("predict x.wav --format mp3 --bitrate 1", ("torch", "lightning", "jsonargparse", "numpy")),
        ("predict x.wav -s spleeter --two-stems drmus", ("torch", "lightning", "jsonargparse", "numpy")),
        ("predict x.wav -n htdemucs_ft", ("torch", "lightning", "jsonargparse", "numpy")),
        ("separators", ("lightning", "matplotlib", "pandas", "torchaudio")),
        ("schedules", ("lightning", "matplotlib", "pandas")),
        ("compare nothing", ("lightning", "matplotlib", "torchmetrics", "librosa")),
    ],
)
def test_nothing_is_imported_that_the_answer_does_not_need(command: str, absent: tuple[str, ...]) -> None:
    Path("x.wav").touch()
    code = "import sys; from mdx_progressive.cli.main import main\n"
    code += f"try: main({command.split()!r})\nexcept SystemExit: pass\n"
    found = run_interpreter("-c", code + f"print('imported', [name for name in {absent!r} if name in sys.modules])")

    assert found.out.splitlines()[-1] == "imported []"


def test_metrics_are_found_by_their_short_names_in_a_fresh_process() -> None:
    metrics = "[BssEval, LogSpectralDistance, LogWmse, Sdr, SiSdr]"
    options = ("-s", "spleeter", "--model.metrics", metrics, "--print_config")
    ended = run_interpreter("-m", "mdx_progressive", "test", *options)

    assert ended.exit_code == 0, ended.err
    assert "class_path: mdx_progressive.LogWmse" in ended.out


def test_init_writes_one_file_that_both_commands_take(capsys: Capture) -> None:
    assert run("init", "my.yaml", "-s", "spleeter", "-q", "best") == 0
    text = Path("my.yaml").read_text(encoding="utf-8")
    capsys.readouterr()

    for command in ("predict", "test"):
        shown, expected = (settings(capsys, command, *options) for options in (
            ("-c", "my.yaml"), ("-s", "spleeter", "-q", "best"),
        ))  # fmt: skip
        assert at(shown, "model.separator") == at(expected, "model.separator")
        assert at(shown, "model.method") == at(expected, "model.method")
    assert str(CONFIGS) not in text
    assert "# How the blend weight of the estimate grows." in text
    assert max(map(len, text.splitlines())) <= 120
    assert not [noise for noise in ("Linked", "type:", "queue", "purge", "sub_dir", "default:") if noise in text]
    trainer = at(yaml.safe_load(text), "trainer")
    assert at(trainer, "logger.init_args") == {"save_dir": "logs", "name": "spleeter-2stems"}
    assert trainer == {"accelerator": "auto", "devices": "auto", "precision": None, "logger": at(trainer, "logger")}
    assert text.count("\n\n  #") + text.count(":\n  #") >= 20  # Every key of a group has its comment.
    assert run("init", "my.yaml") == 1
    assert "my.yaml exists: give another name, or --overwrite" in capsys.readouterr().err
    assert run("init", "my.txt") == 1


def test_init_keeps_the_trainer_of_a_configuration(capsys: Capture) -> None:
    Path("own.yaml").write_text(
        "model: {separator: spleeter}\ntrainer: {accelerator: cpu, devices: 2, precision: bf16-mixed, logger: false}\n"
    )

    assert run("init", "my.yaml", "-c", "own.yaml") == 0
    assert run("init", "demo.yaml", "-c", "demo") == 0

    kept = {"accelerator": "cpu", "devices": 2, "precision": "bf16-mixed", "logger": False}
    assert at(yaml.safe_load(Path("my.yaml").read_text()), "trainer") == kept
    assert at(yaml.safe_load(Path("demo.yaml").read_text()), "trainer.logger.init_args.name") == "demo"


def test_separators_are_listed_within_80_columns_by_the_names_that_are_taken(capsys: Capture) -> None:
    assert run("separators") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert all(name in shown.split() for name in preset_names("separator"))
    assert "BY-NC-SA" in shown

    assert run("separators", "--stem", "guitar") == 0
    assert "htdemucs_6s" in (guitar := capsys.readouterr().out)
    assert "umxl" not in guitar
    assert "all of these" in guitar
    assert "spleeter-2stems" not in guitar.split("--quality   ")[-1]
    assert max(map(len, guitar.splitlines())) <= 80

    assert run("separators", "--stem", "accompaniment") == 0
    qualities = capsys.readouterr().out.split("--quality   ")[-1]
    assert "spleeter-2stems" in qualities
    assert not {"htdemucs", "all"} & {line.split()[0] for line in qualities.splitlines() if line.strip()}

    assert run("separators", "--json") == 0
    facts = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert facts["htdemucs"]["download"] == 84
    assert facts["spleeter-2stems"]["quality"]["best"]["gain"] > 0.5
