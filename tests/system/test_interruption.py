"""The real command, killed and started again; songs that can't be read among others that can."""

import hashlib
import json
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest
import soundfile
import yaml
from demucs.htdemucs import HTDemucs
from filelock import FileLock

from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.results import read_rows
from mdx_progressive.evaluation.timings import read_timings
from tests.support.command import NARROW
from tests.support.demucs_weights import save_safetensors, small_network
from tests.support.paths import STUDY_HTDEMUCS
from tests.support.processes import Stop, run_command
from tests.support.signals import RATE, SOURCES, noise

SMALL = (
    *("-c", str(STUDY_HTDEMUCS), "--model.separator.weights", "small.safetensors"),
    *("--model.method.steps", "1", "--model.metrics", "[Sdr]", "--model.targets", "[vocals]"),
    *("--model.oracle", "false", "--tensorboard.songs", "0", "--sound.songs", "0"),
)
CUT = ("--data.chunk", "0.5", "--data.all_chunks", "true", "--data.root", "songs")
CHUNKS = 9


def lay_out(folder: Path, weights: Path) -> None:
    """Three short songs, of three chunks each, beside the weights of a small network."""
    shutil.copy(weights, folder / "small.safetensors")
    for number in range(3):
        for seed, stem in enumerate(SOURCES, 10 * number):
            path = folder / "songs" / f"song {number}" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, noise(1.7, 2, seed=seed, level=0.1).T.numpy(), RATE, subtype="FLOAT")


@pytest.fixture
def songs(own_folder: Path, small_htdemucs_file: Path) -> Path:
    """The songs, in a folder of the current one."""
    lay_out(own_folder, small_htdemucs_file)
    return own_folder / "songs"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small_htdemucs_file: Path) -> dict[str, bytes]:
    """The files of a run over these songs that nothing has stopped."""
    folder = tmp_path_factory.mktemp("whole")
    lay_out(folder, small_htdemucs_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_command(command("run")).exit_code == 0
    return files(folder / "logs/run/version_0")


def command(name: str, *more: str) -> list[str]:
    return ["test", *SMALL, *CUT, "--trainer.logger.init_args.name", name, *more]


def measured(folder: Path) -> int:
    return sum(path.read_bytes().count(b"}\n") for path in folder.glob("measured.*.jsonl"))


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("results.csv", "summary.json")}


class TestResume:
    def test_a_run_that_is_stopped_again_and_again_ends_with_the_same_files(
        self, songs: Path, whole: dict[str, bytes]
    ) -> None:
        folder = Path("logs/run/version_0")

        for times, how in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), start=1):
            code = run_command(command("run"), Stop(how, after=2)).exit_code
            assert code == (-how if how is signal.SIGKILL else 128 + how)
            assert measured(folder) == 2 * times
            assert not (folder / "results.csv").exists()
        with (folder / "measured.0.jsonl").open("a") as file:
            file.write('{"song": "song 2", "chu')  # As a power failure may leave it.
        assert run_command(command("run")).exit_code == 0

        assert files(folder) == whole
        assert not list(folder.glob("measured.*"))
        assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
        timings = read_timings(folder / "timings.csv")
        assert len(timings) == len(timings.drop_duplicates(["song", "chunk", "method"])) == CHUNKS * 2
        assert (timings["seconds"] > 0).all()

    @pytest.mark.parametrize(("how", "rank"), [(signal.SIGTERM, 0), (signal.SIGKILL, 0), (signal.SIGKILL, 1)])
    def test_two_processes_of_which_one_is_stopped_both_end_and_are_continued_by_one(
        self, songs: Path, whole: dict[str, bytes], how: signal.Signals, rank: int
    ) -> None:
        folder = Path("logs/run/version_0")

        ended = run_command(command("run"), Stop(how, 2, rank), processes=2)

        first = rank == 0 and how is signal.SIGKILL
        assert ended.exit_code == (-how if first else 1 if rank else 128 + how)
        assert "Traceback" not in ended.err
        told = "process 2 of 2 ends, since the first one was ended:"
        if not first:
            told = "process 2 of 2 was ended from outside (SIGKILL):" if rank else "stopped by a signal;"
        assert f"error: {told} what is done is kept, and the same command resumes the run" in ended.err
        assert 2 <= measured(folder) < CHUNKS
        assert run_command(command("run")).exit_code == 0
        assert files(folder) == whole

    def test_two_processes_that_separate_end_both_when_one_is_killed(self, songs: Path) -> None:
        def predict(out: str) -> list[str]:
            places = ("--data.input", "songs/song 0", "--out", out, "--trainer.logger", "false")
            return ["predict", *SMALL, "--model.method.steps", "0", *places]

        assert run_command(predict("whole")).exit_code == 0
        for rank, code, told in (
            (0, -signal.SIGKILL, "process 2 of 2 ends, since the first one was ended"),
            (1, 1, "process 2 of 2 was ended from outside (SIGKILL)"),
        ):
            shutil.rmtree("out", ignore_errors=True)  # So that each has blocks to do.
            ended = run_command(predict("out"), Stop(signal.SIGKILL, 1, rank), processes=2)
            assert ended.exit_code == code
            assert f"error: {told}: what is done is kept, and the same command resumes the run" in ended.err
            assert "Traceback" not in ended.err
        finished = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.wav")}
        assert run_command(predict("out")).exit_code == 0

        assert len(finished) < len(list(Path("whole").rglob("*.wav"))) == len(SOURCES)
        assert all(path.stat().st_mtime_ns == date for path, date in finished.items())
        for path in Path("whole").rglob("*.wav"):
            assert Path("out", *path.parts[1:]).read_bytes() == path.read_bytes()
        assert not [path for path in Path("out").rglob("*") if path.name.startswith(".")]

    def test_a_run_that_was_stopped_between_its_last_chunk_and_its_end_is_ended_by_the_command_that_others_name(
        self, songs: Path, whole: dict[str, bytes], capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = Path("logs/run/version_0")
        run_command(command("run"), Stop(signal.SIGKILL, after=CHUNKS))
        assert measured(folder) == CHUNKS
        assert not (folder / "results.csv").exists()
        for name, place in (("report", folder), ("compare", folder / "results.csv"), ("compare", Path("logs"))):
            assert main([name, str(place)]) == 1

            said = capsys.readouterr().err
            assert f"{folder}: the run has not ended, {CHUNKS} of {CHUNKS} chunks are measured; the same `mdx-" in said
            assert said.count("\n") == 1
        assert said.startswith("mdx-progressive: error: logs is no run, but holds run/version_0 (not ended); ")
        with FileLock(folder / ".lock"):  # As the run itself holds it.
            assert main(["report", str(folder)]) == 1
        assert "chunks are measured so far, it is still running\n" in capsys.readouterr().err
        (named,) = re.findall("`mdx-progressive (test -c .*?)`", said)

        (folder / "linear").touch()  # In the place of a folder with curves, which are the last to be written.
        assert main(shlex.split(named)) == 1
        assert files(folder) == whole
        (folder / "linear").unlink()
        assert main(shlex.split(named)) == 0

        assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
        assert list((folder / "linear").iterdir())
        assert "resumes an interrupted run, to be measured: 0 chunks" in capsys.readouterr().err
        assert files(folder) == whole
        saved = yaml.safe_load((folder / "config.yaml").read_text())
        assert saved["trainer"]["logger"]["init_args"]["version"] is None  # Run again, it must not be replaced.
        assert not list(folder.glob("measured.*"))

    @pytest.mark.parametrize(("command", "kept"), [
        ("test", "logs/spleeter-2stems/version_0: 2 of 3 chunks measured"),
        ("predict", r"out: 1 of 2 songs complete, [1-9] blocks? of others kept"),
    ])  # fmt: skip
    def test_ctrl_c_is_told_in_two_lines_with_what_is_kept(self, songs: Path, command: str, kept: str) -> None:
        shutil.copy(songs / "song 0" / "vocals.wav", "a.wav")
        soundfile.write("b.wav", noise(70, 2).T.numpy(), RATE)
        quick = ("-s", "spleeter", *NARROW, *(("-q", "balanced") if command == "predict" else ("--methods", "heun")))
        what = {
            "test": ("--data.dataset", "builtin-clip", "--data.chunk", "2.5", "--data.all_chunks", "true"),
            "predict": ("a.wav", "b.wav", "-o", "out", "--data.block", "2"),
        }[command]
        line = [command, *quick, *what]

        ended = run_command(line, Stop(signal.SIGINT, after=2))

        assert ended.exit_code == 130
        lines = [text for text in ended.err.splitlines() if text.strip()]
        end = "mdx-progressive: error: stopped by a signal; what is done is kept, and the same command resumes the run"
        assert lines[2:] == [end]
        assert re.fullmatch(kept, lines[1])
        assert run_command(line).exit_code == 0

    def test_other_settings_or_no_resuming_begin_a_run_of_their_own(self, songs: Path) -> None:
        folder = Path("logs/run")
        for chunks, more in ((3, ()), (2, ("--resume", "false")), (1, ("--model.targets", "[drums]"))):
            run_command(command("run", *more), Stop(signal.SIGKILL, chunks))

        assert {path.name: measured(path) for path in folder.iterdir()} == {
            "version_0": 3, "version_1": 2, "version_2": 1,
        }  # fmt: skip

    def test_a_song_that_has_changed_meanwhile_is_measured_again(self, songs: Path) -> None:
        folder = Path("logs/run/version_0")
        run_command(command("run"), Stop(signal.SIGKILL, after=4))
        soundfile.write(songs / "song 0" / "vocals.wav", noise(1.7, 2, seed=77, level=0.1).T.numpy(), RATE)

        ended = run_command(command("run"))
        assert ended.exit_code == 0
        assert [line for line in ended.err.splitlines() if "measured" in line or "once more" in line] == [
            f"{folder}: resumes an interrupted run, to be measured: 8 chunks",
            "3 of them once more: the songs or the weights have changed since",
        ]
        assert run_command(command("fresh")).exit_code == 0

        assert files(folder) == files(Path("logs/fresh/version_0"))

    def test_with_other_weights_under_the_same_name_all_is_measured_again(
        self, songs: Path, whole: dict[str, bytes]
    ) -> None:
        weights = Path("small.safetensors")
        own = weights.read_bytes()
        save_safetensors(small_network(HTDemucs, seed=1), weights)
        run_command(command("run"), Stop(signal.SIGKILL, after=4))
        weights.write_bytes(own)

        ended = run_command(command("run"))

        assert ended.exit_code == 0
        assert f"resumes an interrupted run, to be measured: {CHUNKS} chunks" in ended.err
        assert "\n4 of them once more: the songs or the weights have changed since\n" in ended.err
        found = files(Path("logs/run/version_0"))
        assert found == whole
        assert json.loads(found["summary.json"])["weights"] == {weights.name: hashlib.sha256(own).hexdigest()}


class TestBadSongs:
    def run(self, *more: str) -> int:
        return main(("test", *SMALL, "--data.chunk", "1", "--data.root", "songs", *more))

    def test_they_are_named_at_the_end_and_the_others_are_measured(
        self, songs: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (songs / "song 1" / "drums.wav").write_bytes(b"no audio at all")
        (songs / "song 2" / "vocals.wav").unlink()

        assert self.run() == 1

        folder = Path("logs/htdemucs/version_0")
        assert set(read_rows(folder / "results.csv")["song"]) == {"song 0"}
        failed = json.loads((folder / "summary.json").read_text())["failed"]
        assert list(failed) == ["song 1", "song 2"]
        assert "drums.wav: no audio" in failed["song 1"]
        last = capsys.readouterr().err.split("error: ")[-1]
        assert last.startswith("2 songs failed, all others are complete:\n")
        assert "drums.wav: no audio" in last
        assert "no stem for the source 'vocals'" in last

    def test_fail_fast_stops_at_the_first(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (songs / "song 1" / "drums.wav").write_bytes(b"no audio at all")

        assert self.run("--fail-fast") == 1

        assert "drums.wav: no audio" in capsys.readouterr().err
        assert not Path("logs/htdemucs/version_0/results.csv").exists()

    def test_without_a_good_one_all_are_named(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for song in songs.iterdir():
            (song / "drums.wav").write_bytes(b"no audio at all")

        assert self.run() == 1

        said = capsys.readouterr().err.split("error: ")[-1]
        assert [line.split("drums.wav")[0][-7:-1] for line in said.splitlines()] == ["song 0", "song 1", "song 2"]

    def test_predict_goes_on_with_the_other_files(self, songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shutil.copy(songs / "song 0" / "vocals.wav", songs / "good.wav")
        (songs / "bad.wav").write_bytes(b"no audio at all")
        inputs = ("songs/bad.wav", "songs/good.wav")

        for workers in ("0", "1"):
            settings = (*inputs, "--out", f"out {workers}", "--data.num_workers", workers)
            assert main(("predict", *SMALL, *settings)) == 1

            assert "bad.wav: no audio could be read" in capsys.readouterr().err
            assert [path.name for path in Path(f"out {workers}/good").iterdir()] == ["vocals.wav"]
            assert [path.name for path in Path(f"out {workers}").iterdir()] == ["good"]
