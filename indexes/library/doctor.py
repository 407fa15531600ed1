"""The invariants of the databases beside the catalogue: prompt library, traces and evaluations."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from indexes import truth
from indexes.evaluations.schema import EVALUATIONS
from indexes.library.schema import LIBRARY
from indexes.store import Database, Store
from indexes.traces import TRACES
from indexes.truth import Finding
from rag.errors import RagError
from rag.prompts.template import digest_of
from rag.types import text_digest

RESTORE = "put a backup back with `rag restore`, or move {} away: `rag prompts push` makes it anew"
FORGET = "move {} away: the next `rag ask` makes another; or put a backup back with `rag restore`"
JUDGED = "put a backup back with `rag restore`: what people judged cannot be made anew"
SHOWN = 20


def findings(folder: Path, checked: Counter[str]) -> Iterator[Finding]:
    """What is wrong with the databases beside the catalogue; nothing where there are none."""
    for database, mend in ((LIBRARY, RESTORE), (TRACES, FORGET), (EVALUATIONS, JUDGED)):
        path = folder / database.file
        if path.is_file():
            yield from _of(folder, database, mend.format(path.name), checked)


def _of(folder: Path, database: Database, mend: str, checked: Counter[str]) -> Iterator[Finding]:
    name = Path(database.file).stem
    checked[name] += 1
    try:
        with closing(Store(folder, create=False, database=database)) as store, store.reading() as db:
            problems = truth.integrity(db)
            if not problems and database is LIBRARY:
                problems = list(_library(db, checked))
    except RagError as error:
        problems = [str(error)]
    for problem in problems[:SHOWN]:
        yield Finding(name, "error", "", f"{database.file}: {problem}", mend)
    if len(problems) > SHOWN:
        message = f"{database.file}: and {len(problems) - SHOWN} more like these"
        yield Finding(name, "error", "", message, mend)


def _library(db: sqlite3.Connection, checked: Counter[str]) -> Iterator[str]:
    texts: dict[int, str] = {}
    for key, digest, text in db.execute("SELECT id, sha256, text FROM texts"):
        if text_digest(text) != digest:
            yield f"a text ({key}) is not what its digest says"
        texts[key] = text
    parts: dict[int, dict[str, str]] = {}
    for version, path, text in db.execute("SELECT version_id, path, text_id FROM parts"):
        parts.setdefault(version, {})[path] = texts[text]
    follows: Counter[str] = Counter()
    for key, name, number, text, digest in db.execute(
        "SELECT v.id, p.name, v.number, v.text_id, v.digest FROM versions v "
        "JOIN prompts p ON p.id = v.prompt_id ORDER BY v.prompt_id, v.number"
    ):
        checked["versions"] += 1
        follows[name] += 1
        if number != follows[name]:
            yield f"{name}: version {number} stands where {follows[name]} should"
        if digest_of(texts[text], parts.get(key, {})) != digest:
            yield f"{name}@{number} is not what its digest says"
    for name, label, number in db.execute(
        "SELECT p.name, l.name, l.number FROM labels l JOIN prompts p ON p.id = l.prompt_id "
        "WHERE l.number IS NOT (SELECT number FROM log WHERE prompt_id = l.prompt_id AND label = l.name "
        "AND action IN ('label', 'rollback') ORDER BY id DESC LIMIT 1)"
    ):
        yield f"{label} of {name} stands on version {number}, and the log does not say so"
