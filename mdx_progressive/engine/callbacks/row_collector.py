"""The callback that keeps what `test` measures as a table in memory."""

from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.engine.module import TestOutput
from mdx_progressive.evaluation import Row, to_table
from mdx_progressive.runtime import all_gather


class RowCollector(Callback):
    """Collects the rows of all processes; `table` has the columns of results.csv when the run has ended."""

    def __init__(self) -> None:
        self._rows: list[Row] = []

    @property
    def table(self) -> pd.DataFrame:
        """What was measured, in the order of songs and chunks."""
        rows = sorted(self._rows, key=lambda row: (row.song, row.chunk))
        return to_table(rows)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows.clear()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        output: TestOutput = outputs
        self._rows += output["rows"]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows = [row for process in all_gather(self._rows, trainer.world_size) for row in process]
