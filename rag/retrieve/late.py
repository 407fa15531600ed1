"""Late interaction: passages compared with the question token by token, with no model but the embedder.

ColBERT (Khattab and Zaharia 2020) keeps one vector a token and lets every token of the question look for
its best match in the passage (MaxSim). An embedder that was trained to pool its tokens has usable token
vectors too. A collection may keep them, coded (:mod:`rag.token_codes`): :func:`closer` ranks by those, in
some milliseconds. Where none are kept, :class:`LateInteraction` has the embedder make them for the few
passages of a pool, which takes as long as embedding those.

Which tokens of a question matter is read from the pool: a token counts by the square of how far its best
match stands above its average match, ``max - mean`` over the passages. One that every passage matches (a
function word, the subject of all of them) or none does says nothing. Nothing is counted or set for it: it
knows no language, no stop words and no collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np

from rag.retrieve.rerank import Scores, mixed
from rag.token_codes import best_matches
from rag.types import Vectors

WEIGHT = 0.5
"""The share of late interaction in the order of what it ranks; the rest is the fusion's."""


class ShowsTokens(Protocol):
    """An embedder that shows what it makes of each token, before pooling."""

    def token_vectors(self, text: str, *, input_type: Literal["query", "document"]) -> Vectors:
        """Shape (tokens, dim), unit rows; special tokens and prefixes left out. Raises EmbedderError."""


class LateInteraction:
    """MaxSim over the token vectors of an embedder, each token weighted by how well it tells passages apart.

    It takes about as long as embedding the passages. Any number of threads may call ``score``.
    """

    def __init__(self, embedder: ShowsTokens, *, clock: Callable[[], float] = time.monotonic) -> None:
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


class Met(NamedTuple):
    """How a passage meets a question token by token: the mean of the tokens' best cosines to its tokens,
    weighted by what each tells (``score``), and with all alike (``cosine``)."""

    score: float
    cosine: float


def closer(asked: Vectors, codes: Sequence[bytes], first: Scores) -> tuple[Scores, list[Met]]:
    """Passages whose tokens are coded, compared with the tokens of a question: their ``first`` scores, shape
    (passages,), mixed with those of late interaction on the mean and deviation of the first, and what came of
    comparing each.

    ``asked`` are the unit rows of the question's tokens, rotated as the codes are.
    """
    matches = best_matches(asked, codes)
    scores: Scores = (matches @ token_weights(matches)).astype(np.float64)
    met = [Met(*each) for each in zip(scores.tolist(), matches.mean(axis=1).tolist(), strict=True)]
    return first.mean() + first.std() * mixed(first, scores, weight=WEIGHT), met


def token_weights(matches: Vectors) -> Vectors:
    """How much each token of a question tells about a pool; they sum to 1. ``matches``: (passages, tokens).

    >>> matches = np.array([[0.9, 0.8, 0.2], [0.9, 0.2, 0.2], [0.9, 0.2, 0.2]], np.float32)
    >>> token_weights(matches).round(3).tolist()
    [0.0, 1.0, 0.0]

    Where nothing tells the passages apart, all count alike:

    >>> token_weights(np.array([[0.5, 0.1]], np.float32)).tolist()
    [0.5, 0.5]
    """
    above = np.maximum(matches.max(axis=0) - matches.mean(axis=0), 0) ** 2
    total = float(above.sum())
    if total < 1e-9:
        return np.full(matches.shape[1], 1 / max(matches.shape[1], 1), np.float32)
    weights: Vectors = (above / total).astype(np.float32)
    return weights
