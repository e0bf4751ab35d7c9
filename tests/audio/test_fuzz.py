"""Corrupted real files, read for real: what is believed is finite and as long as was told; all else is one line."""

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_stream import SongStream
from mdx_progressive.runtime.errors import MdxError
from tests.support.command import NARROW, run
from tests.support.paths import STUDY
from tests.support.signals import RATE

FORMATS = ("wav", "aiff", "flac", "ogg", "mp3", "opus", "m4a", "rf64")
COUNTS = [40, pytest.param(300, marks=pytest.mark.exhaustive)]
"""Corruptions of each format: the first ones of 2400 in all."""
CODECS = {".m4a": ("aac", RATE, "mp4"), ".opus": ("libopus", 48000, "ogg")}


def encode(path: Path, samples: np.ndarray) -> None:
    """Write (time, channel) in the format of the suffix, in RF64 three times as many channels."""
    if path.suffix not in CODECS:
        soundfile.write(path, np.tile(samples, 3 if path.suffix == ".rf64" else 1), RATE)
        return
    codec, rate, kind = CODECS[path.suffix]
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T, np.float32), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory, clip: dict[str, Tensor]) -> dict[str, bytes]:
    """A third of a second of the built-in clip in each format."""
    folder, found = tmp_path_factory.mktemp("originals"), {}
    for suffix in FORMATS:
        path = folder / f"a.{suffix}"
        encode(path, clip["mixture"][:, :15000].T.numpy())
        found[suffix] = path.read_bytes()
    return found


def corrupted(content: bytes, chance: random.Random) -> bytes:
    """A cut, flipped bytes, a block that is inserted or swapped, or a header with other numbers."""
    data, size = bytearray(content), len(content)
    match chance.randrange(5):
        case 0:
            del data[chance.randrange(size) :]
        case 1:
            for _ in range(chance.choice((1, 4, 64))):
                data[chance.randrange(size)] = chance.randrange(256)
        case 2:
            place = chance.randrange(size)
            data[place:place] = chance.randbytes(chance.randrange(1, 4096))
        case 3:
            first, second, length = chance.randrange(size), chance.randrange(size), chance.randrange(1, 2048)
            data[first : first + length], data[second : second + length] = (
                data[second : second + length],
                data[first : first + length],
            )
        case _:
            for _ in range(chance.choice((1, 2, 8))):
                place = chance.randrange(min(size - 8, 300))
                data[place : place + 4] = chance.choice((b"\xff" * 4, b"\x7f" * 4, bytes(4), chance.randbytes(4)))
    return bytes(data)


def corruptions(originals: dict[str, bytes], suffix: str, count: int) -> Iterator[bytes]:
    chance = random.Random(suffix)  # noqa: S311
    for _ in range(count):
        yield corrupted(originals[suffix], chance)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_corrupted_file_is_read_as_it_tells_or_refused_in_one_line(
    suffix: str, count: int, originals: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(originals[suffix])
    assert AudioStream(path).length() > 14000
    read = refused = 0
    for content in corruptions(originals, suffix, count):
        path.write_bytes(content)
        try:
            stream = AudioStream(path)
            channels, expected, length = stream.header().channels, stream.length(), 0
            for piece in stream.pieces():
                assert torch.isfinite(piece).all()
                assert len(piece) == channels
                length += piece.shape[-1]
            assert length == expected
            song = SongStream(Song("a", stream), RATE, "shipped")
            assert len(song.layout() or range(song.channels)) == song.channels
            heard = song.read(0, min(song.length, 10 * RATE))
            assert torch.isfinite(heard).all()
            read += 1
        except MdxError as error:
            refused += str(path) in str(error)
    assert read + refused == count
    assert refused > 0


def test_predict_names_the_corrupted_ones_and_does_the_others(
    originals: dict[str, bytes], own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = own_folder / "in"
    folder.mkdir()
    for suffix in FORMATS:
        (folder / f"good {suffix}.{suffix}").write_bytes(originals[suffix])
        for number, content in enumerate(corruptions(originals, suffix, 6)):
            (folder / f"{suffix} {number}.{suffix}").write_bytes(content)

    once = ("-c", STUDY, "--model.method.steps", "0", *NARROW)
    assert run("predict", *once, "--data.input", "in", "--out", "out") == 1

    last = capsys.readouterr().err.split("error: ")[-1]
    assert "Traceback" not in last
    done = {path.name for path in Path("out").iterdir()}
    assert {f"good {suffix}" for suffix in FORMATS} <= done
    for path in folder.iterdir():
        assert (path.stem in done) != (str(Path("in", path.name)) in last), path
    for name in done:
        assert sorted(path.name for path in Path("out", name).iterdir()) == ["accompaniment.wav", "vocals.wav"]
