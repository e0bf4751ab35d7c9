"""The question of a run and its answer, in three sentences that are true in every case."""

import math
from typing import NamedTuple

from mdx_progressive.evaluation.report.findings import Findings
from mdx_progressive.evaluation.statistics import Gain

_FEW = 10
"""Songs below which an interval over songs is called rough."""


class Answer(NamedTuple):
    """Three sentences.

    Args:
        question: What was asked.
        answer: What was found: the gain with its interval, by source, and what it costs.
        caveat: What has to be known to believe it.
    """

    question: str
    answer: str
    caveat: str


def decibels(value: float, sign: bool = True) -> str:
    """A level as it is printed.

    Example:
        >>> decibels(-0.123), decibels(2), decibels(-0.001), decibels(2, sign=False)
        ('−0.12', '+2.00', '+0.00', '2.00')
    """
    if math.isnan(value):
        return "–"
    rounded = round(value, 2) + 0.0  # Adding zero takes the sign off a negative one.
    return f"{rounded:{'+' if sign else ''}.2f}".replace("-", "−")


def answer(findings: Findings, separator: str) -> Answer:
    """The three sentences of a run.

    Args:
        findings: What the run has found.
        separator: What the separator is called.
    """
    songs = findings.songs
    where = f"“{songs[0]}”" if len(songs) == 1 else f"these {len(songs)} songs"
    question = (
        f"How much better does {separator} separate {where} when it is applied again and again at inference time, "
        "with nothing trained, and at what cost?"
    )
    best = findings.best
    if best is None:
        reason = "no method was run beside one pass" if not findings.methods else "every source is silent"
        return Answer(question, f"That can't be told: {reason}.", _sentence(_of_the_run(findings)))
    return Answer(
        question, _found(findings, best), _sentence([*_of_the_method(findings, best), *_of_the_run(findings)])
    )


def _found(findings: Findings, best: Gain) -> str:
    several = len(findings.methods) > 1
    who = f"the best of {len(findings.methods)} methods, “{best.method}”," if several else f"“{best.method}”"
    size = f"{decibels(best.mean)}{findings.unit} {findings.title}"
    one_song = math.isnan(best.low)
    interval = f"95 % interval {decibels(best.low)} to {decibels(best.high)}"
    if round(best.mean, 2) > 0:
        said = f"{who} gains {size} over one pass"
        if one_song:
            said += " on this one song"
        elif best.low > 0:
            said += f" in the mean ({interval})"
        else:
            said += f" in the mean, which may be chance: the {interval} holds zero"
    else:
        change = f"changes {size}" if round(best.mean, 2) else f"ends where one pass is ({size})"
        said = f"not at all: {who} {change}"
        said += " against one pass" if round(best.mean, 2) else ""
        said += " on this one song" if one_song else f" in the mean ({interval})"
    passes = f"{best.passes:.3g}"
    said += f", at {passes} passes over the mixture for each source instead of 1"
    if len(best.by_source) > 1:
        said += "; by source: " + ", ".join(f"{source} {decibels(gain)}" for source, gain in best.by_source.items())
    if findings.oracle is not None:
        said += f"; the oracle, which is told the true stems, gains {decibels(findings.oracle.mean)}{findings.unit}"
    return _capital(said) + "."


def _of_the_method(findings: Findings, best: Gain) -> list[str]:
    found = []
    measured = len(findings.songs) * len(best.by_source)
    if measured > 1:
        loss = "costs" if round(best.worst, 2) < 0 else "gains"
        size = decibels(abs(best.worst), sign=False)
        found.append(f"in its worst case ({best.worst_at}) it {loss} {size}{findings.unit}")
    if len(findings.methods) > 1:
        found.append(f"it was picked among {len(findings.methods)} methods by these very results, which flatters it")
    return found


def _of_the_run(findings: Findings) -> list[str]:
    number = len(findings.songs)
    found = []
    if number == 1:
        found.append("one song has no interval and speaks for no other")
    elif number < _FEW:
        found.append(f"{number} songs are few, and an interval over so few is rough")
    if findings.oracle_method is not None or findings.methods:
        known = "best steps and the oracle are" if findings.oracle_method is not None else "best steps are"
        found.append(f"{known} known in hindsight only, with the true stems at hand")
    seen = findings.run.facts.get("trained_on_musdb18_test")
    if seen:
        found.append("the weights were trained on MUSDB18’s test set, so results on its songs prove nothing")
    elif seen is None:
        found.append("it is unknown whether the weights have seen MUSDB18’s test set")
    if findings.left_out:
        number = len(findings.left_out)
        found.append(
            f"{number} song{'s' if number > 1 else ''} could not be read and {'are' if number > 1 else 'is'} left out"
        )
    if findings.silent:
        chunks = "chunk of a source is" if findings.silent == 1 else "chunks of sources are"
        found.append(f"{findings.silent} silent {chunks} left out")
    return found


def _sentence(clauses: list[str]) -> str:
    return _capital("; ".join(clauses)) + "." if clauses else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
