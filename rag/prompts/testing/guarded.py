"""Regular expressions and JSON schemas over what a model wrote, inside bounds.

An expression is its author's, the text is anyone's: one that takes exponential time on some text is
stopped. Schemas hold expressions too, and references, of which none is fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from rag.errors import PromptError

MAX_PATTERN = 2_000
"""Characters of an expression."""
MAX_REPEATED = 100_000
"""What an expression may come to with its counted repetitions written out, as compiling does: a few signs,
``(?:(?:a{1000}){1000}){1000}``, would keep a machine busy for hours."""
SECONDS = 0.5
"""That one expression may search one text. An ordinary one takes microseconds."""
MAX_STARTS = 200
"""Places of a text at which a JSON value is tried to be read."""

_TOKEN = re.compile(
    r"\\(?P<escaped>.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|\{(?P<least>\d*)(?:,(?P<most>\d*))?\}"
    r"|(?P<comment>\(\?#[^)]*\))|(?P<open>\()|(?P<close>\))|(?P<other>.)",
    re.DOTALL,
)
_OTHER_GRAMMAR = re.compile(r"\(\?[A-Za-z0-9]*[xV]")  # flags by which signs mean something else


class OverTime(Exception):
    """An expression was stopped; ``str(error)`` says which."""


def check_pattern(pattern: str) -> None:
    """Raises PromptError for an expression that cannot be read."""
    import regex

    if len(pattern) > MAX_PATTERN:
        raise PromptError(f"the expression has {len(pattern):,} characters; the limit is {MAX_PATTERN:,}")
    if _OTHER_GRAMMAR.search(pattern):
        raise PromptError("the flags x and V of an expression are not supported")
    if repeated(pattern) > MAX_REPEATED:
        raise PromptError(f"the expression's repetitions come to more than {MAX_REPEATED:,}")
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise PromptError(f"not a regular expression: {error}") from None


def repeated(pattern: str) -> int:
    """How many signs an expression has, each counted as often as its counted repetitions say.

    >>> repeated("ab{3}"), repeated("([0-9]{2}:){3}")
    (4, 9)
    """
    totals, last = [0], 0
    for token in _TOKEN.finditer(pattern):
        if token["open"]:
            totals.append(0)
            last = 0
            continue
        if token["close"]:
            last = totals.pop() if len(totals) > 1 else 0
            totals[-1] += last
        elif token["least"] or token["most"]:
            times = max(int(token["least"] or 0), int(token["most"] or 0), 1)
            totals[-1] += last * (times - 1)
            last *= times
        elif not token["comment"] and token["other"] not in ("*", "+", "?", "|"):
            last = 1
            totals[-1] += 1
    return sum(totals)


def search(pattern: str, text: str) -> str | None:
    """The first match, None when there is none. Raises OverTime, and PromptError for what is no expression.

    >>> search(r"[0-9]+ euros", "it costs 25 euros")
    '25 euros'
    """
    import regex

    check_pattern(pattern)
    try:
        found = regex.search(pattern, text, timeout=SECONDS)
    except TimeoutError:
        raise OverTime(f"the expression {pattern!r} was stopped after {SECONDS} s on this text") from None
    return None if found is None else str(found.group())


def read_json(text: str) -> Any:
    """The JSON value that ``text`` is. Raises ValueError.

    >>> read_json('{"a": [1, null]}')
    {'a': [1, None]}
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def find_json(text: str) -> Iterator[Any]:
    """The JSON objects and lists that stand in ``text``, from left to right; none lies in another.

    >>> list(find_json('So: {"a": [1]} or [2, 3].'))
    [{'a': [1]}, [2, 3]]
    """
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at = 0
    for _ in range(MAX_STARTS):
        places = [place for place in (text.find("{", at), text.find("[", at)) if place >= 0]
        if not places:
            return
        at = min(places)
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
        else:
            yield value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises PromptError for what is no JSON schema, or refers to one elsewhere."""
    from jsonschema.exceptions import SchemaError

    kind = _validators(str(schema.get("$schema", "")))
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path))
        told = f"{where}: {error.message}" if where else error.message
        raise PromptError(f"not a JSON schema: {told[:300]}") from None
    except RecursionError:
        raise PromptError("not a JSON schema: nested too deeply") from None
    for name, value in _pairs(schema):
        if name == "$ref" and isinstance(value, str) and not value.startswith("#"):
            raise PromptError(f"the schema refers to {value}, and nothing is fetched; put it under $defs")
        if name == "unevaluatedProperties" and any(key == "patternProperties" for key, _ in _pairs(schema)):
            raise PromptError("patternProperties and unevaluatedProperties in one schema are not supported")
        if name == "pattern" and isinstance(value, str):
            check_pattern(value)
        if name == "patternProperties" and isinstance(value, Mapping):
            for pattern in value:
                check_pattern(pattern)


def schema_faults(schema: Mapping[str, Any], value: Any) -> str:
    """What of ``value`` the schema refuses, "" when it fits. Raises OverTime.

    ``schema`` has passed :func:`check_schema`. Draft 2020-12 where it names none.

    >>> schema_faults({"type": "object", "required": ["city"]}, {"town": "Roma"})
    "'city' is a required property"
    """
    from jsonschema.exceptions import best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = _validators(str(schema.get("$schema", "")))(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unresolved:
        return f"the schema refers to {unresolved.ref}, which it does not hold"
    except RecursionError:
        return "the answer, or the schema, is nested too deeply"
    if error is None:
        return ""
    where = "/".join(map(str, error.absolute_path))
    return f"{where}: {error.message}" if where else str(error.message)


@lru_cache(maxsize=8)
def _validators(named: str) -> Any:
    """The validator of a draft, with our bounded search in place of ``re``."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend, validator_for

    draft = validator_for({"$schema": named} if named else {}, default=Draft202012Validator)
    keywords = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    return extend(draft, {name: check for name, check in keywords.items() if name in draft.VALIDATORS})


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if validator.is_type(instance, "string") and search(pattern, instance) is None:
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, _: Any) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if search(pattern, name) is not None:
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, additional: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not validator.is_type(instance, "object"):
        return
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    extra = [
        name
        for name in instance
        if name not in known and not any(search(pattern, name) is not None for pattern in patterns)
    ]
    if validator.is_type(additional, "object"):
        for name in extra:
            yield from validator.descend(instance[name], additional, path=name)
    elif not additional and extra:
        yield ValidationError(f"unexpected: {', '.join(map(repr, sorted(extra)))}")


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every mapping, with what stands under it."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            yield from part.items()
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)
