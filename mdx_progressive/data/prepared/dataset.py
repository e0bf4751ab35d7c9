"""The data set of songs that `prepare` has cut already."""

from pathlib import Path

from tqdm.auto import tqdm

from mdx_progressive.audio import AudioStream
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.prepared.index import PreparedIndex, StoredChunk, StoredFile
from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError, checksum


class PreparedSet(SongDataset):
    """What `mdx-progressive prepare` wrote: chunks that are trimmed and cut, each with its mixtures and stems.

    `data.chunk`, `data.all_chunks` and `data.trim` don't affect them. A song that could not be prepared can't be used,
    for the same reason.

    Args:
        root: The folder that it was written to.
        verify: Whether every file is compared with its checksum first.
    """

    def __init__(self, root: str | Path, verify: bool = False) -> None:
        self.root = Path(root)
        self._verify = verify

    def songs(self) -> list[Song]:
        index = PreparedIndex.read(self.root)
        if not index.finished:
            raise MdxError(f"{self.root}: is not finished; the same `mdx-progressive prepare` again resumes it")
        if not (index.chunks or index.failed):
            raise MdxError(f"{self.root}: holds no chunk, no song was prepared")
        chunks = tqdm(index.chunks, desc="Verifying", unit="chunk", leave=False, disable=None if self._verify else True)
        songs = [self._song(chunk) for chunk in chunks]
        return [*songs, *(Song(name, None, error=f"not prepared: {why}") for name, why in index.failed.items())]

    def _song(self, stored: StoredChunk) -> Song:
        def stream(file: StoredFile) -> AudioStream:
            return AudioStream(self.root / file.file)

        mixture = stream(stored.mixture) if stored.mixture else None
        stems = {name: stream(file) for name, file in stored.stems.items()}
        return Song(stored.song, mixture, dict(stems), stored, self._error(stored) if self._verify else None)

    def _error(self, stored: StoredChunk) -> str | None:
        """What is wrong with the files of a chunk."""
        missing = [file.file for file in stored.files if not (self.root / file.file).is_file()]
        if missing:
            return f"{self.root}: {', '.join(missing)} missing; the same `mdx-progressive prepare` again writes them"
        changed = [file.file for file in stored.files if checksum(self.root / file.file) != file.sha256]
        if changed:
            return f"{self.root}: {', '.join(changed)} changed since `prepare`; delete them and run it again"
        return None
