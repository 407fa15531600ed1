"""One question as it was asked, and what became of it: what is kept to look at, to run again, to count.

A trace holds the answer's receipt as plain data, as it was written: receipts gain fields, old traces stay.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from rag.redact import Redactor, redacted

WayIn: TypeAlias = Literal["cli", "http", "python"]
Keep: TypeAlias = Literal["text", "hashes"]

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter that looks like a digit, and in the order of its values."""
_TIME, _CHANCE = 10, 6


@dataclass(frozen=True, slots=True)
class Trace:
    """A question, its answer, and how it came about.

    ``at`` is UTC, ISO 8601, to the millisecond. ``reference`` and ``k`` are the prompt and the number of
    passages as they were asked for (None: as set), ``label`` the label that this meant ("": a file, or a
    version by its number). ``citations`` are passages' numbers, ``unknown_citations`` numbers that no passage
    has. ``tokens`` counts the prompt by part, and ``answer``; ``ms`` is wall time by stage: ``retrieve``,
    ``render``, ``model``, ``first`` (to the answer's first piece) and ``total``. ``error`` is "" where all
    went well, else the error's name and message. ``receipt`` is empty where it failed before there was one.
    ``kept`` says what stands in question, answer and variables: the texts, or their salted hashes.
    """

    id: str
    at: str
    way: WayIn
    question: str
    reference: str
    k: int | None = None
    label: str = ""
    prompt: str = ""
    version: int = 0
    answer: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    receipt: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False
    citations: tuple[int, ...] = ()
    unknown_citations: tuple[int, ...] = ()
    confidence: float | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    ms: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    kept: Keep = "text"

    @property
    def digest(self) -> str:
        """The prompt's, "" where it never was read."""
        return str(self.receipt.get("prompt_digest", ""))

    @property
    def model(self) -> str:
        return str(self.receipt.get("model", ""))

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that were searched."""
        return tuple(self.receipt.get("generations", ()))

    @property
    def chunks(self) -> tuple[Mapping[str, Any], ...]:
        """The chunks that came into the context, as :class:`rag.receipt.UsedChunk` has them."""
        return tuple(self.receipt.get("chunks", ()))

    @property
    def passages(self) -> int:
        """How many passages the context had."""
        return len({chunk["passage"] for chunk in self.chunks})

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Trace:
        """The trace of :meth:`as_json`; names that this version does not know are left out.

        >>> trace = Trace("0", "2026-01-01T00:00:00.000Z", "cli", "Why?", "answer", citations=(1, 2))
        >>> Trace.from_json(json.loads(json.dumps(trace.as_json()))) == trace
        True
        """
        known = {each.name: values[each.name] for each in fields(Trace) if each.name in values}
        for name in ("citations", "unknown_citations"):
            known[name] = tuple(known.get(name, ()))
        return Trace(**known)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of an answer. ``score`` is 1 for thumbs up, 0 for down, or between; None without.

    ``answer`` is a corrected one, "" without. ``author`` is what its writer says it is.
    """

    trace: str
    at: str
    score: float | None = None
    comment: str = ""
    answer: str = ""
    author: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return asdict(self)


def new_id(now: datetime) -> str:
    """A fresh name for a trace, 16 letters and digits; those made later sort behind.

    >>> moment = datetime(2026, 1, 1, tzinfo=UTC)
    >>> new_id(moment)[:10], len(new_id(moment))
    ('01KDVDNA00', 16)
    """
    return first_id(now)[:_TIME] + "".join(secrets.choice(_DIGITS) for _ in range(_CHANCE))


def first_id(moment: datetime) -> str:
    """What sorts before every trace of this moment and behind all of earlier ones."""
    left = max(0, int(moment.timestamp() * 1000))
    digits = ""
    for _ in range(_TIME):
        left, digit = divmod(left, 32)
        digits = _DIGITS[digit] + digits
    return digits + "0" * _CHANCE


def stamp(moment: datetime) -> str:
    """A moment as traces write it.

    >>> stamp(datetime(2026, 1, 1, 12, 30, tzinfo=UTC))
    '2026-01-01T12:30:00.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hashed(text: str, salt: str) -> str:
    """What stands for a text that is not kept: the same for the same text and salt.

    >>> hashed("a", "salt") == hashed("a", "salt") != hashed("a", "other")
    True
    """
    return "#" + hmac.new(salt.encode(), text.encode("utf-8"), hashlib.sha256).hexdigest()[:32]


def discreet(
    trace: Trace, *, keep: Keep, salt: str, redact: Iterable[Redactor] = (), secrets: Sequence[str] = ()
) -> Trace:
    """The trace as it may be stored. What was asked, said and filtered by is redacted; with ``keep`` "hashes"
    it is there as hashes alone, and errors without their messages. Keys and passwords never stay.

    >>> trace = Trace("0", "", "cli", "Call 612345678", "answer", answer="No.", variables={"to": "Ana"})
    >>> discreet(trace, keep="text", salt="s", redact=["phone"]).question
    'Call [phone]'
    >>> "Ana" in str(discreet(trace, keep="hashes", salt="s"))
    False
    """
    kinds = tuple(redact)

    def clean(text: str) -> str:
        return redacted(text, kinds, secrets=secrets)

    def without_keys(text: str) -> str:
        return redacted(text, (), secrets=secrets)

    def kept(text: str) -> str:
        return clean(text) if keep == "text" or not text else hashed(text, salt)

    receipt = dict(trace.receipt)
    if receipt:
        receipt["question"] = kept(str(receipt.get("question", "")))
        receipt["rewritten"] = [kept(text) for text in receipt.get("rewritten", ())]
        receipt["parameters"] = _each(receipt.get("parameters", {}), without_keys)
        where = receipt.get("where", {})
        if keep == "text" or not where:
            receipt["where"] = _each(where, clean)
        else:  # whole: a number by which documents are chosen may be a person's
            receipt["where"] = {"hashed": hashed(json.dumps(where, sort_keys=True), salt)}
    return replace(
        trace,
        question=kept(trace.question),
        answer=kept(trace.answer),
        variables={name: kept(value) for name, value in trace.variables.items()},
        receipt=receipt,
        error=clean(trace.error) if keep == "text" else trace.error.partition(":")[0],
        kept=keep,
    )


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """The same data with every text in it changed; names stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _each(inner, change) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_each(inner, change) for inner in value]
    return value
