"""Paired tests and intervals over differences, one a question: arrays in, figures out.

All draws are seeded: the same differences give the same figures every time.

- Sign-flip randomisation (Smucker et al. 2007, "A comparison of statistical significance tests for
  information retrieval evaluation"): if two systems are equal, each difference could as well have had the
  other sign. Where every value is pass or fail the same question has an exact answer, McNemar's.
- A bootstrap interval of the mean difference, widened for few questions (Hesterberg 2015, "What Teachers
  Should Know About the Bootstrap", section 5.3).
- A t test and an interval that allow for skewness (Hall 1992, "On the Removal of Skewness by
  Transformation"). Sign flips take differences to be symmetric about 0, as they are where the two systems
  could change places; of two that are equal in the mean, where one helps many questions a little and harms
  a few a lot, they call 9 in 100 pairs different at 20 questions (``python -m bench.comparison``).
- Holm's correction (1979) over all that is compared: of ten equal systems one looks better.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

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
    alike = bool((counted == counted[0]).all())  # then the number of differences is the same in every draw
    means = np.concatenate(
        [
            added[drawn].sum(axis=1) / (count * counted[0] if alike else counted[drawn].sum(axis=1))
            for size in _blocks(draws, count)
            for drawn in [random.integers(0, count, (size, count), np.int32)]
        ]
    )
    tail = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student((1 + level) / 2, count - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


class Spread(NamedTuple):
    """What Student's t is made of: a mean difference, its standard error, the skewness of the clusters over
    the root of their number, and the degrees of freedom."""

    mean: float
    error: float
    skew: float
    freedom: int

    @staticmethod
    def of(sums: npt.ArrayLike, sizes: npt.ArrayLike | None = None) -> Spread:
        """Of differences, or of clusters' sums and sizes; of fewer than two the error is infinite.

        >>> mean, error, skew, freedom = Spread.of([0.0, 0.1, 0.2, 0.3] * 10)
        >>> round(mean, 2), round(error, 3), round(skew, 2), freedom
        (0.15, 0.018, 0.0, 39)
        """
        added = np.asarray(sums, np.float64)
        counted = np.ones(len(added)) if sizes is None else np.asarray(sizes, np.float64)
        count, whole = len(added), float(counted.sum())
        mean = float(added.sum()) / whole
        if count < 2:
            return Spread(mean, math.inf, 0.0, 0)
        residuals = added - mean * counted
        second, third = float((residuals**2).mean()), float((residuals**3).mean())
        if math.sqrt(second) <= _ROUNDING * np.abs(added).max(initial=0.0):
            return Spread(mean, 0.0, 0.0, count - 1)
        error = count * math.sqrt(second / (count - 1)) / whole
        return Spread(mean, error, third / second**1.5 / math.sqrt(count), count - 1)

    def p(self) -> float:
        """The two-sided p of a true mean of 0: Hall's cubic of t, as Student's t.

        >>> round(Spread(0.1, 0.05, 0.0, 19).p(), 4), round(Spread(0.1, 0.05, -0.4, 19).p(), 4)
        (0.06, 0.1641)
        """
        if self.error in (0.0, math.inf):
            return float(self.error > 0 or self.mean == 0)
        t = self.mean / self.error
        cubic = t + self.skew * t**2 / 3 + self.skew**2 * t**3 / 27 + self.skew / 6
        return student_tails(abs(cubic), self.freedom)

    def interval(self, *, level: float = 0.95) -> tuple[float, float]:
        """The means that :meth:`p` does not reject.

        >>> low, high = Spread(0.1, 0.05, -0.4, 19).interval()
        >>> round(low, 3), round(high, 3)
        (-0.082, 0.182)
        """
        if math.isinf(self.error):
            return (-math.inf, math.inf)
        low, high = self.rejected(1 - level)
        return (self.mean - self.error * high, self.mean - self.error * low)

    def rejected(self, alpha: float) -> tuple[float, float]:
        """Below and above which t :meth:`p` is at most ``alpha``."""
        ends = student(1 - alpha / 2, self.freedom)
        return (self._t(-ends), self._t(ends))

    def _t(self, cubic: float) -> float:
        """The t of which Hall's cubic is this: ``((1 + skew t / 3)^3 - 1) / skew + skew / 6``."""
        if abs(self.skew) < _ROUNDING:
            return cubic
        return (math.cbrt(1 + self.skew * (cubic - self.skew / 6)) - 1) * 3 / self.skew


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


def student_tails(t: float, freedom: int) -> float:
    """The chance that Student's t is as far from 0 as ``t`` (Abramowitz & Stegun 26.7.3 and 26.7.4).

    >>> round(student_tails(2.228, 10), 4), round(student_tails(12.706, 1), 4)
    (0.05, 0.05)
    """
    angle = math.atan2(t, math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for n in range(2 + odd, freedom - 1, 2):
        term *= (n - 1) / n * math.cos(angle) ** 2
        total += term
    within = (angle + math.sin(angle) * total) * 2 / math.pi if odd else math.sin(angle) * total
    return min(1.0, max(0.0, 1 - within))


def _blocks(draws: int, width: int) -> Iterator[int]:
    """Parts of ``draws`` that hold at most about _BLOCK numbers each."""
    at_most = max(1, _BLOCK // max(1, width))
    for start in range(0, draws, at_most):
        yield min(at_most, draws - start)
