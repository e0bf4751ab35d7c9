"""`predict` on files of every kind: what comes out has the rate, length, channels and place of what goes in."""

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from mdx_progressive.audio.decode import AUDIO_SUFFIXES, AudioStream
from tests.support.command import run
from tests.support.exported_programs import program_options, scripted

LENGTH = 30001
PLACE = 10007
"""Of the impulse."""
SHARES = {"low": 0.25, "high": 0.75}
LAYOUTS = {1: "mono", 2: "stereo"}


class Shares(nn.Module):
    """Splits the mixture into a quarter and three quarters of itself, so that the way there and back can be seen."""

    def forward(self, mixture: Tensor) -> Tensor:
        return torch.stack([0.25 * mixture, 0.75 * mixture], dim=1)


class Made(NamedTuple):
    """A file that is made by libsndfile (`kind` is its subtype), or by FFmpeg (that of a codec).

    Args:
        name: Its name.
        kind: How it is stored.
        rate: Sample rate in Hz.
        channels: 1 or 2.
        delay: Samples at its beginning that the encoder has added and the format can't tell.
        fewer: How many samples may be missing at the end, because the format counts in milliseconds,
            or the encoder has left them out.
        more: How many the encoder may have added there, because the format can't tell.
        exact: Whether it is stored without loss.
    """

    name: str
    kind: str
    rate: int = 44100
    channels: int = 2
    delay: int = 0
    fewer: int = 0
    more: int = 0
    exact: bool = True

    @property
    def song(self) -> str:
        return Path(self.name).stem


BY_LIBSNDFILE = [
    Made("u8.wav", "PCM_U8"), Made("i16.wav", "PCM_16"), Made("i24.wav", "PCM_24", 48000), Made("i32.wav", "PCM_32"),
    Made("f32.wav", "FLOAT", 96000, 1), Made("f64.wav", "DOUBLE", 192000), Made("lowest.wav", "PCM_16", 8000, 1),
    Made("odd.wav", "PCM_24", 11025), Made("telephone.wave", "ULAW", 8000, 1), Made("large.rf64", "PCM_24"),
    Made("larger.w64", "FLOAT", 88200), Made("a.flac", "PCM_24", 192000), Made("b.flac", "PCM_16", 22050, 1),
    Made("c.aiff", "PCM_24"), Made("d.aif", "PCM_16", 32000), Made("e.aifc", "FLOAT"), Made("f.caf", "ALAC_24"),
    Made("g.au", "PCM_16", 16000), Made("h.snd", "FLOAT"), Made("i.voc", "PCM_16"),
    Made("j.ogg", "VORBIS", exact=False), Made("k.oga", "VORBIS", 8000, 1, exact=False),
    Made("l.opus", "OPUS", 48000, exact=False), Made("m.mp3", "MPEG_LAYER_III", exact=False),
    Made("n.mp3", "MPEG_LAYER_III", 16000, 1, exact=False),
]  # fmt: skip
BY_FFMPEG = [
    Made("ff-a.m4a", "aac", fewer=44, more=44, exact=False),
    Made("ff-b.mp4", "aac", 48000, 1, fewer=48, more=48, exact=False),
    Made("ff-c.m4a", "alac", 48000), Made("ff-d.mp4", "flac"), Made("ff-e.mka", "flac", 96000),
    Made("ff-f.mka", "pcm_f32le", 8000), Made("ff-g.mkv", "aac", more=1024, exact=False),
    Made("ff-h.webm", "libopus", 48000, fewer=48, more=48, exact=False), Made("ff-i.mov", "pcm_s24le", 48000),
    Made("ff-j.wv", "wavpack", 192000), Made("ff-k.tta", "tta", channels=1),
    # FFmpeg takes a frame too many off the beginning of what it has written itself.
    Made("ff-l.wma", "wmav2", delay=-2048, fewer=2048, more=2048, exact=False),
    Made("ff-m.aac", "aac", delay=1024, more=2048, exact=False), Made("ff-n.mp3", "libmp3lame", 48000, exact=False),
    Made("ff-o.opus", "libopus", 48000, exact=False), Made("ff-p.avi", "pcm_s16le"),
    Made("ff-q.m4v", "aac", 32000, fewer=32, more=32, exact=False),
    Made("ff-t.m2ts", "aac", delay=1024, more=2048, exact=False),
    Made("ff-u.mpg", "mp2", delay=481, fewer=1152, more=1152, exact=False),
    Made("ff-v.flv", "aac", delay=1024, more=2048, exact=False),
    Made("ff-w.3gp", "aac", fewer=44, more=44, exact=False),
    Made("ff-x.wmv", "wmav2", delay=-2048, fewer=2048, more=2048, exact=False),
    Made("ff-y.ogv", "libopus", 48000, exact=False),
    Made("ff-r.ac3", "ac3", delay=256, more=1536, exact=False),
    Made("ff-s.mp2", "mp2", delay=481, more=1152, exact=False),
]  # fmt: skip
VIDEO = frozenset({".mkv", ".webm", ".mov", ".avi", ".m4v"})


def impulse(made: Made) -> np.ndarray:
    """Silence with a click, half as loud and the other way round on the second channel: (time, channel)."""
    samples = np.zeros((LENGTH, made.channels), dtype=np.float32)
    samples[PLACE] = np.array([0.5, -0.25])[: made.channels]
    return samples


def write_with_ffmpeg(path: Path, made: Made, video: bool) -> None:
    layout = LAYOUTS[made.channels]
    with av.open(str(path), "w") as container:
        # The sound is not the first stream of a video.
        pictures = [add_picture(container, "libvpx" if path.suffix == ".webm" else "mpeg4")] if video else []
        stream: Any = container.add_stream(made.kind, rate=made.rate, layout=layout)
        stream.bit_rate = 128_000
        for picture in pictures:
            black = [black_frame() for _ in range(int(25 * LENGTH / made.rate))]
            container.mux([packet for frame in [*black, None] for packet in picture.encode(frame)])
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(impulse(made).T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = made.rate, 0, Fraction(1, made.rate)
        container.mux([*stream.encode(frame), *stream.encode(None)])


def add_picture(container: Any, codec: str) -> Any:
    picture = container.add_stream(codec, rate=25)
    picture.width = picture.height = 64
    picture.pix_fmt = "yuv420p"
    return picture


def black_frame() -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))


def separator(program: Path, sources: str) -> tuple[str, ...]:
    """Settings of one pass of a program."""
    return (*program_options(program, sources), "--model.method.steps", "0")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Settings of a separator that splits everything into fixed shares."""
    return separator(scripted(tmp_path_factory.mktemp("program") / "shares.pt", Shares()), "[low, high]")


@pytest.fixture(scope="module")
def separated(tmp_path_factory: pytest.TempPathFactory, program: tuple[str, ...]) -> Path:
    """The folder with the stems of all files, from one run over the folder that they lie in."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "in").mkdir()
    formats = {".wave": "WAV", ".snd": "AU", ".aif": "AIFF", ".aifc": "AIFF", ".oga": "OGG", ".opus": "OGG"}
    for made in BY_LIBSNDFILE:
        path = folder / "in" / made.name
        kind = formats.get(path.suffix)
        soundfile.write(path, impulse(made), made.rate, subtype=made.kind, format=kind)
    for made in BY_FFMPEG:
        path = folder / "in" / made.name
        write_with_ffmpeg(path, made, path.suffix in VIDEO)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("predict", *program, "--data.input", "in", "--out", "out") == 0
    return folder / "out"


@pytest.mark.parametrize("made", [*BY_LIBSNDFILE, *BY_FFMPEG], ids=lambda made: f"{made.name}-{made.kind}")
def test_stems_have_rate_length_channels_and_place_of_the_file(separated: Path, made: Made) -> None:
    for source, share in SHARES.items():
        samples, rate = soundfile.read(separated / made.song / f"{source}.wav", dtype="float32", always_2d=True)

        assert rate == made.rate
        assert samples.shape[1] == made.channels
        assert LENGTH - made.fewer <= len(samples) <= LENGTH + made.delay + made.more
        place = int(np.abs(samples[:, 0]).argmax())
        assert place == PLACE + made.delay
        if made.exact and made.channels == 2:
            assert samples[place, 0] > 0 > samples[place, 1]
        if made.exact and made.rate == 44100:
            step = 2**-7 if made.kind == "PCM_U8" else 2**-15
            np.testing.assert_allclose(samples, share * impulse(made), atol=step)


class Sides(nn.Module):
    """Gives the mixture as it is, and with its two sides swapped, which shows what was a pair."""

    def forward(self, mixture: Tensor) -> Tensor:
        return torch.stack([mixture, mixture.flip(1)], dim=1)


@pytest.mark.parametrize(
    ("name", "kind", "swapped"),
    [
        ("plain.wav", "PCM_24", [1, 0, 3, 2, 5, 4]),
        ("odd.aiff", "PCM_16", [1, 0, 3, 2, 4]),
        ("three.flac", "PCM_24", [1, 0, 2]),
        ("four.flac", "PCM_24", [1, 0, 3, 2]),
        ("five-one.wavex", "PCM_24", [1, 0, 2, 3, 5, 4]),
        ("five-one.flac", "PCM_16", [1, 0, 2, 3, 5, 4]),
        ("seven-one.rf64", "FLOAT", [1, 0, 2, 3, 5, 4, 7, 6]),
        ("five-one.ogg", "VORBIS", [1, 0, 2, 3, 5, 4]),
        ("seven-one.opus", "OPUS", [1, 0, 2, 3, 5, 4, 7, 6]),
    ],
)
def test_more_than_two_channels_are_separated_in_pairs(
    own_folder: Path, name: str, kind: str, swapped: list[int]
) -> None:
    channels, path = len(swapped), Path(name)
    bursts = np.zeros((LENGTH, channels), dtype=np.float32)
    for channel in range(channels):
        bursts[2000 * channel + 5000, channel] = 0.5
    # Vorbis and Opus have another order on disk, which is undone when they are read.
    stored = {"VORBIS": [0, 2, 1, 4, 5, 3], "OPUS": [0, 2, 1, 6, 7, 4, 5, 3]}.get(kind, range(channels))
    formats = {".wavex": "WAVEX", ".opus": "OGG"}
    rate = 48000 if kind == "OPUS" else 44100
    soundfile.write(path, bursts[:, stored], rate, subtype=kind, format=formats.get(path.suffix))
    program = separator(scripted(Path("sides.pt"), Sides()), "[same, swapped]")

    assert run("predict", *program, "--data.input", name, "--out", "out") == 0

    for source, order in (("same", list(range(channels))), ("swapped", swapped)):
        samples, found_rate = soundfile.read(Path("out", path.stem, f"{source}.wav"))
        assert (samples.shape, found_rate) == ((LENGTH, channels), rate)
        places = np.abs(samples).argmax(axis=0)
        np.testing.assert_allclose(
            places, [2000 * channel + 5000 for channel in order], atol=kind in ("VORBIS", "OPUS")
        )


def test_test_refuses_more_than_two_channels(
    own_folder: Path, program: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for source in SHARES:
        Path("songs/a").mkdir(parents=True, exist_ok=True)
        soundfile.write(f"songs/a/{source}.wav", np.full((LENGTH, 6), 0.1), 44100)

    assert run("test", *program, "--data.root", "songs") == 1

    assert "songs/a: has 6 channels; mono and stereo can be measured" in capsys.readouterr().err


def test_a_folder_takes_in_all_that_were_made() -> None:
    assert {Path(made.name).suffix for made in [*BY_LIBSNDFILE, *BY_FFMPEG]} <= AUDIO_SUFFIXES


def test_floats_above_full_scale_and_an_offset_come_through(own_folder: Path, program: tuple[str, ...]) -> None:
    time = np.arange(LENGTH)[:, None] / 44100
    samples = (0.4 + 3 * np.sin(2 * np.pi * np.array([220.0, 330.0]) * time)).astype(np.float32)
    soundfile.write("hot.wav", samples, 44100, subtype="FLOAT")

    assert run("predict", *program, "--data.input", "hot.wav", "--out", "out") == 0

    for source, share in SHARES.items():
        np.testing.assert_allclose(soundfile.read(Path("out", "hot", f"{source}.wav"))[0], share * samples, atol=1e-6)


@pytest.mark.parametrize("length", [1, 2, 777, 44099])
def test_a_file_may_have_any_number_of_samples(own_folder: Path, program: tuple[str, ...], length: int) -> None:
    soundfile.write("short.wav", np.full((length, 1), 0.5, dtype=np.float32), 48000, subtype="FLOAT")

    assert run("predict", *program, "--data.input", "short.wav", "--out", "out") == 0

    assert soundfile.read(Path("out", "short", "low.wav"), always_2d=True)[0].shape == (length, 1)


def test_a_file_whose_channels_change_within_it_is_named(
    own_folder: Path, program: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for channels in (2, 1):
        write_with_ffmpeg(Path(f"{channels}.ac3"), Made(f"{channels}.ac3", "ac3", channels=channels), video=False)
    Path("both.ac3").write_bytes(Path("2.ac3").read_bytes() + Path("1.ac3").read_bytes())

    assert run("predict", *program, "both.ac3", "2.ac3", "--out", "out") == 1

    assert "both.ac3: its sample rate, channels or encoding change at 0.7" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == ["2"]


def test_what_lies_beyond_the_length_that_a_header_tells_is_kept(own_folder: Path) -> None:
    write_with_ffmpeg(Path("long.m4a"), Made("long.m4a", "alac"), video=False)
    whole, content = AudioStream(Path("long.m4a")).read()[0], bytearray(Path("long.m4a").read_bytes())
    duration = content.index(b"mdhd") + 20
    assert int.from_bytes(content[duration : duration + 4], "big") == LENGTH
    content[duration : duration + 4] = (100).to_bytes(4, "big")
    Path("long.m4a").write_bytes(content)

    stream = AudioStream(Path("long.m4a"))

    assert stream.header().length == 100
    assert torch.equal(stream.read()[0], whole)


def test_a_video_without_sound_is_named(
    own_folder: Path, program: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with av.open("silent.mov", "w") as container:
        picture = add_picture(container, "mpeg4")
        container.mux([*picture.encode(black_frame()), *picture.encode(None)])

    assert run("predict", *program, "--data.input", "silent.mov") == 1

    assert "silent.mov: no audio could be read from it (it has no such audio stream)" in capsys.readouterr().err
