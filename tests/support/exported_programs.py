"""One small network as a program of every format."""

import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.support.paths import CONFIGS, STUDY_HTDEMUCS

SEGMENT = 11025
"""Samples that programs of a fixed shape take."""
FOUR = ["drums", "bass", "other", "vocals"]


class Waves(nn.Module):
    """Two convolutions over a waveform, which begin and end many separators."""

    def __init__(self, sources: int = 4, channels: int = 2) -> None:
        super().__init__()
        self.sources, self.channels = sources, channels
        torch.manual_seed(0)
        self.down = nn.Conv1d(channels, 8, 9, padding=4, bias=False)
        self.up = nn.Conv1d(8, sources * channels, 9, padding=4, bias=False)

    def forward(self, mixture: Tensor) -> Tensor:
        waves = self.up(torch.tanh(self.down(mixture)))
        return waves.view(mixture.shape[0], self.sources, self.channels, mixture.shape[2])


def example(network: Waves, batch: int = 1, time: int = SEGMENT) -> Tensor:
    return torch.zeros(batch, network.channels, time)


def traced(path: Path, network: Waves) -> Path:
    """TorchScript for one shape."""
    return _torchscript(path, lambda: torch.jit.trace(network, example(network)))


def scripted(path: Path, network: nn.Module) -> Path:
    """TorchScript for any shape."""
    return _torchscript(path, lambda: torch.jit.script(network))


def _torchscript(path: Path, make: Callable[[], torch.jit.ScriptModule]) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.* is deprecated.*", DeprecationWarning)
        torch.jit.save(make(), path)
    return path


def exported(path: Path, network: nn.Module, inputs: Tensor) -> Path:
    """A program of `torch.export` for the shape of its input."""
    torch.export.save(torch.export.export(network.eval(), (inputs,)), path)
    return path


def exported_for_any_shape(path: Path, network: Waves) -> Path:
    shapes = ({0: torch.export.Dim("batch"), 2: torch.export.Dim("time", min=9)},)
    program = torch.export.export(network.eval(), (example(network, 2),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


def onnx_file(path: Path, network: Waves, batch: int | str = 1, time: int | str = SEGMENT, **changes: int) -> Path:
    """An ONNX graph with the weights of the network; names stand for sizes that it leaves open."""
    weights = {"down": network.down.weight, "up": network.up.weight}
    nodes = [
        helper.make_node("Conv", ["mixture", "down"], ["hidden"], pads=[4, 4]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("Conv", ["bent", "up"], ["waves"], pads=[4, 4]),
        helper.make_node("Reshape", ["waves", "shape"], ["estimates"]),
    ]
    constants = [numpy_helper.from_array(weight.detach().numpy(), name) for name, weight in weights.items()]
    constants.append(helper.make_tensor("shape", TensorProto.INT64, [4], [0, network.sources, network.channels, -1]))
    kind = changes.get("kind", TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "waves",
        [helper.make_tensor_value_info("mixture", kind, [batch, network.channels, time])],
        [helper.make_tensor_value_info("estimates", kind, [batch, network.sources, network.channels, time])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def program_options(program: Path, sources: str = "[drums,bass,other,vocals]") -> tuple[str, ...]:
    """What the command separates with a program."""
    settings = {"program": program, "sources": sources, "sample_rate": 44100}
    given = [part for name, value in settings.items() for part in (f"--model.separator.{name}", str(value))]
    preset = ("--model.separator", str(CONFIGS / "separator" / "exported.yaml"))
    return ("-c", str(STUDY_HTDEMUCS), *preset, *given)


FIXED: dict[str, Callable[[Path], Path]] = {
    "torchscript": lambda folder: traced(folder / "net.pt", Waves()),
    "torch-export": lambda folder: exported(folder / "net.pt2", Waves(), example(Waves())),
    "onnx": lambda folder: onnx_file(folder / "net.onnx", Waves()),
}
"""Programs for one shape."""
OPEN: dict[str, Callable[[Path], Path]] = {
    "torchscript": lambda folder: scripted(folder / "open.pt", Waves()),
    "torch-export": lambda folder: exported_for_any_shape(folder / "open.pt2", Waves()),
    "onnx": lambda folder: onnx_file(folder / "open.onnx", Waves(), "batch", "time"),
}
"""Programs for any shape."""
