"""What TensorBoard shows of a run: in the event files, from a real server, and in a real browser."""

import io
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mdx_progressive.cli.main import main
from mdx_progressive.evaluation.results import read_rows
from mdx_progressive.evaluation.spectrograms import band_levels, log_bands
from tests.support.command import NARROW
from tests.support.paths import CONFIGS, STUDY
from tests.support.signals import RATE, noise

SONG = "The Easton Ellises - Falcon 69"
SOURCES = ("vocals", "accompaniment")
METRICS = ("si_sdr", "sdr", "bsseval_sdr", "lsd", "log_wmse")
METHODS = ("one-pass", "oracle", "linear", "euler")
RUNS = {"one-pass": "0-one-pass", "oracle": "1-oracle", "linear": "linear", "euler": "euler"}
"""The names of their runs below that of the whole."""
GAINS = {"SI-SDR gain", *(f"SI-SDR gain/{source}" for source in SOURCES)}
VALUES = {f"{metric}/{source}" for metric in METRICS for source in SOURCES}
IMAGES = {
    "schedules",
    *(f"{kind}/{metric}" for kind in ("curves", "songs") for metric in METRICS),
    *(f"spectrograms/{SONG}/{source}" for source in SOURCES),
}
TEXTS = {f"{tag}/text_summary" for tag in ("facts", "settings", *(f"results/{metric}" for metric in METRICS))}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60.0
"""Seconds."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `test` leaves in logs/, of a short chunk and all metrics."""
    folder = tmp_path_factory.mktemp("tensorboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        args = [
            "test", "-c", str(STUDY), *NARROW, "--data.chunk", "1.5", "--model.method.steps", "2",
            "--model.compare", f"[{CONFIGS / 'method' / 'euler.yaml'}]",
            "--model.metrics", "[SiSdr, Sdr, BssEval, LogSpectralDistance, LogWmse]",
        ]  # fmt: skip
        assert main(args) == 0
    return folder / "logs"


@pytest.fixture(scope="module")
def run(logs: Path) -> Path:
    return logs / "demo" / "version_0"


class TestEvents:
    def test_the_run_has_images_sound_and_text_under_their_tags(self, run: Path) -> None:
        tags = EventAccumulator(str(run)).Reload().Tags()

        assert set(tags["images"]) == IMAGES
        assert {f"{SONG}/mixture", *(f"{SONG}/{source}/one-pass" for source in SOURCES)} <= set(tags["audio"])
        assert set(tags["tensors"]) == {"custom_scalars__config__", *TEXTS}

    def test_each_method_has_a_curve_of_each_metric_and_source_and_its_gains(self, run: Path) -> None:
        for method, name in RUNS.items():
            tags = EventAccumulator(str(run / name)).Reload().Tags()
            assert set(tags["scalars"]) == (VALUES if method == "oracle" else VALUES | GAINS)

    def test_the_last_step_can_be_heard(self, run: Path) -> None:
        events = EventAccumulator(str(run)).Reload()

        for source in SOURCES:
            clips = (events.Audio(f"{SONG}/{source}/{name}")[0] for name in ("last step (2)", "one-pass"))
            last, one_pass = (clip.encoded_audio_string for clip in clips)
            assert len(last) == len(one_pass)
            assert last != one_pass

    def test_smoothing_changes_neither_the_gains_nor_the_references(self, run: Path) -> None:
        results = read_rows(run / "results.csv").query("metric == 'si_sdr'")
        last = results.groupby(["method", "source"])["value"].last()

        for method in ("one-pass", "oracle"):
            events = EventAccumulator(str(run / RUNS[method])).Reload()
            for source in SOURCES:
                points = events.Scalars(f"si_sdr/{source}")
                assert [point.step for point in points] == [0, 1, 2, 3]  # as far as that of the most steps
                assert [point.value for point in points] == pytest.approx([last[method, source]] * 4, abs=1e-5)
        for method in ("one-pass", "linear", "euler"):
            events = EventAccumulator(str(run / RUNS[method])).Reload()
            gains = [last[method, source] - last["one-pass", source] for source in SOURCES]
            for tag, gain in zip(("SI-SDR gain/vocals", "SI-SDR gain/accompaniment"), gains, strict=True):
                assert [point.value for point in events.Scalars(tag)] == pytest.approx([gain], abs=1e-5)
            assert [point.value for point in events.Scalars("SI-SDR gain")] == pytest.approx([sum(gains) / 2], abs=1e-5)

    def test_the_images_are_pictures_of_something(self, run: Path) -> None:
        events = EventAccumulator(str(run)).Reload()

        for tag in IMAGES:
            (image,) = events.Images(tag)
            picture = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))
            assert picture.shape[1] == 1600
            assert picture.shape[0] > 600
            assert picture.std() > 10, tag

    def test_the_text_has_the_facts_and_the_numbers(self, run: Path) -> None:
        events = EventAccumulator(str(run)).Reload()

        texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in TEXTS}

        assert "| spleeter:2stems, SpleeterSeparator" in texts["facts/text_summary"]
        assert "testcheckpoint" not in texts["facts/text_summary"]  # the name of a file
        results = read_rows(run / "results.csv")
        last = results.query("method == 'linear' and source == 'vocals' and metric == 'lsd' and step == 2")["value"]
        assert "lower is better" in texts["results/lsd/text_summary"]
        assert f"| {last.item():.2f} (2)" in texts["results/lsd/text_summary"]
        gains = results.query("metric == 'si_sdr'").pivot_table(
            values="value", index="source", columns=["method", "step"]
        )
        of_euler = float((gains["euler", 3] - gains["one-pass", 0]).mean())
        assert f"| {of_euler:+.2f} " in texts["results/si_sdr/text_summary"]
        assert "smooths" in texts["results/si_sdr/text_summary"]
        assert "    class_path: mdx_progressive.SpleeterSeparator" in texts["settings/text_summary"]

    def test_the_best_step_of_a_distance_is_its_lowest(self, run: Path) -> None:
        results = read_rows(run / "results.csv").query("metric == 'lsd' and method == 'linear'")
        summary = json.loads((run / "summary.json").read_text())
        text = EventAccumulator(str(run)).Reload().Tensors("results/lsd/text_summary")[0].tensor_proto.string_val[0]

        assert summary["metrics"]["lsd"]["lower_is_better"]
        for source in SOURCES:
            values = results[results["source"] == source].sort_values("step")["value"].tolist()
            best = int(np.argmin(values))
            assert f"{values[best]:.2f} ({best})" in text.decode()


class _Server:
    """TensorBoard in a process of its own."""

    def __init__(self, logs: Path, port: int) -> None:
        self.port = port
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--port", str(port)]
        self._process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def get(self, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Content-Type": "application/json"}
            content = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", f"/data/{path}", content, headers)
            answer = connection.getresponse()
            assert answer.status == 200, (path, answer.status)
            return json.load(answer)
        finally:
            connection.close()

    def wait(self, runs: set[str]) -> None:
        """Until it has loaded all runs."""
        end = time.monotonic() + PATIENCE
        found: set[str] = set()
        while not runs <= found:
            assert self._process.poll() is None, "TensorBoard has ended"
            assert time.monotonic() < end, f"TensorBoard has found {found} of {runs}"
            time.sleep(0.3)
            try:
                found = set(self.get("runs"))
            except OSError:
                continue

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def server(logs: Path) -> Iterator[_Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = _Server(logs, port)
    try:
        server.wait({"demo/version_0", *(f"demo/version_0/{name}" for name in RUNS.values())})
        yield server
    finally:
        server.stop()


class TestServer:
    def test_it_serves_the_tags(self, server: _Server) -> None:
        scalars = server.get("plugin/scalars/tags")
        images, audio, text = (server.get(f"plugin/{name}/tags") for name in ("images", "audio", "text"))

        for name in RUNS.values():
            assert set(scalars[f"demo/version_0/{name}"]) >= VALUES
        assert set(images["demo/version_0"]) == IMAGES
        assert f"{SONG}/mixture" in audio["demo/version_0"]
        assert set(text["demo/version_0"]) == TEXTS

    def test_the_references_come_first_by_time_and_by_name(self, server: _Server) -> None:
        # TensorBoard gives colours in the first order, and lists runs in either.
        runs = server.get("runs")

        first = ["demo/version_0", "demo/version_0/0-one-pass", "demo/version_0/1-oracle"]
        assert runs[:3] == first
        assert sorted(runs)[:3] == first

    def test_the_custom_scalars_lay_the_methods_of_a_metric_into_one_chart(self, server: _Server) -> None:
        layout = server.get("plugin/custom_scalars/layout")

        titles = [category["title"] for category in layout["category"]]
        assert titles[0] == "SI-SDR (dB)"
        assert "Log-spectral distance (dB, lower is better)" in titles

    def test_runs_can_be_sorted_by_settings_and_final_metrics(self, server: _Server) -> None:
        experiment = server.get("plugin/hparams/experiment", {"experimentName": "", "includeMetrics": True})
        names = {info["name"] for info in experiment["hparamInfos"]}
        metrics = [info["name"]["tag"] for info in experiment["metricInfos"]]
        wanted = {
            "colParams": [
                {"hparam": "method", "includeInResult": True},
                {"hparam": "separator", "includeInResult": True},
                {"metric": {"tag": metrics[0], "group": ""}, "order": "ORDER_DESC", "includeInResult": True},
            ],
            "startIndex": 0,
            "sliceSize": 50,
            "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING", "STATUS_FAILURE"],
        }
        groups = server.get("plugin/hparams/session_groups", wanted)["sessionGroups"]

        assert {
            "separator", "separator.weights", "precision", "data.chunk", "data.mixture",
            "method", "schedule", "steps", "passes", "highest weight",
        } <= names  # fmt: skip
        assert metrics[:3] == ["SI-SDR gain", "SI-SDR gain/accompaniment", "SI-SDR gain/vocals"]
        assert set(metrics) == VALUES | GAINS
        assert {group["hparams"]["separator"] for group in groups} == {"spleeter:2stems"}
        assert {group["hparams"]["method"] for group in groups} == set(METHODS)
        values = (value for group in groups for value in group["metricValues"])
        gains = [value["value"] for value in values if value["name"]["tag"] == metrics[0]]
        assert gains == sorted(gains, reverse=True)
        assert 0 in gains  # that of one pass


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"there is no browser ({', '.join(BROWSERS)}): apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        try:
            yield chromium.new_page(viewport={"width": 1500, "height": 1100})
        finally:
            chromium.close()


@pytest.mark.parametrize(
    ("tab", "shown"),
    [
        ("timeseries", ["SI-SDR gain", "demo/version_0/0-one-pass"]),
        ("scalars", ["SI-SDR gain/vocals"]),
        ("custom_scalars", ["SI-SDR (dB)", "Log-spectral distance (dB, lower is better)"]),
        ("images", ["curves/si_sdr", "schedules"]),
        ("audio", [f"{SONG}/mixture", f"{SONG}/vocals/last step (2)"]),
        ("text", ["licence of the weights"]),
        ("hparams", ["highest weight", "euler", "SI-SDR gain"]),
    ],
)
def test_a_browser_shows_it(server: _Server, page: Page, tmp_path: Path, tab: str, shown: list[str]) -> None:
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{server.port}/#{tab}")

    for text in shown:
        page.get_by_text(text, exact=True).first.wait_for(timeout=PATIENCE * 1000)
    (tmp_path / "screenshots").mkdir()
    page.screenshot(path=tmp_path / "screenshots" / f"{tab}.png")


def test_an_address_opens_it_unsmoothed(server: _Server, page: Page) -> None:
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{server.port}/?smoothing=0#timeseries")

    box = page.get_by_role("spinbutton", name="Smoothing")
    box.wait_for(timeout=PATIENCE * 1000)
    assert box.input_value() == "0"


def test_a_tone_lies_in_the_band_of_its_frequency() -> None:
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)
    picture = band_levels(tone[None], RATE, log_bands(RATE))

    loudest = picture.mean(axis=1).argmax()
    edges = log_bands(RATE)
    # A bin is 10.8 Hz wide, a band there 40.
    assert edges[loudest - 1] < 1000 < edges[loudest + 2]
    assert picture.shape[0] == len(edges) - 1


@pytest.mark.parametrize("time", [1, 1000, 100_000])
def test_a_spectrogram_of_any_length_has_a_frame(time: int) -> None:
    assert 1 <= band_levels(noise(1, level=0.1)[:, :1].expand(2, time), RATE, log_bands(RATE)).shape[1] <= 600
