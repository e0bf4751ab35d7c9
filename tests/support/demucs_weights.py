"""Small networks of Demucs's architectures with random weights, and files as demucs writes them."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file
from torch import Tensor

from tests.support.signals import RATE, SOURCES

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


def normalised(function: Callable[[Tensor], Tensor], mixture: Tensor) -> Tensor:
    """As the `demucs` command normalises its input; mixture (channel, time)."""
    reference = mixture.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    return function(((mixture - mean) / std)[None])[0] * std + mean
