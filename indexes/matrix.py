"""The rows of a vector index on disk: written once, then read where they are asked for.

Rows are read, not mapped: what is mapped stays resident page by page (and the pages around it), so that a
large index would slowly take its whole size of memory; a read leaves nothing behind but the page cache,
which the system takes back when it likes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rag.errors import IndexDamaged
from rag.types import Keys, Vectors

KEYS_FILE = "keys.npy"
ROWS_FILE = "vectors.npy"
BLOCK = 4_096
"""Rows read at a time by what goes through all of them."""

Places = npt.NDArray[np.int64]
"""Where rows stand in a matrix, counted from 0."""


class Matrix:
    """Keys (rising) and unit rows, shape (count, dim), float32. Safe in any thread.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Matrix.write(folder, [(np.array([3, 5]), np.eye(2, dtype=np.float32))], count=2, dim=2)
    >>> matrix = Matrix(folder)
    >>> matrix.keys.tolist(), matrix.take(np.array([1])).tolist()
    ([3, 5], [[0.0, 1.0]])
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ROWS_FILE
        self.keys: Keys = np.load(folder / KEYS_FILE, allow_pickle=False)
        self._file = self.path.open("rb", buffering=0)
        np.lib.format.read_magic(self._file)
        (count, self.dim), _, _ = np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        if count != len(self.keys):
            raise IndexDamaged(f"{folder} holds {count} rows for {len(self.keys)} keys")

    @staticmethod
    def write(folder: Path, batches: Iterable[tuple[Keys, Vectors]], *, count: int, dim: int) -> None:
        """Write ``count`` rows into a folder, a batch in memory at a time. Keys rise, across batches too."""
        keys = np.empty(count, dtype=np.int64)
        done = 0
        with (folder / ROWS_FILE).open("wb") as file:
            header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": (count, dim)}
            np.lib.format.write_array_header_1_0(file, header)
            for batch, vectors in batches:
                file.write(np.ascontiguousarray(vectors, dtype=np.float32).data)
                keys[done : done + len(batch)] = batch
                done += len(batch)
        np.save(folder / KEYS_FILE, keys[:done])

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, places: Places) -> Vectors:
        """The rows at ``places`` (rising), shape (len(places), dim). Neighbours are read at once.

        Raises IndexDamaged where the file ends before them.
        """
        rows = np.empty((len(places), self.dim), dtype=np.float32)
        if not rows.size:
            return rows
        width = 4 * self.dim
        buffer = memoryview(rows.reshape(-1).view(np.uint8).data)
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        firsts = [0, *cuts.tolist()]
        offsets = (self._start + width * places[firsts]).tolist()
        file = self._file.fileno()
        for first, last, offset in zip(firsts, [*firsts[1:], len(places)], offsets, strict=True):
            part = buffer[first * width : last * width]
            while len(part):
                if not (done := os.preadv(file, [part], offset)):
                    raise IndexDamaged(f"{self.path} ends before row {places[last - 1]}")
                part, offset = part[done:], offset + done
        return rows

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All rows, BLOCK at a time, each block with the place of its first row."""
        for start in range(0, len(self), BLOCK):
            yield start, self.take(np.arange(start, min(start + BLOCK, len(self))))

    def mapped(self) -> Vectors:
        """All rows, mapped: for what reads every one of them again and again."""
        return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))
