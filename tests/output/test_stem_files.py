"""What `predict` writes: kinds of files, names, tags, dither, complements, and sums that are exact."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch

from mdx_progressive.audio import encode as file_formats
from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.audio.tags import read_tags
from mdx_progressive.output.stems import QuantisationSteps
from tests.support.command import run
from tests.support.exported_programs import Waves, scripted
from tests.support.signals import RATE, noise
from tests.system.test_any_file import separator

SECONDS = 0.7
SOURCES = ["low", "high"]


@pytest.fixture
def program(own_folder: Path) -> tuple[str, ...]:
    """Settings of a separator whose estimates don't add up to anything."""
    return separator(scripted(own_folder / "waves.pt", Waves(sources=2)), f"[{', '.join(SOURCES)}]")


def song(path: str = "a.wav", rate: int = RATE, subtype: str = "PCM_16", channels: int = 2) -> np.ndarray:
    """A song of noise, as its file holds it: (time, channel), float32."""
    samples = noise(SECONDS, channels, rate=rate, level=0.1).T.numpy()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return soundfile.read(path, dtype="float32", always_2d=True)[0]


def predict(program: tuple[str, ...], *more: str, given: str = "a.wav", out: str = "out") -> dict[str, np.ndarray]:
    """What was written, (time, channel) by name."""
    assert run("predict", *program, "--data.input", given, "--out", out, *more) == 0
    files = sorted(path for path in Path(out).rglob("*") if path.is_file())
    return {path.stem: soundfile.read(path, dtype="float32", always_2d=True)[0] for path in files}


def test_a_stem_is_named_in_any_case_and_written_as_the_separator_names_it(program: tuple[str, ...]) -> None:
    song()

    assert set(predict(program, "--two-stems", "LOW")) == {"low", "no_low"}
    assert set(predict(program, "--targets", "High", out="other")) == {"high"}


class TestFormats:
    @pytest.mark.parametrize(("rate", "given", "found"), [(44100, 320, 320), (44100, 128, 128), (22050, 320, 160)])
    def test_an_mp3_has_the_bitrate_that_was_asked_for_or_the_highest_of_its_rate(
        self, program: tuple[str, ...], rate: int, given: int, found: int
    ) -> None:
        song(rate=rate)

        predict(program, "--format", "mp3", "--bitrate", str(given))

        with av.open(str(Path("out", "a", "low.mp3"))) as container:
            assert container.streams.audio[0].bit_rate == 1000 * found

    @pytest.mark.parametrize(("kind", "subtype"), [("mp3", "MPEG_LAYER_III"), ("ogg", "VORBIS")])
    def test_coded_files_hold_the_estimates(self, program: tuple[str, ...], kind: str, subtype: str) -> None:
        song(rate=48000, channels=1)
        plain = predict(program, out="plain")

        coded = predict(program, "--writer.format", kind)

        info = soundfile.info(Path("out", "a", f"low.{kind}"))
        assert (info.samplerate, info.channels, info.subtype) == (48000, 1, subtype)
        for source, samples in coded.items():
            assert samples.shape == plain[source].shape
            error = np.square(samples - plain[source]).sum() / np.square(plain[source]).sum()
            assert error < 0.1  # White noise has no gaps that a code could leave out: real music is far closer.

    @pytest.mark.parametrize(
        ("kind", "rate", "channels", "said"),
        [
            ("mp3", 96000, 2, "a: mp3 does not know 96000 Hz: set writer.format to flac or wav"),
            ("ogg", 250000, 1, "a: ogg does not know 250000 Hz"),
            ("mp3", 44100, 4, "a: has 4 channels, mp3 takes 2"),
        ],
    )
    def test_a_song_that_the_format_can_not_hold_is_refused_before_it_is_separated_and_the_others_are_done(
        self,
        program: tuple[str, ...],
        capsys: pytest.CaptureFixture[str],
        kind: str,
        rate: int,
        channels: int,
        said: str,
    ) -> None:
        song("in/a.wav", rate, channels=channels)
        song("in/b.wav")

        assert run("predict", *program, "--data.input", "in", "--out", "out", "--writer.format", kind) == 1

        assert said in capsys.readouterr().err
        assert {path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file()} == {
            f"b/{source}.{kind}" for source in SOURCES
        }

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            (["--writer.format", "mp3", "--writer.encoding", "int16"], "mp3 can't hold int16: leave writer.encoding"),
            (["--format", "mp3", "--bitrate", "300"], "bitrate is 64, 96, 112, 128"),
            (["--format", "flac", "--bitrate", "320"], "bitrate is of mp3: give --format mp3 too"),
            (["--writer.format", "ogg", "--writer.clip", "keep"], "ogg can't hold samples above full scale"),
            (["--writer.dither", "true"], "float32 is not rounded to steps"),
            (["--writer.name", "{song}"], "has no {source}"),
            (["--writer.name", "../{source}"], "leads out of the folder"),
            (["--writer.name", "/{source}"], "leads out of the folder"),
            (["--writer.name", "{artist}/{source}"], "{artist} is not known; song, source, separator, method are"),
            (["--writer.name", "{source"], "can't be read"),
            (["--writer.complement", "drums"], "writer.complement: drums is not separated, only low, high"),
            (["--writer.exact_sum", "true", "--targets", "low"], "writer.exact_sum needs all sources"),
            (["--targets", "low,drums"], "drums can't be separated by this separator; its sources are low, high"),
        ],
    )
    def test_settings_that_contradict_one_another_are_one_line(
        self, program: tuple[str, ...], capsys: pytest.CaptureFixture[str], settings: list[str], said: str
    ) -> None:
        song()

        assert run("predict", *program, "--data.input", "a.wav", *settings) != 0

        assert said in capsys.readouterr().err

    @pytest.mark.parametrize("kind", ["mp3", "flac"])
    def test_files_that_are_encoded_beside_each_other_have_the_bytes_of_one_alone(
        self, program: tuple[str, ...], kind: str
    ) -> None:
        song()
        predict(program, "--writer.format", kind, out="both")
        for source in SOURCES:
            predict(program, "--writer.format", kind, "--targets", source, out="alone")

        for source in SOURCES:
            name = f"a/{source}.{kind}"
            assert Path("both", name).read_bytes() == Path("alone", name).read_bytes()


LAYOUTS = ["3.0", "quad", "5.0(side)", "5.1", "5.1(side)", "hexagonal", "6.1", "7.1", "octagonal"]


class TestChannels:
    @pytest.mark.parametrize(
        ("settings", "largest"),
        [
            ((), None),
            (("--writer.encoding", "int16", "--writer.dither", "false"), None),
            ((), 0),  # Each of them is too large for a plain wav.
            (("--writer.format", "flac", "--writer.tags", "true"), None),
        ],
        ids=["wav", "int16", "rf64", "flac"],
    )
    def test_files_name_them_as_the_song_does(
        self, program: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], largest: int | None
    ) -> None:
        if largest is not None:
            monkeypatch.setattr(file_formats, "_LARGEST_WAV", largest)
        Path("in").mkdir()
        for layout in LAYOUTS:
            channels = av.AudioLayout(layout).nb_channels
            with av.open(f"in/{layout}.wav", "w") as container:
                stream: Any = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
                container.metadata["title"] = layout
                samples = (2**15 * noise(0.1, channels)).short().T.reshape(1, -1).numpy()
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
                frame.sample_rate = RATE
                container.mux([*stream.encode(frame), *stream.encode(None)])
        song("in/unnamed.wav", channels=6)

        written = predict(program, "--writer.complement", "low", *settings, given="in")

        paths = [path for path in Path("out").rglob("*") if path.is_file()]
        assert len(paths) == 3 * (len(LAYOUTS) + 1)
        for path in paths:
            told, name = AudioStream(path).layout(), path.parent.name
            if name == "unnamed":
                assert told is None or path.suffix == ".flac"  # In which six channels always are those of 5.1.
            else:
                assert told == AudioStream(Path("in", f"{name}.wav")).layout()
        for path in Path("out").rglob("*.flac"):
            with soundfile.SoundFile(path) as file:
                assert (file.title, file.license) == (path.parent.name.replace("unnamed", ""), "")
        if largest == 0:
            assert {soundfile.info(path).format for path in paths} == {"RF64"}
        if "int16" not in settings:
            unnamed = soundfile.read("in/unnamed.wav", dtype="float32")[0]
            assert np.array_equal(written["low"] + written["no_low"], unnamed)


class TestDither:
    def test_it_is_the_same_at_each_run_and_in_any_blocks(self, program: tuple[str, ...]) -> None:
        song()
        for out, block in (("one", "120"), ("two", "120")):
            predict(program, "--writer.encoding", "int16", "--data.block", block, out=out)

        for path in Path("one").rglob("*.wav"):
            assert (Path("two") / path.relative_to("one")).read_bytes() == path.read_bytes()
        whole = QuantisationSteps(16, dither=True).dithered(torch.zeros(2, 2, 1000))
        cut = QuantisationSteps(16, dither=True)
        pieces = [cut.dithered(torch.zeros(2, 2, length)) for length in (1, 299, 700)]
        assert torch.equal(torch.cat(pieces, dim=-1), whole)

    def test_without_it_samples_are_rounded_with_it_a_tone_below_a_step_is_kept(self) -> None:
        tone = 0.4 / 2**15 * torch.sin(torch.arange(200_000) * 0.05)

        plain, dithered = (QuantisationSteps(16, dither=dither).dithered(tone) for dither in (False, True))

        assert not plain.any()
        assert float(torch.dot(dithered, tone) / torch.dot(tone, tone)) == pytest.approx(1, abs=0.02)
        # The error of rounding and the noise of triangular density have a quarter of a squared step between them.
        assert float((dithered - tone).std() * 2**15) == pytest.approx(0.5, abs=0.01)

    def test_it_is_the_default_of_16_bits_alone(self, program: tuple[str, ...]) -> None:
        song()
        floats = predict(program, out="floats")
        for encoding, more, deviation in (
            ("int16", [], 0.5),
            ("int16", ["--writer.dither", "false"], 12**-0.5),
            ("int24", [], 12**-0.5),
        ):
            out = f"{encoding}{len(more)}"
            rounded = predict(program, "--writer.encoding", encoding, *more, out=out)
            error = (rounded["low"].astype(float) - floats["low"]) * 2 ** (int(encoding[3:]) - 1)
            assert error.std() == pytest.approx(deviation, rel=0.05)


class TestNames:
    def test_a_pattern_names_the_files_and_leaves_no_folder_behind(self, program: tuple[str, ...]) -> None:
        song("in/disc/a.wav")

        predict(program, "--writer.name", "{separator} {method}/{source} of {song}", given="in")

        assert {path.relative_to("out").as_posix() for path in Path("out").rglob("*")} >= {
            f"ExportedSeparator linear/{source} of disc/a.wav" for source in SOURCES
        }
        assert not Path("out", "disc").exists()

    def test_two_songs_are_never_one_file(self, program: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        song("in/a.wav")
        song("in/b.wav")

        assert run("predict", *program, "--data.input", "in", "--out", "out", "--writer.name", "{source}") == 1

        assert "low.wav would be two estimates, of a and of b" in capsys.readouterr().err
        assert not Path("out").exists()

    def test_targets_in_short(self, program: tuple[str, ...]) -> None:
        song()

        assert list(predict(program, "--targets", "high")) == ["high"]
        assert list(predict(program, "--targets", "high, low", out="both")) == ["high", "low"]


class TestTags:
    @pytest.mark.parametrize("read", ["flac", "m4a", "mp3", "ogg"])
    @pytest.mark.parametrize("written", ["wav", "flac", "mp3", "ogg"])
    def test_they_are_copied(self, program: tuple[str, ...], read: str, written: str) -> None:
        tags = {
            "title": "Señorita",
            "artist": "東京 \U0001f3b5",
            "album": "Noise, PEAK",
            "track": "7",
            "comment": "Für 2 €",
        }
        codec = {"flac": "flac", "m4a": "aac", "mp3": "libmp3lame", "ogg": "libopus"}[read]
        with av.open(f"a.{read}", "w") as container:
            stream: Any = container.add_stream(codec, rate=48000, layout="stereo")
            container.metadata.update(tags)
            frame = av.AudioFrame.from_ndarray(noise(SECONDS, rate=48000).numpy(), format="fltp", layout="stereo")
            frame.sample_rate = 48000
            container.mux([*stream.encode(frame), *stream.encode(None)])

        predict(program, "--writer.tags", "true", "--writer.format", written, given=f"a.{read}")

        path = Path("out", "a", f"low.{written}")
        with soundfile.SoundFile(path) as file:
            by_libsndfile = {name: value for name, value in file.copy_metadata().items() if value}
        assert by_libsndfile.pop("software").startswith("mdx-progressive: ")
        # FFmpeg shows whether others find more than what libsndfile has written for itself.
        assert read_tags(path) == by_libsndfile == {"tracknumber": tags.pop("track"), **tags}

    def test_what_is_no_utf_8_in_them_is_replaced(self, program: tuple[str, ...]) -> None:
        with soundfile.SoundFile("a.flac", "w", RATE, 2) as file:
            file.title = "NiXo"
            file.write(noise(SECONDS).T.numpy())
        Path("a.flac").write_bytes(Path("a.flac").read_bytes().replace(b"NiXo", b"Ni\xf1o"))

        predict(program, "--writer.tags", "true", given="a.flac")

        with soundfile.SoundFile("out/a/low.wav") as file:
            assert file.title == "Ni\ufffdo"

    def test_a_song_without_any_is_no_fault(self, program: tuple[str, ...]) -> None:
        song()

        assert list(predict(program, "--writer.tags", "true")) == ["high", "low"]


class TestSums:
    @pytest.mark.parametrize("rate", [RATE, 48000])
    @pytest.mark.parametrize(
        ("subtype", "encoding"),
        [("PCM_16", "float32"), ("PCM_24", "float32"), ("PCM_16", "int16"), ("PCM_16", "int24"), ("PCM_24", "int24")],
    )
    def test_estimate_and_complement_are_the_file_to_the_last_bit(
        self, program: tuple[str, ...], rate: int, subtype: str, encoding: str
    ) -> None:
        mixture = song(rate=rate, subtype=subtype)

        written = predict(program, "--writer.complement", "low,high", "--writer.encoding", encoding)

        assert sorted(written) == ["high", "low", "no_high", "no_low"]
        for source in SOURCES:
            assert np.abs(written[source]).max() > 0.01
            assert np.array_equal(written[source] + written[f"no_{source}"], mixture)

    @pytest.mark.parametrize(
        ("subtype", "encoding"),
        [("PCM_16", "float32"), ("PCM_24", "float32"), ("PCM_16", "int16"), ("PCM_24", "int24")],
    )
    def test_all_estimates_add_up_to_the_file_to_the_last_bit(
        self, program: tuple[str, ...], subtype: str, encoding: str
    ) -> None:
        mixture = song(rate=48000, subtype=subtype)
        before = predict(program, "--writer.encoding", encoding, out="before")

        written = predict(program, "--writer.exact_sum", "true", "--writer.encoding", encoding)

        assert np.array_equal(written["low"] + written["high"], mixture)
        rest = (mixture - before["low"] - before["high"]) / 2
        for source in SOURCES:
            step = 2**-14 if encoding == "int16" else 2**-22
            np.testing.assert_allclose(written[source], before[source] + rest, rtol=0, atol=2 * step)
        assert np.abs(rest).max() > 0.01

    def test_floats_finer_than_24_bits_add_up_to_half_a_step_of_the_larger(self, program: tuple[str, ...]) -> None:
        mixture = song(subtype="FLOAT").astype(float)

        written = predict(program, "--writer.complement", "[low]")

        low, rest = (written[name].astype(float) for name in ("low", "no_low"))
        larger = np.maximum(np.maximum(np.abs(low), np.abs(rest)), np.abs(mixture))
        assert (np.abs(low + rest - mixture) <= np.spacing(larger.astype(np.float32)) / 2).all()

    def test_of_coded_music_and_several_blocks_too(self, program: tuple[str, ...]) -> None:
        samples = noise(6, 2, rate=48000, level=0.1).T.numpy()
        soundfile.write("a.mp3", samples, 48000)
        mixture = soundfile.read("a.mp3", dtype="float32")[0].astype(float)

        written = predict(program, "--writer.complement", "low", "--data.block", "1", given="a.mp3")

        total = written["low"].astype(float) + written["no_low"]
        np.testing.assert_allclose(total, mixture, rtol=0, atol=2**-24)

    def test_what_is_turned_down_adds_up_to_the_file_turned_down(self, program: tuple[str, ...]) -> None:
        mixture = song(subtype="FLOAT") * 20
        soundfile.write("a.wav", mixture, RATE, subtype="FLOAT")

        written = predict(program, "--writer.complement", "low", "--writer.encoding", "int24")

        total = written["low"] + written["no_low"]
        level = float(np.vdot(mixture, total) / np.vdot(mixture, mixture))
        assert 0 < level < 0.2
        np.testing.assert_allclose(total, level * mixture, rtol=0, atol=2**-21)
        assert max(np.abs(written[name]).max() for name in written) == pytest.approx(1, abs=1e-3)

    def test_of_six_channels(self, program: tuple[str, ...]) -> None:
        mixture = song(channels=6)

        written = predict(program, "--writer.complement", "low")

        assert np.array_equal(written["low"] + written["no_low"], mixture)
