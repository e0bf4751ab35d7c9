"""The YAML and the checkpoint of a RoFormer, as Music-Source-Separation-Training (msst) writes them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from numpy._core.multiarray import scalar
from safetensors.torch import load_file
from torch import Tensor

from mdx_progressive.runtime import MdxError, warn_once
from mdx_progressive.separators.weights.archives import check_safetensors
from mdx_progressive.separators.weights.descriptions import check_signal, check_sources, read_yaml
from mdx_progressive.separators.weights.state_dict import load_state_dict, reading

log = logging.getLogger(__name__)

_KEYS = {
    "audio": frozenset({
        "chunk_size", "num_channels", "sample_rate",
        "dim_f", "dim_t", "hop_length", "n_fft",  # msst reads them for networks that are no RoFormers
        "min_mean_abs",  # training only
    }),
    "inference": frozenset({
        "chunk_size", "normalize", "num_overlap",
        "batch_size",  # how, not what, is computed; the separator has a setting of its own
        "dim_t",  # read by no version of msst for a RoFormer
    }),
}  # fmt: skip
"""The keys that are obeyed, and those without effect in msst. All others of `model` are refused with the network."""
_SECTIONS = frozenset({*_KEYS, "model", "training"})
_TRAINING_SECTIONS = frozenset({"augmentations", "lora", "optimizer"})
_NAMED = 10
"""The keys that are named in one line, at most."""

_LARGEST = 2**26
"""Beyond any number of samples in a chunk: ten minutes at 96 kHz."""


class Description(NamedTuple):
    """The content of the YAML, with lengths in samples.

    `heads` are the positions of the sources' mask estimators in the network, `num_overlap` is the number of chunks over
    each sample, `normalize` tells whether a song gets mean 0 and deviation 1 for the network.
    """

    path: Path
    model: dict[str, Any]
    sources: list[str]
    heads: list[int]
    sample_rate: int
    channels: int
    window: int
    hop: int
    chunk: int | None
    num_overlap: int | None
    normalize: bool


def read_description(path: Path) -> Description:
    """Read the YAML of a RoFormer; keys that are neither obeyed nor known to be without effect are named in a line."""
    content = read_yaml(path, "YAML of a RoFormer", _Loader)
    model, training, inference, audio = (
        _section(path, content, name) for name in ("model", "training", "inference", "audio")
    )
    if not model or not training:
        raise MdxError(f"{path}: not the YAML of a RoFormer, which has the sections model and training")
    sources, heads = _sources(path, training, _number(path, model, "num_stems") or 1)
    check_sources(sources, path)
    description = Description(
        path=path,
        model=model,
        sources=sources,
        heads=heads,
        sample_rate=_number(path, audio, "sample_rate") or _number(path, model, "sample_rate") or 44100,
        channels=2 if model.get("stereo", False) else 1,
        window=_number(path, model, "stft_n_fft") or 2048,
        hop=_number(path, model, "stft_hop_length") or 512,
        chunk=_number(path, inference, "chunk_size") or _number(path, audio, "chunk_size"),
        num_overlap=_number(path, inference, "num_overlap"),
        normalize=_switch(path, inference, "normalize"),
    )
    check_signal(path, description.sample_rate, description.channels)
    if strange := list(_not_obeyed(content, description.channels)):
        listed = ", ".join(strange[:_NAMED]) + (f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else "")
        warn_once(log, "%s: not obeyed: %s; if msst obeys it, its estimates are others", path, listed)
    return description


class _Loader(yaml.SafeLoader):
    """Reads the tuples that msst's YAMLs contain."""

    def sequence(self, node: yaml.SequenceNode) -> tuple[Any, ...]:
        return tuple(self.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.sequence)


def _section(path: Path, content: Any, name: str) -> dict[str, Any]:
    section = (content.get(name) or {}) if isinstance(content, dict) else None
    if not isinstance(section, dict):
        raise MdxError(f"{path}: not the YAML of a RoFormer, whose section {name} holds keys")
    return section


def _number(path: Path, section: dict[str, Any], key: str) -> int | None:
    value = section.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST):
        raise MdxError(f"{path}: {key} must be a whole number above 0 and at most {_LARGEST}, not {value!r}")
    return value


def _switch(path: Path, section: dict[str, Any], key: str) -> bool:
    value = section.get(key)
    if not isinstance(value, bool | None):
        raise MdxError(f"{path}: {key} must be true or false, not {value!r:.40}")
    return value is True


def _not_obeyed(content: dict[Any, Any], channels: int) -> Iterator[str]:
    """The keys that may mean something to msst, and don't here; all of `training` but the sources is over."""
    for section, known in _KEYS.items():
        for key, value in (content.get(section) or {}).items():
            if key not in known:
                yield f"{section}.{_text(key)}"
            elif key == "num_channels" and value != channels:
                yield f"{section}.{key} ({_text(value)}, where model.stereo makes it {channels})"
    for section in content:
        if section not in _SECTIONS | _TRAINING_SECTIONS and not str(section).startswith("loss_"):
            yield _text(section)


def _text(value: Any) -> str:
    """What the file says, as a few characters of one line."""
    return repr(str(value))[1:-1][:40]


def _sources(path: Path, training: dict[str, Any], stems: int) -> tuple[list[str], list[int]]:
    """Names of the sources, and the positions of their mask estimators in the network."""
    instruments, target = training.get("instruments"), training.get("target_instrument") or None
    if not isinstance(instruments, list | tuple) or not all(isinstance(name, str) for name in instruments):
        raise MdxError(f"{path}: training.instruments must be a list of names, not {instruments!r}")
    if target is None and len(instruments) == stems:
        return list(instruments), list(range(stems))
    if target is not None and stems == 1:
        return [str(target)], [0]
    if target is not None and target in instruments and len(instruments) == stems:
        return [target], [instruments.index(target)]
    raise MdxError(
        f"{path}: model.num_stems is {stems}, which does not fit training.instruments {', '.join(instruments)}"
        f" with target_instrument {target}"
    )


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, alone or within the state of its training, without prefixes of wrappers."""
    kind = "weights of a RoFormer"
    if path.suffix == ".safetensors":
        with reading(path, kind):
            check_safetensors(path)
            state = load_file(path)
    else:
        # The metrics beside the weights are numbers of NumPy.
        numbers: list[Any] = [
            (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype,
            np.dtypes.Float32DType, np.dtypes.Float64DType,
        ]  # fmt: skip
        state = load_state_dict(path, kind, numbers, ("state", "state_dict", "model_state_dict"))
    for prefix in ("module.", "model."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
