"""Knowing when there is no answer: what a threshold keeps, against what it lets through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rag.evaluate.measure import FALSE_ANSWERS, KEPT
from rag.evaluate.rates import Rate, rate
from rag.evaluate.run import Evaluation


@dataclass(frozen=True, slots=True)
class Curve:
    """One system at every threshold of its strength.

    ``points`` are (share of the questions with an answer that are kept, share of those without that would be
    answered), from the highest threshold to none. ``false_answers`` is that at the one which keeps 95 %.
    """

    system: str
    points: tuple[tuple[float, float], ...]
    answerable: int
    unanswerable: int
    false_answers: Rate


def curves(runs: Mapping[str, Evaluation]) -> tuple[Curve, ...]:
    """Those of the runs that were asked questions without an answer, and tell how sure they are.

    >>> from rag.evaluate.run import Run
    >>> strengths = {"yes": 2.0, "perhaps": 1.0, "no": 1.5}
    >>> by_query = {"RR@10": {"yes": 1.0, "perhaps": 1.0}, "FalseAnswers": {"no": 1.0}}
    >>> [one] = curves({"a": Evaluation(Run.of("a", {}), by_query, strengths=strengths)})
    >>> one.points, one.false_answers.value
    (((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (1.0, 1.0)), 1.0)
    """
    found = []
    for name, one in runs.items():
        without = [one.strengths[query] for query in one.by_query.get(FALSE_ANSWERS, {})]
        ids = {
            query for measure, values in one.by_query.items() if measure != FALSE_ANSWERS for query in values
        }
        having = [one.strengths[query] for query in ids if query in one.strengths]
        if not (without and having):
            continue
        thresholds = np.unique([*without, *having])[::-1]
        kept, answered = (
            1 - np.searchsorted(np.sort(strengths), thresholds) / len(strengths)
            for strengths in (having, without)
        )
        points = ((0.0, 0.0), *zip(kept.tolist(), answered.tolist(), strict=True))
        threshold = sorted(having, reverse=True)[math.ceil(KEPT * len(having)) - 1]
        wrong = sum(strength >= threshold for strength in without)
        found.append(Curve(name, points, len(having), len(without), rate(wrong, len(without))))
    return tuple(found)
