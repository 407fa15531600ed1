"""The prompt library: every version of every prompt, its tests, its labels, and who did what.

One SQLite file of the data folder, with a lock of its own: an ingest may hold the catalogue's for hours.
Versions are written once; labels are pointers that move; each change is one transaction that also appends
to the log, so that what is in force and why it is can never disagree.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from indexes.library import rows, rules
from indexes.library.schema import LIBRARY
from indexes.library.values import Entry, Head, Pushed, Run
from indexes.store import Store, transaction
from rag.prompts.versions import Draft, Event, Facts, Version, checked_label, checked_name

WAIT = 5.0
"""Seconds that a write waits for another one: each takes milliseconds."""
_HEADS = (
    "SELECT p.name, v.number, v.digest, t.sha256, coalesce((SELECT u.sha256 FROM tests s "
    "JOIN texts u ON u.id = s.text_id WHERE s.prompt_id = p.id ORDER BY s.id DESC LIMIT 1), ''), p.removed "
    "FROM newest v JOIN prompts p ON p.id = v.prompt_id JOIN texts t ON t.id = v.text_id"
)
_PARTS = (
    "SELECT p.name, s.path, t.sha256 FROM newest v JOIN prompts p ON p.id = v.prompt_id "
    "JOIN parts s ON s.version_id = v.id JOIN texts t ON t.id = s.text_id"
)
_ENTRIES = (
    "SELECT p.id, p.name, v.number, v.facts, v.author, v.created_at, "
    "EXISTS(SELECT 1 FROM tests s WHERE s.prompt_id = p.id) FROM newest v "
    "JOIN prompts p ON p.id = v.prompt_id WHERE NOT p.removed ORDER BY p.name"
)


class PromptLibrary:
    """The library of a data folder, for any number of threads and processes.

    ``self_approval`` lets who pushed a version approve it.
    """

    def __init__(self, store: Store, *, self_approval: bool = False) -> None:
        """Use :meth:`open`."""
        self.store = store
        self.self_approval = self_approval

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        create: bool,
        self_approval: bool = False,
        on_point: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """The library in a data folder; ``create`` makes both where they are not.

        Raises NotFound, SchemaTooNew, CatalogueDamaged.
        """
        store = Store(folder, create=create, database=LIBRARY, on_point=on_point)
        return cls(store, self_approval=self_approval)

    def close(self) -> None:
        """Close the connections."""
        self.store.close()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction under the lock: all of the block, or nothing of it. Raises LockHeld."""
        with self.store.writing(wait=WAIT) as db, transaction(db):
            yield db
            self.store.on_point("library:written")

    # --- what there is ------------------------------------------------------------------------

    def heads(self) -> dict[str, Head]:
        """Every prompt by name, those that were removed too."""
        with self.store.reading() as db:
            parts: dict[str, dict[str, str]] = {}
            for name, path, digest in db.execute(_PARTS):
                parts.setdefault(name, {})[path] = digest
            return {
                name: Head(number, digest, sha256, parts.get(name, {}), tests, bool(removed))
                for name, number, digest, sha256, tests, removed in db.execute(_HEADS)
            }

    def entries(self) -> list[Entry]:
        """Every prompt that was not removed, by name."""
        with self.store.reading() as db:
            stand: dict[int, dict[str, int]] = {}
            for prompt, label, number in db.execute("SELECT * FROM labels ORDER BY prompt_id, name"):
                stand.setdefault(prompt, {})[label] = number
            return [
                Entry(name, number, stand.get(key, {}), Facts.from_json(facts), author, at, bool(tests))
                for key, name, number, facts, author, at, tests in db.execute(_ENTRIES)
            ]

    def names(self) -> list[str]:
        """The prompts that were not removed, in order."""
        with self.store.reading() as db:
            return [row[0] for row in db.execute("SELECT name FROM prompts WHERE NOT removed ORDER BY name")]

    def version(self, name: str, which: int | str | None = None) -> Version:
        """A version by its number or by a label (None: ``production``). Raises UnknownPrompt."""
        with self.store.reading() as db:
            return rows.version_of(db, *rows.number_of(db, name, which))

    def versions(self, name: str) -> list[Version]:
        """Every version of a prompt, oldest first; of one that was removed too. Raises UnknownPrompt."""
        with self.store.reading() as db:
            prompt = rows.prompt_id(db, name, removed=True)
            found = db.execute(
                f"{rows.VERSION} WHERE v.prompt_id = ? ORDER BY v.number", (prompt,)
            ).fetchall()
            return [rows.version_in(db, row) for row in found]

    def of_digest(self, digest: str) -> Version | None:
        """The newest version with this digest, whichever prompt's."""
        with self.store.reading() as db:
            sql = f"{rows.VERSION} WHERE v.digest = ? ORDER BY v.id DESC LIMIT 1"
            row = db.execute(sql, (digest,)).fetchone()
            return rows.version_in(db, row) if row else None

    def labels(self, name: str) -> dict[str, int]:
        """Where each label of a prompt stands. Raises UnknownPrompt."""
        with self.store.reading() as db:
            return rows.labels_of(db, rows.prompt_id(db, name))

    def tests(self, name: str) -> str | None:
        """The newest tests of a prompt, as their file; their digest is ``text_digest`` of it."""
        with self.store.reading() as db:
            return rules.tests_of(db, rows.prompt_id(db, name))

    def log(self, name: str | None = None, *, limit: int = 1000) -> list[Event]:
        """What was done, newest first: all of it, or with one prompt. Raises UnknownPrompt."""
        with self.store.reading() as db:
            if name is None:
                found = db.execute(f"{rows.EVENT} ORDER BY l.id DESC LIMIT ?", (limit,))
            else:
                prompt = rows.prompt_id(db, name, removed=True)
                sql = f"{rows.EVENT} WHERE l.prompt_id = ? ORDER BY l.id DESC LIMIT ?"
                found = db.execute(sql, (prompt, limit))
            return [rows.event_of(row) for row in found]

    # --- versions -----------------------------------------------------------------------------

    def push(
        self,
        drafts: Sequence[Draft],
        *,
        author: str,
        message: str = "",
        tests: Mapping[str, str] | None = None,
        label: str = "",
        labelled: Mapping[str, int] = MappingProxyType({}),
    ) -> Pushed:
        """Make a version of each draft that is not what its newest version is, in one transaction.

        ``tests`` are files by prompt, of prompts that are there or among the drafts. ``label`` is moved to
        the newest version of the drafts, and to the versions in ``labelled``, by prompt. Raises
        LabelProtected, and nothing is written.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     library = PromptLibrary.open(Path(folder), create=True)
        ...     draft = Draft("hi", "Say hi.", {}, "d1", Facts())
        ...     library.push([draft], author="ana").versions, library.push([draft], author="ana").versions
        ({'hi': (0, 1)}, {})
        """
        if label:
            checked_label(label)
        made: dict[str, tuple[int, int]] = {}
        tested, moved = [], {}
        with self.changing() as db:
            for draft in drafts:
                change = _push(db, draft, author=author, message=message)
                if change:
                    made[draft.name] = change
            for name, text in (tests or {}).items():
                prompt = rows.prompt_id(db, name)
                if text != rules.tests_of(db, prompt):
                    db.execute(
                        "INSERT INTO tests(prompt_id, text_id, author, created_at) VALUES(?, ?, ?, ?)",
                        (prompt, rows.text_id(db, text), author, rows.now()),
                    )
                    rows.record(db, "tests", who=author, why=message, prompt=prompt)
                    tested.append(name)
            if label:
                for name in dict.fromkeys([*(draft.name for draft in drafts), *labelled]):
                    prompt = rows.prompt_id(db, name)
                    number = labelled.get(name) or rows.latest(db, prompt)
                    before = rules.stand(
                        db,
                        name,
                        prompt,
                        number,
                        label,
                        who=author,
                        why=message,
                        self_approval=self.self_approval,
                    )
                    if before != number:
                        moved[name] = (before, number)
        return Pushed(made, tuple(tested), moved)

    def remove(self, name: str, *, author: str, why: str = "") -> None:
        """Take a prompt off the list: it is found no more, its history stays, pushing restores it.

        Raises UnknownPrompt, LabelProtected where a protected label stands on it.
        """
        with self.changing() as db:
            prompt = rows.prompt_id(db, name)
            rules.require_unprotected(db, name, rows.labels_of(db, prompt), "removed")
            db.execute("UPDATE prompts SET removed = 1 WHERE id = ?", (prompt,))
            rows.record(db, "remove", who=author, why=why, prompt=prompt, number=rows.latest(db, prompt))

    # --- test runs ----------------------------------------------------------------------------

    def record_run(
        self,
        name: str,
        number: int,
        tests_digest: str,
        passed: int,
        failed: int,
        unevaluated: int,
        detail: Mapping[str, Any],
        author: str,
    ) -> None:
        """Keep the result of a run of a prompt's tests on a version. Raises UnknownPrompt."""
        with self.changing() as db:
            prompt, number = rows.number_of(db, name, number)
            told = json.dumps(dict(detail), ensure_ascii=False)
            db.execute(
                "INSERT INTO runs(prompt_id, number, tests_digest, passed, failed, unevaluated, detail, "
                "author, created_at) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (prompt, number, tests_digest, passed, failed, unevaluated, told, author, rows.now()),
            )
            why = f"{passed} passed, {failed} failed, {unevaluated} not evaluated"
            rows.record(db, "test", who=author, why=why, prompt=prompt, number=number)

    def runs(self, name: str, number: int | None = None) -> list[Run]:
        """The runs of a version, or of all, newest first. Raises UnknownPrompt."""
        with self.store.reading() as db:
            prompt = rows.prompt_id(db, name, removed=True)
            found = db.execute(
                "SELECT number, tests_digest, passed, failed, unevaluated, detail, author, created_at "
                "FROM runs WHERE prompt_id = ? AND (? IS NULL OR number = ?) ORDER BY id DESC",
                (prompt, number, number),
            )
            return [
                Run(number, digest, passed, failed, unevaluated, json.loads(detail), author, at)
                for number, digest, passed, failed, unevaluated, detail, author, at in found
            ]


def _push(db: sqlite3.Connection, draft: Draft, *, author: str, message: str) -> tuple[int, int] | None:
    """Write a version, unless the newest one is the same and its prompt is there; then None."""
    name = checked_name(draft.name)
    db.execute("INSERT INTO prompts(name) VALUES(?) ON CONFLICT DO NOTHING", (name,))
    prompt = rows.prompt_id(db, name, removed=True)
    before = rows.latest(db, prompt)
    (removed,) = db.execute("SELECT removed FROM prompts WHERE id = ?", (prompt,)).fetchone()
    if removed:
        db.execute("UPDATE prompts SET removed = 0 WHERE id = ?", (prompt,))
        rows.record(db, "restore", who=author, why=message, prompt=prompt, number=before)
    if before:
        newest = rows.version_of(db, prompt, before)
        if (newest.source, dict(newest.parts)) == (draft.source, dict(draft.parts)):
            return (before, before) if removed else None
    number = before + 1
    made = db.execute(
        "INSERT INTO versions(prompt_id, number, text_id, digest, facts, author, message, created_at) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        (
            prompt,
            number,
            rows.text_id(db, draft.source),
            draft.digest,
            draft.facts.as_json(),
            author,
            message,
            rows.now(),
        ),
    )
    for path, text in draft.parts.items():
        db.execute("INSERT INTO parts VALUES(?, ?, ?)", (made.lastrowid, path, rows.text_id(db, text)))
    rows.record(db, "push", who=author, why=message, prompt=prompt, number=number, before=before)
    return before, number
