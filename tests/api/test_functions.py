"""The functions of Python users give what the command line gives, and import no more than they need."""

import doctest
import inspect
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch

import mdx_progressive as mdx
from tests.support.command import run
from tests.support.processes import run_interpreter
from tests.support.signals import RATE, noise


@pytest.fixture(scope="module")
def spleeter() -> mdx.Separator:
    return mdx.load_separator("spleeter", bins=64)


def method() -> mdx.Method:
    return mdx.Progressive(mdx.Linear(0.5), steps=2, name="half")


class TestLoading:
    @pytest.mark.parametrize(
        ("name", "of_separator"),
        [("fast", "one-pass"), ("balanced", "balanced"), ("best", "recommended"), ("recommended", "recommended"),
         ("ensemble", "ensemble"), ("heun", "heun"), ("search", "search")],
    )  # fmt: skip
    def test_a_method_by_name_is_that_of_the_separator(
        self, name: str, of_separator: str, spleeter: mdx.Separator
    ) -> None:
        assert mdx.load_method(name, spleeter).name == of_separator

    def test_settings_replace_those_of_the_preset_and_files_are_taken(self, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("class_path: Progressive\ninit_args: {schedule: s.yaml, steps: 4}\n")
        (tmp_path / "s.yaml").write_text("class_path: mdx_progressive.Constant\ninit_args: {maximum: 0.3}\n")

        mine = mdx.load_method(tmp_path / "mine.yaml", steps=2, name="mine")

        assert (mine.name, mine.steps) == ("mine", 2)
        assert isinstance(mine, mdx.Progressive)
        assert mine.schedule.weights(1).tolist() == pytest.approx([0.0, 0.3])

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: mdx.load_separator("htdemus"), "did you mean htdemucs"),
            (lambda: mdx.load_method("hein"), "did you mean heun"),
            (
                lambda: mdx.load_separator("spleeter", bin=64),
                "^spleeter: there is no argument bin of SpleeterSeparator",
            ),
            (lambda: mdx.load_separator("htdemucs", weights="gone.th"), r"^gone\.th: no such file"),
            (lambda: mdx.load_method("heun", steps="no"), "^heun: steps must be int or None, not 'no'$"),
            (lambda: mdx.load_method("heun", steps=-1), "^the number of steps must be 0 or more, not -1$"),
            (lambda: mdx.load_separator("nowhere.yaml"), "nowhere.yaml: no such file"),
            (lambda: mdx.load_separator("roformer"), "YAML and its checkpoint"),
        ],
    )
    def test_what_is_not_there_is_named(self, call: object, message: str) -> None:
        assert callable(call)
        with pytest.raises(mdx_error(), match=message) as raised:
            call()
        assert type(raised.value).__name__ == "MdxError"


def mdx_error() -> type[Exception]:
    return ValueError  # MdxError is one, which is what users catch.


class TestIterate:
    def test_the_steps_are_those_of_the_module(self, spleeter: mdx.Separator) -> None:
        mixture = noise(1.5)
        steps = list(mdx.iterate(spleeter, method(), mixture))
        predicted = mdx.ProgressiveDemixing(spleeter, method()).predict_step(mixture[None], 0)

        assert [step.number for step in steps] == [0, 1, 2]
        assert torch.equal(steps[-1].estimates, predicted.estimates[0])
        assert steps[1].weights.tolist() == [0.25, 0.25]

    def test_batches_targets_and_references(self, spleeter: mdx.Separator) -> None:
        mixture = noise(1.0)
        batch = torch.stack([mixture, 0.5 * mixture])
        before = batch.clone()
        last = list(mdx.iterate(spleeter, method(), batch, targets=["accompaniment"]))[-1]
        references = torch.stack([0.3 * mixture, 0.7 * mixture])
        oracle = list(mdx.iterate(spleeter, mdx.Oracle(mdx.Linear(0.5), 1), mixture, references))[-1]

        assert last.estimates.shape == (2, 1, *mixture.shape)
        assert torch.equal(batch, before)
        assert oracle.estimates.shape == (2, *mixture.shape)
        assert mdx.si_sdr(oracle.estimates, references).shape == (2,)

    @pytest.mark.parametrize("mixture", [torch.zeros(8), torch.zeros(1, 1, 1, 8), torch.zeros(2, 8, dtype=torch.int16)])
    def test_a_tensor_of_another_kind_is_refused(self, mixture: torch.Tensor, spleeter: mdx.Separator) -> None:
        with pytest.raises(mdx_error(), match="mixture must be"):
            mdx.iterate(spleeter, method(), mixture)


class TestSeparate:
    @pytest.mark.parametrize(
        ("rate", "channels", "block"), [(RATE, 2, 3.0), (48000, 2, 3.0), (48000, 1, 60.0), (22050, 3, None)]
    )
    def test_the_stems_are_those_that_predict_writes(
        self, rate: int, channels: int, block: float | None, spleeter: mdx.Separator, own_folder: Path
    ) -> None:
        soundfile.write("song.wav", noise(7.1, channels, rate=rate).T.numpy(), rate)
        cut = ("--data.block", "null" if block is None else block)
        assert run("predict", "song.wav", "-s", "spleeter", "-q", "fast", "--model.separator.bins", "64", *cut) == 0
        done: list[mdx.Progress] = []

        stems = mdx.separate("song.wav", spleeter, mdx.OnePass(), block=block, progress=done.append)

        assert [*stems] == ["vocals", "accompaniment"]
        for source, stem in stems.items():
            written, at = soundfile.read(Path("separated", "song", f"{source}.wav"), dtype="float32", always_2d=True)
            assert (stem.rate, stem.source) == (at, source)
            assert torch.equal(stem.samples, torch.from_numpy(written.T))
            saved = soundfile.read(stem.save(f"{source}.wav"), dtype="float32", always_2d=True)[0]
            assert (saved == written).all()

    def test_progress_rises_to_one_and_prints(
        self, spleeter: mdx.Separator, own_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        soundfile.write("song.wav", noise(13).T.numpy(), RATE)
        done: list[mdx.Progress] = []
        mdx.separate("song.wav", spleeter, method(), targets=["vocals"], block=6, progress=done.append)

        assert {each.method for each in done} == {method().name}  # Also of the plain pass, which all methods share.

        parts = [each.done for each in done]
        assert parts == sorted(parts)
        assert parts[-1] == 1
        print(done[-1])
        assert capsys.readouterr().out == f"half: 100% (block {done[-1].blocks} of {done[-1].blocks})\n"

    @pytest.mark.parametrize("kind", ["flac", "mp3", "ogg"])
    def test_a_stem_is_saved_as_its_suffix_says(self, kind: str, tmp_path: Path) -> None:
        stem = mdx.Stem("vocals", noise(1.0, level=0.1), RATE)

        info = soundfile.info(stem.save(tmp_path / f"vocals.{kind}"))

        assert (info.samplerate, info.channels, info.frames) == (RATE, 2, RATE)
        with pytest.raises(mdx_error(), match=r"must end in one of \.wav, \.flac"):
            stem.save(tmp_path / "vocals.doc")

    def test_a_file_that_is_not_there_is_named(self, spleeter: mdx.Separator) -> None:
        with pytest.raises(mdx_error(), match=r"gone\.mp3: no such file"):
            mdx.separate("gone.mp3", spleeter, method())


class TestEvaluate:
    def test_the_table_is_that_of_the_command(
        self, spleeter: mdx.Separator, own_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table = mdx.evaluate(
            mdx.BuiltinClip(), spleeter, [mdx.load_method("heun"), mdx.OnePass()], chunk=1.5, oracle=True
        )

        assert capsys.readouterr() == ("", "")
        settings = ("--model.separator.bins", "64", "--data.dataset", "builtin-clip", "--data.chunk", "1.5")
        assert run("test", "-s", "spleeter", "--methods", "heun", *settings) == 0
        (written,) = Path("logs").rglob("results.csv")
        of_command = pd.read_csv(written)
        assert list(table.columns) == list(of_command.columns)
        keys = ["song", "chunk", "method", "step", "source", "metric"]
        both = table.merge(of_command, on=keys, suffixes=("", "_of_command"))
        assert len(both) == len(table) == len(of_command)
        assert both["value"].to_numpy() == pytest.approx(both["value_of_command"].to_numpy(), abs=2e-6, nan_ok=True)


def test_the_package_imports_lightly_and_everything_it_exports_is_there() -> None:
    code = (
        "import sys, mdx_progressive as mdx\n"
        "light = [name for name in ('torch', 'lightning', 'numpy') if name in sys.modules]\n"
        "mdx.load_method; mdx.iterate; mdx.Linear(0.5)\n"
        "print(light, 'lightning' in sys.modules)\n"
        "print([name for name in mdx.__all__ if not hasattr(mdx, name)])\n"
    )

    assert run_interpreter("-c", code).out.splitlines() == ["[] False", "[]"]


def test_every_public_function_has_an_example() -> None:
    functions = [getattr(mdx, name) for name in mdx.__all__ if inspect.isfunction(getattr(mdx, name))]

    assert functions
    assert all(doctest.DocTestFinder().find(each)[0].examples for each in functions)
