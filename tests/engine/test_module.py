"""The LightningModule under a Trainer: what it measures, and that batches change nothing."""

import gc
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from pandas import DataFrame
from torch import Tensor, nn

from mdx_progressive.data.batch import ChunkBatch, Origin
from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.datasets.base import BuiltinClip
from mdx_progressive.data.normalisation import Peak
from mdx_progressive.data.prediction import Prediction
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation.metrics.bsseval import RATIOS, BssEval
from mdx_progressive.evaluation.metrics.log_spectral import LogSpectralDistance
from mdx_progressive.evaluation.metrics.log_wmse import LogWmse
from mdx_progressive.evaluation.metrics.sdr import Sdr
from mdx_progressive.evaluation.metrics.si_sdr import SiSdr, si_sdr
from mdx_progressive.evaluation.results import Row, to_table
from mdx_progressive.progressive.augmentations import AugmentationCycle
from mdx_progressive.progressive.corrections.complement import Complement
from mdx_progressive.progressive.methods import Method, OnePass, Oracle, Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.remix import SubtractOthers
from mdx_progressive.progressive.samplers import FromMixture
from mdx_progressive.progressive.schedules import Cosine, Explicit, Linear, formulas
from mdx_progressive.progressive.trajectory import Step
from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.separators.base import Separator
from mdx_progressive.separators.demucs import DemucsSeparator
from mdx_progressive.separators.open_unmix import OpenUnmixSeparator
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.open_unmix_weights import small_folder
from tests.support.signals import noise


@pytest.fixture(scope="module")
def spleeter() -> SpleeterSeparator:
    return SpleeterSeparator()


@pytest.fixture(scope="module")
def narrow() -> SpleeterSeparator:
    """Up to 700 Hz, at a sixteenth of the cost."""
    return SpleeterSeparator(bins=64)


def trainer(**settings: object) -> Trainer:
    return Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **settings,  # type: ignore[arg-type]
    )  # fmt: skip


class Rows(Callback):
    def __init__(self) -> None:
        self.found: list[Row] = []

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *rest: Any) -> None:
        self.found += outputs["rows"]


def clip_data(separator: Separator, **settings: object) -> SongDataModule:
    return SongDataModule(separator.sample_rate, separator.sources, dataset=BuiltinClip(), **settings)  # type: ignore[arg-type]


def measured(
    separator: Separator, data: SongDataModule, targets: list[str] | None = None, steps: int = 2, **settings: object
) -> dict[tuple[object, ...], float]:
    module, rows = ProgressiveDemixing(separator, Progressive(Linear(0.6), steps), targets=targets), Rows()
    trainer(callbacks=[rows], **settings).test(module, datamodule=data, verbose=False)
    return {(*row[:4], row.source, row.metric): row.value for row in rows.found}


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
class TestTest:
    def test_it_measures_every_method_step_source_and_metric_of_every_chunk(self, narrow: SpleeterSeparator) -> None:
        module = ProgressiveDemixing(
            narrow, Progressive(Linear(0.9), 3), compare=[Progressive(Cosine(0.5), 1, name="short")]
        )

        rows = Rows()

        trainer(callbacks=[rows]).test(module, datamodule=clip_data(narrow, chunk=2.0, all_chunks=True), verbose=False)

        song = "The Easton Ellises - Falcon 69"
        expected = {
            (song, chunk, method, step, source, metric)
            for chunk in range(3)
            for method, steps in (("one-pass", 0), ("oracle", 3), ("linear", 3), ("short", 1))
            for step in range(steps + 1)
            for source in ("vocals", "accompaniment")
            for metric in ("si_sdr", "sdr", "bsseval_sdr")
        }
        assert {(*row[:4], row.source, row.metric) for row in rows.found} == expected
        assert len(rows.found) == len(expected)
        weights = {row.step: row.weight for row in rows.found if row.method == "linear"}
        assert weights == pytest.approx({0: 0.0, 1: 0.3, 2: 0.6, 3: 0.9})

    def test_step_0_of_every_method_is_the_plain_pass_and_the_oracle_lies_above(
        self, spleeter: SpleeterSeparator, clip: dict[str, Tensor]
    ) -> None:
        found = measured(spleeter, clip_data(spleeter, trim=None), steps=3)
        song = "The Easton Ellises - Falcon 69"

        references = torch.stack([clip["vocals"], clip["drums"] + clip["bass"] + clip["other"]])[None]
        plain = si_sdr(spleeter(clip["mixture"][None]), references, torch.zeros(1, 2, 2, dtype=torch.bool))[0]
        for source, value in zip(spleeter.sources, plain.tolist(), strict=True):
            for method in ("one-pass", "linear", "oracle"):
                assert found[song, 0, method, 0, source, "si_sdr"] == pytest.approx(value, abs=1e-3)
            for step in (1, 2, 3):
                oracle = found[song, 0, "oracle", step, source, "si_sdr"]
                assert oracle > value + 0.1
                assert oracle > found[song, 0, "linear", step, source, "si_sdr"]
                assert oracle > found[song, 0, "oracle", step - 1, source, "si_sdr"]

    def test_batches_and_targets_give_the_numbers_of_one_at_a_time(self, narrow: SpleeterSeparator) -> None:
        settings = {"chunk": 1.5, "all_chunks": True}

        alone = measured(narrow, clip_data(narrow, **settings))
        batched = measured(narrow, clip_data(narrow, **settings, batch_size=4))
        single = measured(narrow, clip_data(narrow, **settings, batch_size=2), targets=["accompaniment"])

        assert batched.keys() == alone.keys()
        assert batched == pytest.approx(alone, abs=1e-3)
        assert single == pytest.approx(
            {key: value for key, value in alone.items() if key[4] == "accompaniment"}, abs=1e-3
        )

    def test_so_it_is_with_demucs(self, small_htdemucs_file: Path) -> None:
        separator, settings = DemucsSeparator(weights=small_htdemucs_file), {"chunk": 1.9, "all_chunks": True}
        two = ["bass", "vocals"]

        alone = measured(separator, clip_data(separator, **settings), two, steps=1)
        batched = measured(separator, clip_data(separator, **settings, batch_size=4), two, steps=1)
        single = measured(separator, clip_data(separator, **settings), targets=["bass"], steps=1)

        assert batched == pytest.approx(alone, abs=1e-3)
        assert single == pytest.approx({key: value for key, value in alone.items() if key[4] == "bass"}, abs=1e-3)

    @pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
    def test_any_precision_of_the_trainer(self, precision: str) -> None:
        separator = SpleeterSeparator()
        expected = measured(separator, clip_data(separator, chunk=2.0), steps=1)

        found = measured(separator, clip_data(separator, chunk=2.0), steps=1, precision=precision)

        assert found == pytest.approx(expected, abs=0.1)
        assert found != expected

    def test_a_silent_source_has_rows_without_a_value(self, small_htdemucs_file: Path) -> None:
        separator = DemucsSeparator(weights=small_htdemucs_file)
        module = ProgressiveDemixing(separator, Progressive(Linear(), 1))
        references = 0.1 * torch.randn(1, 4, 2, 4410)
        references[:, 1] = 0
        quiet = (references == 0).all(dim=-1)
        batch = ChunkBatch([Origin("a", 0, 44100, 4410)], references.sum(1), torch.ones(1), references, quiet)

        with torch.inference_mode():
            rows = module.test_step(batch, 0)["rows"]

        assert {row.source for row in rows if row.value != row.value} == {"bass"}
        assert [row for row in rows if row.source == "bass"] == [row for row in rows if row.value != row.value]

    def test_an_estimate_that_is_not_finite_is_lost_and_spoils_no_other_mean(self, spleeter: SpleeterSeparator) -> None:
        class Overflow(Method):
            steps = 0

            def passes(self, sources: int) -> int:
                return 1

            def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
                broken = first.clone()
                broken[0, 0, 0, 10] = torch.inf
                yield Step(0, torch.zeros(len(passes.sources)), broken)

        metrics = [SiSdr(), Sdr(), BssEval(), LogSpectralDistance(), LogWmse()]
        module = ProgressiveDemixing(spleeter, Overflow("overflow"), metrics=metrics, oracle=False)

        rows = Rows()
        trainer(callbacks=[rows]).test(module, datamodule=clip_data(spleeter, chunk=1.0), verbose=False)
        module.conclude([to_table(rows.found)])

        comparison = module.comparison
        assert comparison is not None
        assert list(comparison.scales) == ["si_sdr", "sdr", "bsseval_sdr", "lsd", "log_wmse"]
        found = comparison.means[comparison.means["method"] == "overflow"]
        vocals, accompaniment = (found[found["source"] == source] for source in spleeter.sources)
        assert vocals["lost"].tolist() == [1] * 5
        assert vocals["mean"].tolist() == [-60.0, -60.0, -60.0, 80.0, -60.0]
        assert accompaniment["lost"].tolist() == [0] * 5
        assert accompaniment["mean"].notna().all()
        assert (comparison.means[["silent", "undefined", "infinite"]] == 0).all(axis=None)

    def test_the_rows_of_a_song_are_let_go_before_those_of_the_next_but_one(self, spleeter: SpleeterSeparator) -> None:
        module = ProgressiveDemixing(spleeter, Progressive(Linear(), 0), oracle=False)
        read: list[weakref.ref[DataFrame]] = []

        def songs() -> Iterator[DataFrame]:
            for number in range(4):
                rows = [
                    Row(f"song {number}", chunk, method.name, 0, 1, 0.0, "vocals", "si_sdr", 1.0 * number)
                    for chunk in range(3)
                    for method in module.methods
                ]
                made = to_table(rows)
                read.append(weakref.ref(made))
                yield made
                del made
                gc.collect()
                assert [each() is None for each in read[:-1]] == [True] * number

        module.conclude(songs())

        assert module.comparison is not None
        assert module.comparison.songs["value"].tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
        assert module.comparison.songs["chunks"].tolist() == [3] * 8
        assert module.comparison.means["mean"].tolist() == [1.5, 1.5]

    def test_the_sound_of_the_best_step_is_that_steps(self, spleeter: SpleeterSeparator) -> None:
        module = ProgressiveDemixing(spleeter, Progressive(Linear(0.9), 4))
        data = clip_data(spleeter, trim=None, normalisation=Peak(-6.0))
        data.setup("test")
        (batch,) = list(data.test_dataloader())

        with torch.inference_mode():
            output = module.test_step(batch, 0)

        values = {
            (row.source, row.step): row.value
            for row in output["rows"]
            if (row.method, row.metric) == ("linear", "si_sdr")
        }
        sound = output["sound"]
        assert batch.silent is not None
        assert sound is not None
        heard = si_sdr(sound.best, sound.references, batch.silent)[0]
        for number, source in enumerate(spleeter.sources):
            best = max(range(5), key=lambda step: values[source, step])
            assert int(sound.best_step[0, number]) == best
            assert heard[number].item() == pytest.approx(values[source, best], abs=1e-3)


class Halver(Separator):
    """Estimates both sources as half of the mixture, and counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.sources, self.sample_rate, self.channels = ["vocals", "accompaniment"], 44100, 2
        self.segment = None
        self.factor = nn.Parameter(torch.tensor(0.5))
        self.passes = 0
        self.freeze()

    def _separate(self, mixture: Tensor, wanted: Tensor) -> Tensor:
        self.passes += 1
        return self.factor * mixture.unsqueeze(1).expand(-1, wanted.shape[1], -1, -1)


def batch_of(mixture: Tensor, gain: float = 1.0) -> ChunkBatch:
    origins = [Origin(f"song {item}", 0, 44100, mixture.shape[-1]) for item in range(len(mixture))]
    references = torch.stack([0.5 * mixture, 0.5 * mixture], dim=1)
    silent = torch.zeros(references.shape[:3], dtype=torch.bool)
    return ChunkBatch(origins, mixture, torch.full((len(mixture),), gain), references, silent)


class TestPasses:
    def test_predict_makes_one_pass_a_step_for_all_targets(self) -> None:
        separator = Halver()

        ProgressiveDemixing(separator, Progressive(Linear(), 4)).predict_step(batch_of(torch.ones(3, 2, 8)), 0)

        assert separator.passes == 1 + 4

    def test_test_shares_the_plain_pass(self) -> None:
        separator = Halver()
        module = ProgressiveDemixing(separator, Progressive(Linear(), 4), compare=[Progressive(Cosine(), 2)])

        module.test_step(batch_of(torch.ones(3, 2, 8)), 0)

        assert separator.passes == 1 + 4 + 4 + 2
        assert module.passes == 1 + 2 * (4 + 4 + 2)

    def test_watchers_are_told_of_every_pass(self) -> None:
        method = Progressive(Linear(), 2, augmentations=AugmentationCycle(first=3, each=2, span=0.0))
        module = ProgressiveDemixing(Halver(), method)
        seen: list[tuple[str, int]] = []
        module.pass_listeners.append(lambda *told: seen.append(told))

        module.predict_step(batch_of(torch.ones(1, 2, 8)), 0)

        assert seen == [("one-pass", 1), ("linear", 2), ("linear", 4), ("linear", 4)]
        assert sum(passes for _, passes in seen) == method.passes(2) == module.passes_of(method) == 11

    def test_rows_tell_what_an_estimate_has_cost(self) -> None:
        method = Progressive(Linear(), 2, augmentations=AugmentationCycle(first=3, each=2))
        module = ProgressiveDemixing(Halver(), method)

        rows = module.test_step(batch_of(torch.ones(1, 2, 8)), 0)["rows"]

        assert {(row.step, row.passes) for row in rows if row.method == "linear"} == {(0, 3), (1, 7), (2, 11)}
        assert {(row.step, row.passes) for row in rows if row.method == "oracle"} == {(0, 1), (1, 3), (2, 5)}

    def test_a_target_is_the_same_whether_or_not_the_others_are_wanted(self) -> None:
        method = Progressive(
            Linear(0.5), 2, sampler=FromMixture(SubtractOthers()), corrections=[Complement("accompaniment")]
        )
        batch = batch_of(torch.randn(2, 2, 50, generator=torch.Generator().manual_seed(0)))

        both = ProgressiveDemixing(Halver(), method).predict_step(batch, 0).estimates
        one = ProgressiveDemixing(Halver(), method, targets=["accompaniment"]).predict_step(batch, 0).estimates

        torch.testing.assert_close(one, both[:, 1:])
        torch.testing.assert_close(both.sum(dim=1), batch.mixture)

    def test_only_bounds_are_told_the_truth(self) -> None:
        told: list[bool] = []

        class Spy(Progressive):
            def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
                told.append(references is not None)
                return super().run(passes, first, references)

        module = ProgressiveDemixing(Halver(), Spy(Linear(), 1))
        module.test_step(batch_of(torch.ones(1, 2, 8)), 0)

        assert told == [False]


class TestPredict:
    def test_it_returns_the_last_step_at_the_original_level(self) -> None:
        module = ProgressiveDemixing(Halver(), Progressive(Linear(0.4), 1), targets=["accompaniment"])

        prediction = module.predict_step(batch_of(torch.ones(2, 2, 8), gain=4.0), 0)

        assert isinstance(prediction, Prediction)
        assert prediction.targets == ["accompaniment"]
        # x_0 = y / 2, y_1 = .6 y + .4 x_0 = .8 y, x_1 = .4 y; y was made four times louder.
        torch.testing.assert_close(prediction.estimates, torch.full((2, 1, 2, 8), 0.1))

    def test_the_oracle_can_not_be_its_method(self) -> None:
        with pytest.raises(MdxError, match=r"Oracle.*needs the references"):
            ProgressiveDemixing(Halver(), Oracle(Linear()))

    def test_an_oracle_to_compare_with_does_not_run(self) -> None:
        module = ProgressiveDemixing(Halver(), Progressive(Linear(), 1), compare=[Oracle(Cosine(), 1, name="other")])
        ran: list[str] = []
        module.pass_listeners.append(lambda method, _: ran.append(method))

        module.predict_step(batch_of(torch.ones(1, 2, 8)), 0)

        assert ran == ["one-pass", "linear"]


def test_the_ensemble_costs_what_the_method_costs() -> None:
    method = Progressive(Linear(), 3, augmentations=AugmentationCycle(first=4, each=2))

    module = ProgressiveDemixing(Halver(), method, ensemble=True, oracle=False)
    rows = module.test_step(batch_of(torch.randn(1, 2, 64)), 0)["rows"]

    last = {row.method: row.passes for row in rows}
    assert last == {"one-pass": 1, "linear": 4 + 3 * 2 * 2, "ensemble": 4 + 3 * 2 * 2}


def test_all_schedules_end_alike_in_as_many_steps() -> None:
    method = Progressive(Linear(0.7), 3, FromMixture(SubtractOthers()))

    module = ProgressiveDemixing(Halver(), method, compare=[Progressive(Cosine(0.2), 1)], schedules=True, oracle=False)

    _, own, *others, cosine = module.methods
    assert own is method
    assert cosine.steps == 1  # the one to compare with, not another one of that name
    assert len(others) == len(formulas(0.5)) - 2
    for other in others:
        assert isinstance(other, Progressive)
        assert other.sampler is method.sampler
        assert (other.steps, other.passes(2)) == (3, 7)
        assert other.schedule.weights(3)[-1].item() == pytest.approx(0.7, abs=1e-4)
    assert Progressive(Linear(), 3, name="mine").with_schedule(Cosine(), "x").name == "x"
    named = ProgressiveDemixing(Halver(), Progressive(Linear(), 3, name="mine"), schedules=True)
    assert "mine-cosine" in {each.name for each in named.methods}


def test_the_metrics_are_those_that_were_asked_for_and_always_si_sdr() -> None:
    module = ProgressiveDemixing(Halver(), Progressive(Linear(), 1), metrics=[BssEval(components=True)])

    rows = module.test_step(batch_of(torch.randn(1, 2, 64)), 0)["rows"]

    assert {row.metric for row in rows} == {"si_sdr", *RATIOS}


@pytest.mark.parametrize("method", [OnePass(), Progressive(Explicit([0.2]))])
def test_a_method_without_a_maximum_has_no_other_schedules(method: Method) -> None:
    with pytest.raises(MdxError, match="equal maximum"):
        ProgressiveDemixing(Halver(), method, schedules=True)


def test_settings_that_contradict_one_another_are_named() -> None:
    with pytest.raises(MdxError, match="vokals"):
        ProgressiveDemixing(Halver(), Progressive(Linear()), targets=["vokals"])
    with pytest.raises(MdxError, match="name linear"):
        ProgressiveDemixing(Halver(), Progressive(Cosine()), compare=[Progressive(Linear()), Progressive(Linear(0.5))])


def test_a_method_that_was_to_be_compared_with_is_left_out_once_it_is_the_method() -> None:
    method = Progressive(Linear(0.5), 1)
    module = ProgressiveDemixing(Halver(), method, compare=[Progressive(Linear(), 1), Progressive(Cosine(), 1)])

    assert [each.name for each in module.methods] == ["one-pass", "oracle", "linear", "cosine"]
    assert module.methods[2] is method


def test_one_pass_is_run_once_whoever_asks_for_it() -> None:
    module = ProgressiveDemixing(Halver(), OnePass(), compare=[OnePass(), Progressive(Linear(), 1)])

    assert [each.name for each in module.methods] == ["one-pass", "linear"]
    assert module.methods[0] is module.method
    assert module.passes == 3


def test_rows_of_a_step_name_their_weight() -> None:
    module = ProgressiveDemixing(Halver(), Progressive(Linear(0.8), 2), oracle=False)

    rows = module.test_step(batch_of(torch.randn(1, 2, 64)), 0)["rows"]

    assert all(isinstance(row, Row) for row in rows)
    assert {(row.method, row.step): row.weight for row in rows} == pytest.approx(
        {("one-pass", 0): 0.0, ("linear", 0): 0.0, ("linear", 1): 0.4, ("linear", 2): 0.8}
    )


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))), reason="no C++ compiler is at hand")
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script_method.*:DeprecationWarning"
)  # PyTorch's own compiler asks for it
def test_compiled_networks_predict_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    separator = OpenUnmixSeparator(weights=small_folder(tmp_path), iterations=0)
    method, batch = Progressive(Linear(0.5), 2), batch_of(noise(1)[None])
    plain = ProgressiveDemixing(separator, method, targets=["vocals"]).predict_step(batch, 0)

    with torch.inference_mode():
        compiled = ProgressiveDemixing(separator, method, targets=["vocals"], compile=True).predict_step(batch, 0)

    torch.testing.assert_close(compiled.estimates, plain.estimates, rtol=0, atol=1e-5)
    assert any((tmp_path / "cache").iterdir())


def test_without_a_compiler_compile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)

    with pytest.raises(MdxError, match="compiler"):
        ProgressiveDemixing(Halver(), Progressive(Linear()), compile=True)
