"""Is one run better than another? A verdict over paired questions, which may be "cannot tell".

Runs are compared question by question, because questions differ far more than systems do; the tests are
in ``rag.evaluate.paired``. Questions that hang together (asked of one document, say) form a cluster:
clusters are flipped and drawn whole, for they are what there is of independent evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rag.errors import EvaluationError
from rag.evaluate.measure import FALSE_ANSWERS
from rag.evaluate.paired import DRAWS, Spread, bootstrap, holm, mcnemar, sign_flip
from rag.evaluate.power import detectable, fewest, more_queries

Verdict: TypeAlias = Literal["better", "worse", "equivalent", "cannot tell"]
Values: TypeAlias = Mapping[str, float]
"""Query id -> what a measure gave for it; an ``Evaluation.by_query`` holds one of these a measure."""
Clusters: TypeAlias = Mapping[str, str]
"""Query id -> the cluster it belongs to."""

LOWER_IS_BETTER = frozenset({FALSE_ANSWERS, "cpu_ms", "ms", "tokens"})
_JOINED = {"better": "than", "worse": "than", "equivalent": "to"}

_Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate against the baseline, on the ``queries`` that both answered, in one measure.

    ``difference`` is the candidate's mean minus the baseline's, between ``low`` and ``high`` with at least
    the confidence asked for: what neither a bootstrap nor a t that allows for skewness excludes. ``p`` is of
    this pair alone, McNemar's, or the larger of the sign flip's and of that t's; ``p_holm`` is corrected for
    all that were compared together, and the verdict rests on it. ``left_out`` queries have a value from one
    of the two only. ``detectable`` is the true difference that this many queries show with a chance of 80 %,
    infinite where they cannot show any. ``more_queries`` is about how many more a verdict would take; None
    where there is one, or where no number is foreseen: two runs that look alike, and no margin declared.
    ``wins``, ``ties`` and ``losses`` are the queries on which the candidate is better, the same and worse.
    """

    baseline: str
    candidate: str
    measure: str
    baseline_mean: float
    candidate_mean: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    test: Literal["sign flip", "McNemar"]
    verdict: Verdict
    margin: float
    detectable: float
    queries: int
    clusters: int
    left_out: int
    more_queries: int | None
    wins: int
    ties: int
    losses: int

    @property
    def sentence(self) -> str:
        """The verdict for people, with what it rests on.

        >>> values = {"a": {"RR@10": {f"q{n}": n % 2 / 4 for n in range(8)}}}
        >>> [one] = compare(values | {"b": values["a"]}, baseline="a", measures=["RR@10"])
        >>> one.sentence
        'b is equivalent to a in RR@10: +0.0000 [+0.0000, +0.0000], p = 1.0000, detectable from 0.0000 on'
        """
        verdict = (
            f"cannot tell {self.candidate} from {self.baseline}"
            if self.verdict == "cannot tell"
            else f"{self.candidate} is {self.verdict} {_JOINED[self.verdict]} {self.baseline}"
        )
        needs = "" if self.more_queries is None else f": needs about {self.more_queries:,} more queries"
        interval = f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        return (
            f"{verdict} in {self.measure}{needs}: {interval}, p = {self.p_holm:.4f}, "
            f"detectable from {self.detectable:.4f} on"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is infinite, for want of queries, is null."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {name: None if value in (math.inf, -math.inf) else value for name, value in plain.items()}


def compare(
    values: Mapping[str, Mapping[str, Values]],
    *,
    baseline: str,
    measures: Sequence[str],
    margin: float = 0.0,
    alpha: float = 0.05,
    clusters: Clusters | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[Comparison, ...]:
    """Every other system against ``baseline`` in every measure, by system, then measure.

    ``values`` is system -> measure -> query -> value, such as ``{one.system: one.by_query}``. Verdicts:

    - *equivalent*: the whole interval lies within ``margin``, the difference that was declared, before
      looking, not to matter. It comes first: a small difference stays small however sure it is.
    - *better*, *worse*: the corrected p is at most ``alpha``. Of a measure in ``LOWER_IS_BETTER`` and of a
      cost, less is better.
    - *cannot tell*: neither; always so with fewer clusters than any test can decide on (6 at 0.05).

    Raises EvaluationError for a system or measure that is not there, or no query in common.

    >>> old = {f"q{n}": 0.5 for n in range(30)}
    >>> new = {query: value + 0.1 + int(query[1:]) % 3 / 10 for query, value in old.items()}
    >>> [one] = compare({"old": {"AP": old}, "new": {"AP": new}}, baseline="old", measures=["AP"])
    >>> one.verdict, round(one.difference, 3), round(one.p, 4)
    ('better', 0.2, 0.0001)
    """
    if baseline not in values:
        raise EvaluationError(f"no system {baseline!r} to compare with; there are {', '.join(values)}")
    if not (0 < alpha < 1 and margin >= 0):
        raise EvaluationError(f"alpha {alpha}, margin {margin}: choose 0 < alpha < 1 and a margin from 0 on")
    pairs = [
        _pair(values, baseline, candidate, measure, clusters or {})
        for candidate in values
        if candidate != baseline
        for measure in measures
    ]
    ps = [pair.p(draws=draws, seed=seed) for pair in pairs]
    return tuple(
        _judged(pair, p, p_holm, compared=len(pairs), margin=margin, alpha=alpha, draws=draws, seed=seed)
        for pair, p, p_holm in zip(pairs, ps, holm(ps), strict=True)
    )


# --- one pair -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """The values of the queries that both systems have; their differences' ``sums`` and ``sizes``."""

    baseline: str
    candidate: str
    measure: str
    old: _Floats
    new: _Floats
    sums: _Floats
    sizes: _Floats
    left_out: int

    @property
    def test(self) -> Literal["sign flip", "McNemar"]:
        """McNemar's is the exact one where there are only passes and fails, and no clusters."""
        binary = bool(np.isin(np.concatenate([self.old, self.new]), (0.0, 1.0)).all())
        return "McNemar" if binary and len(self.sums) == len(self.old) else "sign flip"

    def p(self, *, draws: int, seed: int) -> float:
        """The two-sided p of this pair alone."""
        if self.test == "McNemar":
            return mcnemar(int((self.sums < 0).sum()), int((self.sums > 0).sum()))
        return max(sign_flip(self.sums, draws=draws, seed=seed), Spread.of(self.sums, self.sizes).p())

    def interval(self, *, level: float, draws: int, seed: int) -> tuple[float, float]:
        """Of the mean difference: what neither the bootstrap nor the t that allows for skewness excludes."""
        ends = bootstrap(self.sums, self.sizes, level=level, draws=draws, seed=seed)
        others = Spread.of(self.sums, self.sizes).interval(level=level)
        return min(ends[0], others[0]), max(ends[1], others[1])

    def detectable(self, alpha: float) -> float:
        """The true mean difference that is seen at ``alpha`` four times of five."""
        return detectable(self.sums, self.sizes, alpha=alpha, exact=self.test == "McNemar")

    def more_queries(self, *, margin: float, alpha: float, corrected: float) -> int | None:
        """About how many more lead to a verdict, seen at ``corrected`` or inside the margin at ``alpha``."""
        queries, clusters = len(self.old), len(self.sums)
        if clusters < fewest(corrected):
            return math.ceil(queries / clusters * (fewest(corrected) - clusters))
        spread = Spread.of(self.sums, self.sizes)
        return more_queries(
            queries,
            seen=self.detectable(corrected),
            error=spread.error,
            difference=spread.mean,
            margin=margin,
            alpha=alpha,
        )


def _pair(
    values: Mapping[str, Mapping[str, Values]],
    baseline: str,
    candidate: str,
    measure: str,
    clusters: Clusters,
) -> _Pair:
    for system in (baseline, candidate):
        if measure not in values[system]:
            known = ", ".join(values[system])
            raise EvaluationError(f"no measure {measure!r} of {system!r}; there are {known}")
    one, other = values[baseline][measure], values[candidate][measure]
    both = sorted(query for query in one if query in other)
    if not both:
        raise EvaluationError(f"{baseline!r} and {candidate!r} have no query in common: nothing to compare")
    old, new = (np.array([each[query] for query in both], np.float64) for each in (one, other))
    _, place = np.unique([clusters.get(query, query) for query in both], return_inverse=True)
    return _Pair(
        baseline,
        candidate,
        measure,
        old,
        new,
        sums=np.bincount(place, weights=new - old).astype(np.float64),
        sizes=np.bincount(place).astype(np.float64),
        left_out=len(one) + len(other) - 2 * len(both),
    )


def _judged(
    pair: _Pair,
    p: float,
    p_holm: float,
    *,
    compared: int,
    margin: float,
    alpha: float,
    draws: int,
    seed: int,
) -> Comparison:
    difference = float((pair.new - pair.old).mean())
    gained = pair.old - pair.new if pair.measure in LOWER_IS_BETTER else pair.new - pair.old
    low, high = pair.interval(level=1 - alpha, draws=draws, seed=seed)
    enough = len(pair.sums) >= fewest(alpha)
    if enough and -margin <= low and high <= margin:
        verdict: Verdict = "equivalent"
    elif enough and p_holm <= alpha:
        verdict = "better" if gained.mean() > 0 else "worse"
    else:
        verdict = "cannot tell"
    share = alpha / compared  # what Holm leaves to the smallest p
    more = pair.more_queries(margin=margin, alpha=alpha, corrected=share)
    return Comparison(
        baseline=pair.baseline,
        candidate=pair.candidate,
        measure=pair.measure,
        baseline_mean=float(pair.old.mean()),
        candidate_mean=float(pair.new.mean()),
        difference=difference,
        low=low,
        high=high,
        p=p,
        p_holm=p_holm,
        test=pair.test,
        verdict=verdict,
        margin=margin,
        detectable=pair.detectable(share),
        queries=len(pair.old),
        clusters=len(pair.sums),
        left_out=pair.left_out,
        more_queries=more if verdict == "cannot tell" else None,
        wins=int((gained > 0).sum()),
        ties=int((gained == 0).sum()),
        losses=int((gained < 0).sum()),
    )
