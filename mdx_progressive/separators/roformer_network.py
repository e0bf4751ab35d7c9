"""RoFormer networks of the packages that have them, adapted to compute what msst does."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.precision import FullPrecision, at_least_float32
from mdx_progressive.separators.weights.roformer import Description, read_checkpoint
from mdx_progressive.separators.weights.state_dict import SizeLimit, fill_network


class _Architecture(NamedTuple):
    """A network, its package, and its keys beyond those of both architectures."""

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
_FIXED = {"mlp_expansion_factor": 4, "linear_transformer_depth": 0, "skip_connection": False, "use_pope": False}
"""Keys of msst that the packages lack, with the only values that they compute."""

_HARMLESS = 2**12
"""A size that costs nothing; whether the weights fit it is told when they are loaded."""
_LONGEST_WINDOW = 2**18
"""Samples of a window, at most: 5.9 s at 44.1 kHz."""
_SMALL = 256
_FILTERS = 2**26
"""Elements of the filters of Mel bands, at most; people's have 0.1 million."""


def load_network(description: Description, weights: Path) -> nn.Module:
    """The network of a YAML with the weights of a checkpoint, one mask estimator for each source.

    Shape:
        - input: (batch, channel, time)
        - output: (batch, source, channel, time) or, of a single source, (batch, channel, time)

    Raises:
        MdxError: If the packages are missing or can't compute it, or the weights can't be read or don't fit.
    """
    model = description.model
    architecture = _MEL_BAND if "num_bands" in model else _BAND_SPLIT
    settings = _settings(description.path, architecture, model)
    network_class = _import(architecture)
    state = read_checkpoint(weights)
    _check_sizes(description, state)
    # The packages try an STFT, on random numbers and without a window, to see how many bins it has.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), SizeLimit(weights):
        warnings.filterwarnings("ignore", "A window was not provided", UserWarning)
        try:
            network = network_class(**settings, flash_attn=False)
        except MdxError:
            raise
        except Exception as error:  # The packages raise anything on settings that contradict each other.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise MdxError(f"{description.path}: no {architecture.network} can be made of it ({reason})") from error
    fill_network(network, state, weights, str(description.path))
    _replace_attention(network)
    silent = 2 * description.channels if model.get("zero_dc", True) else 0
    estimators: Any = network.mask_estimators
    network.mask_estimators = _Heads(_Head(estimators[head], silent) for head in description.heads)
    return network


def _settings(path: Path, architecture: _Architecture, model: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the network; refuses what the package can't compute as msst does."""
    known = _KEYS | architecture.keys
    unknown = set(model) - known - _NO_EFFECT - set(_FIXED) - {"zero_dc"}
    if unknown:
        raise MdxError(
            f"{path}: model has keys that no {architecture.network} of msst has: {', '.join(sorted(unknown))}"
        )
    for key, value in _FIXED.items():
        if model.get(key, value) != value:
            raise MdxError(f"{path}: {key} {model[key]} is refused, {architecture.package} computes only {value}")
    return {key: tuple(model[key]) if isinstance(model[key], list) else model[key] for key in model if key in known}


def _check_sizes(description: Description, state: dict[str, Tensor]) -> None:
    """Check the sizes of the YAML by the checkpoint: the packages make tables of some of them before their weights."""
    # What is small in any case is left to the comparison of names and shapes, whose message says more.
    elements = max(_SMALL, *(value.numel() for value in state.values()))
    layers = max(_SMALL, len(state))
    limits = {
        **dict.fromkeys(("dim", "dim_head", "heads"), elements),
        **dict.fromkeys(("depth", "num_bands", "num_stems", "mask_estimator_depth"), layers),
        **dict.fromkeys(("time_transformer_depth", "freq_transformer_depth"), layers),
        "stft_n_fft": _LONGEST_WINDOW,
    }
    for key, limit in limits.items():
        value = description.model.get(key)
        if isinstance(value, int) and value > max(limit, _HARMLESS):
            raise MdxError(f"{description.path}: refused, {key} {value} is more than the checkpoint has weights for")
    bands = description.model.get("num_bands")
    if isinstance(bands, int) and bands * description.window > _FILTERS:
        raise MdxError(f"{description.path}: refused, {bands} bands of windows of {description.window} samples")


def _import(architecture: _Architecture) -> Callable[..., nn.Module]:
    try:
        # The package bs-roformer has a module of the same name, whose networks are others.
        version(architecture.package)
        network: Callable[..., nn.Module] = getattr(import_module(architecture.module), architecture.network)
    except (PackageNotFoundError, ImportError) as error:
        raise MdxError(
            f"{architecture.network} is in the {architecture.package} package, which is missing:"
            ' pip install "mdx_progressive[roformer]"'
        ) from error
    return network


def _replace_attention(network: nn.Module) -> None:
    """Replace attention and rotation, which in the packages depend on the type and on earlier calls."""
    from rotary_embedding_torch import RotaryEmbedding

    replacements: dict[RotaryEmbedding, _Rotary] = {}
    for module in list(network.modules()):
        rotary = getattr(module, "rotary_embed", None)
        if isinstance(rotary, RotaryEmbedding):
            module.rotary_embed = replacements.setdefault(rotary, _Rotary(rotary))
            module.attend = _Attend()


class _Attend(nn.Module):
    """Attention with PyTorch's choice of kernel; that of the packages is deprecated and fails on some devices."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(queries, keys, values)


class _Rotary(FullPrecision):
    """Rotary embedding: half-precision positions would be off by whole turns, and the package caches them for good."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__(rotary)
        rotary.cache_if_possible = False  # type: ignore[assignment]

    def rotate_queries_or_keys(self, x: Tensor) -> Tensor:
        """Shape: (batch, head, position, feature)."""
        with torch.autocast(x.device.type, enabled=False):
            rotated: Tensor = self.layer.rotate_queries_or_keys(at_least_float32(x))  # type: ignore[operator]
        return rotated.to(x.dtype)


class _Head(nn.Module):
    """A mask estimator whose masks are at full precision, as spectra need them, and 0 in the first `silent` columns."""

    def __init__(self, estimator: nn.Module, silent: int) -> None:
        super().__init__()
        self.estimator = estimator
        self.silent = silent

    def forward(self, features: Tensor) -> Tensor:
        masks: Tensor = at_least_float32(self.estimator(features))
        return functional.pad(masks[..., self.silent :], (self.silent, 0))


class _Heads(nn.Module):
    """The mask estimators, of which the network iterates over the chosen ones, and so computes no others."""

    chosen: tuple[int, ...] = ()

    def __init__(self, heads: Iterable[_Head]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([self.heads[number] for number in self.chosen])

    def __len__(self) -> int:
        return len(self.chosen)
