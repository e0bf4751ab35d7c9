"""What the callbacks find around them: the run's folder, its songs, and TensorBoard's writer."""

from pathlib import Path
from typing import TypeVar

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from mdx_progressive.data import SongDataModule

T = TypeVar("T")


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run; all processes have to ask for it together, or they wait for each other."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def songs_of(trainer: Trainer) -> SongDataModule | None:
    """Where the songs of the run come from; None where the trainer was handed other data."""
    datamodule = getattr(trainer, "datamodule", None)
    return datamodule if isinstance(datamodule, SongDataModule) else None


def gathered(trainer: Trainer, found: T) -> list[T]:
    """What each of the processes has found; all have to ask for it together."""
    if trainer.world_size == 1:
        return [found]
    everywhere = [found] * trainer.world_size
    torch.distributed.all_gather_object(everywhere, found)
    return everywhere


def tensorboard_writer(trainer: Trainer) -> SummaryWriter | None:
    """The writer of a run's own folder; None without a TensorBoardLogger, and in all processes but the first."""
    if not trainer.is_global_zero:
        return None
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            experiment: SummaryWriter = logger.experiment
            return experiment
    return None
