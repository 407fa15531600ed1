"""From two measures of evidence to one: how candidates are ranked.

Each leg says how much a passage has to do with the question on a scale that is the same for every
question, collection and embedder, so that the two can simply be added:

- meaning: how many standard deviations the cosine lies above the mean of the question's cosines to the
  whole collection, as far as it is in the passage's language. An embedder that keeps all its cosines
  between 0.7 and 0.9 and one that uses the whole range come out alike, and a question to which everything
  is alike (in a language that the embedder does not know, say) gives small numbers to all. The mean is by
  language because embedders find texts alike for being in one language: English questions whose answers
  stand in Spanish among as many English passages have nDCG@10 .691, with one mean for all .609; among
  eight times as many, .763 and .669.
- words: the BM25 score as a share of its bound, what the question could score at most. A question whose
  words the collection does not hold, such as an English one over Spanish documents, has a large bound
  and small shares; "the best of a bad lot" is not taken for good, as it is where scores are divided by
  the best one.

Measured on seven judged sets and two embedders beside reciprocal rank fusion (Cormack et al. 2009),
min-max and other convex combinations (Bruch et al. 2023, "An Analysis of Fusion Functions for Hybrid
Retrieval"), and cosines normalised by the candidates alone: docs/retrieval.md has the table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag.types import Candidates, Ranking, Vectors

Evidence = npt.NDArray[np.float64]

WORDS = 12.0
"""What a text that answers a question by its words wholly is worth, in standard deviations of meaning. From 8
to 14 the mean nDCG@10 over seven sets lies within .003 with multilingual-e5-small (.822 .823 .823 .821 at 8,
10, 12, 14) and rises with all-MiniLM-L6-v2 (.738 .741 .743 .746, two of its eight sets being in Spanish)."""
HALF = 6.0
"""Evidence, in standard deviations, that makes a score of one half."""


def meaning(candidates: Candidates) -> Evidence:
    """Shape (n,): cosines in standard deviations above the mean of their language; 0 where all are alike.

    >>> c = Candidates(
    ...     np.array([3, 7]), np.array([0.5, 0.2]), np.array([1.1, 4.4]), np.full(2, 0.2), 11.0, 0.2, 0.1)
    >>> meaning(c).round(2).tolist(), words(c).round(2).tolist()
    ([3.0, 0.0], [0.1, 0.4])
    """
    if candidates.deviation <= 0:
        return np.zeros(len(candidates))
    return (candidates.cosines.astype(np.float64) - candidates.means) / candidates.deviation


def words(candidates: Candidates) -> Evidence:
    """Shape (n,): BM25 as a share of the question's bound, 0 to 1."""
    if candidates.bound <= 0:
        return np.zeros(len(candidates))
    return candidates.bm25.astype(np.float64) / candidates.bound


def evidence(candidates: Candidates, *, vector_weight: float = 0.5) -> Evidence:
    """Shape (n,): meaning and words together; ``vector_weight`` is the share of the former, 0 to 1.

    >>> c = Candidates(
    ...     np.array([3, 7]), np.array([0.5, 0.2]), np.array([1.1, 4.4]), np.full(2, 0.2), 11.0, 0.2, 0.1)
    >>> evidence(c).round(2).tolist()
    [4.2, 4.8]
    """
    share = 2.0 * vector_weight
    return share * meaning(candidates) + (2.0 - share) * WORDS * words(candidates)


def weight_of(scores: Vectors) -> Evidence:
    """The evidence that :func:`ranked` made scores of; 0 where there was less than none.

    >>> weight_of(np.array([0.5, 0.0], np.float32)).tolist()
    [6.0, 0.0]
    """
    return -HALF * np.log2(1.0 - np.minimum(scores.astype(np.float64), 1 - 1e-9)) + 0.0


def ranked(candidates: Candidates, weight: Evidence) -> Ranking:
    """All candidates, best first, equal ones by key; scores of 0 to 1 from their evidence.

    >>> c = Candidates(np.array([3, 7]), np.array([0.5, 0.2]), np.zeros(2), np.full(2, 0.2), 0.0, 0.2, 0.1)
    >>> ranked(c, np.array([0.0, 6.0])).scores.tolist()
    [0.5, 0.0]
    """
    order = np.lexsort((candidates.keys, -weight))
    scores = 1.0 - np.exp2(-np.maximum(weight[order], 0.0) / HALF)
    return Ranking(candidates.keys[order], scores.astype(np.float32))
