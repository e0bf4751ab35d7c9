"""torchaudio, with its compiled part or without."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from tests.support.processes import run_interpreter

IN_A_NEW_PROCESS = """
import sys
from mdx_progressive.runtime.torchaudio_import import import_torchaudio
torchaudio = import_torchaudio()
import torchaudio as plainly, openunmix.model
assert plainly is torchaudio is sys.modules["torchaudio"] is import_torchaudio()
for name, module in list(sys.modules.items()):
    package, _, short = name.rpartition(".")
    assert not name.startswith("torchaudio.") or getattr(sys.modules[package], short) is module, name
import torch
shape = torchaudio.functional.resample(torch.zeros(1, 441), 44100, 16000).shape
assert shape == (1, 160) and torchaudio.pipelines.HDEMUCS_HIGH_MUSDB.sample_rate == 44100
"""


def of_torchaudio() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchaudio"}


@pytest.fixture
def forgotten() -> Iterator[None]:
    before = of_torchaudio()
    for name in before:
        del sys.modules[name]
    yield
    for name in of_torchaudio():
        del sys.modules[name]
    sys.modules.update(before)


def test_it_is_imported_whole_and_without_a_warning_beside_any_torch() -> None:
    ended = run_interpreter("-W", "error", "-c", IN_A_NEW_PROCESS)

    assert ended.exit_code == 0, ended.err


def test_a_missing_torchaudio_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)

    with pytest.raises(MdxError, match="pip install torchaudio"):
        import_torchaudio()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("extension", ["", "raise OSError('libnone.so')"], ids=["another", "broken"])
def test_a_torchaudio_that_can_not_be_imported_either_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    package = tmp_path / "torchaudio" / "_extension"
    package.mkdir(parents=True)
    (tmp_path / "torchaudio" / "__init__.py").write_text("from . import _extension\nraise OSError('libnone.so')")
    (package / "__init__.py").write_text(f"from . import utils\n{extension}" if extension else "")
    (package / "utils.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(MdxError, match=r"libnone\.so.*--force-reinstall"):
        import_torchaudio()
    assert "torchaudio" not in sys.modules
