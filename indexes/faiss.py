"""FAISS behind the seam of vector indexes: a flat index of inner products.

Two traps of FAISS that its callers must know: it loads many a corrupted file without a word (what
opens a folder has compared its hashes before), and it hangs in a child that was forked after its
first use: start processes by spawning them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from indexes.exact import KEYS_FILE, best, margin, rows_of, similarities
from rag.types import Keys, Vectors

INDEX_FILE = "vectors.faiss"
SPARE = 32
"""Rows asked for beyond k, to see that the last of them lies below the margin."""


class FaissIndex:
    """:class:`indexes.exact.VectorIndex` over ``IndexFlatIP``; exact.

    A search runs on one thread: at 20,000 x 384 that takes a third of the CPU time of two, and less
    time on the clock. Searches of several threads run side by side.
    """

    kind: ClassVar[str] = "faiss"

    def __init__(self, keys: Keys, index: Any) -> None:
        import faiss

        self._keys = keys
        self._index = index
        self._matrix: Vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(
            -1, index.d
        )

    @classmethod
    def build(cls, folder: Path, batches: Iterable[tuple[Keys, Vectors]], *, count: int, dim: int) -> None:
        """See :class:`indexes.exact.VectorIndex`. The index is in memory while it is built."""
        import faiss

        index = faiss.IndexFlatIP(dim)
        parts = [np.empty(0, dtype=np.int64)]
        for keys, vectors in batches:
            index.add(np.ascontiguousarray(vectors, dtype=np.float32))
            parts.append(keys)
        faiss.write_index(index, str(folder / INDEX_FILE))
        np.save(folder / KEYS_FILE, np.concatenate(parts))

    @classmethod
    def open(cls, folder: Path) -> Self:
        """See :class:`indexes.exact.VectorIndex`."""
        import faiss

        index = faiss.read_index(str(folder / INDEX_FILE))
        return cls(np.load(folder / KEYS_FILE, allow_pickle=False), index)

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
            bits = np.packbits(mask, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
            options = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
        if not (k := min(k, eligible)):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        query = np.ascontiguousarray(vector, dtype=np.float32)[np.newaxis]
        fetch = min(k + SPARE, eligible)
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)  # of the calling thread alone
        try:
            coarse, rows = self._index.search(query, fetch, params=options)
            # Done when every row that could rank is among those fetched: see indexes.exact.margin.
            while fetch < eligible and coarse[0, -1] >= coarse[0, k - 1] - 2 * margin(len(vector)):
                fetch = min(4 * fetch, eligible)
                coarse, rows = self._index.search(query, fetch, params=options)
        finally:
            faiss.omp_set_num_threads(threads)
        found = rows[0][rows[0] >= 0]  # FAISS pads with -1
        return best(self._keys[found], similarities(self._matrix[found], query[0]), k=k)
