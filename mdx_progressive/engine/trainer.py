"""Lightning's Trainer with two further commands: `benchmark` and `tune`."""

import logging
from pathlib import Path

from lightning.pytorch import Trainer

from mdx_progressive.data import SongDataModule
from mdx_progressive.engine.benchmark import Benchmark, Precision
from mdx_progressive.engine.benchmark_table import write_benchmark
from mdx_progressive.engine.bfloat16 import has_bfloat16
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.tuning import OfflineSearch, Tuning
from mdx_progressive.runtime import MdxError, counted

log = logging.getLogger(__name__)


class ProgressiveTrainer(Trainer):
    """Lightning's Trainer with `benchmark` and `tune`."""

    def benchmark(
        self,
        model: ProgressiveDemixing,
        datamodule: SongDataModule,
        precisions: list[Precision] | None = None,
        rounds: int = 3,
        json: str | Path = Path("logs/benchmark.json"),
    ) -> None:
        """Measure what `model.method` costs on this machine, on the first chunk of the songs with stems.

        Args:
            model: The separator and the method.
            datamodule: Where the chunk comes from.
            precisions: Precisions beside float32; by default bf16-mixed, which a CPU must have instructions for, and
                16-mixed too on a GPU.
            rounds: How often everything is run; ratios are medians.
            json: File that everything is written to.

        Raises:
            MdxError: If `rounds` is below 1, or the songs hold no chunk.
        """
        if rounds < 1:
            raise MdxError(f"rounds must be 1 or more, not {rounds}")
        device = self.strategy.root_device
        if precisions is None:
            precisions = ["bf16-mixed"] if device.type == "cpu" else ["bf16-mixed", "16-mixed"]
            precisions = precisions if has_bfloat16(device) else []
        datamodule.setup("test")
        batch = next(iter(datamodule.test_dataloader()), None)
        if batch is None or not batch.origins:
            raise MdxError("benchmark needs a chunk of music: give songs with stems, --data.root FOLDER")
        costs, networks = Benchmark(model.separator, model.method, model.targets, batch, device, rounds).run(precisions)
        seconds = batch.mixture.shape[-1] / model.separator.sample_rate
        title = f"{type(model.separator).__name__} on {seconds:.1f} s of {batch.origins[0].song}, {device}"
        write_benchmark(costs, networks, title, Path(json))

    def tune(
        self,
        model: ProgressiveDemixing,
        datamodule: SongDataModule,
        tuner: OfflineSearch | None = None,
        to: str | Path = Path("tuned.yaml"),
    ) -> None:
        """Fit the schedule of `model.method` on songs with stems, and write it as YAML for a method to use.

        It runs in one process, on the first of the devices.

        Args:
            model: The separator and the method.
            datamodule: The songs.
            tuner: The search for the weight of each step and source; by default OfflineSearch over its own candidates.
            to: File that the schedule is written to.

        Raises:
            MdxError: If the method has no schedule that a search could replace, or the songs hold no chunk.
        """
        datamodule.setup("test")
        songs = Tuning(model.separator, model.method, model.targets, tuner or OfflineSearch()).write(
            Path(to), datamodule.test_dataloader(), self.strategy.root_device, self.precision_plugin.forward_context
        )
        count = counted(len(songs), "song")
        log.info("fitted on %s, wrote %s; to use it: --model.method.schedule %s", count, to, to)
