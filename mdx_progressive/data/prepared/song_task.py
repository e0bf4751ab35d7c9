"""Preparing one song: it is decoded, trimmed, cut, and stored chunk by chunk."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import soundfile
import torch
from torch import Tensor

from mdx_progressive.audio import AudioFormat, AudioStream, Header, Signal, exact_storage
from mdx_progressive.data.chunk_plan import ChunkPlan, ChunkSpan
from mdx_progressive.data.prepared.headers import bit_depth, stem_differences
from mdx_progressive.data.prepared.index import PreparedSong, StoredChunk, StoredFile
from mdx_progressive.data.prepared.journal import SongJournal
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import LoadedSong, load_song, sum_of_stems
from mdx_progressive.dsp import silent_channels
from mdx_progressive.runtime import MdxError, atomic_write, checksum, escape_unprintable, is_disk_full, safe_names

JOURNAL_NAME = "chunks.jsonl"


@dataclass(frozen=True)
class CutSettings(ChunkPlan):
    """How songs are trimmed, cut and stored.

    Args:
        chunk, trim, all_chunks: As for `ChunkPlan`.
        format: flac or wav; what neither 16 nor 24 bits hold exactly is a float32 wav anyway.
    """

    format: AudioFormat = "flac"
    option: ClassVar[str] = "--"


class SongTask(NamedTuple):
    """A song to prepare, in its `folder` below the set's `root`; may be called in a process of its own."""

    song: Song
    root: Path
    folder: str
    cutting: CutSettings
    fingerprint: str

    @property
    def journal(self) -> SongJournal:
        """What an interrupted run has done of the song."""
        return SongJournal(self.root / self.folder / JOURNAL_NAME, self.song.name, self.fingerprint)

    def __call__(self) -> PreparedSong:
        """The prepared song; an error is in the result, and not raised unless the disk is full."""
        try:
            finished = self.journal.ended()
            return finished if finished is not None and finished.is_complete(self.root) else self._prepare()
        except (MdxError, OSError, soundfile.SoundFileError) as error:
            if is_disk_full(error):
                raise
            return PreparedSong(self.song.name, [], error=escape_unprintable(str(error)))

    def discard(self) -> None:
        """Remove the folders of the song's chunks, with what a kill may have left in them."""
        for folder in (self.root / self.folder).glob("[0-9]*"):
            shutil.rmtree(folder)
        self.journal.path.unlink(missing_ok=True)

    def _prepare(self) -> PreparedSong:
        self.song.check()
        headers = {stream: stream.header() for stream in self.song.streams}
        loaded = load_song(self.song, None, "shipped")
        spans = self.cutting.spans(self.song, loaded, loaded.sample_rate)
        (self.root / self.folder).mkdir(exist_ok=True)
        self.journal.begin()
        earlier = self.journal.chunks()
        chunks = []
        for span in spans:
            chunk = earlier.get(span.chunk)
            if chunk is None or not chunk.is_complete(self.root):
                chunk = self._store(span, loaded, headers)
                self.journal.add(chunk)
            chunks.append(chunk)
        differences = stem_differences(self.song, headers)
        self.journal.end(differences)
        return PreparedSong(self.song.name, chunks, differences, self.fingerprint)

    def _store(self, span: ChunkSpan, loaded: LoadedSong, headers: Mapping[AudioStream, Header]) -> StoredChunk:
        song, rate = self.song, loaded.sample_rate
        part = slice(span.start, span.start + span.length)
        stems = {name: stem[:, part] for name, stem in loaded.stems.items()}
        mixture = loaded.mixture[:, part]
        channels, length = mixture.shape
        silent = silent_channels(torch.stack(list(stems.values())).unsqueeze(0), mixture.unsqueeze(0))[0].all(dim=-1)
        folder = self.root / self.folder / f"{span.chunk:03}"
        folder.mkdir(exist_ok=True)
        names = safe_names(stems, taken=("mixture", "uniform"))

        def store(name: str, waveform: Tensor, *signals: Signal) -> StoredFile:
            storage = exact_storage(waveform, self.cutting.format, bit_depth(signals, headers) or 0)
            path = folder / f"{name}{storage.suffix}"
            with atomic_write(path) as temporary:
                storage.write(temporary, waveform, rate)
                sha256 = checksum(temporary)
            return StoredFile(path.relative_to(self.root).as_posix(), storage.encoding, sha256)

        sources = [song.stems[name] for name in stems]
        return StoredChunk(
            song=song.name,
            chunk=span.chunk,
            start=span.start,
            start_seconds=span.start / rate,
            length=length,
            length_seconds=length / rate,
            sample_rate=rate,
            channels=channels,
            bit_depth=bit_depth([*([song.mixture] if song.mixture else []), *sources], headers),
            silent=[name for name, is_silent in zip(stems, silent.tolist(), strict=True) if is_silent],
            mixture=store("mixture", mixture, song.mixture) if song.mixture else None,
            uniform=store("uniform", sum_of_stems(stems), *sources),
            stems={name: store(names[name], stem, song.stems[name]) for name, stem in stems.items()},
        )
