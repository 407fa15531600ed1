"""The seam of vector indexes, and the plainest of them: a matrix on disk, read through memory.

Every index gives the same scores for the same rows, so that no ranking tells which one answered:
:func:`similarities`. What differs is which rows an index looks at. An exact one proves that none
that it left out could have ranked (:func:`margin`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from rag.types import Keys, Vectors

KEYS_FILE = "keys.npy"
MATRIX_FILE = "vectors.npy"


class VectorIndex(Protocol):
    """Arrays in, keys and scores out. Built once in a folder, then only read; safe in any thread."""

    kind: ClassVar[str]

    @classmethod
    def build(cls, folder: Path, batches: Iterable[tuple[Keys, Vectors]], *, count: int, dim: int) -> None:
        """Write the index of ``count`` rows into an empty folder. Keys rise from batch to batch."""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The index that was built there."""

    @property
    def keys(self) -> Keys:
        """The keys it holds, rising."""

    def search(
        self, vector: Vectors, *, k: int, allowed: Keys | None = None
    ) -> tuple[Keys, npt.NDArray[np.float32]]:
        """The at most ``k`` best rows: keys and :func:`similarities`, best first, ties by key.

        ``allowed`` (rising, unknown ones ignored) limits the search to those keys. No padding: fewer
        than ``k`` come back only when there are no more.
        """


def similarities(rows: Vectors, vector: Vectors) -> npt.NDArray[np.float32]:
    """The score of each row, shape (n,): the dot product summed in double precision, as float32.

    A row's score does not depend on the rows beside it, as it does in a float32 matrix product,
    where the kernel changes with the row's place: equal rows score equally, and ties are ties.
    """
    products = rows.astype(np.float64) * vector.astype(np.float64)
    scores: npt.NDArray[np.float32] = products.sum(axis=1).astype(np.float32)
    return scores


def margin(dim: int) -> float:
    """How far a float32 dot product of two unit vectors can lie from the true one: ``dim * 2**-24``.

    The bound n*u on the sum of the rounding errors, in any order of summation (Higham, "Accuracy and
    Stability of Numerical Algorithms", 3.1), twice as large for the rounding of the score itself.
    """
    return 2 * dim * 2.0**-24


def best(keys: Keys, scores: npt.NDArray[np.float32], *, k: int) -> tuple[Keys, npt.NDArray[np.float32]]:
    """The ``k`` highest scores, best first, ties by key.

    >>> keys, scores = best(np.array([4, 2, 9]), np.array([0.5, 0.5, 0.7], dtype=np.float32), k=2)
    >>> keys.tolist()
    [9, 2]
    """
    order = np.lexsort((keys, -scores))[:k]
    return keys[order], scores[order]


def rows_of(keys: Keys, wanted: Keys) -> npt.NDArray[np.intp]:
    """Where the wanted keys stand among ``keys`` (rising); those that do not are left out.

    >>> rows_of(np.array([3, 5, 8]), np.array([5, 6, 8])).tolist()
    [1, 2]
    """
    rows = np.searchsorted(keys, wanted)
    inside = rows < len(keys)
    inside[inside] = keys[rows[inside]] == wanted[inside]
    return rows[inside]


def scan(
    keys: Keys, matrix: Vectors, vector: Vectors, *, k: int, allowed: Keys | None = None
) -> tuple[Keys, npt.NDArray[np.float32]]:
    """The contract of :meth:`VectorIndex.search` over a matrix: one product, then the best rescored."""
    if allowed is not None:
        rows = rows_of(keys, allowed)
        keys, matrix = keys[rows], matrix[rows]
    if k < len(keys):
        coarse = matrix @ vector
        floor = np.partition(coarse, len(coarse) - k)[len(coarse) - k] - 2 * margin(len(vector))
        rows = np.flatnonzero(coarse >= floor)
        keys, matrix = keys[rows], matrix[rows]
    return best(keys, similarities(matrix, vector), k=k)


class ExactIndex:
    """:class:`VectorIndex` without a library: the matrix is mapped, not read, and scanned whole."""

    kind: ClassVar[str] = "exact"

    def __init__(self, keys: Keys, matrix: Vectors) -> None:
        self._keys = keys
        self._matrix = matrix

    @classmethod
    def build(cls, folder: Path, batches: Iterable[tuple[Keys, Vectors]], *, count: int, dim: int) -> None:
        """See :class:`VectorIndex`. One batch is in memory at a time."""
        keys = np.empty(count, dtype=np.int64)
        done = 0
        with (folder / MATRIX_FILE).open("wb") as file:  # mapped, every page written would stay resident
            header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": (count, dim)}
            np.lib.format.write_array_header_1_0(file, header)
            for batch, vectors in batches:
                file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
                keys[done : done + len(batch)] = batch
                done += len(batch)
        np.save(folder / KEYS_FILE, keys[:done])

    @classmethod
    def open(cls, folder: Path) -> Self:
        """See :class:`VectorIndex`."""
        matrix = np.load(folder / MATRIX_FILE, mmap_mode="r", allow_pickle=False)
        return cls(np.load(folder / KEYS_FILE, allow_pickle=False), matrix)

    @property
    def keys(self) -> Keys:
        return self._keys

    def search(
        self, vector: Vectors, *, k: int, allowed: Keys | None = None
    ) -> tuple[Keys, npt.NDArray[np.float32]]:
        """See :class:`VectorIndex`."""
        return scan(self._keys, self._matrix, vector, k=k, allowed=allowed)
