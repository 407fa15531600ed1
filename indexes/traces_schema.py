"""The tables of ``traces.db``. As in :mod:`indexes.schema`, a migration that was released is never edited."""

from __future__ import annotations

from indexes.schema import Migration

FIRST: Migration = (
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES('commits', '0')",
    "INSERT INTO meta VALUES('bytes', '0')",
    # What questions are hashed with where they are not kept: of this data folder alone.
    "INSERT INTO meta VALUES('salt', lower(hex(randomblob(16))))",
    # Ids sort by time. What is counted and looked for stands apart from the whole trace, which is JSON of
    # some kilobytes: to count a hundred thousand is then to read some megabytes.
    """CREATE TABLE traces(
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        at TEXT NOT NULL,
        way TEXT NOT NULL,
        prompt TEXT NOT NULL,
        version INTEGER NOT NULL,
        label TEXT NOT NULL,
        model TEXT NOT NULL,
        found INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        citations INTEGER NOT NULL,
        unknown INTEGER NOT NULL,
        error TEXT NOT NULL,
        ms REAL NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        answer_tokens INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        question TEXT NOT NULL)""",
    """CREATE TABLE wholes(
        key INTEGER PRIMARY KEY REFERENCES traces(key) ON DELETE CASCADE,
        data TEXT NOT NULL)""",
    "CREATE INDEX traces_of_prompt ON traces(prompt, id)",
    """CREATE TABLE feedback(
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        trace TEXT NOT NULL REFERENCES traces(id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        score REAL CHECK(score BETWEEN 0 AND 1),
        comment TEXT NOT NULL,
        answer TEXT NOT NULL,
        author TEXT NOT NULL)""",
    "CREATE INDEX feedback_of_trace ON feedback(trace)",
    """CREATE TRIGGER trace_counted AFTER INSERT ON traces BEGIN
        UPDATE meta SET value = value + new.bytes WHERE name = 'bytes'; END""",
    """CREATE TRIGGER trace_forgotten AFTER DELETE ON traces BEGIN
        UPDATE meta SET value = value - old.bytes WHERE name = 'bytes'; END""",
)

SECOND: Migration = (
    # A prompt that takes no context is not searched for: it has no passages, and no empty retrieval either.
    "ALTER TABLE traces ADD COLUMN searched INTEGER NOT NULL DEFAULT 1",
)

MIGRATIONS: tuple[Migration, ...] = (FIRST, SECOND)
