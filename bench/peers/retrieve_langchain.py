"""LangChain: EnsembleRetriever over BM25Retriever and FAISS, weights 0.5 and 0.5.

As the reference of EnsembleRetriever sets it up. BM25Retriever splits at white space by default, keeps
the case, and has no option for a language.
"""

from __future__ import annotations

from collections.abc import Callable

from common import DEPTH, Task, main
from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.retrievers import BM25Retriever
from langchain_community.vectorstores import FAISS
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings


def prepare(task: Task) -> Callable[[str], list[tuple[str, float]]]:
    class Known(Embeddings):
        """The model's vectors, through the interface for embeddings of one's own."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return task.embed(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return task.embed([text])[0].tolist()

    documents = [
        Document(page_content=text, metadata={"id": id})
        for id, text in zip(task.ids, task.texts, strict=True)
    ]
    bm25 = BM25Retriever.from_documents(documents)
    bm25.k = DEPTH
    vectors = FAISS.from_documents(documents, Known()).as_retriever(search_kwargs={"k": DEPTH})
    ensemble = EnsembleRetriever(retrievers=[bm25, vectors], weights=[0.5, 0.5], id_key="id")

    def search(question: str) -> list[tuple[str, float]]:
        found = ensemble.invoke(question)[:DEPTH]  # best first, and without scores
        return [(document.metadata["id"], -rank) for rank, document in enumerate(found)]

    return search


if __name__ == "__main__":
    main(prepare)
