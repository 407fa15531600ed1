"""What was computed of texts that lie in no collection: prompts, and examples in files.

A database of its own in the data folder, which may be deleted at any time: all of it can be computed again.
So it never stands in the way: damaged, locked or not writable, it remembers nothing, and that is all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from indexes.schema import Migration
from indexes.store import Database, Store, transaction
from rag.errors import CatalogueDamaged, NotFound, StorageError
from rag.protocols import Embedder
from rag.types import Vectors

MAX_VECTORS = 200_000
"""Rows that are kept, the newest ones; about 300 MB of 384 dimensions."""
MAX_NOTES = 100_000
_AT_ONCE = 500
"""Values of one SQL statement."""
_EMBEDDED = 256
"""Texts that are embedded before their vectors are written down."""

Key = TypeVar("Key", str, bytes)

FIRST: Migration = (
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES('commits', '0')",
    """CREATE TABLE vectors(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        embedder TEXT NOT NULL,
        hash BLOB NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE(embedder, hash))""",
    # What a recipe makes of a content: the digest names the content, the recipe how, and by which version.
    """CREATE TABLE notes(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        recipe TEXT NOT NULL,
        digest TEXT NOT NULL,
        note TEXT NOT NULL,
        UNIQUE(recipe, digest))""",
)
MEMO = Database("memo.db", "memo.lock", (FIRST,), "it is made when something is remembered")


class Memo:
    """Vectors and notes by content. Safe in any thread and process.

    >>> import tempfile
    >>> from rag.testing import HashEmbedder
    >>> embedder = HashEmbedder()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     memo = Memo(Path(folder))
    ...     first = memo.vectors(embedder, ["tea", "train"], input_type="document")
    ...     again = memo.vectors(embedder, ["train"], input_type="document")
    ...     (again[0] == first[1]).all(), embedder.embedded
    (np.True_, ['tea', 'train'])
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def vectors(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        *,
        input_type: Literal["query", "document"],
        tell: Callable[[int], None] = lambda _: None,
    ) -> Vectors:
        """Shape (len(texts), dim): each text's vector, embedded now where it is not remembered.

        ``tell`` is called before with how many those are, if any. Raises EmbedderError.
        """
        fingerprint, dim = embedder.info.fingerprint, embedder.info.dim
        hashes = [sha256(f"{input_type}\0{text}".encode("utf-8", "surrogatepass")).digest() for text in texts]
        known = self._known(fingerprint, hashes, size=4 * dim)
        missing = {hash: text for hash, text in zip(hashes, texts, strict=True) if hash not in known}
        if missing:
            tell(len(missing))
        waiting = list(missing.items())
        for start in range(0, len(waiting), _EMBEDDED):  # what was embedded is kept, whatever stops the next
            some = waiting[start : start + _EMBEDDED]
            made = embedder.embed([text for _, text in some], input_type=input_type)
            new = {hash: row.tobytes() for (hash, _), row in zip(some, made, strict=True)}
            known |= new
            self._write("vectors", MAX_VECTORS, [(fingerprint, *pair) for pair in new.items()])
        joined = b"".join(known[hash] for hash in hashes)
        return np.frombuffer(joined, dtype=np.float32).reshape(len(texts), dim)

    def notes(self, recipe: str, digests: Sequence[str]) -> dict[str, str]:
        """By digest what was noted of it by this recipe; those that were not are left out."""
        return self._read("SELECT digest, note FROM notes WHERE recipe = ?", "digest", recipe, digests)

    def note(self, recipe: str, notes: Mapping[str, str]) -> None:
        """Remember these, by digest."""
        self._write("notes", MAX_NOTES, [(recipe, digest, note) for digest, note in notes.items()])

    def _known(self, fingerprint: str, hashes: Sequence[bytes], *, size: int) -> dict[bytes, bytes]:
        sql = "SELECT hash, vector FROM vectors WHERE embedder = ?"
        found = self._read(sql, "hash", fingerprint, hashes)
        return {hash: vector for hash, vector in found.items() if len(vector) == size}

    def _read(self, sql: str, column: str, outer: str, keys: Sequence[Key]) -> dict[Key, Any]:
        found: dict[Key, Any] = {}
        if not (self._folder / MEMO.file).is_file():
            return found
        distinct = list(dict.fromkeys(keys))
        with self._forgiving(), self._opened(create=False) as store, store.reading() as db:
            for start in range(0, len(distinct), _AT_ONCE):
                some: Sequence[Key] = distinct[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                found.update(db.execute(f"{sql} AND {column} IN ({marks})", (outer, *some)))
        return found

    def _write(self, table: str, most: int, rows: Sequence[tuple[str, object, object]]) -> None:
        columns = {"vectors": "embedder, hash, vector", "notes": "recipe, digest, note"}[table]
        sql = f"INSERT OR REPLACE INTO {table}({columns}) VALUES(?, ?, ?)"
        oldest = f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?"  # noqa: S608
        with (
            self._forgiving(),
            self._opened(create=True) as store,
            store.writing(wait=1.0) as db,
            transaction(db),
        ):
            db.executemany(sql, rows)
            db.execute(oldest, (most,))

    def _opened(self, *, create: bool) -> closing[Store]:
        return closing(Store(self._folder, create=create, database=MEMO))

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except CatalogueDamaged:
            for path in self._folder.glob(f"{MEMO.file}*"):
                path.unlink(missing_ok=True)
        except (StorageError, NotFound, OSError):
            pass
