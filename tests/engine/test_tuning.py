"""Tuning: what is fitted is the best there is on the songs, and is used like any other part of a method."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from mdx_progressive.cli.main import main
from mdx_progressive.dsp.silence import silent_channels
from mdx_progressive.engine.tuning import Chunks, OfflineSearch
from mdx_progressive.evaluation.metrics.si_sdr import si_sdr
from mdx_progressive.progressive.augmentations import AugmentationCycle
from mdx_progressive.progressive.combine import Last, Mean
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.methods import OnePass, Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.remix import SubtractOthers
from mdx_progressive.progressive.samplers import Euler, FromMixture
from mdx_progressive.progressive.schedules import Explicit, Linear, PerSource
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime.errors import MdxError
from tests.support.known_separators import SOURCES, passes_of, run
from tests.support.paths import STUDY

TIME = 9000


class Erring:
    """A separator whose error depends on its input: each source gets a part of the other, squashed."""

    def __call__(self, mixtures: Tensor) -> Tensor:
        mixtures = mixtures.expand(-1, len(SOURCES), -1, -1)
        low, high = (torch.tanh(k * mixtures[:, number]) for number, k in enumerate((3.0, 7.0)))
        return torch.stack([0.6 * mixtures[:, 0] + 0.1 * low, 0.4 * mixtures[:, 1] - 0.05 * high], dim=1)


def songs(count: int = 3, length: int = TIME) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.2 * torch.randn(1, len(SOURCES), 2, length, generator=generator) for _ in range(count)]


def tuned(
    tuner: OfflineSearch,
    method: Progressive,
    separate: Any,
    references: list[Tensor],
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    for _ in range(tuner.begin(method, SOURCES)):
        for number, truth in enumerate(references):
            song = names[number] if names else str(number)
            mixture = truth.sum(dim=1)
            passes = passes_of(separate, mixture)
            tuner.add(Chunks([song], passes, separate(mixture.unsqueeze(1)), truth, silent_channels(truth, mixture)))
        tuner.end_round()
    return tuner.schedule()["init_args"]


def mean_si_sdr(method: Progressive, separate: Any, references: list[Tensor]) -> Tensor:
    """Mean over songs for each source."""
    values = []
    for truth in references:
        mixture = truth.sum(dim=1)
        steps, _ = run(method, separate, mixture)
        values.append(si_sdr(steps[-1].estimates, truth, silent_channels(truth, mixture)))
    return torch.cat(values).mean(dim=0)


@pytest.mark.parametrize("sampler", [FromMixture(), FromMixture(SubtractOthers())])
@pytest.mark.parametrize("combine", [Last(), Mean()])
def test_the_first_step_of_an_offline_search_is_the_best_of_all_weights(
    sampler: FromMixture, combine: Last | Mean
) -> None:
    candidates, truth = [0.0, 0.2, 0.4, 0.6, 0.8], songs()
    method = Progressive(Linear(), 1, sampler, combine=combine)

    found = tuned(OfflineSearch(candidates), method, Erring(), truth)

    tried = torch.stack(
        [
            mean_si_sdr(Progressive(Explicit([weight]), 1, sampler, combine=combine), Erring(), truth)
            for weight in candidates
        ]
    )
    best = [candidates[number] for number in tried.argmax(dim=0).tolist()]
    chosen = [found["schedules"][source]["init_args"]["values"] for source in SOURCES]
    assert chosen == [[pytest.approx(weight)] for weight in best]


def test_later_steps_build_on_those_before() -> None:
    candidates, truth = [0.1, 0.5, 0.9], songs()
    method = Progressive(Linear(), 2, augmentations=AugmentationCycle(first=2, each=2, span=100.0))

    found = tuned(OfflineSearch(candidates), method, Erring(), truth)

    weights = {source: found["schedules"][source]["init_args"]["values"] for source in SOURCES}
    assert all(len(values) == 2 for values in weights.values())
    for position, source in enumerate(SOURCES):

        def value(last: float, position: int = position, source: str = source) -> float:
            of_sources = {name: Explicit(values) for name, values in weights.items()}
            of_sources[source] = Explicit([weights[source][0], last])
            return mean_si_sdr(method.with_schedule(PerSource(of_sources), "x"), Erring(), truth)[position].item()

        assert value(weights[source][1]) == pytest.approx(max(value(candidate) for candidate in candidates))


class Complemented(Correction):
    """Hands out the rest of the mixture: the best weight is then the one whose estimate is the worst."""

    def __call__(self, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        return passes.mixture.unsqueeze(1) - estimates


@pytest.mark.parametrize("where", ["step_corrections", "corrections"])
def test_candidates_are_judged_as_the_method_returns_them(where: str) -> None:
    candidates, truth = [0.0, 0.2, 0.4, 0.6, 0.8], songs()
    corrections: dict[str, Any] = {where: [Complemented()]}

    found = tuned(OfflineSearch(candidates), Progressive(Linear(), 1, **corrections), Erring(), truth)

    tried = torch.stack(
        [mean_si_sdr(Progressive(Explicit([each]), 1, **corrections), Erring(), truth) for each in candidates]
    )
    chosen = [found["schedules"][source]["init_args"]["values"] for source in SOURCES]
    assert chosen == [[pytest.approx(candidates[number])] for number in tried.argmax(dim=0).tolist()]
    plain = tuned(OfflineSearch(candidates), Progressive(Linear(), 1), Erring(), truth)
    assert plain != found


class ByOffset:
    """Knows the truth but for an error that changes with the offset of its input, which blending changes.

    Songs of positive offset lose by it, those of negative offset gain half as many decibels.
    """

    def __init__(self, truth: Tensor) -> None:
        self.truth = truth
        self.noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(8))

    def __call__(self, mixtures: Tensor) -> Tensor:
        offset = mixtures.expand(-1, len(SOURCES), -1, -1).mean(dim=(-2, -1), keepdim=True)
        change = offset.abs() / 0.3
        error = torch.where(offset > 0, change**-4, change**2)
        return self.truth + error * self.noise


def test_a_song_counts_once_however_many_chunks_it_has() -> None:
    truth = songs(1)[0]
    losing, gaining = truth + 0.15, truth - 0.15
    search = (OfflineSearch([0.0, 0.9]), Progressive(Linear(), 1), ByOffset(truth))

    once = tuned(*search, [losing, gaining], ["one", "two"])
    often = tuned(*search, [losing, *[gaining] * 9], ["one", *["two"] * 9])

    assert often == once
    assert tuned(*search, [losing, *[gaining] * 9]) != once


def test_a_silent_source_does_not_decide() -> None:
    truth = songs()
    with_silence = [*truth, torch.cat([truth[0][:, :1], torch.zeros_like(truth[0][:, 1:])], dim=1)]

    alone = tuned(OfflineSearch(), Progressive(Linear(), 2), Erring(), truth)
    beside = tuned(OfflineSearch(), Progressive(Linear(), 2), Erring(), with_silence)

    accompaniment = SOURCES[1]
    assert beside["schedules"][accompaniment] == alone["schedules"][accompaniment]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: OfflineSearch([]), "candidates"),
        (lambda: OfflineSearch([0.2, 1.0]), "candidates"),
        (lambda: OfflineSearch().begin(OnePass(), SOURCES), "Progressive"),
        (lambda: OfflineSearch().begin(Progressive(Linear(), 2, Euler()), SOURCES), "from the mixture"),
        (lambda: OfflineSearch().begin(Progressive(Linear(), 0), SOURCES), "one step or more"),
    ],
)
def test_what_can_not_be_tuned_is_named(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(MdxError, match=named):
        make()


class TestCommand:
    def test_what_it_writes_is_used_by_predict(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        demo, schedule = str(STUDY), tmp_path / "new" / "s.yaml"
        common = ("-c", demo, "--model.compare", "null", "--model.method.steps", "1", "--data.chunk", "2")

        def run(*arguments: str) -> int:
            return main(arguments)

        searched = ("--tuner", "OfflineSearch", "--tuner.candidates", "[0, 0.5]", "--to", str(schedule))
        assert run("tune", *common, *searched) == 0
        assert f"to use it: --model.method.schedule {schedule}\n" in capsys.readouterr().err
        assert "The Easton Ellises - Falcon 69" in schedule.read_text().splitlines()[0]
        assert list(yaml.safe_load(schedule.read_text())["init_args"]["schedules"]) == ["vocals", "accompaniment"]
        use = ("--model.method.schedule", str(schedule))
        assert run("predict", *common, *use, "--trainer.logger", "false", "--out", "stems") == 0
        assert sorted(path.name for path in tmp_path.glob("stems/*/*")) == ["accompaniment.wav", "vocals.wav"]

    def test_a_file_that_does_not_fit_where_it_is_put_is_not_quoted_whole(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        schedule = tmp_path / "schedule.yaml"
        explicit = {"class_path": "mdx_progressive.Explicit", "init_args": {"values": [0.5] * 400}}
        preset = {
            "class_path": "mdx_progressive.PerSource",
            "init_args": {"schedules": dict.fromkeys("abcd", explicit)},
        }
        schedule.write_text(yaml.safe_dump(preset))

        with pytest.raises(SystemExit):
            main(("predict", "-c", str(STUDY), "--model.method.corrections", str(schedule)))

        said = capsys.readouterr().err
        assert "corrections must be " in said
        assert "not {'class_path': 'mdx_progressive.PerSource'" in said
        assert len(said) < 700

    def test_a_folder_without_songs_is_one_line_and_leaves_no_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        arguments = ("tune", "-c", str(STUDY), "--data.root", "empty", "--to", "found.yaml")

        assert main(arguments) == 1

        assert len(capsys.readouterr().err.splitlines()) == 2  # The first says what runs.
        assert not (tmp_path / "found.yaml").exists()
