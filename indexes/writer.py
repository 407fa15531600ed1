"""The one writer of a collection: commits, moves a collection to another space, publishes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np

from indexes.generation import GenerationStore
from indexes.ledger import OF_SPACE, SqliteLedger
from indexes.rows import filter_values, json_of
from indexes.store import transaction
from rag.errors import EmbedderMismatch, StorageError
from rag.filters import number_of
from rag.protocols import Change, PutChunks, PutDocument, PutItem, RemoveDocument, RemoveItem, Space
from rag.retrieve.links import name_of
from rag.token_codes import width
from rag.types import Chunk, Document, Vectors, text_hash

UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a vector may be: normalising in bfloat16 errs by less."""

FORGET_DOCUMENT = "DELETE FROM documents WHERE collection_id = ? AND id = ?"
FORGET_ITEM = (
    "DELETE FROM documents WHERE collection_id = ? AND item_uri = ?",
    "DELETE FROM items WHERE collection_id = ? AND uri = ?",
)
FORGET_CUT = (
    "DELETE FROM chunks WHERE document_key = ? AND space_id = ?",
    "DELETE FROM cuts WHERE document_key = ? AND space_id = ?",
)
PUT_CUT = (
    "INSERT INTO cuts VALUES(?, ?, ?, coalesce((SELECT key FROM chunks "
    "WHERE document_key = ? AND space_id = ? AND ordinal = 0), 0))"
)


class SqliteWriter(SqliteLedger):
    """:class:`rag.protocols.Writer` over the connection that holds the lock. Threads take turns.

    What it reads as a Ledger is what it committed. A collection is created by its first commit.
    """

    def __init__(
        self, db: sqlite3.Connection, name: str, space: Space, *, generations: GenerationStore
    ) -> None:
        super().__init__(self._turn, name)
        self._db = db
        self._space = space
        self._generations = generations
        self._on_point: Callable[[str], None] = generations.store.on_point
        self._one_at_a_time = threading.RLock()

    @contextmanager
    def _turn(self) -> Iterator[sqlite3.Connection]:
        with self._one_at_a_time:
            yield self._db

    def commit(
        self,
        changes: Sequence[Change],
        *,
        hashes: Sequence[bytes],
        vectors: Vectors,
        tokens: Sequence[bytes] = (),
    ) -> None:
        """The only commit point: all of it is durable when this returns, or none of it happened.

        ``vectors`` has shape (len(hashes), dim), unit rows; ``tokens`` are the codes of each text's tokens,
        if the space's embedder gives them. Raises EmbedderMismatch on another dimension; StorageError for a
        chunk that is no span of its document or has no vector, for a new version of a document while the
        writer's space does not answer yet, and when the system refuses.
        """
        self._check_vectors(hashes, vectors)
        self._check_tokens(hashes, tokens)
        with self._turn() as db, transaction(db):
            self._on_point("commit:begun")
            place = _Place(db, self._name, self._space)
            place.store_vectors(hashes, vectors)
            place.store_tokens(hashes, tokens)
            try:
                for change in changes:
                    place.apply(change)
            except UnicodeEncodeError as error:
                raise StorageError(
                    f"a lone surrogate in {error.object[:200]!r}: clean the text first"
                ) from error
            self._on_point("commit:before")
        self._on_point("commit:after")

    def activate(self) -> None:
        """Make the writer's space the one that answers. Raises StorageError while a document is unmoved.

        Its generation is published first, so that the first question after the swap finds it.
        """
        with self._turn() as db:
            waiting = next(self.unmoved(self._space), None)
            if waiting is not None:
                raise StorageError(
                    f"{waiting.id!r} of collection {self._name!r} is not moved to the new space yet: "
                    "`rag ingest` moves what is left"
                )
            with transaction(db):
                place = _Place(db, self._name, self._space)
            if place.serving:
                return
            self._generations.publish(db, self._name, place.space)
            self._on_point("activate:before")
            with transaction(db):
                db.execute(
                    "UPDATE collections SET space_id = ? WHERE id = ?", (place.space, place.collection)
                )
                db.execute(
                    "DELETE FROM spaces WHERE collection_id = ? AND id != ?", (place.collection, place.space)
                )
            self._on_point("activate:after")
            self._generations.collect(db, self._name)

    def publish(self) -> None:
        """Build, verify and publish a generation of indexes, if there is enough new for one."""
        with self._turn() as db:
            row = db.execute(OF_SPACE, (self._name, self._space.chunker, self._space.embedder.fingerprint))
            if found := row.fetchone():
                self._generations.publish(db, self._name, found[0])

    def _check_vectors(self, hashes: Sequence[bytes], vectors: Vectors) -> None:
        info = self._space.embedder
        if not len(hashes) and not len(vectors):
            return
        if vectors.ndim != 2 or len(vectors) != len(hashes):
            raise StorageError(f"{len(hashes)} text hashes came with vectors of shape {vectors.shape}")
        if vectors.shape[1] != info.dim:
            raise EmbedderMismatch(
                f"vectors of {vectors.shape[1]} dimensions for {info.name!r}, which has {info.dim}: "
                "one collection holds the vectors of one embedder"
            )
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.abs(lengths - 1.0) <= UNIT_TOLERANCE).all():
            raise StorageError(f"{info.name!r} gave a vector that is not of unit length")

    def _check_tokens(self, hashes: Sequence[bytes], tokens: Sequence[bytes]) -> None:
        info = self._space.embedder
        if len(tokens) != (len(hashes) if info.tokens else 0):
            raise StorageError(f"{len(hashes)} text hashes came with the token codes of {len(tokens)} texts")
        if any(len(codes) % width(info.dim) for codes in tokens):
            raise StorageError(f"{info.name!r} gave token codes of another dimension than {info.dim}")


class _Place:
    """Where a writer's changes go, inside one transaction: the collection, its space, its embedder."""

    def __init__(self, db: sqlite3.Connection, name: str, space: Space) -> None:
        self._db = db
        self._name = name
        now = datetime.now(UTC).isoformat(timespec="seconds")
        info = space.embedder
        self._embedder = self._id_of(
            "SELECT id FROM embedders WHERE fingerprint = ?",
            (info.fingerprint,),
            "INSERT INTO embedders(fingerprint, name, dim, max_tokens, tokens) VALUES(?, ?, ?, ?, ?)",
            (info.fingerprint, info.name, info.dim, info.max_tokens, int(info.tokens)),
        )
        self.collection = self._id_of(
            "SELECT id FROM collections WHERE name = ?",
            (name,),
            "INSERT INTO collections(name, created_at) VALUES(?, ?)",
            (name, now),
        )
        self.space = self._id_of(
            "SELECT id FROM spaces WHERE collection_id = ? AND chunker = ? AND embedder_id = ?",
            (self.collection, space.chunker, self._embedder),
            "INSERT INTO spaces(collection_id, chunker, embedder_id, created_at) VALUES(?, ?, ?, ?)",
            (self.collection, space.chunker, self._embedder, now),
        )
        self.serving = self._take_over()
        self._now = now
        self._vector_ids: dict[bytes, int] = {}

    def _id_of(self, find: str, by: tuple[object, ...], insert: str, values: tuple[object, ...]) -> int:
        row = self._db.execute(find, by).fetchone()
        return int(row[0]) if row else int(self._db.execute(insert, values).lastrowid or 0)

    def _take_over(self) -> bool:
        """Whether the space answers; an empty collection's does at once. Drops spaces of a third kind."""
        db = self._db
        (serving,) = db.execute(
            "SELECT space_id FROM collections WHERE id = ?", (self.collection,)
        ).fetchone()
        held = db.execute("SELECT 1 FROM documents WHERE collection_id = ?", (self.collection,)).fetchone()
        if serving != self.space:
            if serving is None or held is None:
                db.execute("UPDATE collections SET space_id = ? WHERE id = ?", (self.space, self.collection))
                serving = self.space
            db.execute(
                "DELETE FROM spaces WHERE collection_id = ? AND id NOT IN (?, ?)",
                (self.collection, self.space, serving),
            )
        return bool(serving == self.space)

    def store_vectors(self, hashes: Sequence[bytes], vectors: Vectors) -> None:
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        self._db.executemany(
            "INSERT INTO vectors(embedder_id, text_hash, vector) VALUES(?, ?, ?) ON CONFLICT DO NOTHING",
            ((self._embedder, hash, row.tobytes()) for hash, row in zip(hashes, rows, strict=True)),
        )

    def store_tokens(self, hashes: Sequence[bytes], tokens: Sequence[bytes]) -> None:
        self._db.executemany(
            "INSERT INTO token_codes(vector_id, codes) SELECT id, ? FROM vectors "
            "WHERE embedder_id = ? AND text_hash = ? ON CONFLICT DO NOTHING",
            ((codes, self._embedder, hash) for hash, codes in zip(hashes, tokens, strict=False)),
        )

    def apply(self, change: Change) -> None:
        match change:
            case PutItem(item):
                self._db.execute(
                    "INSERT OR REPLACE INTO items VALUES(?, ?, ?, ?, ?, ?)",
                    (self.collection, item.uri, item.sha256, item.parser, item.reason, item.detail),
                )
            case PutDocument(item_uri, document, chunks):
                self._require_serving(f"put {document.id!r}")
                self._db.execute(FORGET_DOCUMENT, (self.collection, document.id))
                self._put_chunks(self._put_document(item_uri, document), document, chunks)
            case PutChunks(document, chunks):
                self._move(document, chunks)
            case RemoveDocument(document_id):
                self._require_serving(f"remove {document_id!r}")
                self._db.execute(FORGET_DOCUMENT, (self.collection, document_id))
            case RemoveItem(uri):
                self._require_serving(f"remove {uri!r}")
                for sql in FORGET_ITEM:
                    self._db.execute(sql, (self.collection, uri))

    def _require_serving(self, what: str) -> None:
        if not self.serving:
            raise StorageError(
                f"cannot {what}: collection {self._name!r} still answers from another chunking or embedder; "
                "move its documents first (`rag ingest` does)"
            )

    def _put_document(self, item_uri: str, document: Document) -> int:
        pages = [[page.start, page.label] for page in document.pages]
        row = self._db.execute(
            "INSERT INTO documents(collection_id, id, item_uri, digest, characters, title, uri, metadata, "
            "pages, added_at, text, name) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.collection,
                document.id,
                item_uri,
                document.digest,
                len(document.text),
                document.title,
                document.uri,
                json_of(dict(document.metadata)),
                json_of(pages),
                self._now,
                document.text,
                name_of(document.title),
            ),
        )
        key = int(row.lastrowid or 0)
        self._db.executemany(
            "INSERT INTO document_metadata VALUES(?, ?, ?, ?)",
            ((key, name, value, number_of(value)) for name, value in filter_values(document.metadata)),
        )
        return key

    def _move(self, document: Document, chunks: Sequence[Chunk]) -> None:
        row = self._db.execute(
            "SELECT key, digest FROM documents WHERE collection_id = ? AND id = ?",
            (self.collection, document.id),
        ).fetchone()
        if row is None or row[1] != document.digest:
            what = "is not stored" if row is None else "is stored in another version"
            raise StorageError(
                f"{document.id!r} {what}: only a stored, unchanged document moves to a new space"
            )
        for sql in FORGET_CUT:
            self._db.execute(sql, (row[0], self.space))
        self._put_chunks(row[0], document, chunks)

    def _put_chunks(self, document_key: int, document: Document, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            _check_span(document, chunk)
        self._db.executemany(
            'INSERT INTO chunks(document_key, space_id, ordinal, start, "end", vector_id, page, heading, '
            "breadcrumb, text) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    document_key,
                    self.space,
                    ordinal,
                    chunk.start,
                    chunk.end,
                    self._vector_id(chunk),
                    chunk.page,
                    json_of(chunk.heading),
                    chunk.breadcrumb,
                    chunk.text,
                )
                for ordinal, chunk in enumerate(chunks)
            ),
        )
        place = document_key, self.space
        self._db.execute(PUT_CUT, (*place, len(chunks), *place))

    def _vector_id(self, chunk: Chunk) -> int:
        hash = text_hash(chunk.embedded_text)
        if (known := self._vector_ids.get(hash)) is not None:
            return known
        row = self._db.execute(
            "SELECT id FROM vectors WHERE embedder_id = ? AND text_hash = ?", (self._embedder, hash)
        ).fetchone()
        if row is None:
            raise StorageError(
                f"no vector for characters {chunk.start}-{chunk.end} of {chunk.document_id!r}: "
                "a chunk is committed with its vector or after it"
            )
        self._vector_ids[hash] = row[0]
        return int(row[0])


def _check_span(document: Document, chunk: Chunk) -> None:
    """Law: ``document.text[chunk.start:chunk.end] == chunk.text``."""
    where = f"characters {chunk.start}-{chunk.end} of {document.id!r}"
    if chunk.document_id != document.id:
        raise StorageError(f"a chunk of {chunk.document_id!r} was put with {document.id!r}")
    if not 0 <= chunk.start < chunk.end <= len(document.text):
        raise StorageError(f"{where}: no span of a text of {len(document.text)} characters")
    if document.text[chunk.start : chunk.end] != chunk.text:
        raise StorageError(f"{where}: the text of the chunk is not what stands there")
