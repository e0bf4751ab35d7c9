"""What Lightning's own Trainer does with the module and the data module, without the command line and its callbacks."""

import csv
import json
import math
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import mdx_progressive
from mdx_progressive import (
    BuiltinClip,
    DemucsSeparator,
    EstimateWriter,
    EventLog,
    ExportedSeparator,
    FailureCollector,
    Linear,
    Musdb18,
    OnePass,
    OpenUnmixSeparator,
    PreparedSet,
    Progressive,
    ProgressiveDemixing,
    ResultFiles,
    RoFormerSeparator,
    Separator,
    SiSdr,
    SongDataModule,
    SongFolders,
    SpleeterSeparator,
    StepProgressBar,
    TorchaudioSeparator,
)
from mdx_progressive.data.prediction import Prediction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.runtime.errors import MdxError
from tests.support.processes import Running
from tests.support.signals import RATE, noise

SECOND = RATE
CLIP = "The Easton Ellises - Falcon 69"

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.fixture(scope="module")
def separator() -> SpleeterSeparator:
    """Up to 700 Hz, at a sixteenth of the cost."""
    return SpleeterSeparator(bins=64)


@pytest.fixture
def module(separator: SpleeterSeparator) -> ProgressiveDemixing:
    return ProgressiveDemixing(separator, Progressive(Linear(0.6), 2))


def data(separator: Separator, **settings: object) -> SongDataModule:
    if not settings.keys() & {"root", "input"}:
        settings["dataset"] = BuiltinClip()
    return SongDataModule(
        separator.sample_rate, separator.sources, separator.receptive_field, **settings  # type: ignore[arg-type]
    )  # fmt: skip


def quiet(**settings: object) -> Trainer:
    return Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, **settings)  # type: ignore[arg-type]


def write_song(path: Path, seconds: float, seed: int) -> Tensor:
    path.parent.mkdir(parents=True, exist_ok=True)
    waveform = noise(seconds, seed=seed)
    soundfile.write(path, waveform.T.numpy(), RATE, subtype="FLOAT")
    return waveform


def of_method(module: ProgressiveDemixing, mixture: Tensor) -> Tensor:
    """The last estimates of the method, (batch, target, channel, time), without anything of Lightning."""
    first = module.separator(mixture)
    *_, last = module.method.run(Passes.of(module.separator, mixture, module.targets), first, None)
    return last.estimates


class TestPredict:
    def test_the_defaults_return_the_estimates(self, module: ProgressiveDemixing, own_folder: Path) -> None:
        song = write_song(own_folder / "a.wav", 1.0, 0)

        predictions: Any = Trainer().predict(module, data(module.separator, input=[own_folder / "a.wav"]))

        (prediction,) = predictions

        assert isinstance(prediction, Prediction)
        assert [origin.song for origin in prediction.origins] == ["a"]
        assert prediction.targets == module.separator.sources
        assert prediction.sample_rate == RATE
        torch.testing.assert_close(prediction.estimates, of_method(module, song[None]))
        assert "a" in repr(prediction)
        assert "(1, 2, 2, 44100)" in repr(prediction)

    @pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
    def test_any_precision_and_several_songs(
        self, module: ProgressiveDemixing, own_folder: Path, precision: Any
    ) -> None:
        songs = [
            write_song(own_folder / f"{name}.wav", 0.5 + 0.25 * number, number) for number, name in enumerate("abc")
        ]
        own = ProgressiveDemixing(SpleeterSeparator(bins=64), module.method)

        predictions: Any = quiet(precision=precision).predict(own, data(own.separator, input=own_folder))

        assert [origin.song for each in predictions for origin in each.origins] == ["a", "b", "c"]
        assert {each.estimates.dtype for each in predictions} == {torch.float32}
        for each, song in zip(predictions, songs, strict=True):
            torch.testing.assert_close(each.estimates, of_method(module, song[None]), rtol=0, atol=5e-3)

    def test_the_blocks_of_a_long_song_are_joined(self, module: ProgressiveDemixing, own_folder: Path) -> None:
        write_song(own_folder / "long.wav", 40.0, 0)
        write_song(own_folder / "short.wav", 1.0, 1)

        whole: Any = quiet().predict(module, data(module.separator, input=own_folder, block=None))
        blocks: Any = quiet().predict(module, data(module.separator, input=own_folder, block=1.0))

        assert len(whole) == 2 < len(blocks)
        songs = module.join_songs(blocks)
        assert list(songs) == ["long", "short"]
        for name, expected in module.join_songs(whole).items():
            assert songs[name].shape == expected.shape == (2, 2, RATE * (40 if name == "long" else 1))
            assert (songs[name] - expected).abs().max() < 1e-3 * expected.abs().max()

    def test_what_can_not_be_joined_is_said(self, module: ProgressiveDemixing, own_folder: Path) -> None:
        write_song(own_folder / "long.wav", 40.0, 0)
        blocks: Any = quiet().predict(module, data(module.separator, input=own_folder, block=1.0))

        with pytest.raises(MdxError, match=r"long: 1 of its . blocks missing"):
            module.join_songs(blocks[1:])
        with pytest.raises(MdxError, match=r"long: .* twice"):
            module.join_songs([*blocks, blocks[0]])


class Loaders:
    mixture = torch.stack([noise(1.0, seed=seed) for seed in range(3)])

    @classmethod
    def all(cls) -> Iterator[DataLoader[Any]]:
        yield DataLoader(cls.mixture, batch_size=2)  # type: ignore[arg-type]
        yield DataLoader(TensorDataset(cls.mixture), batch_size=2)
        yield DataLoader([(item,) for item in cls.mixture], batch_size=2)  # type: ignore[arg-type]
        yield DataLoader([cls.mixture[:2], cls.mixture[2:]], batch_size=None)  # type: ignore[arg-type]


class TestPlainTensors:
    @pytest.mark.parametrize("number", range(4))
    def test_a_loader_of_waveforms_gives_what_the_method_gives(
        self, module: ProgressiveDemixing, own_folder: Path, number: int
    ) -> None:
        loader = list(Loaders.all())[number]

        predictions: Any = Trainer(logger=False).predict(module, loader)

        assert [len(each.estimates) for each in predictions] == [2, 1]
        expected = [of_method(module, Loaders.mixture[:2]), of_method(module, Loaders.mixture[2:])]
        for prediction, estimates in zip(predictions, expected, strict=True):
            torch.testing.assert_close(prediction.estimates, estimates, rtol=0, atol=0)
            assert prediction.targets == module.separator.sources
            assert [origin.length for origin in prediction.origins] == [SECOND] * len(estimates)

    def test_so_does_the_step_alone(self, module: ProgressiveDemixing) -> None:
        mixture = Loaders.mixture[:1]

        torch.testing.assert_close(module.predict_step(mixture, 0).estimates, of_method(module, mixture))
        torch.testing.assert_close(module.predict_step([mixture], 0).estimates, of_method(module, mixture))

    def test_mono_stays_mono(self, module: ProgressiveDemixing) -> None:
        assert module.predict_step(Loaders.mixture[:, :1], 0).estimates.shape == (3, 2, 1, SECOND)

    def test_a_data_module_of_anyones(self, module: ProgressiveDemixing) -> None:
        class Waveforms(LightningDataModule):
            def predict_dataloader(self) -> DataLoader[Any]:
                return next(Loaders.all())

        predictions: Any = quiet().predict(module, datamodule=Waveforms())

        assert [len(each.estimates) for each in predictions] == [2, 1]

    def test_the_callbacks_of_the_command_line_take_them(self, module: ProgressiveDemixing, own_folder: Path) -> None:
        callbacks = [
            StepProgressBar(), FailureCollector(), EventLog("events.jsonl"), EstimateWriter(own_folder / "stems")
        ]  # fmt: skip
        trainer = Trainer(logger=False, enable_checkpointing=False, callbacks=callbacks)

        predictions: Any = trainer.predict(module, next(Loaders.all()))

        assert len(predictions) == 2
        assert not (own_folder / "stems").exists()

    def test_so_they_do_after_songs(self, module: ProgressiveDemixing, own_folder: Path) -> None:
        """A Trainer keeps its data module when it is given a loader next."""
        write_song(own_folder / "a.wav", 0.5, 0)
        callbacks = [StepProgressBar(), FailureCollector(), EstimateWriter("stems")]
        trainer = Trainer(logger=False, enable_checkpointing=False, callbacks=callbacks)
        trainer.predict(module, data(module.separator, input="a.wav"))

        predictions: Any = trainer.predict(module, next(Loaders.all()))

        assert len(predictions) == 2
        assert [path.name for path in Path("stems").iterdir() if not path.name.startswith(".")] == ["a"]

    @pytest.mark.parametrize(
        ("batch", "message"),
        [
            (torch.zeros(2, 100), r"shape \(batch, channel, time\), not \(2, 100\)"),
            (torch.zeros(1, 1, 2, 100), r"shape \(batch, channel, time\), not \(1, 1, 2, 100\)"),
            (torch.zeros(1, 3, 100), "1 or 2 channels .* not 3 channels"),
            (torch.zeros(1, 2, 0), "not 2 channels and 0 samples"),
            (torch.zeros(1, 2, 100, dtype=torch.int16), "floating point.*int16"),
            ([torch.zeros(1, 2, 100), torch.zeros(1, 2, 100)], "one tensor.*list of 2: Tensor"),
            ({"mixture": torch.zeros(1, 2, 100)}, "one tensor.*dict"),
            (["a.wav"], "one tensor.*list of 1: str"),
        ],
    )
    def test_anything_else_is_refused(self, module: ProgressiveDemixing, batch: Any, message: str) -> None:
        with pytest.raises(MdxError, match=message):
            module.predict_step(batch, 0)
        with pytest.raises(MdxError, match=message):
            quiet().predict(module, DataLoader([batch], batch_size=None))  # type: ignore[arg-type]

    def test_test_needs_the_true_sources(self, module: ProgressiveDemixing) -> None:
        with pytest.raises(MdxError, match="true sources"):
            quiet().test(module, next(Loaders.all()))


def summary_means(folder: Path) -> dict[str, float]:
    """The means of summary.json at the last steps, under the names that Lightning gets."""
    summary = json.loads((folder / "summary.json").read_text())
    means: dict[str, float] = {}
    for metric in summary["metrics"]:
        for method, by_source in summary[metric].items():
            last = {source: curve["mean"][-1] for source, curve in by_source.items()}
            found = {source: mean for source, mean in last.items() if mean is not None}
            means |= {f"test/{metric}/{method}/{source}": mean for source, mean in found.items()}
            if found:
                means[f"test/{metric}/{method}/mean"] = math.fsum(found.values()) / len(found)
    return means


class TestMeans:
    def test_the_defaults_return_and_log_those_of_summary_json(
        self, module: ProgressiveDemixing, own_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = {"chunk": 1.9, "all_chunks": True}
        files = Trainer(callbacks=[ResultFiles()], logger=CSVLogger("logs"))
        (with_files,) = files.test(module, data(module.separator, **settings))
        trainer = Trainer()

        (plain,) = trainer.test(module, data(module.separator, **settings))

        expected = summary_means(own_folder / "logs" / "lightning_logs" / "version_0")
        assert plain.keys() == expected.keys()
        assert {"test/si_sdr/linear/vocals", "test/sdr/one-pass/accompaniment", "test/si_sdr/oracle/mean"} <= set(plain)
        assert plain == pytest.approx(expected, abs=2e-6)
        assert with_files == pytest.approx(plain, abs=2e-6)
        assert {name: value.item() for name, value in trainer.callback_metrics.items()} == plain
        assert module.comparison is not None
        assert module.comparison.songs["chunks"].unique().tolist() == [3]
        with (own_folder / "logs" / "lightning_logs" / "version_0" / "metrics.csv").open() as file:
            (logged,) = csv.DictReader(file)
        assert {name: float(logged[name]) for name in expected} == pytest.approx(with_files, abs=1e-6)
        events = EventAccumulator(str(own_folder / "lightning_logs" / "version_0")).Reload()
        assert set(events.Tags()["scalars"]) - {"epoch"} == set(expected)

    def test_values_that_are_missing_are_left_out(self, module: ProgressiveDemixing, own_folder: Path) -> None:
        for song, seed in (("one", 1), ("two", 2)):
            write_song(own_folder / "songs" / song / "vocals.wav", 1.0, seed)
            silence = np.zeros((RATE, 2))
            soundfile.write(own_folder / "songs" / song / "accompaniment.wav", silence, RATE)

        (found,) = quiet(callbacks=[ResultFiles()], default_root_dir=own_folder / "run").test(
            module, data(module.separator, root=own_folder / "songs")
        )

        assert found == pytest.approx(summary_means(own_folder / "run"), abs=2e-6)
        assert {name.rpartition("/")[2] for name in found} == {"vocals", "mean"}
        assert found["test/si_sdr/linear/mean"] == found["test/si_sdr/linear/vocals"]

    def test_a_run_that_is_resumed_means_all_of_its_chunks(
        self, separator: SpleeterSeparator, own_folder: Path
    ) -> None:
        module = ProgressiveDemixing(separator, Progressive(Linear(0.6), 1), metrics=[SiSdr()], oracle=False)
        songs = {"chunk": 1.9, "all_chunks": True}
        (expected,) = quiet().test(module, data(separator, **songs))

        class Stop(FailureCollector):
            def on_test_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *index: int) -> None:
                if index[0] == 2:
                    raise RuntimeError("stopped")

        with pytest.raises(RuntimeError, match="stopped"):
            quiet(callbacks=[ResultFiles(), Stop()]).test(module, data(separator, **songs))
        measured: list[str] = []
        module.pass_listeners.append(lambda method, _: measured.append(method))
        (resumed,) = quiet(callbacks=[ResultFiles()]).test(module, data(separator, **songs))

        assert measured.count("one-pass") == 1
        assert resumed == pytest.approx(expected, abs=2e-6)

    def test_all_processes_return_the_same(self, own_folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
        # As torchrun starts them.
        address |= {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        ranks = [
            Running(write_means, f"{rank}.json", 2, environment={**address, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(2)
        ]
        try:
            write_means("alone.json", 1)
            for rank in ranks:
                ended = rank.wait()
                assert ended.exit_code == 0, ended.err
        finally:
            for rank in ranks:
                rank.kill()

        alone, first, second = (json.loads(Path(name).read_text()) for name in ("alone.json", "0.json", "1.json"))
        assert alone.keys() == {f"test/si_sdr/one-pass/{name}" for name in ("vocals", "accompaniment", "mean")}
        assert first == second == pytest.approx(alone, abs=1e-5)


def write_means(file: str, processes: int) -> None:
    """Run `test` on three chunks, which two processes can't share equally."""
    separator = SpleeterSeparator(bins=64)
    module = ProgressiveDemixing(separator, OnePass(), metrics=[SiSdr()])
    strategy = "ddp" if processes > 1 else "auto"
    (means,) = quiet(accelerator="cpu", devices=processes, strategy=strategy).test(
        module, data(separator, chunk=1.9, all_chunks=True), verbose=False
    )
    Path(file).write_text(json.dumps(means))


@dataclass
class Somewhere(PathLike[str]):
    """A path that is neither a str nor a Path."""

    path: Path

    def __fspath__(self) -> str:
        return fspath(self.path)


class TestPaths:
    @pytest.mark.parametrize("kind", [str, Path, Somewhere], ids=["str", "Path", "PathLike"])
    def test_the_data_module_and_the_writer(
        self, module: ProgressiveDemixing, own_folder: Path, kind: Callable[[Path], Any]
    ) -> None:
        write_song(own_folder / "mixtures" / "a.wav", 0.5, 0)
        write_song(own_folder / "songs" / "b" / "vocals.wav", 0.5, 1)
        write_song(own_folder / "songs" / "b" / "accompaniment.wav", 0.5, 2)
        song, songs = kind(own_folder / "mixtures" / "a.wav"), kind(own_folder / "songs")

        for number, settings in enumerate([{"input": song}, {"input": [song]}, {"root": songs}]):
            out = own_folder / f"stems {number}"
            quiet(callbacks=[EstimateWriter(kind(out))]).predict(module, data(module.separator, **settings))
            name = "b" if "root" in settings else "a"
            assert sorted(path.name for path in (out / name).iterdir()) == ["accompaniment.wav", "vocals.wav"]
        (means,) = quiet().test(module, data(module.separator, root=songs))
        assert means

    @pytest.mark.parametrize("kind", [str, Path, Somewhere], ids=["str", "Path", "PathLike"])
    def test_data_sets(self, own_folder: Path, kind: Callable[[Path], Any]) -> None:
        write_song(own_folder / "songs" / "b" / "vocals.wav", 0.5, 1)
        (own_folder / "test").mkdir()

        assert [song.name for song in SongFolders(kind(own_folder / "songs")).songs()] == ["b"]
        for dataset in (SongFolders, PreparedSet, Musdb18):
            description = dataset(kind(own_folder / "test")).description()
            assert description["root"] == str(own_folder / "test")
            with pytest.raises(MdxError, match="test: "):
                dataset(kind(own_folder / "test")).songs()

    @pytest.mark.parametrize("kind", [str, Path, Somewhere], ids=["str", "Path", "PathLike"])
    @pytest.mark.parametrize(
        ("separator", "settings"),
        [
            (DemucsSeparator, ["weights"]),
            (SpleeterSeparator, ["weights"]),
            (OpenUnmixSeparator, ["weights"]),
            (TorchaudioSeparator, ["weights"]),
            (RoFormerSeparator, ["config", "weights"]),
        ],
    )
    def test_separators(
        self, tmp_path: Path, separator: type[Separator], settings: list[str], kind: Callable[[Path], Any]
    ) -> None:
        with pytest.raises(MdxError, match="missing"):
            separator(**{name: kind(tmp_path / "missing") for name in settings})

    @pytest.mark.parametrize("kind", [str, Path, Somewhere], ids=["str", "Path", "PathLike"])
    def test_programs(self, tmp_path: Path, kind: Callable[[Path], Any]) -> None:
        with pytest.raises(MdxError, match="missing"):
            ExportedSeparator(["vocals"], RATE, kind(tmp_path / "missing.pt"))

    def test_every_parameter_that_takes_a_path_takes_a_str(self) -> None:
        annotations = {
            f"{name}.{parameter.name}": str(parameter.annotation)
            for name in mdx_progressive.__all__
            for function in constructors_and_commands(getattr(mdx_progressive, name))
            for parameter in signature(function).parameters.values()
        }

        taking = {name for name, annotation in annotations.items() if "Path" in annotation}
        assert {"SongDataModule.root", "EstimateWriter.out", "ProgressiveTrainer.to"} <= taking
        assert [name for name in taking if "str" not in annotations[name]] == []


def constructors_and_commands(public: type) -> list[Callable[..., object]]:
    commands = [getattr(public, name) for name in ("benchmark", "tune") if hasattr(public, name)]
    return [public.__init__, *commands]  # type: ignore[misc]
