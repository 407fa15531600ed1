"""A collection to search: the newest generation, what is newer than it, and the judgement of SQL.

Within one read transaction: candidates from the generation and from the delta beside it, joined to
the chunks that are alive and pass the filter. So neither an old index nor a lost one changes an
answer, and what is committed is found at once, by every process.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from indexes.delta import Delta
from indexes.exact import best, scan
from indexes.generation import Generation, GenerationStore
from indexes.question import ask
from indexes.rows import CHUNK, SPACE, chunk_of, json_of, space_of
from rag.errors import EmbedderMismatch, IndexDamaged, InvalidQuery, UnknownCollection
from rag.protocols import Space, Where
from rag.types import NO_RANKING, Chunk, EmbedderInfo, Hit, Keys, Ranking, Vectors

Scores: TypeAlias = npt.NDArray[np.float32]
Found: TypeAlias = tuple[Keys, Scores]
Leg: TypeAlias = tuple[Callable[..., Found], bool]
"""One index with a question in it: ``search(k=n)`` gives its n best rows. And whether all are alive."""

SPARE = 16
"""Candidates asked for beyond k, in case some are dead."""
FILTERS_KEPT = 16

LIVE_KEYS = (
    "SELECT c.key FROM documents d JOIN chunks c ON c.document_key = d.key AND c.space_id = ? "
    "WHERE d.collection_id = (SELECT collection_id FROM spaces WHERE id = ?)"
)
HAS_VALUE = (
    " AND EXISTS (SELECT 1 FROM document_metadata m "
    "WHERE m.document_key = d.key AND m.name = ? AND m.value = ?)"
)


@dataclass(frozen=True, slots=True)
class View:
    """A collection at one moment: what its searches need, read in their transaction."""

    db: sqlite3.Connection
    commit: int
    space_id: int
    space: Space
    generation: Generation | None
    whole: bool
    """Nothing that the generation holds was deleted."""
    delta: Delta


@dataclass(frozen=True, slots=True)
class _Known:
    """What a view of a collection needs of the catalogue, valid for one value of its commit counter."""

    commit: int
    space_id: int
    space: Space | None
    generation: Generation | None
    whole: bool


class Views:
    """What a process remembers between searches. One for a catalogue, shared by its threads."""

    def __init__(self, generations: GenerationStore) -> None:
        self.generations = generations
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._deltas: dict[str, tuple[tuple[int, int], Delta]] = {}
        self._allowed: OrderedDict[tuple[int, str], tuple[int, Keys]] = OrderedDict()

    @contextmanager
    def view(self, name: str) -> Iterator[View | None]:
        """The collection now; None while nothing was put in it. Raises UnknownCollection."""
        with self.generations.store.reading() as db:
            (commits,) = db.execute("SELECT value FROM meta WHERE name = 'commits'").fetchone()
            commit = int(commits)
            known = self._known.get(name)
            if known is None or known.commit != commit:
                known = self._known[name] = self._read(db, name, commit)
            if known.space is None:
                yield None
                return
            delta = self._delta(name, known.space_id, known.generation, known.space.embedder.dim)
            yield View(db, commit, known.space_id, known.space, known.generation, known.whole, delta)

    def give_up(self, name: str, generation: Generation, error: IndexDamaged) -> None:
        """Search a collection without a generation that broke after it was verified."""
        self.generations.give_up(generation, error)
        self._known.pop(name, None)

    def _read(self, db: sqlite3.Connection, name: str, commit: int) -> _Known:
        row = db.execute("SELECT space_id FROM collections WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise UnknownCollection(f"no collection {name!r}; it was removed")
        if (space_id := row[0]) is None:
            return _Known(commit, 0, None, None, False)
        space = space_of(db.execute(SPACE + " WHERE s.id = ?", (space_id,)).fetchone())
        generation = self.generations.newest(db, space_id)
        whole = False
        if generation is not None:
            sql = "SELECT count(*) FROM chunks WHERE space_id = ? AND key <= ?"
            (alive,) = db.execute(sql, (space_id, generation.info.high_key)).fetchone()
            whole = alive == generation.info.count
        return _Known(commit, space_id, space, generation, whole)

    def _delta(self, name: str, space_id: int, generation: Generation | None, dim: int) -> Delta:
        id, after = (generation.info.id, generation.info.high_key) if generation else (0, 0)
        with self._lock:
            found = self._deltas.get(name)
            if found is None or found[0] != (space_id, id):
                found = self._deltas[name] = (space_id, id), Delta(space_id, after=after, dim=dim)
            return found[1]

    def allowed(self, view: View, where: Where) -> Keys | None:
        """The live keys that pass the filter, rising; None when it filters nothing.

        Remembered as long as nothing is committed: both legs of a search ask for the same.
        """
        if not where:
            return None
        ask = (view.space_id, json_of(sorted(where.items())))
        with self._lock:
            commit, keys = self._allowed.get(ask, (-1, None))
            if keys is not None and commit == view.commit:
                self._allowed.move_to_end(ask)
                return keys
        keys = _passing(view, where)
        with self._lock:
            self._allowed[ask] = view.commit, keys
            self._allowed.move_to_end(ask)
            while len(self._allowed) > FILTERS_KEPT:
                self._allowed.popitem(last=False)
        return keys


class SqliteCollection:
    """:class:`rag.protocols.Collection` over the catalogue and its generations. Safe in any thread."""

    def __init__(self, views: Views, name: str, *, embedder: EmbedderInfo | None = None) -> None:
        self._views = views
        self._name = name
        self._embedder = embedder

    @property
    def name(self) -> str:
        return self._name

    @property
    def space(self) -> Space | None:
        """How the collection is cut and embedded now; None while nothing was put in it."""
        with self._views.view(self._name) as view:
            return view.space if view else None

    @property
    def generation(self) -> str:
        """The newest generation that verifies, as its folder is called; "" while there is none."""
        with self._views.view(self._name) as view:
            return view.generation.info.folder if view and view.generation else ""

    def nearest(self, vector: Vectors, *, k: int, where: Where) -> list[Hit]:
        """The k live chunks with the highest cosine to ``vector`` (shape (dim,)), ties by key. Raises as
        :meth:`rank`."""
        return self._hits(self.rank(vector=vector, vector_k=k, text="", text_k=1, where=where)[0])

    def matching(self, text: str, *, k: int, where: Where) -> list[Hit]:
        """The k live chunks with the highest BM25 score for the words of ``text``; only those that match.
        Raises as :meth:`rank`."""
        return self._hits(self.rank(vector=None, vector_k=1, text=text, text_k=k, where=where)[1])

    def rank(
        self, *, vector: Vectors | None, vector_k: int, text: str, text_k: int, where: Where
    ) -> tuple[Ranking, Ranking]:
        """The keys and scores of both legs, in one read transaction.

        Raises InvalidQuery for an impossible k or a vector that is not finite, EmbedderMismatch for one
        that another embedder made, UnknownCollection.
        """
        _check(vector_k)
        _check(text_k)
        while True:
            with self._views.view(self._name) as view:
                if view is None:
                    return NO_RANKING, NO_RANKING
                try:
                    near = NO_RANKING if vector is None else self._near(view, vector, k=vector_k, where=where)
                    match = self._match(view, text, k=text_k, where=where) if text else NO_RANKING
                    return near, match
                except IndexDamaged as error:  # its files broke beneath it: tantivy reads them as it goes
                    if view.generation is None:
                        raise
                    self._views.give_up(self._name, view.generation, error)

    def read(self, keys: Sequence[int]) -> list[Chunk]:
        """The chunks of these keys, in this order; those that died meanwhile are left out."""
        with self._views.view(self._name) as view:
            if view is None:
                return []
            # "+": found by key; SQLite would rather walk all of the space's chunks.
            rows = view.db.execute(
                CHUNK + " JOIN json_each(?) asked ON asked.value = c.key WHERE +c.space_id = ?",
                (json_of(list(keys)), view.space_id),
            )
            chunks = {chunk.key: chunk for chunk in map(chunk_of, rows)}
        return [chunks[key] for key in keys if key in chunks]

    def _hits(self, ranking: Ranking) -> list[Hit]:
        scores = dict(zip(ranking.keys.tolist(), ranking.scores.tolist(), strict=True))
        return [Hit(chunk, scores[chunk.key]) for chunk in self.read(list(scores))]

    def _near(self, view: View, vector: Vectors, *, k: int, where: Where) -> Ranking:
        self._check_vector(vector, view.space)
        allowed = self._views.allowed(view, where)
        keys, matrix = view.delta.vectors(view.db, commit=view.commit)
        judged = allowed is not None
        legs: list[Leg] = []
        if len(keys):
            legs.append((partial(scan, keys, matrix, vector, allowed=allowed), judged))
        if view.generation is not None:
            search = partial(view.generation.vectors.search, vector, allowed=allowed)
            legs.append((search, judged or view.whole))
        return _best_live(view, legs, k=k)

    def _match(self, view: View, text: str, *, k: int, where: Where) -> Ranking:
        allowed = self._views.allowed(view, where)
        newest = view.delta.texts(view.db, commit=view.commit)
        indexes = newest if view.generation is None else (*newest, view.generation.lexical)
        question = ask(text, indexes)
        judged = allowed is not None
        legs: list[Leg] = [(partial(index.search, question, allowed=allowed), judged) for index in newest]
        if view.generation is not None:
            search = partial(view.generation.lexical.search, question, allowed=allowed)
            legs.append((search, judged or view.whole))
        return _best_live(view, legs, k=k)

    def _check_vector(self, vector: Vectors, space: Space) -> None:
        stored = space.embedder
        asked = self._embedder or stored
        if asked.fingerprint != stored.fingerprint or vector.shape != (stored.dim,):
            raise EmbedderMismatch(
                f"collection {self._name!r} was embedded with {stored.name!r} ({stored.fingerprint}), the "
                f"question with {asked.name!r} ({asked.fingerprint}), {vector.shape[-1]} dimensions: "
                "set the embedder that the collection has, or run `rag ingest` to embed it anew"
            )
        if not np.isfinite(vector).all():
            raise InvalidQuery("the question's vector holds numbers that are not finite")


def _check(k: int) -> None:
    if k < 1:
        raise InvalidQuery(f"k = {k}: ask for 1 hit or more")


def _passing(view: View, where: Where) -> Keys:
    sql = LIVE_KEYS + HAS_VALUE * len(where)
    values = [part for pair in where.items() for part in pair]
    keys = [key for (key,) in view.db.execute(sql, (view.space_id, view.space_id, *values))]
    return np.sort(np.array(keys, dtype=np.int64))


def _best_live(view: View, legs: Sequence[Leg], *, k: int) -> Ranking:
    """The k best live rows of all legs, best first, ties by key.

    Each leg gives its best rows in that order, so once k of them are alive (or there are no more), none
    that it kept back can belong to the answer.
    """
    parts: list[Found] = []
    for search, alive in legs:
        fetch = k if alive else k + SPARE
        while True:
            keys, scores = search(k=fetch)
            last = len(keys) < fetch
            if not alive:
                inside = np.isin(keys, _living(view, keys))
                keys, scores = keys[inside], scores[inside]
            if last or len(keys) >= k:
                break
            fetch *= 4
        parts.append((keys, scores))
    if len(parts) == 1:
        ((keys, scores),) = parts
        return Ranking(keys[:k], scores[:k])
    if not parts:
        return NO_RANKING
    keys, scores = best(
        np.concatenate([keys for keys, _ in parts]), np.concatenate([scores for _, scores in parts]), k=k
    )
    return Ranking(keys, scores)


def _living(view: View, keys: Keys) -> list[int]:
    if not len(keys):
        return []
    rows = view.db.execute(
        "SELECT key FROM chunks WHERE key IN (SELECT value FROM json_each(?)) AND +space_id = ?",
        (json_of(keys.tolist()), view.space_id),
    )
    return [key for (key,) in rows]
