"""The tables of ``library.db``. The rules of :mod:`indexes.schema` hold: a migration that was ever released
is never edited.

Versions, their texts, tests, runs and the log are written once: triggers refuse every change of them, by
whatever program. What moves are the labels, what is protected, and whether a prompt is removed.
"""

from __future__ import annotations

from indexes.schema import Migration
from indexes.store import Database

_WRITTEN_ONCE = ("texts", "versions", "parts", "tests", "runs", "log")


def _kept(table: str) -> Migration:
    return tuple(
        f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} BEGIN "
        f"SELECT RAISE(ABORT, 'the rows of {table} are never changed'); END"
        for what in ("UPDATE", "DELETE")
    )


FIRST: Migration = (
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES('commits', '0')",
    """CREATE TABLE prompts(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        removed INTEGER NOT NULL DEFAULT 0)""",
    # Content-addressed: a part that a thousand prompts include is kept once.
    """CREATE TABLE texts(
        id INTEGER PRIMARY KEY,
        sha256 TEXT NOT NULL UNIQUE,
        text TEXT NOT NULL)""",
    # facts: what lists show, as JSON, so that a list of thousands parses none of them.
    """CREATE TABLE versions(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        prompt_id INTEGER NOT NULL REFERENCES prompts(id),
        number INTEGER NOT NULL,
        text_id INTEGER NOT NULL REFERENCES texts(id),
        digest TEXT NOT NULL,
        facts TEXT NOT NULL,
        author TEXT NOT NULL,
        message TEXT NOT NULL,
        created_at TEXT NOT NULL,
        UNIQUE(prompt_id, number))""",
    "CREATE INDEX versions_of_digest ON versions(digest)",
    """CREATE VIEW newest AS SELECT * FROM versions v
        WHERE number = (SELECT max(number) FROM versions n WHERE n.prompt_id = v.prompt_id)""",
    """CREATE TABLE parts(
        version_id INTEGER NOT NULL REFERENCES versions(id),
        path TEXT NOT NULL,
        text_id INTEGER NOT NULL REFERENCES texts(id),
        PRIMARY KEY(version_id, path)) WITHOUT ROWID""",
    # The newest row of a prompt is its tests, whichever the version.
    """CREATE TABLE tests(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        prompt_id INTEGER NOT NULL REFERENCES prompts(id),
        text_id INTEGER NOT NULL REFERENCES texts(id),
        author TEXT NOT NULL,
        created_at TEXT NOT NULL)""",
    "CREATE INDEX tests_of_prompt ON tests(prompt_id, id)",
    """CREATE TABLE runs(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        prompt_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        tests_digest TEXT NOT NULL,
        passed INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        unevaluated INTEGER NOT NULL,
        detail TEXT NOT NULL,
        author TEXT NOT NULL,
        created_at TEXT NOT NULL,
        FOREIGN KEY(prompt_id, number) REFERENCES versions(prompt_id, number))""",
    "CREATE INDEX runs_of_version ON runs(prompt_id, number, id)",
    """CREATE TABLE labels(
        prompt_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY(prompt_id, name),
        FOREIGN KEY(prompt_id, number) REFERENCES versions(prompt_id, number)) WITHOUT ROWID""",
    """CREATE TABLE protections(
        label TEXT PRIMARY KEY,
        approvals INTEGER NOT NULL,
        tests INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE log(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        prompt_id INTEGER REFERENCES prompts(id),
        number INTEGER NOT NULL,
        label TEXT NOT NULL,
        before INTEGER NOT NULL,
        why TEXT NOT NULL)""",
    "CREATE INDEX log_of_prompt ON log(prompt_id, id)",
    *(statement for table in _WRITTEN_ONCE for statement in _kept(table)),
)

MIGRATIONS: tuple[Migration, ...] = (FIRST,)

LIBRARY = Database("library.db", "library.lock", MIGRATIONS, "run `rag prompts push DIR` to make one")
