"""A pickle that acts when it is loaded without a guard."""

from pathlib import Path
from typing import Any


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)
