"""The wiring: every concrete choice on one page.

What the settings name is made here when it is first asked for, and kept: databases, embedder, chunker, LLM.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Self

from api.embedders import Embedders
from api.settings import Settings
from indexes.catalogue import Catalogue
from ingest.chunk import Chunker
from rag.embed import SentenceTransformerEmbedder
from rag.embed.remembering import RememberingEmbedder
from rag.errors import InvalidSetting
from rag.protocols import ChatModel, Space
from rag.tokens import TokenCounter, token_counter

if TYPE_CHECKING:
    from indexes.evaluations.store import EvaluationStore
    from indexes.library.store import PromptLibrary


class Parts:
    """What the services are put together from, as the settings say. Safe in any thread; close it, or use it
    as a context manager.

    Raises InvalidSetting for settings that contradict each other.
    """

    def __init__(self, settings: Settings) -> None:
        if (way := settings.retrieval.rewrite) != "none" and not settings.llm.model:
            raise InvalidSetting(
                f'[retrieval] rewrite = "{way}" needs a language model: name one in [llm] model or RAG_LLM, '
                'or set rewrite = "none"'
            )
        self.settings = settings
        self._lock = threading.RLock()
        self._open: dict[str, Catalogue] = {}
        self._library: PromptLibrary | None = None
        self._embedders = Embedders(settings.embedder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for catalogue in self._open.values():
                catalogue.close()
            self._open.clear()
            if self._library is not None:
                self._library.close()
                self._library = None

    # --- the data folder ---------------------------------------------------------------------

    def catalogue(self, *, create: bool = False) -> Catalogue:
        """The data folder's catalogue. Raises NotFound where there is none and ``create`` is False."""
        with self._lock:
            found = self._open.get("catalogue")
            if found is None:
                token = self.settings.chroma_token
                index = self.settings.index.index_settings(token=token.get_secret_value() if token else "")
                found = Catalogue.open(self.settings.data, create=create, index=index)
                self._open["catalogue"] = found
            return found

    @property
    def exists(self) -> bool:
        """Whether anything was ever ingested into the data folder."""
        return (self.settings.data / "catalogue.db").exists()

    def library(self, create: bool = False) -> PromptLibrary:
        """The data folder's prompt library. Raises NotFound where there is none and ``create`` is False."""
        from indexes.library.store import PromptLibrary

        with self._lock:
            if self._library is None:
                may = self.settings.prompts.self_approval
                self._library = PromptLibrary.open(self.settings.data, create=create, self_approval=may)
            return self._library

    @property
    def has_library(self) -> bool:
        """Whether a prompt was ever pushed into the data folder."""
        return (self.settings.data / "library.db").exists()

    def evaluations(self, create: bool = False) -> EvaluationStore:
        """The data folder's judged sets and runs, to be closed after use. Raises NotFound where there are
        none and ``create`` is False."""
        from indexes.evaluations.store import EvaluationStore

        return EvaluationStore.open(self.settings.data, create=create)

    # --- models ------------------------------------------------------------------------------

    def embedder(self) -> SentenceTransformerEmbedder:
        """The embedder that the settings name."""
        return self._embedders.configured(self.catalogue(create=True))

    def answering_embedder(self, name: str | None = None) -> SentenceTransformerEmbedder:
        """The embedder whose vectors a collection holds (None: that in use). Raises UnknownCollection."""
        return self._embedders.answering(self.catalogue(), self.settings.named(name))

    def sentence_embedder(self, name: str | None = None) -> RememberingEmbedder:
        """The same for the sentences of passages, which it remembers. Raises UnknownCollection."""
        return self._embedders.remembering(self.catalogue(), self.settings.named(name))

    def chunker(self, embedder: SentenceTransformerEmbedder) -> Chunker:
        """The chunker that the settings describe, for what this embedder reads at a time."""
        section = self.settings.chunker
        return Chunker(
            embedder.tokenizer,
            max_tokens=embedder.info.max_tokens - embedder.prefix_tokens,
            target_tokens=section.target_tokens or None,
            overlap_tokens=section.overlap_tokens,
            tokenizer_name=embedder.info.name,
        )

    def space(self) -> Space:
        """How the settings have documents cut and embedded."""
        embedder = self.embedder()
        return Space(self.chunker(embedder).fingerprint, embedder.info)

    @cached_property
    def count_tokens(self) -> TokenCounter:
        """Counts as the tokenizer of the settings does. Raises InvalidSetting where it cannot be read."""
        try:
            return token_counter(self.settings.llm.tokenizer)
        except InvalidSetting as error:
            raise InvalidSetting(f"[llm] {error}") from error

    @cached_property
    def chat(self) -> ChatModel | None:
        """The LLM that the settings name; None for extractive answers."""
        section = self.settings.llm
        if not section.model:
            return None
        from rag.llm import chat_model

        key = self.settings.llm_api_key
        return chat_model(
            section.model,
            base_url=section.base_url or None,
            api_key=key.get_secret_value() if key else None,
            timeout=section.timeout_s,
            options={"temperature": section.temperature, "max_tokens": section.max_tokens},
        )
