"""Traces as every way in leaves them: recorded beside the answer, written behind it, read back."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from indexes.traces import TraceStore
from rag.answer import Answer, Event, Piece, Retrieved
from rag.errors import InvalidQuery, PromptError, RagError
from rag.prompts.versions import PRODUCTION, reference
from rag.tokens import TokenCounter, estimate_tokens
from rag.trace import Feedback, Trace, WayIn, discreet, new_id, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.sections import TracesSection

log = logging.getLogger(__name__)

_AGO = re.compile(r"(\d{1,6})\s*([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
MOST_WAITING = 10_000
"""Traces that wait to be written; what comes when so many do is dropped, and told."""


def moment(text: str, *, now: datetime | None = None) -> datetime:
    """A point in time as people name it: ``7d`` (``m``, ``h``, ``w``) ago, or a date. Raises InvalidQuery.

    >>> noon = datetime(2026, 1, 8, 12, tzinfo=UTC)
    >>> moment("7d", now=noon).date().isoformat(), moment("2026-01-02").date().isoformat()
    ('2026-01-01', '2026-01-02')
    """
    if match := _AGO.fullmatch(text.strip()):
        return (now or datetime.now(UTC)) - int(match[1]) * _UNITS[match[2]]
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidQuery(
            f"{text!r} is no point in time: write 30m, 12h, 7d or 4w, or a date such as 2026-01-31"
        ) from None
    return given.astimezone(UTC)


def label_of(asked: str, version: int) -> str:
    """The label by which a prompt was taken: as asked for; production where a plain name led to the library.

    >>> label_of("answer@staging", 3), label_of("answer", 3), label_of("answer", 0), label_of("answer@3", 3)
    ('staging', 'production', '', '')
    """
    try:
        named = reference(asked)
    except PromptError:
        return ""
    plain = named.path is None and named.number is None and not named.label
    return named.label or (PRODUCTION if plain and version else "")


class Recorder:
    """Writes traces in the background, so that no answer waits for the disk. Safe in any thread.

    Its thread lives only while there is something to write, and a process does not end before it has. What
    cannot be written is told once, in the log: no answer fails for it.
    """

    def __init__(self, data: Path, section: TracesSection, *, secrets: Sequence[str] = ()) -> None:
        self.section = section
        self._data = data
        self._secrets = tuple(secrets)
        self._waiting: list[Trace] = []
        self._writing = False
        self._store: TraceStore | None = None
        self._lock = threading.Condition()
        self.failure = ""
        """Why the last traces could not be written, "" while all is well."""

    def put(self, trace: Trace) -> None:
        """Have a trace written soon; none where there is no data folder, which a question does not make."""
        if not self._data.exists():
            return
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._tell("they come faster than they are written; some are left out")
                return
            self._waiting.append(trace)
            if self._writing:
                return
            self._writing = True
        try:
            threading.Thread(target=self._write, name="traces").start()
        except RuntimeError as error:  # no more threads, or the process is about to end
            with self._lock:
                self._writing = False
            self._tell(str(error))

    def flush(self, seconds: float = 30.0) -> bool:
        """Wait until everything is written; whether it is."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._writing, timeout=seconds)

    def close(self) -> None:
        """Write what waits, and close the store."""
        self.flush()
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None

    def discreet(self, text: str) -> str:
        """A text that somebody wrote about an answer, as it may be kept."""
        from rag.redact import redacted

        return redacted(text, self.section.redact, secrets=self._secrets)

    def _write(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._writing = False
                    self._lock.notify_all()
                    return
            try:
                self._add(batch)
            except Exception as error:  # whatever it is: a trace is never worth an answer
                self._tell(str(error) if isinstance(error, RagError) else repr(error))
            else:
                self.failure = ""

    def _add(self, batch: Sequence[Trace]) -> None:
        section = self.section
        if self._store is None:
            self._store = TraceStore.open(self._data, create=True)
        store = self._store
        salt = store.salt
        store.add(
            *(
                discreet(trace, keep=section.keep, salt=salt, redact=section.redact, secrets=self._secrets)
                for trace in batch
            ),
            now=datetime.now(UTC),
            keep_days=section.keep_days,
            max_bytes=section.max_mb * 2**20,
        )

    def _tell(self, why: str) -> None:
        if not self.failure:
            log.warning("traces are not written: %s", why)
        self.failure = why


@dataclass(slots=True)
class _Draft:
    """What is known of a question while it is being answered."""

    trace: Trace
    put: Callable[[Trace], None]
    count_tokens: TokenCounter
    model: str = ""
    began: float = field(default_factory=perf_counter)
    ms: dict[str, float] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    done: bool = False

    def meet(self, event: Event) -> Event:
        """Take note of an event; the answer gets the trace's id."""
        match event:
            case Retrieved():
                self.ms.update(event.ms)
                self.ms.setdefault("retrieve", self._passed)
                receipt = event.receipt
                self.trace = replace(
                    self.trace,
                    prompt=receipt.prompt,
                    version=receipt.prompt_version,
                    label=label_of(self.trace.reference, receipt.prompt_version),
                    tokens=dict(event.tokens),
                    receipt=receipt.as_json(),
                )
            case Piece(text=text):
                self.ms.setdefault("first", self._passed)
                self.text.append(text)
            case Answer() as answer:
                self.trace = replace(
                    self.trace,
                    found=answer.found,
                    citations=tuple(citation.number for citation in answer.citations),
                    unknown_citations=answer.unknown_citations,
                    confidence=answer.confidence.value if answer.confidence else None,
                    receipt=answer.receipt.as_json(),
                )
                self.finish()
                return replace(answer, trace=self.trace.id)
        return event

    def finish(self, error: str = "") -> None:
        """Hand the trace over, once."""
        if self.done:
            return
        self.done = True
        text = "".join(self.text)
        total = self._passed
        before = sum(self.ms.get(stage, 0.0) for stage in ("retrieve", "render"))
        ms = {**self.ms, "model": total - before, "total": total}
        tokens = {**self.trace.tokens, "answer": self.count_tokens(text)}
        times = {name: round(value, 2) for name, value in ms.items()}
        receipt = self.trace.receipt
        if error and receipt and self.model:  # a receipt names the model once it has answered
            receipt = {**receipt, "model": self.model}
        self.put(replace(self.trace, receipt=receipt, answer=text, tokens=tokens, ms=times, error=error))

    @property
    def _passed(self) -> float:
        return (perf_counter() - self.began) * 1000


def recorded(
    events: Generator[Event],
    *,
    question: str,
    prompt: str,
    k: int | None,
    variables: Mapping[str, str] | None,
    model: str,
    way: WayIn,
    put: Callable[[Trace], None],
    count_tokens: TokenCounter = estimate_tokens,
) -> Iterator[Event]:
    """The same events, and a trace of them: of an answer, of a failure, or of one that nobody waited for.

    ``prompt`` is the reference that was asked for, ``model`` the one that would be asked ("": none). The
    answer names its trace.
    """
    now = datetime.now(UTC)
    name = prompt.partition("@")[0]
    asked = Trace(
        new_id(now), stamp(now), way, question, prompt, k=k, prompt=name, variables=dict(variables or {})
    )
    draft = _Draft(asked, put, count_tokens, model)
    try:
        with closing(events):
            for event in events:
                yield draft.meet(event)
    except GeneratorExit:
        draft.finish("Stopped: whoever asked did not wait for the answer")
        raise
    except Exception as error:
        draft.finish(f"{type(error).__name__}: {error}")
        raise


def feedback(
    store: TraceStore,
    recorder: Recorder,
    name: str,
    *,
    score: float | None = None,
    comment: str = "",
    answer: str = "",
    author: str = "",
) -> Feedback:
    """Say something of an answer. ``name`` is the trace's id, the end of it, or "last".

    Raises InvalidQuery for nothing said, or for a corrected answer where answers are not kept; NotFound,
    LockHeld.
    """
    if score is None and not comment.strip() and not answer.strip():
        raise InvalidQuery("nothing is said: give --up, --down, --score, a --comment or a corrected --answer")
    if score is not None and not 0 <= score <= 1:
        raise InvalidQuery(f"score {score}: choose 0 (wrong) to 1 (right)")
    if answer.strip() and recorder.section.keep == "hashes":
        raise InvalidQuery('[traces] keep = "hashes": answers are not kept, so a corrected one is not either')
    said = Feedback(
        store.id_of(name),
        stamp(datetime.now(UTC)),
        score,
        recorder.discreet(comment.strip()),
        recorder.discreet(answer.strip()),
        " ".join(author.split()),
    )
    store.say(said)
    return said
