"""The values that go into a prompt: declared, checked, plain data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rag.errors import PromptError
from rag.neutral import neutral
from rag.types import clean_text

MAX_VALUE = 1_000_000
"""Characters of one value, all its strings together; each element of a list counts one."""
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Input:
    """A variable of a prompt. ``kind`` is one of :data:`KINDS`; ``default`` serves when not required."""

    name: str
    kind: str
    description: str
    required: bool
    default: Any


def checked(declared: Input, value: Any) -> Any:
    """``value`` as its input's kind, clean and neutral; text is read as a number, list or object where due.

    Raises PromptError naming the variable.

    >>> checked(Input("n", "integer", "", True, None), "3")
    3
    """
    if value is None:
        return _EMPTY.get(declared.kind)
    try:
        kept = KINDS[declared.kind](value)
    except (ValueError, TypeError):
        shown = repr(value)[:60]
        raise PromptError(f"variable {declared.name}: {shown} is not of kind {declared.kind}") from None
    room = MAX_VALUE
    stack: list[tuple[Any, int]] = [(kept, 0)]
    while stack:
        part, depth = stack.pop()
        room -= len(part) if isinstance(part, str) else 1
        if room < 0 or depth > MAX_DEPTH:
            raise PromptError(
                f"variable {declared.name} is too large or too deep (limit {MAX_VALUE} characters)"
            )
        if isinstance(part, Mapping):
            stack.extend((each, depth + 1) for pair in part.items() for each in pair)
        elif isinstance(part, list | tuple):
            stack.extend((each, depth + 1) for each in part)
        elif not isinstance(part, str | int | float | bool | None):
            raise PromptError(f"variable {declared.name}: {type(part).__name__} is not plain data")
    return _clean(kept)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return neutral(clean_text(value))
    if isinstance(value, Mapping):
        return {_clean(key): _clean(each) for key, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list | tuple) else value


def _string(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError
    return str(value)


def _boolean(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


def _parsed(*kinds: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except RecursionError:
                raise ValueError from None
        if not isinstance(value, kinds):
            raise TypeError
        return value

    return read


_EMPTY: Mapping[str, Any] = {"string": "", "array": [], "object": {}}
KINDS: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "integer": int,
    "float": float,
    "boolean": _boolean,
    "array": _parsed(list, tuple),
    "object": _parsed(dict),
}
"""Prompty's kinds of input that are plain data."""
