"""A logged question, asked again: what would be different today, and in what."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from api.prompts.passages import shown_chunk
from rag.errors import InvalidQuery, RagError, UnknownPrompt
from rag.prompts.folder import SUFFIX
from rag.sentences import split_sentences

if TYPE_CHECKING:
    from api.services import Services
    from api.settings import Settings
    from rag.answer import Answer
    from rag.trace import Trace

_CITATIONS = re.compile(r"(?:\[[\d\s,-]{1,40}\]\s*)+")

Became: TypeAlias = Literal["same", "moved", "not found", "changed", "gone", "new"]


@dataclass(frozen=True, slots=True)
class PassageNow:
    """A chunk of the answer then or now. *not found*: its text is still there, and the search brings others;
    the rest as :class:`api.prompts.passages.Shown` has it, and *new*."""

    became: Became
    collection: str
    document_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer of today beside the one of then. ``notes`` are what may be behind a difference, or makes the
    two hard to compare; ``settings`` are the retrieval's that are others, then and now."""

    trace: Trace
    answer: Answer
    reference: str
    passages: tuple[PassageNow, ...]
    settings: Mapping[str, tuple[Any, Any]]
    notes: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """What differs: of passages, prompt, model and answer."""
        now = self.answer.receipt
        differs = {
            "passages": any(each.became not in ("same", "moved") for each in self.passages),
            "prompt": now.prompt_digest != self.trace.digest,
            "model": now.model != self.trace.model,
            "answer": self.answer.text.strip() != self.trace.answer.strip(),
        }
        return tuple(name for name, differing in differs.items() if differing)

    def answer_diff(self) -> list[str]:
        """The two answers, sentence by sentence, as ``diff`` shows files; [] where they are the same."""
        then, now = (_sentences(text) for text in (self.trace.answer, self.answer.text))
        lines = difflib.unified_diff(then, now, "then", "now", n=1, lineterm="")
        return [line for line in lines if not line.startswith("@@")]

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "trace": self.trace.id,
            "reference": self.reference,
            "changed": list(self.changed),
            "passages": [asdict(each) for each in self.passages],
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "notes": list(self.notes),
            "answer_diff": self.answer_diff(),
            "answer": self.answer.text,
            "receipt": self.answer.receipt.as_json(),
        }


def settings_for(trace: Trace, settings: Settings, *, model: str | None = None) -> Settings:
    """The settings to ask a trace's question with: today's, with the context's budget of then, another
    ``model`` if one is named, and no trace of it.

    Raises InvalidQuery for a trace that cannot be asked again.
    """
    if trace.kept == "hashes":
        raise InvalidQuery(
            f'the question of {trace.id} was not kept ([traces] keep = "hashes"): it cannot be asked again'
        )
    if not trace.receipt:
        raise InvalidQuery(f"{trace.id} failed before anything was searched: {trace.error}")
    changed: dict[str, Any] = {"traces": settings.traces.model_copy(update={"enabled": False})}
    if budget := trace.receipt.get("context_budget"):
        changed["context"] = settings.context.model_copy(update={"max_tokens": budget})
    if model is not None:
        changed["llm"] = settings.llm.model_copy(update={"model": model})
    return settings.model_copy(update=changed)


def replay(services: Services, trace: Trace) -> Replay:
    """Ask a trace's question again, with its prompt's version, ``k``, filters and variables.

    ``services`` are wired with :func:`settings_for`. Raises InvalidQuery, and what asking raises.
    """
    from rag.answer import Answer

    prompt, notes = prompt_of(services, trace)
    retrieval = trace.receipt.get("retrieval", {})
    events = services.ask_events(
        trace.question,
        collection=list(trace.collections) or None,
        k=retrieval.get("k"),
        where=trace.receipt.get("where", {}),
        prompt=prompt,
        variables=trace.variables,
    )
    answer = next(event for event in events if isinstance(event, Answer))
    now = answer.receipt.as_json()
    for name, what in (("embedder", "the embedder is another one"), ("generations", "the indexes are newer")):
        if trace.receipt.get(name) != now.get(name):
            notes.append(what)
    if trace.receipt.get("parameters", {}) != now["parameters"] and trace.model == now["model"]:
        notes.append(
            f"the model's parameters were {trace.receipt.get('parameters')}, are {now['parameters']}"
        )
    settings = {
        name: (retrieval.get(name), value)
        for name, value in now["retrieval"].items()
        if retrieval.get(name) != value
    }
    passages = _passages(services, trace, now["chunks"])
    return Replay(trace, answer, prompt, tuple(passages), settings, tuple(notes))


def prompt_of(services: Services, trace: Trace) -> tuple[str, list[str]]:
    """A reference to the prompt as it was when the trace was made, and what to say where it is not that."""
    if trace.version:
        return f"{trace.prompt}@{trace.version}", []
    notes: list[str] = []
    try:
        now = services.prompt(trace.reference)
        if trace.digest in (now.digest, now.for_model(trace.model).digest):
            return trace.reference, []
        notes.append(f"the prompt {trace.reference!r} has been changed since; this is as it is now")
    except RagError as error:
        if trace.reference.endswith(SUFFIX):
            raise UnknownPrompt(f"{error}, so the question cannot be asked again as it was") from error
        raise
    return trace.reference, notes


def _passages(services: Services, trace: Trace, now: tuple[Mapping[str, Any], ...]) -> list[PassageNow]:
    left = {_identity(chunk): chunk for chunk in now}
    found: list[PassageNow] = []
    for then in trace.chunks:
        same = left.pop(_identity(then), None)
        if same is not None:
            found.append(_now("same" if same["start"] == then["start"] else "moved", same))
            continue
        state = shown_chunk(services.catalogue(), then).state
        found.append(_now("not found" if state in ("same", "moved") else state, then))
    return found + [_now("new", chunk) for chunk in left.values()]


def _identity(chunk: Mapping[str, Any]) -> tuple[str, str, str]:
    return chunk["collection"], chunk["document_id"], chunk["sha256"]


def _now(became: Became, chunk: Mapping[str, Any]) -> PassageNow:
    return PassageNow(became, chunk["collection"], chunk["document_id"], chunk["start"], chunk["end"])


def _sentences(text: str) -> list[str]:
    """The sentences, each with the citations behind it."""
    sentences: list[str] = []
    for start, end in split_sentences(text):
        sentence = " ".join(text[start:end].split())
        if sentences and _CITATIONS.fullmatch(sentence):
            sentences[-1] += f" {sentence}"
        else:
            sentences.append(sentence)
    return sentences
