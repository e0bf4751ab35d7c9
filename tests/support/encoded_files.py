"""Real files, encoded by the FFmpeg of PyAV."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def encode(
    path: Path,
    samples: np.ndarray,
    codec: str,
    rate: int,
    layout: str = "stereo",
    kind: str | None = None,
    **options: str,
) -> Path:
    """Write samples (time, channel) with one of FFmpeg's codecs.

    `kind` is FFmpeg's name of the format, by default that of the suffix; `options` are those of the format.
    """
    with av.open(str(path), "w", format=kind, options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 64_000 * samples.shape[1]
        # A packed frame: PyAV can't write to planes beyond the eighth.
        packed = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path
