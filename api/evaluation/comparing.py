"""Runs against each other: verdicts, and the questions that moved most with what stands behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.errors import EvaluationError
from rag.evaluate import Comparison, Evaluation, JudgedSet, compare
from rag.evaluate.moved import EACH_WAY, Lookup, Moved, moved
from rag.evaluate.together import alike, judged_by, named

MAIN = ("nDCG@10", "R@100", "RR@10", "Evidence@1000tok", "FalseAnswers")
"""What is compared unless measures are named: those of them that the runs have."""
FEWEST = 6
"""Questions that a measure must have to be among those: of fewer no verdict can come, whatever they say."""


@dataclass(frozen=True, slots=True)
class Compared:
    """``comparisons`` are by candidate, then measure; ``moved`` is, by candidate, what moved in the first
    measure; ``names`` what each run is called here, the baseline first."""

    names: tuple[str, ...]
    runs: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    moved: Mapping[str, Moved]

    def as_json(self) -> dict[str, Any]:
        """Plain data: what is kept as a verdict, and printed for pipes."""
        return {
            "runs": [
                {"name": name, "run": run.id or None, "system": run.system, "set": run.set_name, "at": run.at}
                for name, run in zip(self.names, self.runs, strict=True)
            ],
            "comparisons": [each.as_json() for each in self.comparisons],
            "moved": {name: each.as_json() for name, each in self.moved.items()},
        }


def compare_runs(
    runs: Sequence[Evaluation],
    *,
    measures: Sequence[str] = (),
    margin: float = 0.0,
    alpha: float = 0.05,
    cluster: str = "",
    judged: JudgedSet | None = None,
    documents: Lookup | None = None,
    each_way: int = EACH_WAY,
) -> Compared:
    """Every run against the first. ``cluster`` is a key of the questions' metadata: those with one value hang
    together ("document": the one that answers them). Of the questions that moved most, ``each_way`` of those
    that gained and of those that lost are told, as :func:`rag.evaluate.moved.moved` does.

    Costs (``cpu_ms``, ``ms``, ``tokens``) can be measures too. Raises EvaluationError for fewer than two
    runs, runs of other sets or other judgements, and a measure or key that is not there.
    """
    if len(runs) < 2:
        raise EvaluationError("name two runs or more: the first is what the others are compared with")
    alike(runs)
    by_name = named(runs)
    names = tuple(by_name)
    values = {name: run.values for name, run in by_name.items()}
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
    return Compared(
        names,
        tuple(runs),
        comparisons,
        moved(
            by_name,
            wanted[0],
            baseline=names[0],
            judged=judged_by(runs, judged),
            documents=documents,
            each_way=each_way,
        ),
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
