"""LlamaIndex: QueryFusionRetriever over a vector index and BM25Retriever, reciprocal rank fusion.

As https://developers.llamaindex.ai/python/examples/retrievers/reciprocal_rerank_fusion/ sets it up, with
``num_queries=1``, which its documentation gives for no questions written by an LLM. BM25Retriever's
stemmer and stop words are those of the passages' language, where it has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import Stemmer
from common import DEPTH, STEMMERS, Task, main
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.retrievers.bm25 import BM25Retriever
from pydantic import PrivateAttr


class Known(BaseEmbedding):
    """The model's vectors, through the hook for an embedding of one's own."""

    _task: Task = PrivateAttr()

    def __init__(self, task: Task, **options: Any) -> None:
        super().__init__(**options)
        self._task = task

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._task.embed([text])[0].tolist()

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def prepare(task: Task) -> Callable[[str], list[tuple[str, float]]]:
    Settings.llm = MockLLM()  # none is asked; without one the retriever looks for a provider's key
    nodes = [TextNode(id_=id, text=text) for id, text in zip(task.ids, task.texts, strict=True)]
    index = VectorStoreIndex(nodes, embed_model=Known(task))
    spoken = (
        {"stemmer": Stemmer.Stemmer(STEMMERS[task.language]), "language": task.language}
        if task.language in STEMMERS
        else {}
    )
    bm25 = BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=DEPTH, **spoken)
    retriever = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=DEPTH), bm25],
        similarity_top_k=DEPTH,
        num_queries=1,
        mode="reciprocal_rerank",
        use_async=False,
    )

    def search(question: str) -> list[tuple[str, float]]:
        return [(found.node.node_id, found.score) for found in retriever.retrieve(question)]

    return search


if __name__ == "__main__":
    main(prepare)
