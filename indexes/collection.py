"""One collection to search, or several as if they were one: the newest generation of each, what is newer
than it, and the judgement of SQL.

Within one read transaction: candidates from the generations and from the delta beside each, joined to
the chunks that are alive and pass the filter. So neither an old index nor a lost one changes an
answer, and what is committed is found at once, by every process. Words are weighed, and cosines spread,
over all the collections of a search together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from indexes.exact import best, scan, similarities
from indexes.lexical import LexicalIndex
from indexes.live import (
    Moment,
    beside_of,
    chunks_of,
    hits_of,
    holds,
    languages_of,
    living,
    tokens_of,
    vectors_of,
)
from indexes.moments import Spread, spread
from indexes.question import NO_QUESTION, Question, ask
from indexes.rows import json_of
from indexes.views import View, Views
from rag.errors import EmbedderMismatch, IndexDamaged, InvalidQuery
from rag.filters import Where
from rag.protocols import Space
from rag.types import (
    NO_CANDIDATES,
    NO_RANKING,
    Candidates,
    Chunk,
    EmbedderInfo,
    Hit,
    Keys,
    Ranking,
    Vectors,
)

Scores: TypeAlias = npt.NDArray[np.float32]
Found: TypeAlias = tuple[Keys, Scores]


@dataclass(frozen=True, slots=True)
class _Leg:
    """One index with a question in it: ``search(k=n)`` gives its n best rows. And whether all are alive."""

    view: View
    search: Callable[..., Found]
    alive: bool


T = TypeVar("T")

SPARE = 16
"""Candidates asked for beyond k, in case some are dead."""
NAMED = 64
"""Chunks of one document that is named: a book that a passage mentions is not read whole."""
NAMED_CHUNKS = (
    "SELECT d.name, c.key FROM documents d JOIN chunks c ON c.document_key = d.key AND c.space_id = ? "
    "WHERE d.name IN (SELECT value FROM json_each(?)) "
    "AND d.collection_id = (SELECT collection_id FROM spaces WHERE id = ?) AND c.ordinal < ? "
    "ORDER BY d.key, c.ordinal"
)


METADATA_NAMES = (  # each name by a search for the one after it: of a million rows a few dozen are read
    "WITH RECURSIVE names(name) AS (SELECT min(name) FROM document_metadata UNION ALL "
    "SELECT (SELECT min(m.name) FROM document_metadata m WHERE m.name > names.name) FROM names "
    "WHERE names.name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL AND EXISTS "
    "(SELECT 1 FROM document_metadata m JOIN cuts u ON u.document_key = m.document_key "
    "WHERE m.name = names.name AND u.space_id = ?)"
)


class SqliteCollection:
    """:class:`rag.protocols.Collection` over the catalogue and its generations. Safe in any thread, but for
    a :meth:`snapshot`, which is one thread's."""

    def __init__(
        self,
        views: Views,
        names: Sequence[str],
        *,
        embedder: EmbedderInfo | None = None,
        held: sqlite3.Connection | None = None,
    ) -> None:
        self._views = views
        self._names = names
        self._embedder = embedder
        self._held = held

    @contextmanager
    def snapshot(self) -> Iterator[SqliteCollection]:
        """See :class:`rag.protocols.Collection`."""
        with self._reading() as db:
            yield SqliteCollection(self._views, self._names, embedder=self._embedder, held=db)

    @property
    def space(self) -> Space | None:
        """How the (first) collection is cut and embedded now; None while nothing was put in any."""
        return self._searched(lambda now: now[0].space, None)

    @property
    def generations(self) -> Mapping[str, str]:
        """Of each collection the newest generation that verifies, as its folder is called; "" without one."""
        nothing: dict[str, str] = {}
        found = self._searched(
            lambda now: {view.name: view.generation.info.folder for view in now if view.generation}, nothing
        )
        return {name: found.get(name, "") for name in self._names}

    def nearest(self, vector: Vectors, *, k: int, where: Where) -> list[Hit]:
        """The k live chunks with the highest cosine to ``vector`` (shape (dim,)), ties by key. Raises as
        :meth:`rank`."""
        _check(k)
        return self._searched(lambda now: hits_of(now, self._near(now, vector, k=k, where=where)), [])

    def matching(self, text: str, *, k: int, where: Where) -> list[Hit]:
        """The k live chunks with the highest BM25 score for the words of ``text``; only those that match.
        Raises as :meth:`rank`."""
        _check(k)
        return self._searched(
            lambda now: hits_of(now, self._match(now, _asked(text, now), k=k, where=where)), []
        )

    def rank(
        self, *, vector: Vectors | None, vector_k: int, text: str, text_k: int, where: Where
    ) -> Candidates:
        """See :class:`rag.protocols.Collection`; in one read transaction.

        Raises InvalidQuery for an impossible k or a vector that is not finite, EmbedderMismatch for one
        that another embedder made and for collections of different embedders, UnknownCollection.
        """
        _check(vector_k)
        _check(text_k)

        def offered(now: Moment) -> Candidates:
            near = NO_RANKING if vector is None else self._near(now, vector, k=vector_k, where=where)
            question = _asked(text, now)
            match = self._match(now, question, k=text_k, where=where) if text else NO_RANKING
            keys = np.union1d(near.keys, match.keys)
            return _weighed(now, keys, vector, question, known=(near, match))

        return self._searched(offered, NO_CANDIDATES)

    def weigh(self, keys: Keys, *, vector: Vectors | None, text: str) -> Candidates:
        """See :class:`rag.protocols.Collection`. Raises as :meth:`rank`."""

        def weighed(now: Moment) -> Candidates:
            if vector is not None:
                self._check_vector(vector, now[0].space)
            alive = np.array(sorted(key for view in now for key in living(view, keys)), dtype=np.int64)
            return _weighed(now, alive, vector, _asked(text, now))

        return self._searched(weighed, NO_CANDIDATES)

    def named(self, names: Sequence[str], *, where: Where) -> Mapping[str, Keys]:
        """See :class:`rag.protocols.Collection`. Of each document its first NAMED chunks."""

        def found(now: Moment) -> dict[str, Keys]:
            keys: dict[str, list[int]] = {}
            for view in now:
                allowed = self._views.allowed(view, where)
                asked = (view.space_id, json_of(list(names)), view.space_id, NAMED)
                for name, key in view.db.execute(NAMED_CHUNKS, asked):
                    if allowed is None or holds(allowed, key):
                        keys.setdefault(name, []).append(key)
            return {name: np.array(each, dtype=np.int64) for name, each in keys.items()}

        return self._searched(found, {})

    def metadata_names(self) -> list[str]:
        """The keys that the metadata of the documents has, in order."""

        def names(now: Moment) -> list[str]:
            rows = (row for view in now for row in view.db.execute(METADATA_NAMES, (view.space_id,)))
            return sorted({name for (name,) in rows})

        return self._searched(names, [])

    def vectors(self, keys: Keys) -> tuple[Keys, Vectors]:
        """See :class:`rag.protocols.Collection`."""
        nothing = NO_CANDIDATES.keys, np.empty((0, 0), np.float32)
        return self._searched(lambda now: vectors_of(now, keys), nothing)

    def tokens(self, keys: Keys) -> Mapping[int, bytes]:
        """See :class:`rag.protocols.Collection`."""
        nothing: dict[int, bytes] = {}
        return self._searched(lambda now: tokens_of(now, keys), nothing)

    def beside(self, keys: Keys) -> Mapping[int, Sequence[int]]:
        """See :class:`rag.protocols.Collection`."""
        nothing: dict[int, list[int]] = {}
        return self._searched(lambda now: beside_of(now, keys), nothing)

    def read(self, keys: Sequence[int]) -> list[Chunk]:
        """The chunks of these keys, in this order; those that died meanwhile are left out."""
        return self._searched(lambda now: chunks_of(now, keys), [])

    def _near(self, now: Moment, vector: Vectors, *, k: int, where: Where) -> Ranking:
        self._check_vector(vector, now[0].space)
        legs: list[_Leg] = []
        for view in now:
            allowed = self._views.allowed(view, where)
            keys, matrix = view.delta.vectors(view.db, commit=view.commit)
            judged = allowed is not None
            if len(keys):
                legs.append(_Leg(view, partial(scan, keys, matrix, vector, allowed=allowed), judged))
            if view.generation is not None:
                search = partial(view.generation.vectors.search, vector, allowed=allowed)
                legs.append(_Leg(view, search, judged or view.whole))
        return _best_live(legs, k=k)

    def _match(self, now: Moment, question: Question, *, k: int, where: Where) -> Ranking:
        legs: list[_Leg] = []
        for view in now:
            allowed = self._views.allowed(view, where)
            for index in _lexical(view):
                old = view.generation is not None and index is view.generation.lexical
                judged = allowed is not None or (old and view.whole)
                legs.append(_Leg(view, partial(index.search, question, allowed=allowed), judged))
        return _best_live(legs, k=k)

    def _searched(self, search: Callable[[Moment], T], nothing: T) -> T:
        """``search`` in one read transaction; again without a generation whose files broke beneath it."""
        with self._reading() as db:
            while True:
                found = [self._views.view(db, name) for name in self._names]
                now = [view for view in found if view is not None]
                if not now:
                    return nothing
                _check_alike(now)
                try:
                    return search(now)
                except IndexDamaged as error:  # tantivy reads its files as it goes
                    self._views.give_up(now, error)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._held is not None:
            yield self._held
            return
        with self._views.generations.store.reading() as db:
            yield db

    def _check_vector(self, vector: Vectors, space: Space) -> None:
        stored = space.embedder
        asked = self._embedder or stored
        if asked.fingerprint != stored.fingerprint or vector.shape != (stored.dim,):
            raise EmbedderMismatch(
                f"collection {', '.join(map(repr, self._names))} was embedded with {stored.name!r} "
                f"({stored.fingerprint}), the question with {asked.name!r} ({asked.fingerprint}), "
                f"{vector.shape[-1]} dimensions: "
                "set the embedder that the collection has, or run `rag ingest` to embed it anew"
            )
        if not np.isfinite(vector).all():
            raise InvalidQuery("the question's vector holds numbers that are not finite")


def _check_alike(now: Moment) -> None:
    first = now[0].space.embedder
    for view in now[1:]:
        other = view.space.embedder
        if other.fingerprint != first.fingerprint:
            raise EmbedderMismatch(
                f"{now[0].name!r} was embedded with {first.name!r} ({first.fingerprint[:12]}), {view.name!r} "
                f"with {other.name!r} ({other.fingerprint[:12]}), and vectors of different models do not "
                "compare: search them one at a time, or embed one anew "
                f"(rag index build --collection {view.name})"
            )


def _check(k: int) -> None:
    if k < 1:
        raise InvalidQuery(f"k = {k}: ask for 1 hit or more")


def _best_live(legs: Sequence[_Leg], *, k: int) -> Ranking:
    """The k best live rows of all legs, best first, ties by key.

    Each leg gives its best rows in that order, so once k of them are alive (or there are no more), none
    that it kept back can belong to the answer.
    """
    parts: list[Found] = []
    for leg in legs:
        fetch = k if leg.alive else k + SPARE
        while True:
            keys, scores = leg.search(k=fetch)
            last = len(keys) < fetch
            if not leg.alive:
                inside = np.isin(keys, living(leg.view, keys))
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


def _weighed(
    now: Moment,
    keys: Keys,
    vector: Vectors | None,
    question: Question,
    *,
    known: tuple[Ranking, Ranking] = (NO_RANKING, NO_RANKING),
) -> Candidates:
    """Live keys (rising) with both scores: those that a leg found, the others computed."""
    cosines = np.zeros(len(keys), np.float32)
    bm25 = np.zeros(len(keys), np.float32)
    near, match = known
    cosines[np.searchsorted(keys, near.keys)] = near.scores
    bm25[np.searchsorted(keys, match.keys)] = match.scores
    means = np.zeros(len(keys), np.float32)
    found = Spread(0.0, 0.0, {})
    if vector is not None:
        rest, rows = vectors_of(now, np.setdiff1d(keys, near.keys, assume_unique=True))
        if len(rest):
            cosines[np.searchsorted(keys, rest)] = similarities(rows, vector)
        moments = [view.delta.moments(view.db, commit=view.commit) for view in now]
        moments += [view.generation.moments for view in now if view.generation is not None]
        found = spread(moments, vector)
        means[:] = found.mean
        if len(found.languages) > 1:
            spoken = languages_of(now[0].db, keys)
            means[:] = [found.languages.get(spoken.get(key, ""), found.mean) for key in keys.tolist()]
    rest = np.setdiff1d(keys, match.keys, assume_unique=True)
    if question.rarity:
        for index in (index for view in now for index in _lexical(view)):
            held, scores = index.search(question, k=max(1, len(rest)), allowed=rest)
            bm25[np.searchsorted(keys, held)] = scores
    return Candidates(keys, cosines, bm25, means, question.bound, found.mean, found.deviation)


def _asked(text: str, now: Moment) -> Question:
    """The words of ``text``, weighed by all the collections together; no words ask nothing."""
    return ask(text, [index for view in now for index in _lexical(view)]) if text else NO_QUESTION


def _lexical(view: View) -> list[LexicalIndex]:
    """The indexes that hold the collection's texts together."""
    newest = view.delta.texts(view.db, commit=view.commit)
    return [*newest] if view.generation is None else [*newest, view.generation.lexical]
