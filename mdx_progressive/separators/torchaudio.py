"""Hybrid Demucs (Défossez, 2021) as torchaudio holds it, with torchaudio's own weights."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from mdx_progressive.errors import MdxError
from mdx_progressive.separators.precision import keep_ends_precise
from mdx_progressive.separators.published import Published
from mdx_progressive.separators.segmented import SegmentedSeparator, on_standardised
from mdx_progressive.separators.state_dict import load_state, reason
from mdx_progressive.torchaudio_import import import_torchaudio

_FOUR = ("drums", "bass", "other", "vocals")


class TorchaudioSeparator(SegmentedSeparator):
    """A pretrained Hybrid Demucs of `torchaudio.pipelines`, by name or from a local state dict.

    Normalises the input over its whole length and cuts it into segments of 10 s, as torchaudio's tutorial does. The
    estimates are added up under triangular windows as `demucs` does, where the tutorial fades over 0.1 s.

    Args:
        name: HDEMUCS_HIGH_MUSDB, trained on the training set of MUSDB18-HQ, or HDEMUCS_HIGH_MUSDB_PLUS, trained on its
            test set and 150 more songs too. Downloaded once, into torchaudio's own cache.
        weights: A local `.pt` file with a state dict of the network that the name stands for; then nothing is
            downloaded.
        overlap: Fraction of a segment that the next one covers too, within [0, 1).
        segment: Length of a segment in seconds. 10 s is the tutorial's; longer ones need more memory.
        batch_size: Segments a forward pass; by default 1 on the CPU, where more are slower each, and as many as the
            memory holds on CUDA.

    Raises:
        MdxError: If torchaudio is missing, the weights can't be had or fit another network, or a setting is out of
            its range.
    """

    published = (
        Published("HDEMUCS_HIGH_MUSDB", _FOUR, 44100, 2, 10.0, "unknown", musdb_test=False),
        Published("HDEMUCS_HIGH_MUSDB_PLUS", _FOUR, 44100, 2, 10.0, "unknown", musdb_test=True),
    )

    def __init__(
        self,
        name: str = "HDEMUCS_HIGH_MUSDB",
        weights: Path | None = None,
        overlap: float = 0.25,
        segment: float = 10.0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        names = [known.name for known in self.published]
        if name not in names:
            raise MdxError(f"torchaudio has no separator of the name {name!r}, but {' and '.join(names)}")
        bundle = getattr(import_torchaudio().pipelines, name)
        network = bundle._model_factory_func()
        if weights is None:
            path = _download(name, bundle._model_path)
            self._state_facts(name)
        else:
            path = Path(weights)
        network.load_state_dict(_fitting_state(path, network.state_dict()))
        keep_ends_precise((network.freq_encoder, network.time_encoder), (network.freq_decoder, network.time_decoder))
        self.networks = nn.ModuleList([network])
        self.sources = list(network.sources)
        self.sample_rate = int(bundle.sample_rate)
        self.channels = int(network.audio_channels)
        if int(self.sample_rate * segment) < 1:
            raise MdxError(f"segment must be above 0, not {segment:g}")
        self.segment = segment
        self.overlap = overlap
        self.batch_size = batch_size
        self.freeze()

    def _separate(self, mixture: Tensor, wanted: Tensor) -> Tensor:
        (length,) = self._lengths()
        return on_standardised(lambda normal: self._over_segments(self.networks[0], length, normal, wanted), mixture)

    def _lengths(self) -> list[int]:
        assert self.segment is not None
        return [int(self.sample_rate * self.segment)]

    def _regions(self) -> Iterator[nn.Module]:
        # Compiled by layers, since tracing its STFT alone takes minutes.
        for network in self.networks:
            for part in ("freq_encoder", "time_encoder", "freq_decoder", "time_decoder"):
                yield from network.get_submodule(part).children()

    def _input_length(self, network: nn.Module, samples: int, segment: int) -> int:
        """A segment's own length, but never below that which the reflections at the ends of the STFT need."""
        window: int = network.nfft  # type: ignore[assignment]
        return max(samples, window // 2)


def _download(name: str, key: str) -> Path:
    """The file of a pipeline, out of torchaudio's cache or from its server."""
    from torchaudio.utils import _download_asset

    try:
        return Path(_download_asset(key))
    except (OSError, RuntimeError) as error:
        raise MdxError(
            f"the weights of {name!r} are not in torchaudio's cache in {torch.hub.get_dir()}, and {key} could not be"
            f" downloaded ({reason(error)}). Check the connection, or give local weights:"
            " --model.separator.weights FILE (.pt)"
        ) from error


def _fitting_state(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a file, for a network whose present state is the expected one."""
    state = load_state(path, "the state dict of a torchaudio HDemucs, .pt")
    for name in expected | state:
        found, wanted = (list(side[name].shape) if name in side else "missing" for side in (state, expected))
        if found != wanted:
            raise MdxError(
                f"{path}: not a state dict of torchaudio's hdemucs_high with the sources {', '.join(_FOUR)}:"
                f" {name} is {found} in it, and {wanted} in the network"
            )
    return state
