"""Means with the intervals that they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rag.evaluate.compare import Clusters
from rag.evaluate.paired import bootstrap
from rag.evaluate.run import Evaluation, Run


@dataclass(frozen=True, slots=True)
class Cell:
    """A mean over so many ``questions``, and the interval (95 %) it lies in for questions like these."""

    mean: float
    low: float
    high: float
    questions: int


def cell(values: Mapping[str, float], clusters: Clusters | None = None) -> Cell:
    """The mean of values by query, at least one; as ``Evaluation.interval`` has it where nothing clusters.

    >>> one = cell({"q1": 1.0, "q2": 1.0, "q3": 0.0, "q4": 1.0})
    >>> one.mean, round(one.low, 2), round(one.high, 2), one.questions
    (0.75, 0.3, 0.95, 4)
    """
    if clusters:
        _, place = np.unique([clusters.get(query, query) for query in values], return_inverse=True)
        sums = np.bincount(place, weights=list(values.values()))
        low, high = bootstrap(sums, np.bincount(place))
    else:
        low, high = Evaluation(Run.of("", {}), {"": values}).interval("")
    return Cell(sum(values.values()) / len(values), low, high, len(values))
