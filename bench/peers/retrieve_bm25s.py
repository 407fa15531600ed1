"""BM25 alone, as the published baselines of BEIR set it up: bm25s with Lucene's formula, k1 = 0.9, b = 0.4.

Stop words and stemmer are Snowball's for the passages' language, where there are. ``rag.evaluate`` reading
this run as others published it (docs/evaluation.md) is a check of the harness, not of a system.
"""

from __future__ import annotations

from collections.abc import Callable

import bm25s
import Stemmer
from common import STEMMERS, Task, main

DEPTH = 1000
"""As deep as TREC's runs: mean average precision looks at all of them."""


def prepare(task: Task) -> Callable[[str], list[tuple[str, float]]]:
    spoken = task.language in STEMMERS
    stemmer = Stemmer.Stemmer(STEMMERS[task.language]) if spoken else None

    def words(texts: list[str]) -> list[list[str]]:
        return bm25s.tokenize(
            texts,
            stopwords=task.language if spoken else None,
            stemmer=stemmer,
            return_ids=False,
            show_progress=False,
        )

    index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    index.index(words(task.texts), show_progress=False)
    depth = min(DEPTH, len(task.ids))

    def search(question: str) -> list[tuple[str, float]]:
        places, scores = index.retrieve(words([question]), k=depth, show_progress=False)
        return [
            (task.ids[place], float(score))
            for place, score in zip(places[0], scores[0], strict=True)
            if score > 0
        ]

    return search


if __name__ == "__main__":
    main(prepare, embeds=False)
