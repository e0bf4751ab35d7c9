"""Weights of Demucs networks: from the hub, a file or a folder, and nothing but Demucs networks."""

import hashlib
import json
import pickle
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from demucs import hf
from demucs.apply import BagOfModels
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import load_model
from safetensors import safe_open

from mdx_progressive.errors import MdxError
from mdx_progressive.separators.state_dict import asked_for, reason

Network = Demucs | HDemucs | HTDemucs

_CLASSES = (Demucs, HDemucs, HTDemucs)
_CLASS_NAMES = {f"{known.__module__}.{known.__name__}" for known in _CLASSES}
_NEEDS_DIFFQ = 'its weights are quantised, which needs diffq: pip install "mdx_progressive[quantised]"'
_SUFFIXES = (".safetensors", ".th")


def load_hub(name: str) -> BagOfModels:
    """Load a named model from the Hugging Face hub or its cache.

    Raises:
        MdxError: If there is no such model, or neither the cache holds it nor the hub can be reached.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    namespace, _, short = name.rpartition("/")
    repository = f"{namespace or hf.DEFAULT_NAMESPACE}/{hf.hf_repo_name(short)}"

    def fetch(file: str) -> Path:
        try:
            return Path(hf_hub_download(repository, file))
        except (OSError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled) as error:
            raise MdxError(
                f"the weights of {name!r} are not in the local cache, and {file} of {repository} could not be had from"
                f" the Hugging Face hub ({reason(error)}). Check the name and the connection, or give local weights:"
                " --model.separator.weights FILE (a .safetensors or .th file, or a folder with a bag)"
            ) from error

    return _load_bag(fetch(f"{short}.yaml"), lambda signature: fetch(f"{signature}.safetensors"))


def load_file(path: Path) -> BagOfModels:
    """Load a single network from a `.safetensors` or `.th` file.

    Raises:
        MdxError: If the file is missing, broken, or holds something other than a Demucs network.
    """
    return BagOfModels([_load_network(path)])


def load_folder(folder: Path, name: str) -> BagOfModels:
    """Load the bag `name`, the only bag, or the only network of a folder, laid out as for `demucs --repo`.

    Raises:
        MdxError: If the folder leaves no or more than one choice, or a file in it can't be used.
    """
    bags = sorted(folder.glob("*.yaml"))
    networks = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    chosen = [bag for bag in bags if bag.stem == name] or bags

    def find(signature: str) -> Path:
        found = [file for file in networks if file.stem.split("-")[0] == signature or file.stem == signature]
        if len(found) != 1:
            raise MdxError(f"{chosen[0]} names the network {signature!r}, of which {folder} holds {len(found)} files")
        return found[0]

    if len(chosen) == 1:
        return _load_bag(chosen[0], find)
    if not bags and len(networks) == 1:
        return load_file(networks[0])
    raise MdxError(
        f"{folder} holds {len(bags)} bags (.yaml) and {len(networks)} networks (.safetensors, .th), so it is not clear"
        " which to load: name the bag with --model.separator.name, or give --model.separator.weights a file"
    )


def _load_bag(path: Path, find: Callable[[str], Path]) -> BagOfModels:
    try:
        description = yaml.safe_load(path.read_text())
        signatures = [str(signature) for signature in description["models"]]
        networks = [_load_network(find(signature)) for signature in signatures]
        weights = description.get("weights") or [[1.0] * len(networks[0].sources)] * len(networks)
        segment = description.get("segment")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, IndexError, UnicodeDecodeError) as error:
        raise MdxError(f"{path}: not the description of a bag of Demucs networks ({error})") from error
    first = networks[0]
    for signature, network, row in zip(signatures, networks, weights, strict=False):
        facts = (network.sources, network.samplerate, network.audio_channels)
        if facts != (first.sources, first.samplerate, first.audio_channels) or len(row) != len(first.sources):
            raise MdxError(f"{path}: the network {signature!r} does not fit the others (sources, rate or channels)")
    if len(weights) != len(networks):
        raise MdxError(f"{path}: {len(weights)} rows of weights for {len(networks)} networks")
    return BagOfModels(networks, [[float(value) for value in row] for row in weights], segment)


def _load_network(path: Path) -> Network:
    if not path.is_file():
        raise MdxError(f"{path}: no such file (Demucs weights: a .safetensors or .th file, or a folder with a bag)")
    if path.suffix not in _SUFFIXES:
        raise MdxError(f"{path}: Demucs weights end in .safetensors or .th")
    try:
        return _load_safetensors(path) if path.suffix == ".safetensors" else _load_pickle(path)
    except MdxError:
        raise
    except Exception as error:  # A broken file fails wherever its first broken byte is read.
        raise MdxError(f"{path}: no Demucs network could be loaded from it ({reason(error)})") from error


def _load_safetensors(path: Path) -> Network:
    """`demucs.hf.load_safetensors_model`, after a look at the classes that the file asks it to import."""
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
    missing = {"klass", "args", "kwargs"} - set(metadata)
    if missing:
        raise MdxError(f"{path}: its metadata lacks {', '.join(sorted(missing))}, which demucs writes into its files")
    _check_class(metadata["klass"], path)
    for name in _classes_within(json.loads(metadata.get("structure", "null"))):
        # Quantised states name the classes of the diffq package and nothing else.
        if not name.startswith("diffq."):
            raise MdxError(f"{path}: refused, its metadata names the foreign class {name}")
    if "structure" in metadata and find_spec("diffq") is None:
        raise MdxError(f"{path}: {_NEEDS_DIFFQ}")
    network: Network = hf.load_safetensors_model(path)
    return network


def _classes_within(node: Any) -> list[str]:
    if isinstance(node, dict):
        named = [str(node["_class"])] if "_class" in node else []
        return named + [name for value in node.values() for name in _classes_within(value)]
    if isinstance(node, list):
        return [name for value in node for name in _classes_within(value)]
    return []


def _load_pickle(path: Path) -> Network:
    _check_signature(path)
    with torch.serialization.safe_globals([*_CLASSES, Fraction, *_quantisers()]):
        try:
            package = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            foreign = asked_for(error)
            if foreign and foreign.startswith("diffq.") and not _quantisers():
                raise MdxError(f"{path}: {_NEEDS_DIFFQ}") from error
            asks = f"asks for {foreign}" if foreign else "can't be read as such"
            raise MdxError(f"{path}: refused, only tensors and Demucs networks are unpickled, and it {asks}") from error
    if not isinstance(package, dict) or not {"klass", "args", "kwargs", "state"} <= set(package):
        raise MdxError(f"{path}: not a network as demucs saves it (klass, args, kwargs, state)")
    klass = package["klass"]
    _check_class(f"{getattr(klass, '__module__', '?')}.{getattr(klass, '__name__', klass)}", path)
    network: Network = load_model(package)
    return network


def _quantisers() -> list[type]:
    """The classes that a quantised state names as what has packed it."""
    if find_spec("diffq") is None:
        return []
    from diffq import DiffQuantizer, UniformQuantizer

    return [DiffQuantizer, UniformQuantizer]


def _check_class(name: str, path: Path) -> None:
    if name not in _CLASS_NAMES:
        raise MdxError(f"{path}: refused, it names the class {name}; known are {', '.join(sorted(_CLASS_NAMES))}")


def _check_signature(path: Path) -> None:
    """Demucs's own `.th` files carry the first digits of their SHA-256 in the name: `signature-digits.th`."""
    signature, _, digits = path.stem.rpartition("-")
    if signature and len(digits) == 8 and all(digit in "0123456789abcdef" for digit in digits):
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(digits):
            raise MdxError(f"{path}: damaged or altered, its SHA-256 begins with {found[:8]} and not with {digits}")
