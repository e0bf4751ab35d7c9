"""What happens in `predict`, for machines: an object of JSON on each line."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.data import Failure, Origin, Prediction
from mdx_progressive.engine.callbacks.run_context import datamodule_of
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.progress_rate import ProgressRate
from mdx_progressive.runtime import RESUME_HINT, MdxError, all_gather

STDOUT = "-"


class EventLog(Callback):
    """Tells of songs and blocks as they are begun and done. Each line has its `event`, `time` and `process`.

    Args:
        to: File that lines are added to; - is stdout, where nothing else is written then; None tells nobody.
    """

    def __init__(self, to: str | None = None) -> None:
        self.to = to
        self._stdout = sys.stdout
        self._lock = Lock()
        self._rank = 0
        self._early: list[dict[str, Any]] | None = []
        """What has happened before the run was announced; None from then on."""
        self._begin = time.time()
        self._pace: ProgressRate | None = None
        self._passes = 0
        self._begun: set[str] = set()
        self._written: set[str] = set()
        self._failed: set[str] = set()
        self._left = 0
        self._network = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Announce the run, when what is done already has been left out."""
        datamodule = datamodule_of(trainer)
        if self.to is None or stage != "predict" or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        self._rank = trainer.global_rank
        origins = datamodule.plan()
        if trainer.is_global_zero:
            everything = ProgressRate(origins, pl_module.separator.sample_rate, pl_module.separator.crossfade)
            early, self._early = self._early, None
            self._tell(
                "run_started",
                songs=len({origin.song for origin in origins}),
                seconds=round(everything.total, 3),
                blocks=len(origins),
                passes=len(origins) * pl_module.method.passes,
                processes=trainer.world_size,
            )
            for line in early or []:
                self._write(line)
            self._left = len(datamodule.claimed_elsewhere)
            for song in datamodule.claimed_elsewhere:
                self._tell("song_left", song=song)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = datamodule_of(trainer)
        if self.to is None or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        self._early = None  # What one process tells before, all know.
        self._pace = ProgressRate(datamodule.own_plan(), pl_module.separator.sample_rate, pl_module.separator.crossfade)
        if self._count not in pl_module.watchers:
            pl_module.watchers.append(self._count)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._passes = 0
        for origin in batch.origins[:1] if self._pace else []:
            if origin.song not in self._begun:
                self._begun.add(origin.song)
                seconds = round(origin.length / origin.sample_rate, 3)
                self._tell("song_started", song=origin.song, seconds=seconds, blocks=origin.blocks)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._pace and isinstance(outputs, Prediction):
            self._network += outputs.seconds
            for origin in outputs.origins[:1]:
                self._block_done(self._pace, origin)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the counts of all processes together."""
        if self.to is not None:
            found = all_gather((self._written, self._failed), trainer.world_size)
            self._written = set().union(*(written for written, _ in found))
            self._failed = set().union(*(failed for _, failed in found))

    def song_written(self, song: str, files: list[Path]) -> None:
        """Tell that the files of a song are there; any thread may call it."""
        self._written.add(song)
        self._tell("song_written", song=song, files=[str(file) for file in files])

    def song_failed(self, failure: Failure) -> None:
        """Tell that a song was left out."""
        self._failed.add(failure.song)
        self._tell("song_failed", song=failure.song, reason=failure.line)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Keep others from stdout if it is ours, and tell how the run within ends, whatever happens."""
        if self.to is None:
            yield
            return
        code, error, self._begin = 1, None, time.time()
        try:
            with redirect_stdout(sys.stderr):
                yield
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
            raise
        except Exception as raised:
            error = str(raised)
            raise
        finally:
            if self._rank == 0:
                self._end(code, error)

    def _end(self, code: int, error: str | None) -> None:
        early, self._early = self._early, None
        for line in early or []:
            self._write(line)
        self._tell(
            "run_ended",
            written=len(self._written),
            failed=len(self._failed),
            left=self._left,
            seconds=round(time.time() - self._begin, 3),
            loop_seconds=round(self._pace.elapsed, 3) if self._pace else 0.0,
            network_seconds=round(self._network, 3),
            exit_code=code,
            error=error,
        )

    def _block_done(self, pace: ProgressRate, origin: Origin) -> None:
        pace.add(origin)
        left = pace.time_left()
        self._tell(
            "block_done",
            song=origin.song,
            block=origin.chunk + 1,
            blocks=origin.blocks,
            passes=self._passes,
            seconds=round(pace.audio_seconds(origin), 3),
            real_time_factor=round(pace.real_time_factor, 3),
            time_left=None if left is None else round(left, 3),
        )

    def _count(self, method: str, passes: int) -> None:
        self._passes += passes

    def _tell(self, event: str, **facts: Any) -> None:
        line = {"event": event, "time": round(time.time(), 3), "process": self._rank, **facts}
        if self.to is None:
            return
        if self._early is None:
            self._write(line)
        else:
            self._early.append(line)

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line) + "\n"
        try:
            with self._lock:
                if self.to == STDOUT:
                    self._stdout.write(text)
                    self._stdout.flush()
                elif self.to is not None:
                    # A line of its own even beside those of other processes: it is appended at once.
                    with Path(self.to).open("ab", buffering=0) as file:
                        file.write(text.encode())
        except OSError as error:
            raise MdxError(f"log_json: {self.to} could not be written to ({error.strerror}); {RESUME_HINT}") from error
