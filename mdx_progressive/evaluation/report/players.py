"""The players of a report: the clips of each song and source, with their audio and their spectrograms."""

import base64
import io
import math
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from matplotlib import colormaps
from PIL import Image
from tqdm import tqdm

from mdx_progressive.evaluation.audio_clips import SOUND_FOLDER, AudioClip, Excerpt, read_index
from mdx_progressive.evaluation.report.data import ReportData
from mdx_progressive.evaluation.spectrograms import RANGE_DB, Array, band_levels, mel_bands
from mdx_progressive.runtime import MdxError

_COLUMNS, _BANDS = 600, 96
"""Size of a picture."""
_WINDOW = 2048
_HIGHEST = 16_000
"""Hz up to which the pictures go: MP3 leaves out most above."""


class Track(NamedTuple):
    """A clip in a player.

    Args:
        label: What it is.
        note: A remark on it.
        value: Its value in the metric; NaN if it has none.
        sound: Its position among the audio files of the page.
        picture: Its spectrogram, as a data URL.
    """

    label: str
    note: str
    value: float
    sound: int
    picture: str


class Players(NamedTuple):
    """All that can be played on the page.

    Args:
        songs: Each excerpt with its players: the tracks of each source.
        sounds: The audio files in base64.
        best: Whether the best method can be heard.
    """

    songs: list[tuple[Excerpt, dict[str, list[Track]]]]
    sounds: list[str]
    best: bool


def report_players(data: ReportData) -> Players:
    """The players of a run; none if it has no audio files.

    Of the methods that are no bounds a page has the best one, and the one that the run was made for: with all of them
    it would be too large to be sent.

    Raises:
        MdxError: If the index of audio files is damaged, or a file can't be read.
    """
    folder = data.run.folder / SOUND_FOLDER
    excerpts = read_index(folder)
    chosen = {
        (excerpt.song, source): _chosen_clips(data, excerpt, clips)
        for excerpt in excerpts
        for source, clips in excerpt.clips.items()
    }
    files = list(dict.fromkeys(clip.file for clips in chosen.values() for clip in clips))
    sounds = [base64.b64encode((folder / file).read_bytes()).decode("ascii") for file in files]
    levels = {file: _levels(folder / file) for file in tqdm(files, desc="spectrograms", disable=None)}
    rows = data.run.rows[data.run.rows["song"].isin([excerpt.song for excerpt in excerpts])]
    values = rows.set_index(["song", "chunk", "source", "method", "step"])["value"].to_dict()

    def track(excerpt: Excerpt, source: str, clip: AudioClip, loudest: float) -> Track:
        methods = {"one-pass": data.comparison.baseline, "step": _method(excerpt, clip), "oracle": data.oracle}
        key = (excerpt.song, excerpt.chunk, source, methods.get(clip.kind), clip.step)
        picture = _picture(levels[clip.file] - loudest)
        return Track(*_words(data, excerpt, clip), values.get(key, math.nan), files.index(clip.file), picture)

    songs = []
    for excerpt in excerpts:
        players = {}
        for source in excerpt.clips:
            clips = chosen[excerpt.song, source]
            loudest = max(float(levels[clip.file].max()) for clip in clips)
            players[source] = [track(excerpt, source, clip, loudest) for clip in clips]
        songs.append((excerpt, players))
    heard = {_method(excerpt, clip) for excerpt in excerpts for clip in chain(*excerpt.clips.values())}
    return Players(songs, sounds, data.best is not None and data.best.method in heard)


def _method(excerpt: Excerpt, clip: AudioClip) -> str:
    return clip.method or excerpt.method


def _is_of_best(data: ReportData, excerpt: Excerpt, clip: AudioClip) -> bool:
    """Whether it is the estimate that the report recommends: the last step of the best method."""
    best = data.best
    return clip.kind == "step" and best is not None and (best.method, best.step) == (_method(excerpt, clip), clip.step)


def _chosen_clips(data: ReportData, excerpt: Excerpt, clips: list[AudioClip]) -> list[AudioClip]:
    """The clips of the page: that of the best method stands beside one pass, so that a key switches between them."""
    best = [clip for clip in clips if _is_of_best(data, excerpt, clip)]
    own = [clip for clip in clips if clip.kind == "step" and _method(excerpt, clip) == excerpt.method]
    first = [clip for clip in clips if clip.kind in ("mixture", "one-pass")]
    bounds = [clip for clip in clips if clip.kind in ("oracle", "reference")]
    return [*first, *best, *(clip for clip in own if clip not in best), *bounds]


def _words(data: ReportData, excerpt: Excerpt, clip: AudioClip) -> tuple[str, str]:
    """The label of a clip, and a remark on it."""
    match clip.kind:
        case "mixture":
            return "mixture", "what was separated"
        case "one-pass":
            return "one pass", f"no step of “{excerpt.method}” is better here" if clip.best else ""
        case "step":
            best_method = "the best method" if _is_of_best(data, excerpt, clip) else ""
            best_step = "its best step here, in hindsight" if clip.best else ""
            remark = ", ".join(filter(None, (best_method, best_step)))
            return f"{_method(excerpt, clip)}, step {clip.step}", remark or "its last step"
        case "oracle":
            return f"oracle, step {clip.step}", "given the true stem"
        case "reference":
            return "reference", "the true stem"


def _levels(path: Path) -> Array:
    """The levels in dB of a file's mel bands, (band, frame)."""
    try:
        with path.open("rb") as file:  # soundfile itself takes no path that is not UTF-8
            samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise MdxError(f"{path} can't be read ({error}); run `mdx-progressive test` again") from error
    edges = mel_bands(min(_HIGHEST, rate / 2), _BANDS)
    return band_levels(torch.from_numpy(samples.T), rate, edges, _WINDOW, _COLUMNS)


def _picture(levels: Array) -> str:
    """Levels in dB as a small image with the highest band at the top, 0 the brightest."""
    colours = colormaps["magma"](1 + levels[::-1] / RANGE_DB, bytes=True)[..., :3]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours)).save(file, "WEBP", quality=55, method=6)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
