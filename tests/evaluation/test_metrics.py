"""Metrics: answers known by construction, parity with other packages, and the one written rule for all of them."""

import fast_bss_eval
import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from mdx_progressive.dsp.silence import silent_channels
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric
from mdx_progressive.evaluation.metrics.bsseval import BssEval
from mdx_progressive.evaluation.metrics.log_spectral import LogSpectralDistance
from mdx_progressive.evaluation.metrics.log_wmse import LogWmse
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.metrics.sdr import Sdr, sdr
from mdx_progressive.evaluation.metrics.si_sdr import SiSdr, si_sdr
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.torchaudio_import import import_torchaudio
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.paths import SHARED

RATE = 44100
EVERY = [
    SiSdr(improvement=True),
    Sdr(),
    BssEval(components=True, filter_length=8),
    LogSpectralDistance(),
    LogWmse(),
]
every_metric = pytest.mark.parametrize("metric", EVERY, ids=lambda metric: type(metric).__name__)


def signals(seed: int = 0) -> tuple[Tensor, Tensor]:
    """References (batch, source, channel, time) and an orthogonal error of the same power."""
    generator = torch.Generator().manual_seed(seed)
    reference, error = torch.randn(2, 2, 3, 2, 4096, generator=generator, dtype=torch.float64)
    error -= (error * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True) * reference
    error *= (reference.square().sum(-1, keepdim=True) / error.square().sum(-1, keepdim=True)).sqrt()
    return reference, error


def nothing_silent(reference: Tensor) -> Tensor:
    return torch.zeros(reference.shape[:3], dtype=torch.bool)


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 17.0])
def test_an_orthogonal_error_of_known_power_is_measured(decibels: float) -> None:
    reference, error = signals()
    estimate = reference + 10 ** (-decibels / 20) * error

    for metric in (si_sdr, sdr):
        values = metric(estimate, reference, nothing_silent(reference))
        torch.testing.assert_close(values, torch.full_like(values, decibels))


@every_metric
@pytest.mark.parametrize("level", [20, -60, -80, -160])
def test_a_measure_has_no_level(metric: Metric, level: int) -> None:
    reference, error = (each.float() for each in signals())
    estimates, mixture = reference + 0.05 * error, reference.sum(dim=1)

    def measured(gain: float) -> dict[str, Tensor]:
        silent = silent_channels(reference, mixture)
        context = EvaluationContext(gain * mixture, gain * reference, silent, [0, 1, 2], RATE)
        return metric.prepare(context)(gain * estimates)

    for name, values in measured(10 ** (level / 20)).items():
        torch.testing.assert_close(values, measured(1.0)[name], rtol=0, atol=1e-3)


def test_si_sdr_is_the_mean_of_torchmetrics_over_channels() -> None:
    reference, error = signals()
    estimate = reference + torch.tensor([0.1, 1.0]).view(1, 1, 2, 1) * error

    expected = scale_invariant_signal_distortion_ratio(estimate, reference).mean(-1)

    torch.testing.assert_close(si_sdr(estimate, reference, nothing_silent(reference)), expected)


def test_a_gain_is_no_error_to_si_sdr_and_one_to_sdr() -> None:
    reference, error = signals()
    estimate = reference + 0.1 * error

    torch.testing.assert_close(
        si_sdr(0.5 * estimate, reference, nothing_silent(reference)),
        si_sdr(estimate, reference, nothing_silent(reference)),
    )
    assert (sdr(0.5 * reference, reference, nothing_silent(reference)) - 6.0206 < 1e-3).all()


def test_a_channel_is_silent_60_db_below_the_mixture_at_any_level() -> None:
    mixture = torch.ones(1, 2, 100)
    stems = torch.stack(
        [torch.ones(1, 2, 100), torch.full((1, 2, 100), 1.1e-3), torch.full((1, 2, 100), 0.9e-3)], dim=1
    )

    for level in (1e-4, 1.0, 1e4):
        assert silent_channels(level * stems, level * mixture)[0, :, 0].tolist() == [False, False, True]
    assert silent_channels(torch.zeros(1, 1, 2, 100), torch.zeros(1, 2, 100)).all()


def test_silent_channels_are_left_out_and_silent_sources_have_no_value() -> None:
    reference, error = signals()
    reference, error = reference[:1, :2], error[:1, :2]
    reference[0, 0, 1] = 0
    reference[0, 1] = 0
    quiet = silent_channels(reference, reference.sum(dim=1) + 1)

    values = si_sdr(reference + 0.1 * error, reference, quiet)

    assert values[0, 0].item() == pytest.approx(20.0)
    assert values[0, 1].isnan()
    assert sdr(reference + 0.1 * error, reference, quiet)[0, 1].isnan()


def test_an_estimate_of_nothing_is_no_good_estimate() -> None:
    reference, _ = signals()

    assert (si_sdr(torch.zeros_like(reference), reference, nothing_silent(reference)) == -60).all()
    assert (sdr(torch.zeros_like(reference), reference, nothing_silent(reference)) == -60).all()


def test_metrics_measure_the_targets_by_name() -> None:
    reference, error = signals()
    mixture, nothing = reference.sum(dim=1), nothing_silent(reference)
    estimates = (reference + 0.1 * error)[:, [2, 0]]
    known = EvaluationContext(mixture, reference, nothing, [2, 0], 44100)

    found = {**SiSdr(improvement=True).prepare(known)(estimates), **Sdr().prepare(known)(estimates)}

    assert list(found) == ["si_sdr", "si_sdr_i", "sdr"]
    wanted = reference[:, [2, 0]]
    torch.testing.assert_close(found["si_sdr"], si_sdr(estimates, wanted, nothing[:, [2, 0]]))
    torch.testing.assert_close(found["sdr"], sdr(estimates, wanted, nothing[:, [2, 0]]))
    of_mixture = si_sdr(mixture.unsqueeze(1).expand_as(wanted), wanted, nothing[:, [2, 0]])
    torch.testing.assert_close(found["si_sdr_i"], found["si_sdr"] - of_mixture)
    assert list(SiSdr().prepare(known)(estimates)) == ["si_sdr"]


def test_a_mixture_that_is_the_source_can_not_be_improved_on() -> None:
    def improvement(of: Tensor) -> Tensor:
        return SiSdr(improvement=True).prepare(known_of(of))(of + 0.01 * error)["si_sdr_i"][:, 0]

    reference, error = signals()
    reference[:, 1:, 1] *= 1e-4  # Nothing but the first source is left in the second channel.
    both, first = improvement(reference), reference[:, :, :1]
    error = error[:, :, :1]

    torch.testing.assert_close(both, improvement(first))
    first[:, 1:] *= 1e-4
    assert improvement(first).isnan().all()


def known_of(references: Tensor, targets: list[int] | None = None, mixture: Tensor | None = None) -> EvaluationContext:
    mixture = references.sum(dim=1) if mixture is None else mixture
    wanted = list(range(references.shape[1])) if targets is None else targets
    return EvaluationContext(mixture, references, silent_channels(references, mixture), wanted, RATE)


def measured(metric: Metric, references: Tensor, estimates: Tensor) -> dict[str, Tensor]:
    return metric.prepare(known_of(references))(estimates)


class TestTheRule:
    """As the docstring of `mdx_progressive.metrics` has it."""

    @every_metric
    def test_a_silent_source_has_no_value_and_the_others_keep_theirs(self, metric: Metric) -> None:
        reference, error = (each.float() for each in signals())
        reference[:, 1] = 0
        estimate = reference + 0.1 * error

        for values in measured(metric, reference, estimate).values():
            assert values[:, 1].isnan().all()
            assert values[:, [0, 2]].isfinite().all()

    @every_metric
    def test_a_silent_channel_is_left_out(self, metric: Metric) -> None:
        if isinstance(metric, Sdr | BssEval):
            pytest.skip("its ratio is over all channels together")
        reference, error = (each.float() for each in signals())
        reference[:, :, 1] = 0
        estimate = reference + 0.1 * error
        mixture = reference.sum(dim=1)

        both = metric.prepare(known_of(reference, mixture=mixture))(estimate)

        # Both mixtures have the level of their sounding channel; logWMSE takes it by itself.
        alone = metric.prepare(known_of(reference[:, :, :1], mixture=mixture[:, :1]))(estimate[:, :, :1])
        for name, values in both.items():
            torch.testing.assert_close(values, alone[name], rtol=0, atol=1e-3)

    @every_metric
    @pytest.mark.parametrize("fault", [torch.nan, torch.inf])
    def test_an_estimate_that_is_not_finite_is_as_far_as_can_be(self, metric: Metric, fault: float) -> None:
        reference, error = (each.float() for each in signals())
        estimate = reference + 0.1 * error
        whole = measured(metric, reference, estimate)
        estimate[1, 2, 0, 100] = fault

        for name, values in measured(metric, reference, estimate).items():
            assert values[1, 2] == (torch.inf if metric.scales[name].lower_is_better else -torch.inf)
            others = torch.ones(2, 3, dtype=torch.bool)
            others[1, 2] = False
            torch.testing.assert_close(values[others], whole[name][others])

    @every_metric
    @pytest.mark.parametrize("time", [1, 2, 100])
    def test_one_sample_is_enough(self, metric: Metric, time: int) -> None:
        reference, error = (each[..., :time].float() + 0.1 for each in signals())

        near, far = (measured(metric, reference, reference + share * error) for share in (0.01, 0.1))

        for name, scale in metric.scales.items():
            if name in ("si_sdr", "si_sdr_i", "bsseval_sir", "bsseval_sar"):  # a gain or a filter explains it all
                continue
            assert near[name].isfinite().all()
            assert ((near[name] < far[name]) == scale.lower_is_better).all(), name

    @every_metric
    def test_an_estimate_of_nothing_is_no_good_estimate(self, metric: Metric) -> None:
        reference, error = (each.float() for each in signals())
        good = measured(metric, reference, reference + 0.1 * error)

        for name, values in measured(metric, reference, torch.zeros_like(reference)).items():
            if isinstance(metric, BssEval):
                assert values.isnan().all()  # as in museval no window counts
                continue
            assert values.isfinite().all()
            sign = -1 if metric.scales[name].lower_is_better else 1
            assert (sign * (good[name] - values) > 5).all()
            if name in ("si_sdr", "sdr"):
                assert (values == -60).all()

    @every_metric
    def test_a_closer_estimate_is_better_in_the_metrics_own_direction(self, metric: Metric) -> None:
        reference, error = (each.float() for each in signals())
        near, far = (measured(metric, reference, reference + share * error) for share in (0.1, 0.3))

        assert set(near) == set(metric.scales)
        for name, scale in metric.scales.items():
            if name == "bsseval_sir":  # white noise, that no filter of the others explains
                continue
            assert ((near[name] < far[name]) == scale.lower_is_better).all(), name

    def test_a_value_without_a_scale_is_refused(self) -> None:
        class Loudness(Metric):
            scales = {"loudness": Scale("Loudness", unit="LUFS")}  # noqa: RUF012

            def _prepare(self, known: EvaluationContext) -> Measure:
                return lambda estimates: {"noise": estimates.mean(dim=(-2, -1))}

        with pytest.raises(MdxError, match="Loudness measures noise"):
            measured(Loudness(), *signals())


@pytest.fixture(scope="module", params=["built-in clip", "ev3_lithium", "maxton_anang"])
def song(request: pytest.FixtureRequest, clip: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Mixture (channel, time), references and Spleeter's estimates (source, channel, time)."""
    stems = clip
    if request.param != "built-in clip":
        folder = SHARED / "stems" / request.param
        if not folder.exists():
            pytest.skip("the real songs are not at hand (shared/stems)")
        read = {path.stem: soundfile.read(path, dtype="float32", frames=6 * RATE)[0] for path in folder.iterdir()}
        stems = {name: torch.from_numpy(samples.T.copy()) for name, samples in read.items()}
    references = torch.stack([stems["vocals"], stems["drums"] + stems["bass"] + stems["other"]])
    mixture = references.sum(dim=0)
    return mixture, references, SpleeterSeparator()(mixture[None])[0]


class TestParity:
    """With other packages, on real estimates of real songs."""

    def found(self, metric: Metric, song: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        mixture, references, estimates = (each[None] for each in song)
        quiet = torch.zeros(references.shape[:3], dtype=torch.bool)
        measure = metric.prepare(EvaluationContext(mixture, references, quiet, [0, 1], RATE))
        return {name: values[0] for name, values in measure(estimates).items()}

    def test_si_sdr_equals_torchmetrics_and_fast_bss_eval(self, song: tuple[Tensor, Tensor, Tensor]) -> None:
        _, references, estimates = song
        expected = scale_invariant_signal_distortion_ratio(estimates.double(), references.double()).mean(dim=-1)
        channels = [(one.double(), other.double()) for one, other in zip(references, estimates, strict=True)]
        # Its losses compare each estimate with its own reference, and have the sign turned.
        others = -torch.stack([fast_bss_eval.si_sdr_loss(estimate, true).mean() for true, estimate in channels])
        # With a filter of one sample its SDR is the same number.
        filtered = -torch.stack(
            [fast_bss_eval.sdr_loss(estimate, true, filter_length=1).mean() for true, estimate in channels]
        )

        found = self.found(SiSdr(), song)["si_sdr"].double()

        for theirs in (expected, others, filtered):
            torch.testing.assert_close(found, theirs, rtol=0, atol=0.01)

    def test_sdr_equals_torchmetrics_snr_over_both_channels(self, song: tuple[Tensor, Tensor, Tensor]) -> None:
        _, references, estimates = song
        expected = signal_noise_ratio(estimates.double().flatten(1), references.double().flatten(1))

        torch.testing.assert_close(self.found(Sdr(), song)["sdr"].double(), expected, rtol=0, atol=0.01)

    def test_the_log_spectral_distance_equals_librosas_spectra(self, song: tuple[Tensor, Tensor, Tensor]) -> None:
        _, references, estimates = (each.double().numpy() for each in song)
        missing = -(references.shape[-1] - 2048) % 512
        expected = []
        for true, estimate in zip(references, estimates, strict=True):
            distances = []
            for channels in zip(true, estimate, strict=True):
                spectra = [
                    np.abs(librosa.stft(np.pad(each, (0, missing)), n_fft=2048, hop_length=512, center=False)) ** 2
                    for each in channels
                ]
                floor = spectra[0].max() * 1e-8
                levels = [librosa.power_to_db(each, amin=floor, top_db=None) for each in spectra]
                distances.append(np.sqrt(((levels[0] - levels[1]) ** 2).mean(axis=0)).mean())
            expected.append(np.mean(distances))

        found = self.found(LogSpectralDistance(), song)["lsd"].double()

        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=0.01)

    def test_log_wmse_equals_the_package_one_source_at_a_time(self, song: tuple[Tensor, Tensor, Tensor]) -> None:
        import_torchaudio()
        from torch_log_wmse import LogWMSE

        mixture, references, estimates = song
        meter = LogWMSE(sample_rate=RATE)
        expected = torch.stack(
            [
                meter(mixture[None], estimate[None, :, None], true[None, :, None])
                for true, estimate in zip(references, estimates, strict=True)
            ]
        )

        torch.testing.assert_close(self.found(LogWmse(), song)["log_wmse"], expected, rtol=0, atol=1e-3)


def test_a_level_that_is_off_by_6_db_is_a_log_spectral_distance_of_6_db() -> None:
    reference, _ = signals()

    found = measured(LogSpectralDistance(dynamic_range=200), reference, 0.5 * reference)

    torch.testing.assert_close(found["lsd"], torch.full_like(found["lsd"], 20 * np.log10(2)))


def test_the_log_spectral_distance_stays_the_same_if_all_grows_louder() -> None:
    reference, error = signals()
    estimate = reference + 0.1 * error

    quiet, loud = (measured(LogSpectralDistance(), gain * reference, gain * estimate)["lsd"] for gain in (0.01, 10.0))

    torch.testing.assert_close(quiet, loud)


def test_an_error_as_loud_as_the_mixture_has_a_log_wmse_of_nothing() -> None:
    reference, _ = signals()
    mixture = reference.sum(dim=1)
    estimate = reference + mixture.unsqueeze(1)

    found = LogWmse().prepare(known_of(reference))(estimate)

    torch.testing.assert_close(found["log_wmse"], torch.zeros(2, 3, dtype=torch.float64), rtol=0, atol=1e-4)
