"""How far judges agree, beyond what chance would give them, and how sure that is.

- Cohen's kappa, of two judges (Cohen 1960, "A Coefficient of Agreement for Nominal Scales"), and with
  quadratic weights (Cohen 1968), for which 0 and 3 are further apart than 2 and 3.
- Krippendorff's alpha, of any number of judges of whom not all graded everything (Krippendorff 2011,
  "Computing Krippendorff's Alpha-Reliability").

1 is full agreement, 0 what chance gives, below 0 worse than chance. Krippendorff asks 0.8 of what is relied
on, 0.667 of what is concluded tentatively. Where nearly everything has one grade, chance agrees nearly
always: both figures are then low, and their intervals wide, however alike the judges are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rag.errors import EvaluationError
from rag.evaluate.judgements import Judgement, last_words
from rag.evaluate.paired import DRAWS, student

Ratings: TypeAlias = Mapping[str, Mapping[str, int]]
"""Judge -> item -> grade. An item that a judge did not grade is not there."""
Weights: TypeAlias = Literal["none", "quadratic"]
Scale: TypeAlias = Literal["nominal", "ordinal", "interval"]

_Floats: TypeAlias = npt.NDArray[np.float64]
_BLOCK = 2_000_000
"""Numbers held at a time while items are drawn."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient of ``judges`` who graded the same ``items``, between ``low`` and ``high``.

    ``same`` is the share of pairs of grades of one item that are equal, chance or not. ``value`` is NaN where
    all grades are one and the same: of what would have been chance nothing is known. The interval is a
    bootstrap over the items, infinite where there are too few of them.
    """

    statistic: str
    value: float
    low: float
    high: float
    same: float
    items: int
    judges: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is not known is null."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in plain.items()
        }


def kappa(
    first: Mapping[str, int],
    second: Mapping[str, int],
    *,
    weights: Weights = "none",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa of two judges, each item -> grade, over the items that both graded.

    With quadratic ``weights`` a disagreement counts by the square of the difference of the grades. Raises
    EvaluationError where there is no such item.

    Cohen's own example, 200 patients in three groups (1960, table 2):

    >>> table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    >>> pairs = [(a, b) for a in range(3) for b in range(3) for _ in range(table[a][b])]
    >>> first, second = ({str(n): pair[judge] for n, pair in enumerate(pairs)} for judge in (0, 1))
    >>> one = kappa(first, second)
    >>> round(one.value, 3), round(one.same, 2), round(one.low, 2), round(one.high, 2)
    (0.492, 0.7, 0.39, 0.59)
    """
    items = [item for item in first if item in second]
    if not items:
        raise EvaluationError("the two judges graded nothing in common; let one grade what the other did")
    grades, pairs = np.unique([(first[item], second[item]) for item in items], return_inverse=True)
    size = len(grades)
    cells, times = np.unique(pairs.reshape(-1, 2) @ [size, 1], return_counts=True)
    apart = np.abs(grades[:, None] - grades).astype(np.float64) ** 2
    if weights == "none":
        apart = np.sign(apart)

    def values(drawn: _Floats) -> _Floats:
        flat = np.zeros((len(drawn), size * size))
        flat[:, cells] = drawn
        tables = flat.reshape(-1, size, size)
        chance = np.einsum("di,dj,ij->d", tables.sum(2), tables.sum(1), apart) / len(items)
        return _beyond_chance((tables * apart).sum((1, 2)), chance)

    value, low, high = _estimated(values, times, level=level, draws=draws, seed=seed)
    name = "kappa" if weights == "none" else "weighted kappa"
    same = sum(first[item] == second[item] for item in items) / len(items)
    return Agreement(name, value, low, high, same, items=len(items), judges=2)


def alpha(
    ratings: Ratings,
    *,
    scale: Scale = "ordinal",
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Agreement:
    """Krippendorff's alpha of all judges, over the items that two or more of them graded.

    The ``scale`` says how far two grades are apart: nominal, all as far; interval, by the square of their
    difference; ordinal, by the square of how many grades were given between them. Raises EvaluationError
    where no item has two grades.

    Krippendorff's example C, four observers and twelve units (2011; "." was not graded):

    >>> rows = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    >>> read = lambda row: {f"unit {n}": int(grade) for n, grade in enumerate(row, 1) if grade != "."}
    >>> observers = {name: read(row) for name, row in zip("ABCD", rows)}
    >>> [round(alpha(observers, scale=scale).value, 3) for scale in ("nominal", "ordinal", "interval")]
    [0.743, 0.815, 0.849]
    """
    by_item: dict[str, list[int]] = {}
    for graded in ratings.values():
        for item, grade in graded.items():
            by_item.setdefault(item, []).append(grade)
    several = [given for given in by_item.values() if len(given) > 1]
    if not several:
        raise EvaluationError("no item was graded by two judges; let one grade what another did")
    grades = np.unique(np.concatenate(several))
    size = len(grades)
    counted = np.array([(grades[:, None] == given).sum(1) for given in several], np.float64)
    patterns, times = np.unique(counted, axis=0, return_counts=True)
    pairs = patterns[:, :, None] * patterns[:, None, :]
    pairs[:, range(size), range(size)] -= patterns
    flat = (pairs / (patterns.sum(1) - 1)[:, None, None]).reshape(-1, size * size)

    def values(drawn: _Floats) -> _Floats:
        tables = (drawn @ flat).reshape(-1, size, size)
        given = tables.sum(2)
        places = np.broadcast_to(grades.astype(np.float64), given.shape)
        if scale == "ordinal":
            places = np.cumsum(given, axis=1) - given / 2
        apart = (places[:, :, None] - places[:, None, :]) ** 2
        if scale == "nominal":
            apart = np.sign(apart)
        chance = np.einsum("di,dj,dij->d", given, given, apart) / (given.sum(1) - 1)
        return _beyond_chance((tables * apart).sum((1, 2)), chance)

    value, low, high = _estimated(values, times, level=level, draws=draws, seed=seed)
    observed = times.astype(np.float64) @ flat
    same = float(np.trace(observed.reshape(size, size)) / observed.sum())
    judges = sum(any(len(by_item[item]) > 1 for item in graded) for graded in ratings.values())
    return Agreement(f"{scale} alpha", value, low, high, same, items=len(several), judges=judges)


# --- of judgements --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Graded:
    """One place of a document, or (``quotation`` "") the whole of it, with what each judge gave it."""

    query_id: str
    document_id: str
    quotation: str
    start: int
    grades: Mapping[str, int]

    @property
    def spread(self) -> int:
        """From the lowest grade to the highest."""
        return max(self.grades.values()) - min(self.grades.values())


@dataclass(frozen=True, slots=True)
class Agreements:
    """How the judges of a set agree: ``counts`` of items by judge, both kappas (plain, quadratic) of each
    pair with something in common, ordinal alpha of all (None without), and what they gave other grades to,
    the furthest apart first."""

    counts: Mapping[str, int]
    pairs: Mapping[tuple[str, str], tuple[Agreement, Agreement]]
    overall: Agreement | None
    disputed: tuple[Graded, ...]


def same_place(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two spans of a document are judged as one: at least half of the shorter lies in the longer.

    >>> same_place((0, 100), (40, 60)), same_place((0, 100), (90, 200))
    (True, False)
    """
    shorter = min(one[1] - one[0], other[1] - other[0])
    return 2 * (min(one[1], other[1]) - max(one[0], other[0])) >= max(1, shorter)


def graded(judgements: Iterable[Judgement]) -> list[Graded]:
    """The last words of all judges, by place. A sentence quoted from a passage is of the same place as the
    passage; of a judge who graded several parts of a place, the highest grade counts.

    >>> said = [Judgement("q", "d", 0, "We open at nine.", 0, judge="ana")]
    >>> [dict(each.grades) for each in graded([*said, Judgement("q", "d", 2, "nine", 11, judge="leo")])]
    [{'ana': 0, 'leo': 2}]
    """
    places: dict[tuple[str, str], list[tuple[Judgement, dict[str, int]]]] = {}
    for each in sorted(last_words(judgements), key=lambda each: -len(each.quotation)):
        among = places.setdefault((each.query_id, each.document_id), [])
        found = next((grades for first, grades in among if _together(first, each)), None)
        if found is None:
            among.append((each, found := {}))
        found[each.judge] = max(each.grade, found.get(each.judge, each.grade))
    return [
        Graded(first.query_id, first.document_id, first.quotation, first.start, grades)
        for among in places.values()
        for first, grades in among
    ]


def agreements(judgements: Iterable[Judgement]) -> Agreements:
    """How the judges agree on what more than one of them graded."""
    items = graded(judgements)
    ratings: dict[str, dict[str, int]] = {}
    for number, item in enumerate(items):
        for judge, grade in item.grades.items():
            ratings.setdefault(judge, {})[str(number)] = grade
    pairs = {
        (one, other): (
            kappa(ratings[one], ratings[other]),
            kappa(ratings[one], ratings[other], weights="quadratic"),
        )
        for one, other in combinations(sorted(ratings), 2)
        if ratings[one].keys() & ratings[other].keys()
    }
    disputed = sorted((item for item in items if item.spread), key=lambda item: -item.spread)
    return Agreements(
        counts={judge: len(ratings[judge]) for judge in sorted(ratings)},
        pairs=pairs,
        overall=alpha(ratings) if pairs else None,
        disputed=tuple(disputed),
    )


def _together(one: Judgement, other: Judgement) -> bool:
    if not (one.quotation and other.quotation):
        return one.quotation == other.quotation
    if one.start < 0 or other.start < 0:
        return other.quotation in one.quotation
    if (one.before, one.quotation, one.after) == (other.before, other.quotation, other.after):
        return True  # an edit elsewhere in the document may have moved one of them
    places = [(each.start, each.start + len(each.quotation)) for each in (one, other)]
    return same_place(places[0], places[1])


# --- how the figures come about -------------------------------------------------------------------


def _beyond_chance(observed: _Floats, chance: _Floats) -> _Floats:
    """1 less the disagreement that was observed by that of chance; NaN where chance gives none."""
    known = chance > 1e-12
    return np.where(known, 1 - observed / np.where(known, chance, 1.0), np.nan)


def _estimated(
    values: Callable[[_Floats], _Floats], times: npt.NDArray[np.int_], *, level: float, draws: int, seed: int
) -> tuple[float, float, float]:
    """The value of items of which each kind came so many ``times``, and its bootstrap interval.

    Items of one kind are alike, so that drawing items is drawing how often each kind comes. Draws in which
    all grades are one say nothing, and are left out. Percentiles as in :func:`rag.evaluate.paired.bootstrap`.
    """
    items = int(times.sum())
    value = float(values(times.astype(np.float64)[None])[0])
    if items < 2 or math.isnan(value):
        return value, -math.inf, math.inf
    random = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(64, len(times)))
    found = np.concatenate(
        [
            values(random.multinomial(items, times / items, min(step, draws - start)).astype(np.float64))
            for start in range(0, draws, step)
        ]
    )
    told = found[~np.isnan(found)]
    tail = NormalDist().cdf(-math.sqrt(items / (items - 1)) * student((1 + level) / 2, items - 1))
    low, high = np.quantile(told, [tail, 1 - tail]) if len(told) else (-math.inf, math.inf)
    return value, float(low), float(high)
