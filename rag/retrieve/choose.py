"""The last stage of a search: which of the ranked hits are given back.

Diversity is maximal marginal relevance (Carbonell and Goldstein 1998): each next hit is the one with the
best balance of its score and its likeness to what was chosen already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rag.types import Hit, Keys, Vectors


def choose(
    hits: Sequence[Hit],
    *,
    k: int,
    per_document: int = 0,
    diversity: float = 0.0,
    min_score: float = 0.0,
    vectors: Callable[[Keys], tuple[Keys, Vectors]],
) -> tuple[list[Hit], dict[int, str]]:
    """At most ``k`` of ``hits`` (best first), and, by key, why one was passed over for others behind it.

    ``per_document`` is the most of one document (0: no limit), ``min_score`` the least score (0: any).
    With ``diversity`` d the next hit is the one with the highest ``(1 - d) * score - d * likeness``, where
    scores are taken as shares of the best and likeness is the highest cosine to a chosen hit (``vectors``
    reads them by key). Order and scores of the hits stay as they are: the chosen stand best first.

    >>> from rag.types import Chunk
    >>> hits = [Hit(Chunk(d, t, 0, 1, key=n), s) for n, (d, t, s) in
    ...         enumerate([("a", "x", 0.9), ("a", "y", 0.8), ("b", "z", 0.7)], 1)]
    >>> chosen, dropped = choose(hits, k=2, per_document=1, vectors=lambda keys: (keys, np.eye(3)))
    >>> [hit.chunk.text for hit in chosen], dropped
    (['x', 'z'], {2: '1 of its document came before it'})
    """
    dropped: dict[int, str] = {}
    eligible: list[Hit] = []
    of_document: dict[tuple[str, str], int] = {}
    for hit in hits:
        if min_score > 0 and hit.score < min_score:
            dropped[hit.chunk.key] = f"its score is below {min_score:g}"
            continue
        count = of_document.get(hit.chunk.origin, 0)
        if per_document and count >= per_document:
            dropped[hit.chunk.key] = f"{per_document} of its document came before it"
            continue
        of_document[hit.chunk.origin] = count + 1
        eligible.append(hit)
        if len(eligible) == k and not diversity:
            break
    if not diversity or len(eligible) <= 1:
        return eligible[:k], dropped
    places = _diverse(eligible, k=k, diversity=diversity, vectors=vectors)
    for place in range(max(places)):
        if place not in places:
            dropped[eligible[place].chunk.key] = "it is too like better ones"
    return [eligible[place] for place in sorted(places)], dropped


def _diverse(
    hits: Sequence[Hit],
    *,
    k: int,
    diversity: float,
    vectors: Callable[[Keys], tuple[Keys, Vectors]],
) -> list[int]:
    """The places of the hits that maximal marginal relevance takes, in the order it takes them."""
    keys = np.array([hit.chunk.key for hit in hits], dtype=np.int64)
    known, rows = vectors(np.sort(keys))
    unit = np.zeros((len(hits), rows.shape[1]), dtype=np.float32)
    alive = np.isin(keys, known)
    unit[alive] = rows[np.searchsorted(known, keys[alive])]
    scores = np.array([hit.score for hit in hits])
    relevance = scores / max(float(scores.max()), 1e-12)
    likeness = np.full(len(hits), -1.0)
    taken: list[int] = []
    for _ in range(min(k, len(hits))):
        value = (1 - diversity) * relevance - diversity * np.maximum(likeness, 0.0)
        value[taken] = -np.inf
        place = int(np.argmax(value))
        taken.append(place)
        likeness = np.maximum(likeness, unit @ unit[place])
    return taken
