"""The question of a run and its answer, in three sentences that are true in every case."""

import math
from typing import NamedTuple

from mdx_progressive.evaluation.report.data import ReportData, decimal, interval
from mdx_progressive.evaluation.statistics import Gain

_FEW = 10
"""Songs below which an interval over songs is called rough."""


class Headline(NamedTuple):
    """Three sentences.

    Args:
        question: The question of the run.
        answer: The gain with its interval, by source, and its cost.
        caveat: What limits the answer.
    """

    question: str
    answer: str
    caveat: str


def report_headline(data: ReportData) -> Headline:
    """The three sentences of a run."""
    songs = data.songs
    where = f"“{songs[0]}”" if len(songs) == 1 else f"these {len(songs)} songs"
    question = (
        f"How much better does {data.separator} separate {where} when it is applied again and again at inference time, "
        "with nothing trained, and at what cost?"
    )
    best = data.best
    if best is None:
        reason = "every source is silent" if data.methods else "no method was run besides one pass"
        return Headline(question, f"There is no answer: {reason}.", _sentence(_run_caveats(data)))
    caveats = [*_method_caveats(data, best), *_run_caveats(data)]
    return Headline(question, _sentence(_answer(data, best)), _sentence(caveats))


def _answer(data: ReportData, best: Gain) -> list[str]:
    several = len(data.methods) > 1
    method = f"the best of {len(data.methods)} methods, “{best.method}”," if several else f"“{best.method}”"
    mean = round(best.mean, 2)
    size = f"{decimal(best.mean)}{data.unit} {data.scale.label}"
    if mean > 0:
        claim = f"{method} gains {size} over one pass"
    elif mean:
        claim = f"not at all: {method} changes {size} against one pass"
    else:
        claim = f"not at all: {method} ends where one pass is ({size})"
    if math.isnan(best.low):
        claim += " on this one song"
    elif mean > 0 and best.low <= 0:
        claim += f" in the mean, which may be chance: the {interval(best)} holds zero"
    else:
        claim += f" in the mean ({interval(best)})"
    clauses = [f"{claim}, at {best.passes:.3g} passes over the mixture for each source instead of 1"]
    if len(best.by_source) > 1:
        gains = ", ".join(f"{source} {decimal(gain)}" for source, gain in best.by_source.items())
        clauses.append(f"by source: {gains}")
    for gain in data.gains:
        if gain.method == data.oracle:
            clauses.append(f"the oracle, which is given the true stems, gains {decimal(gain.mean)}{data.unit}")
    return clauses


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


def _sentence(clauses: list[str]) -> str:
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
