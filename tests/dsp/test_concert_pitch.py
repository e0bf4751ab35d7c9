"""Music that is out of tune: how far is told, it is played onto concert pitch, and what that gives is undone."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from mdx_progressive.dsp.concert_pitch import concert_pitch_ratio, estimate_tuning
from mdx_progressive.progressive.augmentations import AugmentationCycle
from mdx_progressive.progressive.combine import Mean
from mdx_progressive.progressive.methods import Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.schedules import Constant
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.demucs import DemucsSeparator

RATE = 22050


def music(cents: float, rate: int = RATE, seconds: float = 2.0) -> Tensor:
    """Two bars of chords with overtones that crossfade, tuned so many cents above 440 Hz, with some noise."""
    generator = torch.Generator().manual_seed(1)
    time = torch.arange(int(seconds * rate)) / rate
    total = torch.zeros(2, len(time))
    for tone in (-24, -12, -9, -5, 0, 3, 7):
        for overtone in range(1, 5):
            frequency = 440 * 2 ** ((tone + cents / 100) / 12) * overtone
            phase, place = torch.rand(2, generator=generator)
            wave = torch.sin(2 * math.pi * (frequency * time + phase)) / overtone**2
            total += torch.stack([place * wave, (1 - place) * wave])
    return 0.1 * total * torch.exp(-time) + 0.002 * torch.randn(total.shape, generator=generator)


@settings(max_examples=25)
@given(cents=st.floats(-45, 45), rate=st.sampled_from([8000, 22050, 44100, 48000]))
def test_how_far_music_is_off_is_told_to_two_cents(cents: float, rate: int) -> None:
    found, clarity = estimate_tuning(music(cents, rate), rate)

    assert found == pytest.approx(cents, abs=2)
    assert clarity > 0.5


@pytest.mark.parametrize("cents", [-44, -30, -16, 16, 30, 44])
def test_what_is_out_of_tune_is_in_tune_when_it_is_played_slower(cents: int) -> None:
    slower = concert_pitch_ratio(music(cents), RATE, tolerance=15)

    played = cents - 1200 * math.log2(slower)
    assert 1 < slower < 2 ** (1 / 12)
    assert abs(played - 100 * round(played / 100)) < 2


@pytest.mark.parametrize(
    "signal",
    [
        music(-12), music(12), torch.zeros(2, RATE), torch.full((1, RATE), 0.5), torch.ones(1, 1),
        torch.randn(2, 4 * RATE, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["a little flat", "a little sharp", "silence", "an offset", "one sample", "noise"],
)  # fmt: skip
def test_what_is_in_tune_or_has_no_pitch_is_left_alone(signal: Tensor) -> None:
    assert concert_pitch_ratio(signal, RATE, tolerance=15) == 1


class Listening:
    """Hands back what it hears, as every source, and notes how far that is off."""

    def __init__(self) -> None:
        self.heard: list[float] = []
        self.calls = 0

    def __call__(self, mixtures: Tensor) -> Tensor:
        self.heard += [round(estimate_tuning(each[0], RATE)[0]) for each in mixtures]
        self.calls += 1
        return mixtures.expand(-1, 2, -1, -1) if mixtures.shape[1] == 1 else mixtures


def in_tune(passes: Passes, first: Tensor, pitch_correct: float | None = 15.0) -> list[Tensor]:
    method = Progressive(
        Constant(0.5),
        steps=1,
        augmentations=AugmentationCycle(first=3, span=0.3),
        combine=Mean(),
        pitch_correct=pitch_correct,
        name="m",
    )
    return [step.estimates for step in method.run(passes, first, None)]


def test_all_passes_but_the_plain_one_hear_music_in_tune_each_chunk_by_its_own_tuning() -> None:
    mixture = torch.stack([music(30), music(0), music(-40), music(30)])
    listening = Listening()
    passes = Passes(listening, mixture, ["bass", "vocals"], RATE)
    first = mixture[:, None].expand(-1, 2, -1, -1).contiguous()

    steps = in_tune(passes, first)

    assert len(listening.heard) == 4 * 3
    assert max(abs(cents) for cents in listening.heard) <= 2
    # Chunks that are played alike go together: three ways of playing, two views, one step.
    assert listening.calls == 9
    assert passes.count == 2 + 1 * 2
    for estimates in steps:
        torch.testing.assert_close(estimates, first, rtol=0, atol=2e-5)


def test_chunks_of_a_batch_are_as_each_of_them_alone() -> None:
    mixture = torch.stack([music(30), music(0), music(-40)])

    def separate(mixtures: Tensor) -> Tensor:
        halves = torch.stack([mixtures[:, 0].tanh(), mixtures[:, -1] - mixtures[:, 0].tanh()], dim=1)
        return halves if mixtures.shape[1] == 1 else torch.stack([mixtures[:, 0].tanh(), mixtures[:, 1].tanh()], 1)

    def run(chunks: Tensor) -> Tensor:
        passes = Passes(separate, chunks, ["bass", "vocals"], RATE)
        return in_tune(passes, separate(chunks[:, None]))[-1]

    torch.testing.assert_close(run(mixture), torch.cat([run(each[None]) for each in mixture]), rtol=0, atol=1e-6)


def test_the_plain_pass_counts_for_music_in_tune_alone() -> None:
    mixture = torch.stack([music(30), music(0)])
    passes = Passes(Listening(), mixture, ["bass", "vocals"], RATE)
    wrong = torch.full((2, 2, *mixture.shape[1:]), 9.0)

    start = in_tune(passes, wrong)[0]

    torch.testing.assert_close(start[0], mixture[:1].expand(2, -1, -1), rtol=0, atol=2e-5)
    torch.testing.assert_close(start[1], (9 + 2 * mixture[1:]).expand(2, -1, -1) / 3, rtol=0, atol=2e-5)


def test_without_retune_all_is_heard_where_it_is() -> None:
    mixture = music(30)[None]
    listening = Listening()

    in_tune(
        Passes(listening, mixture, ["bass", "vocals"], RATE), mixture[:, None].expand(-1, 2, -1, -1), pitch_correct=None
    )

    assert {abs(cents - 30) <= 2 for cents in listening.heard} == {True}


@pytest.mark.parametrize("cents", [-1, 51, math.nan])
def test_a_tolerance_that_is_none_is_named(cents: float) -> None:
    with pytest.raises(MdxError, match="pitch_correct is in cents, from 0 to 50"):
        Progressive(Constant(0.5), steps=1, pitch_correct=cents)


@pytest.mark.exhaustive
def test_htdemucs_hears_the_vocals_of_the_clip_far_better_in_tune(htdemucs_file: Path, clip: dict[str, Tensor]) -> None:
    separator = DemucsSeparator(weights=htdemucs_file)
    mixture, truth = clip["mixture"], clip["vocals"]
    assert concert_pitch_ratio(mixture, 44100, 15) == pytest.approx(2 ** (52 / 1200))
    passes = Passes.of(separator, mixture[None], ["vocals"])

    passes.correct_pitch(15)
    estimates = passes.separate(mixture[None, None])[0, 0, 0]

    # One pass where it is comes to 3.48 dB.
    assert scale_invariant_signal_distortion_ratio(estimates, truth).mean() > 5.5
