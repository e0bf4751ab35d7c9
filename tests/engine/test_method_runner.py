"""Steps of methods over songs in blocks: what they depend on beyond the block."""

import pytest
import torch
from torch import Tensor, nn

from mdx_progressive.data.batch import ChunkBatch
from mdx_progressive.dsp.blocks import ReceptiveField, plan_blocks
from mdx_progressive.engine.method_runner import MethodRunner
from mdx_progressive.progressive.augmentations import AugmentationCycle
from mdx_progressive.progressive.combine import Mean
from mdx_progressive.progressive.corrections.complement import Complement
from mdx_progressive.progressive.methods import Progressive
from mdx_progressive.progressive.samplers import FromMixture, Halves, Sampler
from mdx_progressive.progressive.schedules import Constant
from mdx_progressive.separators.base import Separator
from tests.support.signals import RATE, noise

each_sampler = pytest.mark.parametrize("sampler", [FromMixture(), Halves()], ids=["from mixture", "halves"])


class Saturating(Separator):
    """Standardises, and bends each sample by itself: what it estimates depends on the level, and on no context."""

    standardise = True
    context = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.sources, self.sample_rate, self.channels = ["vocals", "accompaniment"], RATE, 2
        self.factor = nn.Parameter(torch.tensor(1.0))
        self.freeze()

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        loud = torch.tanh(self.factor * mixture)
        both = torch.stack([loud, mixture - loud], dim=1)
        return both[torch.arange(len(mixture))[:, None], indices]


@each_sampler
def test_the_steps_of_a_song_in_blocks_are_those_of_the_whole_at_any_level(sampler: Sampler) -> None:
    song = noise(6)[None]
    song[..., 3 * RATE :] += 0.01  # Many recordings are off balance.
    song[..., : 3 * RATE] *= 0.02
    batch = ChunkBatch.of_waveforms(song, RATE, "song")
    cut = ChunkBatch.of_waveforms(song, RATE, "song")
    separator = Saturating()
    cut.blocks = plan_blocks(song.shape[-1], RATE, ReceptiveField(1, 0, separator.crossfade, 0))
    assert len(cut.blocks) > 3
    # No shifts, whose silence would be a context.
    views = AugmentationCycle(first=2, each=2, span=0.0, gains=[1.0, 0.5], side_gains=[1.0, 0.7])
    method = Progressive(Constant(0.9), steps=2, sampler=sampler, augmentations=views, combine=Mean())
    runner = MethodRunner(separator, separator.sources)

    wholes = [step.estimates for step, _ in runner.run_blocks(method, runner.blocks(batch, [method]))]
    joined = [step.estimates for step, _ in runner.run_blocks(method, runner.blocks(cut, [method]))]

    assert len(wholes) == len(joined) == 3
    for whole, together in zip(wholes, joined, strict=True):
        for half in (slice(0, 3 * RATE), slice(3 * RATE, None)):
            error = (together - whole)[..., half].square().mean()
            assert 10 * torch.log10(whole[..., half].square().mean() / error) > 60


@each_sampler
def test_the_steps_of_a_standardising_separator_do_not_depend_on_the_balance(sampler: Sampler) -> None:
    song, separator = noise(2)[None], Saturating()
    method = Progressive(
        Constant(0.9), 2, sampler, AugmentationCycle(first=2, each=2), Mean(), corrections=[Complement("vocals")]
    )
    runner = MethodRunner(separator, separator.sources)

    def last(mixture: Tensor) -> Tensor:
        batch = ChunkBatch.of_waveforms(mixture, RATE, "song")
        *_, (step, _) = runner.run_blocks(method, runner.blocks(batch, [method]))
        return step.estimates

    torch.testing.assert_close(last(song + 0.5) - 0.5, last(song), rtol=0, atol=1e-5)
