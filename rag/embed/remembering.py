"""An embedder that remembers what it embedded last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, cast

import numpy as np

from rag.protocols import Embedder, TokenEmbedder, Tokenizer
from rag.types import EmbedderInfo, Vectors

MOST = 16_384
"""Texts remembered: of 384 numbers each they take 25 MB, and some more for the texts."""


class RememberingEmbedder:
    """For what embeds the same texts again and again: how sure an answer is, and what is quoted, is told by
    the sentences of the best passages, and many questions have the same best passages.

    The last ``most`` texts are remembered. Safe in any thread.

    >>> from rag.testing import HashEmbedder
    >>> remembering = RememberingEmbedder(HashEmbedder())
    >>> first = remembering.embed(["tea", "bread"], input_type="document")
    >>> bool((remembering.embed(["bread"], input_type="document")[0] == first[1]).all())
    True
    """

    def __init__(self, embedder: Embedder, *, most: int = MOST) -> None:
        self._embedder = embedder
        self._most = most
        self._known: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def info(self) -> EmbedderInfo:
        return self._embedder.info

    @property
    def tokenizer(self) -> Tokenizer:
        return self._embedder.tokenizer

    def embed_coded(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        """As the embedder's own, if it shows tokens; nothing of it is remembered."""
        return cast("TokenEmbedder", self._embedder).embed_coded(texts)

    def embed_question(self, text: str) -> tuple[Vectors, Vectors]:
        """As the embedder's own, if it shows tokens; nothing of it is remembered."""
        return cast("TokenEmbedder", self._embedder).embed_question(text)

    def embed(self, texts: Sequence[str], *, input_type: Literal["query", "document"]) -> Vectors:
        """As the embedder's own; texts that it remembers are not embedded again."""
        found: dict[str, Vectors] = {}
        with self._lock:
            for text in texts:
                if (row := self._known.get((input_type, text))) is not None:
                    self._known.move_to_end((input_type, text))
                    found[text] = row
        if missing := list(dict.fromkeys(text for text in texts if text not in found)):
            rows = self._embedder.embed(missing, input_type=input_type)
            found |= dict(zip(missing, rows, strict=True))
            with self._lock:
                for text in missing:
                    # A row of its own: a view would keep the whole batch.
                    self._known[input_type, text] = found[text].copy()
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        if not texts:
            return np.zeros((0, self.info.dim), np.float32)
        return np.stack([found[text] for text in texts])
