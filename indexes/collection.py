"""A collection to search: the newest generation, what is newer than it, and the judgement of SQL.

Within one read transaction: candidates from the generation and from the delta beside it, joined to
the chunks that are alive and pass the filter. So neither an old index nor a lost one changes an
answer, and what is committed is found at once, by every process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from indexes.exact import best, scan, similarities
from indexes.lexical import LexicalIndex
from indexes.moments import Spread, spread
from indexes.question import Question, ask
from indexes.rows import CHUNK, chunk_of, json_of
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
Leg: TypeAlias = tuple[Callable[..., Found], bool]
"""One index with a question in it: ``search(k=n)`` gives its n best rows. And whether all are alive."""

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
        _check(k)
        near = self._searched(lambda view: self._near(view, vector, k=k, where=where), NO_RANKING)
        return self._hits(near)

    def matching(self, text: str, *, k: int, where: Where) -> list[Hit]:
        """The k live chunks with the highest BM25 score for the words of ``text``; only those that match.
        Raises as :meth:`rank`."""
        _check(k)

        def match(view: View) -> Ranking:
            indexes = _lexical(view)
            return self._match(view, indexes, ask(text, indexes), k=k, where=where)

        return self._hits(self._searched(match, NO_RANKING))

    def rank(
        self, *, vector: Vectors | None, vector_k: int, text: str, text_k: int, where: Where
    ) -> Candidates:
        """See :class:`rag.protocols.Collection`; in one read transaction.

        Raises InvalidQuery for an impossible k or a vector that is not finite, EmbedderMismatch for one
        that another embedder made, UnknownCollection.
        """
        _check(vector_k)
        _check(text_k)

        def offered(view: View) -> Candidates:
            near = NO_RANKING if vector is None else self._near(view, vector, k=vector_k, where=where)
            indexes = _lexical(view) if text else []
            question = ask(text, indexes)
            match = self._match(view, indexes, question, k=text_k, where=where) if text else NO_RANKING
            keys = np.union1d(near.keys, match.keys)
            return self._weighed(view, keys, vector, indexes, question, known=(near, match))

        return self._searched(offered, NO_CANDIDATES)

    def weigh(self, keys: Keys, *, vector: Vectors | None, text: str) -> Candidates:
        """See :class:`rag.protocols.Collection`. Raises as :meth:`rank`."""

        def weighed(view: View) -> Candidates:
            if vector is not None:
                self._check_vector(vector, view.space)
            alive = np.array(sorted(_living(view, keys)), dtype=np.int64)
            indexes = _lexical(view) if text else []
            return self._weighed(view, alive, vector, indexes, ask(text, indexes))

        return self._searched(weighed, NO_CANDIDATES)

    def named(self, names: Sequence[str], *, where: Where) -> Mapping[str, Keys]:
        """See :class:`rag.protocols.Collection`. Of each document its first NAMED chunks."""
        with self._views.view(self._name) as view:
            if view is None:
                return {}
            rows = view.db.execute(NAMED_CHUNKS, (view.space_id, json_of(list(names)), view.space_id, NAMED))
            found: dict[str, list[int]] = {}
            for name, key in rows:
                found.setdefault(name, []).append(key)
            allowed = self._views.allowed(view, where)
        keys = {name: np.array(each, dtype=np.int64) for name, each in found.items()}
        if allowed is not None:
            keys = {name: each[np.isin(each, allowed)] for name, each in keys.items()}
        return {name: each for name, each in keys.items() if len(each)}

    def metadata_names(self) -> list[str]:
        """The keys that the metadata of the collection's documents has, in order."""
        with self._views.view(self._name) as view:
            if view is None:
                return []
            return [name for (name,) in view.db.execute(METADATA_NAMES, (view.space_id,))]

    def vectors(self, keys: Keys) -> tuple[Keys, Vectors]:
        """See :class:`rag.protocols.Collection`."""
        with self._views.view(self._name) as view:
            if view is None:
                return NO_CANDIDATES.keys, np.empty((0, 0), np.float32)
            return _vectors(view, keys)

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

    def _match(
        self, view: View, indexes: Sequence[LexicalIndex], question: Question, *, k: int, where: Where
    ) -> Ranking:
        allowed = self._views.allowed(view, where)
        legs: list[Leg] = []
        for index in indexes:
            old = view.generation is not None and index is view.generation.lexical
            judged = allowed is not None or (old and view.whole)
            legs.append((partial(index.search, question, allowed=allowed), judged))
        return _best_live(view, legs, k=k)

    def _weighed(
        self,
        view: View,
        keys: Keys,
        vector: Vectors | None,
        indexes: Sequence[LexicalIndex],
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
            rest, rows = _vectors(view, np.setdiff1d(keys, near.keys, assume_unique=True))
            if len(rest):
                cosines[np.searchsorted(keys, rest)] = similarities(rows, vector)
            moments = [view.delta.moments(view.db, commit=view.commit)]
            if view.generation is not None:
                moments.append(view.generation.moments)
            found = spread(moments, vector)
            means[:] = found.mean
            if len(found.languages) > 1:
                spoken = _languages(view, keys)
                means[:] = [found.languages.get(spoken.get(key, ""), found.mean) for key in keys.tolist()]
        rest = np.setdiff1d(keys, match.keys, assume_unique=True)
        for index in indexes:
            held, scores = index.search(question, k=max(1, len(rest)), allowed=rest)
            bm25[np.searchsorted(keys, held)] = scores
        return Candidates(keys, cosines, bm25, means, question.bound, found.mean, found.deviation)

    def _searched(self, search: Callable[[View], T], nothing: T) -> T:
        """``search`` in one read transaction; again without a generation whose files broke beneath it."""
        while True:
            with self._views.view(self._name) as view:
                if view is None:
                    return nothing
                try:
                    return search(view)
                except IndexDamaged as error:  # tantivy reads its files as it goes
                    if view.generation is None:
                        raise
                    self._views.give_up(self._name, view.generation, error)

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


def _lexical(view: View) -> list[LexicalIndex]:
    """The indexes that hold the collection's texts together."""
    newest = view.delta.texts(view.db, commit=view.commit)
    return [*newest] if view.generation is None else [*newest, view.generation.lexical]


def _vectors(view: View, keys: Keys) -> tuple[Keys, Vectors]:
    """The stored vectors of these chunks: of those that are alive, by key."""
    rows = view.db.execute(
        "SELECT c.key, v.vector FROM json_each(?) asked JOIN chunks c ON c.key = asked.value "
        "JOIN vectors v ON v.id = c.vector_id WHERE +c.space_id = ? ORDER BY c.key",
        (json_of(keys.tolist()), view.space_id),
    ).fetchall()
    found = np.array([key for key, _ in rows], dtype=np.int64)
    matrix = np.frombuffer(b"".join(vector for _, vector in rows), dtype=np.float32)
    return found, matrix.reshape(len(rows), view.space.embedder.dim)


def _languages(view: View, keys: Keys) -> dict[int, str]:
    """The language of each of these chunks that has one."""
    rows = view.db.execute(
        "SELECT c.key, m.value FROM json_each(?) asked JOIN chunks c ON c.key = asked.value "
        "JOIN document_metadata m ON m.document_key = c.document_key AND m.name = 'language'",
        (json_of(keys.tolist()),),
    )
    return dict(rows.fetchall())
