"""The real command line, on real files."""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mdx_progressive.cli.help_texts import SUMMARIES
from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.results import COLUMNS, read_rows
from mdx_progressive.evaluation.timings import read_timings
from mdx_progressive.progressive.schedules import formulas
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.command import NARROW, run
from tests.support.exported_programs import Waves, program_options, scripted
from tests.support.paths import CONFIGS, STUDY, STUDY_HTDEMUCS
from tests.support.processes import TWO_DEVICES, Ended, run_command, run_interpreter
from tests.support.roformer_weights import description as roformer_description
from tests.support.roformer_weights import write as write_roformer
from tests.support.signals import RATE, SOURCES, noise

DEMO = str(STUDY)
HTDEMUCS = str(STUDY_HTDEMUCS)
METHODS = CONFIGS / "method"
QUICK = [*NARROW, "--data.chunk", "1.5", "--model.compare", "null", "--model.method.steps", "2"]


pytestmark = pytest.mark.usefixtures("own_folder")


def song_file(path: Path, seconds: float = 1.5, channels: int = 2, rate: int = RATE, **settings: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(seconds, channels, rate=rate).T.numpy(), rate, **settings)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a demo run on a short chunk."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run("test", "-c", DEMO, *NARROW, "--data.chunk", "1.5", "--model.method.steps", "3") == 0
    return folder / "logs" / "demo" / "version_0"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of two convolutions, for methods that run many passes."""
    return scripted(tmp_path_factory.mktemp("program") / "waves.pt", Waves())


class TestTest:
    def test_the_table_has_a_row_for_each_song_chunk_method_step_source_and_metric(self, folder: Path) -> None:
        results = read_rows(folder / "results.csv")

        assert list(results.columns) == list(COLUMNS)
        methods = ["one-pass", "oracle", "linear", "cosine", "exponential", "karras", "recommended"]
        assert list(results["method"].unique()) == methods
        assert len(results) == (1 + 4 + 4 + 3 * 10 + 6) * 2 * 3
        assert results["value"].notna().all()

    def test_each_method_has_its_time_and_all_together_no_more_than_the_run(self, folder: Path) -> None:
        timings = read_timings(folder / "timings.csv")

        methods = ["one-pass", "oracle", "linear", "cosine", "exponential", "karras", "recommended"]
        assert timings["method"].tolist() == methods
        assert set(timings["audio_seconds"]) == {1.5}
        assert (timings["seconds"] > 0).all()
        wall = (folder / "summary.json").stat().st_mtime - (folder / "config.yaml").stat().st_mtime
        assert timings["seconds"].sum() < wall

    def test_the_config_of_the_run_can_be_run_again(self, folder: Path) -> None:
        assert run("test", "-c", str(folder / "config.yaml"), "--print_config") == 0

    def test_the_summary_names_metric_and_aggregation(self, folder: Path) -> None:
        summary = json.loads((folder / "summary.json").read_text())

        assert "mean over songs" in summary["aggregation"]
        assert summary["separator"] == "SpleeterSeparator"
        assert (summary["licence_of_weights"], summary["trained_on_musdb18_test"]) == ("MIT", False)
        assert summary["passes_per_chunk"] == 1 + 2 * (3 + 3 + 3 * 9) + 14
        assert len(summary["si_sdr"]["linear"]["vocals"]["mean"]) == 4

    def test_the_chart_is_a_picture(self, folder: Path) -> None:
        content = (folder / "curves.png").read_bytes()

        assert content.startswith(b"\x89PNG")
        assert len(content) > 20_000

    def test_tensorboard_has_a_run_for_each_method_with_the_step_on_its_axis(self, folder: Path) -> None:
        results = read_rows(folder / "results.csv")

        for method, last in (("one-pass", 9), ("oracle", 9), ("linear", 3), ("cosine", 9)):
            run_of_bound = {"one-pass": "0-one-pass", "oracle": "1-oracle"}.get(method, method)
            events = EventAccumulator(str(folder / run_of_bound)).Reload()
            scalars = events.Scalars("si_sdr/vocals")
            assert [scalar.step for scalar in scalars] == list(range(last + 1))
            rows = results[(results["method"] == method) & (results["source"] == "vocals")]
            values = rows[rows["metric"] == "si_sdr"].sort_values("step")["value"].tolist()
            if method in ("one-pass", "oracle"):  # Level lines.
                values = values[-1:] * 10
            assert [scalar.value for scalar in scalars] == pytest.approx(values, abs=1e-4)

    def test_tensorboard_has_the_chart_its_layout_and_the_sound(self, folder: Path) -> None:
        events = EventAccumulator(str(folder)).Reload()
        song = "The Easton Ellises - Falcon 69"

        tags = events.Tags()
        assert {"curves/si_sdr", "curves/sdr"} <= set(tags["images"])
        assert "custom_scalars__config__" in tags["tensors"]
        said = {re.sub(r" \(\d\)$", "", tag) for tag in tags["audio"]}
        kinds = ("one-pass", "best step", "last step", "reference")
        assert said == {f"{song}/mixture"} | {
            f"{song}/{source}/{kind}" for source in ("vocals", "accompaniment") for kind in kinds
        }
        (audio,) = events.Audio(f"{song}/mixture")
        assert audio.sample_rate == RATE
        assert audio.length_frames == int(1.5 * RATE)

    def test_a_run_that_differs_from_it_is_not_compared_in_silence(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(folder, "other")
        summary = json.loads((folder / "summary.json").read_text())

        assert run("compare", folder, "other") == 0
        assert "Careful" not in capsys.readouterr().out

        weights = next(iter(summary["weights"]))
        summary["weights"][weights] = "0" * 64
        Path("other/summary.json").write_text(json.dumps(summary))
        assert run("compare", folder, "other") == 0
        assert f"Careful: other is not like {folder}: SHA-256 of the weights.{weights} 0000" in capsys.readouterr().out

    def test_weights_that_are_kept_in_another_place_are_the_same_by_their_hash(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(folder, "other")
        known = yaml.safe_load((folder / "config.yaml").read_text())
        known["model"]["separator"]["init_args"]["weights"] = "elsewhere.safetensors"
        Path("other/config.yaml").write_text(yaml.safe_dump(known))
        assert run("compare", folder, "other") == 0
        assert "Careful" not in capsys.readouterr().out

        summary = json.loads((folder / "summary.json").read_text())
        del summary["weights"]  # as in runs of before there were hashes
        Path("other/summary.json").write_text(json.dumps(summary))
        assert run("compare", folder, "other") == 0
        said = f"Careful: other is not like {folder}: model.separator.weights elsewhere.safetensors, not null\n"
        assert said in capsys.readouterr().out

    def test_settings_that_differ_are_named_and_methods_may(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(folder, "other")
        known = yaml.safe_load((folder / "config.yaml").read_text())
        assert (known["data"]["chunk"], known["trainer"]["precision"]) == (1.5, None)
        known["data"]["chunk"], known["trainer"]["precision"] = 2.5, "bf16-mixed"
        known["model"]["separator"]["init_args"]["bins"] = 1024
        known["model"]["method"]["init_args"]["steps"] = 4  # What is compared may differ.
        Path("other/config.yaml").write_text(yaml.safe_dump(known))
        assert run("compare", folder, "other") == 0
        assert (
            f"Careful: other is not like {folder}: model.separator.bins 1024, not 64; data.chunk 2.5, not 1.5;"
            " trainer.precision bf16-mixed, not 32-true\n"
        ) in capsys.readouterr().out


class TestTestOnSongs:
    def test_a_folder_of_songs_and_a_local_network(
        self, write_song: Callable[..., Path], small_htdemucs_file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stems = {name: noise(1, seed=seed) for seed, name in enumerate(SOURCES)}
        write_song("one", stems, ".flac")
        root = write_song("two", {**stems, "bass": torch.zeros(2, RATE)}).parent

        code = run(
            "test", "-c", HTDEMUCS, "--model.separator.weights", str(small_htdemucs_file), "--data.root", str(root),
            "--model.method.steps", "1", "--data.batch_size", "2",
        )  # fmt: skip

        assert code == 0
        results = read_rows(Path("logs/htdemucs/version_0/results.csv"))
        assert set(results["song"]) == {"one", "two"}
        timings = read_timings(Path("logs/htdemucs/version_0/timings.csv"))
        one, two = (timings[timings["song"] == song]["seconds"].tolist() for song in ("one", "two"))
        assert one == two  # They were one batch.
        assert len(one) == 3
        silent = results[results["value"].isna()]
        assert set(zip(silent["song"], silent["source"], strict=True)) == {("two", "bass")}
        printed = capsys.readouterr()
        assert "mean over 2 songs" in printed.out
        assert "silent sources of chunks: 1, left out" in printed.err

    def test_the_presets_of_schedules_take_their_place(self) -> None:
        schedule = str(CONFIGS / "schedule" / "karras-flow.yaml")

        assert run("test", "-c", DEMO, *QUICK, "--model.method.schedule", schedule, "--model.targets", "[vocals]") == 0

        results = read_rows(Path("logs/demo/version_0/results.csv"))
        assert set(results["method"]) == {"one-pass", "oracle", "karrasflow"}
        assert set(results["source"]) == {"vocals"}

    def test_a_roformer_with_capitals_on_a_song_of_vocals_and_mixture(self, write_song: Callable[..., Path]) -> None:
        vocals, rest = noise(0.6, level=0.05), noise(0.6, seed=1, level=0.05)
        root = write_song("one", {"vocals": vocals, "mixture": vocals + rest}).parent
        files = write_roformer(Path("network").absolute(), roformer_description("bs", ["Vocals", "Instrumental"]))
        options = [f"--model.separator.{key}={path}" for key, path in files.items()]
        begin = ["test", "-s", "roformer", *options, "--data.root", root, "--data.trim", "null"]

        assert run(*begin, "--model.method", "linear", "--targets", "vocals") == 0
        assert run(*begin, "--model.method", "OnePass", "--targets", "INSTRUMENTAL") == 0

        one, other = (read_rows(path) for path in sorted(Path("logs").rglob("results.csv")))
        assert set(one["source"]) == {"Vocals"}
        assert {"one-pass", "oracle", "linear"} <= set(one["method"])
        assert set(other["source"]) == {"Instrumental"}
        assert one["value"].notna().all()
        assert other["value"].notna().all()

    def test_the_plain_separator_by_itself(
        self, write_song: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = write_song("one", {name: noise(0.5, seed=seed) for seed, name in enumerate(SOURCES)}).parent

        alone = ["--model.method", "OnePass", "--model.compare", "null"]
        code = run("test", "-c", DEMO, *NARROW, "--data.root", root, *alone)

        assert code == 0
        folder = Path("logs/demo/version_0")
        assert read_rows(folder / "results.csv")["method"].unique().tolist() == ["one-pass"]
        assert "accompaniment" in capsys.readouterr().out
        assert run("report", folder) == 0
        assert "no method was run besides one pass" in (folder / "report.html").read_text()

    def test_methods_are_compared_with_the_passes_that_they_cost(
        self, write_song: Callable[..., Path], program: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = write_song("one", {name: noise(0.5, seed=seed) for seed, name in enumerate(SOURCES)}).parent
        others = [str(METHODS / f"{name}.yaml") for name in ("ensemble", "heun", "search", "search-oracle")]

        code = run(
            "test", *program_options(program), "--data.root", str(root),
            "--model.method", str(METHODS / "recommended-htdemucs.yaml"), "--model.compare", f"[{', '.join(others)}]",
            "--model.targets", "[vocals]", "--model.oracle", "false",
        )  # fmt: skip

        assert code == 0
        results = read_rows(Path("logs/htdemucs/version_0/results.csv"))
        last = results.groupby("method", sort=False)["passes"].last().to_dict()
        assert set(results["source"]) == {"vocals"}
        # A search stops as soon as nothing gets better.
        # The last pass of the recommended method leaves out the half without the vocals.
        assert {name: last[name] for name in ("one-pass", "recommended", "ensemble", "heun")} == {
            "one-pass": 1, "recommended": 18, "ensemble": 9, "heun": 7,
        }  # fmt: skip
        assert last["search"] in (1 + 3 + 4 * 2, 1 + 2 * (3 + 4 * 2))
        assert last["search-oracle"] in (1 + 3, 1 + 2 * 3)
        of_search = results[(results["method"] == "search-oracle") & (results["metric"] == "si_sdr")]
        assert of_search["value"].iloc[-1] >= of_search["value"].iloc[0] - 1e-6
        assert "search-oracle" not in capsys.readouterr().out  # a bound is no method to choose

    @pytest.mark.parametrize(
        ("chunk", "start"),
        [
            # Three chunks, which can't be dealt out evenly; two interpreters, as a user has them.
            ("1.9", lambda command: run_interpreter("-m", "mdx_progressive", *command, *TWO_DEVICES)),
            # A single one, so that one process has nothing to do.
            ("6.1", lambda command: run_command(command, processes=2)),
        ],
        ids=["1.9", "6.1"],
    )
    def test_two_processes_give_the_table_of_one(self, chunk: str, start: Callable[[list[str]], Ended]) -> None:
        cut = ("--model.method.steps", "1", "--data.all_chunks", "true", "--data.chunk", chunk)
        command = ["test", "-c", DEMO, *QUICK, *cut, "--trainer.logger.init_args.name"]

        assert run_command([*command, "one"]).exit_code == 0
        assert start([*command, "two"]).exit_code == 0

        alone, spread = (Path(f"logs/{name}/version_0/results.csv") for name in ("one", "two"))
        assert spread.read_text() == alone.read_text()
        assert not list(spread.parent.glob("results.*.csv"))


class TestPredict:
    @pytest.mark.parametrize("method", [["--model.method.steps", "0"], ["--model.method", "OnePass"]])
    def test_it_writes_the_estimates_of_the_last_step(self, method: list[str], tmp_path: Path) -> None:
        song = song_file(tmp_path / "my song.wav", subtype="FLOAT")

        assert run("predict", "-c", DEMO, *method, "--data.input", str(song), "--out", "separated/") == 0

        mixture = torch.from_numpy(soundfile.read(song, dtype="float32")[0].T.copy())
        expected = SpleeterSeparator()(mixture[None])[0]
        for number, source in enumerate(("vocals", "accompaniment")):
            path = tmp_path / "separated" / "my song" / f"{source}.wav"
            samples, rate = soundfile.read(path, dtype="float32")
            assert (rate, soundfile.info(path).subtype) == (RATE, "FLOAT")
            torch.testing.assert_close(torch.from_numpy(samples.T.copy()), expected[number], rtol=0, atol=1e-5)
        assert not Path("logs").exists()  # An empty run to TensorBoard.

    @pytest.mark.parametrize(("channels", "rate", "seconds"), [(1, 22050, 1.0001), (2, 48000, 0.77), (1, 44100, 0.1)])
    def test_rate_length_and_channels_are_the_inputs(
        self, tmp_path: Path, channels: int, rate: int, seconds: float
    ) -> None:
        song = song_file(tmp_path / "a.wav", seconds, channels, rate)

        assert run("predict", "-c", DEMO, "--model.method.steps", "1", "--data.input", str(song)) == 0

        for source in ("vocals", "accompaniment"):
            found, expected = soundfile.info(tmp_path / "separated" / "a" / f"{source}.wav"), soundfile.info(song)
            assert (found.samplerate, found.frames, found.channels) == (rate, expected.frames, channels)

    @pytest.mark.parametrize("path", sorted(METHODS.glob("*.yaml")), ids=lambda path: path.stem)
    def test_every_method_separates_unless_it_needs_the_truth(
        self, path: Path, tmp_path: Path, program: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        song = song_file(tmp_path / "a.wav", 0.5, subtype="FLOAT")
        spleeter = ["-c", DEMO, *NARROW, "--model.compare", "null"]
        separator = spleeter if "spleeter" in path.stem else program_options(program)

        code = run("predict", *separator, "--model.method", str(path), "--data.input", str(song))

        if "oracle" in path.stem:
            assert code == 1
            assert "needs the references; `test` runs it" in capsys.readouterr().err
            return
        assert code == 0
        estimates = [soundfile.read(found)[0] for found in sorted((tmp_path / "separated" / "a").iterdir())]
        assert len(estimates) == (2 if "spleeter" in path.stem else 4)
        assert all(abs(estimate).max() > 0 for estimate in estimates)
        if "spleeter" in path.stem:  # the accompaniment is what the vocals leave
            assert abs(sum(estimates) - soundfile.read(song)[0]).max() < 1e-5

    def test_folders_keep_their_shape_and_targets_choose(self, tmp_path: Path) -> None:
        song_file(tmp_path / "in" / "a.flac", 0.3)
        song_file(tmp_path / "in" / "disc" / "b.mp3", 0.3)

        assert (
            run("predict", "-c", DEMO, *QUICK, "--data.input", str(tmp_path / "in"), "--model.targets", "[vocals]") == 0
        )

        written = sorted(
            path.relative_to("separated").as_posix() for path in Path("separated").rglob("*") if path.is_file()
        )
        assert written == ["a/vocals.wav", "disc/b/vocals.wav"]

    def test_several_inputs(self, tmp_path: Path) -> None:
        files = [song_file(tmp_path / f"{name}.wav", 0.2) for name in "ab"]

        assert run("predict", "-c", DEMO, *QUICK, *files) == 0

        assert sorted(path.name for path in Path("separated").iterdir()) == ["a", "b"]

    @pytest.mark.parametrize(
        ("settings", "suffix", "subtype"),
        [
            (["--writer.encoding", "int16"], "wav", "PCM_16"),
            (["--writer.encoding", "int24"], "wav", "PCM_24"),
            (["--writer.format", "flac"], "flac", "PCM_24"),
            (["--writer.format", "flac", "--writer.encoding", "int16"], "flac", "PCM_16"),
        ],
    )
    def test_formats(self, tmp_path: Path, settings: list[str], suffix: str, subtype: str) -> None:
        song = song_file(tmp_path / "a.wav", 0.2)

        assert run("predict", "-c", DEMO, *QUICK, "--data.input", str(song), *settings) == 0

        assert soundfile.info(tmp_path / "separated" / "a" / f"vocals.{suffix}").subtype == subtype

    @pytest.mark.parametrize("clip", ["keep", "rescale", "clamp"])
    def test_clipping_is_never_silent(self, tmp_path: Path, clip: str, capsys: pytest.CaptureFixture[str]) -> None:
        loud = 3 * torch.sin(torch.arange(RATE) * 0.05).expand(2, -1)
        soundfile.write(tmp_path / "a.wav", loud.T.numpy(), RATE, subtype="FLOAT")
        separate = ["predict", "-c", DEMO, "--model.method.steps", "0", "--data.input", str(tmp_path / "a.wav")]

        assert run(*separate, "--writer.clip", clip, "--out", clip) == 0
        assert run(*separate, "--writer.clip", "keep", "--out", "as is") == 0

        said = capsys.readouterr().err.splitlines()[1]  # Below the line that says what runs.
        paths = {source: Path(clip, "a", f"{source}.wav") for source in ("vocals", "accompaniment")}
        written = {source: soundfile.read(path)[0] for source, path in paths.items()}
        as_is = {source: soundfile.read(Path("as is", "a", f"{source}.wav"))[0] for source in written}
        peak = max(np.abs(samples).max() for samples in as_is.values())
        assert peak > 1
        expected = {"keep": lambda x: x, "rescale": lambda x: x / peak, "clamp": lambda x: np.clip(x, -1, 1)}[clip]
        for source, samples in written.items():
            np.testing.assert_allclose(samples, expected(as_is[source]), atol=1e-6)
        assert re.search({"keep": "kept", "rescale": "divided", "clamp": "cut off"}[clip], said)

    def test_what_exists_is_kept_and_not_separated_again(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        song = song_file(tmp_path / "a.wav", 0.2)
        separate = ["predict", "-c", DEMO, *QUICK, "--data.input", str(song)]
        vocals, accompaniment = (Path("separated", "a", f"{source}.wav") for source in ("vocals", "accompaniment"))
        assert run(*separate) == 0
        original = soundfile.read(accompaniment)[0]

        vocals.write_text("finished by somebody else")
        assert run(*separate) == 0
        assert "stems in separated don't tell what made them: 1 of 1 song" in capsys.readouterr().err
        assert vocals.read_text() == "finished by somebody else"

        accompaniment.unlink()
        assert run(*separate) == 0
        assert vocals.read_text() == "finished by somebody else"
        assert np.array_equal(soundfile.read(accompaniment)[0], original)

        assert run(*separate, "--writer.overwrite", "true") == 0
        assert soundfile.info(vocals).frames == int(0.2 * RATE)

    def test_a_bad_file_among_good_ones_is_named_and_the_finished_stay(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        song_file(tmp_path / "in" / "a.wav", 0.2)
        (tmp_path / "in" / "b.wav").write_text("no audio")

        assert run("predict", "-c", DEMO, *QUICK, "--data.input", str(tmp_path / "in")) == 1

        assert "b.wav: no audio could be read" in capsys.readouterr().err
        written = sorted(path.name for path in Path("separated").rglob("*") if path.is_file())
        assert written == ["accompaniment.wav", "vocals.wav"]

    def test_a_file_that_can_not_be_written_is_named_and_leaves_nothing_half(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        song = song_file(tmp_path / "a.wav", 0.2)
        Path("separated").write_text("a file where the folder should be")

        assert run("predict", "-c", DEMO, *QUICK, "--data.input", str(song)) == 1
        assert "separated" in capsys.readouterr().err

    def test_without_input_the_songs_of_root_are_separated(self, write_song: Callable[..., Path]) -> None:
        root = write_song("one", {name: noise(0.3, seed=seed) for seed, name in enumerate(SOURCES)}).parent

        assert run("predict", "-c", DEMO, *QUICK, "--data.root", str(root)) == 0

        assert soundfile.info("separated/one/vocals.wav").frames == int(0.3 * RATE)


class TestErrors:
    @pytest.mark.parametrize(
        ("args", "named"),
        [
            (["test", "-c", DEMO, "--model.methd", "x"], "model.methd"),
            (["test", "-c", DEMO, "--data.chonk", "3"], "data.chonk"),
            (["test", "-c", "gone.yaml"], "gone.yaml"),
            (["test", "-c", DEMO, "--data.root", "gone"], "gone: no such folder"),
            (["test", "-c", DEMO, "--model.targets", "[vokals]"], "vokals"),
            (["test", "-c", DEMO, "--model.method.schedule.maximum", "1.5"], "maximum must lie within"),
            (["test", "-c", DEMO, "--data.batch_size", "many"], "data.batch_size"),
            (
                ["test", "-c", HTDEMUCS, "--model.separator.weights", "gone.safetensors"],
                "gone.safetensors: no such file",
            ),
            (["predict", "-c", DEMO, "--data.input", "gone.mp3"], "gone.mp3: no such file"),
            (["predict", "-c", DEMO, "--writer.format", "flac", "--writer.encoding", "float32"], "flac can't hold"),
            (["predict", "-c", DEMO, "--writer.encoding", "int16", "--writer.clip", "keep"], "int16 can't hold"),
            (
                ["predict", "-c", DEMO, "--model.method.class_path", "mdx_progressive.progressive.methods.Oracle"],
                "needs the references",
            ),
            (["predict", "--frobnicate"], "there is no option --frobnicate"),
            (["test", "a", "b"], "takes one folder of songs with stems, not 2: a, b"),
        ],
    )
    def test_a_fault_of_the_user_is_one_line_that_names_it(
        self, args: list[str], named: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(*args) in (1, 2)

        lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        assert named in lines[-1]
        assert lines[-1].startswith("mdx-progressive: error: ")
        assert not any("Traceback" in line for line in lines)

    def test_a_misspelt_key_in_a_file_is_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = Path(DEMO).read_text()
        (tmp_path / "mine.yaml").write_text(text.replace("trim:", "trimm:"))

        assert run("test", "-c", "mine.yaml") == 2
        number = text.splitlines().index("  trim: null") + 1
        assert f"mine.yaml:{number}: there is no key data.trimm: did you mean data.trim?" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda folder: (folder / "vocals.wav").rename(folder / "Lead Vox.wav"),
             r"bad: no stem .* 'vocals'.*Lead Vox\.wav, bass\.wav.*: name the file.*--data\.dataset songs\.yaml"),
            (lambda folder: (folder / "vocals.wav").write_text("no audio"), r"vocals\.wav: no audio"),
            (lambda folder: (folder / "vocals.wav").write_bytes(b""), r"vocals\.wav: is empty"),
            (lambda folder: soundfile.write(folder / "vocals.wav", np.full((99, 2), np.nan), RATE, subtype="FLOAT"),
             r"vocals\.wav: a sample is not a number"),
        ],
    )  # fmt: skip
    def test_a_song_that_can_not_be_used_is_named(
        self,
        write_song: Callable[..., Path],
        change: Callable[[Path], object],
        named: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        stems = {name: noise(0.3, seed=seed) for seed, name in enumerate(SOURCES)}
        write_song("good", stems)
        bad = write_song("bad", stems)
        change(bad)

        assert run("test", "-c", DEMO, *QUICK, "--data.root", str(bad.parent)) == 1
        assert re.search(named, capsys.readouterr().err)

    def test_a_traceback_can_be_asked_for(self) -> None:
        with pytest.raises(ValueError, match=r"gone\.mp3"):
            main(["predict", "-c", DEMO, "--data.input", "gone.mp3", "--traceback"])

    def test_the_process_exits_with_the_code(self) -> None:
        ended = run_interpreter("-m", "mdx_progressive", "predict", "-c", DEMO, "--data.input", "gone.mp3")

        assert ended.exit_code == 1
        assert ended.err.strip().splitlines()[-1].endswith("gone.mp3: no such file or folder")


class TestConfigs:
    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
    @pytest.mark.parametrize("command", ["test", "predict"])
    def test_every_config_is_valid(self, path: Path, command: str) -> None:
        assert run(command, "-c", str(path), "--print_config") == 0

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("separator/*.yaml")), ids=lambda path: path.name)
    def test_every_separator_preset_is_valid_and_complete(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("test", "-c", DEMO, "--model.separator", str(path), "--print_config") == 0

        shown = yaml.safe_load(capsys.readouterr().out)["model"]["separator"]
        chosen = yaml.safe_load(path.read_text())
        assert shown["class_path"] == chosen["class_path"]
        assert chosen.get("init_args", {}).items() <= shown["init_args"].items()

    @pytest.mark.parametrize("path", sorted(CONFIGS.glob("schedule/*.yaml")), ids=lambda path: path.name)
    def test_every_schedule_preset_is_valid_and_complete(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("test", "-c", DEMO, "--model.method.schedule", str(path), "--print_config") == 0

        printed = yaml.safe_load(capsys.readouterr().out)
        assert printed["model"]["method"]["init_args"]["schedule"] == {**yaml.safe_load(path.read_text())}

    @pytest.mark.parametrize("path", sorted(METHODS.glob("*.yaml")), ids=lambda path: path.name)
    def test_every_method_preset_is_valid_and_complete(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Complete: nothing is left of the demo's method, and each can be measured beside it."""
        assert (
            run("test", "-c", DEMO, "--model.method", str(path), "--model.compare", f"[{path}]", "--print_config") == 0
        )

        shown = yaml.safe_load(capsys.readouterr().out)["model"]
        assert shown["method"] == shown["compare"][0]
        if path.stem != "one-pass":  # It has no settings.
            assert shown["method"]["init_args"]["name"] in (path.stem, path.stem.partition("-")[0])

    def test_schedules_are_listed_and_drawn(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("schedules", "--picture", str(tmp_path / "gallery.png")) == 0

        shown = set(capsys.readouterr().out.split())
        assert {path.stem for path in CONFIGS.glob("schedule/*.yaml")} - shown <= {"explicit", "per-source"}
        presets = {yaml.safe_load(path.read_text())["class_path"] for path in CONFIGS.glob("schedule/*.yaml")}
        assert {
            f"mdx_progressive.{name}"
            for name in [*(type(each).__name__ for each in formulas(0.9)), "Explicit", "PerSource"]
        } == presets
        assert (tmp_path / "gallery.png").read_bytes().startswith(b"\x89PNG")
        assert run("schedules", "--picture", str(tmp_path / "no folder" / "gallery.png")) == 1

    def test_help_fits_a_screen_and_every_key_is_a_word_away(self, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in (["--help"], *([command, "--help"] for command in SUMMARIES)):
            assert run(*arguments) == 0
            lines = capsys.readouterr().out.splitlines()
            assert len(lines) <= (40 if arguments[0] in ("--help", "predict", "test") else 45)
            assert max(map(len, lines)) <= 80, arguments
            assert any("  " in line[:2] and "mdx-progressive " in line for line in lines), arguments
        assert run("prepare", "--help-all") == 0
        assert "mdx_progressive.Musdb18" in capsys.readouterr().out
        assert run("predict", "--help-all") == 0
        text = " ".join(capsys.readouterr().out.split())
        for words in (
            "mdx_progressive.SpleeterSeparator",
            "Folder that `predict` writes to",
            "The method that `predict` runs",
        ):
            assert words in text

    @pytest.mark.parametrize("command", ["test", "predict", "benchmark", "tune", "prepare", "init", "separators"])
    def test_the_examples_of_a_commands_help_are_valid(
        self, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        os.symlink(CONFIGS, tmp_path / "configs")
        shutil.copy(CONFIGS / "schedule" / "cosine.yaml", "schedule.yaml")  # As `tune` writes it.
        assert run(command, "--help") == 0
        text = capsys.readouterr().out.replace("\\\n", "")
        examples = re.findall("^  mdx-progressive (.*)$", text, re.MULTILINE)

        assert examples
        for example in examples:
            words = shlex.split(example)
            more = {"init": ["--overwrite"], "separators": []}.get(words[0], ["--print_config"])
            assert run(*words, *more) == 0, example
