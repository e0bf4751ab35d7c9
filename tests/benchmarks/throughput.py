"""How much of the time of `predict` is the network's, on a folder of many short songs.

    python -m tests.benchmarks.throughput --songs 40 --format mp3 [more options of `predict`]

It cuts excerpts of 4 to 12 s out of the built-in clip, separates them with Spleeter (one pass, real weights) in a
process of its own, and prints the seconds within the network over those of the loop, as `--log-json` tells them. Both
are of one run, so that a busy machine matters little; --runs repeats it.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from mdx_progressive.data.song import builtin_clip
from tests.support.paths import STUDY


def make(folder: Path, songs: int, kind: str) -> None:
    """Write the excerpts, which differ in length and place."""
    clip = builtin_clip().mixture
    assert clip is not None
    waveform, rate = clip.read()
    twice, chance = np.tile(waveform.T.numpy(), (3, 1)), np.random.default_rng(0)
    for number in range(songs):
        start, length = int(chance.integers(waveform.shape[-1])), int((4 + 8 * chance.random()) * rate)
        soundfile.write(folder / f"{number:03}.{kind}", twice[start : start + length].clip(-1, 1), rate)


def measured(folder: Path, out: Path, kind: str, more: list[str]) -> dict[str, float]:
    """The last event of a run."""
    settings = ["-c", str(STUDY), "--model.method.steps", "0", "--trainer.logger", "false"]
    places = ["--data.input", str(folder), "--out", str(out), "--writer.format", kind, "--log-json", "-"]
    command = [sys.executable, "-m", "mdx_progressive", "predict", *settings, *places, *more]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def main() -> None:
    """Print a line for each run, and the median."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--format", default="wav")
    parser.add_argument("--runs", type=int, default=3)
    given, more = parser.parse_known_args()
    with TemporaryDirectory() as place:
        folder = Path(place, "in")
        folder.mkdir()
        make(folder, given.songs, given.format)
        ratios = []
        for run in range(given.runs):
            ended = measured(folder, Path(place, str(run)), given.format, more)
            ratios.append(ended["network_seconds"] / ended["loop_seconds"])
            print(
                f"{ended['network_seconds']:.1f} s in the network of {ended['loop_seconds']:.1f} s: {ratios[-1]:.3f}",
                flush=True,
            )
    print(f"{given.format}, {given.songs} songs: median {median(ratios):.3f}")


if __name__ == "__main__":
    main()
