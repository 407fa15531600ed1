"""FAISS behind the seam of vector indexes: a scan of one byte a number, then the rows themselves.

A scan of all rows costs what reading them from memory costs. The bytes are a quarter of the rows, and
tell every score to within a bound that is known; only the rows that could rank by it are read, from a
file that is mapped into memory.

Two traps of FAISS that its callers must know: it loads many a corrupted file without a word (what
opens a folder has compared its hashes before), and it hangs in a child that was forked after its
first use: start processes by spawning them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from indexes.exact import KEYS_FILE, MATRIX_FILE, ExactIndex, margin, rows_of, scan
from rag.types import Keys, Vectors

INDEX_FILE = "vectors.faiss"
STEPS_FILE = "steps.npz"
BLOCK = 2_048
"""Rows cut into bytes at a time."""
SPARE = 32
"""Rows asked for beyond 2 k, so that the last of them is likely to lie below the bound."""


class FaissIndex:
    """:class:`indexes.exact.VectorIndex` over ``IndexScalarQuantizer``; exact.

    Each column is cut into 255 steps of its own. What a row x loses by that is a vector of at most
    ``loss`` in length, so a score by the bytes is off by at most ``loss * |question|``
    (Cauchy-Schwarz), and by the rounding of a float32 product (:func:`indexes.exact.margin`).

    A search runs on one thread: that takes a third of the CPU time of two, and less time on the clock.
    Searches of several threads run side by side.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(self, keys: Keys, matrix: Vectors, codes: Any, *, steps: Vectors, loss: float) -> None:
        self._keys = keys
        self._matrix = matrix
        self._codes = codes
        self._steps = steps
        self._loss = loss

    @classmethod
    def build(cls, folder: Path, batches: Iterable[tuple[Keys, Vectors]], *, count: int, dim: int) -> None:
        """See :class:`indexes.exact.VectorIndex`. The bytes are in memory while it is built."""
        import faiss

        ExactIndex.build(folder, batches, count=count, dim=dim)
        largest = np.zeros(dim, dtype=np.float32)
        for block in blocks_of(folder, dim=dim):
            largest = np.maximum(largest, np.abs(block).max(axis=0))
        steps = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
        codes = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        loss = 0.0
        for block in blocks_of(folder, dim=dim):
            whole = np.rint(block / steps).clip(-127, 127)
            lost = block - whole.astype(np.float64) * steps
            loss = max(loss, float(np.linalg.norm(lost, axis=1).max()))
            codes.add(whole)
        faiss.write_index(codes, str(folder / INDEX_FILE))
        np.savez(folder / STEPS_FILE, steps=steps, loss=loss)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """See :class:`indexes.exact.VectorIndex`."""
        import faiss

        keys = np.load(folder / KEYS_FILE, allow_pickle=False)
        matrix = np.asarray(np.load(folder / MATRIX_FILE, mmap_mode="r", allow_pickle=False))
        codes = faiss.read_index(str(folder / INDEX_FILE))
        with np.load(folder / STEPS_FILE, allow_pickle=False) as about:
            return cls(keys, matrix, codes, steps=about["steps"], loss=float(about["loss"]))

    @property
    def keys(self) -> Keys:
        return self._keys

    def search(
        self, vector: Vectors, *, k: int, allowed: Keys | None = None
    ) -> tuple[Keys, npt.NDArray[np.float32]]:
        """See :class:`indexes.exact.VectorIndex`."""
        import faiss

        eligible = len(self._keys)
        options = None
        if allowed is not None:
            mask = np.zeros(len(self._keys), dtype=bool)
            mask[rows_of(self._keys, allowed)] = True
            eligible = int(mask.sum())
            if eligible < len(self._keys):
                bits = np.packbits(mask, bitorder="little")
                selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
                options = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        if not (k := min(k, eligible)):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        vector = np.ascontiguousarray(vector, dtype=np.float32)
        # The question in 255 steps too: FAISS multiplies whole numbers by whole numbers.
        weighed = vector.astype(np.float64) * self._steps
        step = float(np.abs(weighed).max()) / 127 or 1.0
        query = np.rint(weighed / step).astype(np.float32)
        off = np.linalg.norm(vector - query * step / self._steps)
        bound = self._loss * np.linalg.norm(vector) + off * (1 + self._loss) + 2 * margin(len(vector))
        fetch = min(2 * k + SPARE, eligible)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # of the calling thread alone
        try:
            while True:
                coarse, (found,) = self._codes.search(query[np.newaxis], fetch, params=options)
                keys, scores = scan(self._keys[found], self._matrix[found], vector, k=k)
                # Done when no row left out, whatever the bytes hide of it, can reach the k-th.
                if fetch == eligible or coarse[0, -1] * step + bound < scores[-1]:
                    return keys, scores
                fetch = min(2 * fetch, eligible)
        finally:
            faiss.omp_set_num_threads(threads)


def blocks_of(folder: Path, *, dim: int) -> Iterator[Vectors]:
    """The rows of an index being built, BLOCK at a time: read, not mapped, so that they do not stay."""
    with (folder / MATRIX_FILE).open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        while len(block := np.fromfile(file, dtype=np.float32, count=BLOCK * dim)):
            yield block.reshape(-1, dim)
