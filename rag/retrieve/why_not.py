"""Why a passage is not in the context of an answer: the stage of the search that lost it, or the context."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from rag.context import Context
from rag.protocols import Collection
from rag.retrieve import Trail
from rag.retrieve.asked import Asked
from rag.retrieve.explain import Standing, rank_of, standing
from rag.retrieve.fuse import evidence, weight_of, words
from rag.types import Chunk, Document

Stage: TypeAlias = Literal[
    "not-parsed",  # the document's text does not hold it
    "cut",  # it is spread over several chunks
    "truncated",  # it stands beyond what the embedder reads of its chunk
    "filtered",  # the filter leaves its document out
    "missed-by-index",  # near enough, and yet no candidate
    "low-in-both-legs",  # neither leg offered it
    "fused-away",  # others have more evidence
    "reranked-away",  # the reranker put others before it
    "not-chosen",  # a limit for documents, likeness or score
    "near-duplicate",  # a hit whose words stand in a better passage of the context
    "budget",  # a hit that the context has no room for
    "found",  # nothing lost it
]


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The stage that lost a passage, a sentence for people, and what may mend it ("" where nothing need be).

    ``chunk`` is the one that holds it, or most of it, and ``standing`` where that stood; None before that.
    """

    stage: Stage
    detail: str
    mend: str
    chunk: Chunk | None = None
    standing: Standing | None = None


def why_not(
    trail: Trail,
    collection: Collection,
    document: Document,
    chunks: Sequence[Chunk],
    *,
    text: str = "",
    passes: bool = True,
    reads: Callable[[str], int] | None = None,
    context: Context | None = None,
) -> WhyNot:
    """The stage of a search (``trail``) that lost a document, or the passage of it that reads ``text``.

    ``chunks`` are the document's, in order; ``passes`` says whether it passes the search's filter; ``reads``
    how many characters of a text the embedder reads; ``context`` is what was made of the hits, where it is
    to be asked too. Without ``text`` the chunk of the document that came farthest is meant; with it, all of
    it has to be found.
    """
    if not chunks:
        return WhyNot("not-parsed", f"{document.id} has no text to be found by", _READ)
    span = _found(document.text, text) if text else None
    if text and span is None:
        return WhyNot("not-parsed", "the document, as it was parsed, does not hold this text", _READ)
    holding = chunks if span is None else [c for c in chunks if c.start < span[1] and span[0] < c.end]
    if not holding:
        return WhyNot("cut", "no chunk holds this text", _CUT)
    whole = [c for c in holding if span is None or (c.start <= span[0] and span[1] <= c.end)]
    ranks, hits = _ranks(trail.fused.keys.tolist()), _ranks([hit.chunk.key for hit in trail.hits])
    never = len(trail.fused.keys) + 1
    chunk = min(whole or holding, key=lambda c: (hits.get(c.key, never), ranks.get(c.key, never)))
    at = standing(trail, chunk.key)
    if not passes:
        return WhyNot("filtered", "the filter leaves its document out", _FILTER, chunk, at)
    if at.rank is None and span is not None and reads is not None:
        limit = chunk.start + reads(chunk.embedded_text) - (len(chunk.embedded_text) - len(chunk.text))
        if span[0] >= limit:
            detail = (
                f"it stands past the {limit - chunk.start} characters that the embedder reads of its chunk"
            )
            return WhyNot("truncated", detail, _CUT, chunk, at)
    if not whole and (missing := [c for c in holding if c.key not in hits]):
        spread = f"it is spread over {len(holding)} chunks"
        held = f"{len(missing)} of which are no hits" if at.rank else "none of which holds all of it"
        return WhyNot("cut", f"{spread}, {held}", _CUT, chunk, at)
    if at.rank is None:
        return _lost(trail, collection, chunk, at)
    parts = [(max(c.start, span[0]), min(c.end, span[1])) for c in holding] if span else []
    if context is not None and (lost := _left_out(context, chunk, parts, at)):
        return lost
    return WhyNot("found", f"it is hit {at.rank}", "", chunk, at)


_READ = (
    "look at what was read of it: rag documents show; another format of the same document may parse better"
)
_CUT = "cut larger: [chunker] target_tokens; or let chunks overlap: [chunker] overlap_tokens"
_FILTER = "ask without --where, or with another value"
_BUDGET = "give the context more room: [context] max_tokens, and context_budget where the prompt names one"
_POOL = "offer more candidates: [retrieval] vector_pool, lexical_pool; or ask in words that stand in it"
_REPAIR = "rag doctor --repair builds the index anew"
_TWIN = "none is needed for an answer; to have this document cited, take the other one out"


def _left_out(
    context: Context, chunk: Chunk, parts: Sequence[tuple[int, int]], at: Standing
) -> WhyNot | None:
    """Why the context does not show a hit, or these parts of its document; None where it does."""
    own = [passage for passage in context.passages if passage.chunk.origin == chunk.origin]
    if parts:
        shown = all(any(p.start <= start and end <= p.end for p in own) for start, end in parts)
    else:
        shown = any(hit.chunk.key == chunk.key for passage in own for hit in passage.hits)
    if shown:
        return None
    out = next((out for out in context.left_out if out.hit.chunk.key == chunk.key), None)
    if out is None:
        return WhyNot("budget", f"the context has no more than a part of hit {at.rank}", _BUDGET, chunk, at)
    if out.reason == "near-duplicate":
        return WhyNot("near-duplicate", f"hit {at.rank} is not shown: {out.detail}", _TWIN, chunk, at)
    missing = "is not wholly in" if out.reason == "cut" else "is not in"
    return WhyNot("budget", f"hit {at.rank} {missing} the context: {out.detail}", _BUDGET, chunk, at)


def _lost(trail: Trail, collection: Collection, chunk: Chunk, at: Standing) -> WhyNot:
    settings = trail.settings
    if at.fused_rank is None:
        return _never_offered(trail, collection, chunk, at)
    if limit := trail.dropped.get(chunk.key) or _limit(trail, chunk, at.fused_rank):
        detail = f"it stood {_ordinal(at.fused_rank)}, and was left out: {limit}"
        mend = "[retrieval] per_document, diversity and min_score set that limit"
        return WhyNot("not-chosen", detail, mend, chunk, at)
    if trail.reranked and at.reranked_rank is not None and at.fused_rank <= settings.k < at.reranked_rank:
        detail = f"the reranker moved it from {_ordinal(at.fused_rank)} to {_ordinal(at.reranked_rank)}"
        return WhyNot("reranked-away", detail, "ask for more: -k; or choose another reranker", chunk, at)
    legs = f"{_leg('meaning', at.vector_rank)}, {_leg('words', at.lexical_rank)}"
    detail = f"it is {_ordinal(at.fused_rank)} of {len(trail.fused.keys)} candidates ({legs})"
    mend = f"ask for {at.fused_rank} or more: -k; or in words that stand in it"
    for setting, before, what in _before(trail, chunk.key, at.fused_rank):
        if before <= settings.k < at.fused_rank:
            detail += f"; it was {_ordinal(before)} before {what}"
            mend = f"ask for {at.fused_rank} or more: -k; or without that: [retrieval] {setting} = 0"
            break
    return WhyNot("fused-away", detail, mend, chunk, at)


def _limit(trail: Trail, chunk: Chunk, rank: int) -> str:
    """Which limit would leave it out however many hits are asked for; "" for none."""
    settings = trail.settings
    read = {hit.chunk.key: hit.score for hit in trail.read}
    if read.get(chunk.key, float(trail.fused.scores[rank - 1])) < settings.min_score:
        return f"its score is below {settings.min_score:g}"
    others = sum(hit.chunk.origin == chunk.origin for hit in trail.hits)
    if settings.per_document and others >= settings.per_document:
        return f"{others} of its document came before it"
    return ""


def _before(trail: Trail, key: int, rank: int) -> Iterator[tuple[str, int, str]]:
    """Where the candidate of a ``rank`` stood before a stage that moves candidates: the setting that has it,
    the rank, and what the stage looks at; the last stage first."""
    if trail.lent:
        lent = np.array([trail.lent.get(each, 0.0) for each in trail.fused.keys.tolist()])
        before = rank_of(weight_of(trail.fused.scores) - lent, rank - 1)
        yield "neighbours", before, "what stands beside it counted"
    if trail.compared:
        first = evidence(trail.candidates, vector_weight=trail.settings.vector_weight)
        before = rank_of(first, int(np.searchsorted(trail.candidates.keys, key)))
        yield "token_pool", before, "passages were compared token by token"


def _never_offered(trail: Trail, collection: Collection, chunk: Chunk, at: Standing) -> WhyNot:
    candidates, settings, mode = trail.candidates, trail.settings, trail.settings.mode
    asked = "" if mode == "vector" else Asked(trail.question, trail.rewritten).text
    own = collection.weigh(np.array([chunk.key], dtype=np.int64), vector=trail.vector, text=asked)
    if not len(own):
        return WhyNot("missed-by-index", "it is not in the index yet", _REPAIR, chunk, at)
    cosine, share, bm25 = float(own.cosines[0]), float(words(own)[0]), float(own.bm25[0])
    held = f"answer {share:.0%} of the question" if bm25 else "are none of the question's"
    if mode == "lexical":
        if not bm25:
            mend = "ask in words that stand in it, or by meaning too: --mode hybrid"
            return WhyNot("low-in-both-legs", f"its words {held}", mend, chunk, at)
        detail = f"its words {held}; {len(trail.hits)} others answer more of it"
        return WhyNot("fused-away", detail, "ask for more: -k", chunk, at)
    offered = settings.vector_pool if mode == "hybrid" else settings.k
    pool = np.sort(candidates.cosines)[::-1][:offered]
    if len(pool) == offered and cosine > float(pool[-1]):
        detail = f"its cosine, {cosine:.3f}, is above {float(pool[-1]):.3f}, the last that the index offered"
        return WhyNot("missed-by-index", detail, _REPAIR, chunk, at)
    last = f" (the last candidate's {float(pool[-1]):.3f})" if len(pool) else ""
    if mode == "vector":
        detail = f"its cosine is {cosine:.3f}{last}"
        return WhyNot("fused-away", detail, "ask for more: -k; or by words too: --mode hybrid", chunk, at)
    detail = f"its cosine is {cosine:.3f}{last}, and its words {held}"
    return WhyNot("low-in-both-legs", detail, _POOL, chunk, at)


def _found(text: str, wanted: str) -> tuple[int, int] | None:
    """Where ``wanted`` stands in ``text``, whatever the white space between its words; None: nowhere."""
    words_wanted = wanted.split()
    if not words_wanted:
        return None
    match = re.search(r"\s+".join(map(re.escape, words_wanted)), text)
    return match.span() if match else None


def _ranks(keys: Sequence[int]) -> dict[int, int]:
    return {key: rank for rank, key in enumerate(keys, 1)}


def _leg(name: str, rank: int | None) -> str:
    return f"{_ordinal(rank)} by {name}" if rank else f"none by {name}"


_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


def _ordinal(number: int) -> str:
    """
    >>> [_ordinal(n) for n in (1, 2, 3, 4, 11, 21, 112)]
    ['1st', '2nd', '3rd', '4th', '11th', '21st', '112th']
    """
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{_ENDINGS.get(number % 10, 'th')}"
