"""What the routes ask of the services: :class:`api.services.Services` has it, and so may a test's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from api.sections import Collections, Settings
from rag.filters import Where
from rag.types import Document

if TYPE_CHECKING:
    from indexes.catalogue import CollectionInfo
    from ingest.job import IngestReport
    from rag.answer import Event
    from rag.retrieve import Trail
    from rag.trace import Feedback, WayIn


class Needs(Protocol):
    """Every method blocks and is called in a worker thread. All raise what :mod:`rag.errors` names."""

    settings: Settings
    way: WayIn

    def trace(
        self, question: str, *, collection: Collections, k: int | None, where: Where, mode: str | None
    ) -> Trail: ...

    def ask_events(
        self,
        question: str,
        *,
        collection: Collections,
        k: int | None,
        where: Where,
        prompt: str | None,
        variables: Mapping[str, str] | None,
    ) -> Iterator[Event]: ...

    def feedback(
        self, trace: str, *, score: float | None, comment: str, answer: str, author: str
    ) -> Feedback: ...

    def ingest_texts(self, documents: Sequence[Document], *, collection: str | None) -> IngestReport: ...

    def ingest_files(self, files: Sequence[tuple[str, bytes]], *, collection: str | None) -> IngestReport: ...

    def collections(self) -> list[CollectionInfo]: ...

    def health(self) -> dict[str, Any]: ...
