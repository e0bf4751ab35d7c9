"""The answer of a run, in a sentence and a row of figures that are true in every case, and what limits it."""

import math
from typing import NamedTuple

from mdx_progressive.evaluation.report.data import ReportData, decimal
from mdx_progressive.evaluation.statistics import FEWEST_SONGS, Gain
from mdx_progressive.evaluation.timings import three_digits

_FEW = 10
"""Songs below which an interval over songs is called rough."""


class Figure(NamedTuple):
    """A number that belongs to the answer.

    Args:
        label: What it is.
        value: The number with its unit.
        note: How it is meant.
    """

    label: str
    value: str
    note: str


class Headline(NamedTuple):
    """The answer.

    Args:
        answer: One sentence: which method, on what, by how much.
        figures: The gain, its interval, the share that improves, what it costs; none where there is no answer.
        caveat: What limits the answer.
    """

    answer: str
    figures: list[Figure]
    caveat: str


def report_headline(data: ReportData) -> Headline:
    """The answer of a run."""
    best = data.best
    if best is None:
        reason = "every source is silent" if data.methods else "no method was run besides one pass"
        return Headline(f"There is no answer: {reason}.", [], _sentences(_run_caveats(data)))
    caveats = [*_method_caveats(data, best), *_run_caveats(data)]
    return Headline(_answer(data, best), _figures(data, best), _sentences(caveats))


def _answer(data: ReportData, best: Gain) -> str:
    count = len(data.methods)
    songs = f"“{data.songs[0]}”" if len(data.songs) == 1 else f"these {len(data.songs)} songs"
    on_average = "" if len(data.songs) == 1 else " on average"
    size = f"{decimal(abs(best.mean), sign=False)}{data.unit} {data.scale.label}"
    one_pass = f"one pass of {data.separator}"
    method = f"“{best.method}”, the best of {count} methods," if count > 1 else f"“{best.method}”"
    mean = round(best.mean, 2)
    if mean > 0:
        chance = ", which may be chance" if best.low <= 0 else ""
        return f"{method} separates {songs} {size} better than {one_pass}{on_average}{chance}."
    if mean == 0:
        return f"{method} separates {songs} no better than {one_pass}."
    if count > 1:
        loss = f"the best of {count}, “{best.method}”, loses {size}{on_average}"
        return f"No method separates {songs} better than {one_pass}: {loss}."
    return f"{method} separates {songs} {size} worse than {one_pass}{on_average}."


def _figures(data: ReportData, best: Gain) -> list[Figure]:
    songs = len(data.songs)
    mean_over = f"mean over {songs} songs" if songs > 1 else "on this one song"
    if math.isnan(best.low):
        bounds = Figure(
            "95 % interval", "none", "one song has no interval" if songs == 1 else f"{songs} songs have no interval"
        )
    else:
        meaning = "holds zero: the gain may be chance" if best.low <= 0 <= best.high else "does not hold zero"
        bounds = Figure("95 % interval", f"{decimal(best.low)} to {decimal(best.high)}{data.unit}", meaning)
    pairs = data.last_gains[data.last_gains["method"] == best.method]["gain"]
    stems = f"{int((pairs > 0).sum())} of {len(pairs)} stems are better than after one pass"
    times = data.times.get(best.method)
    return [
        Figure("gain over one pass", f"{decimal(best.mean)}{data.unit}", f"{data.scale.label}, {mean_over}"),
        bounds,
        Figure("improved", f"{100 * best.improved:.0f} %", stems),
        Figure("passes", f"{best.passes:.3g}", "of the network over the song, instead of 1"),
        Figure("time", f"×{three_digits(times.over_one_pass)}", "that of one pass, measured in this run")
        if times
        else Figure("time", "unknown", "it was not measured"),
    ]


def _method_caveats(data: ReportData, best: Gain) -> list[str]:
    caveats = []
    if len(data.songs) * len(best.by_source) > 1:
        change = "costs" if round(best.worst, 2) < 0 else "gains"
        size = decimal(abs(best.worst), sign=False)
        caveats.append(f"in its worst case ({best.worst_at}) it {change} {size}{data.unit}")
    if len(data.methods) > 1:
        caveats.append(f"it was picked among {len(data.methods)} methods by these very results, which flatters it")
    return caveats


def _run_caveats(data: ReportData) -> list[str]:
    count = len(data.songs)
    caveats = []
    if count == 1:
        caveats.append("one song has no interval and speaks for no other")
    elif count < FEWEST_SONGS:
        caveats.append(f"{count} songs are few, too few for an interval, and speak for no others")
    elif count < _FEW:
        caveats.append(f"{count} songs are few, and an interval over so few is rough")
    if data.oracle or data.methods:
        hindsight = "best steps and the oracle are" if data.oracle else "best steps are"
        caveats.append(f"{hindsight} known in hindsight only, with the true stems at hand")
    trained_on_test = data.facts.get("trained_on_musdb18_test")
    if trained_on_test:
        caveats.append("the weights were trained on MUSDB18’s test set, so results on its songs prove nothing")
    elif trained_on_test is None:
        caveats.append("it is unknown whether the weights were trained on MUSDB18’s test set")
    if count := len(data.failed):
        songs = "song could not be read and is" if count == 1 else "songs could not be read and are"
        caveats.append(f"{count} {songs} left out")
    if data.silent:
        chunks = "chunk of a source is" if data.silent == 1 else "chunks of sources are"
        caveats.append(f"{data.silent} silent {chunks} left out")
    return caveats


def _sentences(clauses: list[str]) -> str:
    return " ".join(f"{clause[:1].upper()}{clause[1:]}." for clause in clauses)
