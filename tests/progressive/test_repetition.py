"""What repeats: sources that sound again beside others that don't, and errors that move signal between them."""

import pytest
import torch
from torch import Tensor

from mdx_progressive.progressive.combine import Mean
from mdx_progressive.progressive.corrections.repetition import Repetition
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime.errors import MdxError

RATE = 44100
LOOP = 3 * 8192
REPEATS = 3


def noise(seed: int, time: int = LOOP * REPEATS) -> Tensor:
    return 0.1 * torch.randn(2, time, generator=torch.Generator().manual_seed(seed))


def looped_and_free(seed: int = 0) -> Tensor:
    """Two sources (1, source, channel, time), of which the first repeats."""
    return torch.stack([noise(seed, LOOP).repeat(1, REPEATS), noise(seed + 1)]).unsqueeze(0)


def confused(truth: Tensor) -> list[Tensor]:
    """Passes that take the same part of the second source for the first, and a little less or more of it each."""
    leak = 0.4 * truth[:, 1]
    return [truth + (1 + part) * torch.stack([leak, -leak], dim=1) for part in (-0.35, 0.0, 0.35)]


def refine(repetition: Repetition, takes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """What is made of passes, and their mean."""
    path = Trajectory(torch.stack(takes), Mean())
    passes = Passes(lambda heard: heard, path.estimates.sum(dim=1), ["drums", "vocals"], RATE)
    refined = repetition(passes, path, path.estimates)
    assert passes.count == 0
    return refined, path.estimates


def errors(estimates: Tensor, truth: Tensor) -> Tensor:
    return (estimates - truth).square().sum(dim=(0, 2, 3))


def test_a_loop_is_averaged_over_its_repeats_and_the_other_source_takes_back_what_it_loses() -> None:
    truth = looped_and_free()

    refined, mean = refine(Repetition(strength=8.0), confused(truth))

    gain = 10 * torch.log10(errors(mean, truth) / errors(refined, truth))
    # Three repeats with errors of their own can gain 4.8 dB, less at the ends and since what is new is unsure.
    assert 2.0 < gain[0] < 4.8
    assert gain[1] > 2.0
    torch.testing.assert_close(refined.sum(dim=1), mean.sum(dim=1), atol=1e-3, rtol=0)


def test_a_source_that_does_not_repeat_is_not_averaged_however_much_the_passes_disagree_on_it() -> None:
    """Their mean is right here: to make it more like what comes a loop later can but harm."""
    truth = looped_and_free()
    error = torch.zeros_like(truth)
    error[:, 1] = noise(7)

    refined, mean = refine(Repetition(strength=8.0), [truth + sign * error for sign in (1, -1, 1, -1)])

    torch.testing.assert_close(mean, truth)
    assert errors(refined, truth)[1] < 0.01 * truth[:, 1].square().sum()


def test_a_source_that_the_passes_disagree_on_is_not_looked_at_though_it_repeats() -> None:
    """What is heard again may be the leak of a loop, with which its own music would be averaged away."""
    truth = looped_and_free().flip(1)
    error = torch.stack([torch.zeros(1, *truth.shape[2:]), 0.5 * noise(7)[None]], dim=1)
    takes = [truth + sign * error for sign in (1, -1, 1, -1)]

    refined, mean = refine(Repetition(strength=8.0), takes)
    heard, _ = refine(Repetition(strength=8.0, max_variance=100.0), [take + 0.5 * error for take in takes])

    torch.testing.assert_close(refined, mean, atol=1e-6, rtol=0)
    assert errors(heard, truth)[1] < 0.8 * errors(mean + 0.5 * error, truth)[1]


def test_passes_that_agree_are_left_alone() -> None:
    estimates = looped_and_free()

    refined, _ = refine(Repetition(), [estimates, estimates])

    torch.testing.assert_close(refined, estimates, atol=1e-6, rtol=0)


def test_a_step_of_one_view_tells_nothing_of_errors() -> None:
    estimates = looped_and_free()

    refined, mean = refine(Repetition(), [estimates])

    assert refined is mean


def test_music_that_does_not_repeat_stays_as_it_is() -> None:
    estimates = torch.stack([noise(1), noise(2)]).unsqueeze(0)

    refined, mean = refine(Repetition(), confused(estimates))

    assert refined is mean


def test_what_is_new_in_a_repeat_is_kept() -> None:
    """A fill: something else in the last repeat, which the passes are sure of."""
    truth = looped_and_free()
    truth[0, 0, :, -LOOP // 2 :] = noise(7, LOOP // 2)
    fill = truth[..., -LOOP // 4 :]

    refined, mean = refine(Repetition(strength=0.5), confused(truth))

    worse = errors(refined[..., -LOOP // 4 :], fill) / errors(mean[..., -LOOP // 4 :], fill)
    assert worse[0] < 1.1


def test_chunks_find_lags_of_their_own() -> None:
    first, second = looped_and_free(), torch.stack([noise(5), noise(6)]).unsqueeze(0)

    together, mean = refine(Repetition(), confused(torch.cat([first, second])))

    alone, _ = refine(Repetition(), confused(first))
    torch.testing.assert_close(together[:1], alone, atol=1e-6, rtol=0)
    assert torch.equal(together[1], mean[1])


@pytest.mark.parametrize("level", [1e-4, 1e4])
def test_the_level_does_not_matter(level: float) -> None:
    takes = confused(looped_and_free())

    refined, _ = refine(Repetition(), takes)
    at_level, _ = refine(Repetition(), [level * each for each in takes])

    torch.testing.assert_close(at_level / level, refined, atol=1e-3, rtol=0)


def test_lags_shorter_than_the_shortest_are_not_looked_at() -> None:
    estimates = looped_and_free()[0]

    found = Repetition(shortest=1.5 * LOOP / RATE, similarity=0.15).find_lags(estimates, RATE)

    assert found == [2 * LOOP]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"strength": -1.0}, "strength"),
        ({"similarity": 0.0}, "similarity"),
        ({"max_variance": 0.0}, "max_variance"),
        ({"lags": 0}, "lag"),
        ({"bands": 0}, "band"),
        ({"shortest": 0.0}, "shortest"),
    ],
)
def test_settings_that_can_not_be_are_named(settings: dict[str, float], named: str) -> None:
    with pytest.raises(MdxError, match=named):
        Repetition(**settings)  # type: ignore[arg-type]
