"""An answer on its way: what it will be made of while its text is still coming, and how that text is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rag.citations import Citation, read_citations
from rag.confidence import Confidence
from rag.context import Context
from rag.events import Answer
from rag.extract import says_nothing
from rag.prompts import PromptTemplate
from rag.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Finding:
    """What a whole text says: which passages it cites, which numbers no passage has, and whether it found
    anything."""

    citations: tuple[Citation, ...]
    unknown: tuple[int, ...]
    found: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer on its way: the pieces to come, and how the whole text is to be read."""

    pieces: Iterator[str]
    context: Context
    receipt: Receipt
    read: Callable[[str], Finding]
    notice: str = ""
    confidence: Confidence | None = None

    def finish(self, text: str) -> Answer:
        """The answer, once all pieces are there; ``text`` is all of them."""
        finding = self.read(text)
        return Answer(
            text=text,
            citations=finding.citations,
            unknown_citations=finding.unknown,
            extractive=bool(self.notice),
            found=finding.found,
            notice=self.notice,
            confidence=self.confidence,
            context=self.context,
            receipt=self.receipt,
        )


def read_answer(text: str, *, template: PromptTemplate, context: Context) -> Finding:
    """What a model's answer says. One that cites nothing and admits that nothing answers found nothing."""
    citations, unknown = read_citations(text, context)
    admitted = says_nothing(text, template.not_found)
    return Finding(citations, unknown, found=bool(citations) or not admitted)
