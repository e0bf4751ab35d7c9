"""What a frozen separator is to the rest of the package."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from importlib.resources.abc import Traversable
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from mdx_progressive.dsp import ReceptiveField
from mdx_progressive.runtime import MdxError, checksum, find_name
from mdx_progressive.separators.batch_size import BatchSizeFinder, Estimates, Segment
from mdx_progressive.separators.precision import HALF
from mdx_progressive.separators.standardisation import separate_standardised

_CROSSFADE = 0.5
"""Seconds over which blocks crossfade into each other."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


class PublishedWeights(NamedTuple):
    """Weights that can be loaded by name; `mdx-progressive separators` lists them.

    Args:
        name: Name by which the family's own tool knows them.
        sources: Names of the sources, in the order of the outputs.
        sample_rate: In Hz.
        channels: Channels that the network takes.
        segment: Native length of a segment in seconds; None where the network takes a whole song.
        licence: Licence of the weights, as their authors state it.
        musdb_test: Whether they were trained on the test set of MUSDB18, so that results on it prove nothing;
            None where that is not known.
        download: Size of what is downloaded once, in MB; 0 where the weights come with a package, None where the size
            is not known.
    """

    name: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    segment: float | None
    licence: str
    musdb_test: bool | None
    download: int | None = None


class Separator(nn.Module, ABC):
    """A pretrained, frozen network that estimates the sources of a mixture of any length.

    It is always in evaluation mode, has no gradients, and never changes its input. A subclass loads its network, sets
    the attributes below, calls `freeze` at the end of its `__init__`, and implements `_separate`.
    """

    published: ClassVar[tuple[PublishedWeights, ...]] = ()
    """The weights of this family that can be loaded by name."""
    name: str | None = None
    """The name of its weights, as the family's own tool knows them; None where they have none."""
    networks: nn.ModuleList
    """One network for all sources, a bag of such, or one for each source."""
    sources: list[str]
    """Names of the sources, in the order of the outputs."""
    sample_rate: int
    """Sample rate that it was trained at, in Hz."""
    channels: int
    """Channels that the network takes; a mono mixture is repeated on all of them."""
    segment: float | None = None
    """Native length of a segment in seconds; None for a network that takes a whole song."""
    standardise: bool = False
    """Whether it gets mixtures of mean 0 and deviation 1 over the whole song, as by the `demucs` command."""
    context: float = 10.0
    """Seconds of context around a block for a network without segments."""
    licence: str = "unknown"
    """Licence of the weights."""
    musdb_test: bool | None = None
    """Whether it was trained on the test set of MUSDB18; None where that is not known."""
    files: Sequence[Traversable] = ()
    """The files of its weights, and those that describe them."""
    batch_size: int | None = None
    """Segments a forward pass; None to find it."""

    def freeze(self) -> None:
        """Check the settings, and freeze the networks."""
        if self.batch_size is not None and self.batch_size < 1:
            raise MdxError(f"the separator's batch_size must be 1 or more, not {self.batch_size}")
        self._batch_size_finder = BatchSizeFinder()
        self.requires_grad_(False)
        self.eval()

    def _set_provenance(self, name: str) -> None:
        """Take licence and training data from the published weights of that name."""
        for weights in self.published:
            if weights.name == name:
                self.licence, self.musdb_test = weights.licence, weights.musdb_test

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each of its files, by name: they identify the weights of a run."""
        return {file.name: checksum(file) for file in self.files}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the networks in place with `torch.compile`, which takes the arguments, at their next forward pass."""
        for region in self._regions():
            region.compile(*args, **kwargs)

    def _regions(self) -> Iterable[nn.Module]:
        """The modules to compile, each by itself: whole networks, unless a family has a reason."""
        return self.networks

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the network, but leave the normalisation layers of a half-precision one in float32."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for layer in self.modules():
            if isinstance(layer, _NORMS) and layer.weight is not None and layer.weight.dtype in HALF:
                layer.float()
        return self

    def train(self, mode: bool = True) -> Self:
        """A frozen separator stays in evaluation mode."""
        return super().train(False)

    def target_indices(self, targets: Sequence[str] | None) -> list[int]:
        """Indices of the targets among the sources, in upper or lower case; those of all sources for None."""
        if targets is None:
            return list(range(len(self.sources)))
        found = {target: find_name(target, self.sources) for target in targets}
        unknown = [target for target, source in found.items() if source is None]
        if unknown or not targets:
            raise MdxError(
                f"targets: {', '.join(unknown) or 'an empty list'} can't be separated by this separator;"
                f" its sources are {', '.join(self.sources)}"
            )
        return [self.sources.index(found[target] or target) for target in targets]

    @torch.no_grad()
    def forward(
        self,
        mixtures: Tensor,
        targets: Sequence[str] | None = None,
        input_index: Sequence[int] | None = None,
        levels: Tensor | None = None,
    ) -> Tensor:
        """Estimate the targets, from one mixture or each from one of several inputs.

        A separator with a network for each source runs only those that an input's targets need.

        Args:
            mixtures: Waveforms.
            targets: Names of the sources to estimate; all of them by default.
            input_index: For each target the index of its input; by default, the only input or one for each target.
            levels: Mean and deviation by which a separator standardises, as `dsp.mono_levels` tells them of the song
                that the mixtures belong to; by default those of each mixture. Others ignore them.

        Shape:
            - levels: (batch, 2)
            - mixtures: (batch, channel, time) or (batch, input, channel, time); 1 or `channels` channels
            - result: (batch, target, channel, time), of the mixtures' type, but never below float32

        Raises:
            MdxError: If the shape or a target does not fit.
        """
        indices = torch.tensor(self.target_indices(targets))
        if mixtures.ndim == 3:
            mixtures = mixtures.unsqueeze(1)
        self._check_shape(mixtures.shape)
        batch, inputs, channels, _ = mixtures.shape
        groups, positions = _group_targets(len(indices), inputs, input_index)
        waveforms = mixtures.flatten(0, 1).expand(-1, self.channels, -1)
        with self.precision(mixtures.device) as dtype:
            wanted = indices[groups].repeat(batch, 1)
            given = None if levels is None else levels.repeat_interleave(inputs, dim=0)
            estimates = self.separate_at(waveforms.to(dtype), wanted, given)
        estimates = estimates.view(batch, groups.numel(), *estimates.shape[2:])
        if positions != list(range(groups.numel())):
            estimates = estimates[:, positions]
        if channels != self.channels:
            estimates = estimates.mean(dim=-2, keepdim=True)
        return estimates.to(torch.float32 if mixtures.dtype in HALF else mixtures.dtype)

    def _check_shape(self, shape: torch.Size) -> None:
        if len(shape) != 4:
            raise MdxError(
                "mixtures must have the shape (batch, channel, time) or (batch, input, channel, time),"
                f" not {tuple(shape)}"
            )
        if shape[2] not in (1, self.channels) or shape[3] == 0:
            raise MdxError(
                f"a mixture must have 1 or {self.channels} channels and at least one sample,"
                f" not {shape[2]} channels and {shape[3]} samples"
            )

    @property
    def receptive_field(self) -> ReceptiveField:
        """How a long mixture can be cut into blocks whose estimates are those of the whole."""
        context = int(self.context * self.sample_rate)
        return ReceptiveField(grid=1, before=context, crossfade=self.crossfade, after=context)

    @property
    def shift_span(self) -> float:
        """Seconds over which shifts of the music give its samples other contexts: the stride of segments, if any."""
        return self.segment or self.context

    @property
    def crossfade(self) -> int:
        """Length in samples of the crossfade between blocks."""
        return int(_CROSSFADE * self.sample_rate)

    def separate_at(self, mixture: Tensor, indices: Tensor, levels: Tensor | None) -> Tensor:
        """As `_separate`; a separator that standardises does so, by the levels or else by those of each mixture.

        Shape:
            - levels: (item, 2)
        """
        if not self.standardise:
            return self._separate(mixture, indices)
        return separate_standardised(lambda standardised: self._separate(standardised, indices), mixture, levels)

    def _run_batches(
        self, segments: Sequence[Segment], device: torch.device, network: Callable[[Sequence[Segment]], Estimates]
    ) -> Iterator[tuple[Sequence[Segment], Estimates]]:
        """Run segments through a network in batches, see `BatchSizeFinder.run`."""
        return self._batch_size_finder.run(segments, device, self.batch_size, network)

    @abstractmethod
    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        """Estimate some sources of each mixture.

        Args:
            mixture: Waveforms with `channels` channels, float32 or float64. Not to be changed.
            indices: Of the sources to estimate, for each item its own; on the CPU.

        Shape:
            - mixture: (item, channel, time)
            - indices: (item, target)
            - result: (item, target, channel, time)
        """

    def reference_implementation(self) -> Callable[[Tensor], Tensor] | None:
        """A pass as the family's own library computes it, for `benchmark`; None where the library has none.

        It maps a mixture (batch, channel, time) to the estimates of all sources (batch, source, channel, time).
        """
        return None

    @contextmanager
    def precision(self, device: torch.device) -> Iterator[torch.dtype]:
        """Set up the precision of forward passes on a device; yields the type of their waveforms.

        A Trainer of `bf16-true` or `16-true` precision casts the weights and the default type. A network in half
        precision runs under autocast; the STFTs and the normalisation around it would lose the signal, so they stay in
        float32.
        """
        dtypes = {weight.dtype for weight in self.parameters() if weight.is_floating_point()}
        half = next((dtype for dtype in HALF if dtype in dtypes), None)
        waveform_dtype = torch.float64 if torch.float64 in dtypes else torch.float32
        default = torch.get_default_dtype()
        torch.set_default_dtype(waveform_dtype)
        try:
            with nullcontext() if half is None else torch.autocast(device.type, dtype=half):
                yield waveform_dtype
        finally:
            torch.set_default_dtype(default)


def _group_targets(targets: int, inputs: int, input_index: Sequence[int] | None) -> tuple[Tensor, list[int]]:
    """Group the targets by their inputs, by default the only one or one for each target.

    Returns:
        For each input the numbers of its targets, (input, target); those with fewer targets than others repeat their
        first one. And for each target its position in the flattened groups.

    Example:
        >>> groups, positions = _group_targets(3, 2, [1, 0, 0])
        >>> groups.tolist(), positions
        ([[1, 2], [0, 0]], [2, 0, 1])
    """
    if input_index is None:
        if inputs not in (1, targets):
            raise MdxError(f"mixtures must have the shape (batch, 1 or {targets}, channel, time), not {inputs} inputs")
        input_index = [0] * targets if inputs == 1 else range(inputs)
    groups = [[target for target, number in enumerate(input_index) if number == index] for index in range(inputs)]
    if len(input_index) != targets or sum(map(len, groups)) != targets or not all(groups):
        raise MdxError(
            f"input_index must give each of {targets} targets one of {inputs} inputs and use each input, not"
            f" {list(input_index)}"
        )
    size = max(map(len, groups))
    positions = [number * size + groups[number].index(target) for target, number in enumerate(input_index)]
    return torch.tensor([group + group[:1] * (size - len(group)) for group in groups]), positions
