"""The tables of ``evaluations.db``. As in :mod:`indexes.schema`, a migration that was released is never
edited."""

from __future__ import annotations

from indexes.schema import Migration
from indexes.store import Database

FIRST: Migration = (
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES('commits', '0')",
    # corpus: the path that the set's own documents lie at, "" for a set that is asked of a collection.
    """CREATE TABLE sets(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        at TEXT NOT NULL,
        corpus TEXT NOT NULL,
        note TEXT NOT NULL)""",
    """CREATE TABLE questions(
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        set_id INTEGER NOT NULL REFERENCES sets(id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        text TEXT NOT NULL,
        metadata TEXT NOT NULL,
        unanswerable INTEGER NOT NULL CHECK(unanswerable IN (0, 1)),
        UNIQUE(set_id, id))""",
    # Append-only: a judge who changes their mind says so in a new row, and the last one counts.
    """CREATE TABLE judgements(
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        set_id INTEGER NOT NULL REFERENCES sets(id) ON DELETE CASCADE,
        query_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        grade INTEGER NOT NULL,
        quotation TEXT NOT NULL,
        start INTEGER NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        judge TEXT NOT NULL,
        at TEXT NOT NULL,
        note TEXT NOT NULL)""",
    "CREATE INDEX judgements_of_set ON judgements(set_id, key)",
    """CREATE TRIGGER judgements_no_update BEFORE UPDATE ON judgements BEGIN
        SELECT RAISE(ABORT, 'the rows of judgements are never changed'); END""",
    # What lists show stands apart from the whole run, which is compressed JSON of some hundred kilobytes.
    """CREATE TABLE runs(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        set_name TEXT NOT NULL,
        set_digest TEXT NOT NULL,
        system TEXT NOT NULL,
        scores TEXT NOT NULL)""",
    "CREATE INDEX runs_of_set ON runs(set_name, id)",
    """CREATE TABLE wholes(
        run INTEGER PRIMARY KEY REFERENCES runs(id) ON DELETE CASCADE,
        data BLOB NOT NULL)""",
    # A verdict is of runs that may be removed later: it says which they were, in its data.
    """CREATE TABLE verdicts(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL)""",
)

EVALUATIONS = Database(
    "evaluations.db",
    "evaluations.lock",
    (FIRST,),
    "`rag eval run SET`, `rag eval import` or `rag judge` makes the first",
)
