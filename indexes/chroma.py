"""Chroma, embedded: a graph of neighbours in a folder that is built once and never written again.

Opening a Chroma folder writes to it: every client puts a row into its SQLite file. But a generation's
files are what was published, or they are not used. So each opening gets a private folder, in which the
SQLite file is a copy and what Chroma only reads (rows and graph) is linked to.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import shutil
import sqlite3
import tempfile
import weakref
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from indexes.matrix import Matrix, Places
from indexes.settings import IndexSettings
from indexes.vector import CannotPropose, Coarse, Mask
from rag.errors import IndexDamaged
from rag.types import Vectors

HOME = "chroma"
DATABASE = "chroma.sqlite3"
COLLECTION = "rows"
PRIVATE = "promptwell-chroma-"
"""How the names of private folders begin, in the system's folder for temporary files."""

GRAPH = {
    "space": "ip",  # of unit rows it is the cosine; "cosine" would make them unit rows again
    "max_neighbors": 32,
    "ef_construction": 200,
    # Rows that are not saved at the end lie in a log, which is replayed at each opening (4.6 s for 20,000
    # rows). Saving after every batch costs no CPU that could be measured: it writes what is new.
    "sync_threshold": 2,
}
"""A search for 100 of 94,900 real vectors finds 98.2 % of them with Chroma's own 16 and 100, 99.2 % with
these, in about the same time; building takes 1.8 times as long (74 CPU seconds)."""
WALKED = 128
"""Rows that a search asks for at least: it looks at as many of the graph, and finds the first ones surely."""
WORTH = 1 / 20
"""Share of the rows past which asking for them takes longer than reading every row: Chroma takes 6 µs for
each that it returns and reading it 1.5, a scan 0.4 µs for each row there is (384 dimensions)."""


class Chroma(Coarse):
    """:class:`indexes.vector.Coarse` by a collection of Chroma, whose ids are the places of the rows.

    Raises IndexDamaged where Chroma does: the files were verified, so it is the private folder that broke.
    """

    kind: ClassVar[str] = "chroma"
    exact: ClassVar[bool] = False

    def __init__(self, client: Any, *, count: int, effort: float) -> None:
        self._rows = client.get_collection(COLLECTION, embedding_function=None)
        self._count = count
        self._effort = effort

    @classmethod
    def build(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> None:
        """See :class:`indexes.vector.Coarse`. Rows and graph are in memory while it is built."""
        home = folder / HOME
        with contextlib.closing(_client(home)) as client:
            rows = client.create_collection(
                COLLECTION, embedding_function=None, configuration={"hnsw": GRAPH}
            )
            for start, block in matrix.blocks():
                rows.add(ids=[str(place) for place in range(start, start + len(block))], embeddings=block)
        # Four fifths of the SQLite file are room that the log took: it is copied at each opening.
        with contextlib.closing(sqlite3.connect(home / DATABASE)) as db:
            db.execute("VACUUM")

    @classmethod
    def open(cls, folder: Path, matrix: Matrix, *, settings: IndexSettings) -> Self:
        """See :class:`indexes.vector.Coarse`."""
        private, lock = private_folder(folder / HOME)
        client = None
        try:
            client = _client(private)
            found = cls(client, count=len(matrix), effort=settings.effort)
        except BaseException:
            _close(client, private, lock)
            raise
        weakref.finalize(found, _close, client, private, lock)
        return found

    def propose(self, vector: Vectors, *, n: int, mask: Mask | None) -> tuple[Places, float | None]:
        """See :class:`indexes.vector.Coarse`."""
        from chromadb.errors import ChromaError

        fetch = asked_for(n, mask, count=self._count, effort=self._effort)
        try:
            found = self._rows.query(query_embeddings=vector[np.newaxis], n_results=fetch, include=[])
        except ChromaError as error:
            raise IndexDamaged(f"Chroma cannot search its private folder any more: {error}") from error
        return places_of(found["ids"][0], mask, count=self._count), None


def asked_for(n: int, mask: Mask | None, *, count: int, effort: float) -> int:
    """How many rows to ask Chroma for so that about ``n`` pass the mask, which it does not know.

    Raises CannotPropose where a scan of all rows is quicker.

    >>> asked_for(100, None, count=1_000_000, effort=1.0)
    200
    >>> asked_for(100, np.arange(1_000_000) < 100_000, count=1_000_000, effort=1.0)
    2000
    """
    fetch = effort * max(WALKED, 2 * n)
    if mask is not None:
        fetch /= mask.mean()
        if fetch > WORTH * count:
            raise CannotPropose(f"of {count:,} rows so few pass that reading all is quicker")
    return min(math.ceil(fetch), count)


def places_of(ids: list[str], mask: Mask | None, *, count: int) -> Places:
    """The places that ids of Chroma name, of those that pass. Raises ValueError where one names none.

    >>> places_of(["7", "0", "3"], np.arange(8) < 7, count=8).tolist()
    [0, 3]
    """
    places = np.array(ids, dtype=np.int64)
    if ((places < 0) | (places >= count)).any():
        raise ValueError(f"an id names none of {count} rows")
    return places if mask is None else places[mask[places]]


def private_folder(home: Path) -> tuple[Path, int]:
    """A folder that Chroma may write to and that says what ``home`` says; and the lock that keeps it.

    The lock goes with its holder, however that one dies; what a dead one left is removed by the next.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{PRIVATE}*/{DATABASE}"):
        with contextlib.suppress(OSError):  # it is in use, another user's, or gone meanwhile
            _remove_left(left.parent)
    private = Path(tempfile.mkdtemp(prefix=PRIVATE))
    lock = os.open(private, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_SH)  # before there is a database: without one, nobody removes it
    for path in home.iterdir():
        if path.name == DATABASE:
            shutil.copyfile(path, private / DATABASE)  # not its mode: it may be a read-only one
        else:
            (private / path.name).symlink_to(path.resolve())
    return private, lock


def _remove_left(private: Path) -> None:
    lock = os.open(private, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(private)
    finally:
        os.close(lock)


def _client(home: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    return chromadb.PersistentClient(path=str(home), settings=Settings(anonymized_telemetry=False))


def _close(client: Any, private: Path, lock: int) -> None:
    """Chroma keeps every client that is not closed, with its threads and files, as long as the process."""
    if client is not None:
        client.close()
    shutil.rmtree(private, ignore_errors=True)
    os.close(lock)
