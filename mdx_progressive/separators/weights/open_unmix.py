"""Weights of Open-Unmix: a file for each source, from Zenodo or local."""

import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from mdx_progressive.runtime import MdxError, import_torchaudio
from mdx_progressive.separators.weights.descriptions import HIGHEST_RATE
from mdx_progressive.separators.weights.downloads import downloaded
from mdx_progressive.separators.weights.state_dict import SizeLimit, fill_network, load_state_dict, reading

if TYPE_CHECKING:
    from openunmix.model import OpenUnmix

_KIND = "weights of an Open-Unmix"


class Transform(NamedTuple):
    """The STFT that networks were trained on: lengths in samples."""

    sample_rate: int
    window: int
    hop: int
    channels: int


class Download(NamedTuple):
    """Where weights are published, with the file of each source."""

    folder: str
    transform: Transform
    files: dict[str, str]


_MUSIC = Transform(44100, 4096, 1024, 2)
DOWNLOADS = {
    "umxhq": Download(
        "https://zenodo.org/records/3370489/files/", _MUSIC,
        {"vocals": "vocals-b62c91ce.pth", "drums": "drums-9619578f.pth",
         "bass": "bass-8d85a5bd.pth", "other": "other-b52fbbf7.pth"}),
    "umxl": Download(
        "https://zenodo.org/records/5069601/files/", _MUSIC,
        {"vocals": "vocals-bccbd9aa.pth", "drums": "drums-69e0ebd4.pth",
         "bass": "bass-2ca1ce51.pth", "other": "other-c8c5b3e6.pth"}),
    "umx": Download(
        "https://zenodo.org/records/3370486/files/", _MUSIC,
        {"vocals": "vocals-c8df74a5.pth", "drums": "drums-5a48008b.pth",
         "bass": "bass-646024d3.pth", "other": "other-f8e132cc.pth"}),
    "umxse": Download(
        "https://zenodo.org/records/3786908/files/", Transform(16000, 1024, 512, 1),
        {"speech": "speech_f5e0d9f9.pth", "noise": "noise_04a6fc2d.pth"}),
}  # fmt: skip
"""As in the functions of `openunmix` that have these names."""


Loaded = tuple["dict[str, OpenUnmix]", Transform, list[Path]]
"""The network of each source, the transform that they share, and their files."""


def import_open_unmix() -> "type[OpenUnmix]":
    """The network's class, where its package is installed."""
    import_torchaudio()
    try:
        from openunmix.model import OpenUnmix
    except ImportError as error:
        raise MdxError("the openunmix package is missing: pip install openunmix") from error
    network: type[OpenUnmix] = OpenUnmix
    return network


def load_download(name: str) -> Loaded:
    """Load published weights from the cache of `torch.hub` or from Zenodo."""
    folder, transform, files = DOWNLOADS[name]
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    networks = {}
    for source, file in files.items():
        path = cache / file
        digits = re.search(r"-([0-9a-f]{8})\.", file)
        download = partial(torch.hub.download_url_to_file, folder + file, str(path), digits and digits[1])
        with downloaded(path, download, f"the weights of {name!r}", "FOLDER"):
            networks[source] = _load_network(path, transform)
    return networks, transform, [cache / file for file in files.values()]


def load_local(path: Path, name: str) -> Loaded:
    """Load a folder or a file, with the transform of its `separator.json` or else of the published `name`."""
    folder, paths = (path, sorted(path.glob("*.pth"))) if path.is_dir() else (path.parent, [path])
    if not paths:
        raise MdxError(f"{path}: no .pth file in this folder ({_KIND}, SOURCE.pth)")
    files: dict[str, Path] = {}
    for file in paths:
        source = re.sub(r"[-_][0-9a-f]{8}$", "", file.stem)
        if source in files:
            raise MdxError(f"{folder}: both {files[source].name} and {file.name} are weights for {source}")
        files[source] = file
    description = folder / "separator.json"
    described = description.is_file()
    transform = _read_transform(description) if described else DOWNLOADS[name].transform
    order = [*DOWNLOADS[name].files, *files]
    networks = {source: _load_network(files[source], transform) for source in sorted(files, key=order.index)}
    return networks, transform, [*paths, *([description] if described else [])]


def _read_transform(path: Path) -> Transform:
    with reading(path, "description of a separator, with sample_rate, nfft, nhop and nb_channels,"):
        content = json.loads(path.read_text(encoding="utf-8"))
        transform = Transform(*(int(content[key]) for key in ("sample_rate", "nfft", "nhop", "nb_channels")))
    sample_rate, window, hop, channels = transform
    if not (1 <= sample_rate <= HIGHEST_RATE and 1 <= hop <= window // 2 and channels in (1, 2)):
        raise MdxError(
            f"{path}: sample_rate must be above 0 and at most {HIGHEST_RATE}, nhop at most half of nfft, and"
            f" nb_channels 1 or 2, not {sample_rate}, {hop} of {window}, and {channels}"
        )
    return transform


def _load_network(path: Path, transform: Transform) -> "OpenUnmix":
    """A network of the size that the shapes of its weights give."""
    state = load_state_dict(path, _KIND)
    needed = ("input_mean", "output_mean", "fc1.weight", "fc3.weight")
    if lacking := [name for name in needed if name not in state]:
        raise MdxError(f"{path}: not the weights of an Open-Unmix, it lacks {', '.join(lacking)}")
    with reading(path, _KIND), SizeLimit(path):
        bins = len(state["output_mean"])
        window, channels = 2 * (bins - 1), len(state["fc3.weight"]) / bins
        if (window, channels) != (transform.window, transform.channels):
            raise MdxError(
                f"{path}: for windows of {window} samples and {channels:g} channels, and not of {transform.window} and"
                f" {transform.channels}, as separator.json says, or without one the model's name"
            )
        network = import_open_unmix()(
            nb_bins=bins,
            nb_channels=transform.channels,
            hidden_size=len(state["fc1.weight"]),
            nb_layers=sum(re.fullmatch(r"lstm\.weight_ih_l\d+", key) is not None for key in state),
            unidirectional="lstm.weight_ih_l0_reverse" not in state,
            max_bin=len(state["input_mean"]),
        )
    # openunmix, too, lets a file hold more than the network.
    own = network.state_dict()
    fill_network(network, {name: value for name, value in state.items() if name in own}, path, "an Open-Unmix")
    return network
