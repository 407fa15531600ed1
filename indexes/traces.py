"""The traces of a data folder: what was asked, what came of it, and what people said of it.

In a database of its own, whose lock is held for milliseconds: an ingest that runs for hours keeps nobody
from asking. Old traces go as new ones come, some with each write, so that no write is ever long.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from indexes.store import Database, Store, transaction
from indexes.traces_schema import MIGRATIONS
from rag.errors import NotFound
from rag.trace import Feedback, Trace, first_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

TRACES = Database(
    "traces.db",
    "traces.lock",
    MIGRATIONS,
    "`rag ask` leaves one, while [traces] enabled = true",
)
PATIENCE = 5.0
"""Seconds to wait for another writer, who needs milliseconds."""
REMOVED_AT_ONCE = 200
"""Old traces that one write removes at most: more than come in with it, so that what is due is soon gone."""

FOUND = "SELECT w.data FROM traces t JOIN wholes w ON w.key = t.key WHERE "
COUNTED = (
    "SELECT t.id, t.at, t.prompt, t.version, t.label, t.model, t.found, t.passages, t.citations, t.unknown, "
    "t.error, t.ms, t.prompt_tokens, t.answer_tokens, t.question, coalesce(s.up, 0), coalesce(s.down, 0), "
    "t.searched "
    "FROM traces t LEFT JOIN (SELECT trace, sum(score >= 0.5) AS up, sum(score < 0.5) AS down FROM feedback "
    "GROUP BY trace) s ON s.trace = t.id WHERE "
)
INSERT = (
    "INSERT INTO traces(id, at, way, prompt, version, label, model, found, passages, citations, unknown, "
    "error, ms, prompt_tokens, answer_tokens, bytes, question, searched) "
    "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
TOO_OLD = "DELETE FROM traces WHERE id IN (SELECT id FROM traces WHERE id < ? ORDER BY id LIMIT ?)"
OLDEST = "SELECT id, bytes FROM traces WHERE id != ? ORDER BY id LIMIT ?"

_SAID = "EXISTS (SELECT 1 FROM feedback f WHERE f.trace = t.id AND f.score {} 0.5)"
_FEEDBACK = {"up": _SAID.format(">="), "down": _SAID.format("<")}
_FEEDBACK["any"] = "EXISTS (SELECT 1 FROM feedback f WHERE f.trace = t.id)"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which traces: those for which all of this holds. ``question`` is a part of its text, in any case of
    letters; ``feedback`` is up, down or any."""

    prompt: str = ""
    version: int | None = None
    label: str = ""
    since: datetime | None = None
    question: str = ""
    found: bool | None = None
    failed: bool | None = None
    feedback: str = ""

    def sql(self) -> tuple[str, list[Any]]:
        """The condition on ``traces t``, and its values."""
        asked: list[tuple[str, list[Any]]] = [
            ("t.prompt = ?", [self.prompt] if self.prompt else []),
            ("t.version = ?", [] if self.version is None else [self.version]),
            ("t.label = ?", [self.label] if self.label else []),
            ("t.id >= ?", [first_id(self.since)] if self.since else []),
            ("folded(t.question, ?)", [self.question] if self.question else []),
            ("t.error = '' AND t.found = ?", [] if self.found is None else [self.found]),
            ("(t.error != '') = ?", [] if self.failed is None else [self.failed]),
        ]
        met = [(sql, values) for sql, values in asked if values]
        conditions = [sql for sql, _ in met] + ([_FEEDBACK[self.feedback]] if self.feedback else [])
        return " AND ".join(conditions) or "1", [value for _, values in met for value in values]


EVERY = Wanted()


class Fact(NamedTuple):
    """What is counted of a trace. ``up`` and ``down`` are how many said so; ``ms`` is the total; ``searched``
    says that passages were looked for."""

    id: str
    at: str
    prompt: str
    version: int
    label: str
    model: str
    found: bool
    passages: int
    citations: int
    unknown: int
    error: str
    ms: float
    prompt_tokens: int
    answer_tokens: int
    question: str
    up: int
    down: int
    searched: bool = True


class TraceStore:
    """The traces of a data folder. Safe in any thread.

    >>> import tempfile
    >>> from datetime import UTC
    >>> from rag.trace import new_id, stamp
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> with tempfile.TemporaryDirectory() as folder, TraceStore.open(Path(folder), create=True) as store:
    ...     store.add(Trace(new_id(now), stamp(now), "cli", "Why?", "answer"), now=now)
    ...     [trace.question for trace in store.find()]
    ['Why?']
    """

    def __init__(self, store: Store) -> None:
        """Use :meth:`open`."""
        self.store = store

    @classmethod
    def open(cls, data: Path, *, create: bool = False) -> Self:
        """The store of a data folder. Raises NotFound where there is none and ``create`` is False,
        SchemaTooNew, CatalogueDamaged."""
        if not create and not (data / TRACES.file).is_file():
            raise NotFound(f"there are no traces in {data} yet: {TRACES.mend}")
        return cls(Store(data, create=create, database=TRACES))

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def salt(self) -> str:
        """What texts are hashed with here."""
        with self.store.reading() as db:
            return str(db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()[0])

    @property
    def bytes(self) -> int:
        """Of all traces together."""
        with self.store.reading() as db:
            return int(db.execute("SELECT value FROM meta WHERE name = 'bytes'").fetchone()[0])

    # --- writing -----------------------------------------------------------------------------

    def add(
        self,
        *traces: Trace,
        now: datetime,
        keep_days: float = 0,
        max_bytes: int = 0,
        wait: float = PATIENCE,
    ) -> None:
        """Keep traces, in one transaction, and forget some of those that are older than ``keep_days`` or too
        many for ``max_bytes`` (0: no limit). Raises LockHeld after ``wait`` seconds, StorageError."""
        with self._writing(wait) as db:
            for trace in traces:
                data = json.dumps(trace.as_json(), ensure_ascii=False, separators=(",", ":"))
                key = db.execute(INSERT, _row(trace, size=len(data.encode("utf-8")))).lastrowid
                db.execute("INSERT INTO wholes VALUES(?, ?)", (key, data))
            if keep_days:
                db.execute(TOO_OLD, (first_id(now - timedelta(days=keep_days)), REMOVED_AT_ONCE))
            if max_bytes:
                _make_room(db, max_bytes, but=traces[-1].id)

    def say(self, feedback: Feedback, *, wait: float = PATIENCE) -> None:
        """Add to what was said of a trace. Raises NotFound, LockHeld."""
        with self._writing(wait) as db:
            if db.execute("SELECT 1 FROM traces WHERE id = ?", (feedback.trace,)).fetchone() is None:
                raise _no_trace(feedback.trace)
            values = (feedback.trace, feedback.at, feedback.score)
            db.execute(
                "INSERT INTO feedback(trace, at, score, comment, answer, author) VALUES(?, ?, ?, ?, ?, ?)",
                (*values, feedback.comment, feedback.answer, feedback.author),
            )

    def remove(self, ids: Sequence[str], *, wait: float = PATIENCE) -> int:
        """Forget traces with all that was said of them; how many there were. Raises LockHeld."""
        with self._writing(wait) as db:
            return sum(db.execute("DELETE FROM traces WHERE id = ?", (id,)).rowcount for id in ids)

    @contextmanager
    def _writing(self, wait: float) -> Iterator[sqlite3.Connection]:
        with self.store.writing(wait=wait) as db:
            # What is forgotten is overwritten: a page that is free still holds what stood in it.
            db.execute("PRAGMA secure_delete = ON")
            with transaction(db):
                yield db

    # --- reading -----------------------------------------------------------------------------

    def id_of(self, name: str) -> str:
        """The id of a trace by its id, by an end of it that no other has, or by "last".

        Raises NotFound.
        """
        wanted = name.strip().upper()
        with self.store.reading() as db:
            if wanted == "LAST":
                rows = db.execute("SELECT max(id) FROM traces WHERE true HAVING max(id) NOT NULL").fetchall()
            else:
                end = (len(wanted), wanted)
                rows = db.execute("SELECT id FROM traces WHERE substr(id, -?) = ? LIMIT 3", end).fetchall()
        if len(rows) != 1 or not wanted:
            raise _no_trace(name, several=len(rows) > 1)
        return str(rows[0][0])

    def get(self, name: str) -> Trace:
        """One trace, named as :meth:`id_of` has it. Raises NotFound."""
        id = self.id_of(name)
        with self.store.reading() as db:
            row = db.execute(FOUND + "t.id = ?", (id,)).fetchone()
        if row is None:
            raise _no_trace(name)
        return Trace.from_json(json.loads(row[0]))

    def find(self, wanted: Wanted = EVERY, *, limit: int | None = None) -> list[Trace]:
        """The traces that are wanted, newest first."""
        sql, values = wanted.sql()
        with self._looking() as db:
            asked = (*values, -1 if limit is None else limit)
            rows = db.execute(FOUND + sql + " ORDER BY t.id DESC LIMIT ?", asked).fetchall()
        return [Trace.from_json(json.loads(data)) for (data,) in rows]

    def facts(self, wanted: Wanted = EVERY) -> list[Fact]:
        """What is counted of the traces that are wanted, oldest first."""
        sql, values = wanted.sql()
        with self._looking() as db:
            rows = db.execute(COUNTED + sql + " ORDER BY t.id", values).fetchall()
        return [Fact._make((*row[:6], bool(row[6]), *row[7:-1], bool(row[-1]))) for row in rows]

    def said(self, ids: Iterable[str]) -> dict[str, list[Feedback]]:
        """What was said of these traces, by their ids, in the order it was said in."""
        found: dict[str, list[Feedback]] = {id: [] for id in ids}
        with self.store.reading() as db:
            rows = db.execute(
                "SELECT trace, at, score, comment, answer, author FROM feedback "
                "WHERE trace IN (SELECT value FROM json_each(?)) ORDER BY key",
                (json.dumps(list(found)),),
            ).fetchall()
        for row in rows:
            found[row[0]].append(Feedback(*row))
        return found

    @contextmanager
    def _looking(self) -> Iterator[sqlite3.Connection]:
        with self.store.reading() as db:
            db.create_function("folded", 2, _holds, deterministic=True)
            yield db


def _row(trace: Trace, *, size: int) -> tuple[object, ...]:
    answer_tokens = trace.tokens.get("answer", 0)
    return (
        *(trace.id, trace.at, trace.way, trace.prompt, trace.version, trace.label, trace.model),
        *(trace.found, trace.passages, len(trace.citations), len(trace.unknown_citations)),
        *(trace.error.partition(":")[0], trace.ms.get("total", 0.0)),
        *(sum(trace.tokens.values()) - answer_tokens, answer_tokens, size, trace.question),
        bool(trace.collections) or not trace.receipt,
    )


def _holds(text: str, part: str) -> bool:
    return part.casefold() in text.casefold()


def _make_room(db: sqlite3.Connection, max_bytes: int, *, but: str) -> None:
    over = int(db.execute("SELECT value FROM meta WHERE name = 'bytes'").fetchone()[0]) - max_bytes
    if over <= 0:
        return
    for id, size in db.execute(OLDEST, (but, REMOVED_AT_ONCE)).fetchall():
        db.execute("DELETE FROM traces WHERE id = ?", (id,))
        over -= size
        if over <= 0:
            return


def _no_trace(name: str, *, several: bool = False) -> NotFound:
    if several:
        return NotFound(f"several traces end with {name!r}: give more of the id; rag traces list shows them")
    return NotFound(f"no trace {name!r}; rag traces list shows those there are, and older ones are forgotten")
