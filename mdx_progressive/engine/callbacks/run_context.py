"""What the callbacks find around them: the run's folder, its songs, and TensorBoard's writer."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from mdx_progressive.data import SongDataModule


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run; all processes have to ask for it together, or they wait for each other."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def datamodule_of(trainer: Trainer) -> SongDataModule | None:
    """Where the songs of the run come from; None where the trainer was handed other data."""
    datamodule = getattr(trainer, "datamodule", None)
    return datamodule if isinstance(datamodule, SongDataModule) else None


def tensorboard_writer(trainer: Trainer) -> SummaryWriter | None:
    """The writer of a run's own folder; None without a TensorBoardLogger, and in all processes but the first."""
    if not trainer.is_global_zero:
        return None
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            experiment: SummaryWriter = logger.experiment
            return experiment
    return None
