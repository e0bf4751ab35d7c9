"""Names: those of songs and stems as text, and as names of folders and files on every system."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

from pathvalidate import sanitize_filename

_NO_TEXT = re.compile("[\ud800-\udfff]")
"""How Python has the bytes of a name that are no UTF-8, and halves of characters in names of Windows."""
_ENDINGS = re.compile(r"(?<=[^/\\])[. ]+(?=[/\\]|$)")
_LONGEST = 200
"""Bytes of an escaped name, which has room for an ending then."""
_LONGEST_SAFE = 80
"""Letters of a safe name: a path of two of them stays below the 260 that Windows takes."""
_CONSOLE = {"conin$", "conout$"}
"""Names that Windows reserves beside those that `pathvalidate` knows."""


def text_name(name: str) -> str:
    r"""A name from a file system as text, which every encoder takes: bytes that are no UTF-8 become %FF.

    What is text stays as it is. A name that would be too long then is cut, and gets its checksum as an ending.

    Args:
        name: A name, or a path with slashes.

    Example:
        >>> text_name("caf\udce9"), text_name("café")
        ('caf%E9', 'café')
    """
    return "/".join(map(_escape_bytes, name.split("/"))) if _NO_TEXT.search(name) else name


def safe_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A name for a file or folder for each name, no two of them alike.

    What is no safe name (slashes, `..`, reserved or long names), or is one that differs from another in upper and
    lower case or in how its accents are written alone, gets the beginning of its checksum as an ending.

    Args:
        names: Any names.
        taken: Names that others have.

    Example:
        >>> safe_names(["Falcon 69", "../AC/DC", "a", "A"])
        {'Falcon 69': 'Falcon 69', '../AC/DC': '_AC_DC-f81f7a96', 'a': 'a-ca978112', 'A': 'A-559aead0'}
    """
    sanitised = {name: _sanitised(name) for name in names}
    users = Counter(disk_name(safe) for safe in [*sanitised.values(), *taken])
    return {
        name: safe if name and safe == name and users[disk_name(safe)] == 1 else f"{safe}-{_checksum(name)}"
        for name, safe in sanitised.items()
    }


def disk_name(name: str) -> str:
    """Equal for names, or paths, that some file system takes for one.

    Windows and macOS do it with `a` and `A`, and Windows leaves out dots and spaces at the end of each part.

    Example:
        >>> disk_name("Wait.../vocals.wav") == disk_name("wait/vocals.wav")
        True
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return _ENDINGS.sub("", folded)


def find_name(name: str, names: Iterable[str]) -> str | None:
    """The name itself among others, or else the only one that differs in case or how accents are written alone.

    Example:
        >>> find_name("vocals", ["Vocals", "Drums"]), find_name("vocals", ["Vocals", "VOCALS"])
        ('Vocals', None)
    """
    alike = [each for each in names if disk_name(each) == disk_name(name)]
    if name in alike:
        return name
    return alike[0] if len(alike) == 1 else None


def _escape_bytes(part: str) -> str:
    escaped = _NO_TEXT.sub(_escape_byte, part)
    if escaped == part or len(escaped.encode()) <= _LONGEST:
        return escaped
    return f"{escaped.encode()[:_LONGEST].decode(errors='ignore')}-{_checksum(part)}"


def _escape_byte(letter: re.Match[str]) -> str:
    code = ord(letter[0])
    return f"%{code & 0xFF:02X}" if 0xDC80 <= code <= 0xDCFF else f"%u{code:04X}"


def _sanitised(name: str) -> str:
    safe = sanitize_filename(text_name(name).lstrip(". "), "_", platform="universal", max_len=_LONGEST_SAFE).rstrip(
        ". "
    )
    return f"{safe}_" if safe.casefold() in _CONSOLE else safe


def _checksum(name: str) -> str:
    return sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
