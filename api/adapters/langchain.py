"""promptwell as a LangChain retriever: anything that takes a ``BaseRetriever`` takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, SkipValidation

from api.adapters import Searching, metadata
from rag.filters import EVERYTHING, Where
from rag.retrieve import MAX_K, Mode

if TYPE_CHECKING:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun


class PromptwellRetriever(BaseRetriever):
    """The passages that answer a question, as LangChain documents, best first.

    ``collection`` (one, or several to search as one), ``k`` and ``mode`` are the settings' where they are
    None; ``where`` keeps documents whose metadata passes the filter. A document's ``id`` is the chunk's
    key, its metadata is :func:`api.adapters.metadata`. ``ainvoke`` searches in a worker thread, ``batch`` in
    several. Raises what ``Services.search`` raises.

    >>> from rag.types import Chunk, Hit
    >>> class Shelf:
    ...     def search(self, question, *, collection, k, where, mode):
    ...         return [Hit(Chunk("tea.md", "Boil the water.", 0, 15, title="Tea", key=3), 0.9)][:k]
    >>> (document,) = PromptwellRetriever(services=Shelf(), k=4).invoke("How do I make tea?")
    >>> document.id, document.page_content, document.metadata["title"]
    ('3', 'Boil the water.', 'Tea')
    """

    services: SkipValidation[Searching] = Field(exclude=True, repr=False)
    collection: str | list[str] | None = None
    k: int | None = Field(default=None, ge=1, le=MAX_K)
    where: SkipValidation[Where] = EVERYTHING
    mode: Mode | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        hits = self.services.search(
            query, collection=self.collection, k=self.k, where=self.where, mode=self.mode
        )
        return [
            Document(page_content=hit.chunk.text, metadata=metadata(hit), id=str(hit.chunk.key))
            for hit in hits
        ]
