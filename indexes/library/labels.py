"""Labels: pointers to versions that move, each move a row of the log."""

from __future__ import annotations

from indexes.library import rows, rules
from indexes.library.store import PromptLibrary
from rag.errors import PromptError
from rag.prompts.versions import checked_label


def move(
    library: PromptLibrary, name: str, which: int | str, label: str, *, author: str, why: str = ""
) -> tuple[int, int]:
    """Let a label stand on a version (a number, or where another label stands).

    Returns where it stood (0: nowhere) and where it stands. Raises UnknownPrompt, PromptError for what cannot
    be a label, LabelProtected.
    """
    checked_label(label)
    with library.changing() as db:
        prompt, number = rows.number_of(db, name, which)
        may = library.self_approval
        return rules.stand(db, name, prompt, number, label, who=author, why=why, self_approval=may), number


def roll_back(
    library: PromptLibrary, name: str, label: str, *, author: str, why: str = ""
) -> tuple[int, int]:
    """Let a label stand where it stood before its last move; that is a move too. Returns as :func:`move`.

    Raises UnknownPrompt, PromptError where it never stood elsewhere, LabelProtected.
    """
    checked_label(label)
    with library.changing() as db:
        prompt, number = rows.number_of(db, name, label)
        last = db.execute(
            "SELECT before FROM log WHERE prompt_id = ? AND label = ? "
            "AND action IN ('label', 'rollback') ORDER BY id DESC LIMIT 1",
            (prompt, label),
        ).fetchone()
        if not last or not last[0]:
            raise PromptError(
                f"{label} of {name!r} stood nowhere before version {number}: "
                f"`rag prompts unlabel {name} {label}` takes it away"
            )
        to = int(last[0])
        may = library.self_approval
        rules.stand(db, name, prompt, to, label, who=author, why=why, self_approval=may, action="rollback")
        return number, to


def unlabel(library: PromptLibrary, name: str, label: str, *, author: str, why: str = "") -> int:
    """Take a label away. Returns where it stood. Raises UnknownPrompt, LabelProtected."""
    checked_label(label)
    with library.changing() as db:
        prompt, number = rows.number_of(db, name, label)
        rules.require_unprotected(db, name, [label], "taken away")
        db.execute("DELETE FROM labels WHERE prompt_id = ? AND name = ?", (prompt, label))
        rows.record(db, "unlabel", who=author, why=why, prompt=prompt, label=label, before=number)
        return number
