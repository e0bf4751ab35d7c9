"""Fixtures of several test modules: the built-in clip, real and small networks, songs on disk."""

import logging
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from copy import deepcopy
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
import soundfile
from demucs.htdemucs import HTDemucs
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from torch import Tensor

from mdx_progressive.audio.signals import Signal
from mdx_progressive.data.song import builtin_clip
from mdx_progressive.separators.weights import spleeter
from tests.support.demucs_weights import save_safetensors, small_network
from tests.support.paths import SHARED
from tests.support.signals import RATE

# The same examples at each run, and nothing written beside the tests.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")
set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))

collect_ignore = ["support/without_posix"]
"""It changes the interpreter that imports it, as the search for examples in docstrings does."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """What was captured goes to another process as UTF-8, which bytes of file names may not be."""
    report = yield
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def no_arguments_but_those_given() -> Iterator[None]:
    """`main` is called with arguments; LightningCLI wants none of the process then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mdx-progressive"])
        yield


@pytest.fixture(autouse=True)
def no_messages_to_a_stream_that_is_closed() -> Iterator[None]:
    """`main` writes messages to the stderr of its time, which pytest closes after the test."""
    yield
    logging.getLogger("mdx_progressive").handlers.clear()


@pytest.fixture(scope="session", autouse=True)
def spleeter_weights_loaded_once() -> Iterator[None]:
    """Most commands of the tests use Spleeter, whose pickles take half a second each time."""
    loaded = cache(spleeter._load_wheel)

    @wraps(spleeter._load_wheel)
    def load(name: str) -> spleeter.Loaded:
        weights = loaded(name)
        return weights._replace(states=deepcopy(weights.states))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spleeter, "_load_wheel", load)
        yield


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command writes to logs/ and separated/ below the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def clip() -> dict[str, Tensor]:
    """The built-in clip: its mixture and four stems, (channel, time)."""
    song = builtin_clip()
    assert song.mixture is not None
    streams: dict[str, Signal] = {"mixture": song.mixture, **song.stems}
    return {name: stream.read()[0] for name, stream in streams.items()}


@pytest.fixture(scope="session")
def htdemucs_file() -> Path:
    """The genuine pretrained HTDemucs."""
    path = SHARED / "weights" / "htdemucs-955717e8.safetensors"
    if not path.exists():
        pytest.skip("the real htdemucs weights are not at hand (shared/weights)")
    return path


@pytest.fixture(scope="session")
def shared_songs() -> Path:
    """Nine real songs."""
    path = SHARED / "stems"
    if not path.exists():
        pytest.skip("the real songs are not at hand (shared/stems)")
    return path


@pytest.fixture(scope="session")
def small_htdemucs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_safetensors(small_network(HTDemucs), tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture
def write_song(tmp_path: Path) -> Callable[..., Path]:
    """Writes stems into <tmp>/songs/<name>/ and returns that folder."""

    def write(name: str, stems: dict[str, Tensor], suffix: str = ".wav", rate: int = RATE) -> Path:
        folder = tmp_path / "songs" / name
        folder.mkdir(parents=True, exist_ok=True)
        for stem, waveform in stems.items():
            subtype = "FLOAT" if suffix == ".wav" else None
            soundfile.write(folder / f"{stem}{suffix}", waveform.T.numpy(), rate, subtype=subtype)
        return folder

    return write
