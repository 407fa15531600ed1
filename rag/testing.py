"""Fakes that honour the seams, for the tests of promptwell and of the applications that use it.

They are real, small implementations (no model, no network, the same result on every machine),
not mocks: a HashEmbedder finds texts that share words.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from rag.filters import Where, of, passes
from rag.protocols import Embedder, Message, Offsets, PutDocument, TokenEmbedder, Writer
from rag.retrieve.links import name_of
from rag.token_codes import encode, rotation
from rag.types import Candidates, Chunk, Document, EmbedderInfo, Keys, Vectors, text_hash
from rag.words import folded

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
    another "model" with another fingerprint, to test what happens when the embedder changes. With ``tokens``
    it is a :class:`rag.protocols.TokenEmbedder`: a token is a word, its vector that of the word alone.

    >>> e = HashEmbedder(dim=64)
    >>> a, b, c = e.embed(["red apple", "green apple", "slow train"], input_type="document")
    >>> bool(a @ b > a @ c)
    True
    """

    def __init__(self, *, dim: int = 64, max_tokens: int = 64, seed: int = 0, tokens: bool = False) -> None:
        fingerprint = f"hash-{seed}-{dim}-{max_tokens}" + "-tokens" * tokens
        self.info = EmbedderInfo("hash", fingerprint, dim, max_tokens, tokens)
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

    def embed_coded(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        vectors = self.embed(texts, input_type="document")
        return vectors, [encode(self._tokens(text)) for text in texts]

    def embed_question(self, text: str) -> tuple[Vectors, Vectors]:
        return self.embed([text], input_type="query")[0], self._tokens(text)

    def _tokens(self, text: str) -> Vectors:
        words = _WORD.findall(text.casefold())[: self.info.max_tokens - 2]
        tokens = np.zeros((len(words), self.info.dim), dtype=np.float32)
        for row, word in enumerate(words):
            column, sign = _slot(word, self.info.fingerprint, self.info.dim)
            tokens[row, column] = sign
        rotated: Vectors = tokens @ rotation(self.info.dim)
        return rotated


def put_texts(
    writer: Writer, texts: Mapping[str, str], vectors: Vectors, *, tokens: Sequence[bytes] = ()
) -> None:
    """Commit documents of one chunk each, by id; ``vectors``, shape (n, dim), and ``tokens``, their codes
    where the embedder gives them, in the same order."""
    documents = [Document(id, text) for id, text in texts.items()]
    changes = [PutDocument(d.id, d, [Chunk(d.id, d.text, 0, len(d.text))]) for d in documents]
    hashes = [text_hash(document.text) for document in documents]
    writer.commit(changes, hashes=hashes, vectors=vectors, tokens=tokens)


@lru_cache(maxsize=100_000)
def _slot(word: str, fingerprint: str, dim: int) -> tuple[int, float]:
    digest = hashlib.blake2b(word.encode("utf-8"), key=fingerprint.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest[:4], "little") % dim, 1.0 if digest[4] & 1 else -1.0


class MemoryCollection:
    """A handful of chunks, ranked by exact cosines and plain BM25 with k1 1.2, b 0.75.

    Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond". Keys are
    given from 1 on. ``asked`` remembers how many candidates each search wanted of each leg.

    >>> texts = {"tea": "boil the water", "train": "leaves at noon"}
    >>> chunks = [Chunk(name, text, 0, len(text)) for name, text in texts.items()]
    >>> shelf = MemoryCollection(chunks, HashEmbedder())
    >>> found = shelf.rank(vector=None, vector_k=1, text="boiled? boil!", text_k=5, where={})
    >>> [chunk.document_id for chunk in shelf.read(found.keys.tolist())]
    ['tea']
    """

    def __init__(self, chunks: Iterable[Chunk], embedder: Embedder) -> None:
        self.asked: list[tuple[int, int]] = []
        self.chunks = {key: replace(chunk, key=key) for key, chunk in enumerate(chunks, 1)}
        passages = [chunk.embedded_text for chunk in self.chunks.values()]
        self._codes: list[bytes] = []
        if embedder.info.tokens:
            self._vectors, self._codes = cast("TokenEmbedder", embedder).embed_coded(passages)
        else:
            self._vectors = embedder.embed(passages, input_type="document")
        self._words = [_folded(chunk.text) for chunk in self.chunks.values()]

    @property
    def generations(self) -> dict[str, str]:
        return dict.fromkeys(sorted({chunk.collection for chunk in self.chunks.values()}), "")

    @contextmanager
    def snapshot(self) -> Iterator[MemoryCollection]:
        yield self

    def rank(
        self, *, vector: Vectors | None, vector_k: int, text: str, text_k: int, where: Where
    ) -> Candidates:
        self.asked.append((vector_k, text_k))
        asked = of(where)
        passing = np.array(
            [key for key, chunk in self.chunks.items() if passes(asked, chunk.metadata)], dtype=np.int64
        )
        every = self.weigh(passing, vector=vector, text=text)
        offered = np.zeros(len(every), dtype=bool)
        if vector is not None:
            offered[np.lexsort((every.keys, -every.cosines))[:vector_k]] = True
        matching = np.lexsort((every.keys, -every.bm25))[:text_k]
        offered[matching[every.bm25[matching] > 0]] = True
        return every.at(offered)

    def weigh(self, keys: Keys, *, vector: Vectors | None, text: str) -> Candidates:
        known = np.array(sorted(key for key in keys.tolist() if key in self.chunks), dtype=np.int64)
        cosines = np.zeros(len(self.chunks), np.float32) if vector is None else self._vectors @ vector
        bm25, bound = self._bm25(text)
        told = vector is not None and len(cosines) > 0
        spread = (float(cosines.mean()), float(cosines.std())) if told else (0.0, 0.0)
        means = np.full(len(known), spread[0], np.float32)
        return Candidates(known, cosines[known - 1], bm25[known - 1], means, bound, *spread)

    def tokens(self, keys: Keys) -> dict[int, bytes]:
        return {key: self._codes[key - 1] for key in keys.tolist() if key in self.chunks and self._codes}

    def named(self, names: Sequence[str], *, where: Where) -> dict[str, Keys]:
        found: dict[str, list[int]] = {}
        asked = of(where)
        for key, chunk in self.chunks.items():
            if passes(asked, chunk.metadata):
                found.setdefault(name_of(chunk.title), []).append(key)
        return {name: np.array(found[name], dtype=np.int64) for name in names if name in found}

    def vectors(self, keys: Keys) -> tuple[Keys, Vectors]:
        known = np.array(sorted(key for key in keys.tolist() if key in self.chunks), dtype=np.int64)
        return known, self._vectors[known - 1]

    def beside(self, keys: Keys) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for key in keys.tolist():
            own = self.chunks[key].origin if key in self.chunks else None
            near = [n for n in (key - 1, key + 1) if n in self.chunks and self.chunks[n].origin == own]
            if near:
                found[key] = near
        return found

    def read(self, keys: Sequence[int]) -> list[Chunk]:
        return [self.chunks[key] for key in keys if key in self.chunks]

    def _bm25(self, text: str) -> tuple[npt.NDArray[np.float32], float]:
        """The scores of all chunks, and the bound of the question's."""
        mean = max(sum(map(len, self._words)), 1) / max(len(self._words), 1)
        scores = np.zeros(len(self._words), np.float32)
        bound = 0.0
        for word in set(_folded(text)):
            holding = sum(word in words for words in self._words)
            idf = math.log(1 + (len(self._words) - holding + 0.5) / (holding + 0.5))
            bound += idf * 2.2
            for place, words in enumerate(self._words):
                count = words.count(word)
                scores[place] += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / mean))
        return scores, bound


def _folded(text: str) -> list[str]:
    return folded(text)


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
