"""Review: who said what of a version, and which labels ask for it (:mod:`indexes.library.rules`)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from indexes.library import rows
from indexes.library.rules import (
    Protection,
    asks_of,
    missing_of,
    protection_of,
    same_person,
    verdicts,
)
from indexes.library.store import PromptLibrary
from rag.errors import PromptError
from rag.prompts.versions import checked_label

Verdict = Literal["approve", "reject"]


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
        if verdict == "approve" and same_person(by, author) and not library.self_approval:
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
    approved, rejected = verdicts(db, prompt, number)
    proposal = db.execute(
        "SELECT who, at, why FROM log WHERE prompt_id = ? AND number = ? AND label = ? "
        "AND action = 'propose' ORDER BY id DESC LIMIT 1",
        (prompt, number, label),
    ).fetchone()
    missing = missing_of(db, prompt, number, label, self_approval=self_approval)
    author = rows.version_of(db, prompt, number).author
    return Review(name, number, label, author, approved, rejected, missing, *(proposal or ()))


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
        asks = " and ".join(asks_of(Protection(label, approvals, tests)))
        rows.record(db, "protect", who=author, why=f"{asks}{f': {why}' if why else ''}", label=label)


def unprotect(library: PromptLibrary, label: str, *, author: str, why: str = "") -> None:
    """Let a label move freely again. Raises PromptError where it does."""
    with library.changing() as db:
        if protection_of(db, label) is None:
            raise PromptError(f"label {label!r} is not protected")
        db.execute("DELETE FROM protections WHERE label = ?", (label,))
        rows.record(db, "unprotect", who=author, why=why, label=label)


def protections(library: PromptLibrary) -> list[Protection]:
    """The labels that are protected, by name."""
    with library.store.reading() as db:
        found = db.execute("SELECT label, approvals, tests FROM protections ORDER BY label")
        return [Protection(label, approvals, bool(tests)) for label, approvals, tests in found]
