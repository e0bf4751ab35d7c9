"""Hybrid Demucs (Défossez, 2021) as torchaudio holds it, with torchaudio's own weights."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from mdx_progressive.runtime import MdxError, import_torchaudio
from mdx_progressive.separators.base import PublishedWeights
from mdx_progressive.separators.precision import keep_ends_precise
from mdx_progressive.separators.segmented import SegmentedSeparator
from mdx_progressive.separators.weights.downloads import downloaded
from mdx_progressive.separators.weights.state_dict import fill_network, load_state_dict

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
        batch_size: Segments a forward pass; by default 1 on the CPU, where larger batches are slower, and as many as
            fit into memory on CUDA.

    Raises:
        MdxError: If torchaudio is missing, the weights can't be loaded or fit another network, or a setting is out
            of its range.
    """

    published = (
        PublishedWeights("HDEMUCS_HIGH_MUSDB", _FOUR, 44100, 2, 10.0, "unknown", musdb_test=False, download=335),
        PublishedWeights("HDEMUCS_HIGH_MUSDB_PLUS", _FOUR, 44100, 2, 10.0, "unknown", musdb_test=True, download=335),
    )

    standardise = True

    def __init__(
        self,
        name: str = "HDEMUCS_HIGH_MUSDB",
        weights: str | Path | None = None,
        overlap: float = 0.25,
        segment: float = 10.0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        names = [published.name for published in self.published]
        if name not in names:
            raise MdxError(f"torchaudio has no separator of the name {name!r}, but {' and '.join(names)}")
        self.name = name
        bundle = getattr(import_torchaudio().pipelines, name)
        network = bundle._model_factory_func()
        if weights is None:
            from torchaudio.utils import _download_asset

            path = Path(torch.hub.get_dir(), "torchaudio", bundle._model_path)
            download = partial(_download_asset, bundle._model_path, path=path)
            with downloaded(path, download, f"the weights of {name!r}", "FILE (.pt)"):
                _fill(network, path)
            self._set_provenance(name)
        else:
            path = Path(weights)
            _fill(network, path)
        self.files = [path]
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

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        (length,) = self._segment_lengths()
        return self._separate_segments(self.networks[0], length, mixture, indices)

    def _segment_lengths(self) -> list[int]:
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


def _fill(network: nn.Module, path: Path) -> None:
    state = load_state_dict(path, "state dict of a torchaudio HDemucs")
    fill_network(network, state, path, f"torchaudio's hdemucs_high with the sources {', '.join(_FOUR)}")
