"""Open-Unmix (Stöter et al., 2019): one recurrent network a source, and a multichannel Wiener filter over all."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.dsp import ReceptiveField
from mdx_progressive.runtime import MdxError, import_torchaudio
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.published import Published
from mdx_progressive.separators.weights.descriptions import HIGHEST_RATE
from mdx_progressive.separators.weights.downloads import cached
from mdx_progressive.separators.weights.state_dict import as_large_as, fill, load_state, loading

if TYPE_CHECKING:
    from openunmix.model import OpenUnmix

_FOUR = ("vocals", "drums", "bass", "other")
_RESIDUAL = "residual"
_KIND = "weights of an Open-Unmix"


class _Transform(NamedTuple):
    """The STFT that networks were trained on: lengths in samples."""

    sample_rate: int
    window: int
    hop: int
    channels: int


class _Download(NamedTuple):
    """Where weights come from, which file for which source."""

    folder: str
    files: dict[str, str]
    transform: _Transform


_MUSIC = _Transform(44100, 4096, 1024, 2)
_DOWNLOADS = {
    "umxhq": _Download(
        "https://zenodo.org/records/3370489/files/",
        {"vocals": "vocals-b62c91ce.pth", "drums": "drums-9619578f.pth",
         "bass": "bass-8d85a5bd.pth", "other": "other-b52fbbf7.pth"},
        _MUSIC,
    ),
    "umxl": _Download(
        "https://zenodo.org/records/5069601/files/",
        {"vocals": "vocals-bccbd9aa.pth", "drums": "drums-69e0ebd4.pth",
         "bass": "bass-2ca1ce51.pth", "other": "other-c8c5b3e6.pth"},
        _MUSIC,
    ),
    "umx": _Download(
        "https://zenodo.org/records/3370486/files/",
        {"vocals": "vocals-c8df74a5.pth", "drums": "drums-5a48008b.pth",
         "bass": "bass-646024d3.pth", "other": "other-f8e132cc.pth"},
        _MUSIC,
    ),
    "umxse": _Download(
        "https://zenodo.org/records/3786908/files/",
        {"speech": "speech_f5e0d9f9.pth", "noise": "noise_04a6fc2d.pth"},
        _Transform(16000, 1024, 512, 1),
    ),
}  # fmt: skip
"""As in the functions of `openunmix` that have these names."""


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
        residual: Add the source `residual`: what is left of the mixture. For weights that do not cover all sources.
        batch_size: Mixtures a forward pass; by default 1 on the CPU and as many as the memory holds on CUDA.

    Raises:
        MdxError: If openunmix is missing, the weights can't be had or don't belong together, or a setting is out of
            its range.
    """

    published = (
        Published("umxhq", _FOUR, 44100, 2, None, "unknown", musdb_test=False),
        Published("umxl", _FOUR, 44100, 2, None, "CC BY-NC-SA 4.0", musdb_test=None),
        Published("umx", _FOUR, 44100, 2, None, "unknown", musdb_test=False),
        Published("umxse", ("speech", "noise"), 16000, 1, None, "unknown", musdb_test=False),
    )

    def __init__(
        self,
        name: str = "umxhq",
        weights: Path | None = None,
        iterations: int = 1,
        wiener_window: int | None = 300,
        residual: bool = False,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if name not in _DOWNLOADS:
            raise MdxError(f"Open-Unmix has no model of the name {name!r}, but {', '.join(_DOWNLOADS)}")
        _import()  # Before anything is downloaded for it.
        if weights is None:
            networks, transform, self.files = _download(name)
            self._state_facts(name)
        else:
            networks, transform, self.files = _load(Path(weights), name)
        self.transform = transform
        self.networks = nn.ModuleList(networks.values())
        self.sources = [*networks, _RESIDUAL] if residual else list(networks)
        self.sample_rate = transform.sample_rate
        self.channels = transform.channels
        self.segment = None
        self.iterations = iterations
        self.wiener_window = wiener_window
        self.residual = residual
        self.batch_size = batch_size
        self._check_settings()
        self.freeze()

    def _check_settings(self) -> None:
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
        """Blocks begin with a window of the Wiener filter, and its last window lies beyond what they stand for."""
        _, window, hop, _ = self.transform
        frames = self.wiener_window if self.iterations and self.wiener_window else 1
        before, crossfade, after = super().receptive_field[1:]
        return ReceptiveField(frames * hop, before, crossfade, after + frames * hop + window)

    def _separate(self, mixture: Tensor, wanted: Tensor) -> Tensor:
        estimates = mixture.new_empty(*wanted.shape, *mixture.shape[1:])

        def estimated(batch: Sequence[int]) -> list[Tensor]:
            items = list(batch)
            spectra = self._stft(mixture[items])
            magnitudes = self._magnitudes(spectra.abs(), wanted[items])
            return [
                self._istft(self._filter(spectrum, heard, wanted[item].tolist()), mixture.shape[-1])
                for item, spectrum, heard in zip(items, spectra, magnitudes, strict=True)
            ]

        for batch, made in self._batches(range(len(mixture)), mixture.device, estimated):
            for item, estimate in zip(batch, made, strict=True):
                estimates[item] = estimate
        return estimates

    def library_pass(self) -> Callable[[Tensor], Tensor]:
        from openunmix.model import Separator as OwnSeparator

        rate, window, hop, channels = self.transform
        own = OwnSeparator(
            dict(zip(self.sources, self.networks, strict=False)), self.iterations, residual=self.residual,
            sample_rate=rate, n_fft=window, n_hop=hop, nb_channels=channels, wiener_win_len=self.wiener_window,
        ).to(next(self.parameters()).device)  # fmt: skip
        return own.eval()  # type: ignore[no-any-return]

    def _together(self, numbers: Iterable[int]) -> bool:
        """Whether these sources can only be had from the estimates of all."""
        return self.iterations > 0 or len(self.networks) in numbers

    def _magnitudes(self, mixtures: Tensor, wanted: Tensor) -> list[dict[int, Tensor]]:
        """What the networks make of the magnitudes (item, channel, bin, frame): for each item, by their numbers."""
        heard: list[dict[int, Tensor]] = [{} for _ in mixtures]
        asked = [set(numbers) for numbers in wanted.tolist()]
        for number, network in enumerate(self.networks):
            items = [item for item, numbers in enumerate(asked) if number in numbers or self._together(numbers)]
            if items:
                for item, magnitude in zip(items, network(mixtures[items]), strict=True):
                    heard[item][number] = magnitude.to(mixtures.dtype)
        return heard

    def _filter(self, spectrum: Tensor, heard: dict[int, Tensor], numbers: list[int]) -> Tensor:
        """Spectra (target, channel, bin, frame) out of that of the mixture and the magnitudes, as `openunmix.model`."""
        together = self._together(numbers)
        magnitudes = [heard[number] for number in (range(len(self.networks)) if together else numbers)]
        targets = spectrum.new_empty(len(numbers), *spectrum.shape)
        frames = spectrum.shape[-1]
        window = self.wiener_window or frames
        for start in range(0, frames, window):
            part = slice(start, start + window)
            estimate = self._wiener(
                torch.stack([magnitude[..., part].permute(2, 1, 0) for magnitude in magnitudes], dim=-1),
                torch.view_as_real(spectrum[..., part]).permute(2, 1, 0, 3),
                residual=self.residual and together,
            )
            chosen = estimate[..., numbers] if together else estimate
            targets[..., part] = torch.view_as_complex(chosen.permute(4, 2, 1, 0, 3).contiguous())
        return targets

    def _wiener(self, magnitudes: Tensor, mixture: Tensor, residual: bool) -> Tensor:
        """`openunmix.filtering.wiener`.

        Shape:
            - magnitudes: (frame, bin, channel, source)
            - mixture: (frame, bin, channel, 2)
            - result: (frame, bin, channel, 2, source)
        """
        from openunmix.filtering import wiener

        with torch.autocast(mixture.device.type, enabled=False):
            # It writes into the mixture that it gets.
            estimate: Tensor = wiener(magnitudes, mixture.clone(), self.iterations, residual=residual)
            if not estimate.isfinite().all():
                # In float32 the covariance of a bin that is loud and mono can be singular.
                doubles = magnitudes.cpu().double(), mixture.cpu().double()
                estimate = wiener(*doubles, self.iterations, residual=residual).to(estimate)
        return estimate

    def _stft(self, mixture: Tensor) -> Tensor:
        """Spectra (item, channel, bin, frame) of waveforms (item, channel, time), at full precision."""
        _, window, hop, _ = self.transform
        # The reflections at the ends need more samples than half a window.
        length = max(mixture.shape[-1], window // 2 + 1)
        if window < 4 * hop:
            # With frames that overlap by half, the last samples would stand in one frame alone, at the edge of its
            # window, and the division by that window would blow them up: by 10^5 at worst.
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


class _Loaded(NamedTuple):
    """The network of each source, the transform that they share, and the files that they came from."""

    networks: "dict[str, OpenUnmix]"
    transform: _Transform
    files: list[Path]


def _import() -> "type[OpenUnmix]":
    import_torchaudio()
    try:
        from openunmix.model import OpenUnmix
    except ImportError as error:
        raise MdxError("the openunmix package is missing: pip install openunmix") from error
    kind: type[OpenUnmix] = OpenUnmix
    return kind


def _download(name: str) -> _Loaded:
    """Out of the cache of `torch.hub` or from Zenodo."""
    folder, files, transform = _DOWNLOADS[name]
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    networks = {}
    for source, file in files.items():
        path = cache / file
        digits = re.search(r"-([0-9a-f]{8})\.", file)
        download = partial(torch.hub.download_url_to_file, folder + file, str(path), digits and digits[1])
        with cached(path, download, f"the weights of {name!r}", "FOLDER"):
            networks[source] = _network(load_state(path, _KIND), transform, path)
    return _Loaded(networks, transform, [cache / file for file in files.values()])


def _load(path: Path, name: str) -> _Loaded:
    """Out of a folder or a file."""
    folder, files = (path, sorted(path.glob("*.pth"))) if path.is_dir() else (path.parent, [path])
    if not files:
        raise MdxError(f"{path}: no .pth file in this folder ({_KIND}, SOURCE.pth)")
    named: dict[str, Path] = {}
    for file in files:
        source = re.sub(r"[-_][0-9a-f]{8}$", "", file.stem)
        if source in named:
            raise MdxError(f"{folder}: both {named[source].name} and {file.name} are weights for {source}")
        named[source] = file
    described = folder / "separator.json"
    own = described.is_file()
    transform = _described(described) if own else _DOWNLOADS[name].transform
    order = [*_DOWNLOADS[name].files, *named]
    networks = {
        source: _network(load_state(named[source], _KIND), transform, named[source])
        for source in sorted(named, key=order.index)
    }
    return _Loaded(networks, transform, [*files, *([described] if own else [])])


def _described(path: Path) -> _Transform:
    with loading(path, "description of a separator, with sample_rate, nfft, nhop and nb_channels,"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        found = _Transform(*(int(facts[key]) for key in ("sample_rate", "nfft", "nhop", "nb_channels")))
    fitting = 1 <= found.sample_rate <= HIGHEST_RATE and 1 <= found.hop <= found.window // 2
    if not fitting or found.channels not in (1, 2):
        raise MdxError(
            f"{path}: sample_rate must be above 0 and at most {HIGHEST_RATE}, nhop at most half of nfft, and"
            f" nb_channels 1 or 2, not {found.sample_rate}, {found.hop} of {found.window}, and {found.channels}"
        )
    return found


def _network(state: dict[str, Tensor], transform: _Transform, origin: Path) -> "OpenUnmix":
    """A network with these weights, whose shapes tell its size."""
    needed = ("input_mean", "output_mean", "fc1.weight", "fc3.weight")
    if lacking := [name for name in needed if name not in state]:
        raise MdxError(f"{origin}: not the weights of an Open-Unmix, it lacks {', '.join(lacking)}")
    with loading(origin, _KIND), as_large_as(origin):
        bins = len(state["output_mean"])
        made_for = 2 * (bins - 1), len(state["fc3.weight"]) / bins
        if made_for != (transform.window, transform.channels):
            raise MdxError(
                f"{origin}: for windows of {made_for[0]} samples and {made_for[1]:g} channels, and not of"
                f" {transform.window} and {transform.channels}, as separator.json says, or without one the model's name"
            )
        network = _import()(
            nb_bins=bins,
            nb_channels=transform.channels,
            hidden_size=len(state["fc1.weight"]),
            nb_layers=sum(re.fullmatch(r"lstm\.weight_ih_l\d+", key) is not None for key in state),
            unidirectional="lstm.weight_ih_l0_reverse" not in state,
            max_bin=len(state["input_mean"]),
        )
    # openunmix, too, lets a file hold more than the network.
    known = network.state_dict()
    fill(network, {name: value for name, value in state.items() if name in known}, origin, "an Open-Unmix")
    return network
