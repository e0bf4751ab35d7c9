"""The peak memory of `predict` on songs of several lengths, of music that repeats.

    python -m tests.benchmarks.memory --seconds 60 200 600 [options of `predict`]

The built-in clip is looped, and separated in a process of its own for each length: with a small random HTDemucs and the
method that is recommended for it, unless other options are given.
"""

import argparse
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
import torch
from demucs.htdemucs import HTDemucs

from mdx_progressive.data.song import builtin_clip
from tests.support.demucs_weights import save_safetensors
from tests.support.paths import CONFIGS, STUDY_HTDEMUCS
from tests.support.signals import SOURCES


def loop(path: Path, seconds: float) -> None:
    """Write the clip again and again, up to a length."""
    clip = builtin_clip().mixture
    assert clip is not None
    waveform, rate = clip.read()
    left = int(seconds * rate)
    with soundfile.SoundFile(path, "w", rate, len(waveform), "FLOAT") as file:
        while left > 0:
            file.write(waveform[:, :left].T.numpy())
            left -= waveform.shape[-1]


def small(path: Path) -> list[str]:
    """The options for an HTDemucs whose segments are as long as those of the published one."""
    torch.manual_seed(0)
    network = HTDemucs(
        SOURCES, channels=8, growth=2, bottom_channels=32, t_layers=1, t_heads=2, segment=Fraction(39, 5), dconv_mode=3
    )
    method = CONFIGS / "method" / "recommended-htdemucs.yaml"
    weights = ["--model.separator.weights", str(save_safetensors(network, path)), "--model.method", str(method)]
    return ["-c", str(STUDY_HTDEMUCS), *weights]


def main() -> None:
    """Print a line for each length, the shortest one first: peaks are told of the largest process so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60, 200])
    given, more = parser.parse_known_args()
    with TemporaryDirectory() as place:
        settings = more or small(Path(place, "small.safetensors"))
        for seconds in sorted(given.seconds):
            loop(song := Path(place, f"{seconds:g}.wav"), seconds)
            places = ["--data.input", str(song), "--out", place]
            subprocess.run([sys.executable, "-m", "mdx_progressive", "predict", *settings, *places], check=True)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            print(f"{seconds:g} s: {peak // 1024} MiB", flush=True)


if __name__ == "__main__":
    main()
