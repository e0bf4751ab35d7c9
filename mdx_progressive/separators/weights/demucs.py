"""Weights of Demucs networks: from the hub, a file or a folder, and nothing but Demucs networks."""

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from demucs import hf
from demucs.apply import BagOfModels
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import set_state
from safetensors import safe_open

from mdx_progressive.runtime import MdxError, checksum, error_text
from mdx_progressive.separators.weights.descriptions import check_signal, check_sources, read_yaml
from mdx_progressive.separators.weights.downloads import answers
from mdx_progressive.separators.weights.quantised import check_quantised
from mdx_progressive.separators.weights.state_dict import as_large_as, asked_for, check_finite, fill, loading, unpickle

Network = Demucs | HDemucs | HTDemucs

_CLASSES: dict[str, type[Network]] = {
    f"{known.__module__}.{known.__name__}": known for known in (Demucs, HDemucs, HTDemucs)
}
_QUANTISERS = ("DiffQuantizer", "UniformQuantizer")
_BAG = "description of a bag of Demucs networks"
_NEEDS_DIFFQ = 'its weights are quantised, which needs diffq: pip install "mdx_progressive[quantised]"'
_SUFFIXES = (".safetensors", ".th")


class Loaded(NamedTuple):
    """A bag of networks, and the files that it came from."""

    bag: BagOfModels
    files: list[Path]


def load_hub(name: str) -> Loaded:
    """Load a named model from the Hugging Face hub or its cache.

    Raises:
        MdxError: If there is no such model, or neither the cache holds it nor the hub can be reached.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache

    namespace, _, short = name.rpartition("/")
    repository = f"{namespace or hf.DEFAULT_NAMESPACE}/{hf.hf_repo_name(short)}"

    def fetch(file: str) -> Path:
        try:
            if not isinstance(try_to_load_from_cache(repository, file), str):
                answers(lambda patience: get_hf_file_metadata(hf_hub_url(repository, file), timeout=patience))
            return Path(hf_hub_download(repository, file))
        except Exception as error:  # From the connection, the disk, the hub, or a name that can be none there.
            raise MdxError(
                f"the weights of {name!r} are not in the local cache, and {file} of {repository} could not be had"
                f" from the Hugging Face hub ({error_text(error)}). Check the name and the connection, or give local weights:"
                " --model.separator.weights FILE (a .safetensors or .th file, or a folder with a bag)"
            ) from error

    return _load_bag(fetch(f"{short}.yaml"), lambda signature: fetch(f"{signature}.safetensors"))


def load_file(path: Path) -> Loaded:
    """Load a single network from a `.safetensors` or `.th` file.

    Raises:
        MdxError: If the file is missing, broken, or holds something other than a Demucs network.
    """
    return Loaded(BagOfModels([_load_network(path)]), [path])


def load_folder(folder: Path, name: str) -> Loaded:
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


def _load_bag(path: Path, find: Callable[[str], Path]) -> Loaded:
    description = read_yaml(path, _BAG)
    names = description.get("models") if isinstance(description, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise MdxError(f"{path}: not the {_BAG}, it has no list of their names under models")
    if unknown := set(description) - {"models", "weights", "segment"}:
        raise MdxError(f"{path}: not the {_BAG}, which has the keys models, weights and segment, not {_told(unknown)}")
    files = [find(str(name)) for name in names]
    networks = [_load_network(file) for file in files]
    first, segment = networks[0], description.get("segment")
    if segment is not None:
        check_signal(path, first.samplerate, first.audio_channels, segment)
    rows = description.get("weights") or [[1.0] * len(first.sources)] * len(networks)
    if not isinstance(rows, list) or len(rows) != len(networks):
        raise MdxError(f"{path}: weights must be a list with a row for each of the {len(networks)} networks")
    for name, network, row in zip(names, networks, rows, strict=True):
        facts = (network.sources, network.samplerate, network.audio_channels)
        if facts != (first.sources, first.samplerate, first.audio_channels):
            raise MdxError(f"{path}: the network {name!r} does not fit the others (sources, rate or channels)")
        if not isinstance(row, list) or len(row) != len(first.sources) or not all(map(_is_share, row)):
            raise MdxError(
                f"{path}: the weights of {name!r} must be {len(first.sources)} numbers of 0 or more, one a source"
            )
    if not all(any(shares) for shares in zip(*rows, strict=True)):
        raise MdxError(f"{path}: weights must leave each source to one of the networks at least")
    bag = BagOfModels(networks, [[float(value) for value in row] for row in rows], segment)
    return Loaded(bag, [path, *files])


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < inf


def _told(names: Iterable[Any]) -> str:
    return ", ".join(sorted(map(str, names)))


def _load_network(path: Path) -> Network:
    with loading(path, "Demucs network"):
        if path.suffix not in _SUFFIXES:
            raise MdxError(f"{path}: Demucs weights end in .safetensors or .th")
        read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
        with as_large_as(path):
            kind, args, kwargs, state = read(path)
            # As demucs does: networks have lost arguments over the years.
            known = inspect.signature(kind).parameters
            network: Network = kind(*args, **{name: value for name, value in kwargs.items() if name in known})
        check_sources(network.sources, path)
        check_signal(path, network.samplerate, network.audio_channels, network.segment)
        if state.get("__quantized"):
            check_quantised(state, path)
            set_state(network, state)
            check_finite(network, path)
        else:
            fill(network, state, path, f"the {kind.__name__} that it describes")
    return network


class _Package(NamedTuple):
    """What demucs writes into a file: a class, its arguments, its weights."""

    klass: type[Network]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    state: dict[str, Any]


def _read_safetensors(path: Path) -> _Package:
    """As `demucs.hf.load_safetensors_model`, but imports nothing on behalf of the file but its quantiser."""
    with safe_open(str(path), framework="pt") as file:
        metadata = file.metadata() or {}
        missing = {"klass", "args", "kwargs"} - set(metadata)
        if missing:
            raise MdxError(f"{path}: its metadata lacks {_told(missing)}, which demucs writes into its files")
        _check_class(metadata["klass"], path)
        structure = json.loads(metadata.get("structure", "null"))
        for name in _classes_within(structure):
            if not name.startswith("diffq.") or name.rpartition(".")[2] not in _QUANTISERS:
                raise MdxError(f"{path}: refused, its metadata names the foreign class {name}")
        if structure is not None and find_spec("diffq") is None:
            raise MdxError(f"{path}: {_NEEDS_DIFFQ}")
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it can't be iterated
    if structure is not None:
        state = hf._unflatten_state(state, structure)
    args, kwargs = (hf._decode_json(json.loads(metadata[name])) for name in ("args", "kwargs"))
    return _Package(_CLASSES[metadata["klass"]], args, kwargs, state)


def _classes_within(node: Any) -> list[str]:
    if isinstance(node, dict):
        named = [str(node["_class"])] if "_class" in node else []
        return named + [name for value in node.values() for name in _classes_within(value)]
    if isinstance(node, list):
        return [name for value in node for name in _classes_within(value)]
    return []


def _read_pickle(path: Path) -> _Package:
    _check_signature(path)
    try:
        package = unpickle(path, [*_CLASSES.values(), Fraction, *_quantisers()], "tensors and Demucs networks")
    except MdxError as error:
        if (asked_for(error.__cause__) or "").startswith("diffq.") and not _quantisers():
            raise MdxError(f"{path}: {_NEEDS_DIFFQ}") from error
        raise
    if not isinstance(package, dict) or not set(_Package._fields) <= set(package):
        raise MdxError(f"{path}: not a network as demucs saves it ({', '.join(_Package._fields)})")
    klass = package["klass"]
    name = f"{getattr(klass, '__module__', '?')}.{getattr(klass, '__name__', klass)}"
    _check_class(name, path)
    return _Package(_CLASSES[name], package["args"], package["kwargs"], package["state"])


def _quantisers() -> list[type]:
    """The classes that a quantised state names as what has packed it."""
    if find_spec("diffq") is None:
        return []
    import diffq

    return [getattr(diffq, name) for name in _QUANTISERS]


def _check_class(name: str, path: Path) -> None:
    if name not in _CLASSES:
        raise MdxError(f"{path}: refused, it names the class {name}; known are {_told(_CLASSES)}")


def _check_signature(path: Path) -> None:
    """Demucs's own `.th` files carry the first digits of their SHA-256 in the name: `signature-digits.th`."""
    signature, _, digits = path.stem.rpartition("-")
    if signature and len(digits) == 8 and all(digit in "0123456789abcdef" for digit in digits):
        found = checksum(path)
        if not found.startswith(digits):
            raise MdxError(f"{path}: damaged or altered, its SHA-256 begins with {found[:8]} and not with {digits}")
