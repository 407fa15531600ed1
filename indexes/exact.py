"""The scores that every index gives, and the plain scan that defines them.

A score is computed from the stored row in double precision, wherever the row was found, so that no
ranking tells which index answered. What differs between indexes is which rows they look at; an exact
one proves that none it left out could have ranked (:func:`margin`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag.types import Keys, Vectors


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


def recall(found: npt.NDArray[np.float32], exact: npt.NDArray[np.float32]) -> float:
    """The share of the best rows (their scores, best first) that is among those found (likewise).

    Of rows that score alike any counts for any: which of them stand among the best is chance.

    >>> recall(np.float32([0.9, 0.5, 0.2]), np.float32([0.9, 0.7, 0.5]))
    0.6666666666666666
    """
    return float((found[: len(exact)] >= exact[-1]).sum() / len(exact)) if len(exact) else 1.0


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
    """The ``k`` best rows of a matrix, best first, ties by key: one product, then the best rescored."""
    if allowed is not None:
        rows = rows_of(keys, allowed)
        keys, matrix = keys[rows], matrix[rows]
    if k < len(keys):
        coarse = matrix @ vector
        floor = np.partition(coarse, len(coarse) - k)[len(coarse) - k] - 2 * margin(len(vector))
        rows = np.flatnonzero(coarse >= floor)
        keys, matrix = keys[rows], matrix[rows]
    return best(keys, similarities(matrix, vector), k=k)
