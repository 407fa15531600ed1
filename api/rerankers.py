"""Which reranker reads the best hits once more: the one that the settings or a request name."""

from __future__ import annotations

import threading

from rag.embed import SentenceTransformerEmbedder
from rag.protocols import Reranker
from rag.retrieve.late import WEIGHT, LateInteraction
from rag.retrieve.rerank import CrossEncoderReranker

LATE = "late"
"""The reranker that needs no model of its own."""


class Rerankers:
    """Cross-encoders, each loaded once in a process. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, CrossEncoderReranker] = {}

    def of(self, name: str, embedder: SentenceTransformerEmbedder) -> tuple[Reranker | None, float]:
        """The reranker of a name ("": none) and its share in the order. Raises ModelNotFound."""
        if not name:
            return None, 0.0
        if name == LATE:
            return LateInteraction(embedder), WEIGHT
        with self._lock:
            if name not in self._made:
                self._made[name] = CrossEncoderReranker(name)
            return self._made[name], 1.0
