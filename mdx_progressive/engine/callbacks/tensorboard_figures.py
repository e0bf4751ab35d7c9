"""Charts as images in TensorBoard, large enough to be read."""

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

_WIDTH = 1600
"""Pixels."""


def add_wide_figure(writer: SummaryWriter, tag: str, figure: Figure) -> None:
    """Log a chart, whatever its size in inches, as an image of that width."""
    figure.set_dpi(_WIDTH / figure.get_figwidth())
    writer.add_figure(tag, figure)
