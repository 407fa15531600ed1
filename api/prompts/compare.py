"""The logged questions put to two ways of doing it: which get other passages, which another prompt.

No model is asked: what is compared is what it would get.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from rag.errors import RagError
from rag.evaluate.evidence import Span, union
from rag.evaluate.rates import Rate, rate
from rag.protocols import Message

if TYPE_CHECKING:
    from api.services import Services
    from rag.answer import Rendered
    from rag.trace import Trace

SEED = 0
"""The sample is the same each time: two runs differ in what was changed, not in what was drawn."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model gets for a question: the chunks of its context, as a receipt has them, and the messages
    (None: they were not kept), their fences' random digits replaced."""

    chunks: tuple[Mapping[str, Any], ...]
    messages: tuple[Message, ...] | None
    prompt: str


Side: TypeAlias = Callable[["Trace"], Seen]


@dataclass(frozen=True, slots=True)
class Pair:
    """One question on both sides. ``overlap`` is the share of characters that both contexts have, of those
    that either has; 1 where neither has any. ``other_messages`` is None where one side's are not known."""

    trace: str
    question: str
    overlap: float
    other_messages: bool | None
    lost: tuple[str, ...]
    gained: tuple[str, ...]

    @property
    def other_passages(self) -> bool:
        return self.overlap < 1


@dataclass(frozen=True, slots=True)
class Compared:
    """All questions. ``failed`` is which could not be asked, and why."""

    names: tuple[str, str]
    pairs: tuple[Pair, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def passages(self) -> Rate:
        """How many questions get other passages."""
        return rate(sum(pair.other_passages for pair in self.pairs), len(self.pairs))

    @property
    def messages(self) -> Rate:
        """How many get other messages, of those whose messages are known."""
        known = [pair.other_messages for pair in self.pairs if pair.other_messages is not None]
        return rate(sum(known), len(known))

    @property
    def overlap(self) -> float:
        """The mean over the questions, 1 for none."""
        return sum(pair.overlap for pair in self.pairs) / len(self.pairs) if self.pairs else 1.0

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``; the most changed questions first."""
        return {
            "a": self.names[0],
            "b": self.names[1],
            "questions": len(self.pairs),
            "other_passages": self.passages.as_json(),
            "other_messages": self.messages.as_json(),
            "overlap": self.overlap,
            "failed": [{"trace": trace, "error": error} for trace, error in self.failed],
            "most_changed": [asdict(pair) for pair in self.pairs],
        }


def compare(
    traces: Sequence[Trace],
    a: Side,
    b: Side,
    *,
    names: tuple[str, str],
    on_question: Callable[[int, int], None] = lambda _done, _total: None,
) -> Compared:
    """Put every question to both sides; the most changed first, then the newest. A question that one side
    cannot take is told and left out."""
    pairs: list[Pair] = []
    failed: list[tuple[str, str]] = []
    for done, trace in enumerate(traces, 1):
        try:
            pairs.append(_pair(trace, a(trace), b(trace)))
        except RagError as error:
            failed.append((trace.id, str(error)))
        on_question(done, len(traces))
    order = sorted(pairs, key=lambda pair: (pair.overlap, not pair.other_messages))
    return Compared(names, tuple(order), tuple(failed))


def questions(traces: Sequence[Trace], *, most: int) -> list[Trace]:
    """The traces whose questions can be asked again, each question once, as it was asked last; ``most`` of
    them by chance where there are more, the same ones each time. ``traces`` are newest first."""
    asked: dict[str, Trace] = {}
    for trace in traces:
        if trace.kept == "text" and trace.receipt:
            about = (
                trace.question,
                trace.reference,
                trace.collections,
                trace.variables,
                trace.receipt["where"],
            )
            asked.setdefault(repr(about), trace)
    each = list(asked.values())
    if len(each) <= most:
        return each
    drawn = random.Random(SEED).sample(range(len(each)), most)  # noqa: S311
    return [each[place] for place in sorted(drawn)]


def asking(services: Services, *, prompt: str | None = None) -> Side:
    """The side of these services, and of ``prompt`` where one is named, else of that which was asked for."""

    def see(trace: Trace) -> Seen:
        rendered = services.render(
            trace.question,
            collection=list(trace.collections) or None,
            k=trace.k,
            where=trace.receipt.get("where", {}),
            prompt=prompt or trace.reference,
            variables=trace.variables,
        )
        return _seen(rendered)

    return see


def logged(trace: Trace) -> Seen:
    """The side of then: what the trace says. Messages are not kept."""
    return Seen(trace.chunks, None, trace.digest)


def _seen(rendered: Rendered) -> Seen:
    nonce = rendered.context.nonce
    messages = tuple(
        replace(message, content=message.content.replace(f"passage-{nonce}", "passage"))
        for message in rendered.prompt.messages
    )
    chunks = tuple(asdict(chunk) for chunk in rendered.receipt.chunks)
    return Seen(chunks, messages, rendered.receipt.prompt_digest)


def _pair(trace: Trace, a: Seen, b: Seen) -> Pair:
    if a.messages is None or b.messages is None:
        other = None if a.prompt == b.prompt else True
    else:
        other = a.messages != b.messages
    mine, others = ({_identity(chunk) for chunk in side.chunks} for side in (a, b))
    return Pair(
        trace.id,
        trace.question,
        _overlap(a, b),
        other,
        tuple(_places(chunk for chunk in a.chunks if _identity(chunk) not in others)),
        tuple(_places(chunk for chunk in b.chunks if _identity(chunk) not in mine)),
    )


def _overlap(a: Seen, b: Seen) -> float:
    """By what the texts are; of two sides of now by where they stand too, whichever says more: two cuts of
    the same part are the same. (In a document that was edited since, the same place holds another text.)"""
    same = {_identity(chunk) for chunk in a.chunks} & {_identity(chunk) for chunk in b.chunks}
    sizes = {_identity(chunk): chunk["end"] - chunk["start"] for chunk in (*a.chunks, *b.chunks)}
    total = sum(sizes.values())
    by_text = sum(sizes[each] for each in same) / total if total else 1.0
    if a.messages is None or b.messages is None:
        return by_text
    mine, others = ([_span(chunk) for chunk in side.chunks] for side in (a, b))
    either = _characters(union([*mine, *others]))
    both = _characters(union(mine)) + _characters(union(others)) - either
    return max(by_text, both / either if either else 1.0)


def _identity(chunk: Mapping[str, Any]) -> tuple[str, str, str]:
    return chunk["collection"], chunk["document_id"], chunk["sha256"]


def _span(chunk: Mapping[str, Any]) -> Span:
    return Span(f"{chunk['collection']}\0{chunk['document_id']}", chunk["start"], chunk["end"])


def _characters(spans: Sequence[Span]) -> int:
    return sum(span.end - span.start for span in spans)


def _places(chunks: Iterator[Mapping[str, Any]]) -> list[str]:
    return [f"{chunk['document_id']} [{chunk['start']}-{chunk['end']}]" for chunk in chunks]
