"""What a run is going to take, told before it starts."""

import re
from pathlib import Path

import pytest
import soundfile
from lightning.pytorch import Trainer
from torch import Tensor

from mdx_progressive.cli.main import main
from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.datasets.base import BuiltinClip
from mdx_progressive.engine.dry_run import Plan, plan_test
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.progressive.methods import Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.schedules import Cosine, Linear
from mdx_progressive.separators.spleeter import SpleeterSeparator
from tests.support.paths import STUDY
from tests.support.signals import RATE, noise

DEMO = ("-c", str(STUDY), "--dry-run")


pytestmark = pytest.mark.usefixtures("own_folder")


def plan(**settings: object) -> Plan:
    values: dict[str, object] = {
        "songs": 2, "chunks": 4, "audio_seconds": 40.0, "passes": 3, "seconds_per_second": 0.5, "processes": 1,
        "disk": 10**6,
    }  # fmt: skip
    return Plan(**{**values, **settings})  # type: ignore[arg-type]


def test_the_time_is_that_of_all_passes_dealt_out_to_the_processes_that_have_something_to_do() -> None:
    assert plan().seconds == 40 * 3 * 0.5
    assert plan(processes=2).seconds == 40 * 3 * 0.5 / 2
    assert plan(chunks=1, processes=8).seconds == 40 * 3 * 0.5


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_passes_are_those_that_a_run_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    separator = SpleeterSeparator(bins=64)
    module = ProgressiveDemixing(separator, Progressive(Linear(), 2), compare=[Progressive(Cosine(), 1)])
    data = SongDataModule(separator.sample_rate, separator.sources, dataset=BuiltinClip(), chunk=2.0, all_chunks=True)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    inputs: list[int] = []
    before = Passes.separate

    def counted(self: Passes, *args: object) -> object:
        found = before(self, *args)  # type: ignore[arg-type]
        inputs.append(self.count)
        return found

    planned = plan_test(trainer, module, data)
    monkeypatch.setattr(Passes, "separate", counted)
    trainer.test(module, datamodule=data, verbose=False)

    # Each method has passes of its own, whose count is the highest at its end: 2 + 2, 2 + 2 for the oracle, 2.
    of_a_chunk = [2, 4, 2, 4, 2]
    assert inputs == of_a_chunk * planned.chunks
    assert planned.passes == 1 + 4 + 4 + 2
    assert planned.chunks == 3
    assert planned.songs == 1


def test_the_pace_is_that_of_chunks_of_the_mean_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with long segments takes as long for a short last chunk as for a whole one."""
    separator = SpleeterSeparator(bins=64)
    module = ProgressiveDemixing(separator, Progressive(Linear(), 2))
    data = SongDataModule(separator.sample_rate, separator.sources, dataset=BuiltinClip(), chunk=4.0, all_chunks=True)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    heard: list[int] = []

    def listen(mixture: Tensor, targets: list[str]) -> Tensor:
        heard.append(mixture.shape[-1])
        return mixture

    monkeypatch.setattr(separator, "forward", listen)

    planned = plan_test(trainer, module, data)

    assert planned.chunks == 2
    assert set(heard) == {int(planned.audio_seconds / 2 * RATE)}
    assert max(heard) < 4 * RATE


def test_test_says_what_it_would_do_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("test", *DEMO, "--data.chunk", "2", "--data.all_chunks", "true", "--model.compare", "null")) == 0

    said = capsys.readouterr().out
    assert "songs   1 song, 3 chunks, 6 s of music\n" in said
    assert (
        "37 for each chunk at most, 111 in all\n" in said
    )  # 1 + 9 steps of 2 sources, with the estimate and with the truth
    assert re.search(
        r"\ntime    about .* for the passes\n        [\d.]+ s for a second of music in a pass, 1 process\n", said
    )
    assert max(map(len, said.splitlines())) <= 80
    # 2 s of 11 clips as MP3 at 135 kb/s, and of 9 in 16 bits for TensorBoard; 2 spectrograms of 750 kB, 16 charts of
    # 130 kB; the rows.
    assert "about 5.72 MB in logs" in said
    assert list(tmp_path.iterdir()) == []


def test_a_long_folder_breaks_no_line_and_one_of_a_kind_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("a.wav", noise(1).T.numpy(), RATE)
    folder = "/".join(["a long name of a folder"] * 5)

    assert main(("predict", "a.wav", *DEMO, "--model.method", "one-pass", "-o", folder)) == 0

    songs, passes, _, pace, disk, last = capsys.readouterr().out.splitlines()
    assert songs == "songs   1 song, 1 chunk, 1 s of music"
    assert passes == "passes  1 for each chunk at most, 1 in all"
    assert pace.endswith(", 1 process")
    assert f" in {folder}, where " in disk
    assert last == "Nothing was written. What is done already is counted too."


def test_predict_names_what_it_can_not_read_and_how_much_it_would_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", noise(10).T.numpy(), RATE)
    (tmp_path / "c.wav").write_bytes(b"no audio")

    assert main(("predict", *DEMO, "--data.input", str(tmp_path), "--writer.encoding", "int16")) == 1

    said = capsys.readouterr()
    assert "2 songs, 2 chunks, 20 s of music" in said.out
    assert "about 7.06 MB in separated" in said.out  # 2 songs of 10 s, 2 sources, 2 channels, 2 bytes
    assert "c.wav" in said.err
    assert "all others are done" not in said.err
    assert not (tmp_path / "separated").exists()
