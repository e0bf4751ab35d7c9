"""`mdx-progressive benchmark`, and what keeps memory."""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mdx_progressive.cli.main import main
from mdx_progressive.data.batch import ChunkBatch, Origin
from mdx_progressive.engine.benchmark import Benchmark
from mdx_progressive.engine.bfloat16 import has_bfloat16
from mdx_progressive.progressive.methods import Progressive
from mdx_progressive.progressive.schedules import Linear
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.memory import (
    keep_freed_memory,
    keep_layer_memory,
    peak_memory,
    release_layer_memory,
    reset_peak_memory,
)
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.batch_size import BatchSizeFinder
from tests.support.paths import STUDY_HTDEMUCS
from tests.support.processes import Running, run_command

Found = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(small_htdemucs_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The real command, on the built-in clip with a small network."""
    folder = tmp_path_factory.mktemp("benchmark")
    command = ["benchmark", "-c", str(STUDY_HTDEMUCS)]
    command += ["--model.separator.weights", str(small_htdemucs_file), "--model.targets", "[vocals, bass]"]
    command += ["--model.method.steps", "2", "--rounds", "1", "--data.chunk", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ended = run_command(command)
    assert ended.exit_code == 0, ended.err
    assert "bare forwards" in ended.out
    content: Found = json.loads((folder / "logs" / "benchmark.json").read_text())
    return content


class BrokenLibrary(Separator):
    """Halves the mixture; its own library can't run."""

    def __init__(self) -> None:
        super().__init__()
        self.sources, self.sample_rate, self.channels = ["vocals"], 44100, 2
        self.freeze()

    def _separate(self, mixture: Tensor, wanted: Tensor) -> Tensor:
        return 0.5 * mixture.unsqueeze(1)

    def reference_implementation(self) -> Callable[[Tensor], Tensor]:
        def run(mixture: Tensor) -> Tensor:
            raise RuntimeError("no kernel for this device")

        return run


def test_a_library_that_breaks_in_its_process_is_one_line() -> None:
    chunk = ChunkBatch([Origin("a", 0, 44100, 100)], torch.ones(1, 2, 100), torch.ones(1))
    method = Progressive(Linear(), 1)

    with pytest.raises(MdxError, match=r"own library ended with exit code 1 in its process"):
        Benchmark(BrokenLibrary(), method, ["vocals"], chunk, torch.device("cpu"), rounds=1)


class TestBenchmark:
    def test_counts_the_forward_passes_of_the_method(self, found: Found) -> None:
        forwards = {(cost["run"], cost["precision"]): cost["forwards"] for cost in found["costs"]}

        # 2 s are three segments of 1 s at an overlap of a quarter; 2 steps of 2 targets are 5 passes.
        for precision in ("32-true", *(["bf16-mixed"] if has_bfloat16(torch.device("cpu")) else [])):
            assert forwards["one pass", precision] == 3
            assert forwards["2 steps, 2 targets", precision] == 15
            assert forwards["bare forwards", precision] == 15

    def test_ratios_are_of_the_times(self, found: Found) -> None:
        by_run = {cost["run"]: cost for cost in found["costs"] if cost["precision"] == "32-true"}
        bare, steps, library = (by_run[run] for run in ("bare forwards", "2 steps, 2 targets", "library, 5 passes"))

        assert steps["over_bare"] == pytest.approx(steps["seconds"] / bare["seconds"])
        assert steps["speedup"] == pytest.approx(library["seconds"] / steps["seconds"])
        assert steps["memory"] > 2**20

    def test_the_deviation_is_that_from_float32(self, found: Found) -> None:
        steps = {cost["precision"]: cost for cost in found["costs"] if cost["run"].startswith("2 steps")}

        assert steps["32-true"]["snr"] is None
        if has_bfloat16(torch.device("cpu")):
            assert 5 < steps["bf16-mixed"]["snr"] < 80
            assert steps["bf16-mixed"]["change"] is not None

    def test_the_bare_networks_know_their_operations(self, found: Found) -> None:
        for network in found["networks"]:
            assert set(network["per_segment"]) == {"1", "2"}
            assert 0 < network["rate"] < network["peak_rate"]

    def test_no_rounds_is_an_error(
        self, small_htdemucs_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = ["benchmark", "-c", str(STUDY_HTDEMUCS), "--rounds", "0"]

        assert main([*arguments, "--model.separator.weights", str(small_htdemucs_file)]) == 1
        assert "rounds" in capsys.readouterr().err


CPU = torch.device("cpu")


def resident() -> int:
    """What this process holds of the memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**25)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def print_peaks() -> None:
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    held = torch.ones(64, 2**20)
    peak = peak_memory(CPU)
    del held
    reset_peak_memory(CPU)
    print(before, peak, peak_memory(CPU))


def print_faults() -> None:
    first, held = faults(), resident()
    assert keep_freed_memory()
    songs = faults()
    with keep_layer_memory():
        faults()
        layers, kept = faults(), resident()
    release_layer_memory()
    print(first, songs, layers, kept - held, resident() - held)


def print_memory_between_passes() -> None:
    fit, held = BatchSizeFinder(), resident()
    assert keep_freed_memory()
    for _ in range(4):
        list(fit.run(range(4), CPU, 1, lambda _: torch.ones(2**25).sum()))
        print(resident() - held)


def printed(function: Callable[[], None]) -> list[int]:
    """The numbers that a function prints in a process of its own."""
    ended = Running(function).wait()
    assert ended.exit_code == 0, ended.err
    return [int(number) for number in ended.out.split()]


class TestMemory:
    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
    def test_the_peak_is_that_since_the_last_start(self) -> None:
        # In a process of its own: one that keeps what it has freed may not grow.
        before, peak, after = printed(print_peaks)

        assert 200 * 2**20 < peak - before < 400 * 2**20
        assert after < peak - 200 * 2**20

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
    def test_large_tensors_of_layers_stop_faulting_and_those_of_songs_go_back(self) -> None:
        before, songs, layers, kept, after = printed(print_faults)

        assert layers < before / 10
        assert songs > before / 2
        assert kept > 100 * 2**20
        assert after < 20 * 2**20

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told")
    def test_short_passes_too_give_the_memory_of_layers_back_from_time_to_time(self) -> None:
        *kept, after = printed(print_memory_between_passes)

        assert min(kept) > 100 * 2**20
        assert after < 20 * 2**20

    def test_without_glibc_nothing_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> None:
            raise OSError(f"{name}: no such file")

        monkeypatch.setattr("ctypes.CDLL", missing)

        assert not keep_freed_memory()
