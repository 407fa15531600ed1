"""Why a hit stands where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.retrieve import Trail
from rag.retrieve.fuse import meaning, words
from rag.retrieve.late import Met
from rag.types import Hit


@dataclass(frozen=True, slots=True)
class Standing:
    """A chunk in a search, stage by stage. Ranks count from 1; None: the stage did not look at it.

    ``deviations`` is how far its cosine lies above the question's mean, in standard deviations, ``share``
    how much of the question its words answer, 0 to 1 (:mod:`rag.retrieve.fuse`). ``token_rank`` is its place
    among those that were compared token by token, by that alone. ``lent`` is how much evidence it gained or
    lost for what stands beside it, in standard deviations (None: that was not looked at). ``linked_from`` is
    the key of the chunk that led to it, or lifted it, by naming its document, ``by_name`` the name.
    """

    key: int
    vector_rank: int | None
    cosine: float | None
    deviations: float | None
    lexical_rank: int | None
    bm25: float | None
    share: float | None
    token_rank: int | None
    lent: float | None
    linked_from: int | None
    by_name: str | None
    fused_rank: int | None
    reranked_rank: int | None
    rank: int | None


def standing(trail: Trail, key: int) -> Standing:
    """Where the chunk ``key`` stood in each stage of a search."""
    candidates, mode = trail.candidates, trail.settings.mode
    place = np.flatnonzero(candidates.keys == key)
    at = int(place[0]) if len(place) else None
    namer, name = trail.linked.get(key, (None, None))
    near = None if mode == "lexical" else at
    said = None if mode == "vector" else at
    ranked = [hit.chunk.key for hit in trail.read] if trail.reranked else []
    hits = [hit.chunk.key for hit in trail.hits]
    return Standing(
        key=key,
        vector_rank=None if near is None else rank_of(candidates.cosines, near),
        cosine=None if near is None else float(candidates.cosines[near]),
        deviations=None if near is None else float(meaning(candidates)[near]),
        lexical_rank=None if said is None or not candidates.bm25[said] else rank_of(candidates.bm25, said),
        bm25=None if said is None else float(candidates.bm25[said]),
        share=None if said is None else float(words(candidates)[said]),
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


def rank_of(scores: npt.NDArray[np.floating], at: int) -> int:
    """The place of one of these scores among them, from 1; equal ones stand alike."""
    return int((scores > scores[at]).sum()) + 1


def _among(met: Mapping[int, Met], key: int) -> int | None:
    return 1 + sum(each.score > met[key].score for each in met.values()) if key in met else None


def _place(keys: Sequence[int], key: int) -> int | None:
    return keys.index(key) + 1 if key in keys else None
