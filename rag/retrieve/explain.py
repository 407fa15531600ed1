"""Why a hit stands where it stands, and why a passage is not among the hits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rag.context import Context
from rag.protocols import Collection
from rag.retrieve import Trail
from rag.retrieve.fuse import meaning, words
from rag.retrieve.late import Met
from rag.types import Chunk, Document, Hit

Stage: TypeAlias = Literal[
    "not-parsed",  # the document's text does not hold it
    "cut",  # it is spread over several chunks
    "truncated",  # it stands beyond what the embedder reads of its chunk
    "filtered",  # the filter leaves its document out
    "missed-by-index",  # near enough, and yet no candidate
    "low-in-both-legs",  # neither leg offered it
    "fused-away",  # a candidate, but others have more evidence
    "reranked-away",  # the reranker put others before it
    "not-chosen",  # a limit for documents, likeness or score
    "budget",  # a hit that the context has no room for
    "found",  # nothing lost it
]


@dataclass(frozen=True, slots=True)
class Standing:
    """A chunk in a search, stage by stage. Ranks count from 1; None: the stage did not rank it.

    ``deviations`` is how far its cosine lies above the question's mean, in standard deviations, ``share``
    how much of the question its words answer, 0 to 1 (:mod:`rag.retrieve.fuse`). ``token_rank`` is its place
    among those that were compared token by token, by that alone. ``lent`` is how much evidence it gained or
    lost for what stands beside it, in standard deviations (None: that was not looked at). ``linked_from`` is
    the key of the chunk that names its document, ``by_name`` the name.
    """

    key: int
    vector_rank: int | None
    cosine: float
    deviations: float
    lexical_rank: int | None
    bm25: float
    share: float
    token_rank: int | None
    lent: float | None
    linked_from: int | None
    by_name: str
    fused_rank: int | None
    reranked_rank: int | None
    rank: int | None


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


def standing(trail: Trail, key: int) -> Standing:
    """Where the chunk ``key`` stood in each stage of a search."""
    candidates, mode = trail.candidates, trail.settings.mode
    place = np.flatnonzero(candidates.keys == key)
    at = int(place[0]) if len(place) else None
    namer, name = trail.linked.get(key, (None, ""))
    ranked = [hit.chunk.key for hit in trail.read] if trail.reranked else []
    hits = [hit.chunk.key for hit in trail.hits]
    return Standing(
        key=key,
        vector_rank=None if at is None or mode == "lexical" else _rank(candidates.cosines, at),
        cosine=0.0 if at is None else float(candidates.cosines[at]),
        deviations=0.0 if at is None else float(meaning(candidates)[at]),
        lexical_rank=None if at is None or not candidates.bm25[at] else _rank(candidates.bm25, at),
        bm25=0.0 if at is None else float(candidates.bm25[at]),
        share=0.0 if at is None else float(words(candidates)[at]),
        token_rank=_among(trail.compared, key),
        lent=trail.lent.get(key),
        linked_from=namer,
        by_name=name,
        fused_rank=_place(trail.fused.keys.tolist(), key),
        reranked_rank=_place(ranked, key),
        rank=_place(hits, key),
    )


def explain(trail: Trail) -> list[tuple[Hit, Standing]]:
    """Each hit with where it stood in each stage, best first."""
    return [(hit, standing(trail, hit.chunk.key)) for hit in trail.hits]


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
    to be asked too. Without ``text`` the chunk of the document that came farthest is meant.
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
    chunk = min(whole or holding, key=lambda c: _farthest(trail, c.key))
    at = standing(trail, chunk.key)
    if not passes:
        return WhyNot("filtered", "the filter leaves its document out", _FILTER, chunk, at)
    if span is not None and reads is not None:
        limit = chunk.start + reads(chunk.embedded_text) - (len(chunk.embedded_text) - len(chunk.text))
        if span[0] >= limit:
            detail = (
                f"it stands past the {limit - chunk.start} characters that the embedder reads of its chunk"
            )
            return WhyNot("truncated", detail, _CUT, chunk, at)
    if at.rank is None and not whole:
        spread = f"it is spread over {len(holding)} chunks, none of which holds all of it"
        return WhyNot("cut", spread, _CUT, chunk, at)
    if at.rank is None:
        return _lost(trail, collection, chunk, at)
    if context is not None:
        for out in context.left_out:
            if out.hit.chunk.key == chunk.key and out.reason != "cut":
                detail = f"hit {at.rank} is not in the context: {out.detail}"
                return WhyNot("budget", detail, _BUDGET, chunk, at)
    return WhyNot("found", f"it is hit {at.rank}", "", chunk, at)


_READ = (
    "look at what was read of it: rag documents show; another format of the same document may parse better"
)
_CUT = "cut larger: [chunker] target_tokens; or let chunks overlap: [chunker] overlap_tokens"
_FILTER = "ask without --where, or with another value"
_BUDGET = "give the context more room: [context] max_tokens"
_POOL = "offer more candidates: [retrieval] vector_pool, lexical_pool; or ask in words that stand in it"
_REPAIR = "rag doctor --repair builds the index anew"


def _lost(trail: Trail, collection: Collection, chunk: Chunk, at: Standing) -> WhyNot:
    settings = trail.settings
    if at.fused_rank is None:
        return _never_offered(trail, collection, chunk, at)
    if chunk.key in trail.dropped:
        detail = f"it stood {_ordinal(at.fused_rank)}, and was left out: {trail.dropped[chunk.key]}"
        mend = "[retrieval] per_document, diversity and min_score set that limit"
        return WhyNot("not-chosen", detail, mend, chunk, at)
    if trail.reranked and at.reranked_rank is not None and at.fused_rank <= settings.k < at.reranked_rank:
        detail = f"the reranker moved it from {_ordinal(at.fused_rank)} to {_ordinal(at.reranked_rank)}"
        return WhyNot("reranked-away", detail, "ask for more: -k; or choose another reranker", chunk, at)
    legs = f"{_leg('meaning', at.vector_rank)}, {_leg('words', at.lexical_rank)}"
    detail = f"it is {_ordinal(at.fused_rank)} of {len(trail.fused.keys)} candidates ({legs})"
    mend = f"ask for {at.fused_rank} or more: -k; or in words that stand in it"
    return WhyNot("fused-away", detail, mend, chunk, at)


def _never_offered(trail: Trail, collection: Collection, chunk: Chunk, at: Standing) -> WhyNot:
    candidates = trail.candidates
    own = collection.weigh(np.array([chunk.key], dtype=np.int64), vector=trail.vector, text=trail.question)
    if not len(own):
        return WhyNot("missed-by-index", "it is not in the index yet", _REPAIR, chunk, at)
    cosine, share, bm25 = float(own.cosines[0]), float(words(own)[0]), float(own.bm25[0])
    pool = np.sort(candidates.cosines)[::-1][: trail.settings.vector_pool]
    full = len(pool) == trail.settings.vector_pool
    if trail.vector is not None and len(pool) and full and cosine > float(pool[-1]):
        detail = f"its cosine, {cosine:.3f}, is above {float(pool[-1]):.3f}, the last that the index offered"
        return WhyNot("missed-by-index", detail, _REPAIR, chunk, at)
    last = f" (the last candidate's {float(pool[-1]):.3f})" if len(pool) else ""
    held = f"answer {share:.0%} of the question" if bm25 else "are none of the question's"
    detail = f"its cosine is {cosine:.3f}{last}, and its words {held}"
    return WhyNot("low-in-both-legs", detail, _POOL, chunk, at)


def _farthest(trail: Trail, key: int) -> tuple[int, int]:
    at = standing(trail, key)
    never = len(trail.fused.keys) + 1
    return at.rank or never, at.fused_rank or never


def _found(text: str, wanted: str) -> tuple[int, int] | None:
    """Where ``wanted`` stands in ``text``, whatever the white space between its words; None: nowhere."""
    words_wanted = wanted.split()
    if not words_wanted:
        return None
    match = re.search(r"\s+".join(map(re.escape, words_wanted)), text)
    return match.span() if match else None


def _rank(scores: npt.NDArray[np.float32], at: int) -> int:
    return int((scores > scores[at]).sum()) + 1


def _among(met: Mapping[int, Met], key: int) -> int | None:
    return 1 + sum(each.score > met[key].score for each in met.values()) if key in met else None


def _place(keys: Sequence[int], key: int) -> int | None:
    return keys.index(key) + 1 if key in keys else None


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
