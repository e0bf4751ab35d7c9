"""Open-Unmix (Stöter et al., 2019): one recurrent network a source, and a multichannel Wiener filter over all."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.dsp import ReceptiveField
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import PublishedWeights, Separator
from mdx_progressive.separators.weights.open_unmix import DOWNLOADS, import_open_unmix, load_download, load_local

_FOUR = ("vocals", "drums", "bass", "other")
_RESIDUAL = "residual"


class OpenUnmixSeparator(Separator):
    """A pretrained Open-Unmix by name, or one of your own training.

    Each network reads the whole mixture and estimates the magnitude of its source. The Wiener filter then weighs the
    sources against each other, so that every network must run for any target; without it (`iterations: 0`) the
    estimate is that magnitude with the phase of the mixture, and only the networks of the targets run.

    Args:
        name: umxhq and umx (trained on MUSDB18-HQ and MUSDB18), umxl (on private songs), or umxse (speech and noise,
            mono at 16 kHz). Downloaded once, into the cache of `torch.hub`.
        weights: A local folder with a `.pth` file for each source, named `SOURCE.pth` or `SOURCE-DIGITS.pth`, as
            open-unmix writes and publishes them, or one such file; then nothing is downloaded. The STFT is that of the
            `separator.json` beside them, or else the one of `name`.
        iterations: Steps of expectation maximisation in the Wiener filter; 0 for no filter.
        wiener_window: Frames that the filter takes at a time, with one covariance a source; null for the whole
            mixture, which needs much memory.
        residual: Add the source `residual`: the mixture minus all sources. For weights that do not cover all sources.
        batch_size: Mixtures a forward pass; by default 1 on the CPU and as many as fit into memory on CUDA.

    Raises:
        MdxError: If openunmix is missing, the weights can't be loaded or don't belong together, or a setting is out
            of its range.
    """

    published = (
        PublishedWeights("umxhq", _FOUR, 44100, 2, None, "unknown", musdb_test=False, download=142),
        PublishedWeights("umxl", _FOUR, 44100, 2, None, "CC BY-NC-SA 4.0", musdb_test=None, download=452),
        PublishedWeights("umx", _FOUR, 44100, 2, None, "unknown", musdb_test=False, download=142),
        PublishedWeights("umxse", ("speech", "noise"), 16000, 1, None, "unknown", musdb_test=False, download=46),
    )

    def __init__(
        self,
        name: str = "umxhq",
        weights: str | Path | None = None,
        iterations: int = 1,
        wiener_window: int | None = 300,
        residual: bool = False,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if name not in DOWNLOADS:
            raise MdxError(f"Open-Unmix has no model of the name {name!r}, but {', '.join(DOWNLOADS)}")
        self.name = name
        import_open_unmix()  # If it is missing, nothing is downloaded for it.
        if weights is None:
            networks, transform, self.files = load_download(name)
            self._set_provenance(name)
        else:
            networks, transform, self.files = load_local(Path(weights), name)
        self.transform = transform
        self.networks = nn.ModuleList(networks.values())
        self.sources = [*networks, _RESIDUAL] if residual else list(networks)
        self.sample_rate = transform.sample_rate
        self.channels = transform.channels
        self.iterations = iterations
        self.wiener_window = wiener_window
        self.residual = residual
        self.batch_size = batch_size
        self.freeze()

    def freeze(self) -> None:
        super().freeze()
        if self.iterations < 0:
            raise MdxError(f"iterations must be 0 or more, not {self.iterations}")
        if self.wiener_window is not None and self.wiener_window < 1:
            raise MdxError(f"wiener_window must be 1 or more frames, not {self.wiener_window}")
        if self.iterations and len(self.sources) == 1:
            raise MdxError(
                f"the Wiener filter weighs sources against each other, and {self.sources[0]} is the only one:"
                " set residual: true or iterations: 0"
            )

    @property
    def receptive_field(self) -> ReceptiveField:
        """Blocks start with a window of the Wiener filter, and its last window is in the context."""
        _, window, hop, _ = self.transform
        frames = self.wiener_window if self.iterations and self.wiener_window else 1
        _, before, crossfade, after = super().receptive_field
        return ReceptiveField(frames * hop, before, crossfade, after + frames * hop + window)

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        estimates = mixture.new_empty(*indices.shape, *mixture.shape[1:])

        def estimate(batch: Sequence[int]) -> list[Tensor]:
            items = list(batch)
            spectra = self._stft(mixture[items])
            magnitudes = self._magnitudes(spectra.abs(), indices[items])
            return [
                self._istft(self._filter(spectrum, source_magnitudes, indices[item].tolist()), mixture.shape[-1])
                for item, spectrum, source_magnitudes in zip(items, spectra, magnitudes, strict=True)
            ]

        for batch, batch_estimates in self._run_batches(range(len(mixture)), mixture.device, estimate):
            for item, item_estimates in zip(batch, batch_estimates, strict=True):
                estimates[item] = item_estimates
        return estimates

    def reference_implementation(self) -> Callable[[Tensor], Tensor]:
        from openunmix.model import Separator as OpenUnmixReference

        rate, window, hop, channels = self.transform
        reference = OpenUnmixReference(
            dict(zip(self.sources, self.networks, strict=False)), self.iterations, residual=self.residual,
            sample_rate=rate, n_fft=window, n_hop=hop, nb_channels=channels, wiener_win_len=self.wiener_window,
        ).to(next(self.parameters()).device)  # fmt: skip
        return reference.eval()  # type: ignore[no-any-return]

    def _needs_all(self, targets: Iterable[int]) -> bool:
        """Whether the estimates of these targets need the magnitudes of all sources."""
        return self.iterations > 0 or len(self.networks) in targets

    def _magnitudes(self, mixtures: Tensor, indices: Tensor) -> list[dict[int, Tensor]]:
        """For each item the magnitudes (channel, bin, frame) of the sources that its targets need, by their indices."""
        magnitudes: list[dict[int, Tensor]] = [{} for _ in mixtures]
        targets = [set(numbers) for numbers in indices.tolist()]
        for source, network in enumerate(self.networks):
            items = [item for item, numbers in enumerate(targets) if source in numbers or self._needs_all(numbers)]
            if items:
                for item, magnitude in zip(items, network(mixtures[items]), strict=True):
                    magnitudes[item][source] = magnitude.to(mixtures.dtype)
        return magnitudes

    def _filter(self, spectrum: Tensor, magnitudes: dict[int, Tensor], targets: list[int]) -> Tensor:
        """Spectra (target, channel, bin, frame) of the targets, as `openunmix.model` computes them."""
        needs_all = self._needs_all(targets)
        inputs = [magnitudes[source] for source in (range(len(self.networks)) if needs_all else targets)]
        result = spectrum.new_empty(len(targets), *spectrum.shape)
        frames = spectrum.shape[-1]
        window = self.wiener_window or frames
        for start in range(0, frames, window):
            part = slice(start, start + window)
            estimates = self._wiener(
                torch.stack([magnitude[..., part].permute(2, 1, 0) for magnitude in inputs], dim=-1),
                torch.view_as_real(spectrum[..., part]).permute(2, 1, 0, 3),
                residual=self.residual and needs_all,
            )
            chosen = estimates[..., targets] if needs_all else estimates
            result[..., part] = torch.view_as_complex(chosen.permute(4, 2, 1, 0, 3).contiguous())
        return result

    def _wiener(self, magnitudes: Tensor, mixture: Tensor, residual: bool) -> Tensor:
        """`openunmix.filtering.wiener`.

        Shape:
            - magnitudes: (frame, bin, channel, source)
            - mixture: (frame, bin, channel, 2)
            - result: (frame, bin, channel, 2, source)
        """
        from openunmix.filtering import wiener

        with torch.autocast(mixture.device.type, enabled=False):
            # It writes into its input.
            estimates: Tensor = wiener(magnitudes, mixture.clone(), self.iterations, residual=residual)
            if not estimates.isfinite().all():
                # In float32 the covariance of a bin that is loud and mono can be singular.
                doubles = magnitudes.cpu().double(), mixture.cpu().double()
                estimates = wiener(*doubles, self.iterations, residual=residual).to(estimates)
        return estimates

    def _stft(self, mixture: Tensor) -> Tensor:
        """Spectra (item, channel, bin, frame) of waveforms (item, channel, time), at full precision."""
        _, window, hop, _ = self.transform
        # The reflections at the ends need more samples than half a window.
        length = max(mixture.shape[-1], window // 2 + 1)
        if window < 4 * hop:
            # With frames that overlap by half, the last samples would be in one frame alone, at the edge of its window,
            # and the division by that window would amplify them: by 10^5 at worst.
            length += -length % hop
        padded = functional.pad(mixture, (0, length - mixture.shape[-1]))
        with torch.autocast(mixture.device.type, enabled=False):
            hann = torch.hann_window(window, dtype=mixture.dtype, device=mixture.device)
            spectra = torch.stft(padded.flatten(0, 1), window, hop, window=hann, return_complex=True)
        return spectra.reshape(*mixture.shape[:2], *spectra.shape[-2:])

    def _istft(self, spectra: Tensor, length: int) -> Tensor:
        """Waveforms (target, channel, time) of spectra (target, channel, bin, frame)."""
        _, window, hop, _ = self.transform
        with torch.autocast(spectra.device.type, enabled=False):
            hann = torch.hann_window(window, dtype=spectra.real.dtype, device=spectra.device)
            waveforms = torch.istft(spectra.flatten(0, 1), window, hop, window=hann, length=length)
        return waveforms.reshape(*spectra.shape[:2], length)
