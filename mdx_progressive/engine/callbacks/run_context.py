"""What the callbacks share of a run: its folder, its songs, TensorBoard's writer."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter

from mdx_progressive.data import SongDataModule


def run_folder(trainer: Trainer) -> Path:
    """The folder of the run; all processes have to ask for it together, or they wait for each other."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def song_datamodule(trainer: Trainer) -> SongDataModule | None:
    """The data module of the run; None where the trainer was given other data."""
    datamodule = getattr(trainer, "datamodule", None)
    return datamodule if isinstance(datamodule, SongDataModule) else None


def tensorboard_writer(trainer: Trainer) -> SummaryWriter | None:
    """The writer of a run's own folder; None without a TensorBoardLogger, and in all processes but the first."""
    if not trainer.is_global_zero:
        return None
    experiments = (logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger))
    return next(experiments, None)
