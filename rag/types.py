"""The nouns of promptwell: frozen values that every other module speaks.

This module imports nothing of ours. Field terms are used as the field uses them; the two words
of our own are *digest* (what this content is) and *fingerprint* (what made these vectors or cuts).
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

MetadataValue: TypeAlias = str | int | float | bool | tuple[str, ...]
Metadata: TypeAlias = Mapping[str, MetadataValue]
"""What is known of a document besides its text. Flat; a list is a tuple of strings.

Keys with a fixed meaning: ``language`` (ISO 639-1), ``media_type``, ``author``, ``date`` (ISO 8601)."""

Vectors: TypeAlias = npt.NDArray[np.float32]
"""Shape (n, dim), float32, unit rows: a dot product is a cosine. A single vector has shape (dim,)."""

Keys: TypeAlias = npt.NDArray[np.int64]
"""Chunk keys, as the catalogue assigned them. -1 stands for "no result" in a padded row."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page starts in a document's text: ``start`` in characters, ``label`` as printed on it."""

    start: int
    label: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a knowledge base: Markdown-like text and what is known of it.

    ``id`` is unique in its collection and stays the same when the text changes. ``pages`` is
    empty for formats without pages, else ordered by ``start``.

    >>> a = Document("notes/a.md", "Hello.", title="A")
    >>> a.digest == Document("notes/a.md", "Hello.", title="A").digest
    True
    >>> a.digest == Document("notes/a.md", "Hello!", title="A").digest
    False
    """

    id: str
    text: str
    title: str = field(default="", kw_only=True)
    uri: str = field(default="", kw_only=True)
    metadata: Metadata = field(default_factory=dict, kw_only=True)
    pages: tuple[Page, ...] = field(default=(), kw_only=True)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that shapes what is stored: two equal digests, nothing to do."""
        about = [self.title, self.uri, dict(self.metadata), [[p.start, p.label] for p in self.pages]]
        header = json.dumps(about, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        hasher = hashlib.sha256(header.encode())
        hasher.update(b"\n")
        hasher.update(self.text.encode("utf-8"))
        return hasher.hexdigest()

    def page_at(self, offset: int) -> str:
        """The label of the page that the character at ``offset`` stands on; "" without pages."""
        label = ""
        for page in self.pages:
            if page.start > offset:
                break
            label = page.label
        return label


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document. Law: ``document.text[chunk.start:chunk.end] == chunk.text``.

    ``heading`` is the path of headings above the span, outermost first. ``breadcrumb`` is the one
    line put in front of the text when it is embedded and indexed (title and heading path, cut to
    fit). ``title``, ``uri`` and ``metadata`` are the document's. ``collection`` and ``key`` are given by
    the catalogue: "" and 0 before that; a key is never reused.

    >>> Chunk("d", "Boil it.", 0, 8, heading=("Tea",), breadcrumb="Kitchen > Tea").embedded_text
    'Kitchen > Tea\\nBoil it.'
    """

    document_id: str
    text: str
    start: int
    end: int
    heading: tuple[str, ...] = field(default=(), kw_only=True)
    page: str = field(default="", kw_only=True)
    breadcrumb: str = field(default="", kw_only=True)
    title: str = field(default="", kw_only=True)
    uri: str = field(default="", kw_only=True)
    metadata: Metadata = field(default_factory=dict, kw_only=True)
    collection: str = field(default="", kw_only=True)
    key: int = field(default=0, kw_only=True)

    @property
    def origin(self) -> tuple[str, str]:
        """Collection and document id: what names its document where several collections are searched."""
        return self.collection, self.document_id

    @property
    def embedded_text(self) -> str:
        """What the embedder and the lexical index read."""
        return f"{self.breadcrumb}\n{self.text}" if self.breadcrumb else self.text


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked result. Higher is better, whoever scored."""

    chunk: Chunk
    score: float


class Ranking(NamedTuple):
    """Ranked chunks not read yet: ``keys`` best first, ``scores`` beside them (both of shape (n,))."""

    keys: Keys
    scores: npt.NDArray[np.float32]


NO_RANKING = Ranking(np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may answer a question, each chunk with both of its scores, whichever leg offered it.

    ``keys``, ``cosines``, ``bm25`` and ``means`` have shape (n,), in the order of the keys; a BM25 of 0 means
    that the chunk holds none of the question's words. The rest makes scores comparable: ``bound`` is what a
    text would score by BM25 at most, ``mean`` and ``deviation`` are those of the question's cosines to *all*
    chunks of the collection, ``means`` those to the chunks in each candidate's own language. A leg that was
    not asked leaves zeros.
    """

    keys: Keys
    cosines: npt.NDArray[np.float32]
    bm25: npt.NDArray[np.float32]
    means: npt.NDArray[np.float32]
    bound: float
    mean: float
    deviation: float

    def __len__(self) -> int:
        return len(self.keys)

    def at(self, places: npt.NDArray[Any]) -> Candidates:
        """Those at these places: indices, or a mask of shape (n,)."""
        return replace(
            self,
            keys=self.keys[places],
            cosines=self.cosines[places],
            bm25=self.bm25[places],
            means=self.means[places],
        )


_NONE = np.empty(0, np.float32)
NO_CANDIDATES = Candidates(np.empty(0, np.int64), _NONE, _NONE, _NONE, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Query:
    """A question with its id, as an evaluation set names it; ``metadata`` is its language, its kind, …"""

    id: str
    text: str
    metadata: Metadata = field(default_factory=dict, kw_only=True, hash=False)


@dataclass(frozen=True, slots=True)
class EmbedderInfo:
    """What is known of an embedder without loading it.

    ``fingerprint`` changes whenever the vectors could: weights, pooling, prefixes, dimension,
    precision. ``max_tokens`` is what the model reads of one text, special tokens included. ``tokens``: it
    codes the vectors of a text's tokens too, to be kept beside that of the text.
    """

    name: str
    fingerprint: str
    dim: int
    max_tokens: int
    tokens: bool = False


def clean_text(text: str) -> str:
    """Text that every part downstream accepts: NFC, ``\\n`` line ends, no NUL, no lone surrogate.

    A lone surrogate fails a whole embedding batch and cannot be stored as UTF-8; NUL ends strings
    in C. Both become U+FFFD, so that nothing vanishes without a trace.

    >>> clean_text("a\\r\\nb\\x00c\\ud800")
    'a\\nb\\ufffdc\\ufffd'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _LONE_SURROGATE.sub("\ufffd", text))
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")


def text_digest(text: str) -> str:
    """SHA-256 (hex) of a file's text, whatever characters it holds."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def text_hash(text: str) -> bytes:
    """SHA-256 of a text (32 bytes): with an embedder's fingerprint, the address of its vector."""
    return hashlib.sha256(text.encode("utf-8")).digest()
