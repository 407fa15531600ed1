"""Generations: immutable indexes of one space, built, verified, published, collected, loaded.

A generation holds every chunk of its space up to its high key, and is never changed: what is
deleted later stays in it and is left out when it is searched, what is committed later has a
higher key. So losing one costs speed, and never an answer.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import numpy as np

from indexes.exact import recall, similarities
from indexes.kinds import COARSE, choose
from indexes.lexical import LexicalIndex, LexicalRow
from indexes.manifest import sync, sync_folder, unchanged, verify, write_manifest
from indexes.moments import Moments
from indexes.rows import SPACE, space_of
from indexes.settings import IndexSettings
from indexes.store import Store, transaction
from indexes.vector import VectorIndex
from rag.errors import IndexDamaged, RagError, StorageError
from rag.protocols import Space
from rag.types import Keys, Vectors

Sample: TypeAlias = list[tuple[int, Vectors]]

VECTORS = "vectors"
"""The folder of a generation's vector index in it."""
ASIDE = ".aside-"
"""How the name of a folder begins whose removal must be tried again."""
BATCH = 4096
KEPT = 2
"""Generations kept of a space: the newest, and the one before it to fall back on."""
UNUSED_KEPT = 50_000
"""Vectors kept although no chunk needs them, the newest: what was removed and comes back, or is evaluated
again, is not embedded again. At 384 dimensions they take some 80 MB."""
RECALL_SAMPLE = 64
LEAST_RECALL = 0.5
"""A kind that finds fewer of its own rows' neighbours has not understood them: it is not published."""
SMALL = 5_000
"""Chunks up to which a generation is built in about a second, so that one is built for any change."""
WORTH = 0.05
"""Share of a larger collection's chunks that must be new or dead before it is built anew: until then
the newest chunks are searched from memory."""
NEWEST = 20_000
"""New chunks at which any collection is built anew: a scan of so many takes about 3 ms."""
AGE = timedelta(days=7)
"""After so long any change is enough, so that what changes little does not lie in memory for ever."""

ROW = (
    "SELECT id, space_id, folder, kind, count, high_key, manifest_sha256, created_at, recall FROM generations"
)
LANGUAGE = "coalesce(json_extract(d.metadata, '$.language'), '')"
LEXICAL_ROW = (
    f"SELECT c.key, c.breadcrumb, c.text, {LANGUAGE} "  # noqa: S608
    "FROM chunks c JOIN documents d ON d.key = c.document_key"
)


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """A generation as the catalogue records it. ``folder`` is relative to the folder of indexes."""

    id: int
    space_id: int
    folder: str
    kind: str
    count: int
    high_key: int
    manifest_sha256: str
    created_at: str
    recall: float
    """Of a sample of its own rows, the share of the 10 nearest that it finds."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation that was verified and opened."""

    info: GenerationInfo
    vectors: VectorIndex
    lexical: LexicalIndex
    moments: Moments


def generations_of(db: sqlite3.Connection, space_id: int | None) -> list[GenerationInfo]:
    """The generations of a space, newest first; none of no space."""
    rows = db.execute(ROW + " WHERE space_id = ? ORDER BY id DESC", (space_id,))
    return [GenerationInfo(*row) for row in rows]


class GenerationStore:
    """The generations of one data folder. Loading is for any thread; the rest for the lock's holder."""

    def __init__(self, store: Store, settings: IndexSettings) -> None:
        self.store = store
        self.settings = settings
        self._loading = threading.Lock()
        self._loaded: dict[int, tuple[GenerationInfo, Generation | IndexDamaged]] = {}

    # --- reading -----------------------------------------------------------------------------

    def newest(self, db: sqlite3.Connection, space_id: int | None) -> Generation | None:
        """The newest generation of a space that verifies, loaded once in a process; None without one."""
        for info in generations_of(db, space_id):
            if isinstance(found := self.load(info), Generation):
                return found
        return None

    def load(self, info: GenerationInfo) -> Generation | IndexDamaged:
        """The generation, or what is wrong with it: hashed and opened the first time, remembered then."""
        with self._loading:
            if info.id not in self._loaded:
                try:
                    folder = self.store.indexes / info.folder
                    found: Generation | IndexDamaged = open_generation(folder, info, self.settings)
                except IndexDamaged as error:
                    found = error
                self._loaded[info.id] = (info, found)
                collection = Path(info.folder).parent
                ids = [id for id, (held, _) in self._loaded.items() if Path(held.folder).parent == collection]
                for id in sorted({*ids} - {info.id})[:-KEPT]:
                    del self._loaded[id]
            return self._loaded[info.id][1]

    def verifies(self, generation: Generation) -> bool:
        """Whether its files are still as they were published."""
        folder = self.store.indexes / generation.info.folder
        try:
            open_generation(folder, generation.info, self.settings)
        except IndexDamaged:
            return False
        return True

    def give_up(self, generation: Generation, error: IndexDamaged) -> None:
        """Search without a generation that broke after it was verified."""
        with self._loading:
            self._loaded[generation.info.id] = generation.info, error

    # --- writing -----------------------------------------------------------------------------

    def publish(self, db: sqlite3.Connection, name: str, space_id: int, *, force: bool = False) -> bool:
        """Build, verify and publish a generation if there is enough new for one; collect what it replaces.

        ``force`` builds one of any collection that has a chunk. Returns whether it did. Raises StorageError
        when the system refuses; IndexDamaged when what was built does not verify.
        """
        for stray in self.strays(db, name):
            discard(stray, self.settings)
        count = live_chunks(db, space_id)
        embedder = space(db, space_id).embedder
        kind, _ = choose(self.settings, count=count, dim=embedder.dim)
        if not count or not (force or self.due(db, space_id, kind=kind)):
            return False
        (last,) = db.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'generations'"
        ).fetchone()
        (high,) = db.execute("SELECT max(key) FROM chunks WHERE space_id = ?", (space_id,)).fetchone()
        home = self.store.indexes / name
        folder = home / f"{last + 1:06d}"
        building = home / f".building-{folder.name}"
        building.mkdir(parents=True)
        try:
            sample = self._build(building, db, space_id, kind, count=count, dim=embedder.dim)
            self.store.on_point("publish:built")
            about = {"collection": name, "kind": kind, "count": count, "high_key": high}
            about |= {"embedder": embedder.name, "fingerprint": embedder.fingerprint, "dim": embedder.dim}
            sha256 = write_manifest(building, about)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            place = folder.relative_to(self.store.indexes).as_posix()
            info = GenerationInfo(last + 1, space_id, place, kind, count, high, sha256, now, 1.0)
            info = replace(info, recall=_recall(open_generation(building, info, self.settings), sample))
            sync(building)
            self.store.on_point("publish:verified")
        except BaseException as error:
            discard(building, self.settings)
            # Each library has its own way to say that the disk is full.
            if isinstance(error, Exception) and not isinstance(error, RagError | sqlite3.Error):
                raise StorageError(f"cannot build the indexes of {name!r} in {home}: {error}") from error
            raise
        building.rename(folder)
        for parent in (home, self.store.indexes, self.store.folder):
            sync_folder(parent)
        self.store.on_point("publish:renamed")
        with transaction(db):
            db.execute("INSERT INTO generations VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(info))
        self.store.on_point("publish:recorded")
        self.collect(db, name)
        self.store.on_point("publish:collected")
        return True

    def due(self, db: sqlite3.Connection, space_id: int, *, kind: str) -> str:
        """Why a space with chunks should be indexed anew; "" where it need not be."""
        recorded = generations_of(db, space_id)
        if not recorded:
            return "it has no index yet"
        newest = recorded[0]
        if not unchanged(self.store.indexes / newest.folder, sha256=newest.manifest_sha256):
            return "the newest index is damaged"
        if newest.kind != kind:
            return f"the newest index is of kind {newest.kind}, and {kind} is wanted"
        live = live_chunks(db, space_id)
        new, dead = changed(db, newest)
        allowed = 0 if live <= SMALL else WORTH * live
        old = datetime.now(UTC) - datetime.fromisoformat(newest.created_at) > AGE
        if new + dead > allowed or new > NEWEST or (old and new + dead):
            return f"{new:,} chunks are newer than the index, and {dead:,} in it are deleted"
        return ""

    def withdraw(self, db: sqlite3.Connection, info: GenerationInfo) -> None:
        """Forget one generation: the one before it answers, or the catalogue alone."""
        with transaction(db):
            db.execute("DELETE FROM generations WHERE id = ?", (info.id,))
        self.store.on_point("withdraw:recorded")
        folder = self.store.indexes / info.folder
        if folder.exists():
            discard(folder, self.settings)

    def collect(self, db: sqlite3.Connection, name: str, *, unused_kept: int = UNUSED_KEPT) -> None:
        """Drop what nothing needs: generations past the kept ones, unrecorded folders, and unused vectors
        but the newest ``unused_kept``."""
        with transaction(db):
            db.execute(
                "DELETE FROM generations WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER "
                "(PARTITION BY space_id ORDER BY id DESC) AS age FROM generations) WHERE age > ?)",
                (KEPT,),
            )
            db.execute(
                "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors v WHERE NOT EXISTS "
                "(SELECT 1 FROM chunks WHERE vector_id = v.id) ORDER BY id DESC LIMIT -1 OFFSET ?)",
                (unused_kept,),
            )
        for stray in self.strays(db, name):
            discard(stray, self.settings)

    def strays(self, db: sqlite3.Connection, name: str) -> list[Path]:
        """What lies among a collection's indexes without being recorded: left by a crash, or foreign."""
        home = self.store.indexes / name
        if not home.is_dir():
            return []
        known = {self.store.indexes / folder for (folder,) in db.execute("SELECT folder FROM generations")}
        return sorted(path for path in home.iterdir() if path not in known)

    def _build(
        self, folder: Path, db: sqlite3.Connection, space_id: int, kind: str, *, count: int, dim: int
    ) -> Sample:
        """Both indexes of a space. Returns some of its vectors with their keys."""
        sample: Sample = []
        every = _sampled_every(count)
        moments = Moments.none(dim)

        def sampled() -> Iterator[tuple[Keys, Vectors]]:
            nonlocal moments
            seen = 0
            for keys, vectors, languages in vector_batches(db, space_id, after=0):
                first = -seen % every
                # Copies: a view would keep its whole batch, and so all batches, in memory.
                sample.extend(zip(keys[first::every].tolist(), vectors[first::every].copy(), strict=True))
                seen += len(keys)
                moments = moments.with_rows(vectors, languages)
                yield keys, vectors

        home = folder / VECTORS
        home.mkdir()
        VectorIndex.build(home, sampled(), count=count, dim=dim, coarse=COARSE[kind], settings=self.settings)
        moments.save(folder)
        LexicalIndex.build(folder / "lexical", lexical_rows(db, space_id, after=0))
        return sample


def space(db: sqlite3.Connection, space_id: int) -> Space:
    """How a space is cut and embedded."""
    return space_of(db.execute(SPACE + " WHERE s.id = ?", (space_id,)).fetchone())


def live_chunks(db: sqlite3.Connection, space_id: int | None) -> int:
    """How many chunks a space has, as the catalogue counts along; none of no space."""
    row = db.execute("SELECT chunks FROM spaces WHERE id = ?", (space_id,)).fetchone()
    return int(row[0]) if row else 0


def sampled_keys(db: sqlite3.Connection, space_id: int | None, *, most: int) -> list[int]:
    """The keys of at most so many chunks of a space, evenly spread."""
    (count,) = db.execute("SELECT count(*) FROM chunks WHERE space_id = ?", (space_id,)).fetchone()
    rows = db.execute(
        "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS place FROM chunks "
        "WHERE space_id = ?) WHERE (place - 1) % ? = 0",
        (space_id, max(1, -(-count // most))),
    )
    return [key for (key,) in rows]


def changed(db: sqlite3.Connection, info: GenerationInfo) -> tuple[int, int]:
    """How many chunks came after a generation, and how many of it were deleted. Costs what came after it."""
    sql = "SELECT count(*) FROM chunks WHERE space_id = ? AND key > ?"
    new: int = db.execute(sql, (info.space_id, info.high_key)).fetchone()[0]
    return new, info.count - (live_chunks(db, info.space_id) - new)


def open_generation(folder: Path, info: GenerationInfo, settings: IndexSettings) -> Generation:
    """Verify a generation's files and open them. Raises IndexDamaged."""
    if info.kind not in COARSE:
        raise IndexDamaged(f"{folder} is of kind {info.kind!r}, which this promptwell does not have")
    verify(folder, sha256=info.manifest_sha256)
    try:
        vectors = VectorIndex.open(folder / VECTORS, coarse=COARSE[info.kind], settings=settings)
        found = Generation(info, vectors, LexicalIndex.open(folder / "lexical"), Moments.load(folder))
    except RagError:
        raise
    except Exception as error:  # whatever a library raises over files that are as they were written
        raise IndexDamaged(f"{folder} cannot be opened: {error}") from error
    if not len(found.vectors.keys) == found.lexical.count == info.count:
        raise IndexDamaged(f"{folder} holds another number of chunks than its {info.count}")
    return found


def lexical_rows(db: sqlite3.Connection, space_id: int, *, after: int) -> Iterator[LexicalRow]:
    """(key, headings, text, language) of the chunks of a space past a key, by key."""
    return db.execute(LEXICAL_ROW + " WHERE c.space_id = ? AND c.key > ? ORDER BY c.key", (space_id, after))


def vector_batches(
    db: sqlite3.Connection, space_id: int, *, after: int
) -> Iterator[tuple[Keys, Vectors, list[str]]]:
    """Keys, vectors and languages of the chunks of a space past a key, by key, some thousand at a time."""
    rows = db.execute(
        f"SELECT c.key, v.vector, {LANGUAGE} FROM chunks c JOIN documents d ON d.key = c.document_key "  # noqa: S608
        "JOIN vectors v ON v.id = c.vector_id WHERE c.space_id = ? AND c.key > ? ORDER BY c.key",
        (space_id, after),
    )
    while batch := rows.fetchmany(BATCH):
        keys, vectors, languages = zip(*batch, strict=True)
        matrix = np.frombuffer(b"".join(vectors), dtype=np.float32).reshape(len(batch), -1)
        yield np.array(keys, dtype=np.int64), matrix, list(languages)


def discard(path: Path, settings: IndexSettings) -> bool:
    """Remove a generation, or whatever lies among the indexes, and what its kind keeps elsewhere.

    Where that cannot be reached now, ``path`` is set aside as a stray: its removal is tried again with the
    next that is published, or by a repair. Returns whether all is gone.
    """
    try:
        for folder in () if path.is_symlink() else path.rglob(VECTORS):
            for coarse in COARSE.values():
                coarse.drop(folder, settings=settings)
    except StorageError:
        if not path.name.startswith(ASIDE):
            path.rename(path.with_name(f"{ASIDE}{uuid.uuid4().hex}"))
        return False
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True


def recall_again(generation: Generation) -> float:
    """The recall of a generation, measured with the rows that it was measured with when it was built: of the
    same files it is the same. Raises IndexDamaged where it would not be published."""
    matrix = generation.vectors.matrix
    places = np.arange(0, len(matrix), _sampled_every(len(matrix)))
    return _recall(generation, [*zip(matrix.keys[places].tolist(), matrix.take(places), strict=True)])


def _sampled_every(count: int) -> int:
    return max(1, count // RECALL_SAMPLE)


def _recall(generation: Generation, sample: Sample) -> float:
    """Raise IndexDamaged unless the sampled vectors find their own keys, or equal rows, first; return the
    share of their 10 nearest that they find."""
    index = generation.vectors
    vectors = np.array([vector for _, vector in sample])
    found = [index.search(vector, k=10) for vector in vectors]
    exact = found if index.exact else index.scan(vectors, k=10)
    for (key, vector), (keys, scores) in zip(sample, exact, strict=True):
        own = similarities(vector[np.newaxis], vector)[0]
        if not len(keys) or scores[0] < own or (scores[0] == own and keys[0] > key):
            raise IndexDamaged(f"{generation.info.folder} does not find chunk {key} by its own vector")
    shares = [recall(near, best) for (_, near), (_, best) in zip(found, exact, strict=True)]
    if (share := float(np.mean(shares))) < LEAST_RECALL:
        raise IndexDamaged(
            f"{generation.info.folder} finds {share:.0%} of its own rows' neighbours: raise [index] "
            'effort, or set kind = "sq8", which finds all'
        )
    return share
