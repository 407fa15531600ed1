"""The seams: what ``rag`` and ``ingest`` ask of others, each one or two methods wide.

Nothing here inherits at run time: any object with these methods serves. The fakes that tests and
applications use stand in :mod:`rag.testing`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from rag.errors import ReasonCode
from rag.filters import Where
from rag.types import Candidates, Chunk, Document, EmbedderInfo, Keys, Vectors

Offsets: TypeAlias = npt.NDArray[np.int32]
"""Shape (n, 2): start and end, in characters, of each token of a text, special tokens left out."""


class Tokenizer(Protocol):
    """Counts as the model counts."""

    def offsets(self, text: str) -> Offsets:
        """The character span of every token of ``text``, in order, without truncation."""


class Embedder(Protocol):
    """Texts in, unit vectors out."""

    @property
    def info(self) -> EmbedderInfo:
        """Known without loading the model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own, loaded without the model."""

    def embed(self, texts: Sequence[str], *, input_type: Literal["query", "document"]) -> Vectors:
        """Shape (len(texts), info.dim). The same text gives the same vector, whatever stands beside it,
        up to the rounding of the arithmetic. Raises EmbedderError."""


class TokenEmbedder(Embedder, Protocol):
    """An embedder with ``info.tokens``: it shows what it makes of each token, in the same pass."""

    def embed_coded(self, texts: Sequence[str]) -> tuple[Vectors, list[bytes]]:
        """The vectors of documents, and the codes of each one's tokens (:mod:`rag.token_codes`). Raises
        EmbedderError."""

    def embed_question(self, text: str) -> tuple[Vectors, Vectors]:
        """The vector of a question, shape (dim,), and those of its tokens, rotated as codes are, shape
        (tokens, dim). Raises EmbedderError."""


class Collection(Protocol):
    """A collection as the retriever sees it, or several searched as one: candidates are ranked by key, only
    the chosen are read. Keys are unique over all of them."""

    @property
    def generations(self) -> Mapping[str, str]:
        """By collection the index that answers now, for the receipt; "" where none was published."""

    def snapshot(self) -> AbstractContextManager[Collection]:
        """As it is now, for as long as the block lasts, whatever is committed meanwhile; for one thread."""

    def rank(
        self, *, vector: Vectors | None, vector_k: int, text: str, text_k: int, where: Where
    ) -> Candidates:
        """As of one moment: the ``vector_k`` live chunks with the highest cosine to ``vector`` (shape
        (dim,); None asks for none) and the ``text_k`` with the highest BM25 score for the words of
        ``text`` ("" asks for none; only those that match), equal scores by key; all with both scores."""

    def weigh(self, keys: Keys, *, vector: Vectors | None, text: str) -> Candidates:
        """The same scores for these chunks, whatever their rank; those that are not alive are left out."""

    def named(self, names: Sequence[str], *, where: Where) -> Mapping[str, Keys]:
        """The live chunks of the documents whose title is one of ``names``, by the name, in document order.
        Names are written as :func:`rag.retrieve.links.name_of` does; those no document has are left out."""

    def vectors(self, keys: Keys) -> tuple[Keys, Vectors]:
        """Of these chunks those that are alive, rising, and their vectors, shape (n, dim)."""

    def tokens(self, keys: Keys) -> Mapping[int, bytes]:
        """The codes of the token vectors (:mod:`rag.token_codes`) of those of these chunks that are alive;
        none where the embedder gives none."""

    def beside(self, keys: Keys) -> Mapping[int, Sequence[int]]:
        """By chunk the keys of the live chunks before and after it in its document; those that are alone in
        theirs, or not alive, are left out."""

    def read(self, keys: Sequence[int]) -> list[Chunk]:
        """The chunks of these keys, in this order; those that died meanwhile are left out."""


class Reranker(Protocol):
    """Scores pairs of question and passage."""

    def score(self, question: str, passages: Sequence[str], *, seconds: float) -> Sequence[float]:
        """Scores of the first passages, as many as can be had in about ``seconds``, one at least.

        Higher is better; the scores of one call are comparable with each other. Raises RagError.
        """


@dataclass(frozen=True, slots=True)
class Message:
    """One message to a chat model."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatModel(Protocol):
    """An LLM."""

    @property
    def name(self) -> str: ...

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer, piece by piece. Raises ModelError."""


# --- what an ingest job asks of storage -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One file or URL as it was last taken in. ``sha256`` is of its bytes, "" where they could not be read.

    ``parser`` is the fingerprint of the parser and its options. ``reason`` is "" when all was well,
    else a :data:`rag.errors.ReasonCode`, and ``detail`` the message that went with it.
    """

    uri: str
    sha256: str
    parser: str
    reason: ReasonCode | Literal[""] = field(default="", kw_only=True)
    detail: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Space:
    """How a collection is cut and embedded: one chunker, one embedder. Law 2: never mixed.

    ``chunker`` is the chunker's fingerprint: settings, tokenizer and token limit included.
    """

    chunker: str
    embedder: EmbedderInfo


@dataclass(frozen=True, slots=True)
class PutItem:
    """Record (insert or replace) what became of an item."""

    item: Item


@dataclass(frozen=True, slots=True)
class PutDocument:
    """The whole new version of a document, in place of the old one if there is one.

    ``chunks`` are its cuts in the writer's space, in document order.
    """

    item_uri: str
    document: Document
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class RemoveDocument:
    """Forget a document and its chunks."""

    document_id: str


@dataclass(frozen=True, slots=True)
class RemoveItem:
    """Forget an item and every document that came from it."""

    uri: str


@dataclass(frozen=True, slots=True)
class PutChunks:
    """The cuts of a stored, unchanged document in the space being built (a re-chunk or re-embedding)."""

    document: Document
    chunks: Sequence[Chunk]


Change: TypeAlias = PutItem | PutDocument | RemoveDocument | RemoveItem | PutChunks


class Ledger(Protocol):
    """What a collection already holds: enough to decide what a job has to do. Reads only."""

    @property
    def space(self) -> Space | None:
        """The space that answers now; None for a collection that does not exist or is empty."""

    def items(self, prefix: str = "") -> Mapping[str, Item]:
        """The items whose URI starts with ``prefix``, by URI."""

    def digests(self, item_uri: str) -> Mapping[str, str]:
        """Document id to document digest, for the documents that came from one item."""

    def missing(self, hashes: Sequence[bytes], *, fingerprint: str) -> set[bytes]:
        """Of these text hashes, those without a stored vector of that embedder, in any collection."""

    def unmoved(self, space: Space) -> Iterator[Document]:
        """The stored documents that have no chunks in ``space`` yet, one at a time."""


class Writer(Ledger, Protocol):
    """The one writer of a collection, while it holds the lock."""

    def commit(
        self,
        changes: Sequence[Change],
        *,
        hashes: Sequence[bytes],
        vectors: Vectors,
        tokens: Sequence[bytes] = (),
    ) -> None:
        """The only commit point: all of it is durable when this returns, or none of it happened.

        ``vectors[i]`` embeds the text with ``hashes[i]``, and ``tokens[i]`` codes its tokens where the
        space's embedder does so; every chunk's ``embedded_text`` must have its vector here or stored
        before. Raises StorageError; EmbedderMismatch on another dimension.
        """

    def activate(self) -> None:
        """Make the writer's space the one that answers. Raises StorageError while a document is unmoved."""

    def publish(self) -> None:
        """Build, verify and publish a generation of indexes, if there is anything new for one."""
