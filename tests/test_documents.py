"""The documents: links lead somewhere, commands parse, examples run, lines end."""

import gc
import json
import os
import re
import shlex
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml

import mdx_progressive
from tests.support.command import NARROW, run
from tests.support.paths import CONFIGS
from tests.support.signals import RATE, SOURCES, noise

ROOT = CONFIGS.parent
DOCUMENTS = sorted(
    path
    for pattern in (
        "[A-Z]*.md",
        ".github/*.md",
        "configs/**/*.md",
        "logs/*.md",
        "mdx_progressive/**/*.md",
        "tests/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
FOLDERS = ("configs", "logs", "mdx_progressive", "tests/benchmarks")
README = ROOT / "README.md"
LIGHTNING = ("test", "predict", "benchmark", "tune")
PRINTING = (*LIGHTNING, "prepare")
"""Commands that parse everything and run nothing by `--print_config`."""
OPTION = re.compile(r"--(?:model|data|writer|trainer|tensorboard|sound)\.")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name)


def fences(text: str, language: str) -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """The pieces of code within paragraphs."""
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def commands(text: str) -> list[list[str]]:
    """The arguments of `mdx-progressive`, wherever it is called."""
    joined = text.replace("\\\n", "")
    blocks = [*fences(joined, "sh"), *re.findall(r"^    .*$", joined, re.MULTILINE), *spans(joined)]
    calls = re.findall(
        r"(?:mdx-progressive|-m mdx_progressive)(?: +(\S.*?))?(?= && |$)", "\n".join(blocks), re.MULTILINE
    )
    return [shlex.split(call, comments=True) for call in dict.fromkeys(calls) if call]


def anchors(text: str) -> list[str]:
    """Those that GitHub gives to the headings, which are numbered where they have one name."""
    seen: Counter[str] = Counter()
    found = []
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.append(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def links(text: str) -> list[str]:
    code = r"^ *```.*?^ *```$|`[^`]*`"
    return re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(code, "code", text, flags=re.MULTILINE | re.DOTALL))


def leads_somewhere(link: str, document: Path) -> bool:
    if link.startswith(("https://", "mailto:")):
        return True
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not anchor or anchor in anchors(target.read_text(encoding="utf-8"))


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    found = links(document.read_text(encoding="utf-8"))

    assert [link for link in found if not leads_somewhere(link, document)] == []


@each_document
def test_lines_are_short_unless_they_are_rows_of_tables_or_the_commands_that_scripts_extract(document: Path) -> None:
    lines = document.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "    python3 -m venv "))] == []


def test_the_front_page_is_a_page_and_a_half() -> None:
    text = README.read_text(encoding="utf-8")

    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1000


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_have_a_document_with_a_table_of_contents(folder: str) -> None:
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    sections = anchors("\n".join(re.findall("^##+ .*$", text, re.MULTILINE)))

    assert sections
    assert [section for section in sections if f"#{section}" not in links(text)] == []


def test_presets_are_in_the_document_of_their_folder() -> None:
    text = (CONFIGS / "README.md").read_text(encoding="utf-8")
    presets = [path.stem for kind in ("method", "separator") for path in (CONFIGS / kind).glob("*.yaml")]

    assert [preset for preset in presets if not re.search(rf"\b{preset}\b", text)] == []


@pytest.fixture
def checkout(own_folder: Path) -> Path:
    """A folder with what the commands name."""
    os.symlink(CONFIGS, "configs")
    shutil.copy(CONFIGS / "schedule" / "cosine.yaml", "schedule.yaml")  # As `tune` writes it.
    committee, dataset = fences((CONFIGS / "README.md").read_text(encoding="utf-8"), "yaml")
    Path("songs.yaml").write_text(dataset, encoding="utf-8")
    Path("both.yaml").write_text(committee, encoding="utf-8")
    return own_folder


@pytest.fixture
def songs(checkout: Path) -> Path:
    """The same with songs."""
    folder = checkout / "songs" / "a song"
    folder.mkdir(parents=True)
    for seed, stem in enumerate(SOURCES):
        soundfile.write(folder / f"{stem}.wav", noise(2, seed=seed).T.numpy(), RATE)
    soundfile.write("song.mp3", noise(2).T.numpy(), RATE)
    return checkout


def is_valid(command: list[str]) -> bool:
    """Whether the parser takes a command; one without arguments, as it is named in a sentence, has to exist."""
    if len(command) == 1:
        return run(*command, "--help") == 0
    if command[:1] == ["completion"] or "--help-all" in command or "--help" in command:
        return run(*command) == 0
    if command[0] == "init":
        return run(*command, "--overwrite") == 0
    if command[0] in PRINTING and not any(word.endswith(".help") for word in command):
        return run(*command, "--print_config") == 0
    return run(*command) != 2  # 2 is a wrong option, 1 a run that is not there.


@each_document
def test_commands_are_valid(document: Path, checkout: Path) -> None:
    found = commands(document.read_text(encoding="utf-8"))

    assert [command for command in found if not is_valid(command)] == []


def test_commands_are_found() -> None:
    found = {name(document): commands(document.read_text(encoding="utf-8")) for document in DOCUMENTS}

    assert ["test", "-c", "demo"] in found["README.md"]
    assert ["predict", "song.mp3"] in found["README.md"]
    assert ["separators"] in found["README.md"]
    assert len(found["README.md"]) >= 8
    of_configs = found["configs/README.md"]
    assert [command[-6:] for command in of_configs if "ddp" in command] == [
        ["--trainer.num_nodes", "2", "--trainer.devices", "4", "--trainer.strategy", "ddp"]
    ]
    assert len(found["tests/benchmarks/README.md"]) >= 15


def options() -> list[str]:
    """Options that are named in sentences and tables, with their values."""
    texts = [document.read_text(encoding="utf-8") for document in DOCUMENTS if document.name != "CHANGELOG.md"]
    found = [span for text in texts for span in spans(text) if OPTION.match(span) and "my_package" not in span]
    return list(dict.fromkeys(found))


def test_options_are_valid(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo, htdemucs = (["test", "-c", f"configs/{name}.yaml"] for name in ("demo", "htdemucs"))
    starts = [
        demo,
        ["test", "-s", "spleeter", "--model.method", "linear"],
        htdemucs,
        [*demo, "--data.dataset", "PreparedSet", "--data.dataset.root", "prepared"],
        [*demo, "--data.dataset", "musdb18hq", "--data.dataset.root", "MUSDB18-HQ"],
        [*htdemucs, "--model.separator", "configs/separator/spleeter-2stems.yaml"],
    ]
    for command in ("test", "predict"):
        assert run(command, "--help-all") == 0
    keys = set(re.findall(r"--[\w.]+", capsys.readouterr().out))

    def is_known(option: str) -> bool:
        words = shlex.split(option)
        return words[0] in keys if len(words) == 1 else any(is_valid([*start, *words]) for start in starts)

    found = options()
    assert len(found) >= 30
    assert [option for option in found if not is_known(option)] == []


def test_the_commands_of_the_front_page_would_run_on_songs(songs: Path) -> None:
    found = commands(README.read_text(encoding="utf-8"))
    of_spleeter = [command for command in found if {"spleeter", "demo"} & set(command)]
    assert {command[0] for command in of_spleeter} == {"test", "predict"}

    assert [command for command in of_spleeter if run(*command, *NARROW, "--dry-run") != 0] == []


@each_document
def test_modules_exist(document: Path) -> None:
    modules = re.findall(r"python3? -m ((?:tests|mdx_progressive)[\w.]*)", document.read_text(encoding="utf-8"))

    assert [module for module in modules if find_spec(module) is None] == []


@pytest.mark.filterwarnings("ignore")  # Lightning's, which the command line leaves out.
def test_the_python_of_the_front_page_runs(songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = fences(README.read_text(encoding="utf-8"), "python")
    names: dict[str, Any] = {}

    exec(code.replace('"spleeter")', '"spleeter", bins=64)', 1), names)  # noqa: S102 - our own

    assert Path("vocals.wav").is_file()
    assert set(names["table"]["method"]) == {"one-pass", "recommended"}
    assert capsys.readouterr().out.count("torch.Size([2, 2, ") == 6


@pytest.mark.filterwarnings("ignore")
def test_the_tour_runs_from_top_to_bottom(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads((ROOT / ".github" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}

    for cell in cells:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"]).replace('load_separator("spleeter")', 'load_separator("spleeter", bins=64)')
            exec(code, names)  # noqa: S102 - our own

    assert capsys.readouterr().out.startswith("['vocals', 'accompaniment'] 44100\n0 {'vocals': ")
    assert Path("vocals.wav").is_file()


def test_the_workflows_call_what_the_project_calls() -> None:
    tests, release = (
        yaml.safe_load((ROOT / ".github" / "workflows" / f"{each}.yml").read_text(encoding="utf-8"))
        for each in ("tests", "release")
    )
    job = tests["jobs"]["tests"]
    assert job["strategy"]["matrix"]["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    assert job["steps"][-1]["run"] == "bash .ci/run"
    # YAML 1.1 reads the key `on` as true.
    assert release[True] == {"push": {"tags": ["v*"]}}
    publish = release["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / ".github" / "CITATION.cff").read_text(encoding="utf-8"))

    assert citation["version"] == mdx_progressive.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert all(reference["url"] in README.read_text(encoding="utf-8") for reference in citation["references"])


def test_the_example_of_a_schedule_is_one() -> None:
    (code,) = fences((ROOT / "mdx_progressive" / "README.md").read_text(encoding="utf-8"), "python")
    names: dict[str, type] = {}

    exec(code, names)  # noqa: S102 - our own
    weights = names["Late"](0.8).weights(4)
    names.clear()
    gc.collect()  # Or it would be among the schedules of other tests.

    assert weights.tolist() == pytest.approx([0, 0, 0, 0.4, 0.8])
