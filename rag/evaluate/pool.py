"""What judges are shown: what several systems found, without a word of who found it, most telling first.

Pooling is TREC's way (Spärck Jones & van Rijsbergen 1975): nobody can grade everything, so the first so many
of each system are graded, and what none of them found counts as not relevant. Some items of a pool say more
than others about which system is better: those that the systems place furthest apart (Carterette, Allan &
Sitaraman 2006, "Minimal Test Collections for Retrieval Evaluation"). ``bench/pooling.py`` measures it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from rag.evaluate.run import Run

T = TypeVar("T", bound=Hashable)

CUTOFF = 10
"""The rank from which on a place counts nothing, as in nDCG@10."""
BATCH = 5
"""Items of a question that are graded one after the other: a judge who has understood a question should use
that, and a set of few items for each of many questions says more than one of many for few."""


def pool(runs: Sequence[Run], depth: int, *, seed: str = "") -> dict[str, list[str]]:
    """Query id -> the documents that at least one run has among its first ``depth``, in :func:`blind` order.

    >>> one, other = Run.of("a", {"q": [("d1", 2.0), ("d2", 1.0)]}), Run.of("b", {"q": [("d3", 9.0)]})
    >>> sorted(pool([one, other], 1)["q"])
    ['d1', 'd3']
    """
    queries = dict.fromkeys(query for run in runs for query in run.results)
    return {
        query: blind(
            pooled([[name for name, _ in run.results.get(query, ())] for run in runs], depth),
            seed=f"{seed}\n{query}",
        )
        for query in queries
    }


def pooled(rankings: Iterable[Sequence[T]], depth: int) -> list[T]:
    """What is among the first ``depth`` of at least one ranking of one question's results, each once."""
    return list(dict.fromkeys(item for ranking in rankings for item in ranking[:depth]))


def blind(items: Iterable[T], *, seed: str = "") -> list[T]:
    """The same in an order that depends on nothing but the items and the seed: not on who found them, nor on
    how many did, so that neither can be read off it, and another system's finds move none of the others.

    >>> blind(["d1", "d2", "d3"]) == blind(["d3", "d1", "d2"])
    True
    """
    return sorted(items, key=lambda item: hashlib.blake2b(f"{seed}\n{item!r}".encode()).digest())


def worth(rankings: Sequence[Sequence[T]], *, cutoff: int = CUTOFF) -> dict[T, float]:
    """How much a grade of each item can change of what the systems' DCG differ by.

    An item at rank r counts ``1 / log2(1 + r)`` for a system, nothing beyond ``cutoff``. Its worth is how far
    apart that is for two systems, summed over all pairs of them. What all place alike is worth nothing:
    whatever its grade, it changes no difference. (Weighing this by how high the systems place an item, for
    the chance that it is relevant, did no better where it was measured.)

    >>> {item: round(value, 2) for item, value in worth([["a", "b", "c"], ["a", "c", "b"]]).items()}
    {'a': 0.0, 'b': 0.13, 'c': 0.13}
    """
    gains: dict[T, list[float]] = {}
    for number, ranking in enumerate(rankings):
        for rank, item in enumerate(dict.fromkeys(ranking), 1):
            placed = gains.setdefault(item, [0.0] * len(rankings))
            placed[number] = 1 / math.log2(1 + rank) if rank <= cutoff else 0.0
    return {item: _apart(placed) for item, placed in gains.items()}


def most_telling(rankings: Sequence[Sequence[T]], depth: int, *, seed: str = "") -> list[T]:
    """The pool of one question, what is worth most first. Of what is worth the same (all that a single system
    found, say) what anybody placed highest comes first, and of equals there :func:`blind` order decides.

    >>> most_telling([["a", "b", "c"], ["a", "c", "b"]], 3)[-1], most_telling([["x", "y", "z"]], 2)
    ('a', ['x', 'y'])
    """
    value = worth(rankings)
    best: dict[T, int] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking):
            best[item] = min(rank, best.get(item, rank))
    return sorted(
        blind(pooled(rankings, depth), seed=seed), key=lambda item: (-round(value[item], 9), best[item])
    )


def _apart(placed: Sequence[float]) -> float:
    """The differences of all pairs, summed."""
    ordered = sorted(placed)
    return sum((2 * number - len(ordered) + 1) * value for number, value in enumerate(ordered))
