"""Which songs a run of `predict` leaves out: those that are finished, and those that another run is writing."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Self

from mdx_progressive.data import Song
from mdx_progressive.output.claims import Claims
from mdx_progressive.output.provenance import Maker
from mdx_progressive.output.stem_paths import StemPaths
from mdx_progressive.runtime import MdxError, counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SongChoice:
    """The songs of a run, sorted by the stems that exist.

    Args:
        total: How many songs were looked at.
        finished: Names of those that have all of their stems.
        taken: Names of those that another run is writing.
        silent: Names of the finished ones of which a stem does not tell what made it.
        differences: Of songs with a stem that this run would not make: that stem, and how it was made.
    """

    total: int
    finished: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    differences: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of(cls, songs: Sequence[Song], paths: StemPaths, maker: Maker | None, claims: Claims) -> Self:
        """Sort songs, and claim the files of all but those of another run, if no stem is in the way.

        Args:
            songs: The songs that can be read.
            paths: Their stems.
            maker: What makes the stems of this run; None where that is not known, which takes any stem for one.
            claims: Those of this process.

        Raises:
            MdxError: If another run does not come to the end of its own choice.
        """
        choice = cls(len(songs))
        with claims.choosing() as claimed:
            for song in songs:
                if not paths.missing(song.name):
                    choice.finished.add(song.name)
                if not claimed.isdisjoint(paths.reserved(song.name)):
                    choice.taken.add(song.name)
                elif maker:
                    choice._compare(song, paths.existing(song.name), maker)
            if not choice.differences:
                choice._claim(songs, paths, claims)
        return choice

    def claim(self, songs: Iterable[Song], paths: StemPaths, claims: Claims) -> None:
        """Claim for another process of the run what `of` has claimed for the first."""
        with claims.choosing():
            self._claim(songs, paths, claims)

    def check(self, out: Path) -> None:
        """Refuse to begin where stems are in the way.

        Raises:
            MdxError: If there are stems that this run would not make, which nobody has asked to replace.
        """
        for path, difference in self.differences.items():
            raise MdxError(
                f"{out}: has stems that are not those of this run, of {len(self.differences)} of"
                f" {counted(self.total, 'song')}: {path}: it was made {difference}:"
                " --overwrite replaces them, -o FOLDER writes elsewhere"
            )

    def tell(self, out: Path) -> None:
        """Log which songs are left out, and why."""
        total = counted(self.total, "song")
        if told := len(self.finished - self.silent):
            log.info("finished in %s: %d of %s; --overwrite separates them again", out, told, total)
        if self.silent:
            log.info("stems in %s don't tell what made them: %d of %s; --overwrite replaces them",
                     out, len(self.silent), total)  # fmt: skip
        if elsewhere := self.taken - self.finished:
            log.info("left to another run, which is writing them to %s: %d of %s", out, len(elsewhere), total)

    def _compare(self, song: Song, existing: Sequence[Path], maker: Maker) -> None:
        told = maker.differences(song, existing)
        if song.name in self.finished and len(told) < len(existing):
            self.silent.add(song.name)
        for path, difference in told.items():
            if difference:
                self.differences[path] = difference
                break

    def _claim(self, songs: Iterable[Song], paths: StemPaths, claims: Claims) -> None:
        own = (song.name for song in songs if song.name not in self.taken)
        claims.claim(chain.from_iterable(map(paths.reserved, own)))
