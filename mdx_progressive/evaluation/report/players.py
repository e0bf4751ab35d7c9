"""The players of a report: for each song and source its takes, with their sound and their pictures."""

import base64
import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from mdx_progressive.evaluation.audio_clips import FOLDER, AudioClip, Excerpt, read_index
from mdx_progressive.evaluation.report.findings import Findings
from mdx_progressive.runtime import MdxError

_COLUMNS, _BANDS = 600, 96
"""Size of a picture."""
_RANGE = 80.0
"""dB below the loudest band of all takes of a player at which a picture is black."""
_FFT = 2048
_HIGHEST = 16_000
"""Hz up to which the pictures go: coding leaves out what lies far above."""


class Track(NamedTuple):
    """A take as a player has it.

    Args:
        label: What it is.
        note: What else there is to say of it.
        value: Its value in the metric; NaN where it has none.
        sound: Its place among the sounds of the page.
        picture: Its spectrogram, as the address of an image.
    """

    label: str
    note: str
    value: float
    sound: int
    picture: str


class Player(NamedTuple):
    """The takes of one source of one song.

    Args:
        source: Name of the source.
        tracks: The takes.
    """

    source: str
    tracks: list[Track]


class Listening(NamedTuple):
    """All there is to hear on the page.

    Args:
        songs: For each excerpt its players.
        sounds: The sound files as base64; a mixture is there once for all sources.
    """

    songs: list[tuple[Excerpt, list[Player]]]
    sounds: list[str]


def listening(findings: Findings) -> Listening:
    """Read the sound of a run, and draw it.

    Args:
        findings: What the run has found.

    Raises:
        MdxError: If the list of sound files is damaged, or a file can't be read.
    """
    folder = findings.run.folder / FOLDER
    excerpts = read_index(folder)
    files = list(dict.fromkeys(take.file for each in excerpts for takes in each.takes.values() for take in takes))
    sounds = [base64.b64encode((folder / file).read_bytes()).decode("ascii") for file in files]
    levels = {file: _levels(folder / file) for file in tqdm(files, desc="pictures of the sound", disable=None)}
    songs = []
    for excerpt in excerpts:
        players = []
        for source, takes in excerpt.takes.items():
            loudest = max(float(levels[take.file].max()) for take in takes)
            tracks = [
                Track(
                    *_words(take, excerpt), _value(findings, excerpt, source, take), files.index(take.file),
                    _picture(levels[take.file] - loudest),
                )
                for take in takes
            ]  # fmt: skip
            players.append(Player(source, tracks))
        songs.append((excerpt, players))
    return Listening(songs, sounds)


def _words(take: AudioClip, excerpt: Excerpt) -> tuple[str, str]:
    """What a take is called, and what else there is to say of it."""
    match take.kind:
        case "mixture":
            return "mixture", "what was separated"
        case "one-pass":
            return "one pass", "no step is better" if take.best else ""
        case "step":
            return f"{excerpt.method}, step {take.step}", "its best step, in hindsight" if take.best else ""
        case "oracle":
            return f"oracle, step {take.step}", "told the true stem"
        case "reference":
            return "reference", "the true stem"


def _value(findings: Findings, excerpt: Excerpt, source: str, take: AudioClip) -> float:
    methods = {"one-pass": findings.baseline, "step": excerpt.method, "oracle": findings.oracle_method}
    method = methods.get(take.kind)
    if method is None or take.step is None:
        return math.nan
    return findings.value(excerpt.song, excerpt.chunk, source, method, take.step)


def _levels(path: Path) -> NDArray[np.float64]:
    """The mel spectrogram of a file in dB, the highest band first."""
    from librosa.feature import melspectrogram

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise MdxError(f"{path} can't be read ({error}); run `mdx-progressive test` again") from error
    power = melspectrogram(
        y=np.pad(samples.mean(axis=1), (0, _FFT)), sr=rate, n_fft=_FFT, hop_length=max(1, len(samples) // _COLUMNS),
        n_mels=_BANDS, fmax=min(_HIGHEST, rate / 2),
    )  # fmt: skip
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power[::-1, :_COLUMNS], 1e-12))
    return levels


def _picture(levels: NDArray[np.float64]) -> str:
    """Levels in dB, 0 the brightest, as a small image."""
    colours = colormaps["magma"](1 + levels / _RANGE, bytes=True)[..., :3]
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(written, "WEBP", quality=55, method=6)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode("ascii")
