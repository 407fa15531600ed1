"""Haystack: BM25 and embedding retrievers over the in-memory store, joined by reciprocal rank fusion.

As https://haystack.deepset.ai/tutorials/33_hybrid_retrieval sets it up, with the DocumentJoiner in place
of its ranking model. Its BM25 has no option for a language.
"""

from __future__ import annotations

from collections.abc import Callable

from common import DEPTH, Task, main
from haystack import Document, Pipeline, component
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore


def prepare(task: Task) -> Callable[[str], list[tuple[str, float]]]:
    @component
    class Known:
        """The model's vectors, as a text embedder of one's own."""

        @component.output_types(embedding=list[float])
        def run(self, text: str) -> dict[str, list[float]]:
            return {"embedding": task.embed([text])[0].tolist()}

    store = InMemoryDocumentStore()
    store.write_documents(
        [
            Document(id=id, content=text, embedding=vector.tolist())
            for id, text, vector in zip(task.ids, task.texts, task.embed(task.texts), strict=True)
        ]
    )
    pipeline = Pipeline()
    pipeline.add_component("text_embedder", Known())
    pipeline.add_component("embedding_retriever", InMemoryEmbeddingRetriever(store, top_k=DEPTH))
    pipeline.add_component("bm25_retriever", InMemoryBM25Retriever(store, top_k=DEPTH))
    pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=DEPTH))
    pipeline.connect("text_embedder", "embedding_retriever")
    pipeline.connect("bm25_retriever", "joiner")
    pipeline.connect("embedding_retriever", "joiner")

    def search(question: str) -> list[tuple[str, float]]:
        found = pipeline.run({"text_embedder": {"text": question}, "bm25_retriever": {"query": question}})
        return [(document.id, document.score) for document in found["joiner"]["documents"]]

    return search


if __name__ == "__main__":
    main(prepare)
