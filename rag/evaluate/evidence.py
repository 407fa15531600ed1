"""Evidence: which of the text that answers a question stands in what the model reads, and at what cost.

Ranking measures judge chunks; a model reads a context of so many tokens. Here chunker, retriever and
context assembly are judged together: gold spans against the spans shown, in characters.

Definitions are those of Chroma's chunking evaluation (Smith & Troynikov 2024, ``base_evaluation.py``)
and of LegalBench-RAG (Pipitone & Alami 2024): what is shown twice is paid twice, and found once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from rag.context import BETWEEN_BLOCKS, Context
from rag.errors import EvaluationError
from rag.tokens import TokenCounter, estimate_tokens


class Span(NamedTuple):
    """``document.text[start:end]``."""

    document_id: str
    start: int
    end: int


Gold: TypeAlias = Mapping[str, tuple[Span, ...]]
"""Query id -> the spans that hold its evidence, in file order."""


class Shown(NamedTuple):
    """A span as a model reads it: ``before`` stands in front of its ``text`` (a fence, a source line) and
    ``after`` behind it (a fence, the blank line to the next)."""

    span: Span
    text: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Shares of characters, each from 0 to 1: of the gold that is shown, of the shown that is gold, and
    the gold shown of all that is gold or shown."""

    recall: float
    precision: float
    iou: float


def evidence(gold: Iterable[Span], shown: Iterable[Span]) -> Evidence:
    """How much of ``gold`` the ``shown`` spans hold. Raises EvaluationError where gold holds nothing.

    >>> evidence([Span("d", 10, 20), Span("d", 15, 30)], [Span("d", 0, 20), Span("e", 0, 20)])
    Evidence(recall=0.5, precision=0.25, iou=0.2)
    """
    wanted = union(gold)
    size = _characters(wanted)
    if not size:
        raise EvaluationError("a query without gold characters: leave it out, or mark its evidence")
    pieces = list(shown)
    found = size + _characters(have := union(pieces)) - _characters(union([*wanted, *have]))
    paid = _characters(pieces)
    return Evidence(found / size, found / paid if paid else 0.0, found / (paid + size - found))


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same characters in spans that neither overlap nor touch, by document and place.

    >>> union([Span("d", 5, 9), Span("d", 0, 5), Span("c", 8, 9)])
    (Span(document_id='c', start=8, end=9), Span(document_id='d', start=0, end=9))
    """
    apart: list[Span] = []
    for span in sorted(spans):
        if apart and apart[-1].document_id == span.document_id and span.start <= apart[-1].end:
            apart[-1] = apart[-1]._replace(end=max(apart[-1].end, span.end))
        else:
            apart.append(span)
    return tuple(apart)


def blocks(context: Context) -> list[Shown]:
    """A context's passages as the model reads them, fences and source lines included."""
    return [
        Shown(
            Span(passage.document_id, passage.start, passage.end),
            passage.text,
            passage.opening(context.nonce),
            passage.closing(context.nonce) + BETWEEN_BLOCKS * (passage.number < len(context.passages)),
        )
        for passage in context.passages
    ]


def first_tokens(
    shown: Iterable[Shown], tokens: int, *, count_tokens: TokenCounter = estimate_tokens
) -> list[Span]:
    """The spans that the first ``tokens`` tokens of a context show. The one in which they end is cut there.

    Tokens are those of ``before``, ``text`` and ``after``, counted span by span.

    >>> words = lambda text: len(text.split())
    >>> texts = [Shown(Span("d", 0, 7), "one two", "1:"), Shown(Span("d", 9, 19), "three four", "2:")]
    >>> first_tokens(texts, 3, count_tokens=words)
    [Span(document_id='d', start=0, end=7), Span(document_id='d', start=9, end=14)]
    """
    spans: list[Span] = []
    left = tokens
    for span, text, before, after in shown:
        whole = count_tokens(before + text + after)
        if whole <= left:
            spans.append(span)
            left -= whole
            continue
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count_tokens(before + text[:middle]) <= left else (low, middle - 1)
        if kept := len(text[:low].rstrip()):
            spans.append(span._replace(end=span.start + kept))
        break
    return spans


def _characters(spans: Iterable[Span]) -> int:
    return sum(span.end - span.start for span in spans)


def mean(values: Sequence[Evidence]) -> Evidence:
    """The means over queries. Raises EvaluationError for none."""
    if not values:
        raise EvaluationError("no queries: there is nothing to average")
    columns = ([v.recall for v in values], [v.precision for v in values], [v.iou for v in values])
    return Evidence(*(sum(column) / len(values) for column in columns))
