"""What goes over the wire: requests, checked; answers, with the names that the commands' --json uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from rag.confidence import Confidence
from rag.highlight import matches
from rag.retrieve import MAX_K, MAX_QUESTION, Mode, Trail
from rag.retrieve.explain import Standing, standing
from rag.types import Document, MetadataValue, clean_text

if TYPE_CHECKING:
    from indexes.catalogue import CollectionInfo
    from ingest.job import IngestReport
    from rag.answer import Answer
    from rag.context import Context, Passage
    from rag.types import Hit

Name = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]+$")]
Question = Annotated[str, StringConstraints(min_length=1, max_length=MAX_QUESTION)]
Short = Annotated[str, StringConstraints(max_length=10_000)]
Number = Annotated[float, Field(allow_inf_nan=False)]

Collections = Annotated[
    list[Name],
    Field(min_length=1, max_length=64),
    BeforeValidator(
        lambda given: [given] if isinstance(given, str) else given, json_schema_input_type=Name | list[Name]
    ),
]

COLLECTIONS = "One, or several of one embedder to search as one. Without it, the default collection."
WHERE = "Which documents, by their metadata: operators as in MongoDB and Chroma. Without it, all."
WHERE_EXAMPLE = {"language": "es", "$or": [{"year": {"$gte": 2020}}, {"tags": {"$in": ["a", "b"]}}]}


class Request(BaseModel):
    """A name that is not here is an error, not a wish that is silently not granted."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SearchRequest(Request):
    """Which passages answer a question?"""

    question: Question
    k: int | None = Field(default=None, ge=1, le=MAX_K, description="Passages; without it, as set.")
    collection: Collections | None = Field(default=None, description=COLLECTIONS)
    where: dict[str, Any] = Field(default_factory=dict, description=WHERE, examples=[WHERE_EXAMPLE])
    mode: Mode | None = Field(default=None, description="Without it, as set.")
    explain: bool = Field(default=False, description="Tell of each passage where it stood in each stage.")


class AskRequest(Request):
    """What is the answer to a question?"""

    question: Question
    k: int | None = Field(default=None, ge=1, le=MAX_K, description="Passages; without it, as set.")
    collection: Collections | None = Field(default=None, description=COLLECTIONS)
    where: dict[str, Any] = Field(default_factory=dict, description=WHERE, examples=[WHERE_EXAMPLE])
    prompt: Name | None = Field(default=None, description="A prompt of the library; without it, as set.")
    variables: dict[Name, Short] = Field(
        default_factory=dict, max_length=64, description="Values of the prompt's own variables."
    )
    stream: bool = Field(
        default=False, description="Server-sent events, as with the header Accept: text/event-stream."
    )


class FeedbackRequest(Request):
    """What is an answer worth?"""

    trace: Name = Field(description="The answer's `trace`.")
    score: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="0 wrong, 1 right, or between."
    )
    comment: Short = ""
    answer: Short = Field(default="", description="What it should have been.")
    author: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="", description="Who says so: a claim, nobody logs in."
    )


class FeedbackOut(BaseModel):
    """What was noted, as it is kept."""

    trace: str
    at: str
    score: float | None
    comment: str
    answer: str
    author: str


class DocumentIn(Request):
    """A text to keep. One with an id that is there already takes its place."""

    id: Name
    text: str
    title: Short = ""
    metadata: dict[Name, Short | bool | int | Number | list[Short]] = Field(
        default_factory=dict, max_length=256
    )

    def document(self) -> Document:
        """As the library keeps it: clean text, lists as tuples."""
        metadata: dict[str, MetadataValue] = {
            clean_text(key): tuple(map(clean_text, value)) if isinstance(value, list) else _clean(value)
            for key, value in self.metadata.items()
        }
        return Document(
            clean_text(self.id), clean_text(self.text), title=clean_text(self.title), metadata=metadata
        )


class IngestRequest(Request):
    """Texts to keep, as JSON. Files are sent as multipart/form-data instead."""

    documents: list[DocumentIn] = Field(min_length=1, max_length=10_000)
    collection: Name | None = Field(default=None, description="Without it, the default collection.")


class HitOut(BaseModel):
    """A ranked passage. ``start`` and ``end`` are characters of the document, ``matches`` of ``text``."""

    collection: str
    document: str
    uri: str
    title: str
    heading: list[str]
    page: str
    start: int
    end: int
    score: float
    key: int
    text: str
    matches: list[tuple[int, int]]
    metadata: dict[str, Any]
    standing: Standing | None = None

    @classmethod
    def of(cls, hit: Hit, matches: Iterable[tuple[int, int]], standing: Standing | None = None) -> HitOut:
        chunk = hit.chunk
        return cls(
            collection=chunk.collection,
            document=chunk.document_id,
            uri=chunk.uri,
            title=chunk.title,
            heading=list(chunk.heading),
            page=chunk.page,
            start=chunk.start,
            end=chunk.end,
            score=hit.score,
            key=chunk.key,
            text=chunk.text,
            matches=list(matches),
            metadata=dict(chunk.metadata),
            standing=standing,
        )


class SearchOut(BaseModel):
    """Best first."""

    query: str
    hits: list[HitOut]

    @classmethod
    def of(cls, trail: Trail, *, explain: bool) -> SearchOut:
        question = trail.question
        return cls(
            query=question,
            hits=[
                HitOut.of(
                    hit,
                    matches(question, hit.chunk.text),
                    standing(trail, hit.chunk.key) if explain else None,
                )
                for hit in trail.hits
            ],
        )


class PassageOut(BaseModel):
    """A passage of the context, as a citation names it."""

    number: int
    collection: str
    document: str
    uri: str
    title: str
    heading: list[str]
    page: str
    start: int
    end: int
    text: str

    @classmethod
    def of(cls, passage: Passage) -> PassageOut:
        return cls(
            number=passage.number,
            collection=passage.chunk.collection,
            document=passage.document_id,
            uri=passage.chunk.uri,
            title=passage.chunk.title,
            heading=list(passage.heading),
            page=passage.pages,
            start=passage.start,
            end=passage.end,
            text=passage.text,
        )


class ContextOut(BaseModel):
    """What the model answers from."""

    passages: list[PassageOut]
    tokens: int

    @classmethod
    def of(cls, context: Context) -> ContextOut:
        return cls(passages=[PassageOut.of(passage) for passage in context.passages], tokens=context.tokens)


class AnswerOut(BaseModel):
    """``citations`` are the passages that ``text`` names by number, ``unknown_citations`` numbers of none.

    ``found`` is False where the knowledge base does not answer; ``confidence`` is null for a collection
    that was not calibrated; ``receipt`` says what it was made of; ``trace`` names what was kept of it ("":
    nothing), for feedback.
    """

    text: str
    citations: list[PassageOut]
    unknown_citations: list[int]
    extractive: bool
    found: bool
    notice: str
    confidence: Confidence | None
    receipt: dict[str, Any]
    trace: str = ""

    @classmethod
    def of(cls, answer: Answer) -> AnswerOut:
        return cls(
            text=answer.text,
            citations=[PassageOut.of(citation.passage) for citation in answer.citations],
            unknown_citations=list(answer.unknown_citations),
            extractive=answer.extractive,
            found=answer.found,
            notice=answer.notice,
            confidence=answer.confidence,
            receipt=answer.receipt.as_json(),
            trace=answer.trace,
        )


class FailureOut(BaseModel):
    """A file or record that was not taken in, and why."""

    uri: str
    code: str
    detail: str


class IngestOut(BaseModel):
    """What an ingest did. ``documents_failed`` of them have their line in ``failures``; ``unindexed`` says
    why no index could be built of what was stored ("": nothing stood in the way)."""

    documents_added: int
    documents_updated: int
    documents_unchanged: int
    documents_removed: int
    documents_failed: int
    documents_rechunked: int
    items_reparsed: int
    chunks: int
    texts_embedded: int
    texts_reused: int
    seconds: float
    unindexed: str
    failures: list[FailureOut]

    @classmethod
    def of(cls, report: IngestReport) -> IngestOut:
        counts = report.counts
        return cls(
            documents_added=counts.documents_added,
            documents_updated=counts.documents_updated,
            documents_unchanged=counts.documents_unchanged,
            documents_removed=counts.documents_removed,
            documents_failed=counts.documents_failed,
            documents_rechunked=counts.documents_rechunked,
            items_reparsed=counts.items_reparsed,
            chunks=counts.chunks,
            texts_embedded=counts.texts_embedded,
            texts_reused=counts.texts_reused,
            seconds=round(report.seconds, 3),
            unindexed=report.unindexed,
            failures=[FailureOut(uri=f.uri, code=f.code, detail=f.detail) for f in counts.failures],
        )


class CollectionOut(BaseModel):
    """A collection. ``failed`` counts files that could not be taken in, ``pending`` chunks that are newer
    than the index (``generation``), ``moving`` documents already cut and embedded anew, if that goes on."""

    name: str
    documents: int
    chunks: int
    failed: int
    embedder: str
    fingerprint: str
    dim: int
    generation: str
    pending: int
    moving: int | None
    created_at: str

    @classmethod
    def of(cls, info: CollectionInfo) -> CollectionOut:
        embedder = info.space.embedder if info.space else None
        return cls(
            name=info.name,
            documents=info.documents,
            chunks=info.chunks,
            failed=info.failed,
            embedder=embedder.name if embedder else "",
            fingerprint=embedder.fingerprint if embedder else "",
            dim=embedder.dim if embedder else 0,
            generation=info.generation.folder if info.generation else "",
            pending=info.pending,
            moving=info.moved if info.building else None,
            created_at=info.created_at,
        )


class CollectionsOut(BaseModel):
    """The collections, by name."""

    collections: list[CollectionOut]


class HealthOut(BaseModel):
    """``status`` is "ok" as soon as the server answers at all; ``ready`` says whether it can search."""

    status: str = "ok"
    ready: bool
    detail: dict[str, Any]


class ErrorDetail(BaseModel):
    """``code`` is for programs and stays, ``message`` is for people, ``hint`` says what mends it."""

    code: str
    message: str
    hint: str | None = None


class ErrorOut(BaseModel):
    """The one shape of every error."""

    error: ErrorDetail


def _clean(value: str | bool | int | float) -> str | bool | int | float:
    return clean_text(value) if isinstance(value, str) else value
