"""Import of torchaudio without its compiled part, where that does not fit the installed torch."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mdx_progressive.runtime.errors import MdxError


def import_torchaudio() -> ModuleType:
    """`import torchaudio`, which also makes that of `openunmix` possible.

    The torchaudio 2.11 of the package index is linked against CUDA, and a plain import raises `OSError` beside a
    torch for the CPU. Its networks and pipelines are Python alone, and torchaudio does without the compiled part where
    it finds no file of it. So after a failed import it is made to look for the file in a folder that does not exist.

    Returns:
        The module. It then is in `sys.modules`, and a plain `import torchaudio` gives the same.

    Raises:
        MdxError: If torchaudio is missing, or can't be imported without its compiled part either.
    """
    try:
        return import_module("torchaudio")
    except (ImportError, OSError, RuntimeError) as error:
        if find_spec("torchaudio") is None:
            raise MdxError("the torchaudio package is missing: pip install torchaudio") from error
        try:
            return _without_compiled_part()
        except Exception as second:  # A torchaudio of another build may raise anything.
            raise MdxError(
                f"torchaudio can't be imported ({error}), and not without its compiled part either ({second!r}):"
                " pip install --force-reinstall --no-deps torchaudio"
            ) from second


def _without_compiled_part() -> ModuleType:
    """A second import, after one that failed at the compiled part."""
    # Python forgets the package that failed, but keeps its modules that had been imported by then.
    kept: dict[str, Any] = {name: module for name, module in sys.modules.items() if name.startswith("torchaudio.")}
    kept["torchaudio._extension.utils"]._LIB_DIR = Path(__file__).parent / "no libraries here"
    torchaudio = import_module("torchaudio")
    for name, module in kept.items():
        # Only an import of its own sets a module as an attribute of the package above it.
        package, _, short = name.rpartition(".")
        setattr(sys.modules[package], short, module)
    return torchaudio
