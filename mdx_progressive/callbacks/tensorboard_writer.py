"""Where the callbacks for TensorBoard write to."""

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard import SummaryWriter


def tensorboard_writer(trainer: Trainer) -> SummaryWriter | None:
    """The writer of a run's own folder; None without a TensorBoardLogger, and in all processes but the first."""
    if not trainer.is_global_zero:
        return None
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            experiment: SummaryWriter = logger.experiment
            return experiment
    return None
