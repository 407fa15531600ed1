"""From a question to ranked chunks: the vector leg, the lexical leg, and their fusion.

The fusion is a convex combination of two measures of evidence, each between 0 and 1 and each made so
that a leg which has nothing to say about *this* question says it quietly:

- lexical: the BM25 score as a share of the best one, times the share of the question's words that the
  best lexical hit holds. BM25 alone cannot tell "the best of a bad lot": an English question over
  Spanish documents matches a name here and there, and the best of those is still scored 1 of 1.
- vector: how far a cosine lies above the background (the last of the pool) on the way to identity,
  ``(cosine - floor) / (1 - floor)``. Unlike min-max this keeps the spread: where an embedder sees all
  texts of a foreign language alike, all are near 0. It is the same for embedders whose cosines live
  between 0.7 and 0.9 as for those that use the whole range.

Reciprocal rank fusion (Cormack et al. 2009) and min-max combinations (Bruch et al. 2023, "An Analysis
of Fusion Functions for Hybrid Retrieval") were measured beside it and lose to it where one leg is weak.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import numpy as np

from rag.errors import InvalidQuery, InvalidSetting
from rag.protocols import NO_WHERE, Collection, Embedder, Where
from rag.types import Chunk, EmbedderInfo, Hit, Ranking, clean_text
from rag.words import Terms, language_named, language_of

Mode: TypeAlias = Literal["hybrid", "vector", "lexical"]

MAX_K = 1000
"""More than anyone reads; a bound, so that no request makes the indexes sort everything."""
MAX_QUESTION = 20_000
"""Characters. A page of text is a question; a book is not."""


@dataclass(frozen=True, slots=True)
class RetrievalSettings:
    """How a question is turned into hits; part of an answer's receipt.

    ``vector_pool`` and ``lexical_pool`` are how many candidates each leg offers to the fusion;
    ``vector_weight`` is the share of the vector leg in it, from 0 to 1. Raises InvalidSetting.
    """

    mode: Mode = field(default="hybrid", kw_only=True)
    k: int = field(default=8, kw_only=True)
    vector_pool: int = field(default=200, kw_only=True)
    lexical_pool: int = field(default=200, kw_only=True)
    vector_weight: float = field(default=0.5, kw_only=True)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise InvalidSetting(f"retrieval mode {self.mode!r}: choose one of {', '.join(get_args(Mode))}")
        for name in ("k", "vector_pool", "lexical_pool"):
            if not 1 <= getattr(self, name) <= MAX_K:
                raise InvalidSetting(f"retrieval {name} = {getattr(self, name)}: choose 1 to {MAX_K}")
        if not 0 <= self.vector_weight <= 1:
            raise InvalidSetting(f"retrieval vector_weight = {self.vector_weight}: choose 0 to 1")


class Retriever:
    """Ranked chunks for a question, from any collection."""

    def __init__(self, embedder: Embedder, *, settings: RetrievalSettings | None = None) -> None:
        self._embedder = embedder
        self.embedder: EmbedderInfo = embedder.info
        self.settings = settings or RetrievalSettings()

    def search(
        self, collection: Collection, question: str, *, k: int | None = None, where: Where = NO_WHERE
    ) -> list[Hit]:
        """The ``k`` best chunks (default: the settings'), best first; equal scores by chunk key.

        Scores: hybrid 0 to 1, vector a cosine, lexical BM25. Fewer than ``k`` come back when no more
        chunks pass ``where`` or, in lexical mode, match. Raises InvalidQuery.
        """
        question = checked_question(question)
        settings = self.settings
        k = settings.k if k is None else k
        if not 1 <= k <= MAX_K:
            raise InvalidQuery(f"k = {k}: ask for 1 to {MAX_K} passages")
        vector = (
            None if settings.mode == "lexical" else self._embedder.embed([question], input_type="query")[0]
        )
        hybrid = settings.mode == "hybrid"
        near, match = collection.rank(
            vector=vector,
            vector_k=max(k, settings.vector_pool) if hybrid else k,
            text="" if settings.mode == "vector" else question,
            text_k=max(k, settings.lexical_pool) if hybrid else k,
            where=where,
        )
        if not hybrid:
            return _read(collection, match if settings.mode == "lexical" else near)
        best = collection.read(match.keys[:1].tolist())
        covered = _covered(question, best[0]) if best else 0.0
        return _read(
            collection, fuse(near, match, covered=covered, vector_weight=settings.vector_weight, k=k)
        )


def checked_question(question: str) -> str:
    """The question as every part takes it. Raises InvalidQuery when it is empty or far too long."""
    question = clean_text(question).strip()
    if not question:
        raise InvalidQuery("the question is empty: write a few words of what you want to find")
    if len(question) > MAX_QUESTION:
        raise InvalidQuery(f"the question has {len(question)} characters; the limit is {MAX_QUESTION}")
    return question


def fuse(near: Ranking, match: Ranking, *, covered: float, vector_weight: float, k: int) -> Ranking:
    """One ranking of ``k`` from the vector leg's (cosines) and the lexical leg's (BM25), scores 0 to 1.

    ``covered`` is the share of the question's words that the best lexical hit holds. A chunk that a
    leg did not offer gets that leg's floor. See the module's docstring for the why.

    >>> near = Ranking(np.array([2, 1, 3]), np.array([0.8, 0.7, 0.1], np.float32))
    >>> match = Ranking(np.array([1, 2]), np.array([2.0, 0.9], np.float32))
    >>> ranked = fuse(near, match, covered=1.0, vector_weight=0.5, k=2)
    >>> ranked.keys.tolist(), ranked.scores.round(3).tolist()
    ([1, 2], [0.8330000042915344, 0.6140000224113464])
    """
    keys, place = np.unique(np.concatenate([near.keys, match.keys]), return_inverse=True)
    scores = np.zeros(len(keys), np.float64)
    if len(near.keys):
        floor = float(near.scores.min())
        if (span := 1.0 - floor) > 1e-6:
            scores[place[: len(near.keys)]] += vector_weight * (near.scores - floor) / span
    if len(match.keys) and (best := float(match.scores.max())) > 0:
        scores[place[len(near.keys) :]] += (1.0 - vector_weight) * covered * match.scores / best
    order = np.lexsort((keys, -scores))[:k]
    return Ranking(keys[order], scores[order].astype(np.float32))


def _read(collection: Collection, ranking: Ranking) -> list[Hit]:
    scores = dict(zip(ranking.keys.tolist(), ranking.scores.tolist(), strict=True))
    return [Hit(chunk, scores[chunk.key]) for chunk in collection.read(list(scores))]


def _covered(question: str, chunk: Chunk) -> float:
    """The share of the question's words that the chunk holds."""
    text = chunk.embedded_text
    language = language_named(chunk.metadata.get("language")) or language_of(text)
    terms = Terms(question, language=language)
    return terms.held(text) / len(terms.words) if terms.words else 0.0
