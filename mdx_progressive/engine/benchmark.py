"""What a method costs on this machine, as ratios to bare forward passes and to the separator's own library.

Every round times all contenders one after the other, so that a machine whose speed drifts slows them alike, and
ratios are medians of the rounds' ratios. The library runs in a process of its own, as its own tool would, without
what this package does to the process.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional.audio import signal_noise_ratio
from tqdm import tqdm

from mdx_progressive.data import ChunkBatch
from mdx_progressive.evaluation import si_sdr
from mdx_progressive.progressive import Method, Passes, select_sources, tracked_sources
from mdx_progressive.runtime import (
    MdxError,
    Stopwatch,
    atomic_write,
    layer_memory_kept,
    peak_memory,
    restart_peak_memory,
)
from mdx_progressive.separators import Separator

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

_TYPES = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_Forward = tuple[nn.Module, tuple[Any, ...]]


class Cost(NamedTuple):
    """What one contender cost.

    Args:
        run: What was run.
        precision: Precision of the arithmetic.
        forwards: Forward passes of networks that it made; None where they can't be counted.
        seconds: Median time.
        over_floor: Median ratio to the same forward passes alone, at the same precision.
        speedup: Median ratio of the library's time for as many passes, in float32, to this.
        memory: Peak memory in bytes: of the accelerator, or of the whole process on the CPU.
        snr: The estimates against those in float32, worst target, in dB.
        change: Change of SI-SDR against float32, worst target, in dB.
    """

    run: str
    precision: str
    forwards: int | None
    seconds: float
    over_floor: float | None = None
    speedup: float | None = None
    memory: int | None = None
    snr: float | None = None
    change: float | None = None


class BareNetwork(NamedTuple):
    """What the networks alone can do at one precision.

    Args:
        precision: Precision of the arithmetic.
        per_segment: Seconds for each segment, by the number of segments that go through together.
        flops: Floating-point operations of one pass over the chunk.
        rate: Operations per second that the bare forward passes reach.
        ceiling: Operations per second that one large matrix product reaches, the most that this device gives.
    """

    precision: str
    per_segment: dict[int, float]
    flops: int
    rate: float
    ceiling: float


class Benchmark:
    """Measures a method on one chunk of music.

    Args:
        separator: The separator, on the CPU.
        method: The method whose steps are run.
        targets: The sources that it estimates.
        batch: The chunk, on the CPU.
        device: Where to run.
        rounds: How often everything is run.
    """

    def __init__(
        self,
        separator: Separator,
        method: Method,
        targets: list[str],
        batch: ChunkBatch,
        device: torch.device,
        rounds: int,
    ) -> None:
        self.library = _Library(separator, batch.mixture, device)
        self.separator = separator.to(device)
        self.method = method
        self.targets = targets
        self.batch = batch.to(device)
        self.device = device
        self.rounds = rounds
        self.passes = 1
        self.exact: Tensor | None = None

    def run(self, precisions: Sequence[Precision]) -> tuple[list[Cost], list[BareNetwork]]:
        """Measure at each precision; float32 always comes first, as the reference of the others.

        Args:
            precisions: The precisions.
        """
        costs, floors = [], []
        wanted: list[Precision] = ["32-true", *(each for each in precisions if each != "32-true")]
        with torch.inference_mode(), tqdm(total=len(wanted) * self.rounds, desc="benchmark", unit="round") as bar:
            for precision in wanted:
                bar.set_postfix_str(precision)
                with self._precision(precision):
                    one, _ = self._forwards(self._one_pass)
                    costs += self._measure(precision, one, bar.update)
                    floors.append(self._floor(precision, one))
            self.library.close()
        return costs, floors

    def _measure(self, precision: Precision, one: list[_Forward], done: Callable[[int], object]) -> list[Cost]:
        """The library is timed in every precision's rounds, since ratios are taken within a round."""
        many, estimates = self._forwards(self._steps)
        snr, change = self._deviation(estimates)
        rounds: list[dict[str, float]] = []
        for _ in range(self.rounds):
            times = {
                "bare": self._seconds(partial(self._bare, one)),
                "pass": self._seconds(self._one_pass),
                "bare steps": self._seconds(partial(self._bare, many)),
            }
            restart_peak_memory(self.device)
            times["steps"] = self._seconds(self._steps)
            memory = peak_memory(self.device)
            if self.library.there:
                times["library"], _ = self.library.run(1)
                times["library steps"], library_memory = self.library.run(self.passes)
            rounds.append(times)
            done(1)

        def median(name: str) -> float:
            return statistics.median(times[name] for times in rounds)

        def ratio(name: str, other: str) -> float | None:
            known = name in rounds[0] and other in rounds[0]
            return statistics.median(times[name] / times[other] for times in rounds) if known else None

        steps = f"{self.method.steps} steps, {len(self.targets)} target{'s' * (len(self.targets) > 1)}"
        costs = []
        if self.library.there and precision == "32-true":
            costs.append(Cost("library, one pass", precision, None, median("library"), ratio("library", "bare"), 1.0))
            costs.append(
                Cost(f"library, {self.passes} passes", precision, None, median("library steps"),
                     ratio("library steps", "bare steps"), 1.0, library_memory)
            )  # fmt: skip
        costs += [
            Cost("bare forwards", precision, len(many), median("bare steps"), 1.0,
                 ratio("library steps", "bare steps")),
            Cost("one pass", precision, len(one), median("pass"), ratio("pass", "bare"), ratio("library", "pass")),
            Cost(steps, precision, len(many), median("steps"), ratio("steps", "bare steps"),
                 ratio("library steps", "steps"), memory, snr, change),
        ]  # fmt: skip
        return costs

    def _one_pass(self) -> Tensor:
        estimates: Tensor = self.separator(self.batch.mixture, self.targets)
        return estimates

    def _steps(self) -> Tensor:
        sources = tracked_sources([self.method], self.separator.sources, self.targets)
        passes = Passes.of(self.separator, self.batch.mixture, sources)
        *_, last = self.method.run(passes, self.separator(self.batch.mixture, sources), None)
        self.passes = 1 + passes.inputs
        return select_sources(last.estimates, sources, self.targets)

    def _bare(self, forwards: list[_Forward]) -> None:
        with layer_memory_kept(), self.separator.arithmetic(self.device):
            for network, inputs in forwards:
                network(*inputs)

    def _forwards(self, run: Callable[[], Tensor]) -> tuple[list[_Forward], Tensor]:
        """The forward passes of networks that a run makes, with their inputs, and its estimates."""
        seen: list[_Forward] = []

        def record(network: nn.Module, inputs: tuple[Any, ...]) -> None:
            seen.append((network, tuple(each.clone() if isinstance(each, Tensor) else each for each in inputs)))

        hooks = [network.register_forward_pre_hook(record) for network in self.separator.networks]
        estimates = run()
        for hook in hooks:
            hook.remove()
        return seen, estimates

    def _deviation(self, estimates: Tensor) -> tuple[float | None, float | None]:
        """SNR against the float32 estimates, and change of SI-SDR, each of the worst target."""
        if self.exact is None:
            self.exact = estimates
            return None, None
        snr = signal_noise_ratio(estimates.flatten(2), self.exact.flatten(2)).amin().item()
        if self.batch.references is None or self.batch.silent is None:
            return snr, None
        numbers = self.separator.index(self.targets)
        truth = self.batch.references[:, numbers], self.batch.silent[:, numbers]
        change = si_sdr(estimates, *truth) - si_sdr(self.exact, *truth)
        heard = change[change.isfinite()]
        return snr, heard[heard.abs().argmax()].item() if len(heard) else None

    def _floor(self, precision: Precision, forwards: list[_Forward]) -> BareNetwork:
        with FlopCounterMode(display=False) as counter:
            self._bare(forwards)
        seconds = min(self._seconds(partial(self._bare, forwards)) for _ in range(self.rounds))
        network, inputs = forwards[0]
        per_segment = {}
        for size in (1, 2) if self.device.type == "cpu" else (1, 2, 4, 8, 16, 32):
            together = tuple(
                torch.cat([each] * size) if isinstance(each, Tensor) and len(inputs[0]) == 1 else each
                for each in inputs
            )
            try:
                per_segment[size] = self._seconds(partial(self._bare, [(network, together)]), warm=True) / size
            except RuntimeError:  # The memory, or a program that was exported for one segment.
                break
        flops = counter.get_total_flops()
        return BareNetwork(precision, per_segment, flops, flops / seconds, self._ceiling(_TYPES[precision]))

    def _ceiling(self, kind: torch.dtype | None) -> float:
        size = 2048 if self.device.type == "cpu" else 8192
        matrix = torch.randn(size, size, device=self.device, dtype=kind)
        return 2 * size**3 / min(self._seconds(lambda: matrix @ matrix) for _ in range(5))

    def _seconds(self, run: Callable[[], object], warm: bool = False) -> float:
        if warm:
            run()
        watch = Stopwatch(self.device)
        with watch.running():
            run()
        return watch.seconds

    def _precision(self, precision: Precision) -> torch.autocast:
        kind = _TYPES[precision]
        return torch.autocast(self.device.type, dtype=kind, enabled=kind is not None)


class _Library:
    """The separator's own library in a process of its own; `there` is False for a family that has none."""

    def __init__(self, separator: Separator, mixture: Tensor, device: torch.device) -> None:
        self.there = separator.library_pass() is not None
        if self.there:
            context = get_context("spawn")
            self._connection, theirs = context.Pipe()
            threads = torch.get_num_threads()
            self._process = context.Process(
                target=_serve, args=(theirs, separator, mixture, device, threads), daemon=True
            )
            self._process.start()
            theirs.close()
            self.run(1)

    def run(self, passes: int) -> tuple[float, int | None]:
        """Seconds and peak memory of so many passes.

        Raises:
            MdxError: If the process has ended, by an error or for want of memory.
        """
        try:
            self._connection.send(passes)
            answer: tuple[float, int | None] = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            raise MdxError(
                f"the separator's own library ended with exit code {self._process.exitcode} in its process (its message"
                " stands above, unless it was killed for want of memory); a shorter --data.chunk needs less"
            ) from None
        return answer

    def close(self) -> None:
        if self.there:
            self._connection.send(0)
            self._process.join()


def _serve(connection: Connection, separator: Separator, mixture: Tensor, device: torch.device, threads: int) -> None:
    torch.set_num_threads(threads)
    run = separator.to(device).library_pass()
    assert run is not None
    mixture = mixture.to(device)
    with torch.inference_mode():
        while passes := connection.recv():
            restart_peak_memory(device)
            watch = Stopwatch(device)
            with watch.running():
                for _ in range(passes):
                    run(mixture)
            connection.send((watch.seconds, peak_memory(device)))


def write_benchmark(costs: list[Cost], floors: list[BareNetwork], title: str, path: Path) -> None:
    """Print the table of ratios and write everything as JSON.

    Args:
        costs: What the contenders cost.
        floors: What the networks alone can do.
        title: Heading of the table.
        path: The file to write.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("run", no_wrap=True)
    for name in ("calls", "s", "x bare", "x library", "MiB", "SNR dB", "SI-SDR"):
        table.add_column(name, justify="right")
    for precision in dict.fromkeys(cost.precision for cost in costs):
        table.add_row(f"[bold]{precision}[/bold]")
        for cost in (cost for cost in costs if cost.precision == precision):
            table.add_row(
                cost.run, _text(cost.forwards, "d"), _text(cost.seconds, ".2f"),
                _text(cost.over_floor, ".3f"), _text(cost.speedup, ".2f"),
                _text(None if cost.memory is None else cost.memory / 2**20, ".0f"),
                _text(cost.snr, ".1f"), _text(cost.change, "+.3f"),
            )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        "calls: of networks. x bare: time over that of the same calls alone, at this precision. x library: how many"
        " times faster than the separator's own library in float32 for as many passes. MiB: peak memory. SNR, SI-SDR:"
        " estimates against, and change from, those in float32, in dB, worst target.",
        highlight=False,
    )
    for floor in floors:
        sizes = ", ".join(f"{size}: {seconds:.3f} s" for size, seconds in floor.per_segment.items())
        console.print(
            f"{floor.precision}: a segment takes, by the number that go through together, {sizes};"
            f" {floor.flops / 1e9:.0f} GFLOP a pass at {floor.rate / 1e12:.3g} TFLOP/s,"
            f" {floor.rate / floor.ceiling:.0%} of a large matrix product",
            highlight=False,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "title": title,
        "costs": [cost._asdict() for cost in costs],
        "floors": [floor._asdict() for floor in floors],
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"wrote {path}", highlight=False)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
