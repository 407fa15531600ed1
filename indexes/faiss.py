"""What proposes rows by FAISS; ``flat``, which needs none, stands beside it.

Two traps of FAISS that its callers must know: it loads many a corrupted file without a word (what
opens a folder has compared its hashes before), and it hangs in a child that was forked after its
first use: start processes by spawning them.

A search runs on one thread: that takes a third of the CPU time of two, and less time on the clock.
Searches of several threads run side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from indexes.exact import margin
from indexes.matrix import Matrix, Places
from indexes.settings import IndexSettings
from indexes.vector import Coarse, Mask
from rag.types import Vectors

INDEX_FILE = "vectors.faiss"
STEPS_FILE = "steps.npz"
SPARE = 32
"""Rows asked for beyond 2 k by an exact scan, so that the last of them is likely to lie below the bound."""

# Measured on a million real vectors and real questions (python -m bench.vectors; docs/storage.md).
TRAINED_A_LIST = 40
"""Rows that a centre is learnt from: fewer, and the lists are uneven; more, and only the build is slower."""
LISTS_PROBED, LEAST_PROBED = 1 / 8, 32
"""Share of the lists that a search looks into, and how many at least."""
POOL, POOL_A_HIT = 300, 5
"""Rows read for k hits are POOL + POOL_A_HIT * k: a row's place by its bits is that far off at most."""
NEIGHBOURS = 32
"""Links of a row in the graph (M)."""
BUILDING = 80
WALKED = 128
"""Rows that the graph keeps in view while it is built (efConstruction), and at least while it is searched."""


class Flat(Coarse):
    """:class:`indexes.vector.Coarse` that looks at every row in float32; exact, and no work of FAISS."""

    kind: ClassVar[str] = "flat"
    exact: ClassVar[bool] = True

    def __init__(self, rows: Vectors) -> None:
        self._rows = rows

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. There is nothing to build."""

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """See :class:`indexes.vector.Coarse`."""
        return cls(matrix.mapped())

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """See :class:`indexes.vector.Coarse`."""
        products = self._rows @ vector
        if mask is not None:
            products[~mask] = -np.inf
        eligible = len(products) if mask is None else int(mask.sum())
        if n >= eligible:
            return np.flatnonzero(products > -np.inf), -np.inf
        places = np.argpartition(products, len(products) - n)[len(products) - n :]
        return places, float(products[places].min()) + 2 * margin(len(vector))


class Sq8(Coarse):
    """:class:`indexes.vector.Coarse` over ``IndexScalarQuantizer``; exact.

    A scan of all rows costs what reading them from memory costs; the bytes are a quarter of the rows.
    Each column is cut into 255 steps of its own. What a row x loses by that is a vector of at most
    ``loss`` in length, so a score by the bytes is off by at most ``loss * |question|``
    (Cauchy-Schwarz), and by the rounding of a float32 product (:func:`indexes.exact.margin`).
    """

    kind: ClassVar[str] = "sq8"
    exact: ClassVar[bool] = True

    def __init__(self, codes: Any, *, steps: Vectors, loss: float) -> None:
        self._codes = codes
        self._steps = steps
        self._loss = loss

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. The bytes are in memory while it is built."""
        import faiss

        largest = np.zeros(matrix.dim, dtype=np.float32)
        for _, rows in matrix.blocks():
            largest = np.maximum(largest, np.abs(rows).max(axis=0))
        steps = (np.where(largest > 0, largest, 1) / 127).astype(np.float32)
        codes = faiss.IndexScalarQuantizer(
            matrix.dim, faiss.ScalarQuantizer.QT_8bit_direct_signed, faiss.METRIC_INNER_PRODUCT
        )
        loss = 0.0
        for _, rows in matrix.blocks():
            whole = np.rint(rows / steps).clip(-127, 127)
            lost = rows - whole.astype(np.float64) * steps
            loss = max(loss, float(np.linalg.norm(lost, axis=1).max()))
            codes.add(whole)
        faiss.write_index(codes, str(folder / INDEX_FILE))
        np.savez(folder / STEPS_FILE, steps=steps, loss=loss)

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """See :class:`indexes.vector.Coarse`."""
        import faiss

        codes = faiss.read_index(str(folder / INDEX_FILE))
        with np.load(folder / STEPS_FILE, allow_pickle=False) as about:
            return cls(codes, steps=about["steps"], loss=float(about["loss"]))

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """See :class:`indexes.vector.Coarse`."""
        import faiss

        eligible = self._codes.ntotal if mask is None else int(mask.sum())
        # The question in 255 steps too: FAISS multiplies whole numbers by whole numbers.
        weighed = vector.astype(np.float64) * self._steps
        step = float(np.abs(weighed).max()) / 127 or 1.0
        query = np.rint(weighed / step).astype(np.float32)
        off = np.linalg.norm(vector - query * step / self._steps)
        bound = self._loss * np.linalg.norm(vector) + off * (1 + self._loss) + 2 * margin(len(vector))
        fetch = min(2 * n + SPARE, eligible)
        options = None
        if mask is not None:
            options = faiss.SearchParameters(sel=_selector(mask))  # type: ignore[call-arg]
        with _one_thread():
            coarse, (found,) = self._codes.search(query[np.newaxis], fetch, params=options)
        return found, -np.inf if fetch == eligible else float(coarse[0, -1] * step + bound)


class RaBitQ(Coarse):
    """:class:`indexes.vector.Coarse` over ``IndexIVFRaBitQFastScan``: one bit a number, in lists.

    The rows lie in lists around the square root of their number of centres (k-means); a search looks into the
    lists nearest to the question. Of each row it holds the signs of its difference from the centre, turned at
    random, and two numbers that make the estimate of its score unbiased (Gao and Long, "RaBitQ", SIGMOD
    2024). At 384 dimensions a row takes some 72 bytes of memory, a twentieth of itself.
    """

    kind: ClassVar[str] = "rabitq"
    exact: ClassVar[bool] = False

    def __init__(self, lists: Any, *, effort: float) -> None:
        self._lists = lists
        self._effort = effort

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. Some rows for each list are in memory while it learns."""
        import faiss

        centres = faiss.IndexFlatIP(matrix.dim)
        lists = faiss.IndexIVFRaBitQFastScan(
            centres, matrix.dim, max(1, math.isqrt(len(matrix))), faiss.METRIC_INNER_PRODUCT
        )
        if len(matrix):
            lists.cp.min_points_per_centroid = 1  # or it warns on stderr where rows are few
            learnt = min(len(matrix), TRAINED_A_LIST * lists.nlist)
            chosen = np.random.default_rng(0).choice(len(matrix), learnt, replace=False)
            lists.train(matrix.take(np.sort(chosen)))
            for _, rows in matrix.blocks():
                lists.add(rows)
        faiss.write_index(lists, str(folder / INDEX_FILE))

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """See :class:`indexes.vector.Coarse`."""
        import faiss

        return cls(faiss.read_index(str(folder / INDEX_FILE)), effort=settings.effort)

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """See :class:`indexes.vector.Coarse`."""
        import faiss

        pool = math.ceil(self._effort * (POOL + POOL_A_HIT * n))
        probes = self._effort * max(LEAST_PROBED, self._lists.nlist * LISTS_PROBED)
        options: dict[str, Any] = {}
        if mask is not None:
            # What passes is as far apart as the best of so many more rows: it lies in more lists.
            probes /= math.sqrt(mask.mean())
            options["sel"] = _selector(mask)
        nprobe = min(self._lists.nlist, math.ceil(probes))
        parameters = faiss.IVFSearchParameters(nprobe=nprobe, **options)  # type: ignore[call-arg]
        with _one_thread():
            _, (found,) = self._lists.search(
                vector[np.newaxis], min(pool, self._lists.ntotal), params=parameters
            )
        return found[found >= 0], None


class Hnsw(Coarse):
    """:class:`indexes.vector.Coarse` over ``IndexHNSWSQ``: a graph of neighbours, one byte a number.

    (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
    Navigable Small World graphs", 2018.) It is the fastest to search, and takes many times as long to build.
    """

    kind: ClassVar[str] = "hnsw"
    exact: ClassVar[bool] = False

    def __init__(self, graph: Any, *, effort: float) -> None:
        self._graph = graph
        self._effort = effort

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. The whole graph is in memory while it is built."""
        import faiss

        byte: Any = faiss.ScalarQuantizer.QT_8bit
        graph = faiss.IndexHNSWSQ(matrix.dim, byte, NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = BUILDING
        if len(matrix):
            learnt = np.random.default_rng(0).choice(len(matrix), min(len(matrix), 65_536), replace=False)
            graph.train(matrix.take(np.sort(learnt)))
            for _, rows in matrix.blocks():
                graph.add(rows)
        faiss.write_index(graph, str(folder / INDEX_FILE))

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """See :class:`indexes.vector.Coarse`."""
        import faiss

        return cls(faiss.read_index(str(folder / INDEX_FILE)), effort=settings.effort)

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """See :class:`indexes.vector.Coarse`."""
        import faiss

        walked = max(WALKED, 2 * n)
        options: dict[str, Any] = {}
        if mask is not None:
            walked /= mask.mean()  # the graph is walked through rows that do not pass, too
            options["sel"] = _selector(mask)
        width = math.ceil(self._effort * walked)
        parameters = faiss.SearchParametersHNSW(efSearch=width, **options)  # type: ignore[attr-defined]
        with _one_thread():
            _, (found,) = self._graph.search(
                vector[np.newaxis], min(2 * n, self._graph.ntotal), params=parameters
            )
        return found[found >= 0], None


def _selector(mask: Mask) -> Any:
    """FAISS's form of a mask; it holds on to the bytes that it points into."""
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))  # type: ignore[call-arg,arg-type]


@contextmanager
def _one_thread() -> Iterator[None]:
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # of the calling thread alone
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
