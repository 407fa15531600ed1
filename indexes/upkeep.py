"""Looking after the indexes of a collection: what there is, building, going back, removing, auditing.

None of it changes an answer of an exact index, or needs the model: the catalogue holds the vectors.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from indexes.catalogue import Catalogue
from indexes.exact import recall as share_of
from indexes.generation import (
    VECTORS,
    GenerationInfo,
    changed,
    generations_of,
    live_chunks,
    sampled_keys,
    space,
)
from indexes.kinds import COARSE, choose
from indexes.manifest import size, verify
from indexes.vector import VectorIndex
from rag.errors import IndexDamaged, NotFound
from rag.protocols import Space
from rag.types import Chunk, Vectors

EFFORTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Multiples of the effort in force that an audit tries."""
SCANNED_AT_ONCE = 64
TIMED_SCANS = 3


@dataclass(frozen=True, slots=True)
class GenerationState:
    """One generation as it is on disk: ``problem`` is "" where its files are as they were published."""

    info: GenerationInfo
    bytes: int
    problem: str


@dataclass(frozen=True, slots=True)
class IndexState:
    """The indexes of a collection. ``serving`` is the generation that answers (None: the catalogue alone).

    ``newer`` chunks are searched beside it, ``dead`` ones are in it and are left out. ``kind`` is what the
    settings ask for, ``why`` the reason; ``due`` says why the next ingest builds a new generation, "" where
    it does not.
    """

    collection: str
    space: Space
    chunks: int
    serving: GenerationInfo | None
    newer: int
    dead: int
    kind: str
    why: str
    due: str
    generations: tuple[GenerationState, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """What one effort gives: mean recall, and milliseconds of a search for 10 (median, 95th percentile)."""

    effort: float
    recall_at_10: float
    recall_at_100: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Audit:
    """A generation measured with ``questions``; ``scan_ms`` is what looking at every row takes.

    ``effort`` is the one in force; an exact kind has no other. ``advice`` is the least effort tried that
    reaches the recall asked for; None where none does.
    """

    generation: GenerationInfo
    questions: int
    effort: float
    tried: tuple[Effort, ...]
    scan_ms: float
    advice: float | None


def state(catalogue: Catalogue, name: str) -> IndexState | None:
    """The indexes of a collection, files read and hashed; None while nothing was ever put in it.

    Raises UnknownCollection.
    """
    with catalogue.store.reading() as db:
        space_id = catalogue.space_id(db, name)
        if space_id is None:
            return None
        recorded = generations_of(db, space_id)
        chunks = live_chunks(db, space_id)
        cut = space(db, space_id)
        settings = catalogue.generations.settings
        kind, why = choose(settings, count=chunks, dim=cut.embedder.dim)
        serving = catalogue.generations.newest(db, space_id)
        answers = serving.info if serving else None
        newer, dead = changed(db, answers) if answers else (chunks, 0)
        due = catalogue.generations.due(db, space_id, kind=kind) if chunks else ""
    states = []
    for info in recorded:
        folder = catalogue.store.indexes / info.folder
        problem = ""
        try:
            verify(folder, sha256=info.manifest_sha256)
        except IndexDamaged as error:
            problem = str(error)
        states.append(GenerationState(info, size(folder), problem))
    return IndexState(name, cut, chunks, answers, newer, dead, kind, why, due, tuple(states))


def build(catalogue: Catalogue, name: str, *, wait: float = 0.0) -> GenerationInfo | None:
    """Build a generation now, whatever there is; None for a collection without a chunk.

    Raises UnknownCollection, LockHeld, StorageError, IndexDamaged.
    """
    with catalogue.store.writing(wait=wait) as db:
        space_id = catalogue.space_id(db, name)
        if space_id is None or not catalogue.generations.publish(db, name, space_id, force=True):
            return None
        return generations_of(db, space_id)[0]


def roll_back(catalogue: Catalogue, name: str, *, wait: float = 0.0) -> tuple[GenerationInfo, GenerationInfo]:
    """Go back to the generation before the newest, which is removed. Returns both, the removed one first.

    Raises UnknownCollection, NotFound where there is none before it, LockHeld.
    """
    with catalogue.store.writing(wait=wait) as db:
        recorded = generations_of(db, catalogue.space_id(db, name))
        if len(recorded) < 2:
            raise NotFound(
                f"collection {name!r} has no generation to go back to: of each collection the newest and the "
                "one before it are kept (`rag index list`)"
            )
        newest, before = recorded[:2]
        verify(catalogue.store.indexes / before.folder, sha256=before.manifest_sha256)
        catalogue.generations.withdraw(db, newest)
        return newest, before


def remove(catalogue: Catalogue, name: str, generation: str, *, wait: float = 0.0) -> GenerationInfo:
    """Remove one generation, named by its folder ("handbook/000003") or by the number alone.

    Raises UnknownCollection, NotFound, LockHeld.
    """
    with catalogue.store.writing(wait=wait) as db:
        recorded = generations_of(db, catalogue.space_id(db, name))
        for info in recorded:
            if generation in (info.folder, str(info.id), info.folder.rpartition("/")[2]):
                catalogue.generations.withdraw(db, info)
                return info
    there = ", ".join(info.folder for info in recorded) or "none"
    raise NotFound(f"collection {name!r} has no generation {generation!r}; there are: {there}")


def sampled(catalogue: Catalogue, name: str, most: int) -> list[Chunk]:
    """At most so many chunks of a collection, evenly spread. Raises UnknownCollection."""
    collection = catalogue.collection(name)
    with catalogue.store.reading() as db:
        keys = sampled_keys(db, catalogue.space_id(db, name), most=most)
    return collection.read(keys)


def audit(catalogue: Catalogue, name: str, vectors: Vectors, *, recall: float) -> Audit:
    """Measure the generation that answers with the vectors of questions, shape (n, dim): recall against a
    scan of every row, and times of one core.

    ``recall`` is the mean recall@10 that the advice is to reach. Raises UnknownCollection; NotFound where no
    generation answers.
    """
    with catalogue.store.reading() as db:
        serving = catalogue.generations.newest(db, catalogue.space_id(db, name))
    if serving is None:
        raise NotFound(f"collection {name!r} has no index: `rag index build -c {name}` makes one")
    info, index = serving.info, serving.vectors
    settings = catalogue.generations.settings
    folder = catalogue.store.indexes / info.folder / VECTORS
    truth = [
        scores
        for start in range(0, len(vectors), SCANNED_AT_ONCE)
        for _, scores in index.scan(vectors[start : start + SCANNED_AT_ONCE], k=100)
    ]
    began = time.perf_counter()
    for _ in range(TIMED_SCANS):
        index.scan(vectors[:1], k=10)
    scan_ms = (time.perf_counter() - began) * 1e3 / TIMED_SCANS
    tried = []
    for factor in (1.0,) if index.exact else EFFORTS:
        at = replace(settings, effort=settings.effort * factor)
        opened = index if factor == 1 else VectorIndex.open(folder, coarse=COARSE[info.kind], settings=at)
        tried.append(_measured(opened, vectors, truth, effort=at.effort))
    advice = next((one.effort for one in tried if one.recall_at_10 >= recall), None)
    return Audit(info, len(vectors), settings.effort, tuple(tried), scan_ms, advice)


def _measured(
    index: VectorIndex, vectors: Vectors, truth: Sequence[npt.NDArray[np.float32]], *, effort: float
) -> Effort:
    times: list[float] = []
    shares: list[tuple[float, float]] = []
    for vector, exact in zip(vectors, truth, strict=True):
        began = time.perf_counter()
        _, ten = index.search(vector, k=10)
        times.append((time.perf_counter() - began) * 1e3)
        _, hundred = index.search(vector, k=100)
        shares.append((share_of(ten, exact[:10]), share_of(hundred, exact)))
    at_10, at_100 = np.mean(shares, axis=0)
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return Effort(effort, float(at_10), float(at_100), float(p50), float(p95))
