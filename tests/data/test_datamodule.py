"""From files to chunks."""

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyloudnorm
import pytest
import soundfile
import torch
from torch import Tensor

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.audio.resampling import resample
from mdx_progressive.data import datamodule
from mdx_progressive.data.batch import ChunkBatch
from mdx_progressive.data.chunk_plan import first_sound
from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.datasets.base import BuiltinClip
from mdx_progressive.data.datasets.folders import SongFolders
from mdx_progressive.data.normalisation import Loudness, Normalisation, Peak, Rms
from mdx_progressive.data.song import Song, audio_files, builtin_clip
from mdx_progressive.data.song_reader import LoadedSong, load_song
from mdx_progressive.data.stem_grouping import group_stems
from mdx_progressive.runtime.errors import MdxError
from tests.support.signals import RATE, SOURCES, noise

WriteSong = Callable[..., Path]


def four_stems(seconds: float = 2.0, channels: int = 2) -> dict[str, Tensor]:
    return {name: noise(seconds, channels, seed=seed, level=0.05) for seed, name in enumerate(SOURCES)}


def chunks_of(module: SongDataModule) -> list[ChunkBatch]:
    module.setup("test")
    return list(module.test_dataloader())


def tone(seconds: float, frequency: float = 440.0, rate: int = RATE) -> Tensor:
    time = torch.arange(int(seconds * rate)) / rate
    return 0.5 * torch.sin(2 * torch.pi * frequency * time).expand(2, -1)


def write_with_ffmpeg(path: Path, waveform: Tensor, codec: str, rate: int = RATE) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform.numpy()), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


class TestAudio:
    @pytest.mark.parametrize(
        ("suffix", "subtype", "tolerance"),
        [(".wav", "FLOAT", 0), (".wav", "PCM_16", 1e-4), (".wav", "PCM_24", 1e-6), (".flac", "PCM_24", 1e-6),
         (".ogg", "VORBIS", 2e-2), (".mp3", "MPEG_LAYER_III", 2e-2)],
    )  # fmt: skip
    def test_what_libsndfile_reads(self, tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
        soundfile.write(tmp_path / f"a{suffix}", tone(1).T.numpy(), RATE, subtype=subtype)

        waveform, rate = AudioStream(tmp_path / f"a{suffix}").read()

        assert rate == RATE
        assert waveform.dtype == torch.float32
        assert waveform.shape == (2, RATE)
        torch.testing.assert_close(waveform[:, 5000:-5000], tone(1)[:, 5000:-5000], rtol=0, atol=tolerance)

    def test_m4a_is_read_with_ffmpeg(self, tmp_path: Path) -> None:
        path = write_with_ffmpeg(tmp_path / "a.m4a", tone(1), "aac")

        waveform, rate = AudioStream(path).read()

        assert rate == RATE
        assert waveform.shape == (2, RATE)
        torch.testing.assert_close(waveform[:, 9000:30000], tone(1)[:, 9000:30000], rtol=0, atol=2e-2)

    def test_the_builtin_clip_has_five_aligned_streams(self, clip: dict[str, Tensor]) -> None:
        assert list(clip) == ["mixture", *SOURCES]
        assert all(waveform.shape == (2, 268288) for waveform in clip.values())
        difference = clip["mixture"] - sum(clip[stem] for stem in SOURCES)
        assert 10 * torch.log10(clip["mixture"].square().sum() / difference.square().sum()) > 14

    def test_a_missing_clip_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mdx_progressive.runtime.package_data.find_spec", lambda name: None)

        with pytest.raises(MdxError, match="pip install stempeg"):
            builtin_clip()

    @pytest.mark.parametrize("rate", [8000, 22050, 48000, 96000])
    def test_resampling_keeps_a_tone(self, rate: int) -> None:
        resampled = resample(tone(1, rate=rate), rate, RATE)

        assert abs(resampled.shape[-1] - RATE) <= 1
        torch.testing.assert_close(resampled[:, 2000:42000], tone(1)[:, 2000:42000], rtol=0, atol=1e-3)

    @pytest.mark.parametrize(
        ("samples", "named"),
        [
            (np.zeros((0, 2)), "no samples"),
            (np.array([[0.0], [np.nan]]), "not a number"),
            (np.array([[0.0], [np.inf]]), "not a number or infinite"),
        ],
    )
    def test_audio_that_can_not_be_separated_is_named(self, tmp_path: Path, samples: np.ndarray, named: str) -> None:
        soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")

        with pytest.raises(MdxError, match=rf"a\.wav.*{named}"):
            AudioStream(tmp_path / "a.wav").read()

    @pytest.mark.parametrize(
        ("content", "named"), [(b"", "is empty"), (b"plain text, no audio", "no audio"), (b"\x00" * 5000, "no audio")]
    )
    def test_a_file_that_is_no_audio_is_named(self, tmp_path: Path, content: bytes, named: str) -> None:
        (tmp_path / "a.wav").write_bytes(content)

        with pytest.raises(MdxError, match=rf"a\.wav.*{named}"):
            AudioStream(tmp_path / "a.wav").read()

    def test_a_missing_file_and_a_missing_stream_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"gone\.wav: no such file"):
            AudioStream(tmp_path / "gone.wav").read()
        clip = builtin_clip().mixture
        assert clip is not None
        with pytest.raises(MdxError, match="no such audio stream"):
            AudioStream(clip.path, stream=9).read()


class TestSongs:
    def test_a_song_is_a_folder_with_a_file_for_each_stem(self, write_song: WriteSong) -> None:
        stems = four_stems(0.1)
        write_song("b", {"Vocals": stems["vocals"], "drums": stems["drums"]}, ".flac")
        root = write_song("a", {**stems, "mixture": stems["bass"]}).parent

        first, second = SongFolders(root).songs()

        assert (first.name, sorted(first.stems), first.mixture is not None) == ("a", sorted(SOURCES), True)
        assert (second.name, sorted(second.stems), second.mixture) == ("b", ["drums", "vocals"], None)

    def test_a_folder_that_is_itself_a_song_is_one(self, write_song: WriteSong) -> None:
        assert [song.name for song in SongFolders(write_song("alone", four_stems(0.1))).songs()] == ["alone"]

    def test_a_stem_that_stands_there_twice_is_named(self, write_song: WriteSong) -> None:
        write_song("a", {"drums": noise(0.1)}, ".wav")
        root = write_song("a", {"drums": noise(0.1)}, ".flac").parent

        (song,) = SongFolders(root).songs()
        with pytest.raises(MdxError, match=r"drums\.flac and drums\.wav"):
            song.check()

    def test_folders_without_songs_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match="gone: no such folder"):
            SongFolders(tmp_path / "gone").songs()
        with pytest.raises(MdxError, match="holds no song"):
            SongFolders(tmp_path).songs()

    def test_inputs_are_files_and_whole_folders(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        names = ("one.wav", "album/two.flac", "album/disc 2/three.wav", "album/.four.wav", "album/_five/six.wav")
        left_out = ("album/._two.flac", "album/@eaDir/two.flac", "album/disc 2/__MACOSX/three.wav")
        for name in (*names, *left_out):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / name, np.zeros((9, 2)), RATE)
        (tmp_path / "album" / "cover.txt").write_text("no audio")

        songs = audio_files([tmp_path / "one.wav", tmp_path / "album"])

        assert sorted(song.name for song in songs) == [".four", "_five/six", "disc 2/three", "one", "two"]
        assert "known to be no songs: 3 (._two.flac, @eaDir, __MACOSX)" in caplog.text

    def test_links_to_folders_are_followed_once_and_not_in_circles(self, tmp_path: Path) -> None:
        music, elsewhere = tmp_path / "music", tmp_path / "elsewhere"
        for path in (music / "album" / "one.wav", elsewhere / "two.wav", elsewhere / "deep" / "three.wav"):
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.zeros((9, 2)), RATE)
        (music / "a link").symlink_to(elsewhere)
        (music / "again").symlink_to(elsewhere / "deep")
        (music / "album" / "up").symlink_to(music)
        (elsewhere / "self").symlink_to(elsewhere)
        (music / "twin").symlink_to(music / "album")
        (music / "gone").symlink_to(tmp_path / "nowhere")

        songs = audio_files([music])

        assert [song.name for song in songs] == ["album/one", "a link/two", "a link/deep/three"]
        assert not any(song.error for song in songs)
        stems = SongFolders(music.parent, {"drums": ["*two*", "*three*"]}).songs()
        assert [len(song.streams) for song in stems if song.name == "music"] == [2]

    def test_inputs_that_would_overwrite_each_other_are_named(self, tmp_path: Path) -> None:
        for name in ("song.wav", "song.flac"):
            soundfile.write(tmp_path / name, np.zeros((9, 2)), RATE)

        (song,) = audio_files([tmp_path])
        assert song.error is not None
        assert "song.flac and " in song.error
        assert "song.wav: would be written to one folder" in song.error
        (gone,) = audio_files([tmp_path / "gone.wav"])
        assert gone.error is not None
        assert "gone.wav: no such file" in gone.error


class TestGrouping:
    @pytest.mark.parametrize(
        ("stems", "sources", "expected"),
        [
            (SOURCES, SOURCES, {name: [name] for name in SOURCES}),
            (SOURCES, ["vocals", "accompaniment"], {"vocals": ["vocals"], "accompaniment": ["drums", "bass", "other"]}),
            (["vocals", "accompaniment"], ["vocals", "accompaniment"],
             {"vocals": ["vocals"], "accompaniment": ["accompaniment"]}),
            (["vocals", "instrumental"], ["vocals", "accompaniment"],
             {"vocals": ["vocals"], "accompaniment": ["instrumental"]}),
            ([*SOURCES, "guitar"], SOURCES, {**{name: [name] for name in SOURCES}, "other": ["other", "guitar"]}),
            (["vocals", "drums", "bass", "guitar"], SOURCES,
             {**{name: [name] for name in SOURCES}, "other": ["guitar"]}),
            ([*SOURCES, "guitar"], [*SOURCES, "guitar"], {name: [name] for name in [*SOURCES, "guitar"]}),
            ([*SOURCES, "instrumental"], ["vocals", "accompaniment"],
             {"vocals": ["vocals"], "accompaniment": ["drums", "bass", "other"]}),
        ],
    )  # fmt: skip
    def test_groups(self, stems: list[str], sources: list[str], expected: dict[str, list[str]]) -> None:
        assert group_stems(stems, sources, Song("a song", None)) == expected

    @pytest.mark.parametrize(
        ("stems", "sources", "expected"),
        [
            (["vocals", "instrumental"], ["Vocals", "Instrumental"],
             {"Vocals": ["vocals"], "Instrumental": ["instrumental"]}),
            (SOURCES, ["Vocals", "Instrumental"], {"Vocals": ["vocals"], "Instrumental": ["drums", "bass", "other"]}),
            (["Vocals", "Drums", "Bass", "Instrumental"], ["vocals", "other"],
             {"vocals": ["Vocals"], "other": ["Drums", "Bass"]}),
            (["VOCALS", "Guitar"], ["Vocals", "Other"], {"Vocals": ["VOCALS"], "Other": ["Guitar"]}),
            # Letters in another case are other names where both are there.
            (["Lead", "lead"], ["lead", "Lead"], {"lead": ["lead"], "Lead": ["Lead"]}),
            (["Lead", "lead"], ["lead", "other"], {"lead": ["lead"], "other": ["Lead"]}),
        ],
    )  # fmt: skip
    def test_upper_and_lower_case_are_one_name(
        self, stems: list[str], sources: list[str], expected: dict[str, list[str]]
    ) -> None:
        assert group_stems(stems, sources, Song("a song", None)) == expected

    @pytest.mark.parametrize(("stems", "sources"), [(["Lead", "LEAD"], ["lead"]), (["lead"], ["Lead", "lead"])])
    def test_a_name_that_two_differ_from_in_their_case_is_neither(self, stems: list[str], sources: list[str]) -> None:
        with pytest.raises(MdxError, match=f"no stem for the source '{sources[0]}'"):
            group_stems(stems, sources, Song("a song", None))

    @pytest.mark.parametrize(
        ("stems", "sources", "missing"),
        [
            (["vocals"], ["vocals", "instrumental"], "instrumental"),
            (["vocals"], ["Vocals", "Instrumental"], "Instrumental"),
            (["vocals"], ["vocals", "other"], "other"),
            (["instrumental"], ["vocals", "instrumental"], "vocals"),
            (["other"], ["vocals", "Other"], "vocals"),
            (["drums", "bass"], ["vocals", "Instrumental"], "vocals"),
            (["drums", "bass", "vocals"], SOURCES, "other"),
        ],
    )
    def test_the_only_source_without_a_stem_is_what_the_stems_leave_of_the_mixture(
        self, write_song: WriteSong, stems: list[str], sources: list[str], missing: str
    ) -> None:
        signals = {name: noise(1, seed=seed, level=0.05) for seed, name in enumerate(stems)}
        rest = noise(1, seed=9, level=0.05)
        root = write_song("a", {**signals, "mixture": sum(signals.values(), rest)}).parent

        (batch,) = chunks_of(SongDataModule(RATE, sources, root=root, trim=None))

        assert not batch.failures
        assert batch.references is not None
        torch.testing.assert_close(batch.references.sum(dim=1), batch.mixture)
        torch.testing.assert_close(batch.references[0, sources.index(missing)], rest)

    @pytest.mark.parametrize(
        ("stems", "sources", "settings"),
        [
            (["vocals"], ["vocals", "instrumental"], {"mixture": "sum"}),
            (["vocals"], SOURCES, {}),
            (["drums", "bass", "other"], SOURCES, {}),  # It may be a song without vocals, whose mixture is mastered.
            (["drums"], ["drums", "bass"], {}),
        ],
    )
    def test_a_source_that_the_mixture_does_not_tell_is_named(
        self, write_song: WriteSong, stems: list[str], sources: list[str], settings: dict[str, Any]
    ) -> None:
        signals = {name: noise(1, seed=seed, level=0.05) for seed, name in enumerate(stems)}
        root = write_song("a", {**signals, "mixture": noise(1, seed=9)}).parent

        with pytest.raises(MdxError, match="no stem for the source"):
            chunks_of(SongDataModule(RATE, sources, root=root, **settings))

    @pytest.mark.parametrize("missing", SOURCES)
    def test_a_missing_stem_is_named_with_the_song(self, missing: str) -> None:
        stems = [stem for stem in SOURCES if stem != missing]

        with pytest.raises(MdxError, match=rf"my/song.*'{missing}'"):
            group_stems(stems, SOURCES, Song("my/song", None))


class TestTrimming:
    def test_the_start_is_the_first_moment_at_which_every_stem_sounds(self) -> None:
        early, late = noise(3), noise(3, seed=1)
        early[:, :RATE] = 0
        late[:, : 2 * RATE] *= 1e-4

        start = first_sound({"early": early, "late": late, "silent": torch.zeros(2, 3 * RATE)}, top_db=60)

        # The first frame (2048 samples around multiples of 512) that reaches into the sound.
        assert 2 * RATE - 1024 - 512 <= start <= 2 * RATE

    def test_a_stem_60_db_below_its_loudest_frame_does_not_sound_yet(self) -> None:
        def starts(level: float) -> int:
            stem = noise(2)
            stem[:, :RATE] *= level
            return first_sound({"stem": stem}, top_db=60)

        assert starts(10 ** (-55 / 20)) == 0
        assert starts(10 ** (-65 / 20)) > RATE - 2048

    def test_chunks_begin_there(self, write_song: WriteSong) -> None:
        stems = four_stems()
        stems["drums"][:, :RATE] = 0
        root = write_song("a", stems).parent

        (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, chunk=None))
        (whole,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, chunk=None, trim=None))

        start = whole.mixture.shape[-1] - batch.mixture.shape[-1]
        assert 0 < RATE - start <= 2048
        assert batch.references is not None
        torch.testing.assert_close(batch.references[0, 1], stems["bass"][:, start:])


class TestChunks:
    def test_several_processes_share_the_songs_that_are_decoded_to_be_planned(
        self, write_song: WriteSong, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in "abcde":
            root = write_song(name, four_stems()).parent
        write_song("c", {"drums": noise(1)})  # It lacks a stem.
        (root / "c" / "vocals.wav").unlink()
        alone = SongDataModule(RATE, SOURCES, root=root)
        alone.setup("test")
        decoded: list[list[str]] = []
        gathered: list[Any] = []

        def counted(song: Song, *options: Any) -> LoadedSong:
            decoded[-1].append(song.name)
            return load_song(song, *options)

        def gather(value: Any, processes: int) -> list[Any]:
            gathered.append(value)
            return [*gathered, None][:processes] if len(gathered) == processes else [value, []]

        monkeypatch.setattr(datamodule, "load_song", counted)
        monkeypatch.setattr(datamodule, "all_gather", gather)
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        shared = SongDataModule(RATE, SOURCES, root=root)
        for rank in range(2):
            decoded.append([])
            monkeypatch.setattr(shared, "_processes", lambda rank=rank: (2, rank))
            shared.setup("test")

        assert decoded == [["a", "e"], ["b", "d"]]
        assert shared.chunk_lengths() == alone.chunk_lengths()
        assert shared.failures == alone.failures
        assert [failure.song for failure in alone.failures] == ["c"]

    def test_references_mixture_and_stems_add_up(self, write_song: WriteSong) -> None:
        stems = four_stems()
        root = write_song("a", stems).parent

        (batch,) = chunks_of(SongDataModule(RATE, ["vocals", "accompaniment"], root=root, trim=None))

        assert batch.references is not None
        torch.testing.assert_close(batch.references[0, 0], stems["vocals"])
        torch.testing.assert_close(batch.references[0, 1], stems["drums"] + stems["bass"] + stems["other"])
        torch.testing.assert_close(batch.mixture, batch.references.sum(dim=1))

    def test_the_mixture_is_shipped_or_the_sum(self, write_song: WriteSong) -> None:
        stems, shipped = four_stems(), noise(2, seed=9)
        root = write_song("a", {**stems, "mixture": shipped}).parent

        (as_shipped,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None))
        (as_sum,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None, mixture="sum"))

        torch.testing.assert_close(as_shipped.mixture[0], shipped)
        torch.testing.assert_close(as_sum.mixture[0], torch.stack(list(stems.values())).sum(0))

    def test_a_chunk_is_30_seconds_by_default_and_one_a_song(self, write_song: WriteSong) -> None:
        root = write_song("a", four_stems(31)).parent

        (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root))

        assert batch.mixture.shape == (1, 2, 30 * RATE)

    def test_all_chunks_cover_the_song_and_a_short_rest_joins_the_last(self, write_song: WriteSong) -> None:
        stems = four_stems(5.5)
        root = write_song("a", stems).parent

        batches = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None, chunk=2.0, all_chunks=True))
        joined = torch.cat([batch.mixture for batch in batches], dim=-1)
        shorter = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None, chunk=2.5, all_chunks=True))

        assert [batch.mixture.shape[-1] / RATE for batch in batches] == [2.0, 2.0, 1.5]
        assert [batch.mixture.shape[-1] / RATE for batch in shorter] == [2.5, 3.0]
        torch.testing.assert_close(joined[0], torch.stack(list(stems.values())).sum(0))
        assert [batch.origins[0].chunk for batch in batches] == [0, 1, 2]

    def test_a_batch_holds_chunks_of_one_length_and_every_chunk_comes_once(self, write_song: WriteSong) -> None:
        write_song("a", four_stems(3.2))
        root = write_song("b", four_stems(4.0)).parent
        settings: dict[str, Any] = {"root": root, "trim": None, "chunk": 1.0, "all_chunks": True}

        batches = chunks_of(SongDataModule(RATE, SOURCES, **settings, batch_size=3))

        found = [(origin.song, origin.chunk) for batch in batches for origin in batch.origins]
        assert sorted(found) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2), ("b", 3)]
        assert [len(batch.origins) for batch in batches] == [3, 1, 3]
        one_by_one = {
            (batch.origins[0].song, batch.origins[0].chunk): batch.mixture[0]
            for batch in chunks_of(SongDataModule(RATE, SOURCES, **settings))
        }
        for batch in batches:
            for origin, mixture in zip(batch.origins, batch.mixture, strict=True):
                assert torch.equal(mixture, one_by_one[origin.song, origin.chunk])

    def test_mono_and_stereo_songs_do_not_share_a_batch(self, write_song: WriteSong) -> None:
        for name, channels in (("a", 1), ("b", 2), ("c", 1)):
            root = write_song(name, four_stems(1.0, channels)).parent

        batches = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None, batch_size=3))

        assert [[origin.song for origin in batch.origins] for batch in batches] == [["a", "c"], ["b"]]
        assert [batch.mixture.shape[1] for batch in batches] == [1, 2]

    def test_silent_stems_are_marked_and_kept(self, write_song: WriteSong) -> None:
        stems = four_stems()
        stems["bass"] = torch.zeros_like(stems["bass"])
        stems["other"][1] = 0
        root = write_song("a", stems).parent

        (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root))

        assert batch.references is not None
        assert batch.silent is not None
        assert batch.references.shape[1] == 4
        assert batch.silent[0].tolist() == [[False, False], [True, True], [False, True], [False, False]]

    def test_everything_follows_the_separators_sample_rate(self, write_song: WriteSong) -> None:
        root = write_song("a", {name: tone(1, rate=22050) for name in SOURCES}, rate=22050).parent

        (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None))

        assert batch.references is not None
        assert batch.origins[0].sample_rate == 22050
        torch.testing.assert_close(batch.references[0, 0, :, 2000:42000], tone(1)[:, 2000:42000], rtol=0, atol=1e-3)

    def test_mono_stems_and_shorter_ones_are_fitted(
        self, write_song: WriteSong, caplog: pytest.LogCaptureFixture
    ) -> None:
        stems = four_stems()
        stems["bass"] = stems["bass"][:1]
        stems["vocals"] = stems["vocals"][:, :RATE]
        root = write_song("a", stems).parent

        with caplog.at_level(logging.WARNING):
            (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, trim=None))

        assert batch.references is not None
        assert torch.equal(batch.references[0, 1, 0], batch.references[0, 1, 1])
        assert (batch.references[0, 3, :, RATE:] == 0).all()
        assert "differ in length" in caplog.text

    def test_a_stem_that_enters_late_leaves_a_short_chunk(self, write_song: WriteSong) -> None:
        stems = four_stems()
        stems["drums"][:, : 2 * RATE - 2] = 0
        stems["drums"] = torch.cat([stems["drums"], torch.ones(2, RATE)], dim=-1)
        root = write_song("a", stems).parent

        (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root))

        assert batch.mixture.shape[-1] <= RATE + 2048

    def test_processes_that_read_ahead_give_the_same(self, write_song: WriteSong) -> None:
        for name in "abc":
            root = write_song(name, four_stems(0.5)).parent

        alone = chunks_of(SongDataModule(RATE, SOURCES, root=root))
        ahead = chunks_of(SongDataModule(RATE, SOURCES, root=root, num_workers=2))

        assert [batch.origins for batch in alone] == [batch.origins for batch in ahead]
        for one, other in zip(alone, ahead, strict=True):
            assert torch.equal(one.mixture, other.mixture)

    def test_predict_serves_whole_songs_as_they_are(self, tmp_path: Path) -> None:
        waveform = noise(1.5, rate=32000, channels=1)
        soundfile.write(tmp_path / "a.wav", waveform.T.numpy(), 32000, subtype="FLOAT")
        module = SongDataModule(RATE, SOURCES, input=tmp_path / "a.wav", chunk=0.5)

        module.setup("predict")
        (batch,) = list(module.predict_dataloader())

        origin = batch.origins[0]
        assert (origin.song, origin.sample_rate, origin.length) == ("a", 32000, 48000)
        assert batch.mixture.shape == (1, 1, int(1.5 * RATE))
        assert batch.references is None

    @pytest.mark.parametrize(
        ("settings", "named"), [({"chunk": 0.0}, "chunk"), ({"trim": 0.0}, "trim"), ({"batch_size": 0}, "batch_size")]
    )
    def test_a_setting_out_of_its_range_is_named(self, settings: dict[str, float], named: str) -> None:
        with pytest.raises(MdxError, match=f"data.{named}"):
            SongDataModule(RATE, SOURCES, dataset=BuiltinClip(), **settings)  # type: ignore[arg-type]


class TestNormalisation:
    @pytest.mark.parametrize("level", [-30.0, -6.0])
    def test_levels(self, level: float) -> None:
        mixture = noise(3)
        pieces = mixture.split(RATE, dim=-1)

        peak = Peak(level).gain(pieces, RATE) * mixture
        rms = Rms(level).gain(pieces, RATE) * mixture
        loud = Loudness(level).gain(pieces, RATE) * mixture

        assert 20 * peak.abs().max().log10().item() == pytest.approx(level, abs=1e-3)
        assert 10 * rms.square().mean().log10().item() == pytest.approx(level, abs=1e-3)
        assert pyloudnorm.Meter(RATE).integrated_loudness(loud.T.numpy()) == pytest.approx(level, abs=1e-3)

    @pytest.mark.parametrize("normalisation", [Peak(), Rms(), Loudness()])
    def test_silence_keeps_its_level(self, normalisation: Normalisation) -> None:
        assert normalisation.gain([torch.zeros(2, RATE)], RATE) == 1.0
        assert Loudness().gain([noise(0.2)], RATE) == 1.0

    def test_mixture_and_references_get_one_gain_that_is_told(self, write_song: WriteSong) -> None:
        root = write_song("a", four_stems()).parent

        (plain,) = chunks_of(SongDataModule(RATE, SOURCES, root=root))
        (batch,) = chunks_of(SongDataModule(RATE, SOURCES, root=root, normalisation=Peak(-1.0)))

        assert plain.references is not None
        assert batch.references is not None
        assert plain.gain.item() == 1
        assert batch.mixture.abs().max().item() == pytest.approx(10 ** (-1 / 20), abs=1e-5)
        torch.testing.assert_close(batch.mixture / batch.gain, plain.mixture)
        torch.testing.assert_close(batch.references / batch.gain, plain.references)
