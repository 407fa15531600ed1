"""What so many questions can show, and how many more it takes: forecasts, by the normal approximation.

They are of the tests in ``rag.evaluate.paired``; ``python -m bench.comparison`` holds them against simulated
systems of which the truth is known.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from rag.evaluate.paired import Spread, student

POWER = 0.8
"""The chance of seeing a difference that is called detectable: the field's convention (Cohen 1988)."""
_HALVINGS = 50

_Floats = npt.NDArray[np.float64]


def fewest(alpha: float) -> int:
    """From how many clusters on the rarest outcome, all differences of one sign, is rarer than ``alpha``.

    >>> fewest(0.05), fewest(0.0025)
    (6, 10)
    """
    return math.ceil(1 + math.log2(1 / alpha))


def detectable(sums: _Floats, sizes: _Floats, *, alpha: float, exact: bool = False) -> float:
    """The true mean difference that is seen at ``alpha`` with the chance POWER.

    ``sums`` and ``sizes`` are the clusters'; too few of them see nothing (infinite). ``exact`` is for
    McNemar's test, which moves in whole questions: half a step of its count, on either side, is lost. Skewed
    differences are harder to see on one side than on the other; it is told for the side that they lie on, and
    for the harder one where their mean is 0. Where most differences are 0 a second bound holds: the
    ``fewest`` others have to be seen before any test can decide.

    >>> even = np.tile([0.1, -0.1], 20)
    >>> round(detectable(even, np.ones(40), alpha=0.05), 3)
    0.046
    >>> detectable(np.zeros(40), np.ones(40), alpha=0.05)
    0.0
    """
    least = fewest(alpha)
    if len(sums) < least:
        return math.inf
    spread, questions = Spread.of(sums, sizes), float(sizes.sum())
    ends = student(1 - alpha / 2, spread.freedom)
    if not exact:
        low, high = spread.rejected(alpha)
        ends = max(ends, *([high] if spread.mean > 0 else [-low] if spread.mean < 0 else [-low, high]))
    seen = (ends + student(POWER, spread.freedom)) * spread.error
    moved = np.abs(sums[sums != 0])
    if not len(moved):
        return seen
    wanted = least + NormalDist().inv_cdf(POWER) * math.sqrt(least)  # so many of which ``least`` are seen
    return max(seen + exact / questions, wanted * float(moved.mean()) / questions)


def more_queries(
    queries: int, *, seen: float, error: float, difference: float, margin: float, alpha: float
) -> int | None:
    """About how many more lead to a verdict with the chance POWER, if ``difference`` is the true one.

    So many ``queries`` have shown it with this ``error``, and could have ``seen`` what ``detectable`` says.
    Counted is what takes fewer: to see the difference, or to find it inside ``margin``. None where no number
    does either. Errors fall with the root of the number of questions; the forecast has two digits.

    >>> more_queries(100, seen=0.04, error=0.014, difference=0.02, margin=0.0, alpha=0.05)
    300
    >>> more_queries(100, seen=0.04, error=0.014, difference=0.001, margin=0.02, alpha=0.05)
    430
    """
    times = []
    if difference:
        times.append((seen / difference) ** 2)
    if abs(difference) < margin:
        times.append((error / _equivalent(abs(difference), margin, alpha)) ** 2)
    if not times:
        return None
    more = max(1, math.ceil(queries * (min(times) - 1)))
    step: int = 10 ** max(0, len(str(more)) - 2)
    return -(-more // step) * step


def _equivalent(difference: float, margin: float, alpha: float) -> float:
    """The standard error with which the whole interval lies inside the margin with the chance POWER."""
    normal = NormalDist()
    ends = normal.inv_cdf(1 - alpha / 2)
    low, high = 0.0, margin
    for _ in range(_HALVINGS):
        error = (low + high) / 2
        inside = normal.cdf((margin - difference) / error - ends) + normal.cdf(
            (margin + difference) / error - ends
        )
        low, high = (error, high) if inside - 1 >= POWER else (low, error)
    return error
