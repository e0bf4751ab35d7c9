"""Demucs (Défossez et al., 2019 to 2023): every network of the `demucs` package, with batched segments."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from demucs.apply import BagOfModels, apply_model
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from torch import Tensor, nn

from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import PublishedWeights
from mdx_progressive.separators.precision import keep_ends_precise
from mdx_progressive.separators.segmented import SegmentedSeparator
from mdx_progressive.separators.standardisation import separate_standardised
from mdx_progressive.separators.weights.demucs import load_file, load_folder, load_hub

_LICENCE = "for research"
_FOUR = ("drums", "bass", "other", "vocals")


class DemucsSeparator(SegmentedSeparator):
    """A pretrained Demucs by the name that the `demucs` command knows, or from a local file or folder.

    Separates as `demucs` does without random shifts: the input is normalised once, cut into overlapping
    segments of the network's own length, and the estimates are added up under triangular windows.

    Args:
        name: Name of a model on the Hugging Face hub, downloaded once and cached: htdemucs, htdemucs_ft,
            htdemucs_6s, hdemucs_mmi, mdx, mdx_extra, mdx_q, mdx_extra_q, or `user/name`.
        weights: A local `.safetensors` or `.th` file, or a folder with such files and the `.yaml` of a bag;
            then nothing is downloaded, and the name only chooses among several bags in the folder.
        overlap: Fraction of a segment that the next one covers too, within [0, 1).
        segment: Length of a segment in seconds; by default the network's own, which a transformer can't exceed.
        batch_size: Segments a forward pass; by default 1 on the CPU, where larger batches are slower, and as many as
            fit into memory on CUDA.

    Raises:
        MdxError: If the weights can't be loaded, are no Demucs, or a setting is out of its range.
    """

    published = (
        PublishedWeights("htdemucs", _FOUR, 44100, 2, 7.8, _LICENCE, musdb_test=False, download=84),
        PublishedWeights("htdemucs_ft", _FOUR, 44100, 2, 7.8, _LICENCE, musdb_test=False, download=336),
        PublishedWeights("htdemucs_6s", (*_FOUR, "guitar", "piano"), 44100, 2, 7.8, _LICENCE, musdb_test=False),
        PublishedWeights("hdemucs_mmi", _FOUR, 44100, 2, 44.0, _LICENCE, musdb_test=False),
        PublishedWeights("mdx", _FOUR, 44100, 2, 44.0, _LICENCE, musdb_test=False),
        PublishedWeights("mdx_extra", _FOUR, 44100, 2, 44.0, _LICENCE, musdb_test=True),
        PublishedWeights("mdx_q", _FOUR, 44100, 2, 44.0, _LICENCE, musdb_test=False),
        PublishedWeights("mdx_extra_q", _FOUR, 44100, 2, 44.0, _LICENCE, musdb_test=True),
    )

    standardise = True

    def __init__(
        self,
        name: str = "htdemucs",
        weights: str | Path | None = None,
        overlap: float = 0.25,
        segment: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        if weights is None:
            bag, self.files = load_hub(name)
            self._set_provenance(name)
        elif Path(weights).is_dir():
            bag, self.files = load_folder(Path(weights), name)
        else:
            bag, self.files = load_file(Path(weights))
        for network in bag.models:
            encoders, decoders = (
                [getattr(network, name) for name in (part, f"t{part}") if hasattr(network, name)]
                for part in ("encoder", "decoder")
            )
            keep_ends_precise(encoders, decoders)
        self.networks = bag.models
        self.weights = torch.tensor(bag.weights)
        self.sources = list(bag.sources)
        self.sample_rate = int(bag.samplerate)
        self.channels = int(bag.audio_channels)
        self.overlap = overlap
        self.batch_size = batch_size
        self.segments = [_segment(network, segment) for network in bag.models]
        self.segment = max(self.segments)
        self._segment_setting = segment
        self.freeze()

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        """The weighted mean of the networks that the targets need; shapes as of `_separate`."""
        total = mixture.new_zeros(*indices.shape, *mixture.shape[1:])
        for network, length, weights in zip(self.networks, self._segment_lengths(), self.weights, strict=True):
            target_weights = weights[indices]
            items = target_weights.any(dim=1).nonzero().squeeze(1)
            if len(items):
                estimates = self._separate_segments(network, length, mixture[items], indices[items])
                total[items] += target_weights[items].to(total)[..., None, None] * estimates
        total /= self.weights.sum(dim=0)[indices].to(total)[..., None, None]
        return total

    def reference_implementation(self) -> Callable[[Tensor], Tensor]:
        bag = BagOfModels([*self.networks], self.weights.tolist(), self._segment_setting)
        return partial(separate_standardised, partial(apply_model, bag, shifts=0, overlap=self.overlap))

    def _segment_lengths(self) -> list[int]:
        return [int(self.sample_rate * segment) for segment in self.segments]

    def _regions(self) -> Iterator[nn.Module]:
        # A whole HTDemucs takes many minutes to compile; its layers, most of which are alike, two or three.
        for network in self.networks:
            for part in ("encoder", "tencoder", "decoder", "tdecoder"):
                yield from getattr(network, part, ())
            transformer = getattr(network, "crosstransformer", None)
            if transformer is not None:
                yield from (*transformer.layers, *transformer.layers_t)

    def _input_length(self, network: nn.Module, samples: int, segment: int) -> int:
        """As `demucs.apply.apply_model`."""
        if isinstance(network, HTDemucs) and self._segment_setting is not None:
            return segment
        if isinstance(network, HDemucs):
            return samples
        length: int = network.valid_length(samples)  # type: ignore[operator]
        return length


def _segment(network: nn.Module, setting: float | None) -> float:
    """Length of a segment in seconds: the setting, else the network's own."""
    own: float = network.segment  # type: ignore[assignment]
    if setting is None:
        return own
    limited = isinstance(network, HTDemucs)
    if setting <= 0 or (limited and setting > own):
        limit = f" and at most {float(own):g} s, the length that this transformer was trained at" if limited else ""
        raise MdxError(f"segment must be above 0{limit}, not {setting:g}")
    return setting
