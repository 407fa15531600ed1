"""The rows of ``library.db``: looked up, written, read as values. Everything here is inside the caller's
transaction."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from difflib import get_close_matches

from rag.errors import UnknownPrompt
from rag.prompts.versions import LATEST, PRODUCTION, Event, Version
from rag.types import text_digest

VERSION = (
    "SELECT v.id, p.name, v.number, t.text, v.digest, v.author, v.message, v.created_at FROM versions v "
    "JOIN prompts p ON p.id = v.prompt_id JOIN texts t ON t.id = v.text_id"
)
EVENT = (
    "SELECT l.id, l.at, l.who, l.action, coalesce(p.name, ''), l.number, l.label, l.before, l.why "
    "FROM log l LEFT JOIN prompts p ON p.id = l.prompt_id"
)


def now() -> str:
    """This moment in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def text_id(db: sqlite3.Connection, text: str) -> int:
    """The row of a text, written if it is new."""
    digest = text_digest(text)
    db.execute("INSERT INTO texts(sha256, text) VALUES(?, ?) ON CONFLICT DO NOTHING", (digest, text))
    return int(db.execute("SELECT id FROM texts WHERE sha256 = ?", (digest,)).fetchone()[0])


def prompt_id(db: sqlite3.Connection, name: str, *, removed: bool = False) -> int:
    """The key of a prompt (``removed``: of one that was removed too). Raises UnknownPrompt."""
    found = db.execute("SELECT id, removed FROM prompts WHERE name = ?", (name,)).fetchone()
    if found and (removed or not found[1]):
        return int(found[0])
    if found:
        raise UnknownPrompt(
            f"prompt {name!r} was removed from the library: push its file again to restore it; "
            f"`rag prompts log {name}` has its history"
        )
    names = [row[0] for row in db.execute("SELECT name FROM prompts WHERE NOT removed ORDER BY name")]
    near = get_close_matches(name, names, n=3) or names[:10]
    there = f"there is {', '.join(near)}" if near else "it is empty"
    raise UnknownPrompt(f"no prompt {name!r} in the library; {there}")


def latest(db: sqlite3.Connection, prompt: int) -> int:
    """The highest version of a prompt; 0 where it has none."""
    sql = "SELECT coalesce(max(number), 0) FROM versions WHERE prompt_id = ?"
    return int(db.execute(sql, (prompt,)).fetchone()[0])


def labels_of(db: sqlite3.Connection, prompt: int) -> dict[str, int]:
    """Where each label of a prompt stands."""
    return dict(
        db.execute("SELECT name, number FROM labels WHERE prompt_id = ? ORDER BY name", (prompt,)).fetchall()
    )


def number_of(db: sqlite3.Connection, name: str, which: int | str | None = None) -> tuple[int, int]:
    """The key of a prompt and the number of a version of it: by number, by label, None for ``production``.

    Raises UnknownPrompt, which says what there is.
    """
    prompt = prompt_id(db, name)
    highest = latest(db, prompt)
    if which == LATEST:
        return prompt, highest
    if isinstance(which, int):
        if not 1 <= which <= highest:
            raise UnknownPrompt(f"prompt {name!r} has no version {which}; its versions are 1 to {highest}")
        return prompt, which
    labels = labels_of(db, prompt)
    label = which or PRODUCTION
    if label not in labels:
        there = ", ".join(f"{each} (version {at})" for each, at in labels.items()) or "none yet"
        raise UnknownPrompt(
            f"prompt {name!r} has no label {label!r}; its labels: {there}. "
            f"`rag prompts label {name}@{highest} {label}` sets it"
        )
    return prompt, labels[label]


def version_of(db: sqlite3.Connection, prompt: int, number: int) -> Version:
    """A version that is there."""
    row = db.execute(f"{VERSION} WHERE v.prompt_id = ? AND v.number = ?", (prompt, number)).fetchone()
    return version_in(db, row)


def version_in(db: sqlite3.Connection, row: tuple[int, str, int, str, str, str, str, str]) -> Version:
    """The version in a row of VERSION, with its parts."""
    id, name, number, source, *about = row
    sql = "SELECT s.path, t.text FROM parts s JOIN texts t ON t.id = s.text_id WHERE s.version_id = ?"
    parts = dict(db.execute(f"{sql} ORDER BY s.path", (id,)).fetchall())
    return Version(name, number, source, parts, *about)


def record(
    db: sqlite3.Connection,
    action: str,
    *,
    who: str,
    why: str = "",
    prompt: int | None = None,
    number: int = 0,
    label: str = "",
    before: int = 0,
) -> None:
    """Append one row to the log."""
    db.execute(
        "INSERT INTO log(at, who, action, prompt_id, number, label, before, why) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        (now(), who, action, prompt, number, label, before, why),
    )


def event_of(row: tuple[int, str, str, str, str, int, str, int, str]) -> Event:
    """The event in a row of EVENT."""
    return Event(*row)
