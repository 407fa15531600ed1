"""What a report says in sentences; ``name`` says how a name from outside is written among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rag.evaluate.compare import Comparison
from rag.evaluate.report.content import Report
from rag.evaluate.report.words import between, figure, signed
from rag.lines import plain

Name: TypeAlias = Callable[[str], str]

FEW_QUESTIONS = 50
"""Below it, a report says that intervals are wide: one question of 50 is 0.02."""

UNJUDGED = 0.1
"""A difference in Judged@10 from which on it is told: one more unjudged document of ten."""


@dataclass(frozen=True, slots=True)
class Told:
    """The verdict on one system in the main measure, and the other measures by their verdict."""

    main: Comparison
    others: Mapping[str, tuple[str, ...]]


def title(made: Report, *, name: Name = plain) -> str:
    """Which systems on which set."""
    names = [name(system) for system in made.systems]
    systems = " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
    return f"{systems} on {name(made.set_name)}" if made.set_name else systems


def verdicts(made: Report) -> list[Told]:
    """By candidate, in the order of the runs."""
    told = []
    for candidate in made.candidates:
        if (main := made.of(candidate, made.main)) is None:
            continue
        others: dict[str, tuple[str, ...]] = {}
        for one in made.comparisons:
            if one.candidate == candidate and one is not main:
                others[one.verdict] = (*others.get(one.verdict, ()), one.measure)
        told.append(Told(main, others))
    return told


def sentence(one: Comparison, *, name: Name = plain) -> str:
    """A verdict for people who do not read tables.

    >>> from rag.evaluate.compare import compare
    >>> old = {f"q{n}": 0.5 for n in range(30)}
    >>> new = {query: value + 0.1 + int(query[1:]) % 3 / 10 for query, value in old.items()}
    >>> [one] = compare({"old": {"AP": old}, "new": {"AP": new}}, baseline="old", measures=["AP"])
    >>> sentence(one).partition(" (")[0]
    'new is better than old in AP: 0.700 against 0.500, a difference of +0.200'
    """
    means = f"{figure(one.candidate_mean)} against {figure(one.baseline_mean)}"
    apart = f"{signed(one.difference)} ({between(one.low, one.high, sign=True)})"
    candidate, baseline, measure = name(one.candidate), name(one.baseline), name(one.measure)
    if one.verdict in ("better", "worse"):
        return f"{candidate} is {one.verdict} than {baseline} in {measure}: {means}, a difference of {apart}."
    if one.verdict == "equivalent" and one.low == one.high == 0:
        return (
            f"{candidate} and {baseline} give the same {measure}, {figure(one.candidate_mean)}, on each of "
            f"{one.queries:,} questions."
        )
    if one.verdict == "equivalent":
        return (
            f"{candidate} is as good as {baseline} in {measure}: {means}; the difference, {apart}, lies "
            f"within the margin of {one.margin:g}."
        )
    why = (
        f"these {one.queries:,} questions show a difference from {figure(one.detectable)} on"
        if math.isfinite(one.detectable)
        else f"{one.queries:,} questions are too few for any verdict"
    )
    more = f"; about {one.more_queries:,} more would tell" if one.more_queries else ""
    return (
        f"It cannot be told whether {candidate} is better or worse than {baseline} in {measure}: "
        f"{means}, a difference of {apart}; {why}{more}."
    )


def notes(made: Report, *, name: Name = plain) -> list[str]:
    """What a reader should know before believing the figures."""
    told = []
    asked = max(len(one.questions) for one in made.runs.values())
    if 0 < (measured := made.questions) < FEW_QUESTIONS:
        told.append(
            f"{measured} questions are few: one of them is {1 / measured:.3f} of a mean. Small differences "
            "cannot be seen, however real."
        )
    failed = {system: len(one.errors) for system, one in made.runs.items() if one.errors}
    if failed:
        which = ", ".join(f"{name(system)} on {count:,}" for system, count in failed.items())
        told.append(f"Some questions of {asked:,} failed ({which}); they are in no mean. See Errors.")
    left_out = max((one.left_out for one in made.comparisons), default=0)
    if left_out:
        told.append(
            f"Up to {left_out:,} questions have a value from one of two systems only, and are not compared."
        )
    judged = next((measure for measure in made.cells if measure.startswith("Judged@")), "")
    if share := {system: cell.mean for system, cell in made.cells.get(judged, {}).items()}:
        least, most = min(share, key=share.__getitem__), max(share, key=share.__getitem__)
        if share[most] - share[least] > UNJUDGED:
            told.append(
                f"{name(least)} finds more documents that nobody judged ({judged} {share[least]:.2f} "
                f"against {share[most]:.2f} of {name(most)}): it may be better than its figures."
            )
    if made.comparisons and not made.margin:
        told.append(
            "No margin was declared, so that no difference counts as too small to matter: two runs are "
            "equivalent only where every value is the same."
        )
    return told
