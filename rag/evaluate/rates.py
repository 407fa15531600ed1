"""Rates with their intervals: how often something happened, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` of ``of``, and the interval of the true rate."""

    count: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The rate, 0 where nothing was counted."""
        return self.count / self.of if self.of else 0.0

    def apart(self, other: Rate) -> bool:
        """Whether the intervals do not overlap: a stricter demand than a test's."""
        return bool(self.of and other.of) and (self.low > other.high or other.low > self.high)

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return asdict(self) | {"value": self.value}


def rate(count: int, of: int, *, level: float = 0.95) -> Rate:
    """A rate with Wilson's interval (1927, "Probable Inference"), which holds for few and for rare ones.

    >>> none = rate(0, 20)
    >>> round(none.low, 3), round(none.high, 3)
    (0.0, 0.161)
    """
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, scale = count / of, 1 + z * z / of
    middle = (share + z * z / (2 * of)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return Rate(count, of, max(0.0, middle - half), min(1.0, middle + half))
