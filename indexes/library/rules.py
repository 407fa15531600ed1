"""What a label asks of a version before it stands there. Everything here is inside the caller's transaction.

There are no tables of verdicts: the log holds them, and what is in force is read from it. A person's last
verdict on a version counts; a rejection stands until the same person approves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from indexes.library import rows
from rag.errors import LabelProtected
from rag.types import text_digest


@dataclass(frozen=True, slots=True)
class Protection:
    """What a label asks of a version before it moves there: approvals of others, and tests that passed."""

    label: str
    approvals: int
    tests: bool


def stand(
    db: sqlite3.Connection,
    name: str,
    prompt: int,
    number: int,
    label: str,
    *,
    who: str,
    why: str,
    self_approval: bool,
    action: str = "label",
) -> int:
    """Let a label stand on a version, inside the caller's transaction, and note it. Returns where it stood.

    Raises LabelProtected.
    """
    before = rows.labels_of(db, prompt).get(label, 0)
    if before != number:
        require_allowed(db, name, prompt, number, label, self_approval=self_approval)
        db.execute(
            "INSERT INTO labels VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET number = excluded.number",
            (prompt, label, number),
        )
        rows.record(db, action, who=who, why=why, prompt=prompt, number=number, label=label, before=before)
    return before


def verdicts(db: sqlite3.Connection, prompt: int, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who approves a version, and who rejects it."""
    sql = "SELECT who, action FROM log WHERE prompt_id = ? AND number = ? AND action IN ('approve', 'reject')"
    last: dict[str, tuple[str, str]] = {}
    for who, verdict in db.execute(f"{sql} ORDER BY id", (prompt, number)):
        last[_key(who)] = (who, verdict)
    approved = tuple(who for who, verdict in last.values() if verdict == "approve")
    return approved, tuple(who for who, verdict in last.values() if verdict == "reject")


def require_allowed(
    db: sqlite3.Connection, name: str, prompt: int, number: int, label: str, *, self_approval: bool
) -> None:
    """Raise LabelProtected, which says what is missing, where a label may not move to a version."""
    if missing := missing_of(db, prompt, number, label, self_approval=self_approval):
        raise LabelProtected(
            f"{label} is protected and does not move to {name}@{number}: {'; '.join(missing)}"
        )


def require_unprotected(db: sqlite3.Connection, name: str, labels: Iterable[str], what: str) -> None:
    """Raise LabelProtected where one of a prompt's labels is protected: it is never without a version."""
    for label in labels:
        if protection_of(db, label):
            raise LabelProtected(
                f"{label} of {name!r} is protected and would be {what}: `rag prompts unprotect {label}` first"
            )


def tests_of(db: sqlite3.Connection, prompt: int) -> str | None:
    """The newest tests of a prompt."""
    sql = "SELECT t.text FROM tests s JOIN texts t ON t.id = s.text_id WHERE s.prompt_id = ?"
    found = db.execute(f"{sql} ORDER BY s.id DESC LIMIT 1", (prompt,)).fetchone()
    return found[0] if found else None


def missing_of(
    db: sqlite3.Connection, prompt: int, number: int, label: str, *, self_approval: bool
) -> tuple[str, ...]:
    """In words, what a label still asks of a version; () where it may move there."""
    asked = protection_of(db, label)
    if asked is None:
        return ()
    missing = []
    approved, rejected = verdicts(db, prompt, number)
    author = rows.version_of(db, prompt, number).author
    counted = [who for who in approved if self_approval or not same_person(who, author)]
    if rejected and asked.approvals:
        missing.append(f"{', '.join(rejected)} rejected it")
    if (more := asked.approvals - len(counted)) > 0:
        who = "" if self_approval else f" by somebody other than {author}"
        missing.append(f"{more} approval{'s' if more > 1 else ''}{who} missing")
    if asked.tests and (problem := _untested(db, prompt, number)):
        missing.append(problem)
    return tuple(missing)


def _untested(db: sqlite3.Connection, prompt: int, number: int) -> str:
    """Why the tests of a version do not count as passed; "" where they do."""
    tests = tests_of(db, prompt)
    if tests is None:
        return "it has no tests"
    sql = "SELECT tests_digest, passed, failed, unevaluated FROM runs WHERE prompt_id = ? AND number = ?"
    run = db.execute(f"{sql} ORDER BY id DESC LIMIT 1", (prompt, number)).fetchone()
    if run is None:
        return "its tests were never run"
    digest, passed, failed, unevaluated = run
    if digest != text_digest(tests):
        return "its tests changed since they were run"
    if failed or unevaluated or not passed:
        return f"its tests did not pass: {failed} failed, {unevaluated} not evaluated, {passed} passed"
    return ""


def protection_of(db: sqlite3.Connection, label: str) -> Protection | None:
    """What a label asks, None where it moves freely."""
    found = db.execute("SELECT * FROM protections WHERE label = ?", (label,)).fetchone()
    return Protection(found[0], found[1], bool(found[2])) if found else None


def asks_of(protection: Protection) -> list[str]:
    """The same in words."""
    count = protection.approvals
    asks = [f"{count} approval{'s' if count > 1 else ''}"] if count else []
    return [*asks, "tests passed"] if protection.tests else asks


def _key(who: str) -> str:
    return " ".join(who.split()).casefold()


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's, however they are written."""
    return _key(one) == _key(other)
