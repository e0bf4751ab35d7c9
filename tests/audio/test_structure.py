"""Files that are cut, chained, damaged in the middle, or whose header was never finished: whole, or refused."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.runtime.errors import MdxError
from tests.support.encoded_files import encode
from tests.support.signals import RATE, noise

SECONDS = 3.0
SAMPLES = noise(SECONDS).T.numpy() * 0.5


def by_soundfile(path: Path, subtype: str | None = None, kind: str | None = None) -> Path:
    soundfile.write(path, SAMPLES, RATE, subtype=subtype, format=kind)
    return path


def length(path: Path) -> int:
    found = AudioStream(path).read()[0]
    assert AudioStream(path).length() == found.shape[-1]
    return found.shape[-1]


class TestCut:
    WHOLE = pytest.mark.parametrize(
        "make",
        [
            lambda folder: by_soundfile(folder / "a.caf", "PCM_16"),
            lambda folder: by_soundfile(folder / "b.caf", "ALAC_16"),
            lambda folder: by_soundfile(folder / "a.voc", "PCM_16"),
            lambda folder: by_soundfile(folder / "a.wav", "PCM_16"),
            lambda folder: by_soundfile(folder / "a.flac"),
            lambda folder: by_soundfile(folder / "a.ogg"),
            lambda folder: by_soundfile(folder / "a.mp3"),
            *(
                lambda folder, name=name, codec=codec, rate=rate: encode(folder / name, SAMPLES, codec, rate)
                for name, codec, rate in [
                    ("a.avi", "pcm_s16le", RATE), ("a.mka", "flac", RATE), ("b.mka", "pcm_s16le", RATE),
                    ("a.webm", "libopus", 48000), ("a.mkv", "aac", RATE), ("a.m2ts", "aac", RATE),
                    ("a.ts", "mp2", RATE), ("a.aac", "aac", RATE), ("a.flv", "aac", RATE), ("a.ac3", "ac3", RATE),
                    ("a.eac3", "eac3", RATE), ("a.mp2", "mp2", RATE), ("a.m4a", "aac", RATE), ("a.wma", "wmav2", RATE),
                    ("a.wv", "wavpack", RATE), ("a.tta", "tta", RATE), ("a.mpg", "mp2", RATE), ("a.wmv", "wmav2", RATE),
                ]
            ),
            lambda folder: encode(folder / "plain.mp3", SAMPLES, "libmp3lame", RATE, write_xing="0"),
        ],
    )  # fmt: skip

    @WHOLE
    def test_a_whole_file_is_read(self, tmp_path: Path, make: Callable[[Path], Path]) -> None:
        path = make(tmp_path)
        assert length(path) >= SECONDS * RATE - 4096

    @WHOLE
    @pytest.mark.parametrize("share", [0.21, 0.45, 0.703, 0.93, 0.98])
    def test_a_cut_one_is_refused(self, tmp_path: Path, make: Callable[[Path], Path], share: float) -> None:
        path = make(tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share) | 1])

        with pytest.raises(MdxError, match=rf"{path.name}: "):
            length(path)


class TestChains:
    @pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus"])
    def test_all_parts_are_read_as_if_each_stood_alone(self, tmp_path: Path, suffix: str) -> None:
        paths = [tmp_path / f"{number}.{suffix}" for number in range(3)]
        rate, kind = (48000, {"format": "OGG", "subtype": "OPUS"}) if suffix == "opus" else (RATE, {})
        for seed, path in enumerate(paths):
            soundfile.write(path, noise(1 + seed / 2, seed=seed).T.numpy(), rate, **kind)
        alone = torch.cat([AudioStream(path).read()[0] for path in paths], dim=-1)
        chain = tmp_path / f"chain.{suffix}"
        chain.write_bytes(b"".join(path.read_bytes() for path in paths))

        assert torch.equal(AudioStream(chain).read()[0], alone)
        assert AudioStream(chain).length() == alone.shape[-1]

    def test_an_mp3_without_a_count_behind_one_that_has_it(self, tmp_path: Path) -> None:
        one = by_soundfile(tmp_path / "one.mp3")
        other = encode(tmp_path / "other.mp3", SAMPLES, "libmp3lame", RATE, write_xing="0", id3v2_version="0")
        together = length(one) + length(other)
        for name, paths in {"a.mp3": (one, other), "b.mp3": (other, one)}.items():
            (tmp_path / name).write_bytes(b"".join(path.read_bytes() for path in paths))
            assert length(tmp_path / name) == together

    def test_tags_between_the_parts_and_behind_them(self, tmp_path: Path) -> None:
        path, tag = by_soundfile(tmp_path / "a.mp3"), b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
        once = length(path)
        path.write_bytes((tag + path.read_bytes() + b"TAG" + bytes(125)) * 2)

        assert length(path) == 2 * once

    def test_parts_of_another_rate_are_named(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.ogg", noise(1).T.numpy(), RATE)
        soundfile.write(tmp_path / "b.ogg", noise(1).T.numpy(), 48000)
        (tmp_path / "c.ogg").write_bytes((tmp_path / "a.ogg").read_bytes() + (tmp_path / "b.ogg").read_bytes())

        with pytest.raises(MdxError, match=r"c.ogg: is a chain of files of different sample rates"):
            AudioStream(tmp_path / "c.ogg").read()


class TestHeadersThatWereNeverFinished:
    @staticmethod
    def with_size(path: Path, name: bytes, size: int, order: str = "<") -> Path:
        content = bytearray(path.read_bytes())
        at = content.index(name) + 4
        content[at : at + 4] = struct.pack(f"{order}I", size)
        path.write_bytes(content)
        return path

    @staticmethod
    def without_total(path: Path) -> Path:
        content = bytearray(path.read_bytes())
        content[21] &= 0xF0  # The lowest 36 bits of bytes 18 to 25 are the number of samples.
        content[22:26] = bytes(4)
        path.write_bytes(content)
        return path

    @pytest.mark.parametrize("more", ["nothing", "all", -1, 3, 8, 36, 44])
    def test_a_wav_is_read_to_its_end(self, tmp_path: Path, more: int | str) -> None:
        path = by_soundfile(tmp_path / "a.wav", "PCM_16")
        right = SAMPLES.size * 2
        size = {"nothing": 0, "all": 0xFFFFFFFF}.get(str(more)) if isinstance(more, str) else right + more
        assert size is not None
        self.with_size(path, b"data", size)
        expected = len(SAMPLES) - (more == -1)

        assert length(path) == expected

    def test_an_aiff_is_read_to_its_end(self, tmp_path: Path) -> None:
        path = self.with_size(by_soundfile(tmp_path / "a.aiff", "PCM_16"), b"SSND", 0, ">")

        assert length(path) == len(SAMPLES)

    def test_a_wav_without_samples_holds_none(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros((0, 2)), RATE)

        with pytest.raises(MdxError, match=r"a.wav: "):
            AudioStream(tmp_path / "a.wav").read()

    def test_a_flac_of_a_pipe_does_not_tell_its_length(self, tmp_path: Path) -> None:
        path = self.without_total(by_soundfile(tmp_path / "a.flac"))

        assert AudioStream(path).header().length is None
        assert not AudioStream(path).seekable()
        assert length(path) == len(SAMPLES)

    @pytest.mark.parametrize("place", ["at the beginning", "in the middle"])
    def test_a_flac_with_a_tag_of_another_format(self, tmp_path: Path, place: str) -> None:
        """Libsndfile opens it, but does not read on at the tag; FFmpeg goes on where it has stopped."""
        path = tmp_path / "a.flac"
        soundfile.write(path, np.tile(SAMPLES, (4, 1)), RATE)
        expected, content = AudioStream(path).read()[0], path.read_bytes()
        size, picture = 200_000, np.random.default_rng(0).bytes(200_000)
        tag = b"ID3\x03\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + picture
        begin = content.index(b"\xff\xf8", len(content) // 2) if place == "in the middle" else 0
        path.write_bytes(content[:begin] + tag + content[begin:])

        assert torch.equal(AudioStream(path).read()[0], expected)

    def test_a_flac_of_a_pipe_with_a_tag_at_its_end(self, tmp_path: Path) -> None:
        path = self.without_total(by_soundfile(tmp_path / "a.flac"))
        path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))

        assert length(path) == len(SAMPLES)

    @pytest.mark.parametrize("total", [True, False])
    def test_a_flac_with_a_flipped_bit_is_refused(self, tmp_path: Path, total: bool) -> None:
        path = by_soundfile(tmp_path / "a.flac")
        content = bytearray((path if total else self.without_total(path)).read_bytes())
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)

        with pytest.raises(MdxError, match=r"a.flac: is (truncated or )?damaged at"):
            AudioStream(path).read()


def test_raw_aac_keeps_its_last_samples(tmp_path: Path) -> None:
    samples = SAMPLES[: 2 * RATE].copy()
    samples[-3000:] = 0  # A guess by the bit rate of the beginning falls short.
    path = encode(tmp_path / "a.aac", samples, "aac", RATE)

    assert length(path) % 1024 == 0
    assert length(path) >= len(samples) + 1024


class TestDamage:
    @pytest.mark.parametrize("suffix", ["ogg", "opus"])
    @pytest.mark.parametrize("kind", ["flipped", "lost", "zeros"])
    def test_a_page_of_ogg_in_the_middle(self, tmp_path: Path, suffix: str, kind: str) -> None:
        path = tmp_path / f"a.{suffix}"
        samples = np.tile(SAMPLES, (4, 1))
        soundfile.write(path, samples, 48000, format="OGG", subtype="OPUS" if suffix == "opus" else "VORBIS")
        content = path.read_bytes()
        middle = content.index(b"OggS", len(content) // 2)
        end = content.index(b"OggS", middle + 4)
        page = content[middle:end]
        damaged = {"lost": b"", "zeros": bytes(len(page)), "flipped": page[:200] + b"\x55" + page[201:]}[kind]
        path.write_bytes(content[:middle] + damaged + content[end:])

        with pytest.raises(MdxError, match=rf"a.{suffix}: is damaged"):
            length(path)

    def test_samples_of_a_damaged_webm_stay_where_they_are(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        time = np.arange(8 * 48000)[:, None] / 48000
        samples = 0.3 * np.sin(2 * np.pi * 440 * time) * np.ones((1, 2))
        samples[6 * 48000 :] = 0
        path = encode(tmp_path / "a.webm", samples, "libopus", 48000, cluster_time_limit="1000")
        whole, content = length(path), bytearray(path.read_bytes())
        clusters = [at for at in range(len(content)) if content[at : at + 4] == b"\x1f\x43\xb6\x75"]
        content[clusters[3] : clusters[3] + 12] = bytes(12)
        path.write_bytes(content)

        found = AudioStream(path).read()[0]

        assert abs(found.shape[-1] - whole) < 960
        assert "has nothing from" in caplog.text
        loud = (found[0].abs() > 0.02).nonzero()
        assert abs(int(loud[-1]) - 6 * 48000) < 2000
