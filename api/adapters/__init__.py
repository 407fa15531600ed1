"""promptwell as a retriever of other frameworks. Each module needs its framework and is imported by name."""

from __future__ import annotations

from typing import Any, Protocol

from api.sections import Collections
from rag.filters import Where
from rag.types import Hit


class Searching(Protocol):
    """What a retriever asks of the services: :class:`api.services.Services` has it."""

    def search(
        self,
        question: str,
        *,
        collection: Collections,
        k: int | None,
        where: Where,
        mode: str | None,
    ) -> list[Hit]: ...


def metadata(hit: Hit) -> dict[str, Any]:
    """What is known of a hit besides its text, flat, tuples as lists.

    The names below mean the same in every hit: where the document's own metadata has one of them too, its
    value gives way.

    >>> from rag.types import Chunk
    >>> own = {"language": "en", "end": "x"}
    >>> found = metadata(Hit(Chunk("tea.md", "Boil it.", 7, 15, key=3, metadata=own), 0.5))
    >>> found["language"], found["document"], found["start"], found["end"], found["key"]
    ('en', 'tea.md', 7, 15, 3)
    """
    chunk = hit.chunk
    own = {name: list(value) if isinstance(value, tuple) else value for name, value in chunk.metadata.items()}
    return own | {
        "collection": chunk.collection,
        "document": chunk.document_id,
        "uri": chunk.uri,
        "title": chunk.title,
        "heading": list(chunk.heading),
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "score": hit.score,
        "key": chunk.key,
    }
