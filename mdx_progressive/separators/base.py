"""What a frozen separator is to the rest of the package."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from importlib.resources.abc import Traversable
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from mdx_progressive.dsp import ReceptiveField
from mdx_progressive.runtime import MdxError, checksum
from mdx_progressive.separators.batch_fit import BatchFit
from mdx_progressive.separators.precision import HALF
from mdx_progressive.separators.published import Published

_Segment = TypeVar("_Segment")
_Estimates = TypeVar("_Estimates")
_CROSSFADE = 0.5
"""Seconds over which blocks crossfade into each other."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


class Separator(nn.Module, ABC):
    """A pretrained, frozen network that estimates the sources of a mixture of any length.

    It is always in evaluation mode, has no gradients, and never changes its input. A subclass loads its
    network, sets the attributes below, calls `freeze` and implements `_separate`.
    """

    published: ClassVar[tuple[Published, ...]] = ()
    """The weights of this family that can be had by name."""
    networks: nn.ModuleList
    """What does the work: one network for all sources, a bag of them, or one for each source."""
    sources: list[str]
    """Names of the sources, in the order of the outputs."""
    sample_rate: int
    """Sample rate that it was trained at, in Hz."""
    channels: int
    """Channels that the network takes. A mono mixture is shown to it on all of them."""
    segment: float | None
    """Native length of a segment in seconds; None for a network that takes a whole song."""
    context: float = 10.0
    """Seconds that a network without segments hears around a block."""
    licence: str = "unknown"
    """Licence of the weights."""
    musdb_test: bool | None = None
    """Whether it was trained on the test set of MUSDB18; None where that is not known."""
    files: Sequence[Traversable] = ()
    """What its weights were loaded from, and what describes them."""
    batch_size: int | None = None
    """Segments a forward pass; None to let `BatchFit` find it."""

    def freeze(self) -> None:
        """To be called at the end of a subclass's `__init__`.

        Raises:
            MdxError: If `batch_size` is below 1.
        """
        if self.batch_size is not None and self.batch_size < 1:
            raise MdxError(f"the separator's batch_size must be 1 or more, not {self.batch_size}")
        self._fit = BatchFit()
        self.requires_grad_(False)
        self.eval()

    def _state_facts(self, name: str) -> None:
        """Take licence and training data from the published weights of that name."""
        for known in self.published:
            if known.name == name:
                self.licence, self.musdb_test = known.licence, known.musdb_test

    @cached_property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each of its files, by name: which weights a run was made with."""
        return {file.name: checksum(file) for file in self.files}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the networks in place with `torch.compile`, at its next forward pass; the weights stay as they are.

        Args:
            args: As for `torch.compile`.
            kwargs: As for `torch.compile`.
        """
        for region in self._regions():
            region.compile(*args, **kwargs)

    def _regions(self) -> Iterable[nn.Module]:
        """The parts that are compiled, each by itself; whole networks unless a family has a reason."""
        return self.networks

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the network, but leave the normalisation layers of a half-precision one in float32."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for layer in self.modules():
            if isinstance(layer, _NORMS) and layer.weight is not None and layer.weight.dtype in HALF:
                layer.float()
        return self

    def train(self, mode: bool = True) -> Self:
        """A frozen separator stays in evaluation mode, whatever it is asked for."""
        return super().train(False)

    def index(self, targets: Sequence[str] | None) -> list[int]:
        """Positions of the targets among the sources; all of them for None.

        Raises:
            MdxError: If a target is not one of the sources, or there is none.
        """
        if targets is None:
            return list(range(len(self.sources)))
        unknown = [target for target in targets if target not in self.sources]
        if unknown or not targets:
            raise MdxError(
                f"targets: {', '.join(unknown) or 'an empty list'} can't be separated by this separator;"
                f" its sources are {', '.join(self.sources)}"
            )
        return [self.sources.index(target) for target in targets]

    @torch.no_grad()
    def forward(
        self, mixtures: Tensor, targets: Sequence[str] | None = None, input_index: Sequence[int] | None = None
    ) -> Tensor:
        """Estimate the targets, all from one mixture, each from a mixture of its own, or several from each of some.

        Args:
            mixtures: Waveforms. With an input axis longer than 1, each target is estimated from its own
                mixture only; a separator with a network for each source then runs just the one that it needs.
            targets: Names of the sources to estimate; all of them by default.
            input_index: For each target the number of the input that it is estimated from; by default the only one, or
                for each its own.

        Shape:
            - mixtures: (batch, channel, time) or (batch, input, channel, time); 1 or `channels` channels
            - result: (batch, target, channel, time), of the mixtures' type, but never below float32

        Raises:
            MdxError: If the shape or a target does not fit.
        """
        wanted = torch.tensor(self.index(targets))
        if mixtures.ndim == 3:
            mixtures = mixtures.unsqueeze(1)
        if mixtures.ndim != 4 or (input_index is None and mixtures.shape[1] not in (1, len(wanted))):
            raise MdxError(
                f"mixtures must have the shape (batch, 1 or {len(wanted)}, channel, time), not {tuple(mixtures.shape)}"
            )
        batch, inputs, channels, time = mixtures.shape
        if input_index is None:
            input_index = [0] * len(wanted) if inputs == 1 else range(inputs)
        of_inputs = [[place for place, number in enumerate(input_index) if number == each] for each in range(inputs)]
        if len(input_index) != len(wanted) or sum(map(len, of_inputs)) != len(wanted) or not all(of_inputs):
            raise MdxError(f"{len(wanted)} targets can't be heard in the inputs {list(input_index)} of {inputs}")
        if channels not in (1, self.channels) or time == 0:
            raise MdxError(
                f"a mixture must have 1 or {self.channels} channels and at least one sample,"
                f" not {channels} channels and {time} samples"
            )
        items = mixtures.flatten(0, 1).expand(-1, self.channels, -1)
        most = max(map(len, of_inputs))
        padded = [of_input + of_input[:1] * (most - len(of_input)) for of_input in of_inputs]
        with self.arithmetic(mixtures.device) as dtype:
            estimates = self._separate(items.to(dtype), wanted[torch.tensor(padded)].repeat(batch, 1))
        estimates = estimates.view(batch, inputs * most, *estimates.shape[2:])
        order = [number * most + of_inputs[number].index(place) for place, number in enumerate(input_index)]
        if order != list(range(inputs * most)):
            estimates = estimates[:, order]
        if channels != self.channels:
            estimates = estimates.mean(dim=-2, keepdim=True)
        kind = torch.float32 if mixtures.dtype in HALF else mixtures.dtype
        return estimates.to(kind)

    @property
    def receptive_field(self) -> ReceptiveField:
        """How a long mixture can be cut into blocks whose estimates are those of the whole."""
        context = int(self.context * self.sample_rate)
        return ReceptiveField(grid=1, before=context, crossfade=self.crossfade, after=context)

    @property
    def crossfade(self) -> int:
        """Samples over which blocks crossfade into each other."""
        return int(_CROSSFADE * self.sample_rate)

    def _batches(
        self,
        segments: Sequence[_Segment],
        device: torch.device,
        network: Callable[[Sequence[_Segment]], _Estimates],
    ) -> Iterator[tuple[Sequence[_Segment], _Estimates]]:
        """The segments that go through the network together, with what it makes of them (see `BatchFit.over`)."""
        return self._fit.over(segments, device, self.batch_size, network)

    @abstractmethod
    def _separate(self, mixture: Tensor, wanted: Tensor) -> Tensor:
        """Estimate the wanted sources of each mixture.

        Args:
            mixture: Waveforms with `channels` channels, float32 or float64. Not to be changed.
            wanted: Positions within `sources`, for each item its own; on the CPU.

        Shape:
            - mixture: (item, channel, time)
            - wanted: (item, target)
            - result: (item, target, channel, time)
        """

    def library_pass(self) -> Callable[[Tensor], Tensor] | None:
        """One pass as the family's own library makes it, for `benchmark`; None where the library has no such thing.

        It maps a mixture (batch, channel, time) to the estimates of all sources (batch, source, channel, time).
        """
        return None

    @contextmanager
    def arithmetic(self, device: torch.device) -> Iterator[torch.dtype]:
        """What surrounds every forward pass of a network; yields the type of its waveforms.

        A Trainer of `bf16-true` or `16-true` precision casts the weights and the default type. A network held in
        half precision runs under autocast; the STFTs and the normalisation around it would lose the signal, so
        they stay in float32.

        Args:
            device: Where the networks run.
        """
        kinds = {weight.dtype for weight in self.parameters() if weight.is_floating_point()}
        half = next((kind for kind in HALF if kind in kinds), None)
        dtype = torch.float64 if torch.float64 in kinds else torch.float32
        default = torch.get_default_dtype()
        with ExitStack() as stack:
            if half is not None:
                stack.enter_context(torch.autocast(device.type, dtype=half))
            if default != dtype:
                torch.set_default_dtype(dtype)
                stack.callback(torch.set_default_dtype, default)
            yield dtype
