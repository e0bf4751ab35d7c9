"""Several separators as one: which of them a source is from, and what the second of a cascade hears."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mdx_progressive as mdx
from mdx_progressive.progressive.samplers import FromMixture
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.committee import Cascade, Committee
from tests.support.command import run
from tests.support.signals import RATE, noise


class Gains(Separator):
    """Estimates each source as the mixture at a gain of its own, and keeps what it was asked."""

    def __init__(
        self, gains: dict[str, float], standardise: bool = False, sample_rate: int = RATE, channels: int = 2
    ) -> None:
        super().__init__()
        self.sources, self.sample_rate, self.channels = list(gains), sample_rate, channels
        self.standardise = standardise
        self.networks = nn.ModuleList([nn.Identity()])
        self.gains = nn.Parameter(torch.tensor([*gains.values()]))
        self.heard: list[Tensor] = []
        self.asked: list[Tensor] = []
        self.freeze()

    def _separate(self, mixture: Tensor, indices: Tensor) -> Tensor:
        self.heard.append(mixture)
        self.asked.append(indices)
        return self.gains[indices][..., None, None] * mixture.unsqueeze(1)


def drums_and_vocals() -> Gains:
    return Gains({"drums": 1.0, "vocals": 2.0})


class TestCommittee:
    def test_a_source_is_the_weighted_mean_over_the_members_that_have_it(self) -> None:
        pair = Committee([drums_and_vocals(), Gains({"vocals": 6.0, "rest": 9.0})], {"vocals": [1, 3]})
        mixture = noise(0.1)[None]

        assert pair.sources == ["drums", "vocals"]
        torch.testing.assert_close(pair(mixture)[0], torch.stack([mixture[0], 5 * mixture[0]]))
        torch.testing.assert_close(pair(mixture, ["vocals"])[0, 0], 5 * mixture[0])

    def test_all_that_have_a_source_count_alike_by_default(self) -> None:
        pair = Committee([drums_and_vocals(), Gains({"vocals": 6.0})])

        torch.testing.assert_close(pair(torch.ones(1, 2, 8))[0, :, 0, 0], torch.tensor([1.0, 4.0]))

    def test_names_are_the_same_in_upper_and_lower_case(self) -> None:
        pair = Committee([drums_and_vocals(), Gains({"Vocals": 6.0})], {"VOCALS": [1, 3]})

        torch.testing.assert_close(pair(torch.ones(1, 2, 8))[0, :, 0, 0], torch.tensor([1.0, 5.0]))

    def test_a_member_without_a_part_in_the_targets_is_not_run(self) -> None:
        other = Gains({"drums": 3.0, "vocals": 6.0})
        pair = Committee([drums_and_vocals(), other], {"drums": [1, 0]})

        pair(torch.ones(1, 2, 8), ["drums"])
        assert not other.asked
        pair(torch.ones(1, 2, 8))
        assert other.asked[0].tolist() == [[1, 1]]

    @pytest.mark.parametrize(
        ("members", "weights", "message"),
        [
            ([drums_and_vocals()], None, "two members or more, not 1"),
            (
                [drums_and_vocals(), Gains({"vocals": 1.0}, sample_rate=48000)],
                None,
                "same sample rate, not 44100, 48000",
            ),
            ([drums_and_vocals(), Gains({"vocals": 1.0}, channels=1)], None, "same channels, not 2, 1"),
            ([drums_and_vocals(), drums_and_vocals()], {"bass": [1, 1]}, "weights of bass: the sources are drums, voc"),
            ([drums_and_vocals(), drums_and_vocals()], {"drums": [1]}, "weights of drums must be 2 numbers"),
            ([drums_and_vocals(), drums_and_vocals()], {"drums": [1, -1]}, "0 or more"),
            ([drums_and_vocals(), drums_and_vocals()], {"drums": [1, float("nan")]}, "0 or more"),
            ([drums_and_vocals(), drums_and_vocals()], {"drums": [0, 0]}, "above 0 for members that have it"),
            ([drums_and_vocals(), Gains({"vocals": 1.0})], {"drums": [1, 1]}, "above 0 for members that have it"),
        ],
    )
    def test_what_can_not_be_is_named(
        self, members: list[Separator], weights: dict[str, list[float]] | None, message: str
    ) -> None:
        with pytest.raises(MdxError, match=message):
            Committee(members, weights)

    @pytest.mark.parametrize("offset", [0.0, 0.3])
    def test_each_member_hears_the_level_that_it_wants_at_every_step(self, offset: float) -> None:
        scaled, raw = Gains({"vocals": 1.0, "rest": 0.0}, standardise=True), Gains({"vocals": 1.0, "rest": 0.0})
        mixture = 0.1 * noise(0.5)[None]
        method = mdx.Progressive(mdx.Constant(0.5), steps=2, sampler=FromMixture())

        *_, last = mdx.iterate(Committee([scaled, raw]), method, mixture + offset)

        assert len(scaled.heard) == len(raw.heard) == 3
        for one, other in zip(scaled.heard, raw.heard, strict=True):
            torch.testing.assert_close(one, other / mixture.mean(dim=1).std(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(last.estimates[:, 0], mixture + offset, rtol=1e-4, atol=1e-5)

    def test_checksums_of_files_of_one_name_are_told_apart(self) -> None:
        one, other = Gains({"vocals": 1.0}), Gains({"vocals": 1.0})
        one.__dict__["checksums"], other.__dict__["checksums"] = {"model.ckpt": "a"}, {"model.ckpt": "b"}

        assert Committee([one, other]).checksums == {"1 model.ckpt": "a", "2 model.ckpt": "b"}


class TestCascade:
    def test_the_second_hears_the_mixture_without_the_first_source(self) -> None:
        first = Gains({"vocals": 0.25, "accompaniment": 0.75})
        rest = Gains({"drums": 0.5, "vocals": 0.1, "bass": 0.4})
        cascade, mixture = Cascade([first, rest]), noise(0.1)[None]

        estimates = dict(zip(cascade.sources, cascade(mixture)[0], strict=True))

        assert list(estimates) == ["drums", "bass", "vocals"]
        torch.testing.assert_close(estimates["vocals"], 0.25 * mixture[0])
        torch.testing.assert_close(estimates["drums"], 0.5 * 0.75 * mixture[0])
        torch.testing.assert_close(estimates["bass"], 0.4 * 0.75 * mixture[0])

    def test_names_are_the_same_in_upper_and_lower_case(self) -> None:
        cascade = Cascade([Gains({"Vocals": 0.25}), Gains({"vocals": 0.1, "drums": 0.5})])

        assert cascade.sources == ["Vocals", "drums"]
        torch.testing.assert_close(cascade(torch.ones(1, 2, 8))[0, :, 0, 0], torch.tensor([0.25, 0.375]))

    def test_the_second_is_not_run_for_the_first_source_alone(self) -> None:
        rest = drums_and_vocals()

        Cascade([Gains({"vocals": 0.25}), rest])(torch.ones(1, 2, 8), ["vocals"])

        assert not rest.asked

    @pytest.mark.parametrize(
        ("members", "source", "message"),
        [
            ([drums_and_vocals(), drums_and_vocals()], "bass", "has no bass, only drums, vocals"),
            ([drums_and_vocals(), Gains({"vocals": 1.0})], "vocals", "no source but vocals"),
            ([drums_and_vocals()] * 3, "vocals", "two members, not 3"),
        ],
    )
    def test_what_can_not_be_is_named(self, members: list[Separator], source: str, message: str) -> None:
        with pytest.raises(MdxError, match=message):
            Cascade(members, source)


def test_a_file_of_names_is_a_separator_of_every_command(own_folder: Path) -> None:
    Path("both.yaml").write_text(
        "class_path: Committee\ninit_args:\n  members:\n"
        "  - {class_path: SpleeterSeparator, init_args: {bins: 64}}\n  - spleeter\n  weights: {vocals: [1, 3]}\n"
    )
    by_name = mdx.load_separator("both.yaml")
    assert (by_name.name, by_name.sources) == ("spleeter:2stems+spleeter:2stems", ["vocals", "accompaniment"])

    assert run("predict", "-c", "demo", "-s", "both.yaml", "-q", "balanced", "--out", "out") == 0

    assert sorted(path.stem for path in Path("out").rglob("*.wav")) == ["accompaniment", "vocals"]
