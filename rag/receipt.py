"""What an answer was made of (law 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rag.types import Hit, text_hash


@dataclass(frozen=True, slots=True)
class UsedChunk:
    """A chunk that came into the context: ``sha256`` (hex) of its text, ``passage`` its citation's number."""

    key: int
    collection: str
    document_id: str
    start: int
    end: int
    sha256: str
    score: float
    passage: int

    @staticmethod
    def of(hit: Hit, *, passage: int) -> UsedChunk:
        """The record of one hit that came into the passage of this number."""
        chunk = hit.chunk
        digest = text_hash(chunk.text).hex()
        place = chunk.collection, chunk.document_id, chunk.start, chunk.end
        return UsedChunk(chunk.key, *place, digest, hit.score, passage)


@dataclass(frozen=True, slots=True)
class UsedExample:
    """A few-shot example that the prompt showed: its ``id`` in its set, ``sha256`` (hex) of what it says."""

    id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an answer was made of: enough to make it again, or to say what has changed since.

    ``prompt_variant`` is the pattern by which the model chose a variant of the prompt, "" for none.
    ``generations`` are the indexes that were searched, by collection ("": none was published yet); they,
    ``embedder``, ``retrieval`` and ``chunks`` are empty where the prompt takes no context. ``rewritten`` is
    what a model wrote to search with besides the question, ``not_rewritten`` why it wrote nothing, where it
    should have. ``examples`` are the prompt's few-shot examples in their order.
    """

    question: str
    prompt: str
    prompt_version: int
    prompt_digest: str
    where: Mapping[str, Any]
    context_budget: int
    context_tokens: int
    chunks: tuple[UsedChunk, ...]
    generations: Mapping[str, str] = field(default_factory=dict)
    embedder: str = ""
    retrieval: Mapping[str, Any] = field(default_factory=dict)
    model: str = "extractive"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    rewritten: tuple[str, ...] = ()
    not_rewritten: str = ""
    prompt_variant: str = ""
    examples: tuple[UsedExample, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return asdict(self)
