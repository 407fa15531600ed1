"""The first two moments of a collection's vectors: how a question's cosines to all of them are spread,
without computing one of them.

The cosine of a question q to a unit row x is q.x; over all rows its mean is q.m, with m the mean row, and
its mean square q'Sq, with S the mean of the rows' outer products. Both are sums, so moments of parts add up.
The mean is kept for each language too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.types import Vectors

MOMENTS_FILE = "moments.npz"
FEW = 50
"""A language's mean counts as much as the collection's where it has so many rows, less where it has fewer."""
_BLOCK = 4_096  # rows multiplied at once, in float32; the blocks are summed in float64

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Of some rows: by language their number and their sum, shape (dim,); of all of them the sum of their
    outer products, shape (dim, dim)."""

    languages: Mapping[str, tuple[int, Sums]]
    products: Sums

    @staticmethod
    def none(dim: int) -> Moments:
        """Those of no rows."""
        return Moments({}, np.zeros((dim, dim)))

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(count for count, _ in self.languages.values())

    def with_rows(self, vectors: Vectors, languages: Sequence[str]) -> Moments:
        """Those of more rows, shape (n, dim), each in a language ("": unknown).

        >>> Moments.none(2).with_rows(np.eye(2, dtype=np.float32), ["es", "en"]).products.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
        """
        products = self.products.copy()
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK]
            products += block.T @ block
        known = dict(self.languages)
        spoken = np.array(languages, dtype=object)
        for language in dict.fromkeys(languages):
            rows = vectors[spoken == language]
            count, total = known.get(language, (0, np.zeros(len(products))))
            known[language] = count + len(rows), total + rows.sum(axis=0, dtype=np.float64)
        return Moments(known, products)

    def save(self, folder: Path) -> None:
        """Write them into a folder."""
        np.savez(
            folder / MOMENTS_FILE,
            languages=np.array(list(self.languages), dtype=np.str_),
            counts=np.array([count for count, _ in self.languages.values()], dtype=np.int64),
            rows=np.array([total for _, total in self.languages.values()]),
            products=self.products,
        )

    @staticmethod
    def load(folder: Path) -> Moments:
        """What :meth:`save` wrote."""
        with np.load(folder / MOMENTS_FILE, allow_pickle=False) as about:
            named = zip(about["languages"].tolist(), about["counts"].tolist(), about["rows"], strict=True)
            return Moments({name: (count, total) for name, count, total in named}, about["products"])


@dataclass(frozen=True, slots=True)
class Spread:
    """How the cosines of a question to all rows lie: their mean and standard deviation, and the mean by
    language. Zeros where there are no rows; a deviation of 0 where all rows are alike, up to rounding."""

    mean: float
    deviation: float
    languages: Mapping[str, float]


def spread(parts: Iterable[Moments], vector: Vectors) -> Spread:
    """Of the cosines of ``vector`` (shape (dim,)) to all rows of all parts.

    A language's mean is drawn towards that of all rows as if FEW more of its rows lay there.

    >>> rows = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> asked = np.array([1, 0], dtype=np.float32)
    >>> found = spread([Moments.none(2).with_rows(rows, ["es", "en"])], asked)
    >>> found.mean, found.deviation, round(found.languages["es"], 2)
    (0.5, 0.5, 0.51)
    """
    asked = vector.astype(np.float64)
    squares = 0.0
    counts: dict[str, int] = {}
    totals: dict[str, float] = {}
    for part in parts:
        squares += float(asked @ part.products @ asked)
        for language, (count, rows) in part.languages.items():
            counts[language] = counts.get(language, 0) + count
            totals[language] = totals.get(language, 0.0) + float(rows @ asked)
    count = sum(counts.values())
    if not count:
        return Spread(0.0, 0.0, {})
    mean = math.fsum(totals.values()) / count
    variance = squares / count - mean * mean
    means = {name: (totals[name] + FEW * mean) / (counts[name] + FEW) for name in counts}
    return Spread(mean, math.sqrt(variance) if variance > 1e-9 else 0.0, means)
