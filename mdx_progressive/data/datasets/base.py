"""Data sets: where songs with stems come from, one class for each kind."""

from abc import ABC, abstractmethod
from pathlib import Path

from mdx_progressive.data.song import Song, builtin_clip
from mdx_progressive.runtime import text_name


class SongDataset(ABC):
    """Songs with stems.

    Its public attributes distinguish one set from another; JSON can hold them.
    """

    @abstractmethod
    def songs(self) -> list[Song]:
        """The songs, in the order of their names. One that can't be used is among them, with the reason (`error`).

        Raises:
            MdxError: If there are none at all.
        """

    def description(self) -> dict[str, object]:
        """Class and public attributes, to see whether another set is the same; paths are absolute.

        Example:
            >>> BuiltinClip().description()
            {'class': 'BuiltinClip'}
        """
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        plain = {
            name: text_name(str(value.absolute())) if isinstance(value, Path) else value
            for name, value in public.items()
        }
        return {"class": type(self).__name__, **plain}


class BuiltinClip(SongDataset):
    """The 6 s excerpt of MUSDB18's test set that the `stempeg` wheel carries."""

    def songs(self) -> list[Song]:
        return [builtin_clip()]
