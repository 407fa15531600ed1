"""The invariants of a data folder, checked; and the repair of what can be rebuilt.

=====================  =========================================================================
``catalogue``          SQLite's own check of the file, and every reference leads somewhere
``documents``          each document stands at one whole version: its digest holds, its cut in the
                       space that answers is complete, and every chunk is a span of its text
``duplicates``         no document twice in a collection, no span twice in a cut
``vectors``            every chunk has the vector of its own text, of the embedder of its space, of
                       the right dimension, finite, of unit length
``generations``        every recorded generation is on disk as it was published
``agreement``          the newest generation holds every live chunk up to its high key
``recall``             a close index finds as many of its rows' neighbours as when it was built
``found``              every live chunk (a sample of many) is its own nearest neighbour; of those in a
                       close index nearly every one
``strays``             nothing lies among the indexes that the catalogue does not know
``spaces``             for information: a collection is being moved to another space
``library``            the prompt library: SQLite's check, every version is what its digest says, its
                       numbers are 1, 2, … without a gap, every label stands on one
``traces``             SQLite's check of the traces
``evaluations``        SQLite's check of the judged sets and runs
=====================  =========================================================================

An ``error`` is damage to the truth, a ``warning`` to what can be rebuilt from it, ``info`` neither.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import shlex
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes import truth
from indexes.catalogue import Catalogue
from indexes.exact import similarities
from indexes.generation import (
    RECALL_SAMPLE,
    Generation,
    GenerationInfo,
    discard,
    generations_of,
    open_generation,
    recall_again,
    sampled_keys,
)
from indexes.kinds import COARSE
from indexes.library import doctor as library
from indexes.store import transaction
from indexes.truth import Finding, Part
from rag.errors import CatalogueDamaged, IndexDamaged, StorageError
from rag.filters import EVERYTHING

CLOSE = {kind for kind, coarse in COARSE.items() if not coarse.exact}
SAMPLE = 1000
"""Chunks of a collection that are searched by their own vector; evenly spread when there are more."""
SHOWN = 20
"""Findings of one invariant in one collection that are told one by one."""
LOWER = 0.01
"""Recall that may be missing. The same files find the same rows on the machine that built them; another's
arithmetic may order two alike rows otherwise."""
REPAIR = "rag doctor --repair"
SERVER = "chroma run --path FOLDER"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, and how much was looked at (invariant to number of things checked).

    ``repairs`` says what :func:`repair` did.
    """

    findings: tuple[Finding, ...]
    checked: dict[str, int]
    repairs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing but information was found."""
        return all(finding.severity == "info" for finding in self.findings)


def check(catalogue: Catalogue, *, collection: str | None = None, sample: int = SAMPLE) -> Report:
    """Check every invariant, of one collection or of all. Changes nothing. Raises UnknownCollection."""
    if collection is not None:
        catalogue.collection(collection)
    checked: Counter[str] = Counter()
    try:
        findings = tuple(_findings(catalogue, checked, collection, sample))
    except CatalogueDamaged as error:
        findings = (truth.damaged(str(error)),)
    if collection is None:
        findings += tuple(library.findings(catalogue.store.folder, checked))
    return Report(findings, dict(checked))


def repair(catalogue: Catalogue, *, wait: float = 0.0) -> Report:
    """Remove strays, drop generations that do not verify, build them anew; then check.

    Needs no model, and leaves the data itself alone. Raises LockHeld, CatalogueDamaged.
    """
    done: list[str] = []
    generations, store = catalogue.generations, catalogue.store
    with store.writing(wait=wait) as db:
        if problems := truth.integrity(db):
            raise CatalogueDamaged(f"{store.database}: {problems[0]}; {truth.damaged('').mend}")
        collections = db.execute("SELECT name, space_id FROM collections ORDER BY name").fetchall()
        if miscounted := db.execute(truth.MISCOUNTED).fetchall():
            with transaction(db):
                told = [(counted, space) for space, _, counted in miscounted]
                db.executemany("UPDATE spaces SET chunks = ? WHERE id = ?", told)
            done.append(f"counted the chunks of {len(told)} collection(s) anew")
        strays = _strays(catalogue, db)
        done += [f"removed {path}" for path in strays if discard(path, generations.settings)]
        for name, space_id in collections:
            for info in generations_of(db, space_id):
                found = None
                with contextlib.suppress(StorageError):  # a server that is down may hold it as it was
                    found = _generation_problem(catalogue, db, info)
                if found:
                    with transaction(db):
                        db.execute("DELETE FROM generations WHERE id = ?", (info.id,))
                    done.append(f"dropped generation {info.folder}: {found[1]}")
            if space_id is not None and generations.publish(db, name, space_id):
                done.append(f"built a generation of {name}")
    after = check(catalogue)
    return Report(after.findings, after.checked, tuple(done))


def _findings(
    catalogue: Catalogue, checked: Counter[str], only: str | None, sample: int
) -> Iterator[Finding]:
    broken = set()
    with catalogue.store.reading() as db:
        checked["catalogue"] += 1
        if problems := truth.integrity(db):
            yield from map(truth.damaged, problems)
            return  # rows of a broken file prove nothing
        rows = db.execute("SELECT name, id, space_id FROM collections ORDER BY name").fetchall()
        parts = [Part(db, *row) for row in rows if only in (None, row[0])]
        for part in parts:
            for look in (truth.documents, truth.counts, truth.duplicates, truth.vectors, truth.spaces):
                found = list(_few(look(part, checked)))
                broken |= {part.name for finding in found if finding.severity == "error"}
                yield from found
            yield from _generations(catalogue, part, checked)
        yield from _stray(catalogue, db, checked)
        samples = {
            part.name: sampled_keys(part.db, part.space, most=sample)
            for part in parts
            if part.name not in broken
        }
    for name, keys in samples.items():
        yield from _few(_found(catalogue, name, keys, checked))


def _generations(catalogue: Catalogue, part: Part, checked: Counter[str]) -> Iterator[Finding]:
    for info in generations_of(part.db, part.space):
        checked["generations"] += 1
        checked["agreement"] += 1
        if info.kind in CLOSE:
            checked["recall"] += 1
        try:
            found = _generation_problem(catalogue, part.db, info)
        except StorageError as error:
            message = f"generation {info.folder}: {error}; until then every chunk is looked at"
            yield Finding("generations", "warning", part.name, message, SERVER)
            continue
        if found:
            invariant, problem = found
            message = f"generation {info.folder}: {problem}; its loss costs speed, no answer"
            yield Finding(invariant, "warning", part.name, message, REPAIR)


def _stray(catalogue: Catalogue, db: sqlite3.Connection, checked: Counter[str]) -> Iterator[Finding]:
    checked["strays"] += 1
    busy = _writer_alive(catalogue.store.folder / "writer.lock")
    for path in _strays(catalogue, db):
        message = f"{path} is not in the catalogue" + (" (yet: a writer may be at work)" if busy else "")
        name = path.relative_to(catalogue.store.indexes).parts[0]
        yield Finding("strays", "info" if busy else "warning", name, message, REPAIR)


def _found(catalogue: Catalogue, name: str, sample: list[int], checked: Counter[str]) -> Iterator[Finding]:
    collection = catalogue.collection(name)
    mend = shlex.join(["rag", "index", "build", "--collection", name])
    missed, recall = 0, 1.0
    keys, vectors = collection.vectors(np.array(sample, dtype=np.int64))
    for key, vector in zip(keys.tolist(), vectors, strict=True):
        checked["found"] += 1
        hits = collection.nearest(vector, k=1, where=EVERYTHING)
        if hits and hits[0].score >= similarities(vector[np.newaxis], vector)[0]:
            continue
        lives, generation = _holder(catalogue, name, key)
        if not lives:  # a writer removed it meanwhile
            continue
        if generation is not None and not generation.vectors.exact:
            missed, recall = missed + 1, generation.info.recall
        else:
            yield Finding("found", "error", name, f"chunk {key} is not found by its own vector", mend)
    if missed > (usual := _usual(len(keys), recall)):
        message = f"{missed} of {len(keys)} chunks are not found by their own vectors"
        usual_of = f"up to {usual} are usual of an index that finds {recall:.1%} of neighbours"
        yield Finding("found", "warning", name, f"{message}; {usual_of}", mend)


def _holder(catalogue: Catalogue, name: str, key: int) -> tuple[bool, Generation | None]:
    """Whether a chunk lives, and the generation that finds it; None where it is newer than the index."""
    with catalogue.store.reading() as db:
        lives = db.execute("SELECT 1 FROM chunks WHERE key = ?", (key,)).fetchone() is not None
        newest = catalogue.generations.newest(db, catalogue.space_id(db, name))
    return lives, newest if newest and key <= newest.info.high_key else None


def _usual(sampled: int, recall: float) -> int:
    """How many of so many chunks a close index of this recall may miss by their own vectors.

    A chunk is easier to find than its neighbours, so a share of ``1 - recall`` at most, and three standard
    deviations of chance (Poisson's); of an index that missed none in its sample, as if it had missed one.

    >>> _usual(1000, 0.99), _usual(1000, 1.0)
    (19, 5)
    """
    expected = sampled * max(1 - recall, 1 / (10 * RECALL_SAMPLE))
    return math.floor(expected + 3 * math.sqrt(expected))


def _generation_problem(
    catalogue: Catalogue, db: sqlite3.Connection, info: GenerationInfo
) -> tuple[str, str] | None:
    """The invariant that a generation breaks, and how; read from the disk anew. Raises StorageError where
    a server that keeps a part of it cannot be reached."""
    folder = catalogue.store.indexes / info.folder
    try:
        found = open_generation(folder, info, catalogue.generations.settings)
        found.vectors.check()
    except IndexDamaged as error:
        return "generations", str(error)
    sql = "SELECT key FROM chunks WHERE space_id = ? AND key <= ?"
    live = np.array([key for (key,) in db.execute(sql, (info.space_id, info.high_key))], dtype=np.int64)
    if lost := int((~np.isin(live, found.vectors.keys)).sum()):
        return "agreement", f"it lacks {lost} of {len(live)} live chunks"
    if not found.vectors.exact:
        try:
            recall = recall_again(found)
        except IndexDamaged as error:
            return "recall", str(error)
        if recall < info.recall - LOWER:
            built = f"and found {info.recall:.1%} when it was built"
            return "recall", f"it finds {recall:.1%} of its rows' neighbours, {built}"
    return None


def _strays(catalogue: Catalogue, db: sqlite3.Connection) -> list[Path]:
    home = catalogue.store.indexes
    if not home.is_dir():
        return []
    names = {name for (name,) in db.execute("SELECT name FROM collections")}
    outside = [path for path in home.iterdir() if path.name not in names]
    inside = (catalogue.generations.strays(db, name) for name in names)
    return sorted(itertools.chain(outside, *inside))


def _writer_alive(lock: Path) -> bool:
    """Whether the process that took the lock last still runs. The lock itself is not touched: trying
    to take it could refuse a writer that comes at that moment."""
    found = re.match(r"\d+", lock.read_text("utf-8", "replace")) if lock.exists() else None
    if not found:
        return False
    try:
        os.kill(int(found[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _few(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The first findings one by one, the others as a number."""
    last: Finding | None = None
    for last in itertools.islice(findings, SHOWN):
        yield last
    if last and (more := sum(1 for _ in findings)):
        yield Finding(
            last.invariant, last.severity, last.collection, f"and {more} more like these", last.mend
        )
