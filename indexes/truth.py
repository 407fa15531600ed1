"""What must hold of the catalogue's rows, collection by collection: the truth, checked.

Each check reads in the caller's transaction, counts what it looks at, and yields what is wrong.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from indexes.rows import CHUNK, DOCUMENT, chunk_of, document_of
from indexes.writer import UNIT_TOLERANCE
from rag.token_codes import width
from rag.types import Chunk, text_hash

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Part:
    """The collection that is checked, in the space that answers (None: none does yet)."""

    db: sqlite3.Connection
    name: str
    id: int
    space: int | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: what, where, how bad, and the command that mends it."""

    invariant: str
    severity: Severity
    collection: str
    message: str
    mend: str


def documents(part: Part, checked: Counter[str]) -> Iterator[Finding]:
    """Each document stands at one whole version, cut wholly in the space that answers."""
    keys = part.db.execute(
        "SELECT key FROM documents WHERE collection_id = ? ORDER BY key", (part.id,)
    ).fetchall()
    for (key,) in keys:
        checked["documents"] += 1
        document = document_of(part.db.execute(DOCUMENT + " WHERE d.key = ?", (key,)).fetchone())
        (digest,) = part.db.execute("SELECT digest FROM documents WHERE key = ?", (key,)).fetchone()
        cut = part.db.execute(
            "SELECT chunks, first_key FROM cuts WHERE document_key = ? AND space_id = ?", (key, part.space)
        )
        sql = CHUNK + " WHERE c.document_key = ? AND c.space_id = ? ORDER BY c.ordinal"
        chunks = [chunk_of(row) for row in part.db.execute(sql, (key, part.space))]
        sql = "SELECT ordinal FROM chunks WHERE document_key = ? AND space_id = ? ORDER BY ordinal"
        ordinals = [ordinal for (ordinal,) in part.db.execute(sql, (key, part.space))]
        problem = ""
        severity: Severity = "error"
        if document.digest != digest:
            problem = "its content is not what its digest says"
        elif (expected := cut.fetchone()) is None:
            problem = "it was never cut in the space that answers"
        elif ordinals != list(range(expected[0])):
            problem = f"{len(ordinals)} of its {expected[0]} chunks are there, or not in order"
        elif [chunk.key for chunk in chunks] != list(range(expected[1], expected[1] + len(chunks))):
            problem = "the keys of its chunks do not follow each other: a filter would pass others"
        elif stray := next((c for c in chunks if document.text[c.start : c.end] != c.text), None):
            problem = f"chunk {stray.key} is not what stands at {stray.start}-{stray.end}"
        elif document.text.strip() and not chunks:
            problem, severity = "it has text and no chunk: it is never found", "warning"
        if problem:
            mend = _again(document.id, part.name)
            yield Finding("documents", severity, part.name, f"{document.id!r}: {problem}", mend)


MISCOUNTED = (
    "SELECT s.id, s.chunks, c.counted FROM spaces s JOIN (SELECT s.id, count(c.key) counted FROM spaces s "
    "LEFT JOIN chunks c ON c.space_id = s.id GROUP BY s.id) c ON c.id = s.id WHERE c.counted != s.chunks"
)
"""Spaces whose chunks are not as many as was counted along."""


def counts(part: Part, checked: Counter[str]) -> Iterator[Finding]:
    """The chunks of a space are as many as the catalogue counted along."""
    checked["counts"] += 1
    for space, told, counted in part.db.execute(MISCOUNTED):
        if space == part.space:
            message = f"it counts {told} chunks and has {counted}: what was deleted may be looked for"
            yield Finding("counts", "error", part.name, message, "rag doctor --repair")


def duplicates(part: Part, checked: Counter[str]) -> Iterator[Finding]:
    """No document twice in a collection, no span twice in a cut."""
    checked["duplicates"] += 1
    twice = "SELECT id FROM documents NOT INDEXED WHERE collection_id = ? GROUP BY id HAVING count(*) > 1"
    for (document,) in part.db.execute(twice, (part.id,)):
        message = f"{document!r} is stored more than once"
        yield Finding("duplicates", "error", part.name, message, _again(document, part.name))
    twice = (
        'SELECT d.id, c.start, c."end" FROM chunks c JOIN documents d ON d.key = c.document_key '
        'WHERE c.space_id = ? GROUP BY d.key, c.start, c."end" HAVING count(*) > 1'
    )
    for document, start, end in part.db.execute(twice, (part.space,)):
        message = f"characters {start}-{end} of {document!r} are a chunk more than once"
        yield Finding("duplicates", "error", part.name, message, _again(document, part.name))


def vectors(part: Part, checked: Counter[str]) -> Iterator[Finding]:
    """Every chunk has the vector of its own text, by its space's embedder, finite, of unit length."""
    rows = part.db.execute(
        "SELECT c.key, d.id, c.breadcrumb, c.text, v.text_hash, v.vector, v.embedder_id = s.embedder_id, "
        "e.dim, e.tokens, length(t.codes) FROM chunks c JOIN documents d ON d.key = c.document_key "
        "JOIN vectors v ON v.id = c.vector_id LEFT JOIN token_codes t ON t.vector_id = v.id "
        "JOIN spaces s ON s.id = c.space_id JOIN embedders e ON e.id = s.embedder_id "
        "WHERE c.space_id = ? ORDER BY c.key",
        (part.space,),
    )
    for key, document, breadcrumb, text, hash, blob, same_embedder, dim, coded, size in rows:
        checked["vectors"] += 1
        problem = ""
        if not same_embedder:
            problem = "was made by another embedder than its space's"
        elif hash != text_hash(Chunk("", text, 0, 0, breadcrumb=breadcrumb).embedded_text):
            problem = "is that of another text"
        elif len(blob) != 4 * dim:
            problem = f"has {len(blob)} bytes, not {dim} numbers"
        elif not abs(float(np.linalg.norm(np.frombuffer(blob, np.float32))) - 1) <= UNIT_TOLERANCE:
            problem = "is not finite or not of unit length"
        elif coded and (size is None or size % width(dim)):
            problem = "has no token codes" if size is None else f"has token codes of {size} bytes"
        if problem:
            message = f"the vector of chunk {key} of {document!r} {problem}"
            yield Finding("vectors", "error", part.name, message, _again(document, part.name))


def spaces(part: Part, checked: Counter[str]) -> Iterator[Finding]:
    """For information: a space that is being built beside the one that answers."""
    for (other,) in part.db.execute(
        "SELECT id FROM spaces WHERE collection_id = ? AND id IS NOT ?", (part.id, part.space)
    ):
        (moved,) = part.db.execute("SELECT count(*) FROM cuts WHERE space_id = ?", (other,)).fetchone()
        (of,) = part.db.execute(
            "SELECT count(*) FROM documents WHERE collection_id = ?", (part.id,)
        ).fetchone()
        message = f"{moved} of {of} documents are moved to another chunking or embedder; the old one answers"
        yield Finding("spaces", "info", part.name, message, "rag ingest completes it")


def _again(document_id: str, collection: str) -> str:
    remove = shlex.join(["rag", "documents", "remove", document_id, "--collection", collection])
    return f"{remove}, then `rag ingest` its source"


def damaged(problem: str) -> Finding:
    """The finding for a file that SQLite does not call whole."""
    mend = "restore catalogue.db from a copy, or move it away and run `rag ingest` on the sources again"
    return Finding("catalogue", "error", "", problem, mend)


def integrity(db: sqlite3.Connection) -> list[str]:
    """What SQLite finds wrong with the file, and the references that lead nowhere."""
    problems = [text for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
    lost = db.execute("PRAGMA foreign_key_check").fetchall()
    return problems + [
        f"a row of {table} ({row}) refers to a missing row of {parent}" for table, row, parent, _ in lost
    ]
