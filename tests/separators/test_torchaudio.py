"""torchaudio's Hybrid Demucs: equal to its own network, and what is refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdx_progressive.cli.main import main
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from mdx_progressive.separators.torchaudio import TorchaudioSeparator
from tests.support.hostile_pickle import Hostile
from tests.support.paths import CONFIGS, STUDY
from tests.support.signals import RATE, SOURCES, noise
from tests.support.torchaudio_weights import small_bundles, small_hdemucs, small_torchaudio

NAMES = [known.name for known in TorchaudioSeparator.published]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names stand for a small network."""
    small_bundles(monkeypatch)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torchaudio, and no way to its server."""

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise URLError("no way there")

    monkeypatch.setattr("torchaudio.utils.download.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "torchaudio" / "models"


def normalised(function: Callable[[Tensor], Tensor], mixture: Tensor) -> Tensor:
    """As torchaudio's tutorial normalises a mixture (channel, time)."""
    reference = mixture.mean(0)
    normal = (mixture - reference.mean()) / reference.std()
    return function(normal[None])[0] * reference.std() + reference.mean()


def overlap_add(network: nn.Module, mixture: Tensor, segment: int, stride: int) -> Tensor:
    """The network over segments (1, channel, time), each weighted by a triangle."""
    length = mixture.shape[-1]
    rise = torch.arange(1.0, segment // 2 + 1)
    triangle = torch.cat([rise, rise.flip(0)]) / (segment // 2)
    total, weight = torch.zeros(1, len(SOURCES), 2, length), torch.zeros(length)
    for start in range(0, length, stride):
        part = mixture[..., start : start + segment]
        window = triangle[: part.shape[-1]]
        total[..., start : start + segment] += window * network(part)
        weight[start : start + segment] += window
    return total / weight


class TestHDemucs:
    @pytest.mark.parametrize("samples", [2048, 5000, RATE // 2, RATE])
    @torch.no_grad()
    def test_a_single_segment_equals_torchaudios_forward(self, tmp_path: Path, samples: int) -> None:
        mixture = noise(1)[:, :samples]
        expected = normalised(small_hdemucs(seed=1), mixture)

        estimates = small_torchaudio(tmp_path, segment=1.0, overlap=0)(mixture[None])[0]

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)
        assert estimates.std() > 0.05 * mixture.std()

    @pytest.mark.parametrize("overlap", [0.25, 0.5])
    @torch.no_grad()
    def test_several_segments_equal_torchaudios_forward_over_each(self, tmp_path: Path, overlap: float) -> None:
        network, mixture = small_hdemucs(seed=1), noise(2.3)
        stride = int((1 - overlap) * RATE)
        expected = normalised(lambda normal: overlap_add(network, normal, RATE, stride), mixture)

        estimates = small_torchaudio(tmp_path, segment=1.0, overlap=overlap, batch_size=2)(mixture[None])[0]

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)

    @torch.no_grad()
    def test_the_real_size_equals_torchaudios_forward(self, hub: Path) -> None:
        torch.manual_seed(0)
        network = import_torchaudio().models.hdemucs_high(list(SOURCES)).eval()
        hub.mkdir(parents=True)
        path = hub / "hdemucs_high_trained.pt"
        torch.save(network.state_dict(), path)
        mixture = noise(0.4)
        expected = normalised(network, mixture)

        separator = TorchaudioSeparator("HDEMUCS_HIGH_MUSDB_PLUS")
        path.unlink()  # It is large.

        torch.testing.assert_close(separator(mixture[None])[0], expected, rtol=0, atol=1e-6)
        assert (separator.sources, separator.sample_rate, separator.segment) == (SOURCES, RATE, 10.0)
        assert separator.musdb_test is True

    def test_the_level_of_the_mixture_does_not_matter(self, tmp_path: Path) -> None:
        separator, mixture = small_torchaudio(tmp_path), noise(1)[None]

        torch.testing.assert_close(separator(8 * mixture), 8 * separator(mixture), rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("samples", [2, 768, 1025, 1280])
    @torch.no_grad()
    def test_what_is_too_short_for_torchaudio_is_heard_amid_silence(self, tmp_path: Path, samples: int) -> None:
        network, mixture = small_hdemucs(seed=1), noise(1)[:, :samples]
        margin = (2048 - samples) // 2
        with pytest.raises(ValueError, match="Spectrogram"):
            network(mixture[None])

        def amid_silence(normal: Tensor) -> Tensor:
            padded = functional.pad(normal, (margin, 2048 - samples - margin))
            return network(padded)[..., margin : margin + samples]

        estimates = small_torchaudio(tmp_path)(mixture[None])[0]

        torch.testing.assert_close(estimates, normalised(amid_silence, mixture), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_published_facts_are_those_of_the_pipeline(self, name: str) -> None:
        (known,) = (known for known in TorchaudioSeparator.published if known.name == name)
        bundle = getattr(import_torchaudio().pipelines, name)

        assert bundle.sample_rate == known.sample_rate
        assert tuple(bundle._model_factory_func.keywords["sources"]) == known.sources
        assert ("test sets" in bundle.__doc__) == known.musdb_test


@pytest.mark.usefixtures("small")
class TestWeights:
    @pytest.mark.parametrize(
        ("name", "file", "test"),
        [
            ("HDEMUCS_HIGH_MUSDB", "hdemucs_high_musdbhq_only.pt", False),
            ("HDEMUCS_HIGH_MUSDB_PLUS", "hdemucs_high_trained.pt", True),
        ],
    )
    def test_a_name_is_loaded_from_torchaudios_cache(self, hub: Path, name: str, file: str, test: bool) -> None:
        hub.mkdir(parents=True)
        torch.save(small_hdemucs(seed=2).state_dict(), hub / file)

        separator = TorchaudioSeparator(name)

        assert separator.musdb_test is test
        loaded, expected = separator.networks[0].state_dict(), small_hdemucs(seed=2).state_dict()
        for found, wanted in zip(loaded.values(), expected.values(), strict=True):
            assert torch.equal(found, wanted)

    def test_a_measurement_with_weights_that_know_the_test_set_says_so(
        self, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        hub.mkdir(parents=True)
        torch.save(small_hdemucs().state_dict(), hub / "hdemucs_high_trained.pt")
        monkeypatch.chdir(tmp_path)
        preset = str(CONFIGS / "separator" / "hdemucs_high_plus.yaml")
        settings = ["--data.chunk", "1", "--model.compare", "null", "--model.method.steps", "1"]

        assert main(["test", "-c", str(STUDY), "--model.separator", preset, *settings]) == 0

        assert "trained on MUSDB18's test set" in caplog.text
        summary = json.loads((tmp_path / "logs" / "demo" / "version_0" / "summary.json").read_text())
        assert summary["trained_on_musdb18_test"] is True

    @pytest.mark.parametrize("name", NAMES)
    def test_without_a_way_to_the_server_the_error_names_the_way_out(self, hub: Path, name: str) -> None:
        with pytest.raises(MdxError, match=rf"{name}.*no way there.*--model\.separator\.weights FILE") as caught:
            TorchaudioSeparator(name)
        assert "\n" not in str(caught.value)

    def test_local_weights_are_of_unknown_training(self, tmp_path: Path) -> None:
        separator = small_torchaudio(tmp_path)

        assert separator.musdb_test is None
        assert separator.licence == "unknown"

    def test_an_unknown_name_is_named_with_those_there_are(self) -> None:
        with pytest.raises(MdxError, match=r"'htdemucs'.*HDEMUCS_HIGH_MUSDB and HDEMUCS_HIGH_MUSDB_PLUS"):
            TorchaudioSeparator("htdemucs")

    @pytest.mark.parametrize(
        "other", [{"channels": 24}, {"depth": 5, "nfft": 1024}, {"sources": ["vocals", "rest"]}], ids=str
    )
    def test_the_weights_of_another_network_are_refused(self, tmp_path: Path, other: dict[str, Any]) -> None:
        torch.manual_seed(0)
        network = import_torchaudio().models.HDemucs(**{"sources": SOURCES, "channels": 16, **other})
        torch.save(network.state_dict(), tmp_path / "other.pt")

        with pytest.raises(MdxError, match=r"other\.pt: not the weights of torchaudio's hdemucs_high") as caught:
            TorchaudioSeparator(weights=tmp_path / "other.pt")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x00" * 4096])
    def test_a_broken_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "net.pt").write_bytes(content)

        with pytest.raises(MdxError, match=r"net\.pt: "):
            TorchaudioSeparator(weights=tmp_path / "net.pt")

    def test_a_truncated_file_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "net.pt"
        torch.save(small_hdemucs().state_dict(), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

        with pytest.raises(MdxError, match=r"net\.pt: no state dict .* could be loaded"):
            TorchaudioSeparator(weights=path)

    @pytest.mark.parametrize("content", [[torch.zeros(1)], {}, {"epoch": 3}, torch.zeros(1)], ids=str)
    def test_what_is_no_state_dict_is_named(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "net.pt")

        with pytest.raises(MdxError, match=r"net\.pt: not a state dict"):
            TorchaudioSeparator(weights=tmp_path / "net.pt")

    @pytest.mark.parametrize("write", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, 2))])
    def test_a_hostile_pickle_is_refused_and_not_run(self, tmp_path: Path, write: Callable[[Any, Path], Any]) -> None:
        witness = tmp_path / "it ran"
        write({"weight": Hostile(witness)}, tmp_path / "net.pt")

        with pytest.raises(MdxError, match=r"net\.pt: refused"):
            TorchaudioSeparator(weights=tmp_path / "net.pt")
        assert not witness.exists()

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"gone\.pt: no such file"):
            TorchaudioSeparator(weights=tmp_path / "gone.pt")

    @pytest.mark.parametrize("settings", [{"overlap": 1.0}, {"segment": 0.0}, {"segment": -1.0}, {"batch_size": 0}])
    def test_a_setting_out_of_its_range_is_named(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        with pytest.raises(MdxError, match=next(iter(settings))):
            small_torchaudio(tmp_path, **settings)
