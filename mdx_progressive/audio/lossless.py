"""Storing audio so that it is read back the same, to the last bit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.io import wavfile
from torch import Tensor

AudioFormat = Literal["flac", "wav"]


@dataclass(frozen=True)
class Storage:
    """A way to store samples.

    Args:
        suffix: Suffix of the file.
        encoding: int16, int24 or float32.
        write: Writes samples (channel, time) at a sample rate to a path. Equal samples make equal bytes.
    """

    suffix: str
    encoding: str
    write: Callable[[Path, Tensor, int], None]


def exact_storage(waveform: Tensor, audio_format: AudioFormat, at_least: int) -> Storage:
    """The smallest storage that holds each sample exactly: integers of 16 or 24 bits, else float32.

    What lies above full scale, or between the steps of 24 bits, is float32, and that is always a wav.

    Args:
        waveform: The samples (channel, time), float32, full scale at 1.
        audio_format: What integers are stored as.
        at_least: Bits that are wanted anyway.

    Example:
        >>> import torch
        >>> [exact_storage(torch.tensor([[value]]), "flac", 16).encoding for value in (0.5, 2.0**-20, 1.0, 2.0**-24)]
        ['int16', 'int24', 'float32', 'float32']
    """
    for bits in (16, 24):
        if bits >= at_least and _holds(bits, waveform):
            return Storage(f".{audio_format}", f"int{bits}", _integers(bits, audio_format))
    return Storage(".wav", "float32", _floats)


def _holds(bits: int, waveform: Tensor) -> bool:
    end = 2 ** (bits - 1)
    steps = waveform.double() * end
    return bool(((steps >= -end) & (steps < end) & (steps == steps.round())).all())


def _integers(bits: int, audio_format: AudioFormat) -> Callable[[Path, Tensor, int], None]:
    def write(path: Path, waveform: Tensor, sample_rate: int) -> None:
        soundfile.write(path, exact_integers(waveform), sample_rate, format=audio_format.upper(), subtype=f"PCM_{bits}")

    return write


def exact_integers(waveform: Tensor) -> NDArray[np.int32]:
    """Samples that lie on the steps of fewer bits, for soundfile to write: its own scaling of floats is not exact.

    Shape:
        - waveform: (channel, time), full scale at 1
        - result: (time, channel), integers of 32 bits, of which libsndfile takes the upper ones
    """
    integers: NDArray[np.int32] = (waveform.double() * 2**31).numpy().T.astype(np.int32)
    return integers


def _floats(path: Path, waveform: Tensor, sample_rate: int) -> None:
    # libsndfile would write the time of day into the file.
    wavfile.write(path, sample_rate, np.ascontiguousarray(waveform.numpy().T))
