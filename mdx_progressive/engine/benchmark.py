"""What a method costs on this machine, as ratios to bare forward passes and to the separator's own library.

Every round times all contenders one after the other, so that a machine whose speed drifts slows them alike, and
ratios are medians of the rounds' ratios. The library runs in a process of its own, as its own tool would, without
what this package does to the process.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics.functional.audio import signal_noise_ratio
from tqdm import tqdm

from mdx_progressive.data import ChunkBatch
from mdx_progressive.engine.library_process import LibraryProcess
from mdx_progressive.engine.method_runner import MethodRunner
from mdx_progressive.evaluation import si_sdr
from mdx_progressive.progressive import Method
from mdx_progressive.runtime import (
    Stopwatch,
    counted,
    keep_layer_memory,
    peak_memory,
    reset_peak_memory,
)
from mdx_progressive.separators import Separator

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

_TYPES = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_Forward = tuple[nn.Module, tuple[Any, ...]]


class Cost(NamedTuple):
    """The cost of one contender.

    Args:
        run: Name of the contender.
        precision: Precision of the arithmetic.
        forwards: Forward passes of networks; None where they can't be counted.
        seconds: Median time.
        over_bare: Median ratio to the same forward passes alone, at the same precision.
        speedup: Median ratio of the library's time for as many passes, in float32, to this.
        memory: Peak memory in bytes: of the accelerator, or of the whole process on the CPU.
        snr: The estimates against those in float32, worst target, in dB.
        change: Change of SI-SDR against float32, worst target, in dB.
    """

    run: str
    precision: str
    forwards: int | None
    seconds: float
    over_bare: float | None = None
    speedup: float | None = None
    memory: int | None = None
    snr: float | None = None
    change: float | None = None


class NetworkCost(NamedTuple):
    """What the networks alone reach at one precision.

    Args:
        precision: Precision of the arithmetic.
        per_segment: Seconds for each segment, by the number of segments that go through together.
        flops: Floating-point operations of one pass over the chunk.
        rate: Operations per second that the bare forward passes reach.
        peak_rate: Operations per second of one large matrix product, the upper limit of this device.
    """

    precision: str
    per_segment: dict[int, float]
    flops: int
    rate: float
    peak_rate: float


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
        self.library = LibraryProcess(separator, batch.mixture, device)
        self.separator = separator.to(device)
        self.method = method
        self.targets = targets
        self.runner = MethodRunner(self.separator, targets)
        self.batch = batch.to(device)
        self.device = device
        self.rounds = rounds
        self.passes = 1
        self.float32_estimates: Tensor | None = None

    def run(self, precisions: Sequence[Precision]) -> tuple[list[Cost], list[NetworkCost]]:
        """Measure at each precision; float32 always comes first, as the reference of the others.

        Args:
            precisions: The precisions.
        """
        costs, networks = [], []
        wanted: list[Precision] = ["32-true", *(each for each in precisions if each != "32-true")]
        rounds = len(wanted) * self.rounds
        with torch.inference_mode(), tqdm(total=rounds, desc="benchmark", unit="round", disable=None) as bar:
            for precision in wanted:
                bar.set_postfix_str(precision)
                with self._precision(precision):
                    one, _ = self._forwards(self._one_pass)
                    costs += self._measure(precision, one, bar.update)
                    networks.append(self._network_cost(precision, one))
            self.library.close()
        return costs, networks

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
            reset_peak_memory(self.device)
            times["steps"] = self._seconds(self._steps)
            memory = peak_memory(self.device)
            if self.library.available:
                times["library"], _ = self.library.run(1)
                times["library steps"], library_memory = self.library.run(self.passes)
            rounds.append(times)
            done(1)

        def median(name: str) -> float:
            return statistics.median(times[name] for times in rounds)

        def ratio(name: str, other: str) -> float | None:
            known = name in rounds[0] and other in rounds[0]
            return statistics.median(times[name] / times[other] for times in rounds) if known else None

        steps = f"{counted(self.method.steps, 'step')}, {counted(len(self.targets), 'target')}"
        costs = []
        if self.library.available and precision == "32-true":
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
        first = self.runner.plain_pass(self.batch, [self.method])
        *_, (last, passes) = self.runner.run(self.method, self.batch, first)
        self.passes = 1 + passes.count
        return last.estimates

    def _bare(self, forwards: list[_Forward]) -> None:
        with keep_layer_memory(), self.separator.precision(self.device):
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
        if self.float32_estimates is None:
            self.float32_estimates = estimates
            return None, None
        snr = signal_noise_ratio(estimates.flatten(2), self.float32_estimates.flatten(2)).amin().item()
        if self.batch.references is None or self.batch.silent is None:
            return snr, None
        numbers = self.separator.target_indices(self.targets)
        references = self.batch.references[:, numbers], self.batch.silent[:, numbers]
        change = si_sdr(estimates, *references) - si_sdr(self.float32_estimates, *references)
        finite = change[change.isfinite()]
        return snr, finite[finite.abs().argmax()].item() if len(finite) else None

    def _network_cost(self, precision: Precision, forwards: list[_Forward]) -> NetworkCost:
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
        return NetworkCost(precision, per_segment, flops, flops / seconds, self._peak_rate(_TYPES[precision]))

    def _peak_rate(self, kind: torch.dtype | None) -> float:
        size = 2048 if self.device.type == "cpu" else 8192
        matrix = torch.randn(size, size, device=self.device, dtype=kind)
        return 2 * size**3 / min(self._seconds(lambda: matrix @ matrix) for _ in range(5))

    def _seconds(self, run: Callable[[], object], warm: bool = False) -> float:
        if warm:
            run()
        watch = Stopwatch(self.device)
        with watch.measure():
            run()
        return watch.seconds

    def _precision(self, precision: Precision) -> torch.autocast:
        kind = _TYPES[precision]
        return torch.autocast(self.device.type, dtype=kind, enabled=kind is not None)
