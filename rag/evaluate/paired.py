"""Paired tests and intervals over differences, one a question: arrays in, figures out.

All draws are seeded: the same differences give the same figures every time.

- Sign-flip randomisation (Smucker et al. 2007, "A comparison of statistical significance tests for
  information retrieval evaluation"): if two systems are equal, each difference could as well have had the
  other sign. Where every value is pass or fail the same question has an exact answer, McNemar's.
- A bootstrap interval of the mean difference, widened for few questions (Hesterberg 2015, "What Teachers
  Should Know About the Bootstrap", section 5.3).
- Holm's correction (1979) over all that is compared: of ten equal systems one looks better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

DRAWS = 10_000
"""Sign flips, and bootstrap samples: the standard error of a p of 0.05 is then 0.002."""
_BLOCK = 2_000_000
"""Numbers drawn at a time, so that memory does not grow with the number of questions."""
_ROUNDING = 1e-9
"""Sums of the same differences in another order may differ by this much of the largest one."""


def sign_flip(differences: npt.ArrayLike, *, draws: int = DRAWS, seed: int = 0) -> float:
    """The two-sided p that paired differences of this sum, or a larger one, come of equal systems.

    ``(k + 1) / (draws + 1)``, k the draws with random signs whose sum is as far from 0.

    >>> sign_flip([0.1] * 20) < 0.001, sign_flip([0.1, -0.1] * 10)
    (True, 1.0)
    """
    moved = np.asarray(differences, np.float64)
    moved = moved[moved != 0]  # a zero has no sign
    total = moved.sum()
    reached = abs(total) - _ROUNDING * np.abs(moved).max(initial=0.0)
    random = np.random.default_rng(seed)
    extreme = 0
    for size in _blocks(draws, len(moved)):
        plus = np.unpackbits(random.integers(0, 256, (size, -(-len(moved) // 8)), np.uint8), axis=1)
        sums = 2 * (plus[:, : len(moved)].astype(np.float64) @ moved) - total
        extreme += int((np.abs(sums) >= reached).sum())
    return (extreme + 1) / (draws + 1)


def mcnemar(only_baseline: int, only_candidate: int) -> float:
    """The exact two-sided p of pass and fail: how many queries only the one passed, only the other.

    >>> mcnemar(0, 6), mcnemar(5, 5)
    (0.03125, 1.0)
    """
    discordant = only_baseline + only_candidate
    ways = tail = 1
    for n in range(min(only_baseline, only_candidate)):
        ways = ways * (discordant - n) // (n + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << discordant))


def holm(ps: Sequence[float]) -> list[float]:
    """Each p corrected for all of them (Holm 1979), in the order given.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, ps[place] * (len(ps) - rank)))
        corrected[place] = largest
    return corrected


def bootstrap(
    sums: npt.ArrayLike,
    sizes: npt.ArrayLike | None = None,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of a mean difference: percentiles of the means of resampled differences.

    With ``sizes`` the ``sums`` are of clusters of so many differences each. The percentiles are those of
    Student's t instead of the normal distribution, and wider by ``sqrt(n / (n - 1))``.

    >>> low, high = bootstrap([0.0, 0.1, 0.2, 0.3] * 10)
    >>> round(low, 2), round(high, 2)
    (0.11, 0.18)
    """
    added = np.asarray(sums, np.float64)
    counted = np.ones(len(added)) if sizes is None else np.asarray(sizes, np.float64)
    count = len(added)
    if count < 2:
        return (-math.inf, math.inf)
    random = np.random.default_rng(seed)
    means = np.concatenate(
        [
            added[drawn].sum(axis=1) / counted[drawn].sum(axis=1)
            for size in _blocks(draws, count)
            for drawn in [random.integers(0, count, (size, count), np.int32)]
        ]
    )
    tail = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student((1 + level) / 2, count - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def finite(interval: tuple[float, float]) -> list[float | None]:
    """An interval as plain data: what is infinite, for want of observations, is null."""
    return [None if math.isinf(end) else end for end in interval]


def student(probability: float, freedom: int) -> float:
    """A quantile of Student's t, by its expansion from the normal one (Abramowitz & Stegun 26.7.5).

    >>> round(student(0.975, 10), 2), round(student(0.975, 1000), 2)
    (2.23, 1.96)
    """
    z = NormalDist().inv_cdf(probability)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _blocks(draws: int, width: int) -> Iterator[int]:
    """Parts of ``draws`` that hold at most about _BLOCK numbers each."""
    at_most = max(1, _BLOCK // max(1, width))
    for start in range(0, draws, at_most):
        yield min(at_most, draws - start)
