"""Runs of `test` whose processes others start: torchrun on two machines (here one), and SLURM's srun."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from torch.distributed.run import main as run_torchrun

from tests.support.command import NARROW
from tests.support.paths import STUDY
from tests.support.processes import Running, run_command, start_command

TWO = (
    *("--trainer.accelerator", "cpu", "--trainer.devices", "1"),
    *("--trainer.num_nodes", "2", "--trainer.strategy", "ddp"),
)


def command(name: str, chunk: str) -> list[str]:
    return [
        *("test", "-c", str(STUDY), *NARROW, "--trainer.logger.init_args.name", name),
        *("--model.compare", "null", "--model.method.steps", "1", "--model.oracle", "false"),
        *("--model.targets", "[vocals]", "--model.metrics", "[Sdr]", "--tensorboard.songs", "0", "--sound.songs", "0"),
        *("--data.all_chunks", "true", "--data.chunk", chunk),
    ]


def torchrun(rank: int, port: int, arguments: list[str]) -> Running:
    """As on the machine of that rank: `torchrun --nnodes 2 …`, which starts an interpreter."""
    address = ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    nodes = ["--nnodes", "2", "--node_rank", str(rank), "--nproc_per_node", "1"]
    return Running(run_torchrun, [*nodes, *address, "-m", "mdx_progressive", *arguments])


def srun(rank: int, port: int, arguments: list[str]) -> Running:
    """With what `srun --nodes 2 --ntasks-per-node 1` puts into the environment of each process."""
    slurm = {
        "JOB_ID": "1", "JOB_NAME": "mdx", "NNODES": "2", "NTASKS": "2", "NTASKS_PER_NODE": "1",
        "NODELIST": "127.0.0.1", "PROCID": str(rank), "NODEID": str(rank), "LOCALID": "0",
    }  # fmt: skip
    environment = {f"SLURM_{name}": value for name, value in slurm.items()}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return start_command(arguments, environment=environment)


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        (torchrun, "1.9"),  # Three chunks, which two processes can't share equally.
        (srun, "6.1"),  # One chunk: a process has nothing to do.
    ],
)
def test_processes_of_two_machines_give_the_table_of_one(
    start: Callable[[int, int, list[str]], Running], chunk: str, own_folder: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ranks = [start(rank, port, [*command("two", chunk), *TWO]) for rank in range(2)]

    try:
        assert run_command(command("one", chunk)).exit_code == 0
        assert [rank.wait().exit_code for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()

    alone, spread = (own_folder / "logs" / name / "version_0" / "results.csv" for name in ("one", "two"))
    assert spread.read_bytes() == alone.read_bytes()
    assert [path.name for path in spread.parents[1].iterdir()] == ["version_0"]
