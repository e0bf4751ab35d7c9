"""Any network that was exported as a program: TorchScript, `torch.export` or ONNX, with a few lines about it."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from glob import escape
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.runtime import MdxError, error_text, is_out_of_memory
from mdx_progressive.separators.segmented import SegmentedSeparator
from mdx_progressive.separators.weights.archives import check_archive
from mdx_progressive.separators.weights.descriptions import check_sources
from mdx_progressive.separators.weights.state_dict import reading


class ExportedSeparator(SegmentedSeparator):
    """A network that was exported as a program from waveforms to waveforms.

    The program maps (batch, channel, time) to (batch, source, channel, time) of the same length, in float32, whatever
    the precision of the run. A mixture is cut into overlapping segments, whose estimates are added up under triangular
    windows.

    An ONNX file holds operations on tensors and no more, though they may take any memory and time. TorchScript and
    `torch.export` files can make this computer do other things as well, already when they are loaded: load only those
    of people whom you trust.

    Args:
        program: A TorchScript file (`.pt`, `.pth`, `.ts`, `.jit` or `.torchscript`), a program of `torch.export`
            (`.pt2`), or an ONNX file (`.onnx`; runs on the GPU if onnxruntime-gpu is installed, else on the CPU).
        sources: Names of the sources, in the order of the outputs.
        sample_rate: In Hz.
        segment: Length of a segment in seconds; by default the length that the program was exported for. A program that
            takes any length then gets the whole mixture at once. TorchScript has no record of its length: set it.
        channels: Channels that the program takes.
        overlap: Fraction of a segment that the next one covers too, within [0, 1).
        standardise: Give the program a mixture of mean 0 and deviation 1, and undo that in its estimates, as `demucs`
            does.
        batch_size: Segments a forward pass: 1 because many programs are exported for just one. Null for 1 on the CPU
            and as many as fit into memory on CUDA.

    Raises:
        MdxError: If the program can't be loaded or run, or gives another shape; if onnxruntime is missing, or a setting
            is out of its range.
    """

    def __init__(
        self,
        sources: list[str],
        sample_rate: int,
        program: str | Path | None = None,
        segment: float | None = None,
        channels: int = 2,
        overlap: float = 0.25,
        standardise: bool = False,
        batch_size: int | None = 1,
    ) -> None:
        super().__init__()
        if program is None:
            raise MdxError("which program? --model.separator.program FILE, one of TorchScript, torch.export or ONNX")
        check_sources(sources, Path(program))
        for name, value in (("sample_rate", sample_rate), ("channels", channels), ("segment", segment)):
            if value is not None and value <= 0:
                raise MdxError(f"{name} must be above 0, not {value}")
        loaded = _load(Path(program), len(sources), channels)
        self.networks = nn.ModuleList([loaded])
        self.files = loaded.files
        self.sources = list(sources)
        self.sample_rate = sample_rate
        self.channels = channels
        self.overlap = overlap
        self.standardise = standardise
        self.batch_size = batch_size
        self.samples = _samples(loaded, segment, sample_rate)
        self.segment = None if self.samples is None else self.samples / sample_rate
        self.freeze()

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        program = self.networks[0]
        if self.samples is not None:
            return self._separate_segments(program, self.samples, mixture, indices)
        batches = self._run_batches(range(len(mixture)), mixture.device, lambda items: program(mixture[list(items)]))
        estimates = torch.cat([batch_estimates for _, batch_estimates in batches])
        return torch.stack([sources[targets] for sources, targets in zip(estimates, indices, strict=True)])

    def _segment_lengths(self) -> list[int]:
        return [] if self.samples is None else [self.samples]

    def _input_length(self, network: nn.Module, samples: int, segment: int) -> int:
        return segment

    def _regions(self) -> Iterable[nn.Module]:
        """Only a program of `torch.export` can be compiled; the others run as they are."""
        return [network.module for network in self.networks if isinstance(network, _ExportedProgram)]


class _Program(nn.Module, ABC):
    """A program of a file, on any device, but always of its own type.

    Shape:
        - input: (batch, channel, time)
        - output: (batch, source, channel, time)
    """

    batch: int | None = None
    """The only batch size that it takes, if it has one."""
    time: int | None = None
    """The only length that it takes in samples, if it has one."""

    def __init__(self, path: Path, sources: int, channels: int) -> None:
        super().__init__()
        self.path = path
        self.sources = sources
        self.channels = channels
        self.files = [path]

    def _read_input_shape(self, shapes: Iterable[Iterable[Any]]) -> None:
        """Take batch and time from the shapes of the program's inputs; an open size is anything but an integer."""
        inputs = [tuple(size if isinstance(size, int) else None for size in shape) for shape in shapes]
        if len(inputs) != 1 or len(inputs[0]) != 3 or inputs[0][1] not in (None, self.channels):
            raise MdxError(
                f"{self.path}: expected one input of shape (batch, {self.channels}, time), found"
                f" {' and '.join(map(_shape, inputs)) or 'none'}"
            )
        self.batch, _, self.time = inputs[0]

    def forward(self, segments: Tensor) -> Tensor:
        groups = segments.split(self.batch) if self.batch else (segments,)
        return torch.cat([self._run_checked(group) for group in groups])

    def _run_checked(self, segments: Tensor) -> Tensor:
        count = len(segments)
        inputs = functional.pad(segments, (0, 0, 0, 0, 0, (self.batch or count) - count))
        try:
            with torch.autocast(inputs.device.type, enabled=False):
                outputs = self._run(inputs)
        except Exception as error:  # The program can raise anything.
            if is_out_of_memory(error):
                raise
            raise MdxError(
                f"{self.path}: the program fails on an input of shape {_shape(inputs.shape)}, (batch, channel, time):"
                f" {error_text(error)}"
            ) from error
        expected = (len(inputs), self.sources, *inputs.shape[1:])
        if not isinstance(outputs, Tensor) or outputs.shape != expected:
            raise MdxError(
                f"{self.path}: expected an output of shape {_shape(expected)}, (batch, source, channel, time), found"
                f" {_shape(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__}"
            )
        return outputs[:count]

    @abstractmethod
    def _run(self, inputs: Tensor) -> Any:
        """The program's output."""

    def train(self, mode: bool = True) -> Self:
        """Programs are as they were exported; those of `torch.export` raise at this call."""
        self.training = False
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Programs can be moved, but not cast."""
        super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)  # type: ignore[no-untyped-call]
        return self


class _TorchScript(_Program):
    def __init__(self, path: Path, sources: int, channels: int) -> None:
        super().__init__(path, sources, channels)
        check_archive(path, code=True)
        self.module = torch.jit.load(path, map_location="cpu").eval()

    def _run(self, inputs: Tensor) -> Any:
        return self.module(inputs)


class _ExportedProgram(_Program):
    device = torch.device("cpu")

    def __init__(self, path: Path, sources: int, channels: int) -> None:
        super().__init__(path, sources, channels)
        check_archive(path)
        log = logging.getLogger("torch.export")
        log.disabled = True  # It would fill the screen before the error.
        try:
            self._use(torch.export.load(path))
        finally:
            log.disabled = False
        values = {node.name: node.meta["val"] for node in self.exported.graph.nodes if node.op == "placeholder"}
        self._read_input_shape(values[name].shape for name in self.exported.graph_signature.user_inputs)

    def _use(self, exported: torch.export.ExportedProgram) -> None:
        self.exported = exported
        self.module = exported.module()
        for module in self.module.modules():
            module.training = False

    def _run(self, inputs: Tensor) -> Any:
        return self.module(inputs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the program with the tensors that it makes itself, whose device is in its graph."""
        from torch.export.passes import move_to_device_pass

        device = fn(torch.empty(0, device=self.device)).device
        if device != self.device:
            self._use(move_to_device_pass(self.exported, device))
            self.device = device
        return self


class _Onnx(_Program):
    def __init__(self, path: Path, sources: int, channels: int) -> None:
        super().__init__(path, sources, channels)
        # Large weights are in a file beside it, which PyTorch calls model.onnx.data, others model.onnx_data.
        self.files = sorted(path.parent.glob(f"{escape(path.name)}*"))
        self.sessions: dict[torch.device, Any] = {}
        inputs = self._session(torch.device("cpu")).get_inputs()
        for value in inputs:
            if value.type != "tensor(float)":
                raise MdxError(f"{path}: expected an input of the type tensor(float), found {value.type}")
        self._read_input_shape(value.shape for value in inputs)

    def _run(self, inputs: Tensor) -> Any:
        session = self._session(inputs.device)
        outputs = session.run(None, {session.get_inputs()[0].name: inputs.cpu().numpy()})
        return torch.from_numpy(outputs[0]).to(inputs.device) if len(outputs) == 1 else outputs

    def _session(self, device: torch.device) -> Any:
        """The program on a device."""
        if device not in self.sessions:
            try:
                import onnxruntime
            except ImportError as error:
                raise MdxError(
                    f'{self.path}: ONNX needs onnxruntime, which is missing: pip install "mdx_progressive[onnx]"'
                ) from error
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            providers: list[Any] = ["CPUExecutionProvider"]
            if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
                providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
            self.sessions[device] = onnxruntime.InferenceSession(self.path, options, providers)
        return self.sessions[device]

    def __getstate__(self) -> dict[str, Any]:
        """Sessions can't be copied; a copy makes its own."""
        return {**self.__dict__, "sessions": {}}


_FORMATS: dict[str, type[_Program]] = {
    **dict.fromkeys((".pt", ".pth", ".ts", ".jit", ".torchscript"), _TorchScript),
    ".pt2": _ExportedProgram,
    ".onnx": _Onnx,
}


def _load(path: Path, sources: int, channels: int) -> _Program:
    with reading(path, "program"):
        if path.suffix not in _FORMATS:
            raise MdxError(f"{path}: the name of a program ends in one of {', '.join(_FORMATS)}")
        return _FORMATS[path.suffix](path, sources, channels)


def _samples(program: _Program, segment: float | None, sample_rate: int) -> int | None:
    """Samples of a segment: the program's or the setting; None for the whole mixture."""
    setting = None if segment is None else max(1, round(segment * sample_rate))
    if program.time is not None and setting not in (None, program.time):
        raise MdxError(
            f"{program.path}: takes segments of {program.time} samples ({program.time / sample_rate:g} s at"
            f" {sample_rate} Hz), not of {setting}: leave the segment out"
        )
    return program.time or setting


def _shape(sizes: Iterable[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in sizes)})"
