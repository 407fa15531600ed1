"""What answers a question: collections, retriever and pipeline, as the settings, a prompt or a call say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from api.calibration import calibration_of
from api.embedders import Embedders
from api.prompts.examples import ExampleSets
from api.prompts.library import find
from api.rerankers import Rerankers
from api.sections import Collections
from rag.answer import Pipeline
from rag.errors import InvalidSetting
from rag.prompts import PromptTemplate
from rag.protocols import ChatModel, Embedder
from rag.retrieve import Mode, Retriever
from rag.retrieve.rewrite import Rewriter, Way
from rag.types import Chunk

if TYPE_CHECKING:
    from api.parts import Parts
    from indexes.collection import SqliteCollection


class Asking:
    """Puts together what one search or one answer needs. Safe in any thread."""

    def __init__(self, parts: Parts, embedders: Embedders) -> None:
        self._parts = parts
        self._embedders = embedders
        self._rerankers = Rerankers()
        self._examples = ExampleSets(parts)

    def retriever(
        self,
        collection: Collections,
        *,
        mode: str | None = None,
        reranker: str | None = None,
        wanted: Mapping[str, Any] | None = None,
    ) -> tuple[SqliteCollection, Retriever]:
        """The collections of a search, and what searches them: as set, but for the fields of the retrieval's
        settings that a prompt has ``wanted``, and these but for ``mode`` and ``reranker``.

        Raises UnknownCollection, EmbedderMismatch, InvalidSetting, ModelNotFound.
        """
        names = self._parts.settings.named(collection)
        found, retriever, _ = self._searching(names, mode=mode, reranker=reranker, wanted=wanted)
        return found, retriever

    def _searching(
        self,
        names: Sequence[str],
        *,
        mode: str | None = None,
        reranker: str | None = None,
        wanted: Mapping[str, Any] | None = None,
    ) -> tuple[SqliteCollection, Retriever, Embedder]:
        """Collections by name, what searches them, and what embeds the sentences of what is found."""
        parts = self._parts
        settings = replace(parts.settings.retrieval.retrieval_settings(), **(wanted or {}))
        if mode is not None:
            settings = replace(settings, mode=cast("Mode", mode))
        if reranker is not None:
            settings = replace(settings, reranker=reranker)
        catalogue = parts.catalogue()
        embedder = self._embedders.answering(catalogue, names)
        reader, weight = self._rerankers.of(settings.reranker, embedder)
        retriever = Retriever(
            embedder,
            settings=settings,
            rewriter=self._rewriter(settings.rewrite, settings.mode),
            reranker=reader,
            rerank_weight=weight,
        )
        sentences = self._embedders.remembering(catalogue, names)
        return catalogue.collection(*names, embedder=embedder.info), retriever, sentences

    def pipeline(
        self,
        collection: Collections,
        template: PromptTemplate,
        *,
        chat: ChatModel | None,
        mode: str | None = None,
        reranker: str | None = None,
    ) -> tuple[SqliteCollection | None, Pipeline]:
        """The collections of an answer, those of the call before those of the prompt, and what answers from
        them; None and no retriever for a prompt that takes no context: nothing need be there to be searched.
        Raises as :meth:`retriever`."""
        parts = self._parts
        found: SqliteCollection | None = None
        retriever: Retriever | None = None
        embedder: Embedder | None = None
        if "context" in template.names:
            names = parts.settings.named(collection or template.collections)
            found, retriever, embedder = self._searching(
                names, mode=mode, reranker=reranker, wanted=template.retrieval
            )
        pipeline = Pipeline(
            retriever,
            chat=chat,
            embedder=embedder,
            prompts=self._prompt,
            count_tokens=parts.count_tokens,
            budget=parts.settings.context.max_tokens,
            read=self.read,
            examples=self._examples,
            calibration=lambda asked: calibration_of(parts.catalogue(), *asked.generations),
            answered=parts.settings.answer.answered,
            ask_anyway=parts.settings.answer.ask_anyway,
        )
        return found, pipeline

    def _rewriter(self, way: str, mode: Mode) -> Rewriter | None:
        if way == "none" or (way, mode) == ("hyde", "lexical"):  # a passage is not searched by its words
            return None
        chat = self._parts.chat
        if chat is None:
            raise InvalidSetting(
                f'the prompt asks for rewrite = "{way}", which needs a language model: name one in [llm] '
                "model or RAG_LLM"
            )
        return Rewriter(chat, way=cast("Way", way), prompts=self._prompt)

    def _prompt(self, reference: str) -> PromptTemplate:
        return find(self._parts, reference).template

    def read(self, chunk: Chunk, start: int, end: int) -> str:
        """What stands there in the chunk's document."""
        return self._parts.catalogue().document(chunk.collection, chunk.document_id).text[start:end]
