"""Open-Unmix: equal to `openunmix`, only the networks that are needed, and what is refused."""

import json
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.weights.open_unmix import DOWNLOADS
from tests.support.hostile_pickle import Hostile
from tests.support.open_unmix_weights import FOUR, MUSIC, SPEECH, small_folder, small_network, write
from tests.support.signals import RATE, noise

import_torchaudio()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small networks."""
    return small_folder(tmp_path_factory.mktemp("umx"))


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small networks like umxse's."""
    return small_folder(tmp_path_factory.mktemp("umxse"), ("speech", "noise"), SPEECH)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of `torch.hub`, and no way out of this machine."""

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise URLError("no way there")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    return cache


def reference(folder: Path, mixture: Tensor, targets: Sequence[str] = FOUR, **settings: Any) -> Tensor:
    """What openunmix itself makes of a mixture (item, channel, time)."""
    from openunmix.utils import load_separator

    separator = load_separator(str(folder), targets=list(targets), **settings)
    separator.freeze()
    estimates: Tensor = separator(mixture.clone())
    return estimates


def counted(separator: OpenUnmixSeparator) -> list[int]:
    """A list that grows by the number of each network, once for each item that it gets."""
    ran: list[int] = []
    for number, network in enumerate(separator.networks):
        network.register_forward_pre_hook(lambda _, inputs, number=number: ran.extend([number] * len(inputs[0])))
    return ran


class TestParity:
    @pytest.mark.parametrize("iterations", [0, 1, 2])
    @pytest.mark.parametrize("samples", [2049, 5000, RATE, 70001])
    def test_equals_openunmix(self, folder: Path, samples: int, iterations: int) -> None:
        mixture = noise(2)[None, :, :samples]
        expected = reference(folder, mixture, niter=iterations)

        estimates = OpenUnmixSeparator(weights=folder, iterations=iterations)(mixture)

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6)
        assert estimates.std() > 0.05 * mixture.std()

    @pytest.mark.parametrize("window", [7, 40, None])
    @pytest.mark.parametrize("level", [0.001, 30.0])
    def test_equals_openunmix_at_any_window_and_level(self, folder: Path, window: int | None, level: float) -> None:
        mixture = torch.stack([noise(1, seed=0, level=level), noise(1, seed=1, level=level)])
        expected = reference(folder, mixture, wiener_win_len=window)

        estimates = OpenUnmixSeparator(weights=folder, wiener_window=window, batch_size=2)(mixture)

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-6 * max(1, level))

    @pytest.mark.parametrize("iterations", [0, 1])
    def test_a_residual_equals_openunmix(self, folder: Path, iterations: int) -> None:
        mixture = noise(1)[None]
        expected = reference(folder, mixture, niter=iterations, residual=True)

        separator = OpenUnmixSeparator(weights=folder, iterations=iterations, residual=True)

        assert separator.sources == [*FOUR, "residual"]
        torch.testing.assert_close(separator(mixture), expected, rtol=0, atol=1e-6)
        for number, source in enumerate(separator.sources):
            torch.testing.assert_close(separator(mixture, [source])[:, 0], expected[:, number], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("iterations", [0, 1])
    @pytest.mark.parametrize("hops", [2, 31])
    def test_speech_in_mono_equals_openunmix(self, speech_folder: Path, hops: int, iterations: int) -> None:
        mixture = noise(1, channels=1)[None, :, : hops * 512]
        expected = reference(speech_folder, mixture, ["speech", "noise"], niter=iterations)

        separator = OpenUnmixSeparator("umxse", speech_folder, iterations)

        assert (separator.sources, separator.sample_rate, separator.channels) == (["speech", "noise"], 16000, 1)
        torch.testing.assert_close(separator(mixture), expected, rtol=0, atol=1e-6)

    def test_the_real_size_equals_openunmix(self, hub: Path) -> None:
        from openunmix import umxhq

        torch.manual_seed(0)
        network = umxhq(pretrained=False)
        for source, model in network.target_models.items():
            torch.save(model.state_dict(), hub / DOWNLOADS["umxhq"].files[source])
        network.freeze()
        mixture = noise(1)[None]
        expected = network(mixture)

        separator = OpenUnmixSeparator()
        for file in hub.iterdir():  # They are large.
            file.unlink()

        assert (separator.sources, separator.sample_rate, separator.channels) == (list(FOUR), RATE, 2)
        torch.testing.assert_close(separator(mixture), expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("settings", [{"unidirectional": True}, {"nb_layers": 1, "hidden_size": 24}], ids=str)
    def test_the_weights_tell_the_size_of_the_network(self, tmp_path: Path, settings: dict[str, Any]) -> None:
        from openunmix.model import Separator

        networks = {source: small_network(number, **settings) for number, source in enumerate(FOUR)}
        write(tmp_path, {source: network.state_dict() for source, network in networks.items()}, MUSIC)
        mixture = noise(1)[None]
        expected = Separator(networks, niter=1).eval()(mixture)

        torch.testing.assert_close(OpenUnmixSeparator(weights=tmp_path)(mixture), expected, rtol=0, atol=1e-6)


class TestRobustness:
    @pytest.mark.parametrize("samples", [1, 2, 512, 513, 1023, 9000])
    def test_speech_of_any_length(self, speech_folder: Path, samples: int) -> None:
        mixture = noise(1, channels=1)[None, :, :samples]

        estimates = OpenUnmixSeparator("umxse", speech_folder)(mixture)

        assert estimates.shape == (1, 2, 1, samples)
        assert estimates.isfinite().all()

    def test_what_is_shorter_than_half_a_window_is_heard_before_silence(self, folder: Path) -> None:
        mixture = noise(1)[None, :, :700]
        expected = reference(folder, functional.pad(mixture, (0, 2049 - 700)))[..., :700]

        torch.testing.assert_close(OpenUnmixSeparator(weights=folder)(mixture), expected, rtol=0, atol=1e-6)

    def test_the_end_does_not_blow_up_where_frames_overlap_by_half(self, speech_folder: Path) -> None:
        mixture = noise(1, channels=1)[None, :, : 20 * 512 + 511]
        assert reference(speech_folder, mixture, ["speech", "noise"]).abs().max() > 10

        assert OpenUnmixSeparator("umxse", speech_folder)(mixture).abs().max() < 2 * mixture.abs().max()

    def test_a_loud_mono_mixture_stays_finite_where_openunmix_divides_by_0(self, tmp_path: Path) -> None:
        states = {}
        for number, source in enumerate(FOUR):
            state = small_network(number).state_dict()
            for name, value in state.items():
                if name.startswith(("fc3", "bn3")) and value.ndim:  # Both channels alike, left before right.
                    value[2049:] = value[:2049]
            state["output_mean"] += 2
            states[source] = state
        mixture = noise(2, channels=1, level=1)[None].expand(-1, 2, -1)
        write(tmp_path, states, MUSIC)
        assert not reference(tmp_path, mixture).isfinite().all()

        estimates = OpenUnmixSeparator(weights=tmp_path)(mixture)

        assert estimates.isfinite().all()
        torch.testing.assert_close(estimates.sum(1), mixture, rtol=0, atol=0.1)

    @pytest.mark.parametrize("iterations", [0, 1])
    def test_silence_within_a_mixture_does_not_change_it(self, folder: Path, iterations: int) -> None:
        mixture = noise(1)[None]
        mixture[..., 10000:30000] = 0
        mixture[:, 1] = 0
        before = mixture.clone()

        estimates = OpenUnmixSeparator(weights=folder, iterations=iterations)(mixture)

        assert torch.equal(mixture, before)
        assert estimates.isfinite().all()
        assert estimates[:, :, 1].abs().max() < 1e-6
        assert estimates[..., 15000:25000].abs().max() < 1e-6


class TestPasses:
    def test_without_the_filter_only_the_wanted_networks_run(self, folder: Path) -> None:
        separator = OpenUnmixSeparator(weights=folder, iterations=0, residual=True)
        ran, mixture = counted(separator), noise(1)[None]

        separator(mixture, ["bass", "vocals"])
        assert sorted(ran) == [0, 2]
        ran.clear()
        separator(torch.stack([mixture[0]] * 2)[None], ["drums", "other"])
        assert ran == [1, 3]
        ran.clear()
        separator(mixture, ["residual"])
        assert ran == [0, 1, 2, 3]
        ran.clear()
        separator(torch.stack([mixture[0]] * 2)[None], ["drums", "residual"])
        assert sorted(ran) == [0, 1, 1, 2, 3]

    def test_with_the_filter_each_network_runs_once_a_mixture(self, folder: Path) -> None:
        separator = OpenUnmixSeparator(weights=folder, batch_size=2)
        ran, mixture = counted(separator), noise(1)

        separator(mixture[None], ["bass"])
        assert ran == [0, 1, 2, 3]
        ran.clear()
        separator(torch.stack([mixture] * 2)[None], ["drums", "other"])
        assert ran == [0, 0, 1, 1, 2, 2, 3, 3]


class TestWeights:
    @pytest.mark.parametrize("name", DOWNLOADS)
    def test_the_downloads_are_those_of_openunmix(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        import openunmix

        asked: list[str] = []

        def load(url: str, map_location: object) -> dict[str, Tensor]:
            asked.append(url)
            return {}

        monkeypatch.setattr("torch.hub.load_state_dict_from_url", load)
        separator = getattr(openunmix, name)()
        (known,) = (known for known in OpenUnmixSeparator.published if known.name == name)

        downloads, transform, files = DOWNLOADS[name]
        assert [downloads + file for file in files.values()] == asked
        assert tuple(files) == tuple(separator.target_models) == known.sources
        channels = 1 if separator.complexnorm.mono else 2
        assert transform == (separator.sample_rate.item(), separator.stft.n_fft, separator.stft.n_hop, channels)
        assert transform == (known.sample_rate, *transform[1:3], known.channels)

    def test_a_name_is_loaded_from_the_cache_of_the_hub(self, hub: Path) -> None:
        for number, (source, file) in enumerate(DOWNLOADS["umxl"].files.items()):
            state = {
                **small_network(number).state_dict(),
                "stft.window": torch.ones(4096),
                "sample_rate": torch.ones(1),
            }
            # As torch wrote files before 1.6.
            torch.save(state, hub / file, _use_new_zipfile_serialization=number % 2 == 0)
            assert source == FOUR[number]

        separator = OpenUnmixSeparator("umxl")

        assert separator.sources == list(FOUR)
        assert separator.licence == "CC BY-NC-SA 4.0"
        for number, network in enumerate(separator.networks):
            expected = small_network(number).state_dict()
            assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())

    @pytest.mark.parametrize("name", DOWNLOADS)
    def test_without_a_hub_the_error_says_what_was_looked_for_and_the_way_out(self, hub: Path, name: str) -> None:
        with pytest.raises(MdxError, match=rf"'{name}'.*no way there.*--model\.separator\.weights FOLDER") as caught:
            OpenUnmixSeparator(name)
        assert "\n" not in str(caught.value)

    def test_a_hostile_file_in_the_cache_is_refused_and_not_run(self, hub: Path, tmp_path: Path) -> None:
        witness = tmp_path / "it ran"
        torch.save({"weight": Hostile(witness)}, hub / DOWNLOADS["umxhq"].files["vocals"])

        with pytest.raises(MdxError, match=r"vocals-b62c91ce\.pth"):
            OpenUnmixSeparator()
        assert not witness.exists()

    def test_a_hostile_local_file_is_refused_and_not_run(self, tmp_path: Path) -> None:
        witness = tmp_path / "it ran"
        (tmp_path / "vocals.pth").write_bytes(pickle.dumps({"weight": Hostile(witness)}, 2))

        with pytest.raises(MdxError, match=r"vocals\.pth: refused"):
            OpenUnmixSeparator(weights=tmp_path)
        assert not witness.exists()

    def test_a_folder_of_downloads_takes_its_transform_from_the_name(self, tmp_path: Path) -> None:
        for number, file in enumerate(DOWNLOADS["umxse"].files.values()):
            torch.save(small_network(number, 1024, 1).state_dict(), tmp_path / file)

        separator = OpenUnmixSeparator("umxse", tmp_path)

        assert (separator.sources, separator.sample_rate) == (["speech", "noise"], 16000)
        assert (separator.licence, separator.musdb_test) == ("unknown", None)
        with pytest.raises(MdxError, match=r"windows of 1024 samples and 1 channels, and not of 4096 and 2"):
            OpenUnmixSeparator("umxhq", tmp_path)

    def test_sources_of_ones_own_come_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        separator = OpenUnmixSeparator(weights=small_folder(tmp_path, ("zither", "other", "vocals", "choir")))

        assert separator.sources == ["vocals", "other", "choir", "zither"]

    def test_a_single_source_needs_a_residual_or_no_filter(self, tmp_path: Path) -> None:
        path, mixture = small_folder(tmp_path, ("vocals",)) / "vocals.pth", noise(1)[None]

        with pytest.raises(MdxError, match=r"vocals is the only one.*residual: true or iterations: 0"):
            OpenUnmixSeparator(weights=path)
        with_residual = OpenUnmixSeparator(weights=path, residual=True)
        assert with_residual.sources == ["vocals", "residual"]
        expected = reference(tmp_path, mixture, ["vocals"], residual=True)
        torch.testing.assert_close(with_residual(mixture), expected, rtol=0, atol=1e-6)
        assert OpenUnmixSeparator(weights=path, iterations=0)(mixture).shape == (1, 1, 2, RATE)


class TestErrors:
    def test_an_unknown_name_is_named_with_those_there_are(self) -> None:
        with pytest.raises(MdxError, match=r"'umxxl'.*umxhq, umxl, umx, umxse"):
            OpenUnmixSeparator("umxxl")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"gone: no such file \(weights of an Open-Unmix\)"):
            OpenUnmixSeparator(weights=tmp_path / "gone")

    def test_an_empty_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MdxError, match=r"no \.pth file in this folder"):
            OpenUnmixSeparator(weights=tmp_path)

    def test_two_files_for_a_source_are_named(self, tmp_path: Path) -> None:
        for file in ("vocals.pth", "vocals-b62c91ce.pth"):
            torch.save(small_network(0).state_dict(), tmp_path / file)

        with pytest.raises(MdxError, match=r"vocals-b62c91ce\.pth and vocals\.pth are weights for vocals"):
            OpenUnmixSeparator(weights=tmp_path)

    @pytest.mark.parametrize("text", ["", "[]", "3", json.dumps({"nfft": 4096}), json.dumps({**MUSIC, "nhop": None})])
    def test_a_broken_description_is_named(self, tmp_path: Path, text: str) -> None:
        small_folder(tmp_path, ("vocals", "other"))
        (tmp_path / "separator.json").write_text(text)

        with pytest.raises(MdxError, match=r"separator\.json: no description.*sample_rate, nfft, nhop"):
            OpenUnmixSeparator(weights=tmp_path)

    @pytest.mark.parametrize("wrong", [{"nhop": 2049}, {"nhop": 0}, {"nb_channels": 6}, {"sample_rate": 0}], ids=str)
    def test_a_description_that_can_not_be_is_named(self, tmp_path: Path, wrong: dict[str, int]) -> None:
        small_folder(tmp_path, ("vocals", "other"))
        (tmp_path / "separator.json").write_text(json.dumps({**MUSIC, **wrong}))

        with pytest.raises(MdxError, match=rf"separator\.json: .*{next(iter(wrong))}"):
            OpenUnmixSeparator(weights=tmp_path)

    @pytest.mark.parametrize(
        ("key", "value", "named"),
        [
            ("fc2.weight", None, r"lacks 1 tensor \(fc2.weight"),
            ("fc1.weight", None, "fc1.weight"),
            ("output_mean", None, "output_mean"),
            ("output_mean", torch.zeros(0), "division"),
            ("output_mean", torch.zeros(()), "0-d"),
            ("fc3.weight", torch.zeros(4098, 33), r"another shape 1 tensor \(fc3.weight"),
            ("fc3.weight", torch.zeros(2049, 32), "1 channels"),
            ("bn2.running_var", torch.zeros(3), r"another shape 1 tensor \(bn2.running_var"),
        ],
        ids=str,
    )
    def test_weights_that_can_not_be_are_named(
        self, tmp_path: Path, key: str, value: Tensor | None, named: str
    ) -> None:
        state = small_network(0).state_dict()
        state.pop(key)
        if value is not None:
            state[key] = value
        write(tmp_path, {"vocals": state, "other": small_network(1).state_dict()}, MUSIC)

        with pytest.raises(MdxError, match=rf"vocals\.pth.*{named}") as caught:
            OpenUnmixSeparator(weights=tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x00" * 4096])
    def test_a_broken_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "vocals.pth").write_bytes(content)

        with pytest.raises(MdxError, match=r"vocals\.pth: "):
            OpenUnmixSeparator(weights=tmp_path)

    def test_a_missing_openunmix_is_named(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openunmix.model", None)

        with pytest.raises(MdxError, match="pip install openunmix"):
            OpenUnmixSeparator(weights=folder)

    @pytest.mark.parametrize("settings", [{"iterations": -1}, {"wiener_window": 0}, {"batch_size": 0}])
    def test_a_setting_out_of_its_range_is_named(self, folder: Path, settings: dict[str, Any]) -> None:
        with pytest.raises(MdxError, match=next(iter(settings))):
            OpenUnmixSeparator(weights=folder, **settings)
