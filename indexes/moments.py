"""The first two moments of a collection's vectors: how a question's cosines to all of them are spread,
without computing one of them.

The cosine of a question q to a unit row x is q.x; over all rows its mean is q.m, with m the mean row, and
its mean square q'Sq, with S the mean of the rows' outer products. Both are sums, so moments of parts add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.types import Vectors

MOMENTS_FILE = "moments.npz"
_BLOCK = 4_096  # rows multiplied at once, in float32; the blocks are summed in float64


@dataclass(frozen=True, slots=True)
class Moments:
    """Of ``count`` rows: their sum, shape (dim,), and the sum of their outer products, (dim, dim)."""

    count: int
    rows: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]

    @staticmethod
    def none(dim: int) -> Moments:
        """Those of no rows."""
        return Moments(0, np.zeros(dim), np.zeros((dim, dim)))

    def with_rows(self, vectors: Vectors) -> Moments:
        """Those of more rows, shape (n, dim).

        >>> Moments.none(2).with_rows(np.eye(2, dtype=np.float32)).products.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        rows, products = self.rows.copy(), self.products.copy()
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            rows += block.sum(axis=0, dtype=np.float64)
            products += block.T @ block
        return Moments(self.count + len(vectors), rows, products)

    def save(self, folder: Path) -> None:
        """Write them into a folder."""
        np.savez(folder / MOMENTS_FILE, count=self.count, rows=self.rows, products=self.products)

    @staticmethod
    def load(folder: Path) -> Moments:
        """What :meth:`save` wrote."""
        with np.load(folder / MOMENTS_FILE, allow_pickle=False) as about:
            return Moments(int(about["count"]), about["rows"], about["products"])


def spread(parts: Iterable[Moments], vector: Vectors) -> tuple[float, float]:
    """Mean and standard deviation of the cosines of ``vector`` (shape (dim,)) to all rows of all parts.

    Zeros where there are no rows; a deviation of 0 where all rows are alike, up to rounding.

    >>> rows = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> spread([Moments.none(2).with_rows(rows)], np.array([1, 0], dtype=np.float32))
    (0.5, 0.5)
    """
    asked = vector.astype(np.float64)
    count, total, squares = 0, 0.0, 0.0
    for part in parts:
        count += part.count
        total += float(part.rows @ asked)
        squares += float(asked @ part.products @ asked)
    if not count:
        return 0.0, 0.0
    mean = total / count
    variance = squares / count - mean * mean
    return mean, math.sqrt(variance) if variance > 1e-9 else 0.0
