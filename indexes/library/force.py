"""Of each prompt of the library the version in force, in one look: for what goes through all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.prompts.versions import PRODUCTION, Facts

if TYPE_CHECKING:
    from indexes.library.store import PromptLibrary

_IN_FORCE = (
    "SELECT p.name, v.number, l.number IS NOT NULL, v.digest, v.facts, v.text_id FROM prompts p "
    "LEFT JOIN labels l ON l.prompt_id = p.id AND l.name = ? JOIN versions v ON v.prompt_id = p.id "
    "AND v.number = coalesce(l.number, (SELECT max(number) FROM versions n WHERE n.prompt_id = p.id)) "
    "WHERE NOT p.removed ORDER BY p.name"
)


@dataclass(frozen=True, slots=True)
class InForce:
    """A prompt at ``production``, or, where ``production`` is False, at its newest version."""

    name: str
    number: int
    production: bool
    digest: str
    facts: Facts
    text: int


def in_force(library: PromptLibrary) -> list[InForce]:
    """Every prompt that was not removed, by name, without its text."""
    with library.store.reading() as db:
        return [
            InForce(name, number, bool(production), digest, Facts.from_json(facts), text)
            for name, number, production, digest, facts, text in db.execute(_IN_FORCE, (PRODUCTION,))
        ]


def newest_sources(library: PromptLibrary) -> dict[str, str]:
    """The file's text of every prompt that was not removed, at its newest version, by name."""
    with library.store.reading() as db:
        found = db.execute(
            "SELECT p.name, t.text FROM newest v JOIN prompts p ON p.id = v.prompt_id "
            "JOIN texts t ON t.id = v.text_id WHERE NOT p.removed"
        )
        return dict(found.fetchall())


def sources(library: PromptLibrary, some: Iterable[InForce]) -> dict[str, str]:
    """The file's text of each of these, by name."""
    with library.store.reading() as db:
        sql = "SELECT text FROM texts WHERE id = ?"
        return {one.name: str(db.execute(sql, (one.text,)).fetchone()[0]) for one in some}
