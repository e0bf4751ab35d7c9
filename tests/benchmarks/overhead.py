"""What the package adds to bare forward passes of the network: paired medians, as ratios.

    python -m tests.benchmarks.overhead
    python -m tests.benchmarks.overhead --weights htdemucs.safetensors

The floor is the networks alone, on inputs of the right shape that lie ready, called as often as the run calls them.
Against it stand one pass over a chunk, and N steps of K targets (1 + N K passes). Each round times the floor right
beside what is compared with it, so that a machine whose speed drifts slows both.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from mdx_progressive.progressive import progressive
from mdx_progressive.schedules import Linear
from mdx_progressive.separators import DemucsSeparator, Separator, SpleeterSeparator


def recorded_inputs(networks: list[nn.Module], run: Callable[[], object]) -> list[tuple[nn.Module, Tensor]]:
    """The forward passes that a run makes."""
    seen: list[tuple[nn.Module, Tensor]] = []

    def record(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append((network, inputs[0].clone()))

    hooks = [network.register_forward_pre_hook(record) for network in networks]
    run()
    for hook in hooks:
        hook.remove()
    return seen


def ratio(run: Callable[[], object], floor: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of the floor, and median ratio of the run to the floor beside it."""

    def seconds(function: Callable[[], object]) -> float:
        begin = time.perf_counter()
        function()
        return time.perf_counter() - begin

    run(), floor()
    pairs = [(seconds(run), seconds(floor)) for _ in range(rounds)]
    return statistics.median(bare for _, bare in pairs), statistics.median(whole / bare for whole, bare in pairs)


def measure(separator: Separator, networks: list[nn.Module], seconds: float, steps: int, rounds: int) -> None:
    mixture = 0.1 * torch.randn(1, separator.channels, int(seconds * separator.sample_rate))
    weights = Linear(0.5).weights(steps)
    runs: dict[str, Callable[[], object]] = {
        "one pass": lambda: separator(mixture),
        f"{steps} steps, one target": lambda: list(
            progressive(partial(separator, targets=separator.sources[:1]), mixture, weights)
        ),
        f"{steps} steps, {len(separator.sources)} targets": lambda: list(progressive(separator, mixture, weights)),
    }
    for name, run in runs.items():
        passes = recorded_inputs(networks, run)

        def floor(passes: list[tuple[nn.Module, Tensor]] = passes) -> None:
            for network, inputs in passes:
                network(inputs)

        bare, times = ratio(run, floor, rounds)
        print(
            f"{type(separator).__name__:20} {name:24} {len(passes):4} forwards {bare:8.2f} s  {times:6.3f} x the floor"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="a Demucs network to measure too")
    parser.add_argument("--seconds", type=float, default=11.0, help="length of the chunk")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with torch.inference_mode():
        spleeter = SpleeterSeparator()
        measure(spleeter, list(spleeter.networks), args.seconds, args.steps, args.rounds)
        if args.weights:
            demucs = DemucsSeparator(weights=args.weights)
            measure(demucs, list(demucs.networks), args.seconds, args.steps, args.rounds)
