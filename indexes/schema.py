"""The tables of ``catalogue.db`` and the migrations that lead to them.

``PRAGMA user_version`` counts the migrations that were applied. A migration is a tuple of SQL
statements, applied in one transaction; one that was ever released is never edited, the next is
appended. Rows are written once and deleted; only pointers change in place (which space answers,
what became of an item, the counters in ``meta``).

Two keys are never reused (AUTOINCREMENT): a generation remembers chunks by key, and a key given
anew would let an old index answer with a text that it never saw.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from indexes.rows import filter_values, json_of, metadata_of
from rag.errors import SchemaTooNew
from rag.filters import number_of
from rag.retrieve.links import name_of

Migration: TypeAlias = Sequence[str]

FIRST: Migration = (
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    # Rises with every commit: what a process may keep in memory is valid for one value of it.
    "INSERT INTO meta VALUES('commits', '0')",
    """CREATE TABLE embedders(
        id INTEGER PRIMARY KEY,
        fingerprint TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        dim INTEGER NOT NULL,
        max_tokens INTEGER NOT NULL)""",
    """CREATE TABLE collections(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        space_id INTEGER REFERENCES spaces(id) ON DELETE SET NULL,
        created_at TEXT NOT NULL)""",
    # The space that a collection points to answers; another one is being built beside it.
    """CREATE TABLE spaces(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        collection_id INTEGER NOT NULL REFERENCES collections(id) ON DELETE CASCADE,
        chunker TEXT NOT NULL,
        embedder_id INTEGER NOT NULL REFERENCES embedders(id),
        created_at TEXT NOT NULL,
        UNIQUE(collection_id, chunker, embedder_id))""",
    """CREATE TABLE items(
        collection_id INTEGER NOT NULL REFERENCES collections(id) ON DELETE CASCADE,
        uri TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        parser TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY(collection_id, uri)) WITHOUT ROWID""",
    # One row is the live version of a document. The text stands last: SQLite reads the columns
    # before it without walking the pages that a long text overflows into.
    """CREATE TABLE documents(
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        collection_id INTEGER NOT NULL REFERENCES collections(id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        item_uri TEXT NOT NULL,
        digest TEXT NOT NULL,
        characters INTEGER NOT NULL,
        title TEXT NOT NULL,
        uri TEXT NOT NULL,
        metadata TEXT NOT NULL,
        pages TEXT NOT NULL,
        added_at TEXT NOT NULL,
        text TEXT NOT NULL,
        UNIQUE(collection_id, id))""",
    "CREATE INDEX documents_of_item ON documents(collection_id, item_uri)",
    # What equality filters are judged on: one row for a value, or for each element of a list.
    """CREATE TABLE document_metadata(
        document_key INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY(document_key, name, value)) WITHOUT ROWID""",
    "CREATE INDEX documents_of_value ON document_metadata(name, value, document_key)",
    # That a document was cut in a space, and into how many chunks: none is an answer too.
    """CREATE TABLE cuts(
        document_key INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
        space_id INTEGER NOT NULL REFERENCES spaces(id) ON DELETE CASCADE,
        chunks INTEGER NOT NULL,
        PRIMARY KEY(document_key, space_id)) WITHOUT ROWID""",
    # Content-addressed: shared by all collections, and by the cuts of a re-chunking.
    """CREATE TABLE vectors(
        id INTEGER PRIMARY KEY,
        embedder_id INTEGER NOT NULL REFERENCES embedders(id),
        text_hash BLOB NOT NULL,
        vector BLOB NOT NULL,
        UNIQUE(embedder_id, text_hash))""",
    """CREATE TABLE chunks(
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        document_key INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
        space_id INTEGER NOT NULL REFERENCES spaces(id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL,
        vector_id INTEGER NOT NULL REFERENCES vectors(id),
        page TEXT NOT NULL,
        heading TEXT NOT NULL,
        breadcrumb TEXT NOT NULL,
        text TEXT NOT NULL,
        UNIQUE(document_key, space_id, ordinal))""",
    "CREATE INDEX chunks_of_space ON chunks(space_id, key)",
    "CREATE INDEX chunks_of_vector ON chunks(vector_id)",
    """CREATE TABLE generations(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        space_id INTEGER NOT NULL REFERENCES spaces(id) ON DELETE CASCADE,
        folder TEXT NOT NULL,
        kind TEXT NOT NULL,
        count INTEGER NOT NULL,
        high_key INTEGER NOT NULL,
        manifest_sha256 TEXT NOT NULL,
        created_at TEXT NOT NULL)""",
    "CREATE INDEX generations_of_space ON generations(space_id)",
)

SECOND: Migration = (
    # The title as other documents would name this one: what a link is looked up by.
    "ALTER TABLE documents ADD COLUMN name TEXT NOT NULL DEFAULT ''",
    "UPDATE documents SET name = name_of(title)",
    "CREATE INDEX documents_named ON documents(collection_id, name)",
)

THIRD: Migration = (
    # What filters are judged on, with the number that a value is (null where it is none): one index finds
    # values, and ranges of numbers and of texts.
    "DROP TABLE document_metadata",
    """CREATE TABLE document_metadata(
        document_key INTEGER NOT NULL REFERENCES documents(key) ON DELETE CASCADE,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        number REAL,
        PRIMARY KEY(document_key, name, value)) WITHOUT ROWID""",
    """INSERT INTO document_metadata
        SELECT d.key, m.value ->> 0, m.value ->> 1, number_of(m.value ->> 1)
        FROM documents d, json_each(filter_values(d.metadata)) m""",
    "CREATE INDEX documents_of_value ON document_metadata(name, number, value, document_key)",
    # The chunks of a cut have keys that follow each other.
    "ALTER TABLE cuts ADD COLUMN first_key INTEGER NOT NULL DEFAULT 0",
    """UPDATE cuts SET first_key = coalesce((SELECT key FROM chunks c WHERE c.document_key = cuts.document_key
        AND c.space_id = cuts.space_id AND c.ordinal = 0), 0)""",
    "CREATE INDEX cuts_of_space ON cuts(space_id, document_key, first_key, chunks)",
)

FOURTH: Migration = (
    # Counted along: a count of a million rows at every commit is what nobody waits for.
    "ALTER TABLE spaces ADD COLUMN chunks INTEGER NOT NULL DEFAULT 0",
    "UPDATE spaces SET chunks = (SELECT count(*) FROM chunks WHERE space_id = spaces.id)",
    """CREATE TRIGGER cut_counted AFTER INSERT ON cuts BEGIN
        UPDATE spaces SET chunks = chunks + new.chunks WHERE id = new.space_id; END""",
    """CREATE TRIGGER cut_forgotten AFTER DELETE ON cuts BEGIN
        UPDATE spaces SET chunks = chunks - old.chunks WHERE id = old.space_id; END""",
    "ALTER TABLE generations ADD COLUMN recall REAL NOT NULL DEFAULT 1.0",
    # Those that there are have kinds of old; the next ingest, or rag index build, makes new ones.
    "DELETE FROM generations",
)

FIFTH: Migration = (
    # What the embedder makes of each token, in two bits a dimension: of embedders that say so. Apart from the
    # vectors, so that those are read without walking past them.
    "ALTER TABLE embedders ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE token_codes(
        vector_id INTEGER PRIMARY KEY REFERENCES vectors(id) ON DELETE CASCADE,
        codes BLOB NOT NULL)""",
)

MIGRATIONS: tuple[Migration, ...] = (FIRST, SECOND, THIRD, FOURTH, FIFTH)


def version(db: sqlite3.Connection) -> int:
    """How many migrations this catalogue has seen."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def refuse_newer(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Raise SchemaTooNew for a catalogue that a newer promptwell wrote."""
    if (found := version(db)) > len(migrations):
        raise SchemaTooNew(
            f"the data folder has schema {found}, this promptwell reads up to {len(migrations)}: "
            "install the promptwell that wrote it, or a newer one (pip install -U promptwell)"
        )


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the migrations that are missing, each in its own transaction. The caller holds the lock."""
    refuse_newer(db, migrations)
    functions: Mapping[str, Callable[[str], str | float | None]] = {
        "name_of": name_of,
        "number_of": number_of,
        "filter_values": lambda metadata: json_of(filter_values(metadata_of(metadata))),
    }
    for name, function in functions.items():
        db.create_function(name, 1, function, deterministic=True)
    for number in range(version(db), len(migrations)):
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[number]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number + 1}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
