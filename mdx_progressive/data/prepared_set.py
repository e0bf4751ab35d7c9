"""Songs that `prepare` has cut already."""

import logging
from pathlib import Path

from tqdm.auto import tqdm

from mdx_progressive.checksums import checksum
from mdx_progressive.data.audio import AudioStream
from mdx_progressive.data.prepared_index import Index, StoredChunk, StoredFile
from mdx_progressive.data.song_set import SongSet
from mdx_progressive.data.songs import Cut, Song
from mdx_progressive.errors import MdxError

log = logging.getLogger(__name__)


class PreparedSet(SongSet):
    """What `mdx-progressive prepare` wrote: chunks that are trimmed and cut, each with its mixtures and stems.

    `data.chunk`, `data.all_chunks` and `data.trim` have no say about them.

    Args:
        root: The folder that it was written to.
        verify: Whether every file is compared with its checksum first.
    """

    def __init__(self, root: Path, verify: bool = False) -> None:
        self.root = root
        self._verify = verify

    def songs(self) -> list[Song]:
        index = Index.read(self.root)
        if not index.finished:
            raise MdxError(f"{self.root}: is not finished; the same `mdx-progressive prepare` again goes on with it")
        if not index.chunks:
            raise MdxError(f"{self.root}: holds no chunk, no song could be prepared")
        if index.failed:
            log.warning("%s: without %s, which could not be prepared", self.root, ", ".join(index.failed))
        chunks = tqdm(index.chunks, desc="Verifying", unit="chunk", leave=False, disable=not self._verify)
        return [self._song(chunk) for chunk in chunks]

    def _song(self, stored: StoredChunk) -> Song:
        def stream(file: StoredFile) -> AudioStream:
            return AudioStream(self.root / file.file)

        cut = Cut(stored.chunk, stored.length, stored.sample_rate, stored.channels)
        mixture = stream(stored.mixture) if stored.mixture else None
        stems = {name: stream(file) for name, file in stored.stems.items()}
        return Song(stored.song, mixture, dict(stems), cut, self._fault(stored) if self._verify else None)

    def _fault(self, stored: StoredChunk) -> str | None:
        """What is wrong with the files of a chunk."""
        missing = [file.file for file in stored.files if not (self.root / file.file).is_file()]
        if missing:
            return f"{self.root}: {', '.join(missing)} missing; the same `mdx-progressive prepare` again writes them"
        changed = [file.file for file in stored.files if checksum(self.root / file.file) != file.sha256]
        if changed:
            return f"{self.root}: {', '.join(changed)} changed since `prepare`; delete them and run it again"
        return None
