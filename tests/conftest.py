"""What several tests share: the built-in clip, small networks of the real architectures, songs on disk."""

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import soundfile
import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from safetensors.torch import save_file
from torch import Tensor

from mdx_progressive.audio.signals import Signal
from mdx_progressive.cli.main import main
from mdx_progressive.data.song import builtin_clip

# The same examples at each run, and nothing written beside the tests.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")
set_hypothesis_home_dir(Path(tempfile.gettempdir(), "hypothesis"))

SHARED = Path(__file__).parents[2] / "shared"
CONFIGS = Path(__file__).parents[1] / "configs"
SOURCES = ["drums", "bass", "other", "vocals"]
RATE = 44100
NARROW = ("--model.separator.bins", "64")
"""Spleeter up to 700 Hz, at a sixteenth of the cost: for tests of all but what is heard."""


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


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command writes to logs/ and separated/ below the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: object) -> int:
    """The exit code of `mdx-progressive`."""
    try:
        return main(tuple(map(str, args)))
    except SystemExit as left:
        return int(left.code or 0)


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


Network = Demucs | HDemucs | HTDemucs


def small_network(kind: type[Network], seed: int = 0) -> Network:
    """A network of the real architecture at reduced size, with random weights that let sound through."""
    torch.manual_seed(seed)
    if kind is HTDemucs:
        network: Network = HTDemucs(
            SOURCES, channels=16, growth=2, bottom_channels=32, t_layers=1, t_heads=2, segment=Fraction(1), dconv_mode=3
        )
    elif kind is HDemucs:
        network = HDemucs(SOURCES, channels=16, segment=2)
    else:
        network = Demucs(SOURCES, channels=16, depth=3, lstm_layers=1, segment=2, samplerate=RATE)
    return network.eval()


def save_safetensors(network: Network, path: Path) -> Path:
    """Write a network as demucs's export tool does."""

    def encode(value: object) -> object:
        if isinstance(value, Fraction):
            return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
        return value

    args, kwargs = network._init_args_kwargs  # type: ignore[misc]
    kind = type(network)
    metadata = {
        "klass": f"{kind.__module__}.{kind.__name__}",
        "args": json.dumps([encode(value) for value in args]),
        "kwargs": json.dumps({name: encode(value) for name, value in kwargs.items()}),
    }
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, str(path), metadata)
    return path


def save_pickle(network: Network, path: Path) -> Path:
    """Write a network as demucs's training does."""
    args, kwargs = network._init_args_kwargs  # type: ignore[misc]
    package = {"klass": type(network), "args": args, "kwargs": kwargs, "state": network.state_dict()}
    torch.save({**package, "training_args": {"seed": 42}}, path)
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


def noise(seconds: float, channels: int = 2, seed: int = 0, rate: int = RATE, level: float = 0.1) -> Tensor:
    """White noise (channel, time)."""
    generator = torch.Generator().manual_seed(seed)
    return level * torch.randn(channels, int(seconds * rate), generator=generator)


def normalised(function: Callable[[Tensor], Tensor], mixture: Tensor) -> Tensor:
    """As the `demucs` command normalises its input; mixture (channel, time)."""
    reference = mixture.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    return function(((mixture - mean) / std)[None])[0] * std + mean
