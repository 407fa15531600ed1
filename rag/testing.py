"""Fakes that honour the seams, for the tests of promptwell and of the applications that use it.

They are real, small implementations (no model, no network, the same result on every machine),
not mocks: a HashEmbedder finds texts that share words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from rag.protocols import Message, Offsets
from rag.types import EmbedderInfo, Vectors

_WORD = re.compile(r"\w+|[^\w\s]")


class WordTokenizer:
    """One token for each word and each punctuation mark.

    >>> WordTokenizer().offsets("Hola, tú").tolist()
    [[0, 4], [4, 5], [6, 8]]
    """

    def offsets(self, text: str) -> Offsets:
        spans = [match.span() for match in _WORD.finditer(text)]
        return np.array(spans, dtype=np.int32).reshape(-1, 2)


class HashEmbedder:
    """Feature hashing of lower-cased words to a unit vector: texts that share words are near.

    Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning". ``seed`` makes
    another "model" with another fingerprint, to test what happens when the embedder changes.

    >>> e = HashEmbedder(dim=64)
    >>> a, b, c = e.embed(["red apple", "green apple", "slow train"], input_type="document")
    >>> bool(a @ b > a @ c)
    True
    """

    def __init__(self, *, dim: int = 64, max_tokens: int = 64, seed: int = 0) -> None:
        fingerprint = f"hash-{seed}-{dim}-{max_tokens}"
        self.info = EmbedderInfo(name="hash", fingerprint=fingerprint, dim=dim, max_tokens=max_tokens)
        self.tokenizer = WordTokenizer()
        self.embedded: list[str] = []
        """Every text that was embedded as a document, in order: what a test counts."""

    def embed(self, texts: Sequence[str], *, input_type: Literal["query", "document"]) -> Vectors:
        if input_type == "document":
            self.embedded.extend(texts)
        vectors = np.zeros((len(texts), self.info.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            words = _WORD.findall(text.casefold())[: self.info.max_tokens - 2]
            for word in words or [""]:
                column, sign = _slot(word, self.info.fingerprint, self.info.dim)
                vectors[row, column] += sign
            if not vectors[row].any():  # the signs cancelled out
                vectors[row, 0] = 1.0
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


@lru_cache(maxsize=100_000)
def _slot(word: str, fingerprint: str, dim: int) -> tuple[int, float]:
    digest = hashlib.blake2b(word.encode("utf-8"), key=fingerprint.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest[:4], "little") % dim, 1.0 if digest[4] & 1 else -1.0


class EchoModel:
    """A chat model that answers with what it was asked, word by word, and remembers the messages.

    >>> "".join(EchoModel().stream([Message("user", "Hi there")]))
    'Hi there'
    """

    name = "echo"

    def __init__(self) -> None:
        self.calls: list[tuple[Message, ...]] = []

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        self.calls.append(tuple(messages))
        yield from re.findall(r"\s*\S+\s*$|\s*\S+", messages[-1].content)
