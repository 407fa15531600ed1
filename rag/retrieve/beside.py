"""What stands beside a passage speaks for it: the evidence of its neighbours in the document.

A passage is cut where it is for its length, and what it is about may stand before it or behind it: the party
that "it" is, the section's subject, the answer's second half. So each candidate gives up a share of its own
evidence for that of the better of the chunks before and after it. One that is alone in being like the
question sinks a little below those that stand in a stretch that is (compare Fernández, Losada and Azzopardi
2011, "Extending the language modeling framework for sentence retrieval to include local context").

The share was chosen by six sets of whole documents and two embedders; docs/retrieval.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rag.retrieve.fuse import Evidence
from rag.types import Keys


def with_neighbours(
    keys: Keys, weight: Evidence, beside: Mapping[int, Sequence[int]], *, share: float
) -> Evidence:
    """The evidence of the candidates ``keys`` (rising), a ``share`` of it (0 to 1) that of the better
    neighbour. Shapes (n,).

    ``beside`` has the one or two neighbours of a chunk. One that is no candidate counts as the least of them;
    at either end of its document a chunk gives up half the share, and alone in it nothing.

    >>> keys, weight, beside = np.array([3, 4, 9]), np.array([2.0, 8.0, 6.0]), {3: [4], 4: [3, 5]}
    >>> with_neighbours(keys, weight, beside, share=0.5).tolist()
    [3.5, 5.0, 6.0]
    """
    least = float(weight.min(initial=np.inf))
    known = dict(zip(keys.tolist(), weight.tolist(), strict=True))
    mixed = weight.copy()
    for place, key in enumerate(known):
        if neighbours := beside.get(key):
            better = max(known.get(each, least) for each in neighbours)
            mixed[place] += share * (better - known[key]) * (1.0 if len(neighbours) > 1 else 0.5)
    return mixed
