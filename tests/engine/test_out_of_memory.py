"""Memory that is wanting for real: the address space of a process is limited, and its allocators refuse."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import soundfile
import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor

from mdx_progressive.cli.main import main
from mdx_progressive.runtime.memory import keep_freed_memory
from mdx_progressive.separators.batch_size import BatchSizeFinder
from tests.support.demucs_weights import small_network
from tests.support.paths import STUDY_HTDEMUCS
from tests.support.processes import Running
from tests.support.signals import RATE, noise

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="address spaces are not limited here")
SEGMENTS = 12


def limit(mebibytes: int) -> None:
    """Let this process have so much more than it has."""
    status = Path("/proc/self/status").read_text().splitlines()
    size = next(int(line.split()[1]) for line in status if line.startswith("VmSize")) * 1024
    most = size + mebibytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def predict(weights: Path, mebibytes: int) -> None:
    network = (
        "-c",
        STUDY_HTDEMUCS,
        "--model.separator.weights",
        weights,
        "--model.separator.batch_size",
        24,
    )
    places = ("--data.input", "a.wav", "--out", "out", "--trainer.logger", "false", "--model.method.steps", "0")
    limit(mebibytes)
    sys.exit(main(tuple(map(str, ("predict", *network, *places)))))


# Not the least that is possible: where it is the C library that lacks some bytes for itself, it aborts the process.
@pytest.mark.parametrize("mebibytes", [120, 300])
def test_what_no_allocator_gives_is_one_line(own_folder: Path, small_htdemucs_file: Path, mebibytes: int) -> None:
    soundfile.write("a.wav", noise(20).T.numpy(), RATE)

    ended = Running(predict, small_htdemucs_file, mebibytes).wait()

    assert ended.exit_code == 1, ended.err
    assert ended.err.splitlines()[-1].startswith("mdx-progressive: error: out of memory (")
    assert "Traceback" not in ended.err
    assert not list(Path("out").rglob("*.wav"))


def halve(place: Path, mebibytes: int) -> None:
    keep_freed_memory()
    network, sizes = small_network(HTDemucs), []

    def counted(batch: Sequence[Tensor]) -> Tensor:
        made: Tensor = network(torch.stack(list(batch)))
        sizes.append(len(batch))
        return made

    segments = [noise(1, seed=seed) for seed in range(SEGMENTS)]
    with torch.inference_mode():
        alone = torch.cat([network(segment[None]) for segment in segments])
        counted(segments[:2])
        limit(mebibytes)
        sizes.clear()
        made = torch.cat([part for _, part in BatchSizeFinder().run(segments, torch.device("cpu"), SEGMENTS, counted)])
    torch.save((sizes, float((made - alone).abs().max())), place)


def test_a_batch_that_the_allocator_refuses_is_halved(own_folder: Path) -> None:
    # The least that holds one segment differs from process to process.
    for mebibytes in (120, 180, 240, 320, 400):
        ended = Running(halve, own_folder / "result.pt", mebibytes).wait()
        if ended.exit_code == 0:
            break

    assert ended.exit_code == 0, ended.err
    sizes, error = torch.load("result.pt")
    assert sum(sizes) == SEGMENTS
    assert 1 <= max(sizes) < SEGMENTS
    assert error < 1e-5
