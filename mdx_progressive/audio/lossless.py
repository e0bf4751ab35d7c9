"""Lossless storage: the smallest encoding from which audio is read back the same, to the last bit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from torch import Tensor

from mdx_progressive.audio.sound_output import SoundOutput

AudioFormat = Literal["flac", "wav"]


@dataclass(frozen=True)
class Storage:
    """A way to store samples.

    Args:
        suffix: Suffix of the file.
        encoding: int16, int24 or float32.
    """

    suffix: str
    encoding: str

    def write(self, path: Path, waveform: Tensor, sample_rate: int) -> None:
        """Write samples (channel, time) at a sample rate in Hz. Equal samples make equal bytes."""
        if self.encoding == "float32":  # libsndfile would write the time of day into the file.
            wavfile.write(path, sample_rate, np.ascontiguousarray(waveform.numpy().T))
        else:
            kind, subtype = self.suffix[1:].upper(), self.encoding.replace("int", "PCM_")
            with SoundOutput(path, sample_rate, len(waveform), subtype, kind) as sound:
                sound.write(exact_integers(waveform))


def exact_storage(waveform: Tensor, audio_format: AudioFormat, at_least: int) -> Storage:
    """The smallest storage that holds each sample exactly: integers of 16 or 24 bits, else float32.

    Samples above full scale, or between the steps of 24 bits, need float32, and that is always a wav.

    Args:
        waveform: The samples, float32, full scale at 1.
        audio_format: What integers are stored as.
        at_least: The fewest bits.

    Shape:
        - waveform: (channel, time)

    Example:
        >>> import torch
        >>> [exact_storage(torch.tensor([[value]]), "flac", 16).encoding for value in (0.5, 2.0**-20, 1.0, 2.0**-24)]
        ['int16', 'int24', 'float32', 'float32']
    """
    for bits in (16, 24):
        if bits >= at_least and _fits(bits, waveform):
            return Storage(f".{audio_format}", f"int{bits}")
    return Storage(".wav", "float32")


def _fits(bits: int, waveform: Tensor) -> bool:
    end = 2 ** (bits - 1)
    steps = waveform.double() * end
    return bool(((steps >= -end) & (steps < end) & (steps == steps.round())).all())


def exact_integers(waveform: Tensor) -> NDArray[np.int32]:
    """Samples that lie on the steps of fewer bits, for soundfile to write: its own scaling of floats is not exact.

    Shape:
        - waveform: (channel, time), full scale at 1
        - result: (time, channel), integers of 32 bits, of which libsndfile takes the upper ones
    """
    integers: NDArray[np.int32] = (waveform.double() * 2**31).numpy().T.astype(np.int32)
    return integers
