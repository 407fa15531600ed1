"""What a test asserts: the types there are, the value each takes, and promptfoo's that are not run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rag.errors import InvalidTemplate, PromptError
from rag.prompts.testing.guarded import check_pattern, check_schema
from rag.prompts.testing.located import Part, referred

if TYPE_CHECKING:
    from jinja2 import Template

MAX_NESTED = 5
"""Sets of assertions inside each other."""

Looks: TypeAlias = Literal["answer", "context", "both"]
"""What a type looks at."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """One assertion. ``negated`` stands for the ``not-`` before ``type``; ``parts`` are those of an
    ``assert-set``; ``unsupported`` says why it cannot be evaluated here, "" where it can."""

    type: str
    negated: bool = False
    value: Any = None
    threshold: float | None = None
    weight: float = 1.0
    metric: str = ""
    parts: tuple[Assertion, ...] = ()
    unsupported: str = ""
    line: int = 0

    @property
    def name(self) -> str:
        """The type as it is written in the file."""
        return f"not-{self.type}" if self.negated else self.type

    @property
    def asks_answer(self) -> bool:
        """Whether an answer is needed; the context alone may do."""
        if self.parts:
            return any(part.asks_answer for part in self.parts)
        return not self.unsupported and TYPES[self.type].looks != "context"

    @property
    def uses(self) -> frozenset[str]:
        """The variables that its value is written with."""
        values = self.value if isinstance(self.value, list) else [self.value]
        own = (_template(each)[1] for each in values if isinstance(each, str) and "{{" in each)
        return frozenset[str]().union(*own, *(part.uses for part in self.parts))

    def filled(self, values: Mapping[str, Any]) -> Any:
        """The value with the test's variables in it. Raises PromptError.

        >>> Assertion("contains", value="in {{ city }}").filled({"city": "Roma"})
        'in Roma'
        """
        from rag.prompts.sandbox import rendered

        def fill(value: Any) -> Any:
            if isinstance(value, str) and "{{" in value:
                return rendered(_template(value)[0], values)
            return [fill(each) for each in value] if isinstance(value, list) else value

        return fill(self.value)


def _textual(part: Part) -> str:
    if isinstance(part.value, bool) or part.value is None or isinstance(part.value, tuple | Mapping):
        hint = "; put it in quotes if it is a text" if isinstance(part.value, bool) else ""
        raise PromptError(f"line {part.line}: the value is {part.kind}; write a text{hint}")
    if part.written.startswith("file://"):
        raise PromptError(f"line {part.line}: {part.written} is not read; write its text here")
    return part.written


def _texts(part: Part) -> list[str]:
    if not isinstance(part.value, tuple) or not part.value:
        raise PromptError(f"line {part.line}: the value is {part.kind}; write a list of texts")
    return [_textual(each) for each in part.value]


def _text_or_texts(part: Part) -> list[str]:
    return _texts(part) if isinstance(part.value, tuple) else [_textual(part)]


def _anything(part: Part) -> Any:
    return part.plain() if isinstance(part.value, tuple | Mapping) else _textual(part)


def _count(part: Part) -> int:
    if not isinstance(part.value, int) or isinstance(part.value, bool) or part.value < 1:
        raise PromptError(f"line {part.line}: the value must be a whole number from 1")
    return part.value


def _pattern(part: Part) -> str:
    written = _textual(part)
    if "{{" not in written:
        _at(part, check_pattern, written)
    return written


def _schema(part: Part) -> Any:
    if not isinstance(part.value, Mapping):
        raise PromptError(f"line {part.line}: the value is {part.kind}; write a JSON schema")
    schema = part.plain()
    _at(part, check_schema, schema)
    return schema


def _language(part: Part) -> str:
    code = _textual(part)
    if not (len(code) == 2 and code.isalpha() and code.islower()):
        raise PromptError(f"line {part.line}: write the language as two letters, such as es or en")
    return code


def _at(part: Part, check: Callable[[Any], object], value: Any) -> None:
    try:
        check(value)
    except PromptError as error:
        raise PromptError(f"line {part.line}: {error}") from None


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type looks at and takes: ``read`` makes its value of what is written, None where it takes
    none; ``needed`` says that it has to be there; ``graded``, that it has a threshold from 0 to 1."""

    looks: Looks
    read: Callable[[Part], Any] | None = None
    needed: bool = True
    graded: bool = False


TYPES: Mapping[str, Kind] = {
    "contains": Kind("answer", _textual),
    "icontains": Kind("answer", _textual),
    "contains-all": Kind("answer", _texts),
    "contains-any": Kind("answer", _texts),
    "icontains-all": Kind("answer", _texts),
    "icontains-any": Kind("answer", _texts),
    "equals": Kind("answer", _anything),
    "starts-with": Kind("answer", _textual),
    "regex": Kind("answer", _pattern),
    "is-json": Kind("answer", _schema, needed=False),
    "contains-json": Kind("answer", _schema, needed=False),
    "json-schema": Kind("answer", _schema),
    "max-tokens": Kind("answer", _count),
    "language": Kind("answer", _language),
    "similar": Kind("answer", _text_or_texts, graded=True),
    "llm-rubric": Kind("answer", _textual, graded=True),
    "found": Kind("answer"),
    "cites": Kind("both", _count, needed=False),
    "cites-only-retrieved": Kind("both"),
    "context-contains": Kind("context", _text_or_texts),
    "context-recall": Kind("context", _text_or_texts, graded=True),
}
"""The assertions there are, each also with ``not-`` before it; and ``assert-set``, which groups them."""

_PROMPTFOO = """
    javascript python ruby webhook cost latency perplexity perplexity-score classifier moderation guardrails
    model-graded-closedqa model-graded-factuality factuality answer-relevance context-faithfulness
    context-relevance conversation-relevance g-eval pi select-best max-score human search-rubric agent-rubric
    is-sql contains-sql is-xml contains-xml is-html contains-html rouge-n bleu gleu meteor levenshtein
    word-count is-refusal finish-reason is-valid-function-call is-valid-openai-function-call
    is-valid-openai-tools-call tool-call-f1 skill-used trace-span-count trace-span-duration
    trace-error-spans"""
_NOT_RUN = frozenset(_PROMPTFOO.split())
"""promptfoo's that are not run here: some would run code of the file, some ask services."""
_KEYS = ("type", "value", "threshold", "weight", "metric", "assert")
_ELSEWHERE = ("provider", "rubricPrompt", "config", "transform", "contextTransform")


def read_assertion(part: Part, root: Part, *, names: Collection[str] = (), depth: int = 0) -> Assertion:
    """One assertion of the file ``root``; its value may use the variables ``names``.

    Raises PromptError with the line.
    """
    part = referred(part, root)
    line = part.line
    if not isinstance(part.value, Mapping):
        raise PromptError(f"line {line}: an assertion is {part.kind}; write {{type: contains, value: …}}")
    fields = part.value
    if "type" not in fields:
        raise PromptError(f"line {line}: the assertion has no type")
    written = _textual(fields["type"])
    negated = written.startswith("not-")
    type_ = written.removeprefix("not-")
    unsupported = ""
    if type_ in _NOT_RUN or type_.startswith("trajectory:"):
        unsupported = f"the type {type_} of promptfoo is not evaluated here"
    elif type_ not in TYPES and type_ != "assert-set":
        near = get_close_matches(type_, TYPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(TYPES)}, assert-set"
        raise PromptError(f"line {fields['type'].line}: no assertion {written!r}; {hint}")
    for key, value in fields.items():
        if key in _ELSEWHERE:
            unsupported = unsupported or f"`{key}` is promptfoo's own and is not followed here"
        elif key not in _KEYS:
            raise PromptError(f"line {value.line}: no key {key!r} in an assertion; {', '.join(_KEYS)}")
    made = Assertion(
        type_,
        negated,
        threshold=_threshold(fields, type_, unsupported),
        weight=_weight(fields["weight"]) if "weight" in fields else 1.0,
        metric=_textual(fields["metric"]) if "metric" in fields else "",
        parts=_set(part, root, names, depth) if type_ == "assert-set" else (),
        unsupported=unsupported,
        line=line,
    )
    if unsupported or made.parts:
        return made
    if "assert" in fields:
        raise PromptError(f"line {fields['assert'].line}: only an assert-set holds assertions")
    return _with_value(made, fields.get("value"), names)


def _with_value(made: Assertion, part: Part | None, names: Collection[str]) -> Assertion:
    kind = TYPES[made.type]
    if part is None or part.value is None:
        if kind.needed and kind.read is not None:
            raise PromptError(f"line {made.line}: {made.name} needs a value")
        return made
    if kind.read is None:
        raise PromptError(f"line {part.line}: {made.name} takes no value")
    value = kind.read(part)
    if kind.read is not _schema:
        _check_templates(value, part.line, names)
    return replace(made, value=value)


def _set(part: Part, root: Part, names: Collection[str], depth: int) -> tuple[Assertion, ...]:
    held = part.value.get("assert") if isinstance(part.value, Mapping) else None
    if depth >= MAX_NESTED:
        raise PromptError(f"line {part.line}: sets inside sets, more than {MAX_NESTED} deep")
    if held is None or not isinstance(held.value, tuple) or not held.value:
        raise PromptError(f"line {part.line}: an assert-set needs a list `assert:`")
    return tuple(read_assertion(each, root, names=names, depth=depth + 1) for each in held.value)


def _threshold(fields: Mapping[str, Part], type_: str, unsupported: str) -> float | None:
    if "threshold" not in fields or unsupported:
        return None
    part = fields["threshold"]
    if type_ != "assert-set" and not TYPES[type_].graded:
        graded = ", ".join(name for name, kind in TYPES.items() if kind.graded)
        raise PromptError(f"line {part.line}: {type_} has no threshold; {graded} and assert-set have")
    return share(part, "threshold")


def share(part: Part, what: str) -> float:
    """A number from 0 to 1. Raises PromptError with the line."""
    if not isinstance(part.value, int | float) or isinstance(part.value, bool) or not 0 <= part.value <= 1:
        raise PromptError(f"line {part.line}: {what} must be a number from 0 to 1")
    return float(part.value)


def _weight(part: Part) -> float:
    if not isinstance(part.value, int | float) or isinstance(part.value, bool) or part.value < 0:
        raise PromptError(f"line {part.line}: weight must be a number from 0 up")
    return float(part.value)


def _check_templates(value: Any, line: int, names: Collection[str]) -> None:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "{{" in text:
            try:
                unknown = sorted(_template(text)[1] - set(names))
            except InvalidTemplate as error:
                raise PromptError(f"line {line}: in the value, {error}") from None
            if unknown:
                raise PromptError(
                    f"line {line}: the value uses {', '.join(unknown)}, which the test does not set"
                )


@lru_cache(maxsize=1000)
def _template(text: str) -> tuple[Template, frozenset[str]]:
    from rag.prompts.sandbox import compiled

    return compiled(text, first_line=1)
