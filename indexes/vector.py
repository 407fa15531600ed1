"""The seam of vector indexes: arrays in, keys and scores out.

A vector index is a matrix of rows on disk and, over it, something that proposes rows without reading all
of them (:class:`Coarse`). What is proposed is read and scored as it is stored, so every kind gives the
same score to the same row, and a filter is judged by keys that SQL gave, never by a backend.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from indexes.exact import best, margin, rows_of, scan
from indexes.matrix import Matrix, Places
from indexes.settings import IndexSettings
from rag.types import Keys, Vectors

Mask: TypeAlias = npt.NDArray[np.bool_]
"""Shape (rows,): which rows may be proposed."""

MASKS_KEPT = 4
FEW_EXACT = 1_000
FEW_CLOSE = 12_000
"""So many rows that a filter lets pass are all read and scored: no index finds them more surely, and up to
there none is much faster. Of a million chunks that is a filter that passes one in a hundred."""


class CannotPropose(Exception):
    """What proposes rows cannot, now or for this filter: every row is looked at instead."""


class Coarse(Protocol):
    """What proposes rows. Built once beside a matrix, then only read; safe in any thread."""

    kind: ClassVar[str]
    exact: ClassVar[bool]
    """Whether it says what the rows that it leaves out could score at most."""

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """Write into the folder of the matrix what :meth:`open` needs. ``matrix`` may have no row."""

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """What was built there. The files were verified before."""

    @classmethod
    def drop(cls, folder: Path, *, settings: IndexSettings) -> None:
        """Forget what lies outside the folder, if anything does. The folder itself is removed by others.

        Raises StorageError where that cannot be reached: the folder must stay, and be dropped again.
        """

    def check(self) -> None:
        """Raise IndexDamaged unless what lies outside the folder, if anything does, is as it was built;
        StorageError where that cannot be told now. Searching goes on without it either way."""

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """About ``n`` rows or more that are likely the best, each once, in any order; none that the mask
        leaves out. With them the most that any other row could score; None where that is not known.
        Raises CannotPropose, IndexDamaged.

        An exact kind proposes all rows when ``n`` is their number, and says -inf then.
        """


@dataclass(frozen=True, slots=True)
class _Allowed:
    """A filter's keys as an index sees them."""

    keys: Keys
    places: Places
    mask: Mask


class VectorIndex:
    """A matrix and what proposes rows of it. Safe in any thread."""

    def __init__(self, matrix: Matrix, coarse: Coarse) -> None:
        self.matrix = matrix
        self._coarse = coarse
        self._allowed: OrderedDict[int, _Allowed] = OrderedDict()

    @classmethod
    def build(
        cls,
        folder: Path,
        batches: Iterable[tuple[Keys, Vectors]],
        *,
        count: int,
        dim: int,
        coarse: type[Coarse],
        settings: IndexSettings,
    ) -> None:
        """Write the index of ``count`` rows into an empty folder. Keys rise from batch to batch."""
        Matrix.write(folder, batches, count=count, dim=dim)
        coarse.build(folder, Matrix(folder), settings=settings)

    @classmethod
    def open(cls, folder: Path, *, coarse: type[Coarse], settings: IndexSettings) -> Self:
        """The index that was built there."""
        matrix = Matrix(folder)
        return cls(matrix, coarse.open(folder, matrix, settings=settings))

    @property
    def keys(self) -> Keys:
        """The keys it holds, rising."""
        return self.matrix.keys

    @property
    def exact(self) -> bool:
        """Whether its answers are those of a scan of every row."""
        return self._coarse.exact

    def search(
        self, vector: Vectors, *, k: int, allowed: Keys | None = None
    ) -> tuple[Keys, npt.NDArray[np.float32]]:
        """The at most ``k`` best rows: keys and :func:`indexes.exact.similarities`, best first, ties by key.

        ``allowed`` (rising, unknown ones ignored) limits the search to those keys. No padding: fewer
        than ``k`` come back only when there are no more. Raises IndexDamaged.
        """
        vector = np.ascontiguousarray(vector, dtype=np.float32)
        mask: Mask | None = None
        eligible = len(self.keys)
        if allowed is not None:
            passing = self._passing(allowed)
            if len(passing.places) <= max(k, FEW_EXACT if self.exact else FEW_CLOSE):
                return self._scored(vector, passing.places, k=k)
            if len(passing.places) < eligible:
                eligible, mask = len(passing.places), passing.mask
        if eligible <= (0 if self.exact else FEW_EXACT):
            return self._scored(vector, np.arange(eligible), k=k)
        n = k
        while n < eligible or self.exact:
            try:
                places, bound = self._coarse.propose(vector, n=min(n, eligible), mask=mask)
            except CannotPropose:
                break
            keys, scores = self._scored(vector, np.sort(places), k=k)
            if (len(keys) == k) if bound is None else (len(keys) == eligible or bound < scores[-1]):
                return keys, scores
            n *= 2
        return self._scanned(vector[np.newaxis], k=k, mask=mask)[0]

    def check(self) -> None:
        """See :meth:`Coarse.check`."""
        self._coarse.check()

    def scan(self, vectors: Vectors, *, k: int) -> list[tuple[Keys, npt.NDArray[np.float32]]]:
        """What :meth:`search` would find for each vector (shape (n, dim)) if it looked at every row."""
        return self._scanned(vectors, k=k, mask=None)

    def _scored(self, vector: Vectors, places: Places, *, k: int) -> tuple[Keys, npt.NDArray[np.float32]]:
        return scan(self.keys[places], self.matrix.take(places), vector, k=k)

    def _scanned(
        self, vectors: Vectors, *, k: int, mask: Mask | None
    ) -> list[tuple[Keys, npt.NDArray[np.float32]]]:
        found = [(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in vectors]
        for start, rows in self.matrix.blocks():
            keys = self.keys[start : start + len(rows)]
            if mask is not None:
                inside = mask[start : start + len(rows)]
                keys, rows = keys[inside], rows[inside]
            products = rows @ vectors.T
            for number, (best_keys, best_scores) in enumerate(found):
                floor = best_scores[-1] - 2 * margin(self.matrix.dim) if len(best_keys) == k else -np.inf
                near = np.flatnonzero(products[:, number] >= floor)
                more_keys, more_scores = scan(keys[near], rows[near], vectors[number], k=k)
                found[number] = best(
                    np.concatenate([best_keys, more_keys]), np.concatenate([best_scores, more_scores]), k=k
                )
        return found

    def _passing(self, allowed: Keys) -> _Allowed:
        """Remembered by the array itself: whoever filters asks with the same one again and again."""
        known = self._allowed.get(id(allowed))
        if known is None or known.keys is not allowed:
            places = rows_of(self.keys, allowed)
            mask = np.zeros(len(self.keys), dtype=bool)
            mask[places] = True
            known = self._allowed[id(allowed)] = _Allowed(allowed, places, mask)
            while len(self._allowed) > MASKS_KEPT:
                self._allowed.popitem(last=False)
        return known
