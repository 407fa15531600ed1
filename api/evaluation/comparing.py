"""Runs against each other: verdicts, and the questions that moved most with what stands behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.errors import EvaluationError
from rag.evaluate import Comparison, Evaluation, compare
from rag.evaluate.compare import LOWER_IS_BETTER
from rag.evaluate.together import alike, named

MAIN = ("nDCG@10", "R@100", "RR@10", "Evidence@1000tok", "FalseAnswers")
"""What is compared unless measures are named: those of them that the runs have."""
FEWEST = 6
"""Questions that a measure must have to be among those: of fewer no verdict can come, whatever they say."""
TOP = 3
"""Documents shown of each side."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A question and how much more (or less) the candidate gave than the baseline, in one measure; ``before``
    and ``after`` are the documents that each ranked first."""

    query_id: str
    text: str
    difference: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """``comparisons`` are by candidate, then measure. ``moved`` are, by candidate, the questions that moved
    most in the first measure; ``counts`` by (candidate, measure) how many questions are better, the same and
    worse; ``names`` what each run is called here, the baseline first."""

    names: tuple[str, ...]
    runs: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    moved: Mapping[str, tuple[Moved, ...]]
    counts: Mapping[tuple[str, str], tuple[int, int, int]]

    def as_json(self) -> dict[str, Any]:
        """Plain data: what is kept as a verdict, and printed for pipes."""
        return {
            "runs": [
                {"name": name, "run": run.id or None, "system": run.system, "set": run.set_name, "at": run.at}
                for name, run in zip(self.names, self.runs, strict=True)
            ],
            "comparisons": [
                each.as_json()
                | dict(
                    zip(("wins", "ties", "losses"), self.counts[each.candidate, each.measure], strict=True)
                )
                for each in self.comparisons
            ],
            "moved": {
                name: [
                    {
                        "query": each.query_id,
                        "question": each.text,
                        "difference": each.difference,
                        "before": list(each.before),
                        "after": list(each.after),
                    }
                    for each in moved
                ]
                for name, moved in self.moved.items()
            },
        }


def compare_runs(
    runs: Sequence[Evaluation],
    *,
    measures: Sequence[str] = (),
    margin: float = 0.0,
    alpha: float = 0.05,
    cluster: str = "",
    most_moved: int = 5,
) -> Compared:
    """Every run against the first. ``cluster`` is a key of the questions' metadata: those with one value hang
    together ("document": the one that answers them).

    Costs (``cpu_ms``, ``ms``, ``tokens``) can be measures too. Raises EvaluationError for fewer than two
    runs, runs of other sets or other judgements, and a measure or key that is not there.
    """
    if len(runs) < 2:
        raise EvaluationError("name two runs or more: the first is what the others are compared with")
    alike(runs)
    by_name = named(runs)
    names = tuple(by_name)
    values = {name: {**run.by_query, **run.costs} for name, run in by_name.items()}
    shared = [measure for measure in values[names[0]] if all(measure in each for each in values.values())]
    wanted = tuple(measures) or tuple(
        measure for measure in MAIN if measure in shared and len(values[names[0]][measure]) >= FEWEST
    )
    if missing := [measure for measure in wanted if measure not in shared]:
        raise EvaluationError(
            f"no measure {missing[0]!r} in all of the runs; they share {', '.join(shared) or 'none'}"
        )
    if not wanted:
        raise EvaluationError(f"name a measure (--measure): the runs share {', '.join(shared) or 'none'}")
    comparisons = compare(
        values,
        baseline=names[0],
        measures=wanted,
        margin=margin,
        alpha=alpha,
        clusters=clusters(runs[0], cluster),
    )
    old = values[names[0]]
    return Compared(
        names,
        tuple(runs),
        comparisons,
        {
            name: _moved(runs[0], run, wanted[0], most_moved)
            for name, run in zip(names[1:], runs[1:], strict=True)
        },
        {
            (name, measure): _counts(old[measure], values[name][measure], lower=measure in LOWER_IS_BETTER)
            for name in names[1:]
            for measure in wanted
        },
    )


def clusters(run: Evaluation, key: str) -> dict[str, str] | None:
    """Query id -> the value of ``key`` in the questions' metadata; None without a key. Raises
    EvaluationError where no question has it."""
    if not key:
        return None
    found = {query.id: str(query.metadata[key]) for query in run.questions if key in query.metadata}
    if not found:
        known = sorted({name for query in run.questions for name in query.metadata})
        raise EvaluationError(
            f"no question has {key!r} among its metadata; there is {', '.join(known) or 'none'}"
        )
    return found


def _moved(old: Evaluation, new: Evaluation, measure: str, most: int) -> tuple[Moved, ...]:
    before = {**old.by_query, **old.costs}[measure]
    after = {**new.by_query, **new.costs}[measure]
    texts = {query.id: query.text for query in old.questions}
    changed = [
        (after[query] - before[query], query)
        for query in before
        if query in after and after[query] != before[query]
    ]
    changed.sort(key=lambda pair: (-abs(pair[0]), pair[1]))
    return tuple(
        Moved(query, texts.get(query, ""), difference, _top(old, query), _top(new, query))
        for difference, query in changed[:most]
    )


def _top(run: Evaluation, query: str) -> tuple[str, ...]:
    return tuple(document for document, _ in run.run.results.get(query, ())[:TOP])


def _counts(old: Mapping[str, float], new: Mapping[str, float], *, lower: bool) -> tuple[int, int, int]:
    both = [(new[query] - old[query]) * (-1 if lower else 1) for query in old if query in new]
    wins, losses = sum(each > 0 for each in both), sum(each < 0 for each in both)
    return wins, len(both) - wins - losses, losses
