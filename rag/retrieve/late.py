"""Late interaction: a reranker that needs no model but the embedder that is there.

ColBERT (Khattab and Zaharia 2020) keeps one vector a token and lets every token of the question look for
its best match in the passage (MaxSim). An embedder that was trained to pool its tokens has usable token
vectors too; they are made for the few passages of a pool, when they are asked for.

Which tokens of a question matter is read from the pool: a token counts by how far its best match stands
above its average match, ``max - mean`` over the passages. One that every passage matches (a function word,
the subject of all of them) or none does says nothing. Nothing is counted or set for it: it knows no
language, no stop words and no collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import numpy as np

from rag.types import Vectors

WEIGHT = 3 / 4
"""The share of this reranker in the final order, see :func:`rag.retrieve.rerank.rerank`. Over 12 pairs of
judged set and embedder nDCG@10 rises by 0.038 on the mean at 2/3, 0.039 at 3/4 and at 4/5, and 0.035 at 1.
It rises on every one of them up to 4/5 and falls on one at 1. Leaving each set out in turn chooses 4/5."""


class TokenEmbedder(Protocol):
    """An embedder that shows what it makes of each token, before pooling."""

    def token_vectors(self, text: str, *, input_type: Literal["query", "document"]) -> Vectors:
        """Shape (tokens, dim), unit rows; special tokens and prefixes left out. Raises EmbedderError."""


class LateInteraction:
    """MaxSim over the token vectors of an embedder, each token weighted by how well it tells passages apart.

    It takes about as long as embedding the passages. Any number of threads may call ``score``.
    """

    def __init__(self, embedder: TokenEmbedder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._embedder = embedder
        self._clock = clock

    def score(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        """Weighted means of cosines, from -1 to 1, of the first passages, as many as are read in ``seconds``.

        The weights come from these very passages: scores of two calls are not comparable. Raises
        EmbedderError.
        """
        if not passages:
            return []
        began = self._clock()
        asked = self._embedder.token_vectors(question, input_type="query")
        best: list[Vectors] = []
        for passage in passages:
            spent = self._clock() - began
            if best and spent + spent / len(best) > seconds:
                break
            found = self._embedder.token_vectors(passage, input_type="document")
            best.append((asked @ found.T).max(axis=1, initial=-1.0))
        matches = np.stack(best)
        scores: list[float] = (matches @ token_weights(matches)).tolist()
        return scores


def token_weights(matches: Vectors) -> Vectors:
    """How much each token of a question tells about a pool; they sum to 1. ``matches``: (passages, tokens).

    >>> matches = np.array([[0.9, 0.8, 0.2], [0.9, 0.2, 0.2], [0.9, 0.2, 0.2]], np.float32)
    >>> token_weights(matches).round(3).tolist()
    [0.0, 1.0, 0.0]

    Where nothing tells the passages apart, all count alike:

    >>> token_weights(np.array([[0.5, 0.1]], np.float32)).tolist()
    [0.5, 0.5]
    """
    above = np.maximum(matches.max(axis=0) - matches.mean(axis=0), 0)
    total = float(above.sum())
    if total < 1e-6:
        return np.full(matches.shape[1], 1 / max(matches.shape[1], 1), np.float32)
    weights: Vectors = (above / total).astype(np.float32)
    return weights
