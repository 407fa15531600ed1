"""A question as it is searched with: its text, what a model wrote for it, its vector, those of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from rag.protocols import Embedder, TokenEmbedder
from rag.retrieve.rewrite import Rewritten
from rag.types import Vectors


@dataclass(frozen=True, slots=True)
class Asked:
    """``vector`` (shape (dim,)) embeds the question and what was written for it, ``tokens`` (shape (tokens,
    dim)) are the question's own; None where they were not wanted."""

    question: str
    rewritten: Rewritten
    vector: Vectors | None = None
    tokens: Vectors | None = None

    @property
    def text(self) -> str:
        """The words to search with."""
        return "\n".join((self.question, *self.rewritten.queries))


def asked(embedder: Embedder, question: str, rewritten: Rewritten, *, tokens: bool) -> Asked:
    """The question embedded; with its tokens if they are wanted and the embedder shows them. Raises
    EmbedderError."""
    own: Vectors | None = None
    if tokens and embedder.info.tokens:
        vector, own = cast("TokenEmbedder", embedder).embed_question(question)
    else:
        vector = embedder.embed([question], input_type="query")[0]
    if rewritten.queries or rewritten.passages:
        queries = embedder.embed(rewritten.queries, input_type="query")
        passages = embedder.embed(rewritten.passages, input_type="document")
        vector = np.concatenate([vector[None], queries, passages]).mean(axis=0)
        vector /= max(np.linalg.norm(vector), np.float32(1e-6))
    return Asked(question, rewritten, vector, own)
