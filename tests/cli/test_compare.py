"""Paired gains: known numbers, agreement with scipy, and the command that shows them."""

import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.measurements import Measurements
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import Row, to_table, write_rows
from mdx_progressive.evaluation.statistics import CHOSEN, last_steps, leave_one_song_out, paired_gains, summarise
from mdx_progressive.evaluation.timings import ONE_PASS, Timing, write_timings
from mdx_progressive.runtime.errors import MdxError

SI_SDR = Scale("SI-SDR")
SONGS = {"easy": 20.0, "middle": 10.0, "hard": 0.0}
GAINS = {  # by method, then song: vocals, bass
    "steady": {"easy": (0.1, 0.3), "middle": (0.2, 0.2), "hard": (0.3, 0.1)},
    "wild": {"easy": (-1.0, 0.0), "middle": (3.0, 1.0), "hard": (-0.5, 0.5)},
}


def rows(silent: bool = False) -> list[Row]:
    """Two chunks a song, which lie a decibel to both sides of its value; a first step that gains nothing."""
    made = []
    for song, level in SONGS.items():
        for chunk, offset in enumerate((-1.0, 1.0)):
            for position, source in enumerate(("vocals", "bass")):
                nothing = silent and song == "hard" and source == "bass"
                floor = math.nan if nothing else level + offset
                made.append(Row(song, chunk, "one-pass", 0, 1, 0.0, source, "si_sdr", floor))
                for method, gains in GAINS.items():
                    made.append(Row(song, chunk, method, 0, 1, 0.0, source, "si_sdr", floor))
                    value = floor + gains[song][position]
                    made.append(Row(song, chunk, method, 1, 4, 0.5, source, "si_sdr", value))
                made.append(Row(song, chunk, "truth", 1, 2, 0.5, source, "si_sdr", floor + 5))
    return made


def gains_of(found: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.song, row.source): row.gain for row in found.itertuples()}  # type: ignore[misc]


def test_differences_are_taken_within_song_and_source() -> None:
    found = last_steps(paired_gains(to_table(rows()), "si_sdr", "one-pass", SI_SDR))

    for method, of_songs in GAINS.items():
        expected = {(s, source): of_songs[s][n] for s in SONGS for n, source in enumerate(("vocals", "bass"))}
        assert gains_of(found[found["method"] == method]) == pytest.approx(expected)


def test_another_method_can_be_compared_with() -> None:
    found = paired_gains(to_table(rows()), "si_sdr", "steady", SI_SDR)

    one_pass = gains_of(found[found["method"] == "one-pass"])
    assert one_pass["easy", "vocals"] == pytest.approx(-0.1)


def test_the_summary_of_known_gains() -> None:
    steady, wild, _ = summarise(last_steps(paired_gains(to_table(rows()), "si_sdr", "one-pass", SI_SDR)))

    assert (steady.method, steady.step, steady.passes) == ("steady", 1, 4)
    assert steady.mean == pytest.approx(0.2)
    assert (steady.low, steady.high, steady.lost) == pytest.approx((0.2, 0.2, 0))  # the means of the songs are equal
    assert steady.improved == 1
    assert steady.worst == pytest.approx(0.1)
    assert wild.mean == pytest.approx(0.5)
    assert wild.median == pytest.approx(0.25)
    assert wild.improved == pytest.approx(3 / 6)
    assert wild.worst == pytest.approx(-1.0)
    assert wild.worst_at == "easy, vocals"
    assert wild.by_source == pytest.approx({"vocals": 0.5, "bass": 0.5})
    assert wild.low < wild.mean < wild.high
    # Student's t of two degrees of freedom, times the standard error.
    assert (wild.high - wild.low) / 2 == pytest.approx(4.302653 * np.std([-0.5, 2.0, 0.0], ddof=1) / 3**0.5)
    assert wild.p == pytest.approx(wilcoxon([-0.5, 2.0, 0.0]).pvalue)


def test_every_step_has_a_line() -> None:
    found = summarise(paired_gains(to_table(rows()), "si_sdr", "one-pass", SI_SDR))

    assert [(gain.method, gain.step) for gain in found] == [
        ("steady", 0), ("steady", 1), ("wild", 0), ("wild", 1), ("truth", 1),
    ]  # fmt: skip
    assert found[0].mean == 0
    assert found[0].p == 1


def test_silent_sources_are_left_out() -> None:
    steady, *_ = summarise(last_steps(paired_gains(to_table(rows(silent=True)), "si_sdr", "one-pass", SI_SDR)))

    assert steady.mean == pytest.approx((0.2 + 0.2 + 0.3) / 3)  # of the third song one source is left
    assert steady.by_source == pytest.approx({"vocals": 0.2, "bass": 0.25})


def test_the_mean_lies_in_its_interval_however_many_sources_the_songs_have() -> None:
    # As with instrumental music: most songs have one source that is not silent, and gain least there.
    made = [
        ("sung", "vocals", 4.0),
        ("sung", "bass", 4.0),
        ("one", "bass", 0.1),
        ("two", "bass", 0.2),
        ("three", "bass", 0.0),
    ]
    gains = pd.DataFrame([("steady", 1, song, source, 4, gain, 0) for song, source, gain in made],
                         columns=["method", "step", "song", "source", "passes", "gain", "lost"])  # fmt: skip
    (found,) = summarise(gains)

    assert found.mean == pytest.approx((4.0 + 0.1 + 0.2 + 0.0) / 4)
    assert found.low <= found.mean <= found.high

    # Songs of many sources that gain nothing do not outweigh those of one.
    many = [(f"song {n}", "bass", 1.0) for n in range(9)] + [("choir", str(n), 0.0) for n in range(99)]
    gains = pd.DataFrame(
        [("steady", 1, song, source, 4, gain, 0) for song, source, gain in many], columns=gains.columns
    )
    (found,) = summarise(gains)

    assert found.mean == pytest.approx(0.9)
    assert found.low <= found.mean <= found.high


def test_a_gain_in_a_distance_is_how_much_less_there_is() -> None:
    distance = Scale("a distance", lower_is_better=True, lost=80.0)
    found = last_steps(paired_gains(to_table(rows()), "si_sdr", "one-pass", distance))

    steady, wild, _ = summarise(found)
    assert steady.mean == pytest.approx(-0.2)
    assert steady.improved == 0
    assert wild.worst == pytest.approx(-3.0)
    assert wild.worst_at == "middle, vocals"


@pytest.mark.parametrize("value", [-math.inf, math.nan, -80.0])
def test_a_source_that_a_method_has_lost_stays_in_its_mean(value: float) -> None:
    some = [
        row._replace(value=value) if row[:3] == ("hard", 0, "wild") and row.step and row.source == "bass" else row
        for row in rows()
    ]

    _, wild, _ = summarise(last_steps(paired_gains(to_table(some), "si_sdr", "one-pass", SI_SDR)))

    lost = (-60.0 + 1.0 + 0.5) / 2  # One of its two chunks is at -60 dB, from -1.
    assert wild.mean == pytest.approx((-0.5 + 2.0 + (-0.5 + lost) / 2) / 3)
    assert wild.worst == pytest.approx(lost)
    assert wild.worst_at == "hard, bass"
    assert wild.improved == pytest.approx(2 / 6)
    assert wild.lost == 1


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_what_one_pass_has_lost_counts_for_a_method_that_has_found_it(value: float) -> None:
    some = [
        row._replace(value=value) if row[:3] == ("hard", 0, "one-pass") and row.source == "bass" else row
        for row in rows()
    ]

    steady, *_ = summarise(last_steps(paired_gains(to_table(some), "si_sdr", "one-pass", SI_SDR)))

    assert steady.by_source["bass"] == pytest.approx((0.3 + 0.2 + (-1.0 + 0.1 + 60.0 + 0.1) / 2) / 3)


@pytest.mark.parametrize("method", ["steady", "one-pass"])
def test_a_chunk_with_an_infinitely_good_value_by_one_of_two_methods_is_left_out(method: str) -> None:
    some = [
        row._replace(value=math.inf) if row[:3] == ("easy", 0, method) and row.source == "vocals" else row
        for row in rows()
    ]

    steady, *_ = summarise(last_steps(paired_gains(to_table(some), "si_sdr", "one-pass", SI_SDR)))

    # The other chunk of that song gains as much, whatever its level.
    assert steady.mean == pytest.approx(0.2)


@pytest.mark.parametrize("few", [("easy",), ("easy", "hard")])
def test_one_or_two_songs_have_no_interval(few: tuple[str, ...]) -> None:
    alone = [row for row in rows() if row.song in few]

    steady, *_ = summarise(last_steps(paired_gains(to_table(alone), "si_sdr", "one-pass", SI_SDR)))

    assert steady.mean == pytest.approx(0.2)
    assert math.isnan(steady.low)
    assert math.isnan(steady.p)


@pytest.mark.parametrize("songs", [3, 5, 10, 20])
def test_the_interval_holds_the_mean_as_often_as_it_says(songs: int) -> None:
    rng, held, runs = np.random.default_rng(songs), 0, 1000
    for _ in range(runs):
        drawn = rng.normal(0.5, 0.4, songs)
        columns = {"method": "m", "step": 1, "song": range(songs), "source": "bass", "passes": 4, "lost": 0}
        (found,) = summarise(pd.DataFrame({**columns, "gain": drawn}))
        held += found.low <= 0.5 <= found.high
    assert 0.93 <= held / runs <= 0.97  # Three standard errors of 1000 runs around 95 %.


def test_what_is_chosen_on_the_other_songs_is_measured_on_the_one_left_out() -> None:
    ends = last_steps(paired_gains(to_table(rows()), "si_sdr", "one-pass", SI_SDR))

    chosen = leave_one_song_out(ends[ends["method"] != "truth"])

    # Without "middle", steady is best (.2 > -.25); without the others, wild is: (2 + 0) / 2 and (2 - .5) / 2 > .2.
    assert chosen is not None
    assert chosen.method == CHOSEN
    assert chosen.mean == pytest.approx((-1.0 + 0.0 + 0.2 + 0.2 - 0.5 + 0.5) / 6)
    assert leave_one_song_out(ends[ends["method"] == "wild"]) is None


@pytest.mark.parametrize(("metric", "against"), [("loudness", "one-pass"), ("si_sdr", "two-pass")])
def test_what_is_not_there_is_named(metric: str, against: str) -> None:
    with pytest.raises(MdxError, match=r"loudness|two-pass"):
        paired_gains(to_table(rows()), metric, against, SI_SDR)


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        run = tmp_path / "version_0"
        run.mkdir()
        write_rows(run / "results.csv", rows())
        (run / "summary.json").write_text(json.dumps({"bounds": ["truth"]}))
        return run

    def test_it_prints_and_writes_the_gains(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["compare", str(folder), "--out", str(folder / "gains.csv"), "--leave-one-out"]) == 0

        shown = " ".join(capsys.readouterr().out.split())
        assert "wild 1 4 +0.50" in shown
        assert f"{CHOSEN} 1 4 -0.10" in shown  # the bound is not chosen
        written = pd.read_csv(folder / "gains.csv").set_index("method")
        assert written.loc["wild", "mean"] == pytest.approx(0.5)
        assert written.loc["wild", "vocals"] == pytest.approx(0.5)
        assert tuple(written.loc["wild", ["metric", "unit", "against"]]) == ("si_sdr", "dB", "one-pass")
        assert list(written.index) == ["steady", "wild", "truth", CHOSEN]

    def test_it_shows_and_writes_the_songs_the_worst_first(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_rows(folder / "results.csv", [row._replace(song=f"{row.song} [live]") for row in rows(silent=True)])

        for ending in (".csv", ".md", ".tex"):
            assert main(["compare", str(folder), "--songs", "--out", str(folder / f"songs{ending}")]) == 0

        shown = " ".join(capsys.readouterr().out.split())
        assert "song source steady wild truth" in shown
        assert "easy [live] vocals +0.10 -1.00 +5.00 middle [live] vocals +0.20 +3.00 +5.00" in shown
        written = pd.read_csv(folder / "songs.csv").set_index(["method", "song", "source"])["gain"]
        assert len(written) == 3 * 5  # The bass of "hard" is silent.
        assert written["wild", "hard [live]", "vocals"] == pytest.approx(-0.5)
        first, *_ = (line for line in (folder / "songs.md").read_text().splitlines() if r"\[live\]" in line)
        assert [cell.strip() for cell in first.split("|")[1:-1]] == [r"easy \[live\]", "vocals", "0.1", "-1", "5"]
        assert " ".join((folder / "songs.tex").read_text().split()).count("[live] & vocals &") == 3

    @pytest.fixture
    def clocked(self, folder: Path) -> Path:
        """The same run, with a file of times."""
        seconds = {ONE_PASS: 0.5, "truth": 0.5, "steady": 1.5, "wild": 19.5}
        taken = [Timing(song, 0, method, each, 2.0, "abacus") for song in SONGS for method, each in seconds.items()]
        write_timings(folder / "timings.csv", taken)
        return folder

    def test_it_tells_the_time_of_a_method_beside_its_passes(
        self, clocked: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", str(clocked), "--steps", "--leave-one-out", "--out", str(clocked / "gains.csv")]) == 0

        shown = " ".join(capsys.readouterr().out.split())
        assert "steady 0 1 +0.00" in shown  # only the end of a method has a time
        assert "steady 1 4 x4.00 1.00 +0.20" in shown
        assert "wild 1 4 x40.0 10.0 +0.50" in shown
        assert "one-pass: 0.250 s for a second of music (abacus)" in shown
        written = pd.read_csv(clocked / "gains.csv")
        times = written.set_index(written["method"] + " " + written["step"].astype(str))["over_one_pass"]
        assert times.dropna().to_dict() == {"steady 1": 4.0, "wild 1": 40.0, "truth 1": 2.0}
        assert {"steady 0", "wild 0", f"{CHOSEN} 1"} < set(times.index)

    def test_the_plain_pass_has_a_time_where_it_is_compared_with_another_method(
        self, clocked: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", str(clocked), "--against", "steady"]) == 0

        assert "one-pass 0 1 x1.00 0.250 -0.20" in " ".join(capsys.readouterr().out.split())

    def test_a_run_without_times_has_blanks_beside_one_with_them(
        self, clocked: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(clocked.parent)
        Path("old").mkdir()
        for name in ("results.csv", "summary.json"):
            Path("old", name).write_bytes((clocked / name).read_bytes())

        assert main(["compare", "old", clocked.name, "--out", "gains.md"]) == 0

        shown = " ".join(capsys.readouterr().out.split())
        assert "old wild 1 4 +0.50" in shown
        assert "version_0 wild 1 4 x40.0 10.0 +0.50" in shown
        assert "old one-pass" not in shown
        _, made, *_ = Path("gains.md").read_text().split("\n\n")
        head, _, *lines = ([cell.strip() for cell in line.split("|")] for line in made.splitlines())
        times = {line[head.index("method")]: line[head.index("real_time_factor")] for line in lines}
        assert (times["old wild"], times["version_0 wild"]) == ("", "10")

    def test_a_run_says_which_way_its_metric_is_better(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        scale = {"label": "Distance", "unit": "dB", "lower_is_better": True}
        (folder / "summary.json").write_text(json.dumps({"bounds": ["truth"], "metrics": {"si_sdr": scale}}))

        assert main(["compare", str(folder)]) == 0

        shown = " ".join(capsys.readouterr().out.split())
        assert "wild 1 4 -0.50" in shown
        assert "lower is better: a gain is a fall" in shown

    @pytest.mark.parametrize(("ending", "holds"), [(".md", "| wild "), (".tex", r"\toprule")])
    def test_it_writes_for_papers(self, folder: Path, ending: str, holds: str) -> None:
        assert main(["compare", str(folder / "results.csv"), "--out", str(folder / f"gains{ending}")]) == 0

        written = (folder / f"gains{ending}").read_text()
        assert holds in written
        assert "Gain in si_sdr over one-pass, dB; 3 songs\n" in written

    def test_methods_of_several_runs_keep_apart(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        other = folder.with_name("version_1")
        folder.rename(folder.with_name("version_0.5"))
        other.mkdir()
        for path in folder.with_name("version_0.5").iterdir():
            (other / path.name).write_bytes(path.read_bytes())

        runs = [str(folder.with_name("version_0.5")), str(other)]
        assert main(["compare", *runs, "--steps", "--out", str(other / "all.csv")]) == 0

        names = pd.read_csv(other / "all.csv")["method"].unique()
        assert list(names) == [
            f"{run} {method}" for run in ("version_0.5", "version_1") for method in ("steady", "wild", "truth")
        ]

    def beside(self, folder: Path, made: list[Row]) -> Path:
        """Another run with the same settings."""
        other = folder.with_name("other")
        other.mkdir()
        write_rows(other / "results.csv", made)
        for run in (folder, other):
            (run / "summary.json").write_text(json.dumps({"bounds": ["truth"]}))
            (run / "config.yaml").write_text("data: {chunk: 30.0}")
        return other

    def careful(self, *arguments: object, capsys: pytest.CaptureFixture[str]) -> list[str]:
        assert main(["compare", *map(str, arguments)]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("Careful: ")]

    def test_runs_of_other_songs_or_sources_say_so(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        other = self.beside(folder, [row for row in rows() if (row.song, row.source) == ("easy", "bass")])
        out = folder / "gains.md"

        (line,) = self.careful(folder, other, "--out", out, capsys=capsys)

        assert line == (
            f"Careful: {other} is not like {folder}: songs in both: 1 (of 1, and 3); sources in both: 1 (of 1, and 2)"
        )
        assert out.read_text().splitlines()[-1] == line
        main(["compare", str(folder), str(other), "--out", str(folder / "gains.tex")])
        assert r"\footnotesize Careful: " in (folder / "gains.tex").read_text().splitlines()[-1]
        main(["compare", str(folder), str(other), "--out", str(folder / "gains.csv")])
        shown = " ".join(capsys.readouterr().out.split())
        assert "; n songs" in shown
        assert "version_0 wild 1 3 4 +0.50" in shown
        assert "other wild 1 1 4 +0.00" in shown
        written = pd.read_csv(folder / "gains.csv", keep_default_na=False)
        assert written["songs"].tolist() == [3, 3, 3, 1, 1, 1]
        assert ["Careful: " + why if why else "" for why in written["careful"]] == ["", "", "", line, line, line]
        write_rows(other / "results.csv", [row._replace(song=f"another {row.song}") for row in rows()])
        assert "songs in both: none (of 3, and 3)" in self.careful(folder, other, capsys=capsys)[0]

    def test_nothing_is_chosen_among_methods_of_other_songs(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = self.beside(folder, [row for row in rows() if row.song != "hard"])

        assert main(["compare", str(folder), str(other), "--leave-one-out"]) == 1

        error = capsys.readouterr().err
        assert "--leave-one-out needs the same songs for all methods" in error
        assert "songs in both: 2 (of 2, and 3)" in error
        assert error.count("\n") == 1

    def test_what_no_setting_shows_is_seen_in_the_values(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def louder(decibels: float) -> list[Row]:
            return [row._replace(value=row.value + decibels * (row.song == "hard")) for row in rows()]

        other = self.beside(folder, louder(0.5))
        assert self.careful(folder, other, capsys=capsys) == [
            f"Careful: {other} is not like {folder}: one-pass differs by up to 0.5 on a song of both"
        ]
        write_rows(other / "results.csv", louder(0.001))
        assert self.careful(folder, other, capsys=capsys) == []
        (other / "config.yaml").unlink()
        assert self.careful(folder, other, capsys=capsys) == [
            f"Careful: {other} is not like {folder}: the settings of {other} are not known, it has no config.yaml"
        ]

    def test_of_a_folder_of_runs_the_newest_is_named(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        logs = folder.parent / "all" / "demo"
        for number in range(7):
            shutil.copytree(folder, logs / f"version_{number}")
            date = 1e9 + (number == 3) + number / 10
            os.utime(logs / f"version_{number}" / "results.csv", (date, date))

        for command in ("report", "compare"):
            assert main([command, str(logs)]) == 1

            assert capsys.readouterr().err == (
                f"mdx-progressive: error: {logs} is no run, but holds version_3, version_6, version_5, version_4,"
                f" version_2 and 2 more; for the newest: `mdx-progressive {command} {logs}/version_3`\n"
            )
        assert main(["report", str(logs.parent)]) == 1
        assert "holds demo/version_3, demo/version_6, " in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["nowhere"], "nowhere holds no results.csv"),
            (["begun"], "begun: the run was stopped before it had measured anything; the same"),
            ([".", "--metric", "si_sdrr"], "error: results.csv: there is no metric 'si_sdrr', but si_sdr (si_sdr?)\n"),
            ([".", "--against", "two-pass"], "error: results.csv: there is no method 'two-pass', but one-pass, "),
            ([".", "--against", "two-pass"], " (one-pass?)\n"),
            ([".", "--out", "nodir/gains.csv"], "error: --out nodir/gains.csv: there is no folder nodir\n"),
            ([".", "--out", "gains.xls"], "gains.xls"),
            (["other.csv"], "other.csv is no table of results"),
            (["damaged"], "timings.csv is no table of times"),
        ],
    )
    def test_a_fault_is_one_line(
        self,
        folder: Path,
        arguments: list[str],
        named: str,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(folder)
        Path("other.csv").write_text("a,b\n1,2\n")
        Path("begun").mkdir()
        Path("begun", "config.yaml").touch()
        Path("damaged").mkdir()
        for name in ("results.csv", "summary.json"):
            Path("damaged", name).write_bytes(Path(name).read_bytes())
        Path("damaged", "timings.csv").write_text("a,b\n1,2\n")

        assert main(["compare", *arguments]) == 1

        error = capsys.readouterr().err
        assert named in error
        assert error.count("\n") == 1

    def test_a_run_that_did_not_finish_says_so(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "summary.json").unlink()

        assert main(["compare", str(folder)]) == 1

        assert "did the run finish?" in capsys.readouterr().err
        # A run that was killed between its table and its summary has left it.
        journal = Measurements(folder, total=6)
        journal.append("easy", 0, rows()[:1], [])
        journal.close()
        assert main(["compare", str(folder)]) == 1
        assert f"{folder}: the run has not ended, 1 of 6 chunks are measured; the same" in capsys.readouterr().err
