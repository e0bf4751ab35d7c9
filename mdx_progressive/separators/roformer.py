"""RoFormers: BS-RoFormer (Lu et al., 2023) and Mel-Band RoFormer (Wang et al., 2023), as the community trains them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.dsp import OverlapAdd, ReceptiveField
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.roformer_network import load_network
from mdx_progressive.separators.weights.roformer import Description, read_description


class RoFormerSeparator(Separator):
    """A BS-RoFormer or Mel-Band RoFormer out of the two files that are shared: a YAML and a checkpoint.

    Both are those of ZFTurbo's Music-Source-Separation-Training (the `msst` package). Separates as its `demix` does
    with one chunk a batch: chunks that begin every `chunk / num_overlap` samples, reflections of the mixture at its
    ends, and windows with linear flanks of a tenth of a chunk; with `inference.normalize` the network gets songs of
    mean 0 and deviation 1. Keys that are not obeyed here are named in a line, but those of the training. Only the
    network's own sources are estimated: a network for vocals has the one source `vocals`, and no accompaniment.

    Args:
        config: The YAML of the network, with its sections model, training, inference and audio.
        weights: Its checkpoint, a `.ckpt`, `.pth`, `.pt`, `.th`, `.bin` or `.safetensors` file.
        num_overlap: Chunks over each sample, 1 or more; by default as in the YAML. Time grows with it.
        segment: Length of a segment (msst's chunk) in seconds, rounded to whole frames; by default that of the YAML.
        batch_size: Chunks a forward pass; by default 1 on the CPU, where larger batches are slower, and as many as fit
            into memory on CUDA.

    Raises:
        MdxError: If a file or the packages are missing, the files don't fit each other, the YAML asks for what the
            packages can't compute, or a setting is out of its range.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        weights: str | Path | None = None,
        num_overlap: int | None = None,
        segment: float | None = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if config is None or weights is None:
            raise MdxError(
                "a RoFormer needs its YAML and its checkpoint: --model.separator.config FILE"
                " --model.separator.weights FILE"
            )
        description = read_description(Path(config))
        self.chunk = _chunk(description, segment)
        self.num_overlap = _num_overlap(description, self.chunk, num_overlap)
        self.networks = nn.ModuleList([load_network(description, Path(weights))])
        self.files = [description.path, Path(weights)]
        self.sources = description.sources
        self.sample_rate = description.sample_rate
        self.channels = description.channels
        self.segment = self.chunk / self.sample_rate
        # msst's deviation is that of a population, this one that of a sample: 0.001 % more on a second of sound.
        self.standardise = description.normalize
        self.batch_size = batch_size
        self.freeze()

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        estimates = mixture.new_empty(*indices.shape, *mixture.shape[1:])
        # Items with the same targets share their forward passes, in which only these are computed.
        items_by_targets: dict[tuple[int, ...], list[int]] = {}
        for item, targets in enumerate(indices.tolist()):
            items_by_targets.setdefault(tuple(targets), []).append(item)
        for targets, items in items_by_targets.items():
            estimates[items] = self._separate_chunks(mixture[items], targets)
        return estimates

    @property
    def receptive_field(self) -> ReceptiveField:
        return ReceptiveField(grid=self._stride, before=self.chunk, crossfade=self.crossfade, after=self.chunk)

    @property
    def shift_span(self) -> float:
        """The stride of chunks in seconds."""
        return self._stride / self.sample_rate

    @property
    def _stride(self) -> int:
        return self.chunk // self.num_overlap

    def _regions(self) -> Iterable[nn.Module]:
        """The transformers, whose code is shared; a whole network would be compiled anew for each choice of sources."""
        return [transformer for layer in self.networks[0].layers for transformer in layer]  # type: ignore[union-attr]

    def _separate_chunks(self, mixture: Tensor, targets: tuple[int, ...]) -> Tensor:
        """The same targets of each mixture, as `msst.utils.model_utils.demix`.

        Shape:
            - mixture: (item, channel, time)
            - result: (item, target, channel, time)
        """
        border = self.chunk - self._stride
        if mixture.shape[-1] <= 2 * border:
            border = 0
        signal = functional.pad(mixture, (border, border), mode="reflect") if border else mixture
        items, channels, length = signal.shape
        starts = range(0, length, self._stride)
        spans = [(item, start) for item in range(items) for start in starts]

        def estimate(batch: Sequence[tuple[int, int]]) -> Tensor:
            return self._run(torch.stack([self._cut(signal[item], start) for item, start in batch]), targets)

        # With num_overlap 1 the flanks of two chunks meet at weight 0, where msst leaves zeros too.
        total = OverlapAdd(signal, len(targets), channels)
        for batch, estimates in self._run_batches(spans, signal.device, estimate):
            for (item, start), chunk in zip(batch, estimates, strict=True):
                window = self._window(signal, first=start == 0, last=start == starts[-1])
                total.add(item, start, chunk[..., : length - start], window)
        return total.result()[..., border : border + mixture.shape[-1]]

    def _cut(self, signal: Tensor, start: int) -> Tensor:
        """A chunk (channel, time); one that the end cuts short continues with reflections, or zeros if very short."""
        part = signal[:, start : start + self.chunk]
        mode = "reflect" if part.shape[-1] > self.chunk // 2 else "constant"
        return functional.pad(part, (0, self.chunk - part.shape[-1]), mode=mode)

    def _window(self, signal: Tensor, first: bool, last: bool) -> Tensor:
        """Weights of the samples of a chunk: flanks on both sides, but where the signal begins or ends."""
        window, flank = signal.new_ones(self.chunk), self.chunk // 10
        rise = torch.linspace(0, 1, flank, device=signal.device, dtype=signal.dtype)
        if not first:
            window[:flank] = rise
        if first or not last:  # A first chunk keeps its falling flank even if it is the last: so does msst.
            window[self.chunk - flank :] = rise.flip(0)
        return window

    def _run(self, chunks: Tensor, targets: tuple[int, ...]) -> Tensor:
        """Run the network: (chunk, channel, time) to (chunk, target, channel, time)."""
        network = self.networks[0]
        network.mask_estimators.chosen = targets  # type: ignore[union-attr]
        estimates: Tensor = network(chunks)
        # The packages leave out the axis of a single source.
        return estimates.view(len(chunks), len(targets), self.channels, -1)


def _chunk(description: Description, segment: float | None) -> int:
    """Samples of a chunk: of the setting in seconds, else as described."""
    path, hop, sample_rate = description.path, description.hop, description.sample_rate
    chunk = description.chunk if segment is None else round(segment * sample_rate / hop) * hop
    if chunk is None:
        raise MdxError(f"{path}: has no chunk_size under inference or audio: set the separator's segment")
    shortest = (description.window // 2 // hop + 1) * hop
    if chunk < shortest:
        raise MdxError(
            f"the segment of this RoFormer must be at least {shortest / sample_rate:g} s, not"
            f" {chunk / sample_rate if segment is None else segment:g} s"
        )
    if chunk % hop:
        raise MdxError(
            f"{path}: a chunk_size of {chunk} samples is no multiple of stft_hop_length {hop}, so that the network"
            f" would leave its end empty: set the separator's segment, e.g. to {chunk // hop * hop / sample_rate:.3f} s"
        )
    return chunk


def _num_overlap(description: Description, chunk: int, setting: int | None) -> int:
    number = description.num_overlap if setting is None else setting
    if number is None:
        raise MdxError(f"{description.path}: has no num_overlap under inference: set the separator's num_overlap")
    if not 1 <= number <= chunk:
        raise MdxError(f"num_overlap must lie within 1 and the {chunk} samples of a chunk, not {number}")
    return number
