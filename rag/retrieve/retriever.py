"""From a question to ranked chunks, stage by stage, each stage to be looked at afterwards.

    rewrite  a model writes other wordings, where one is configured (:mod:`rag.retrieve.rewrite`)
    rank     both legs offer candidates, each with both of its scores (:class:`rag.protocols.Collection`)
    fuse     the two scores become one (:mod:`rag.retrieve.fuse`)
    compare  the best are compared with the question token by token, where the collection keeps token
             vectors (:mod:`rag.retrieve.late`)
    lend     what stands beside a candidate speaks for it (:mod:`rag.retrieve.beside`)
    follow   documents that the best passages name join them (:mod:`rag.retrieve.links`)
    rerank   a model reads the best once more, where one is configured (:mod:`rag.retrieve.rerank`)
    choose   at most so many of a document, unlike each other, above a threshold (:mod:`rag.retrieve.choose`)

:meth:`Retriever.search` gives the hits, :meth:`Retriever.trace` the hits with what every stage did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from rag.errors import InvalidQuery
from rag.filters import EVERYTHING, Where, of
from rag.protocols import Collection, Embedder, Reranker
from rag.retrieval import MAX_K, RetrievalSettings
from rag.retrieve.asked import Asked, asked
from rag.retrieve.beside import with_neighbours
from rag.retrieve.choose import choose
from rag.retrieve.fuse import Evidence, evidence, ranked
from rag.retrieve.late import Met, closer
from rag.retrieve.links import name_of, names
from rag.retrieve.rerank import rerank
from rag.retrieve.rewrite import NOT_REWRITTEN, Rewriter, Rewritten
from rag.types import Candidates, Chunk, EmbedderInfo, Hit, Keys, Ranking, Vectors, clean_text

MAX_QUESTION = 20_000
"""Characters. A page of text is a question; a book is not."""
LINK = 3.0
"""What being named by a better passage is worth, in standard deviations of meaning. On 2wiki, whose answers
stand in several documents, nDCG@10 rises from .752 to .910 and R@100 from .81 to .98; on four sets without
such links it costs at most .001. Twice as much gains .018 more there, and costs up to .004 here."""
LINKED = 512
"""Chunks of named documents that are looked at."""


@dataclass(frozen=True, slots=True)
class Trail:
    """One search as it went. ``hits`` is its result; the rest says how it came about.

    ``rewritten`` is what a model wrote for the question, or why it did not. ``vector`` (shape (dim,)) embeds
    the question and that; None where none was needed. ``fused`` ranks all ``candidates``; ``compared`` are
    those that were compared token by token, with what came of it; ``lent`` is how much a candidate gained or
    lost for what stands beside it; ``linked`` says of a chunk that joined them by a link which chunk named
    its document, and by which name. ``read`` are the hits before the last stage, in the order that the
    reranker gave them where there is one, and ``dropped`` says of a chunk why the last stage left it out
    although others behind it came in. ``generations`` are the indexes that were searched, by collection.
    """

    question: str
    generations: Mapping[str, str]
    rewritten: Rewritten
    vector: Vectors | None
    settings: RetrievalSettings
    candidates: Candidates
    fused: Ranking
    compared: Mapping[int, Met]
    lent: Mapping[int, float]
    linked: Mapping[int, tuple[int, str]]
    read: tuple[Hit, ...]
    reranked: bool
    dropped: Mapping[int, str]
    hits: tuple[Hit, ...]


class Retriever:
    """Ranked chunks for a question, from any collection.

    ``rerank_weight`` is the reranker's share in the order of what it reads (see :mod:`rag.retrieve.rerank`).
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        settings: RetrievalSettings | None = None,
        rewriter: Rewriter | None = None,
        reranker: Reranker | None = None,
        rerank_weight: float = 1.0,
    ) -> None:
        self._embedder = embedder
        self._rewriter = rewriter
        self._reranker = reranker
        self._rerank_weight = rerank_weight
        self.embedder: EmbedderInfo = embedder.info
        self.settings = settings or RetrievalSettings()

    def search(
        self, collection: Collection, question: str, *, k: int | None = None, where: Where = EVERYTHING
    ) -> list[Hit]:
        """The ``k`` best chunks (default: the settings'), best first; equal scores by chunk key.

        Scores: hybrid 0 to 1, vector a cosine, lexical BM25; a reranker keeps their scale. Fewer than
        ``k`` come back when no more chunks pass ``where``, the settings' limits or, in lexical mode, match.
        Raises InvalidQuery, InvalidFilter.
        """
        return list(self.trace(collection, question, k=k, where=where).hits)

    def trace(
        self, collection: Collection, question: str, *, k: int | None = None, where: Where = EVERYTHING
    ) -> Trail:
        """The same search, with what every stage did; all of them see the collection as it was at one moment.

        Raises InvalidQuery, InvalidFilter.
        """
        question = checked_question(question)
        where = of(where)
        if k is not None and not 1 <= k <= MAX_K:
            raise InvalidQuery(f"k = {k}: ask for 1 to {MAX_K} hits")
        settings = self.settings if k is None else replace(self.settings, k=k)
        mode = settings.mode
        rewritten = NOT_REWRITTEN if self._rewriter is None else self._rewriter.rewrite(question)
        if mode == "lexical":
            wanted = Asked(question, rewritten)
        else:
            compare = mode == "hybrid" and settings.token_pool > 0
            wanted = asked(self._embedder, question, rewritten, tokens=compare)
        with collection.snapshot() as now:
            return self._searched(now, wanted, where, settings)

    def _searched(
        self,
        now: Collection,
        wanted: Asked,
        where: Where,
        settings: RetrievalSettings,
    ) -> Trail:
        mode = settings.mode
        hybrid = mode == "hybrid"
        candidates = now.rank(
            vector=wanted.vector,
            vector_k=max(settings.k, settings.vector_pool) if hybrid else settings.k,
            text="" if mode == "vector" else wanted.text,
            text_k=max(settings.k, settings.lexical_pool) if hybrid else settings.k,
            where=where,
        )
        linked: dict[int, tuple[int, str]] = {}
        compared: dict[int, Met] = {}
        lent: dict[int, float] = {}
        if hybrid:
            weight = evidence(candidates, vector_weight=settings.vector_weight)
            if wanted.tokens is not None:
                weight, compared = _compared(now, wanted.tokens, candidates, weight, pool=settings.token_pool)
            if settings.neighbours:
                before, beside = weight, now.beside(candidates.keys)
                weight = with_neighbours(candidates.keys, weight, beside, share=settings.neighbours)
                lent = dict(zip(candidates.keys.tolist(), (weight - before).tolist(), strict=True))
            if settings.links:
                candidates, weight, linked = self._followed(now, wanted, candidates, weight, where)
            fused = ranked(candidates, weight)
        else:
            scores = candidates.cosines if mode == "vector" else candidates.bm25
            order = np.lexsort((candidates.keys, -scores))
            fused = Ranking(candidates.keys[order], scores[order])
        hits = self._read(now, fused, settings)
        if self._reranker is not None:
            hits = rerank(
                wanted.question,
                hits,
                self._reranker,
                pool=settings.rerank_pool,
                seconds=settings.rerank_seconds,
                weight=self._rerank_weight,
            )
        chosen, dropped = choose(
            hits,
            k=settings.k,
            per_document=settings.per_document,
            diversity=settings.diversity,
            min_score=settings.min_score,
            vectors=now.vectors,
        )
        return Trail(
            question=wanted.question,
            generations=now.generations,
            rewritten=wanted.rewritten,
            vector=wanted.vector,
            settings=settings,
            candidates=candidates,
            fused=fused,
            compared=MappingProxyType(compared),
            lent=MappingProxyType(lent),
            linked=MappingProxyType(linked),
            read=tuple(hits),
            reranked=self._reranker is not None,
            dropped=MappingProxyType(dropped),
            hits=tuple(chosen),
        )

    def _followed(
        self,
        collection: Collection,
        wanted: Asked,
        candidates: Candidates,
        weight: Evidence,
        where: Where,
    ) -> tuple[Candidates, Evidence, dict[int, tuple[int, str]]]:
        """The candidates and their evidence, with the chunks of the documents that the best ones name; none
        of those is lifted above the one that names it. And which chunks came in or rose by that."""
        best = _first_of_documents(collection, ranked(candidates, weight), self.settings.links)
        linked: dict[int, tuple[int, str]] = {}
        for chunk in best:
            own = name_of(chunk.title)
            met = [name for name in names(chunk.text) if name != own]
            for name, keys in collection.named(met, where=where).items():
                for key in keys.tolist():
                    linked.setdefault(key, (chunk.key, name))
        if not linked:
            return candidates, weight, {}
        keys = np.array(sorted(linked)[:LINKED], dtype=np.int64)
        new = collection.weigh(
            np.setdiff1d(keys, candidates.keys, assume_unique=True), vector=wanted.vector, text=wanted.text
        )
        weight = np.concatenate([weight, evidence(new, vector_weight=self.settings.vector_weight)])
        weight = weight[np.argsort(np.concatenate([candidates.keys, new.keys]))]
        candidates = _joined(candidates, new)
        keys = keys[np.isin(keys, candidates.keys)]  # without those that died since they were named
        place = np.searchsorted(candidates.keys, keys)
        namer = np.searchsorted(candidates.keys, [linked[key][0] for key in keys.tolist()])
        lifted = np.minimum(weight[place] + LINK, weight[namer])
        led = (lifted > weight[place]) | np.isin(keys, new.keys)
        weight[place] = np.maximum(weight[place], lifted)
        return candidates, weight, {key: linked[key] for key in keys[led].tolist()}

    def _read(self, collection: Collection, fused: Ranking, settings: RetrievalSettings) -> list[Hit]:
        """As many of the best as the stages behind may need."""
        enough = settings.k
        if self._reranker is not None:
            enough = max(enough, settings.rerank_pool)
        if settings.per_document or settings.diversity:
            enough = max(enough, len(fused.keys))
        keys = fused.keys[:enough].tolist()
        scores = dict(zip(keys, fused.scores[:enough].tolist(), strict=True))
        return [Hit(chunk, scores[chunk.key]) for chunk in collection.read(keys)]


def _compared(
    collection: Collection, tokens: Vectors, candidates: Candidates, weight: Evidence, *, pool: int
) -> tuple[Evidence, dict[int, Met]]:
    """The evidence with the ``pool`` best candidates compared token by token, and what that gave each.

    Those keep the mean and the deviation of their evidence; the others stay below them.
    """
    best = ranked(candidates, weight).keys[:pool]
    codes = collection.tokens(best)
    places = np.searchsorted(candidates.keys, np.array(sorted(codes), dtype=np.int64))
    if not len(places):
        return weight, {}
    keys = candidates.keys[places].tolist()
    mixed, met = closer(tokens, [codes[key] for key in keys], weight[places])
    weight = np.minimum(weight, mixed.min())
    weight[places] = mixed
    return weight, dict(zip(keys, met, strict=True))


def checked_question(question: str) -> str:
    """The question as every part takes it. Raises InvalidQuery when it is empty or far too long."""
    question = clean_text(question).strip()
    if not question:
        raise InvalidQuery("the question is empty: write a few words of what you want to find")
    if len(question) > MAX_QUESTION:
        raise InvalidQuery(f"the question has {len(question)} characters; the limit is {MAX_QUESTION}")
    return question


def _first_of_documents(collection: Collection, ranking: Ranking, count: int) -> list[Chunk]:
    """The best chunk of each of the ``count`` best documents."""
    best: dict[tuple[str, str], Chunk] = {}
    for chunk in collection.read(ranking.keys[: 8 * count].tolist()):
        best.setdefault(chunk.origin, chunk)
        if len(best) == count:
            break
    return list(best.values())


def _joined(one: Candidates, other: Candidates) -> Candidates:
    """Both, which share no key; scored against the same question and collection."""
    keys: Keys = np.concatenate([one.keys, other.keys])
    both = replace(
        one,
        keys=keys,
        cosines=np.concatenate([one.cosines, other.cosines]),
        bm25=np.concatenate([one.bm25, other.bm25]),
        means=np.concatenate([one.means, other.means]),
    )
    return both.at(np.argsort(keys))
