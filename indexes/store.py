"""A database of the data folder: where it lies, who may read, who may write.

A reader gets a read-only connection inside one read transaction. The writer gets the one
connection that can write, while it holds the lock. SQLite before 3.51.3 can lose a WAL when two
connections checkpoint at once: a read-only connection never does, so that only the holder of the
lock commits or checkpoints.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from indexes.lock import writer_lock
from indexes.schema import MIGRATIONS, Migration, migrate, refuse_newer, version
from rag.errors import CatalogueDamaged, NotFound, StorageError

BUSY_SECONDS = 10.0
PAGE_BYTES = 8192
"""Five vectors of 384 float32 fit a page of this size; two, and a quarter wasted, fit the default 4096."""
CHECKPOINT_PAGES = 2000


@dataclass(frozen=True, slots=True)
class Database:
    """One SQLite file of a data folder, the lock that its writer holds, and the migrations to its tables,
    of which the first makes ``meta`` with the counter ``commits``. ``mend`` makes a missing one."""

    file: str
    lock: str
    migrations: tuple[Migration, ...]
    mend: str


CATALOGUE = Database("catalogue.db", "writer.lock", MIGRATIONS, "run `rag ingest PATH` to make one")


def _nowhere(_: str) -> None:
    pass


class Store:
    """One database of a data folder, shared by everything that reads and writes it.

    ``on_point`` is called with the name of each point that a crash is tested at. Raises NotFound
    when there is no such file and ``create`` is false, SchemaTooNew, CatalogueDamaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        create: bool,
        database: Database = CATALOGUE,
        on_point: Callable[[str], None] = _nowhere,
    ) -> None:
        self.folder = folder
        self.database = folder / database.file
        self.indexes = folder / "indexes"
        self.on_point = on_point
        self._lock = folder / database.lock
        self._migrations = database.migrations
        self._mend = database.mend
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        self._counting = threading.Lock()
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        if not self.database.is_file() and not create:
            raise NotFound(f"there is no {self.database.stem} in {folder}: {database.mend}")
        if not self._is_current():
            with self.writing(wait=BUSY_SECONDS):
                pass

    def _is_current(self) -> bool:
        if not self.database.is_file():
            return False
        with self.reading() as db:
            refuse_newer(db, self._migrations)
            return version(db) == len(self._migrations)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection, inside one read transaction: everything read is of one moment."""
        with translated(self.database, self._mend):
            try:
                db = self._idle.pop()
            except IndexError:
                db = self._connect(read_only=True)
            try:
                db.execute("BEGIN")
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                with self._counting:
                    if self._closed or self._is_still():
                        db.close()
                    else:
                        self._idle.append(db)

    @contextmanager
    def writing(self, *, wait: float = 0.0) -> Iterator[sqlite3.Connection]:
        """The connection that can write, under the lock. Raises LockHeld after ``wait`` seconds.

        What was committed is moved from the WAL to the file, as far as no reader needs it where it is,
        before the lock is let go.
        """
        with writer_lock(self._lock, wait=wait), translated(self.database, self._mend):
            db = self._connect(read_only=False)
            try:
                migrate(db, self._migrations)
                yield db
                db.execute("PRAGMA busy_timeout = 0")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                db.close()

    def close(self) -> None:
        """Close the idle connections; those in use are closed when their reader is done."""
        with self._counting:
            self._closed = True
            while self._idle:
                self._idle.pop().close()

    def _is_still(self) -> bool:
        """Whether the file lies where this process may not write and nobody writes now (a read-only mount,
        an image, another user's folder): even a reader of a WAL wants to make files beside it. Such a file
        is read as if it never changed, by a connection for each reader, so that the next one looks again."""
        wal = self.database.with_name(self.database.name + "-wal")
        return not os.access(self.folder, os.W_OK) and not wal.exists()

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        mode = "rwc" if not read_only else "ro&immutable=1" if self._is_still() else "ro"
        # Not bound to the thread that opened it: a connection is lent to one reader at a time.
        db = sqlite3.connect(
            f"{self.database.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            if read_only:
                db.execute("PRAGMA query_only = ON")
            else:
                db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA foreign_keys = ON")
                db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            db.execute("PRAGMA cache_size = -16384")
        except BaseException:
            db.close()
            raise
        return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """One ``BEGIN IMMEDIATE`` ... ``COMMIT``: all of the block, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'commits'")
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def translated(database: Path, mend: str) -> Iterator[None]:
    """SQLite's errors as ours; ``mend`` makes such a database anew."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.NotSupportedError):
        raise  # a mistake of ours, not of the file
    except (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.DataError) as error:
        raise StorageError(f"{database}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise CatalogueDamaged(
            f"{database} is damaged ({error}): restore it from a copy, or move it away and {mend}"
        ) from error
