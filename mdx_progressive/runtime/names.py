"""Safe file names: names of songs and stems as names of folders and files, on every system."""

from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

from pathvalidate import sanitize_filename


def safe_names(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A name for a file or folder for each name, no two of them alike.

    What is no safe name (slashes, `..`, reserved or long names), or is one that differs from another in upper and
    lower case alone, gets the beginning of its checksum as an ending.

    Args:
        names: Any names.
        taken: Names that others have.

    Example:
        >>> safe_names(["Falcon 69", "../AC/DC", "a", "A"])
        {'Falcon 69': 'Falcon 69', '../AC/DC': '_AC_DC-f81f7a96', 'a': 'a-ca978112', 'A': 'A-559aead0'}
    """
    sanitised = {name: sanitize_filename(name.lstrip(". "), "_", platform="universal", max_len=120) for name in names}
    users = Counter(safe.casefold() for safe in [*sanitised.values(), *taken])
    return {
        name: safe
        if name and safe == name and users[safe.casefold()] == 1
        else f"{safe}-{sha256(name.encode()).hexdigest()[:8]}"
        for name, safe in sanitised.items()
    }
