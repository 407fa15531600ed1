"""Review: who said what of a version, and whether a protected label may move to it.

There are no tables of verdicts: the log holds them, and what is in force is read from it. A person's last
verdict on a version counts; a rejection stands until the same person approves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from indexes.library import rows
from rag.errors import LabelProtected, PromptError
from rag.prompts.versions import checked_label
from rag.types import text_digest

if TYPE_CHECKING:
    from indexes.library.store import PromptLibrary

Verdict = Literal["approve", "reject"]


@dataclass(frozen=True, slots=True)
class Protection:
    """What a label asks of a version before it moves there: approvals of others, and tests that passed."""

    label: str
    approvals: int
    tests: bool


@dataclass(frozen=True, slots=True)
class Review:
    """How a version stands. ``missing`` says, in words, what ``label`` still asks of it: () where it may
    move there. ``proposed_by`` is "" where nobody proposed it."""

    name: str
    number: int
    label: str
    author: str
    approved_by: tuple[str, ...]
    rejected_by: tuple[str, ...]
    missing: tuple[str, ...]
    proposed_by: str = ""
    proposed_at: str = ""
    why: str = ""

    @property
    def state(self) -> str:
        """``rejected``, ``waiting``, or ``ready`` to be labelled."""
        return "rejected" if self.rejected_by else "waiting" if self.missing else "ready"


# --- what is said of a version ------------------------------------------------------------------------


def propose(
    library: PromptLibrary, name: str, which: int | str, label: str, *, author: str, why: str = ""
) -> Review:
    """Ask that a label be moved to a version. Raises UnknownPrompt, PromptError where it stands there."""
    checked_label(label)
    with library.changing() as db:
        prompt, number = rows.number_of(db, name, which)
        if rows.labels_of(db, prompt).get(label) == number:
            raise PromptError(f"{label} of {name!r} stands on version {number} already")
        rows.record(db, "propose", who=author, why=why, prompt=prompt, number=number, label=label)
        return _review(db, name, prompt, number, label, self_approval=library.self_approval)


def comment(library: PromptLibrary, name: str, which: int | str, *, author: str, why: str) -> int:
    """Say something of a version. Returns its number. Raises UnknownPrompt."""
    with library.changing() as db:
        prompt, number = rows.number_of(db, name, which)
        rows.record(db, "comment", who=author, why=why, prompt=prompt, number=number)
        return number


def judge(
    library: PromptLibrary, name: str, which: int | str, verdict: Verdict, *, author: str, why: str = ""
) -> Review:
    """Approve or reject a version; the last verdict of a person counts.

    Raises UnknownPrompt, and PromptError where who pushed it approves it and may not.
    """
    with library.changing() as db:
        prompt, number = rows.number_of(db, name, which)
        by = rows.version_of(db, prompt, number).author
        if verdict == "approve" and _same(by, author) and not library.self_approval:
            raise PromptError(
                f"{author} pushed {name}@{number}, and somebody else approves it "
                "([prompts] self_approval = true would let them)"
            )
        rows.record(db, verdict, who=author, why=why, prompt=prompt, number=number)
        label = proposed_label(db, prompt, number)
        return _review(db, name, prompt, number, label, self_approval=library.self_approval)


def proposed_label(db: sqlite3.Connection, prompt: int, number: int) -> str:
    """The label that a version was last proposed for; ``production`` where it was for none."""
    sql = "SELECT label FROM log WHERE prompt_id = ? AND number = ? AND action = 'propose' ORDER BY id DESC"
    found = db.execute(f"{sql} LIMIT 1", (prompt, number)).fetchone()
    return found[0] if found else "production"


def review_of(library: PromptLibrary, name: str, which: int | str, label: str = "") -> Review:
    """How a version stands for a label (none: for which it was proposed). Raises UnknownPrompt."""
    with library.store.reading() as db:
        prompt, number = rows.number_of(db, name, which)
        label = label or proposed_label(db, prompt, number)
        return _review(db, name, prompt, number, label, self_approval=library.self_approval)


def waiting(library: PromptLibrary) -> list[Review]:
    """The open proposals, oldest first: the last of each prompt and label, until the label moves there."""
    with library.store.reading() as db:
        found = db.execute(
            "SELECT p.name, p.id, l.number, l.label FROM log l JOIN prompts p ON p.id = l.prompt_id "
            "WHERE l.action = 'propose' AND NOT p.removed "
            "AND NOT EXISTS (SELECT 1 FROM log n WHERE n.prompt_id = l.prompt_id AND n.label = l.label AND "
            "n.id > l.id AND (n.action = 'propose' OR "
            "(n.action IN ('label', 'rollback') AND n.number = l.number))) ORDER BY l.id"
        ).fetchall()
        return [_review(db, *one, self_approval=library.self_approval) for one in found]


def _review(
    db: sqlite3.Connection, name: str, prompt: int, number: int, label: str, *, self_approval: bool
) -> Review:
    approved, rejected = _verdicts(db, prompt, number)
    proposal = db.execute(
        "SELECT who, at, why FROM log WHERE prompt_id = ? AND number = ? AND label = ? "
        "AND action = 'propose' ORDER BY id DESC LIMIT 1",
        (prompt, number, label),
    ).fetchone()
    missing = _missing(db, prompt, number, label, self_approval=self_approval)
    author = rows.version_of(db, prompt, number).author
    return Review(name, number, label, author, approved, rejected, missing, *(proposal or ()))


def _verdicts(db: sqlite3.Connection, prompt: int, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who approves a version, and who rejects it."""
    sql = "SELECT who, action FROM log WHERE prompt_id = ? AND number = ? AND action IN ('approve', 'reject')"
    last: dict[str, tuple[str, str]] = {}
    for who, verdict in db.execute(f"{sql} ORDER BY id", (prompt, number)):
        last[_key(who)] = (who, verdict)
    approved = tuple(who for who, verdict in last.values() if verdict == "approve")
    return approved, tuple(who for who, verdict in last.values() if verdict == "reject")


# --- what a label asks --------------------------------------------------------------------------------


def protect(
    library: PromptLibrary, label: str, *, approvals: int, tests: bool, author: str, why: str = ""
) -> None:
    """Let a label, of every prompt, move only to versions that are approved and tested.

    Raises PromptError where nothing is asked for.
    """
    checked_label(label)
    if approvals < 0 or not (approvals or tests):
        raise PromptError("a protected label asks for an approval or for tests: --approvals 1, --tests")
    with library.changing() as db:
        db.execute(
            "INSERT INTO protections VALUES(?, ?, ?) "
            "ON CONFLICT DO UPDATE SET approvals = excluded.approvals, tests = excluded.tests",
            (label, approvals, tests),
        )
        asks = " and ".join(_asks(Protection(label, approvals, tests)))
        rows.record(db, "protect", who=author, why=f"{asks}{f': {why}' if why else ''}", label=label)


def unprotect(library: PromptLibrary, label: str, *, author: str, why: str = "") -> None:
    """Let a label move freely again. Raises PromptError where it does."""
    with library.changing() as db:
        if _protection(db, label) is None:
            raise PromptError(f"label {label!r} is not protected")
        db.execute("DELETE FROM protections WHERE label = ?", (label,))
        rows.record(db, "unprotect", who=author, why=why, label=label)


def protections(library: PromptLibrary) -> list[Protection]:
    """The labels that are protected, by name."""
    with library.store.reading() as db:
        found = db.execute("SELECT label, approvals, tests FROM protections ORDER BY label")
        return [Protection(label, approvals, bool(tests)) for label, approvals, tests in found]


def require_allowed(
    db: sqlite3.Connection, name: str, prompt: int, number: int, label: str, *, self_approval: bool
) -> None:
    """Raise LabelProtected, which says what is missing, where a label may not move to a version."""
    if missing := _missing(db, prompt, number, label, self_approval=self_approval):
        raise LabelProtected(
            f"{label} is protected and does not move to {name}@{number}: {'; '.join(missing)}"
        )


def require_unprotected(db: sqlite3.Connection, name: str, labels: Iterable[str], what: str) -> None:
    """Raise LabelProtected where one of a prompt's labels is protected: it is never without a version."""
    for label in labels:
        if _protection(db, label):
            raise LabelProtected(
                f"{label} of {name!r} is protected and would be {what}: `rag prompts unprotect {label}` first"
            )


def tests_of(db: sqlite3.Connection, prompt: int) -> str | None:
    """The newest tests of a prompt."""
    sql = "SELECT t.text FROM tests s JOIN texts t ON t.id = s.text_id WHERE s.prompt_id = ?"
    found = db.execute(f"{sql} ORDER BY s.id DESC LIMIT 1", (prompt,)).fetchone()
    return found[0] if found else None


def _missing(
    db: sqlite3.Connection, prompt: int, number: int, label: str, *, self_approval: bool
) -> tuple[str, ...]:
    asked = _protection(db, label)
    if asked is None:
        return ()
    missing = []
    approved, rejected = _verdicts(db, prompt, number)
    author = rows.version_of(db, prompt, number).author
    counted = [who for who in approved if self_approval or not _same(who, author)]
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


def _protection(db: sqlite3.Connection, label: str) -> Protection | None:
    found = db.execute("SELECT * FROM protections WHERE label = ?", (label,)).fetchone()
    return Protection(found[0], found[1], bool(found[2])) if found else None


def _asks(protection: Protection) -> list[str]:
    count = protection.approvals
    asks = [f"{count} approval{'s' if count > 1 else ''}"] if count else []
    return [*asks, "tests passed"] if protection.tests else asks


def _key(who: str) -> str:
    return " ".join(who.split()).casefold()


def _same(one: str, other: str) -> bool:
    return _key(one) == _key(other)
