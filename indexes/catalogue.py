"""The catalogue: the truth about every collection, in one SQLite file.

Everything else in the data folder can be rebuilt from it without a model. Who may read and write
it, and how, stands in :mod:`indexes.store`; its tables in :mod:`indexes.schema`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from indexes.collection import SqliteCollection
from indexes.generation import (
    UNUSED_KEPT,
    GenerationInfo,
    GenerationStore,
    changed,
    discard,
    generations_of,
    live_chunks,
)
from indexes.kinds import checked
from indexes.ledger import SqliteLedger
from indexes.rows import CHUNK, DOCUMENT, SPACE, chunk_of, document_of, metadata_of, space_of
from indexes.settings import DEFAULTS, IndexSettings
from indexes.store import Store, transaction
from indexes.views import Views
from indexes.writer import SqliteWriter
from rag.errors import InvalidSetting, UnknownCollection, UnknownDocument
from rag.protocols import Space
from rag.types import Chunk, Document, EmbedderInfo, Metadata

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A collection's name is also the name of a folder, on any system."""


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection at a glance. ``failed`` counts items that could not be taken in.

    ``space`` is the one that answers; ``building`` one that is being filled beside it, with the number
    of documents ``moved`` to it. ``pending`` counts the chunks newer than ``generation``.
    """

    name: str
    created_at: str
    documents: int
    chunks: int
    items: int
    failed: int
    space: Space | None
    building: Space | None
    moved: int
    generation: GenerationInfo | None
    pending: int


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A stored document without its text. ``item_uri`` is the file or URL that it came from."""

    id: str
    title: str
    uri: str
    item_uri: str
    characters: int
    chunks: int
    metadata: Metadata
    added_at: str


class Catalogue:
    """All collections of a data folder, for any number of threads and processes.

    >>> import tempfile
    >>> from rag.testing import HashEmbedder
    >>> from rag.types import text_hash
    >>> from rag.protocols import PutDocument
    >>> embedder = HashEmbedder()
    >>> tea = Document("tea", "Boil the water.")
    >>> chunk = Chunk("tea", tea.text, 0, len(tea.text))
    >>> with tempfile.TemporaryDirectory() as folder, Catalogue.open(Path(folder), create=True) as catalogue:
    ...     with catalogue.writer("notes", Space("whole", embedder.info)) as writer:
    ...         vectors = embedder.embed([tea.text], input_type="document")
    ...         writer.commit([PutDocument("t", tea, [chunk])], hashes=[text_hash(tea.text)], vectors=vectors)
    ...     hits = catalogue.collection("notes").nearest(vectors[0], k=1, where={})
    ...     [(hit.chunk.text, hit.score) for hit in hits]
    [('Boil the water.', 1.0)]
    """

    def __init__(self, store: Store, *, index: IndexSettings) -> None:
        """Use :meth:`open`."""
        self.store = store
        self.generations = GenerationStore(store, checked(index))
        self._views = Views(self.generations)

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        create: bool,
        index: IndexSettings = DEFAULTS,
        on_point: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """The catalogue in a data folder; ``create`` makes both where they are not.

        ``index`` says which vector index the generations get that are published.
        ``on_point`` is called with the name of each point that a crash is tested at. Raises NotFound,
        SchemaTooNew, CatalogueDamaged, InvalidSetting.
        """
        return cls(Store(data_dir, create=create, on_point=on_point), index=index)

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- collections -------------------------------------------------------------------------

    def collections(self) -> list[CollectionInfo]:
        """Every collection, by name."""
        with self.store.reading() as db:
            names = db.execute("SELECT name FROM collections ORDER BY name").fetchall()
            return [self._info(db, name) for (name,) in names]

    def collection(self, *names: str, embedder: EmbedderInfo | None = None) -> SqliteCollection:
        """A collection to search, or several as one. With ``embedder``, vectors of another one are refused
        at each search.

        Raises UnknownCollection.
        """
        with self.store.reading() as db:
            for name in names:
                self._id(db, name)
        return SqliteCollection(self._views, list(dict.fromkeys(names)), embedder=embedder)

    def ledger(self, name: str) -> SqliteLedger:
        """What a collection holds, for deciding what an ingest has to do. It need not exist yet."""
        return SqliteLedger(self.store.reading, checked_name(name))

    @contextmanager
    def writer(self, name: str, space: Space, *, wait: float = 0.0) -> Iterator[SqliteWriter]:
        """The writer of a collection, cutting and embedding as ``space`` says, while the lock is held.

        Raises LockHeld, with the holder's pid, after ``wait`` seconds; InvalidSetting for a name that
        cannot be used. The collection is created by the first commit.
        """
        checked_name(name)
        with self.store.writing(wait=wait) as db:
            yield SqliteWriter(db, name, space, generations=self.generations)

    def remove_collection(self, name: str, *, wait: float = 0.0, keep_vectors: bool = False) -> None:
        """Forget a collection with all that is in it. Raises UnknownCollection, LockHeld.

        ``keep_vectors`` leaves its vectors to be found by content: for a throw-away collection that
        will be filled with the same texts again.
        """
        with self.store.writing(wait=wait) as db:
            with transaction(db):
                collection = self._id(db, name)
                db.execute("DELETE FROM collections WHERE id = ?", (collection,))
            self.store.on_point("remove:committed")
            self.generations.collect(db, name, unused_kept=UNUSED_KEPT if keep_vectors else 0)
            if (home := self.store.indexes / name).is_dir():
                discard(home, self.generations.settings)

    # --- documents ---------------------------------------------------------------------------

    def documents(self, collection: str, *, under: str = "") -> list[DocumentInfo]:
        """The documents of a collection whose item's URI starts with ``under``, by id."""
        with self.store.reading() as db:
            rows = db.execute(
                "SELECT d.id, d.title, d.uri, d.item_uri, d.characters, coalesce(u.chunks, 0), d.metadata, "
                "d.added_at FROM documents d JOIN collections c ON c.id = d.collection_id "
                "LEFT JOIN cuts u ON u.document_key = d.key AND u.space_id = c.space_id "
                "WHERE c.id = ? ORDER BY d.id",
                (self._id(db, collection),),
            ).fetchall()
        return [
            DocumentInfo(id, title, uri, item_uri, characters, chunks, metadata_of(metadata), added_at)
            for id, title, uri, item_uri, characters, chunks, metadata, added_at in rows
            if item_uri.startswith(under)
        ]

    def document(self, collection: str, document_id: str) -> Document:
        """One document with its text. Raises UnknownCollection, UnknownDocument."""
        with self.store.reading() as db:
            key = self._document_key(db, collection, document_id)
            return document_of(db.execute(DOCUMENT + " WHERE d.key = ?", (key,)).fetchone())

    def chunks(self, collection: str, document_id: str) -> list[Chunk]:
        """The chunks of a document that are searched now, in its order."""
        with self.store.reading() as db:
            key = self._document_key(db, collection, document_id)
            rows = db.execute(
                CHUNK + " WHERE d.key = ? AND c.space_id = l.space_id ORDER BY c.ordinal",
                (key,),
            ).fetchall()
        return [chunk_of(row) for row in rows]

    def remove_documents(self, collection: str, ids: Sequence[str], *, wait: float = 0.0) -> int:
        """Forget documents; returns how many. Raises UnknownDocument, then nothing is removed; LockHeld.

        The items that they came from count as unread from then on: the next ingest of their source
        takes the documents in again.
        """
        with self.store.writing(wait=wait) as db:
            with transaction(db):
                keys = {self._document_key(db, collection, id) for id in ids}
                for key in keys:
                    db.execute(
                        "UPDATE items SET sha256 = '' WHERE (collection_id, uri) = "
                        "(SELECT collection_id, item_uri FROM documents WHERE key = ?)",
                        (key,),
                    )
                    db.execute("DELETE FROM documents WHERE key = ?", (key,))
            self.generations.collect(db, collection, unused_kept=0)
        return len(keys)

    # --- small facts -------------------------------------------------------------------------

    def fact(self, name: str) -> str | None:
        """A small fact that was remembered (a rate, a choice measured on this machine); None without."""
        with self.store.reading() as db:
            row = db.execute("SELECT value FROM meta WHERE name = ?", (f"fact:{name}",)).fetchone()
        return row[0] if row else None

    def remember(self, name: str, value: str, *, wait: float = 0.0) -> None:
        """Keep a small fact in place of the one of that name. Raises LockHeld; inside a writer too."""
        with self.store.writing(wait=wait) as db, transaction(db):
            db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (f"fact:{name}", value))

    def forget(self, name: str, *, wait: float = 0.0) -> bool:
        """Forget a small fact; whether there was one. Raises LockHeld."""
        with self.store.writing(wait=wait) as db, transaction(db):
            return db.execute("DELETE FROM meta WHERE name = ?", (f"fact:{name}",)).rowcount > 0

    # --- looking things up -------------------------------------------------------------------

    @staticmethod
    def _id(db: sqlite3.Connection, name: str) -> int:
        row = db.execute("SELECT id FROM collections WHERE name = ?", (name,)).fetchone()
        if row is None:
            names = [name for (name,) in db.execute("SELECT name FROM collections ORDER BY name")]
            there = f"there are: {', '.join(names)}" if names else "there is none yet: run `rag ingest PATH`"
            raise UnknownCollection(f"no collection {name!r}; {there}")
        return int(row[0])

    def space_id(self, db: sqlite3.Connection, name: str) -> int | None:
        """The space of a collection that answers, None while it is empty. Raises UnknownCollection."""
        row = db.execute("SELECT space_id FROM collections WHERE id = ?", (self._id(db, name),)).fetchone()
        return None if row[0] is None else int(row[0])

    def _document_key(self, db: sqlite3.Connection, collection: str, document_id: str) -> int:
        row = db.execute(
            "SELECT key FROM documents WHERE collection_id = ? AND id = ?",
            (self._id(db, collection), document_id),
        ).fetchone()
        if row is None:
            raise UnknownDocument(
                f"no document {document_id!r} in collection {collection!r}; "
                f"`rag documents list --collection {collection}` names those there are"
            )
        return int(row[0])

    def _info(self, db: sqlite3.Connection, name: str) -> CollectionInfo:
        def one(sql: str, *values: object) -> int:
            return int(db.execute(sql, values).fetchone()[0])

        id, serving, created_at = db.execute(
            "SELECT id, space_id, created_at FROM collections WHERE name = ?", (name,)
        ).fetchone()
        building = db.execute(
            "SELECT id FROM spaces WHERE collection_id = ? AND id IS NOT ?", (id, serving)
        ).fetchone()
        recorded = generations_of(db, serving)
        live = live_chunks(db, serving)
        return CollectionInfo(
            name=name,
            created_at=created_at,
            documents=one("SELECT count(*) FROM documents WHERE collection_id = ?", id),
            chunks=live,
            items=one("SELECT count(*) FROM items WHERE collection_id = ?", id),
            failed=one("SELECT count(*) FROM items WHERE collection_id = ? AND reason != ''", id),
            space=_space(db, serving),
            building=_space(db, building[0]) if building else None,
            moved=one("SELECT count(*) FROM cuts WHERE space_id = ?", building[0]) if building else 0,
            generation=recorded[0] if recorded else None,
            pending=changed(db, recorded[0])[0] if recorded else live,
        )


def _space(db: sqlite3.Connection, space_id: int | None) -> Space | None:
    row = db.execute(SPACE + " WHERE s.id = ?", (space_id,)).fetchone()
    return space_of(row) if row else None


def checked_name(name: str) -> str:
    """The name, if a collection can have it. Raises InvalidSetting.

    >>> checked_name("handbook-2026")
    'handbook-2026'
    """
    if not NAME.fullmatch(name):
        raise InvalidSetting(
            f"{name!r} cannot name a collection: use 1 to 64 letters (a-z), digits, '.', '_' and '-', "
            "a letter or digit first"
        )
    return name
