"""BSSEval v4 against museval's own, and the rule for silence."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from mdx_progressive.dsp.silence import silent_channels
from mdx_progressive.evaluation.metrics.base import EvaluationContext
from mdx_progressive.evaluation.metrics.bsseval import RATIOS, BssEval, _median
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.signals import SOURCES

RATE = 1000
TAPS = 24


@pytest.fixture(scope="module")
def museval() -> ModuleType:
    """museval's metrics; the package itself can't be imported without an ffmpeg command."""
    package = importlib.util.find_spec("museval")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = f"{package.submodule_search_locations[0]}/metrics.py"
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def theirs(
    museval: ModuleType, references: Tensor, estimates: Tensor, rate: int = RATE, taps: int = TAPS, hop: float = 1.0
) -> Tensor:
    """Medians (ratio, source) of signals (source, channel, time)."""
    shown = [signals.double().transpose(1, 2).numpy() for signals in (references, estimates)]
    *ratios, _ = museval.bss_eval(*shown, window=rate, hop=int(hop * rate), filters_len=taps)
    return torch.tensor(np.nanmedian(np.stack(ratios), axis=-1))


def ours(
    references: Tensor, estimates: Tensor, targets: list[int] | None = None, rate: int = RATE, **settings: float
) -> Tensor:
    wanted = list(range(len(references))) if targets is None else targets
    mixture = references.sum(dim=0)[None]
    known = EvaluationContext(mixture, references[None], silent_channels(references[None], mixture), wanted, rate)
    metric = BssEval(components=True, **{"filter_length": TAPS, **settings})  # type: ignore[arg-type]
    found = metric.prepare(known)(estimates[None])
    assert tuple(found) == RATIOS
    return torch.cat(list(found.values()))


def song(channels: int = 2, seconds: float = 4.3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Coloured references (source, channel, time), and estimates with filtering, leakage and noise."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(3, channels, int(seconds * RATE), generator=generator, dtype=torch.float64)
    references = white + 0.9 * white.roll(1, dims=-1) + torch.tensor([0.5, 0.3, 0.0]).view(-1, 1, 1) * white.roll(2, -1)
    filtered = 0.8 * references + 0.1 * references.roll(3, dims=-1)
    noise = torch.randn(references.shape, generator=generator, dtype=torch.float64)
    return references, filtered + 0.2 * references.flip(0) + 0.1 * noise


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.7, 1.0, 4.3])
def test_it_equals_museval(museval: ModuleType, channels: int, seconds: float) -> None:
    references, estimates = song(channels, seconds)

    torch.testing.assert_close(ours(references, estimates), theirs(museval, references, estimates), rtol=0, atol=1e-6)


def test_windows_that_overlap_equal_musevals(museval: ModuleType) -> None:
    references, estimates = song()

    expected = theirs(museval, references, estimates, hop=0.25)

    torch.testing.assert_close(ours(references, estimates, hop=0.25), expected, rtol=0, atol=1e-6)


def test_windows_without_sound_are_left_out_as_by_museval(museval: ModuleType) -> None:
    references, estimates = song()
    references[1, :, :2100] = 0
    estimates[2, :, 3000:] = 0

    expected = theirs(museval, references, estimates)

    assert not expected.isnan().any()
    torch.testing.assert_close(ours(references, estimates), expected, rtol=0, atol=1e-6)


def test_a_mono_source_in_two_channels_equals_museval(museval: ModuleType) -> None:
    """Its matrix is singular."""
    references, estimates = song()
    references[0, 1] = references[0, 0]

    expected = theirs(museval, references, estimates)

    torch.testing.assert_close(ours(references, estimates), expected, rtol=0, atol=0.01)


def test_real_estimates_equal_museval(museval: ModuleType, clip: dict[str, Tensor]) -> None:
    assert_real_estimates_equal(museval, clip, clip["mixture"])


@pytest.mark.parametrize("name", ["maxton_anang", "positionalsound_band"])
def test_real_estimates_of_other_songs_equal_museval(museval: ModuleType, shared_songs: Path, name: str) -> None:
    files = {stem: shared_songs / name / f"{stem}.flac" for stem in SOURCES}
    excerpt = {"start": 8 * 44100, "frames": 3 * 44100, "dtype": "float32"}
    stems = {stem: torch.from_numpy(soundfile.read(path, **excerpt)[0].T.copy()) for stem, path in files.items()}

    assert_real_estimates_equal(museval, stems, torch.stack(list(stems.values())).sum(dim=0))


def assert_real_estimates_equal(museval: ModuleType, stems: dict[str, Tensor], mixture: Tensor) -> None:
    """Two sources in stereo with the full length of the filters."""
    accompaniment = stems["drums"] + stems["bass"] + stems["other"]
    references = torch.stack([stems["vocals"], accompaniment])[..., : 3 * 44100]
    estimates = SpleeterSeparator()(mixture[None, :, : 3 * 44100])[0]

    expected = theirs(museval, references, estimates, 44100, 512)

    found = ours(references, estimates, rate=44100, filter_length=512)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.01)


def test_targets_are_measured_against_all_sources() -> None:
    references, estimates = song()

    both = ours(references, estimates)

    torch.testing.assert_close(ours(references, estimates[[2, 0]], targets=[2, 0]), both[:, [2, 0]])


def test_a_source_that_is_zero_is_no_source(museval: ModuleType) -> None:
    references, estimates = song()
    references[1] = 0

    found = ours(references, estimates)

    assert found[:, 1].isnan().all()
    torch.testing.assert_close(
        found[:, [0, 2]], theirs(museval, references[[0, 2]], estimates[[0, 2]]), rtol=0, atol=1e-6
    )
    assert ours(torch.zeros_like(references), estimates).isnan().all()


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([1.0, 3.0], 2.0),
        ([1.0, -torch.inf], -torch.inf),
        ([1.0, torch.inf], torch.inf),
        ([1.0, 2.0, -torch.inf], 1.0),
        ([1.0, -torch.inf, torch.nan], -torch.inf),
        ([-torch.inf, torch.inf], -torch.inf),
        ([torch.nan, torch.nan], torch.nan),
    ],
)
def test_a_median_between_a_finite_and_an_infinite_window_is_infinite(values: list[float], median: float) -> None:
    found = _median(torch.tensor([values, values]))

    torch.testing.assert_close(found, torch.tensor([median, median]), equal_nan=True)


def test_the_sdr_alone_needs_no_filters() -> None:
    references, estimates = (each.expand(2, *each.shape).clone() for each in song())
    estimates[1] += 0.1
    mixture = references.sum(dim=1)
    known = EvaluationContext(mixture, references, silent_channels(references, mixture), [0, 1, 2], RATE)

    plain = BssEval().prepare(known)(estimates)

    assert list(plain) == ["bsseval_sdr"]
    for item in range(2):
        torch.testing.assert_close(plain["bsseval_sdr"][item], ours(references[item], estimates[item])[0])


@pytest.mark.parametrize("settings", [{"window": 0.0}, {"hop": -1.0}, {"filter_length": 0}])
def test_a_length_out_of_its_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(MdxError, match="lengths of BssEval"):
        BssEval(**settings)  # type: ignore[arg-type]
