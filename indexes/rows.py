"""Rows of the catalogue to values of rag's types, and back."""

from __future__ import annotations

import json
import sqlite3
from functools import lru_cache

from rag.filters import text_of
from rag.protocols import Space
from rag.types import Chunk, Document, EmbedderInfo, Metadata, MetadataValue, Page

_ENCODER = json.JSONEncoder(separators=(",", ":"))

SPACE = (
    "SELECT s.chunker, e.name, e.fingerprint, e.dim, e.max_tokens, e.tokens "
    "FROM spaces s JOIN embedders e ON e.id = s.embedder_id"
)
DOCUMENT = "SELECT d.id, d.title, d.uri, d.metadata, d.pages, d.text FROM documents d"
CHUNK = (
    'SELECT c.key, d.id, c.text, c.start, c."end", c.heading, c.page, c.breadcrumb, '
    "d.title, d.uri, d.metadata, l.name "
    "FROM chunks c JOIN documents d ON d.key = c.document_key JOIN collections l ON l.id = d.collection_id"
)


def space_of(row: sqlite3.Row | tuple[str, str, str, int, int, int]) -> Space:
    """The space in a row of SPACE."""
    chunker, name, fingerprint, dim, max_tokens, tokens = row
    return Space(chunker, EmbedderInfo(name, fingerprint, dim, max_tokens, bool(tokens)))


def document_of(row: tuple[str, str, str, str, str, str]) -> Document:
    """The document in a row of DOCUMENT."""
    id, title, uri, metadata, pages, text = row
    return Document(
        id,
        text,
        title=title,
        uri=uri,
        metadata=metadata_of(metadata),
        pages=tuple(Page(start, label) for start, label in json.loads(pages)),
    )


def chunk_of(row: tuple[int, str, str, int, int, str, str, str, str, str, str, str]) -> Chunk:
    """The chunk in a row of CHUNK."""
    key, document_id, text, start, end, heading, page, breadcrumb, title, uri, metadata, collection = row
    return Chunk(
        document_id,
        text,
        start,
        end,
        heading=_heading(heading),
        page=page,
        breadcrumb=breadcrumb,
        title=title,
        uri=uri,
        metadata=metadata_of(metadata),
        collection=collection,
        key=key,
    )


def json_of(value: object) -> str:
    """Compact JSON, ASCII only: a lone surrogate in a value does not stop a commit."""
    return _ENCODER.encode(value)


def metadata_of(text: str) -> Metadata:
    """The metadata in its JSON text; a list comes back as the tuple that it was.

    >>> metadata_of('{"tags":["a","b"],"year":2026}')
    {'tags': ('a', 'b'), 'year': 2026}
    """
    return dict(_metadata_items(text))


def filter_values(metadata: Metadata) -> list[tuple[str, str]]:
    """What filters compare with: each (name, value), one for each element of a list.

    >>> filter_values({"year": 2026, "tags": ("a", "b", "a"), "draft": False})
    [('year', '2026'), ('tags', 'a'), ('tags', 'b'), ('draft', 'false')]
    """
    pairs = ((name, text_of(one)) for name, value in metadata.items() for one in _elements(value))
    return list(dict.fromkeys(pairs))


# Hits of one document, or of one section, repeat these texts: reading each of them anew would be half
# the cost of a long list of hits.
@lru_cache(maxsize=4096)
def _metadata_items(text: str) -> tuple[tuple[str, MetadataValue], ...]:
    found = json.loads(text)
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in found.items())


@lru_cache(maxsize=4096)
def _heading(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _elements(value: MetadataValue) -> tuple[MetadataValue, ...]:
    return value if isinstance(value, tuple) else (value,)
