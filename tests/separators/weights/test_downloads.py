"""Hubs that hang, break off, or say no: a real server on this machine in their place."""

import gc
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.demucs import Demucs

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.torchaudio import TorchaudioSeparator
from mdx_progressive.separators.weights.open_unmix import DOWNLOADS
from tests.support import open_unmix_weights
from tests.support.command import run
from tests.support.demucs_weights import save_safetensors, small_network
from tests.support.paths import CONFIGS, STUDY
from tests.support.torchaudio_weights import small_bundles, small_hdemucs

SPEECH = {"sample_rate": 16000, "nfft": 1024, "nhop": 512, "nb_channels": 1}
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
PATIENCE = 0.3
"""Seconds, in place of 30 or 10."""


class Hub(ThreadingHTTPServer):
    """Serves files by the ends of their addresses, badly.

    `faults` are what is to go wrong with the requests for contents, in their order; then all goes well. "hang" does not
    answer, "break" breaks off in the middle, a number is a status. "deaf" is a hub that answers to nothing.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[str | int] = []
        self.asked: list[str] = []
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        deaf = self.server.faults[:1] == ["deaf"]
        fault = self.server.faults.pop(0) if (body or deaf) and self.server.faults else None
        self.server.asked.append(f"{self.command} {name} {self.headers.get('Range', '')}".strip())
        if fault in ("hang", "deaf"):
            self.server.closing.wait(30)
            return
        content = self.server.files.get(name)
        status = fault if isinstance(fault, int) else 404 if content is None else 200
        if status != 200 or content is None:
            self.send_error(int(status))
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body:
            self.wfile.write(content[start : len(content) // 2 if fault == "break" else None])
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Not to the terminal."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub in place of all, which libraries wait for a moment only, and empty caches."""
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("mdx_progressive.separators.weights.downloads.PATIENCE", PATIENCE)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    original = torch.hub.download_url_to_file

    def from_here(url: str, *args: Any, **kwargs: Any) -> None:
        original(f"{server.address}/{url.rpartition('/')[2]}", *args, **kwargs)

    import_torchaudio()
    monkeypatch.setattr("torch.hub.download_url_to_file", from_here)
    monkeypatch.setattr("torchaudio.utils.download.download_url_to_file", from_here)
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", server.address)
    monkeypatch.setattr(
        f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
    for limit in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setattr(f"{constants}.{limit}", PATIENCE)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    small_bundles(monkeypatch)
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    gc.collect()  # What broke off leaves sockets to the garbage collector, which complains.


def serve_open_unmix(hub: Hub, folder: Path) -> None:
    """umxse, which has no checksums in its names."""
    for number, file in enumerate(DOWNLOADS["umxse"].files.values()):
        torch.save(open_unmix_weights.small_network(number, 1024, 1).state_dict(), folder / file)
        hub.files[file] = (folder / file).read_bytes()


def serve_torchaudio(hub: Hub, folder: Path) -> None:
    torch.save(small_hdemucs().state_dict(), folder / "net.pt")
    hub.files["hdemucs_high_musdbhq_only.pt"] = (folder / "net.pt").read_bytes()


def serve_demucs(hub: Hub, folder: Path) -> None:
    hub.files["small.yaml"] = b"models: [abc]\n"
    hub.files["abc.safetensors"] = save_safetensors(small_network(Demucs), folder / "net.safetensors").read_bytes()


FAMILIES: dict[str, tuple[Callable[[Hub, Path], None], Callable[[], Separator], str]] = {
    "open-unmix": (serve_open_unmix, lambda: OpenUnmixSeparator("umxse"), "FOLDER"),
    "torchaudio": (serve_torchaudio, TorchaudioSeparator, "FILE"),
    "demucs": (serve_demucs, lambda: DemucsSeparator("someone/small"), "FILE"),
}


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        *((name, faults) for name in FAMILIES for faults in ([], ["hang"], ["hang", "hang"])),
        ("open-unmix", [503]),
        ("torchaudio", [503, "hang"]),
        ("demucs", ["break"]),
        ("demucs", ["hang", "break"]),
        ("demucs", ["deaf", "deaf", "hang"]),
    ],
)
def test_a_hub_that_comes_to_its_senses_serves_the_network(
    hub: Hub, tmp_path: Path, name: str, faults: list[str | int]
) -> None:
    serve, load, _ = FAMILIES[name]
    serve(hub, tmp_path)
    hub.faults = list(faults)

    assert load().sources
    asked = len(hub.asked)
    assert load().sources
    assert [line for line in hub.asked[asked:] if line.startswith("GET")] == [], "the second is out of the cache"


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("fault", ["hang", "deaf", 404, 500])
def test_a_hub_that_does_not_is_told_in_one_line_with_the_way_out(
    hub: Hub, tmp_path: Path, name: str, fault: str | int
) -> None:
    serve, load, instead = FAMILIES[name]
    serve(hub, tmp_path)
    hub.faults = [fault] * 40

    with pytest.raises(
        MdxError, match=rf"could not be (had|downloaded).*--model\.separator\.weights {instead}"
    ) as caught:
        load()

    assert "\n" not in str(caught.value)
    assert len(hub.asked) < 10
    assert not [path for path in tmp_path.rglob("hub/**/*") if path.is_file()], "nothing half done stays"
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize("name", ["open-unmix", "torchaudio"])
def test_a_download_that_broke_off_without_a_checksum_does_not_stay(hub: Hub, tmp_path: Path, name: str) -> None:
    serve, load, _ = FAMILIES[name]
    serve(hub, tmp_path)
    hub.faults = ["break"]

    with pytest.raises(MdxError, match=r"could be loaded from it .*just been downloaded, and is deleted"):
        load()

    assert load().sources


def test_a_download_with_another_checksum_is_tried_again_and_not_kept(hub: Hub, tmp_path: Path) -> None:
    file = DOWNLOADS["umxhq"].files["vocals"]
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    hub.files[file] = (tmp_path / "other.pth").read_bytes()

    with pytest.raises(MdxError, match=r"vocals-b62c91ce\.pth is not there.*invalid hash value"):
        OpenUnmixSeparator("umxhq")

    assert hub.asked == [f"GET {file}"] * 3
    assert not any((tmp_path / "hub" / "checkpoints").iterdir())


def test_what_breaks_off_is_gone_on_with_where_the_hub_can(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    serve_demucs(hub, tmp_path)
    hub.faults = [200, "break"]

    DemucsSeparator("someone/small")

    half = len(hub.files["abc.safetensors"]) // 2
    assert f"GET abc.safetensors bytes={half // 1000 * 1000}-" in hub.asked


def test_a_bag_of_the_hub_can_not_name_files_elsewhere(hub: Hub, tmp_path: Path) -> None:
    serve_demucs(hub, tmp_path)
    hub.files["small.yaml"] = b"models: [../../../abc]\n"

    with pytest.raises(MdxError, match=r"\.\./abc") as caught:
        DemucsSeparator("someone/small")
    assert "\n" not in str(caught.value)
    assert len(hub.asked) < 10


def test_the_command_says_so_in_one_line(hub: Hub, own_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hub.faults = ["hang"] * 40

    assert run("test", "-c", STUDY, "--model.separator", CONFIGS / "separator" / "umxse.yaml") == 1

    _, *tried, line = capfd.readouterr().err.splitlines()
    assert line.startswith("mdx-progressive: error: the weights of 'umxse'")
    assert "timed out" in line
    assert all("is tried again" in attempt for attempt in tried)
