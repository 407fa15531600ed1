"""txtai, hybrid: BM25 and dense vectors in one index, https://neuml.github.io/txtai/embeddings/configuration/

``hybrid=True`` is all that its documentation asks for; the vectors come through its ``external`` method.
Its keyword index cuts words at Unicode's word boundaries and has no option for a language.
"""

from __future__ import annotations

from collections.abc import Callable

from common import DEPTH, Task, main
from txtai import Embeddings


def prepare(task: Task) -> Callable[[str], list[tuple[str, float]]]:
    def transform(texts: list[str]) -> object:
        return task.embed(texts)

    embeddings = Embeddings(method="external", transform=transform, hybrid=True)
    embeddings.index(zip(task.ids, task.texts, strict=True))

    def search(question: str) -> list[tuple[str, float]]:
        return embeddings.search(question, DEPTH)

    return search


if __name__ == "__main__":
    main(prepare)
