"""promptwell as a LlamaIndex retriever: anything that takes a ``BaseRetriever`` takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.schema import (
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ImportError as error:
    raise ImportError(f"{error}. Install it: pip install 'promptwell[llamaindex]'") from error

from api.adapters import Searching, metadata
from rag.filters import EVERYTHING, Where
from rag.retrieve import Mode
from rag.types import Hit

UNREAD = ("collection", "document", "uri", "start", "end", "score", "key")
"""Metadata that says nothing to a model: kept out of prompts and of texts to embed."""


class PromptwellRetriever(BaseRetriever):
    """The passages that answer a question, as LlamaIndex nodes, best first.

    ``collection`` (one, or several to search as one), ``k`` and ``mode`` are the settings' where they are
    None; ``where`` keeps documents whose metadata passes the filter. A node's id is the chunk's key, its
    source the document's id, its metadata :func:`api.adapters.metadata`. ``aretrieve`` searches in a worker
    thread. Raises what ``Services.search`` raises.

    >>> from rag.types import Chunk
    >>> class Shelf:
    ...     def search(self, question, *, collection, k, where, mode):
    ...         return [Hit(Chunk("tea.md", "Boil the water.", 0, 15, title="Tea", key=3), 0.9)][:k]
    >>> (found,) = PromptwellRetriever(Shelf(), k=4).retrieve("How do I make tea?")
    >>> found.node.node_id, found.text, found.score, found.node.ref_doc_id
    ('3', 'Boil the water.', 0.9, 'tea.md')
    """

    def __init__(
        self,
        services: Searching,
        *,
        collection: str | Sequence[str] | None = None,
        k: int | None = None,
        where: Where = EVERYTHING,
        mode: Mode | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self._services = services
        self._collection = collection
        self._k = k
        self._where = where
        self._mode = mode

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._services.search(
            query_bundle.query_str,
            collection=self._collection,
            k=self._k,
            where=self._where,
            mode=self._mode,
        )
        return [NodeWithScore(node=_node(hit), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(hit: Hit) -> TextNode:
    chunk = hit.chunk
    return TextNode(
        id_=str(chunk.key),
        text=chunk.text,
        start_char_idx=chunk.start,
        end_char_idx=chunk.end,
        metadata=metadata(hit),
        excluded_llm_metadata_keys=list(UNREAD),
        excluded_embed_metadata_keys=list(UNREAD),
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=chunk.document_id)},
    )
