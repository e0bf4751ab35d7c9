"""Charts as images in TensorBoard, large enough to be read."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter

_WIDTH = 1600
"""Pixels."""
# TensorBoard shows images at a fifth of that width until they are clicked on.
_STYLE: dict[Any, Any] = {"font.size": 13, "lines.linewidth": 2.2}


def add_wide_figure(writer: SummaryWriter, tag: str, draw: Callable[[], Figure]) -> None:
    """Log a chart, whatever its size in inches, as an image of that width with large letters."""
    with mpl.rc_context(_STYLE):
        figure = draw()
        figure.set_dpi(_WIDTH / figure.get_figwidth())
        writer.add_figure(tag, figure)
