"""Demucs: equal to `demucs.apply.apply_model`, and known answers with the real weights."""

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

from mdx_progressive.audio.decode import AudioStream
from mdx_progressive.evaluation.metrics.sdr import sdr
from mdx_progressive.evaluation.metrics.si_sdr import si_sdr
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.demucs import DemucsSeparator
from tests.support.demucs_weights import Network, normalised, save_safetensors, small_network
from tests.support.signals import RATE, SOURCES, noise

KINDS: list[type[Network]] = [HTDemucs, HDemucs, Demucs]


@pytest.fixture(scope="module")
def demucs_files(tmp_path_factory: pytest.TempPathFactory) -> dict[type[Network], Path]:
    folder = tmp_path_factory.mktemp("demucs")
    return {kind: save_safetensors(small_network(kind), folder / f"{kind.__name__}.safetensors") for kind in KINDS}


def test_shifts_of_htdemucs_are_spread_over_the_stride_that_the_studies_have(htdemucs_file: Path) -> None:
    assert DemucsSeparator(weights=htdemucs_file).shift_span == 5.85


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

    @pytest.mark.exhaustive  # The small networks have several segments, too.
    def test_equals_apply_model_over_several_segments(self, htdemucs_file: Path, shared_songs: Path) -> None:
        stems = [AudioStream(shared_songs / "ev3_lithium" / f"{source}.flac").read()[0] for source in SOURCES]
        mixture = functional.pad(torch.stack(stems).sum(0)[:, : 9 * RATE], (0, 100))
        network = load_safetensors_model(htdemucs_file)
        expected = normalised(lambda x: apply_model(network, x, shifts=0, overlap=0.25), mixture)

        estimates = DemucsSeparator(weights=htdemucs_file)(mixture[None])[0]

        assert np.abs((estimates - expected).numpy()).max() < 1e-4
