"""Reading audio: soundfile for what libsndfile knows, PyAV for the rest (m4a, mp4, native stems, video)."""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from mdx_progressive.errors import MdxError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".w64", ".rf64"}
)
"""What a folder is searched for; a file that is named itself may end in anything."""

_LONGEST_FRAME = 4096


@dataclass(frozen=True)
class AudioStream:
    """One audio stream of a file.

    Args:
        path: The file.
        stream: Number of the audio stream within it; native stems files (.stem.mp4) have several.
    """

    path: Path
    stream: int = 0

    def read(self) -> tuple[Tensor, int]:
        """Waveform (channel, time), float32 with full scale at 1, and the sample rate in Hz.

        Raises:
            MdxError: If the file is missing, holds no audio, no samples, more than two channels, NaN or infinity.
        """
        if not self.path.is_file():
            raise MdxError(f"{self.path}: {'not a file' if self.path.exists() else 'no such file'}")
        samples, sample_rate = self._decode()
        if samples.shape[-1] == 0:
            raise MdxError(f"{self.path}: holds no samples")
        if samples.shape[0] > 2:
            raise MdxError(f"{self.path}: has {samples.shape[0]} channels; mono and stereo can be separated")
        waveform = torch.from_numpy(samples)
        if not torch.isfinite(waveform).all():
            place = int((~torch.isfinite(waveform).all(dim=0)).nonzero()[0])
            raise MdxError(
                f"{self.path}: a sample is not a number or infinite, the first at {place / sample_rate:.3f} s"
            )
        return waveform, sample_rate

    def _decode(self) -> tuple[NDArray[np.float32], int]:
        if self.stream == 0:
            try:
                samples, sample_rate = soundfile.read(self.path, dtype="float32", always_2d=True)
                return np.ascontiguousarray(samples.T), int(sample_rate)
            except soundfile.LibsndfileError:
                pass  # Not a format of libsndfile: FFmpeg may know it.
        try:
            return self._decode_with_ffmpeg()
        except (av.FFmpegError, IndexError) as error:
            reason = "it has no such audio stream" if isinstance(error, IndexError) else error.strerror
            raise MdxError(f"{self.path}: no audio could be read from it ({reason})") from error

    def _decode_with_ffmpeg(self) -> tuple[NDArray[np.float32], int]:
        with av.open(str(self.path)) as container:
            stream = container.streams.audio[self.stream]
            planar = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
            frames = [part for frame in container.decode(stream) for part in planar.resample(frame)]
            frames += planar.resample(None)
            blocks = [frame.to_ndarray() for frame in frames]
            empty = np.zeros((stream.channels, 0), dtype=np.float32)
            samples = np.concatenate([empty, *blocks], axis=1)
            if stream.duration and stream.time_base:
                # What an encoder added to fill its last frame is not music; FFmpeg cuts it off only at the beginning.
                length = round(stream.duration * stream.time_base * stream.rate)
                if 0 < samples.shape[1] - length < _LONGEST_FRAME:
                    samples = samples[:, :length]
            return np.ascontiguousarray(samples), int(stream.rate)


def resample(waveform: Tensor, before: int, after: int) -> Tensor:
    """Change the sample rate with soxr's very-high-quality filter.

    Args:
        waveform: Waveform, on the CPU.
        before: Its sample rate in Hz.
        after: The wanted sample rate in Hz.

    Shape:
        - waveform: (channel, time)
        - result: (channel, round(time * after / before))
    """
    if before == after:
        return waveform
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(waveform.T.numpy(), before, after, quality="VHQ").T))
