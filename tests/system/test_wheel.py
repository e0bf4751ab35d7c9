"""The built wheel, in an environment of its own and from an empty folder, does the main jobs."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import soundfile

from tests.support.paths import REPOSITORY
from tests.support.signals import RATE, noise

SOURCES = ("mdx_progressive", "configs", "pyproject.toml", "README.md", "LICENSE")
NARROW = ("--model.separator.bins", "64")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel, which takes the dependencies from the one that tests run in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    fresh = folder / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    (site,) = fresh.glob("lib/python*/site-packages")
    subprocess.run([*pip, "--python", str(fresh), "install", "--no-deps", str(wheel)], check=True)
    # A path within a .pth file is searched, but no .pth file of it is read: not that of an editable installation.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    shutil.rmtree(source)
    return fresh


def call(environment: Path, *args: str) -> str:
    """What the command prints."""
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(environment / "bin" / "mdx-progressive"), *args]
    ended = subprocess.run(command, capture_output=True, text=True, env=without, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def test_the_main_jobs_run_from_an_empty_folder(environment: Path, own_folder: Path) -> None:
    soundfile.write("song.mp3", noise(2).T.numpy(), RATE)

    said = call(environment, "predict", "song.mp3", "-s", "spleeter", "--two-stems", "vocals", *NARROW)
    assert f"wrote 2 stems of 1 song to separated{os.sep}song{os.sep} in " in said
    assert sorted(path.name for path in Path("separated", "song").iterdir()) == ["no_vocals.wav", "vocals.wav"]

    call(environment, "test", "-c", "demo", "--data.chunk", "1.5", "--model.compare", "[linear]", *NARROW)
    assert "linear" in call(environment, "compare", "logs/demo/version_0")
    assert "wrote logs/demo/version_0/report.html" in call(environment, "report", "logs/demo/version_0")

    call(environment, "init", "my.yaml", "-s", "spleeter")
    said = call(environment, "predict", "song.mp3", "-c", "my.yaml", "-o", "mine", *NARROW)
    assert "wrote 2 stems of 1 song to mine" in said


def test_the_wheel_holds_every_preset_and_room(environment: Path) -> None:
    (installed,) = environment.glob("lib/python*/site-packages/mdx_progressive")

    def files(folder: Path, pattern: str) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob(pattern)}

    assert files(installed / "configs", "*.yaml") == files(REPOSITORY / "configs", "*.yaml")
    code = files(REPOSITORY / "mdx_progressive", "*.py")
    assert {name for name in files(installed, "*.py") if not name.startswith("configs/")} == code
    assert (installed / "py.typed").is_file()
    assert files(installed, "*.html") == files(REPOSITORY / "mdx_progressive", "*.html")
