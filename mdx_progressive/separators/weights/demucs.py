"""Weights of Demucs networks: from the hub, a file or a folder, and nothing but Demucs networks."""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from sys import float_info
from typing import Any, NamedTuple

from demucs import hf
from demucs.apply import BagOfModels
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import set_state
from safetensors import safe_open

from mdx_progressive.runtime import MdxError, checksum, error_text
from mdx_progressive.separators.weights.archives import check_safetensors
from mdx_progressive.separators.weights.descriptions import check_signal, check_sources, read_yaml
from mdx_progressive.separators.weights.downloads import OFFLINE_HINT, check_server
from mdx_progressive.separators.weights.quantised import check_quantised
from mdx_progressive.separators.weights.state_dict import (
    SizeLimit,
    check_finite,
    fill_network,
    reading,
    refused_class,
    safe_unpickle,
)

Network = Demucs | HDemucs | HTDemucs

_CLASSES: dict[str, type[Network]] = {
    f"{network.__module__}.{network.__name__}": network for network in (Demucs, HDemucs, HTDemucs)
}
_QUANTISERS = ("DiffQuantizer", "UniformQuantizer")
_BAG = "description of a bag of Demucs networks"
_NEEDS_DIFFQ = 'its weights are quantised, which needs diffq: pip install "mdx_progressive[quantised]"'
_SUFFIXES = (".safetensors", ".th")
Loaded = tuple[BagOfModels, list[Path]]
"""A bag of networks, and its files."""


def load_hub(name: str) -> Loaded:
    """Load a named model from the Hugging Face hub or its cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    namespace, _, short = name.rpartition("/")
    repository = f"{namespace or hf.DEFAULT_NAMESPACE}/{hf.hf_repo_name(short)}"

    def fetch(file: str) -> Path:
        try:
            if not isinstance(try_to_load_from_cache(repository, file), str):
                check_server(lambda timeout: get_hf_file_metadata(hf_hub_url(repository, file), timeout=timeout))
            return Path(hf_hub_download(repository, file))
        except Exception as error:  # From the connection, the disk, the hub, or an impossible name.
            raise MdxError(
                f"the weights of {name!r} are not in the local cache, and {file} of {repository} could not be had from"
                f" the Hugging Face hub ({error_text(error)}). Check the name and the connection, give local"
                " weights (--model.separator.weights FILE, a .safetensors or .th file, or a folder with a bag), or take"
                f" {OFFLINE_HINT}"
            ) from error

    return _load_bag(fetch(f"{short}.yaml"), lambda signature: fetch(f"{signature}.safetensors"))


def load_file(path: Path) -> Loaded:
    """Load a single network from a `.safetensors` or `.th` file."""
    return BagOfModels([_load_network(path)]), [path]


def load_folder(folder: Path, name: str) -> Loaded:
    """Load the bag `name`, the only bag, or the only network of a folder, laid out as for `demucs --repo`."""
    bags = sorted(folder.glob("*.yaml"))
    networks = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    chosen = [bag for bag in bags if bag.stem == name] or bags

    def find(signature: str) -> Path:
        files = [file for file in networks if signature in (file.stem.split("-")[0], file.stem)]
        if len(files) != 1:
            raise MdxError(f"{chosen[0]} names the network {signature!r}, of which {folder} holds {len(files)} files")
        return files[0]

    if len(chosen) == 1:
        return _load_bag(chosen[0], find)
    if not bags and len(networks) == 1:
        return load_file(networks[0])
    raise MdxError(
        f"{folder} holds {len(bags)} bags (.yaml) and {len(networks)} networks (.safetensors, .th), so it is not clear"
        " which to load: name the bag with --model.separator.name, or give --model.separator.weights a file"
    )


def _load_bag(path: Path, find: Callable[[str], Path]) -> Loaded:
    """Load the bag that a YAML describes; `find` gives the file of a network by its name."""
    description = _read_bag(path)
    files = [find(str(name)) for name in description["models"]]
    networks = [_load_network(file) for file in files]
    formats = [(network.sources, network.samplerate, network.audio_channels) for network in networks]
    for name, signal in zip(description["models"], formats, strict=True):
        if signal != formats[0]:
            raise MdxError(f"{path}: the network {name!r} does not fit the others (sources, rate or channels)")
    sources, sample_rate, channels = formats[0]
    segment = description.get("segment")
    if segment is not None:
        check_signal(path, sample_rate, channels, segment)
    weights = description.get("weights") or [[1.0] * len(sources)] * len(networks)
    _check_bag_weights(path, description["models"], weights, len(sources))
    return BagOfModels(networks, [list(map(float, row)) for row in weights], segment), [path, *files]


def _read_bag(path: Path) -> dict[str, Any]:
    """Read the YAML of a bag and check its keys and the names of its networks."""
    description = read_yaml(path, _BAG)
    names = description.get("models") if isinstance(description, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise MdxError(f"{path}: not the {_BAG}, it has no list of their names under models")
    if unknown := set(description) - {"models", "weights", "segment"}:
        raise MdxError(f"{path}: not the {_BAG}, which has the keys models, weights and segment, not {_join(unknown)}")
    return dict(description)


def _check_bag_weights(path: Path, names: list[Any], weights: Any, sources: int) -> None:
    """Check a bag's weights, a row for each network and a column for each source."""
    if not isinstance(weights, list) or len(weights) != len(names):
        raise MdxError(f"{path}: weights must be a list with a row for each of the {len(names)} networks")
    for name, row in zip(names, weights, strict=True):
        valid = isinstance(row, list) and all(
            isinstance(value, int | float) and 0 <= value <= float_info.max for value in row
        )
        if not valid or len(row) != sources:
            raise MdxError(f"{path}: the weights of {name!r} must be {sources} numbers of 0 or more, one a source")
    if not all(any(column) for column in zip(*weights, strict=True)):
        raise MdxError(f"{path}: weights must leave each source to one of the networks at least")


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= float_info.max


def _join(names: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, names)))


def _load_network(path: Path) -> Network:
    with reading(path, "Demucs network"):
        if path.suffix not in _SUFFIXES:
            raise MdxError(f"{path}: Demucs weights end in .safetensors or .th")
        read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
        klass, args, kwargs, state = read(path)
        with SizeLimit(path):
            # As demucs does: networks have lost arguments over the years.
            parameters = inspect.signature(klass).parameters
            network: Network = klass(*args, **{name: value for name, value in kwargs.items() if name in parameters})
        check_sources(network.sources, path)
        check_signal(path, network.samplerate, network.audio_channels, network.segment)
        if state.get("__quantized"):
            check_quantised(state, path)
            set_state(network, state)
            check_finite(network, path)
        else:
            fill_network(network, state, path, f"the {klass.__name__} that it describes")
    return network


class _Package(NamedTuple):
    """What demucs writes into a file: a class, its arguments, its weights."""

    klass: type[Network]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    state: dict[str, Any]


def _read_safetensors(path: Path) -> _Package:
    """As `demucs.hf.load_safetensors_model`, but imports nothing that the file names, except its quantiser."""
    check_safetensors(path)
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
        if missing := {"klass", "args", "kwargs"} - set(metadata):
            raise MdxError(f"{path}: its metadata lacks {_join(missing)}, which demucs writes into its files")
        klass = _known_class(metadata["klass"], path)
        structure = json.loads(metadata.get("structure", "null"))
        for name in _class_names(structure):
            if not name.startswith("diffq.") or name.rpartition(".")[2] not in _QUANTISERS:
                raise MdxError(f"{path}: refused, its metadata names the foreign class {name}")
        if structure is not None and find_spec("diffq") is None:
            raise MdxError(f"{path}: {_NEEDS_DIFFQ}")
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it can't be iterated
    if structure is not None:
        state = hf._unflatten_state(state, structure)
    args, kwargs = (hf._decode_json(json.loads(metadata[name])) for name in ("args", "kwargs"))
    return _Package(klass, args, kwargs, state)


def _class_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "_class" in node:
            yield str(node["_class"])
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _class_names(value)


def _read_pickle(path: Path) -> _Package:
    _check_digits(path)
    try:
        package = safe_unpickle(path, [*_CLASSES.values(), Fraction, *_quantisers()], "tensors and Demucs networks")
    except MdxError as error:
        if (refused_class(error.__cause__) or "").startswith("diffq.") and not _quantisers():
            raise MdxError(f"{path}: {_NEEDS_DIFFQ}") from error
        raise
    if not isinstance(package, dict) or not set(_Package._fields) <= set(package):
        raise MdxError(f"{path}: not a network as demucs saves it ({', '.join(_Package._fields)})")
    klass = package["klass"]
    name = f"{getattr(klass, '__module__', '?')}.{getattr(klass, '__name__', klass)}"
    return _Package(_known_class(name, path), package["args"], package["kwargs"], package["state"])


def _quantisers() -> list[type]:
    """The classes of quantisers that a quantised state names."""
    if find_spec("diffq") is None:
        return []
    import diffq

    return [getattr(diffq, name) for name in _QUANTISERS]


def _known_class(name: str, path: Path) -> type[Network]:
    if name not in _CLASSES:
        raise MdxError(f"{path}: refused, it names the class {name}; known are {_join(_CLASSES)}")
    return _CLASSES[name]


def _check_digits(path: Path) -> None:
    """Demucs's own `.th` files carry the first digits of their SHA-256 in the name: `signature-digits.th`."""
    match = re.fullmatch(r".+-([0-9a-f]{8})", path.stem)
    if match and not (actual := checksum(path)).startswith(match[1]):
        raise MdxError(f"{path}: damaged or altered, its SHA-256 begins with {actual[:8]} and not with {match[1]}")
