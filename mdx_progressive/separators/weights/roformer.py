"""RoFormer networks out of the YAML and the checkpoint of Music-Source-Separation-Training."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from numpy._core.multiarray import scalar
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.precision import HALF, FullPrecision
from mdx_progressive.separators.weights.descriptions import check_signal, check_sources, read_yaml
from mdx_progressive.separators.weights.state_dict import as_large_as, fill, load_state, loading


class _Architecture(NamedTuple):
    """A network, the package that has it, and the keys that it has beyond those of both."""

    package: str
    module: str
    network: str
    keys: frozenset[str]


_BAND_SPLIT = _Architecture("bs-roformer-infer", "bs_roformer", "BSRoformer", frozenset({"freqs_per_bands"}))
_MEL_BAND = _Architecture(
    "melband-roformer-infer", "mel_band_roformer", "MelBandRoformer", frozenset({"num_bands", "sample_rate"})
)
_KEYS = frozenset({
    "dim", "depth", "stereo", "num_stems", "time_transformer_depth", "freq_transformer_depth", "dim_head", "heads",
    "stft_n_fft", "stft_hop_length", "stft_win_length", "stft_normalized", "mask_estimator_depth",
})  # fmt: skip
_NO_EFFECT = frozenset({
    "attn_dropout", "ff_dropout", "use_torch_checkpoint", "multi_stft_resolution_loss_weight",
    "multi_stft_resolutions_window_sizes", "multi_stft_hop_size", "multi_stft_normalized",  # training only
    "flash_attn", "sage_attention",  # how, not what, is computed
    "dim_freqs_in",  # unused by msst as well
    "match_input_audio_length",  # chunks of whole frames match anyway
})  # fmt: skip
_ONLY = {"mlp_expansion_factor": 4, "linear_transformer_depth": 0, "skip_connection": False, "use_pope": False}
"""Keys of msst that the packages lack, with the values that they take for granted."""
_LARGEST = 2**26
"""Beyond any number of samples in a chunk: ten minutes at 96 kHz."""


class Description(NamedTuple):
    """What the YAML says.

    Args:
        path: The YAML.
        model: Its section `model`.
        sources: Names of the sources.
        heads: Positions of their mask estimators in the network.
        sample_rate: In Hz.
        channels: Channels that the network takes.
        window: Length of the STFT in samples.
        hop: Hop of the STFT in samples.
        chunk: Samples of a chunk, if it says so.
        num_overlap: Chunks over each sample, if it says so.
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


def read_description(path: Path) -> Description:
    """Read a YAML as msst has it.

    Raises:
        MdxError: If the file is missing, is no such YAML, or has no number where one belongs.
    """
    content = read_yaml(path, "YAML of a RoFormer", _Loader)
    sections = {name: _section(path, content, name) for name in ("model", "training", "inference", "audio")}
    model, training, inference, audio = sections.values()
    if not model or not training:
        raise MdxError(f"{path}: not the YAML of a RoFormer, which has the sections model and training")
    sources, heads = _sources(path, training, _number(path, model, "num_stems") or 1)
    check_sources(sources, path)
    described = Description(
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
    )
    check_signal(path, described.sample_rate, described.channels)
    return described


class _Loader(yaml.SafeLoader):
    """Knows the tuples that msst's YAMLs hold."""

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


def _sources(path: Path, training: dict[str, Any], stems: int) -> tuple[list[str], list[int]]:
    """Names of the sources, and which of the network's mask estimators make them."""
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


def load_network(described: Description, weights: Path) -> nn.Module:
    """The network of a YAML with the weights of a checkpoint, one mask estimator for each source.

    Shape:
        - input: (batch, channel, time)
        - output: (batch, source, channel, time) or, of a single source, (batch, channel, time)

    Raises:
        MdxError: If the packages are missing or can't compute it, or the weights can't be read or don't fit.
    """
    model = described.model
    architecture = _MEL_BAND if "num_bands" in model else _BAND_SPLIT
    settings = _settings(described.path, architecture, model)
    kind = _import(architecture)
    # The packages try an STFT, on random numbers and without a window, to see how many bins it has.
    state = _load_state(weights)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), as_large_as(weights):
        warnings.filterwarnings("ignore", "A window was not provided", UserWarning)
        try:
            network = kind(**settings, flash_attn=False)
        except MdxError:
            raise
        except Exception as error:  # Whatever the package makes of settings that contradict each other.
            raise MdxError(f"{described.path}: no {architecture.network} can be made of it ({_line(error)})") from error
    fill(network, _without_prefix(state), weights, str(described.path))
    _mend(network)
    silent = 2 * described.channels if model.get("zero_dc", True) else 0
    estimators: Any = network.mask_estimators
    network.mask_estimators = _Heads(_Head(estimators[head], silent) for head in described.heads)
    return network


def _settings(path: Path, architecture: _Architecture, model: dict[str, Any]) -> dict[str, Any]:
    """What the constructor is given; refuses what it can't compute as msst does."""
    known = _KEYS | architecture.keys
    unknown = set(model) - known - _NO_EFFECT - set(_ONLY) - {"zero_dc"}
    if unknown:
        raise MdxError(
            f"{path}: model has keys that no {architecture.network} of msst has: {', '.join(sorted(unknown))}"
        )
    for key, value in _ONLY.items():
        if model.get(key, value) != value:
            raise MdxError(f"{path}: {key} {model[key]} is refused, {architecture.package} computes only {value}")
    settings = {key: model[key] for key in model if key in known}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def _import(architecture: _Architecture) -> Callable[..., nn.Module]:
    try:
        # The package bs-roformer has a module of the same name, whose networks are others.
        version(architecture.package)
        kind: Callable[..., nn.Module] = getattr(import_module(architecture.module), architecture.network)
    except (PackageNotFoundError, ImportError) as error:
        raise MdxError(
            f"{architecture.network} is in the {architecture.package} package, which is missing:"
            ' pip install "mdx_progressive[roformer]"'
        ) from error
    return kind


def _load_state(path: Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint, which msst writes alone or amid the state of its training."""
    kind = "weights of a RoFormer"
    if path.suffix == ".safetensors":
        with loading(path, kind):
            return load_file(path)
    # The metrics beside the weights are numbers of NumPy.
    numbers: list[Any] = [
        (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar"), np.dtype,
        np.dtypes.Float32DType, np.dtypes.Float64DType,
    ]  # fmt: skip
    return load_state(path, kind, numbers, ("state", "state_dict", "model_state_dict"))


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without the prefixes that wrappers leave."""
    for prefix in ("module.", "model."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _mend(network: nn.Module) -> None:
    """Exchange attention and rotation, which in the packages depend on the type and on earlier calls."""
    from rotary_embedding_torch import RotaryEmbedding

    mended: dict[RotaryEmbedding, _Rotary] = {}
    for module in list(network.modules()):
        rotary = getattr(module, "rotary_embed", None)
        if isinstance(rotary, RotaryEmbedding):
            module.rotary_embed = mended.setdefault(rotary, _Rotary(rotary))
            module.attend = _Attend()


class _Attend(nn.Module):
    """PyTorch chooses the kernel that the device has; the packages' choice is deprecated and fails on some."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(queries, keys, values)


class _Rotary(FullPrecision):
    """Rotary embedding: half-precision positions would be off by whole turns, and the package keeps them for good."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__(rotary)
        rotary.cache_if_possible = False  # type: ignore[assignment]

    def rotate_queries_or_keys(self, x: Tensor) -> Tensor:
        """Shape: (batch, head, position, feature)."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x.float() if x.dtype in HALF else x
            rotated: Tensor = self.layer.rotate_queries_or_keys(wide)  # type: ignore[operator]
        return rotated.to(x.dtype)


class _Head(nn.Module):
    """A mask estimator whose masks are at full precision, as spectra need them, and leave out 0 Hz.

    Args:
        estimator: The package's.
        silent: How many columns, the first ones, belong to 0 Hz; 0 to keep it.
    """

    def __init__(self, estimator: nn.Module, silent: int) -> None:
        super().__init__()
        self.estimator = estimator
        self.silent = silent

    def forward(self, features: Tensor) -> Tensor:
        masks: Tensor = self.estimator(features)
        masks = masks.float() if masks.dtype in HALF else masks
        return functional.pad(masks[..., self.silent :], (self.silent, 0))


class _Heads(nn.Module):
    """The mask estimators, of which the network sees only the chosen ones, and so computes no others."""

    chosen: tuple[int, ...] = ()

    def __init__(self, heads: Iterable[_Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self.heads[number] for number in self.chosen])

    def __len__(self) -> int:
        return len(self.chosen)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
