"""The callback that logs the events of `predict` for machines: an object of JSON on each line."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.data import Failure, Prediction
from mdx_progressive.engine.callbacks.run_context import song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.progress_rate import ProgressRate
from mdx_progressive.runtime import RESUME_HINT, MdxError, all_gather, escape_lines, text_name

STDOUT = "-"


class EventLog(Callback):
    """Logs songs and blocks as they are begun and done. Each line has its `event`, `time` and `process`.

    Args:
        to: File that lines are added to; - is stdout, where nothing else is written then; None logs nothing.
    """

    def __init__(self, to: str | None = None) -> None:
        self.to = to
        self._stdout = sys.stdout
        self._lock = Lock()
        self._rank = 0
        self._waiting: list[dict[str, Any]] = []
        self._started = False
        self._begin = time.time()
        self._rate: ProgressRate | None = None
        self._passes = 0
        self._begun: set[str] = set()
        self._written: set[str] = set()
        self._failed: set[str] = set()
        self._left = 0
        self._network = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log the start of the run, when what is done already has been left out."""
        datamodule = song_datamodule(trainer)
        if self.to is None or stage != "predict" or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        self._rank = trainer.global_rank
        origins = datamodule.plan()
        if trainer.is_global_zero:
            whole_run = ProgressRate(origins, pl_module.separator.sample_rate, pl_module.separator.crossfade)
            self._log(
                "run_started",
                songs=len({origin.song for origin in origins}),
                seconds=round(whole_run.total, 3),
                blocks=len(origins),
                passes=len(origins) * pl_module.passes_of(pl_module.method),
                processes=trainer.world_size,
            )
            self._left = len(datamodule.claimed_elsewhere)
            for song in datamodule.claimed_elsewhere:
                self._log("song_left", song=song)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        datamodule = song_datamodule(trainer)
        if self.to is None or datamodule is None:
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        self._started = True
        self._waiting.clear()  # What came before is the same in all processes, and the first one has logged it.
        self._rate = ProgressRate(datamodule.own_plan(), pl_module.separator.sample_rate, pl_module.separator.crossfade)
        if self._count not in pl_module.pass_listeners:
            pl_module.pass_listeners.append(self._count)

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *index: int) -> None:
        self._passes = 0
        for origin in batch.origins[:1] if self._rate else []:
            if origin.song not in self._begun:
                self._begun.add(origin.song)
                seconds = round(origin.length / origin.sample_rate, 3)
                self._log("song_started", song=origin.song, seconds=seconds, blocks=origin.blocks)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        if self._rate and isinstance(outputs, Prediction):
            self._network += outputs.seconds
            for origin in outputs.origins[:1]:
                self._rate.add(origin)
                left = self._rate.time_left()
                self._log(
                    "block_done",
                    song=origin.song,
                    block=origin.chunk + 1,
                    blocks=origin.blocks,
                    passes=self._passes,
                    seconds=round(self._rate.audio_seconds(origin), 3),
                    real_time_factor=round(1 / self._rate.speed, 6),
                    time_left=None if left is None else round(left, 3),
                )

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the counts of all processes."""
        if self.to is not None:
            written, failed = zip(*all_gather((self._written, self._failed), trainer.world_size), strict=True)
            self._written, self._failed = set().union(*written), set().union(*failed)

    def song_written(self, song: str, files: list[Path]) -> None:
        """Log that the files of a song are written; any thread may call it."""
        self._written.add(song)
        self._log("song_written", song=song, files=[text_name(file.as_posix()) for file in files])

    def song_failed(self, failure: Failure) -> None:
        """Log that a song was left out."""
        self._failed.add(failure.song)
        self._log("song_failed", song=failure.song, reason=failure.line)

    @contextmanager
    def run(self) -> Iterator[None]:
        """Keep others from stdout if the log goes there, and log how the run within ends, whatever happens."""
        if self.to is None:
            yield
            return
        code, reason, self._begin = 1, None, time.time()
        try:
            with redirect_stdout(sys.stderr):
                yield
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            raise
        except Exception as error:
            code, reason = getattr(error, "exit_code", 1), escape_lines(str(error))
            raise
        finally:
            if self._rank == 0:
                self._log(
                    "run_ended",
                    written=len(self._written),
                    failed=len(self._failed),
                    left=self._left,
                    seconds=round(time.time() - self._begin, 3),
                    loop_seconds=round(self._rate.elapsed, 3) if self._rate else 0.0,
                    network_seconds=round(self._network, 3),
                    exit_code=code,
                    error=reason,
                )

    def _count(self, method: str, passes: int) -> None:
        self._passes += passes

    def _log(self, event: str, **facts: Any) -> None:
        """Log an event; those before the start of the run wait for it, or for the end of a run that never starts."""
        if self.to is None:
            return
        line = {"event": event, "time": round(time.time(), 3), "process": self._rank, **facts}
        with self._lock:
            self._waiting.insert(0 if event == "run_started" else len(self._waiting), line)
            self._started |= event in ("run_started", "run_ended")
            if self._started:
                text = "".join(json.dumps(waiting) + "\n" for waiting in self._waiting)
                self._waiting.clear()
                self._write(self.to, text)

    def _write(self, to: str, text: str) -> None:
        try:
            if to == STDOUT:
                self._stdout.write(text)
                self._stdout.flush()
            else:
                # Appended at once, lines stay whole even beside those of other processes.
                with Path(to).open("ab", buffering=0) as file:
                    rest = text.encode()
                    while rest:  # A disk that is full soon takes a part, and refuses the rest.
                        rest = rest[file.write(rest) :]
        except OSError as error:
            raise MdxError(f"log_json: {to} could not be written to ({error.strerror}); {RESUME_HINT}") from error
