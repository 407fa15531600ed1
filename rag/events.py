"""What is told of an answer while it is made: what it is made from, its pieces, and the whole of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rag.citations import Citation
from rag.confidence import Confidence
from rag.context import Context
from rag.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The first event of a stream: what the answer will be made from, the tokens of its prompt by part, and
    the milliseconds that it took by stage."""

    context: Context
    receipt: Receipt
    tokens: Mapping[str, int]
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer's text; all of them joined are ``Answer.text``."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The last event of a stream. ``unknown_citations`` are numbers that the text cites and that no
    passage has. ``notice`` is a line to show with it, in the question's language, "" when there is none.
    ``confidence`` is None where nothing tells it: a collection without a calibration. ``trace`` names what
    was kept of it, "" where nothing was.
    """

    text: str
    citations: tuple[Citation, ...]
    unknown_citations: tuple[int, ...]
    extractive: bool
    found: bool
    notice: str
    confidence: Confidence | None
    context: Context
    receipt: Receipt
    trace: str = ""


Event: TypeAlias = Retrieved | Piece | Answer
