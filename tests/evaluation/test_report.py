"""The report: what it says of any run, and the page itself in a real browser."""

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path

import pytest
import soundfile
import torch
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from torch import Tensor

from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.metrics.si_sdr import SiSdr
from mdx_progressive.evaluation.report.data import ReportData
from mdx_progressive.evaluation.report.headline import Headline, report_headline
from mdx_progressive.evaluation.report.page import report_page
from mdx_progressive.evaluation.results import Row, write_rows
from mdx_progressive.evaluation.run import read_run
from mdx_progressive.evaluation.timings import Timing, write_timings
from mdx_progressive.runtime.errors import MdxError
from tests.support.paths import STUDY_HTDEMUCS
from tests.support.signals import RATE, SOURCES

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
EVIL = '<script>alert(1)</script><img src=x onerror="alert(2)">'
SILENT = "a <b>silent<b>"
"""A song without vocals."""
# What a browser hears: the peak of the last 2048 samples that reach the loudspeakers.
EAR = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    window.ear ??= new AnalyserNode(to.context, { fftSize: 2048 });
    connect.call(this, window.ear);
  }
  return connect.call(this, to, ...rest);
};
window.loudness = () => {
  const heard = new Float32Array(2048);
  window.ear.getFloatTimeDomainData(heard);
  return Math.max(...heard.map(Math.abs));
};
"""


def rows(values: dict[str, dict[str, list[float]]], source: str = "vocals") -> list[Row]:
    """Rows of songs: for each its methods, for each of those the values of its steps."""
    return [
        Row(song, 0, method, step, 1 + step, 0.1 * step, source, "si_sdr", value)
        for song, methods in values.items()
        for method, steps in methods.items()
        for step, value in enumerate(steps)
    ]


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run of the given rows, as `test` does."""

    def write(made: list[Row], bounds: tuple[str, ...] = (), **facts: object) -> Path:
        folder = tmp_path / "version_0"
        folder.mkdir(exist_ok=True)
        write_rows(folder / "results.csv", made)
        methods = list(dict.fromkeys(row.method for row in made))
        metrics = {"si_sdr": SiSdr.scales["si_sdr"]._asdict()}
        known = {
            "methods": methods,
            "bounds": list(bounds),
            "trained_on_musdb18_test": False,
            "metrics": metrics,
            **facts,
        }
        (folder / "summary.json").write_text(json.dumps(known))
        return folder

    return write


def headline(folder: Path) -> Headline:
    run = read_run(folder, "si_sdr")
    assert report_page(run)  # the whole page can be rendered
    return report_headline(ReportData(run))


class TestHeadline:
    def test_a_gain_has_its_interval_its_passes_and_its_worst_case(self, write_run: Callable[..., Path]) -> None:
        songs = {f"song {n}": {"one-pass": [5.0], "oracle": [5.0, 9.0], "a": [5.0, 6.0 + n / 10]} for n in range(12)}

        found = headline(write_run(rows(songs), ("oracle",)))

        assert found.answer == (
            "“a” separates these 12 songs 1.55 dB SI-SDR better than one pass of the separator on average."
        )
        figures = {figure.label: figure for figure in found.figures}
        assert list(figures) == ["gain over one pass", "95 % interval", "improved", "passes", "time"]
        assert figures["gain over one pass"].value == "+1.55 dB"
        assert re.fullmatch(r"\+1\.\d\d to \+1\.\d\d dB", figures["95 % interval"].value)
        assert figures["improved"][1:] == ("100 %", "12 of 12 stems are better than after one pass")
        assert figures["passes"].value == "2"
        assert figures["time"].value == "unknown"
        assert "In its worst case (song 0, vocals) it gains 1.00 dB." in found.caveat
        assert "few" not in found.caveat
        assert "picked" not in found.caveat

    def test_methods_have_their_time_where_it_was_measured(self, write_run: Callable[..., Path]) -> None:
        run = write_run(rows({"a song": {"one-pass": [5.0], "a": [5.0, 6.0]}}))
        without = report_page(read_run(run, "si_sdr"))
        seconds = {"one-pass": 0.5, "a": 1.5}
        taken = [Timing("a song", 0, method, each, 1.0, "cpu") for method, each in seconds.items()]
        write_timings(run / "timings.csv", taken)

        assert "<td>×4.00</td>" in report_page(read_run(run, "si_sdr"))
        assert {figure.label: figure.value for figure in headline(run).figures}["time"] == "×4.00"
        assert "<td>×" not in without

    def test_the_best_of_several_methods_is_flagged_as_picked(self, write_run: Callable[..., Path]) -> None:
        songs = {name: {"one-pass": [5.0], "a": [5.0, 5.5], "b": [5.0, 6.0]} for name in ("one", "two")}

        found = headline(write_run(rows(songs)))

        assert found.answer.startswith("“b”, the best of 2 methods, separates these 2 songs 1.00 dB SI-SDR better")
        assert "oracle" not in found.answer + found.caveat
        assert "picked among 2 methods" in found.caveat
        assert "2 songs are few" in found.caveat

    def test_a_gain_that_may_be_chance_is_flagged(self, write_run: Callable[..., Path]) -> None:
        songs = {str(n): {"one-pass": [5.0], "a": [5.0, 5.1 + (-1) ** n]} for n in range(6)}

        found = headline(write_run(rows(songs)))

        assert found.answer.endswith("on average, which may be chance.")
        assert "holds zero" in found.figures[1].note

    def test_two_songs_have_no_interval(self, write_run: Callable[..., Path]) -> None:
        two = {name: {"one-pass": [5.0], "a": [5.0, 6.0]} for name in ("one", "two")}

        found = headline(write_run(rows(two)))

        assert (found.figures[1].value, found.figures[1].note) == ("none", "2 songs have no interval")
        assert "2 songs are few, too few for an interval, and speak for no others" in found.caveat
        assert "One song" not in found.caveat

    def test_one_song_has_no_interval(self, write_run: Callable[..., Path]) -> None:
        found = headline(write_run(rows({"a song": {"one-pass": [5.0], "a": [5.0, 6.0]}})))

        assert "“a song”" in found.answer
        assert found.figures[0].note == "SI-SDR, on this one song"
        assert found.figures[1].value == "none"
        assert "one song has no interval and speaks for no other" in found.caveat.lower()

    @pytest.mark.parametrize(
        ("last", "answer"),
        [
            ({"a": 4.0}, "“a” separates these 2 songs 1.00 dB SI-SDR worse than one pass of the separator on average."),
            ({"a": 5.0}, "“a” separates these 2 songs no better than one pass of the separator."),
            (
                {"a": 4.0, "b": 4.5},
                "No method separates these 2 songs better than one pass of the separator: the best of 2, “b”, loses"
                " 0.50 dB SI-SDR on average.",
            ),
        ],
    )
    def test_what_is_no_better_than_one_pass_is_called_that(
        self, write_run: Callable[..., Path], last: dict[str, float], answer: str
    ) -> None:
        methods = {method: [5.0, value] for method, value in last.items()}
        found = headline(write_run(rows({name: {"one-pass": [5.0], **methods} for name in ("one", "two")})))

        assert found.answer == answer

    def test_silent_sources_are_counted(self, write_run: Callable[..., Path]) -> None:
        made = rows({"one": {"one-pass": [5.0], "a": [5.0, 6.0]}})
        made += rows({"one": {"one-pass": [math.nan], "a": [math.nan, math.nan]}}, "bass")

        found = headline(write_run(made))

        assert found.figures[0].value == "+1.00 dB"
        assert "1 silent chunk of a source is left out" in found.caveat

    def test_songs_that_could_not_be_read_are_named(self, write_run: Callable[..., Path]) -> None:
        made = rows({"one": {"one-pass": [5.0], "a": [5.0, 6.0]}})
        run = write_run(made, failed={"two": "two/bass.wav: breaks off at 2 s"})

        assert "1 song could not be read and is left out" in headline(run).caveat
        assert "two/bass.wav: breaks off at 2 s" in report_page(read_run(run, "si_sdr"))

    def test_where_all_is_silent_nothing_is_claimed(self, write_run: Callable[..., Path]) -> None:
        nothing = {"one": {"one-pass": [math.nan], "oracle": [math.nan] * 2, "a": [math.nan, math.nan]}}

        found = headline(write_run(rows(nothing), ("oracle",)))

        assert found.answer == "There is no answer: every source is silent."
        assert found.figures == []

    def test_one_pass_alone_has_no_answer(self, write_run: Callable[..., Path]) -> None:
        assert "no method was run" in headline(write_run(rows({"one": {"one-pass": [5.0]}}))).answer

    def test_a_method_that_is_given_the_references_is_never_the_answer(self, write_run: Callable[..., Path]) -> None:
        songs = {"one": {"one-pass": [5.0], "oracle": [5.0, 9.0], "a": [5.0, 5.5], "search": [5.0, 8.0]}}
        run = write_run(rows(songs), ("oracle", "search"))

        found = headline(run)

        assert found.answer.startswith("“a” separates “one” 0.50 dB SI-SDR better")
        data = ReportData(read_run(run, "si_sdr"))
        assert [gain.method for gain in data.gains] == ["a", "oracle", "search"]
        assert "search <small>given the references</small>" in report_page(data.run)

    @pytest.mark.parametrize(("seen", "words"), [(True, "prove nothing"), (None, "It is unknown whether")])
    def test_weights_that_have_seen_the_test_set_are_named(
        self, write_run: Callable[..., Path], seen: bool | None, words: str
    ) -> None:
        run = write_run(rows({"one": {"one-pass": [5.0], "a": [5.0, 6.0]}}), trained_on_musdb18_test=seen)

        assert words in headline(run).caveat


class TestReportData:
    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ("{name: htdemucs, weights: null}", "htdemucs"),
            ("{name: 'spleeter:4stems', weights: pretrained_models/4stems}", "spleeter:4stems (local weights)"),
            ("{config: model.yaml, weights: model.ckpt}", "RoFormerSeparator (local weights)"),
            ("null", "RoFormerSeparator"),
        ],
    )
    def test_a_separator_has_its_name_and_not_that_of_a_file(
        self, write_run: Callable[..., Path], given: str, name: str
    ) -> None:
        run = write_run(rows({"one": {"one-pass": [5.0], "a": [5.0, 6.0]}}), separator="RoFormerSeparator")
        (run / "config.yaml").write_text(f"model: {{separator: {{init_args: {given}}}}}\n")

        assert ReportData(read_run(run, "si_sdr")).separator == name

    def test_the_best_method_comes_first_and_what_is_given_the_references_last(
        self, write_run: Callable[..., Path]
    ) -> None:
        songs = {"one": {"one-pass": [5.0], "oracle": [5.0, 9.0], "a": [5.0, 5.5], "b": [5.0, 6.0], "c": [5.0, 4.0]}}

        data = ReportData(read_run(write_run(rows(songs), ("oracle",)), "si_sdr"))

        assert [gain.method for gain in data.gains] == ["b", "a", "c", "oracle"]
        assert data.best is not None
        assert data.best.method == "b"

    def test_the_best_step_of_a_song_is_its_own(self, write_run: Callable[..., Path]) -> None:
        songs = {"one": {"one-pass": [5.0], "a": [5.0, 6.0, 4.0]}, "two": {"one-pass": [1.0], "a": [1.0, 0.5, 3.0]}}

        one, two = ReportData(read_run(write_run(rows(songs)), "si_sdr")).song_lines()

        assert (one.best_step, one.best, one.gains) == (1, 1.0, {"a": -1.0})
        assert (two.best_step, two.best, two.one_pass) == (2, 2.0, 1.0)

    def test_a_summary_without_methods_is_named(self, write_run: Callable[..., Path]) -> None:
        run = write_run(rows({"one": {"one-pass": [5.0]}}), methods=[])

        with pytest.raises(MdxError, match=r"summary\.json does not name the methods"):
            ReportData(read_run(run, "si_sdr"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, clip: dict[str, Tensor], small_htdemucs_file: Path) -> Path:
    """The folder of a real run over three songs, of which the first one's vocals are silent."""
    root = tmp_path_factory.mktemp("root")
    for number, name in enumerate((SILENT, "second & third", "x")):
        (folder := root / "songs" / name).mkdir(parents=True)
        for stem in SOURCES:
            waveform = clip[stem][:, number * RATE : number * RATE + 3 * RATE // 2]
            waveform = torch.zeros_like(waveform) if (number, stem) == (0, "vocals") else waveform
            soundfile.write(folder / f"{stem}.wav", waveform.T.numpy(), RATE, subtype="FLOAT")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        settings = ("--model.targets", "[vocals,bass]", "--model.method.steps", "2", "--model.ensemble", "true")
        config = ("-c", str(STUDY_HTDEMUCS), "--model.separator.weights", str(small_htdemucs_file))
        assert main(("test", *config, "--data.root", "songs", "--data.trim", "null", *settings)) == 0
        assert main(("report", "logs/htdemucs/version_0")) == 0
    return root / "logs" / "htdemucs" / "version_0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"there is no browser here ({', '.join(BROWSERS)}): apt-get install chromium")
    quiet = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--mute-audio")  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page; whatever a test does with it, nothing may be complained of and nothing asked for."""
    faults: list[str] = []
    asked: list[str] = []
    opened: list[Page] = []

    def show(path: Path, **settings: object) -> Page:
        page = browser.new_context(**settings).new_page()  # type: ignore[arg-type]
        opened.append(page)
        page.add_init_script(EAR)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.set_default_timeout(10_000)
        page.goto(path.as_uri())
        return page

    yield show
    visited = [page.url.split("#")[0] for page in opened]
    for page in opened:
        page.context.close()
    assert faults == []
    assert [url for url in asked if not url.startswith("data:")] == visited


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """A folder for what a test looks at, to be looked at by people too."""
    folder = tmp_path / "screenshots"
    folder.mkdir()
    return folder


def player(page: Page, song: str, source: str) -> Locator:
    return page.get_by_label(f"{source} of {song}")


def position(player: Locator) -> float:
    return float(player.locator(".position").input_value())


def until(page: Page, true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits; Playwright's own waiting on expressions is stopped by the page's policy."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        page.wait_for_timeout(30)


def plays(player: Locator) -> None:
    """Waits until the position has moved."""
    before = position(player)
    until(player.page, lambda: abs(position(player) - before) > 0.05)


def loudness(page: Page) -> float:
    return page.evaluate("loudness()")


def open_all(page: Page) -> None:
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")


def column(page: Page, number: int) -> list[str]:
    return [text.strip() for text in page.locator(f".sorts tbody tr > :nth-child({number})").all_inner_texts()]


class TestPage:
    def test_it_holds_all_parts_and_loads_nothing(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")

        assert page.get_by_role("heading", level=2).all_inner_texts() == [
            "Gains over one pass", "Between the bounds", "Song by song", "Listen", "The run",
        ]  # fmt: skip
        assert page.get_by_role("img", name="vocals:").count() == 3
        assert page.locator(".sorts tbody tr").count() == 3 * 2
        assert page.locator(".player").count() == 3 * 2
        open_all(page)
        assert page.get_by_text("htdemucs (local weights), DemucsSeparator").is_visible()
        shown = page.locator("body").inner_text().replace(page.locator("pre").inner_text(), "")
        assert "small.safetensors" not in shown  # Weights are named after the separator, not after their file.
        assert page.get_by_text("torch 2").is_visible()

    def test_the_first_chart_has_the_gains_on_their_own_scale(self, run: Path, show: Callable[..., Page]) -> None:
        data = ReportData(read_run(run, "si_sdr"))
        page = show(run / "report.html")

        first = page.locator("main svg").first

        assert first.get_attribute("aria-label") == (
            "all sources: mean gain of each method over one pass, with its interval over songs"
        )
        texts = first.locator("text").all_text_contents()
        assert set(data.methods) <= set(texts)
        assert "oracle" not in texts
        ticks = [float(text.replace("−", "-")) for text in texts if re.fullmatch(r"−?\d+(\.\d+)?", text)]
        ends = [end for gain in data.gains if gain.method in data.methods for end in (gain.low, gain.high)]
        assert max(map(abs, ticks)) <= 1.5 * max(map(abs, ends))

    @pytest.mark.parametrize("width", [1280, 390])
    def test_the_line_of_no_gain_crosses_no_name(
        self, width: int, write_run: Callable[..., Path], show: Callable[..., Page]
    ) -> None:
        names = ("subtract-others", "an ensemble of schedules", "linear", "heun")
        methods = {name: [5.0, 4.0 + number] for number, name in enumerate(names)}
        folder = write_run(rows({song: {"one-pass": [5.0], **methods} for song in ("one", "two", "three")}))
        assert main(["report", str(folder)]) == 0

        page = show(folder / "report.html", viewport={"width": width, "height": 900})

        chart = page.locator("figure", has_text="all sources").first
        lines = [each.bounding_box() for each in chart.locator(".zero path").all()]
        labels = [each.bounding_box() for each in chart.locator(".label text").all()]
        assert lines
        assert len(labels) == 2 * len(names)
        for line, text in product(lines, labels):
            assert line
            assert text
            apart = line["y"] > text["y"] + 0.8 * text["height"] or text["y"] > line["y"] + line["height"]
            assert apart or not text["x"] < line["x"] < text["x"] + text["width"]

    @pytest.mark.parametrize("width", [1280, 390])
    def test_the_best_method_can_be_heard(
        self, run: Path, show: Callable[..., Page], screenshots: Path, width: int
    ) -> None:
        best = ReportData(read_run(run, "si_sdr")).best
        assert best is not None
        page = show(run / "report.html", viewport={"width": width, "height": 900})
        bass = player(page, SILENT, "bass")
        row = bass.locator("label").filter(has_text="the best method")

        assert f"{best.method}, step {best.step}" in row.inner_text()
        bass.get_by_label("one pass").focus()
        page.keyboard.press("ArrowDown")
        assert row.get_by_role("radio").is_checked()
        page.keyboard.press("Space")
        plays(bass)
        until(page, lambda: loudness(page) > 1e-4)
        page.keyboard.press("Space")
        bass.screenshot(path=screenshots / f"player-{width}.png")

    def test_switching_keeps_the_position_and_changes_what_is_heard(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")
        silent = player(page, SILENT, "vocals")

        silent.get_by_label("mixture").check(force=True)
        silent.get_by_role("button", name="Play").click()
        plays(silent)
        until(page, lambda: loudness(page) > 0.01)
        assert silent.get_by_role("button", name="Pause").is_visible()

        page.evaluate("""() => {
            const at = document.querySelector(".position");
            window.seen = [];
            const look = () => {
                window.seen.push([performance.now() / 1000, Number(at.value)]);
                requestAnimationFrame(look);
            };
            look();
        }""")
        until(page, lambda: 0.4 < position(silent) < 0.9)  # far from the end of 1.5 s, where it begins again
        silent.get_by_label("reference").check(force=True)
        until(page, lambda: loudness(page) < 1e-4)  # the true vocals are silent
        plays(silent)
        silent.get_by_label("mixture").check(force=True)
        until(page, lambda: loudness(page) > 0.01)
        seen: list[tuple[float, float]] = page.evaluate("window.seen")
        # How far the position is from where the time that has passed would put it, either way round.
        off = [(after - before - (then - now)) % 1.5 for (now, before), (then, after) in pairwise(seen)]
        assert len(seen) > 5
        assert max(min(each, 1.5 - each) for each in off) < 0.3

    def test_one_player_stops_the_other(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")
        first, second = (player(page, SILENT, source) for source in ("vocals", "bass"))

        for each in (first, second):
            each.get_by_role("button", name="Play").click()
            plays(each)

        assert first.get_by_role("button", name="Play").is_visible()
        assert second.get_by_role("button", name="Pause").is_visible()

    def test_a_player_is_worked_by_keys(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")
        bass = player(page, SILENT, "bass")
        clips = bass.get_by_role("radio")
        assert clips.nth(1).is_checked()

        clips.nth(1).focus()
        page.keyboard.press("ArrowRight")
        assert position(bass) == pytest.approx(1, abs=0.01)
        page.keyboard.press("ArrowLeft")
        assert position(bass) == 0
        page.keyboard.press("ArrowDown")
        assert clips.nth(2).is_checked()
        page.keyboard.press("1")
        assert clips.nth(0).is_checked()
        page.keyboard.press("ArrowUp")
        assert clips.last.is_checked()
        page.keyboard.press("Space")
        plays(bass)
        page.keyboard.press("Space")
        assert bass.get_by_role("button", name="Play").is_visible()
        bass.get_by_role("button", name="Play").focus()
        page.keyboard.press("Space")
        plays(bass)

    def test_a_picture_is_pointed_at_to_go_there(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")
        bass = player(page, SILENT, "bass")
        picture = bass.locator(".picture").last
        box = picture.bounding_box()
        assert box is not None

        picture.click(position={"x": box["width"] / 2, "y": 5})

        assert position(bass) == pytest.approx(0.75, abs=0.02)
        assert bass.get_by_role("radio").last.is_checked()

    @pytest.mark.parametrize("key", [None, "Enter", "Space"])
    def test_the_table_sorts(self, run: Path, show: Callable[..., Page], key: str | None) -> None:
        page = show(run / "report.html")
        heading = page.get_by_role("columnheader", name="one pass")
        button = heading.get_by_role("button")

        def press() -> None:
            if key is None:
                button.click()
            else:
                button.focus()
                page.keyboard.press(key)

        press()
        up = column(page, 3)
        numbers = [float(text.replace("−", "-")) for text in up[:-1]]
        assert up[-1] == "silent"
        assert numbers == sorted(numbers)
        assert len(set(numbers)) == 5
        assert heading.get_attribute("aria-sort") == "ascending"
        press()
        assert column(page, 3) == [*reversed(up[:-1]), "silent"]
        assert heading.get_attribute("aria-sort") == "descending"
        page.get_by_role("button", name="song").click()
        assert column(page, 1) == sorted(column(page, 1))
        assert heading.get_attribute("aria-sort") == "none"

    def test_the_legend_takes_a_method_out_of_the_charts(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")
        button = page.locator(".legend").get_by_role("button").first
        lines = page.locator("svg .m0")
        assert any(line.is_visible() for line in lines.all())

        button.click()

        assert button.get_attribute("aria-pressed") == "false"
        assert lines.count() > 4
        assert not any(line.is_visible() for line in lines.all())
        assert any(line.is_visible() for line in page.locator("svg .m1").all())

    def test_the_tab_key_reaches_everything(self, run: Path, show: Callable[..., Page]) -> None:
        page = show(run / "report.html")
        open_all(page)
        page.evaluate("""() => {
            window.left = new Set(document.querySelectorAll("a, button, summary, .position, [tabindex='0'], .clips"));
            document.activeElement.blur();
            window.scrollTo(0, 0);
        }""")
        reached = """() => {
            const at = document.activeElement;
            window.left.delete(at.matches(".clips input") ? at.closest(".clips") : at);
            return window.left.size;
        }"""

        count: int = page.evaluate("window.left.size")
        for _ in range(count + 5):
            page.keyboard.press("Tab")
            if page.evaluate(reached) == 0:
                break

        assert count > 40
        assert page.evaluate("[...window.left].map((each) => each.outerHTML.slice(0, 80))") == []

    @pytest.mark.parametrize("width", [320, 390, 768, 1280])
    def test_the_page_does_not_scroll_sideways(
        self, run: Path, show: Callable[..., Page], screenshots: Path, width: int
    ) -> None:
        page = show(run / "report.html", viewport={"width": width, "height": 900})
        open_all(page)

        page.screenshot(path=screenshots / f"report-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        sizes: list[float] = page.evaluate(
            "[...document.querySelectorAll('p, td, label')].map((each) => parseFloat(getComputedStyle(each).fontSize))"
        )
        assert min(sizes) >= 13

    @pytest.mark.parametrize("width", [390, 1280])
    def test_a_table_that_is_too_wide_scrolls_in_its_box_and_says_so(
        self, write_run: Callable[..., Path], show: Callable[..., Page], screenshots: Path, width: int
    ) -> None:
        methods = {f"a method with a name of its own, number {n}": [5.0, 5.0 + n / 10] for n in range(12)}
        songs = {f"song {n} " * 8: {"one-pass": [5.0], "oracle": [5.0, 15.0 + n], **methods} for n in range(3)}
        made = [row for source in ("vocals", "drums", "bass", "other") for row in rows(songs, source)]
        folder = write_run(made, ("oracle",))
        assert main(["report", str(folder)]) == 0

        page = show(folder / "report.html", viewport={"width": width, "height": 900})
        page.screenshot(path=screenshots / f"wide-tables-{width}.png", full_page=True)

        assert page.evaluate("document.documentElement.scrollWidth") == width
        for wide in page.locator(".wide").all():
            box, frame, cue = wide.locator(".scroll"), wide.locator(".frame"), wide.locator(".cue")
            hidden = box.evaluate("(box) => box.scrollWidth - box.clientWidth")
            assert cue.is_visible() == (hidden > 1)
            assert ("more" in (frame.get_attribute("class") or "")) == (hidden > 1)
        songs_table = page.locator(".wide").last
        assert songs_table.locator(".cue").is_visible()
        songs_table.locator(".scroll").evaluate("(box) => box.scrollTo(box.scrollWidth, 0)")
        until(page, lambda: songs_table.locator(".frame").get_attribute("class") == "frame")  # no more to the right

    def test_it_is_legible_by_day_and_by_night(self, run: Path, show: Callable[..., Page]) -> None:
        papers = []
        for scheme in ("light", "dark"):
            page = show(run / "report.html", color_scheme=scheme)
            paper, *inks = page.evaluate("""() => {
                const of = (name, what) => getComputedStyle(document.querySelector(name))[what];
                return [of("body", "backgroundColor"), of("body", "color"), of(".caveat", "color"), of("a", "color"),
                        of("figure svg text", "fill")];
            }""")
            papers.append(paper)
            for ink in inks:
                assert contrast(paper, ink) > 4.5
        assert len(set(papers)) == 2


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, after WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class TestCommand:
    def test_names_are_harmless(
        self, write_run: Callable[..., Path], tmp_path: Path, show: Callable[..., Page]
    ) -> None:
        songs = {name: {"one-pass": [5.0], EVIL: [5.0, 6.0], "$x_": [5.0, 6.0]} for name in (EVIL, "two")}
        folder = write_run(rows(songs, source=EVIL), licence_of_weights=EVIL, weights={EVIL: EVIL}, targets=[EVIL])
        (folder / "config.yaml").write_text(f"# {EVIL}\nmodel: {{separator: {{init_args: {{name: '{EVIL}'}}}}}}\n")

        assert main(["report", str(folder), "--out", str(tmp_path / "a.html")]) == 0

        page = show(tmp_path / "a.html")  # a dialogue or an error would be a fault
        assert EVIL in page.locator(".sorts tbody th").all_inner_texts()
        assert page.locator("img[onerror]").count() == 0
        assert "<script>alert" not in (tmp_path / "a.html").read_text()

    def test_the_policy_of_the_page_stops_scripts_that_are_not_its_own(
        self, run: Path, tmp_path: Path, browser: Browser
    ) -> None:
        text = (run / "report.html").read_text().replace("</main>", "<script>window.evil = 1</script></main>")
        (tmp_path / "evil.html").write_text(text)
        page = browser.new_page()

        page.goto((tmp_path / "evil.html").as_uri())

        assert page.evaluate("window.evil") is None
        page.close()

    def test_without_sound_it_says_how_to_get_it(
        self, write_run: Callable[..., Path], show: Callable[..., Page]
    ) -> None:
        folder = write_run(rows({"one": {"one-pass": [5.0], "a": [5.0, 6.0]}}))

        assert main(["report", str(folder / "results.csv")]) == 0

        page = show(folder / "report.html")
        assert "--sound.songs 3" in page.locator("#listen").inner_text()
        open_all(page)
        assert page.get_by_text("not recorded").first.is_visible()

    def test_another_metric_and_file(self, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "sdr.html"

        assert main(["report", str(run), "--metric", "sdr", "--out", str(out)]) == 0

        assert f"wrote {out}" in capsys.readouterr().out
        text = out.read_text()
        assert "dB SDR" in text
        assert "SI-SDR (dB)" not in text
        assert [path.name for path in tmp_path.iterdir() if path.suffix != ".csv"] == ["sdr.html"]
        assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text) == []

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["nowhere"], "nowhere holds no results.csv"),
            (["version_0", "--metric", "loudness"], "results.csv: there is no metric 'loudness', but si_sdr"),
            (["version_0", "--out", "no/where.html"], "there is no folder no"),
        ],
    )
    def test_a_fault_is_one_line(
        self,
        write_run: Callable[..., Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        named: str,
    ) -> None:
        write_run(rows({"one": {"one-pass": [5.0], "a": [5.0, 6.0]}}))
        monkeypatch.chdir(tmp_path)

        assert main(["report", *arguments]) == 1

        error = capsys.readouterr().err
        assert named in error
        assert error.count("\n") == 1
