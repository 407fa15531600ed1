"""What each type of assertion finds in an answer and its context.

A reason states what is the case, not what was wished: it serves an assertion and its negation alike.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rag.citations import read_citations
from rag.context import Context
from rag.language import detect
from rag.prompts.testing import guarded
from rag.prompts.testing.assertions import TYPES, Assertion
from rag.prompts.testing.rubric import grade
from rag.protocols import ChatModel, Embedder
from rag.sentences import split_sentences
from rag.tokens import TokenCounter, estimate_tokens
from rag.types import clean_text
from rag.words import folded, language_of

Finding: TypeAlias = tuple[bool, float, str]
"""Whether it holds, how far (0 to 1), and what is the case."""

SIMILAR = 0.75
"""Cosine from which an answer is similar, where the test does not say; promptfoo's."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a test looks at. ``answer`` or ``context`` is None where there is none, and ``no_answer`` or
    ``no_context`` says why. ``found`` is whether the answer says that it found something."""

    values: Mapping[str, Any]
    answer: str | None = None
    context: Context | None = None
    found: bool = False
    no_answer: str = "there is no answer"
    no_context: str = "there is no context"


@dataclass(frozen=True, slots=True)
class Tools:
    """What some types need besides: ``embedder`` is called when one first asks for it."""

    count_tokens: TokenCounter = estimate_tokens
    embedder: Callable[[], Embedder] | None = None
    grader: ChatModel | None = None


class CannotTell(Exception):
    """Not to be evaluated; ``str(error)`` says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One assertion with what it is about."""

    value: Any
    threshold: float | None
    subject: Subject
    tools: Tools
    answer: str

    @staticmethod
    def of(assertion: Assertion, subject: Subject, tools: Tools) -> Asked:
        looks = TYPES[assertion.type].looks
        if looks != "context" and subject.answer is None:
            raise CannotTell(subject.no_answer)
        if looks != "answer" and subject.context is None:
            raise CannotTell(subject.no_context)
        value = assertion.filled(subject.values)
        return Asked(_clean(value), assertion.threshold, subject, tools, clean_text(subject.answer or ""))

    @property
    def context(self) -> Context:
        if self.subject.context is None:
            raise CannotTell(self.subject.no_context)
        return self.subject.context


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    return [_clean(each) for each in value] if isinstance(value, list) else value


# --- words ---------------------------------------------------------------------------------------


def _contains(asked: Asked) -> Finding:
    return _all_of(asked.answer, [asked.value], "answer")


def _contains_all(asked: Asked) -> Finding:
    return _all_of(asked.answer, asked.value, "answer")


def _contains_any(asked: Asked) -> Finding:
    return _any_of(asked.answer, asked.value)


def _icontains(asked: Asked) -> Finding:
    return _all_of(asked.answer, [asked.value], "answer", _caseless)


def _icontains_all(asked: Asked) -> Finding:
    return _all_of(asked.answer, asked.value, "answer", _caseless)


def _icontains_any(asked: Asked) -> Finding:
    return _any_of(asked.answer, asked.value, _caseless)


def _caseless(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


def _as_is(text: str) -> str:
    return text


def _all_of(text: str, wanted: Sequence[str], what: str, seen: Callable[[str], str] = _as_is) -> Finding:
    held = seen(text)
    missing = [each for each in wanted if seen(each) not in held]
    share = 1 - len(missing) / len(wanted)
    if missing:
        return False, share, f"the {what} does not contain {_named(missing)}"
    return True, share, f"the {what} contains {_named(wanted)}"


def _any_of(text: str, wanted: Sequence[str], seen: Callable[[str], str] = _as_is) -> Finding:
    held = seen(text)
    there = [each for each in wanted if seen(each) in held]
    if there:
        return True, 1.0, f"the answer contains {_named(there)}"
    return False, 0.0, f"the answer contains none of {_named(wanted)}"


def _equals(asked: Asked) -> Finding:
    if not isinstance(asked.value, str):
        try:
            same = _same(guarded.read_json(asked.answer), asked.value)
        except ValueError:
            return False, 0.0, "the answer is not JSON"
        shown = quoted(json.dumps(asked.value, ensure_ascii=False))
        return same, float(same), f"the answer {'is' if same else 'is not'} the JSON value {shown}"
    same = asked.answer.strip() == asked.value.strip()
    return same, float(same), f"the answer {'is' if same else 'is not'} {quoted(asked.value)}"


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _starts_with(asked: Asked) -> Finding:
    holds = asked.answer.lstrip().startswith(asked.value)
    said = "starts" if holds else "does not start"
    return holds, float(holds), f"the answer {said} with {quoted(asked.value)}"


def _regex(asked: Asked) -> Finding:
    found = guarded.search(asked.value, asked.answer)
    if found is None:
        return False, 0.0, f"nothing in the answer matches {quoted(asked.value)}"
    return True, 1.0, f"{quoted(found)} in the answer matches {quoted(asked.value)}"


def _max_tokens(asked: Asked) -> Finding:
    tokens = asked.tools.count_tokens(asked.answer)
    holds = tokens <= asked.value
    return holds, float(holds), f"the answer has about {tokens:,} tokens; the limit is {asked.value:,}"


def _language(asked: Asked) -> Finding:
    language = detect(asked.answer) or language_of(asked.answer)
    if not language:
        raise CannotTell("the answer is too short to tell its language")
    holds = language == asked.value
    return holds, float(holds), f"the language of the answer is {language}"


# --- JSON ----------------------------------------------------------------------------------------


def _is_json(asked: Asked) -> Finding:
    try:
        value = guarded.read_json(asked.answer)
    except ValueError as error:
        return False, 0.0, f"the answer is not JSON: {error}"
    faults = guarded.schema_faults(asked.value, value) if asked.value is not None else ""
    if faults:
        return False, 0.0, f"the answer is JSON, but not of the schema: {_short(faults, 200)}"
    return True, 1.0, f"the answer is JSON{' of the schema' if asked.value is not None else ''}"


def _contains_json(asked: Asked) -> Finding:
    faults = ""
    for value in guarded.find_json(asked.answer):
        fault = guarded.schema_faults(asked.value, value) if asked.value is not None else ""
        if not fault:
            return True, 1.0, f"the answer contains {quoted(json.dumps(value, ensure_ascii=False))}"
        faults = faults or fault
    if faults:
        return False, 0.0, f"no JSON in the answer is of the schema: {_short(faults, 200)}"
    return False, 0.0, "the answer contains no JSON"


# --- citations and context -----------------------------------------------------------------------


def _cites(asked: Asked) -> Finding:
    cited, _ = read_citations(asked.answer, asked.context)
    wanted = asked.value or 1
    numbers = ", ".join(f"[{citation.number}]" for citation in cited)
    holds = len(cited) >= wanted
    said = f"the answer cites {numbers}" if cited else "the answer cites no passage"
    of = f" of {len(asked.context.passages)}; {wanted} wanted" if wanted > 1 else ""
    return holds, min(1.0, len(cited) / wanted), said + of


def _cites_only_retrieved(asked: Asked) -> Finding:
    _, unknown = read_citations(asked.answer, asked.context)
    if unknown:
        numbers = ", ".join(f"[{number}]" for number in unknown)
        return False, 0.0, f"the answer cites {numbers}, and there is no such passage"
    return True, 1.0, "the answer cites nothing but passages that are there"


def _found(asked: Asked) -> Finding:
    if asked.subject.found:
        return True, 1.0, "the answer does not say that the passages hold nothing"
    return False, 0.0, "the answer says that the passages hold nothing"


def _context_contains(asked: Asked) -> Finding:
    shown = "\n".join(_plain(f"{passage.source}\n{passage.text}") for passage in asked.context.passages)
    return _all_of(shown, [_plain(each) for each in asked.value], "context")


def _context_recall(asked: Asked) -> Finding:
    sentences = [text[start:end] for text in asked.value for start, end in split_sentences(text)]
    if not sentences:
        raise CannotTell("the value holds no sentence")
    passages = [_words(passage.text) for passage in asked.context.passages]
    missing = [each for each in sentences if not any(_words(each) in held for held in passages)]
    recall = 1 - len(missing) / len(sentences)
    told = f"the context holds {len(sentences) - len(missing)} of {len(sentences)} sentences"
    if missing:
        told += f"; not {quoted(missing[0])}"
    return recall >= (1.0 if asked.threshold is None else asked.threshold) - 1e-9, recall, told


def _plain(text: str) -> str:
    return " ".join(text.split())


def _words(text: str) -> str:
    return f" {' '.join(folded(text))} "


# --- by a model ----------------------------------------------------------------------------------


def _similar(asked: Asked) -> Finding:
    if asked.tools.embedder is None:
        raise CannotTell("no embedder is at hand")
    # As questions, all of them: the embedders that tell the two kinds apart compare like with like so.
    vectors = asked.tools.embedder().embed([asked.answer, *asked.value], input_type="query")
    cosines = [float(vectors[0] @ vector) for vector in vectors[1:]]
    best = max(cosines)
    threshold = SIMILAR if asked.threshold is None else asked.threshold
    nearest = quoted(asked.value[cosines.index(best)])
    told = f"the cosine to {nearest} is {best:.3f}; the threshold is {threshold:g}"
    return best >= threshold, min(1.0, max(0.0, best)), told


def _llm_rubric(asked: Asked) -> Finding:
    if asked.tools.grader is None:
        raise CannotTell("a rubric is judged by a language model, and none is configured")
    given = grade(asked.tools.grader, asked.value, asked.answer)
    told = f"graded {given.score:.2f}: {given.reason}"
    return given.passed and given.score >= (asked.threshold or 0.0), given.score, told


def quoted(text: str) -> str:
    """The beginning of a text, in one line, between quotation marks.

    >>> quoted("a\\n b")
    '“a b”'
    """
    return f"“{_short(text, 60)}”"


def _short(text: str, most: int) -> str:
    line = _plain(text)
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def _named(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return ", ".join(quoted(text) for text in texts[:3]) + more


CHECKS: Mapping[str, Callable[[Asked], Finding]] = {
    "contains": _contains,
    "icontains": _icontains,
    "contains-all": _contains_all,
    "contains-any": _contains_any,
    "icontains-all": _icontains_all,
    "icontains-any": _icontains_any,
    "equals": _equals,
    "starts-with": _starts_with,
    "regex": _regex,
    "is-json": _is_json,
    "contains-json": _contains_json,
    "json-schema": _is_json,
    "max-tokens": _max_tokens,
    "language": _language,
    "similar": _similar,
    "llm-rubric": _llm_rubric,
    "found": _found,
    "cites": _cites,
    "cites-only-retrieved": _cites_only_retrieved,
    "context-contains": _context_contains,
    "context-recall": _context_recall,
}
