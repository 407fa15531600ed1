"""Foreign files as plain data: bounded, safe, with the line in every refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rag.errors import InvalidTemplate
from rag.prompts.testing.located import read_yaml
from rag.types import clean_text

MAX_FILE = 1_000_000
"""Characters of a file to take over."""


def cleaned(text: str, *, file: str = "the file") -> str:
    """The text of a foreign file as we keep text. Raises InvalidTemplate for one that is too long."""
    if len(text) > MAX_FILE:
        raise InvalidTemplate(f"{file} has {len(text):,} characters; the limit is {MAX_FILE:,}")
    return clean_text(text.removeprefix("\ufeff"))


def yaml_of(text: str, *, first_line: int = 1) -> Any:
    """YAML as plain data: no tags, no objects. Raises PromptError, with the line."""
    data = read_yaml("\n" * (first_line - 1) + text).plain()
    room, stack = MAX_FILE, [data]
    while stack and room >= 0:
        part = stack.pop()
        room -= len(part) if isinstance(part, str) else 1
        if isinstance(part, Mapping):
            stack += [*part, *part.values()]
        elif isinstance(part, list):
            stack += part
    if room < 0:  # a few lines that refer to each other can say billions
        raise InvalidTemplate(f"the file says more than {MAX_FILE:,} characters of text")
    return data


def json_of(text: str) -> Any:
    """JSON as plain data. Raises InvalidTemplate, with the line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidTemplate(f"line {error.lineno}: not JSON: {error.msg}") from None
    except (RecursionError, ValueError):
        raise InvalidTemplate("line 1: not JSON: nested too deeply, or a number too long") from None


def mapping(within: Mapping[Any, Any], key: str) -> Mapping[str, Any]:
    """A mapping that may be absent. Raises InvalidTemplate for anything else in its place."""
    value = within.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidTemplate(f"{key} must be a mapping")
    return {str(name): each for name, each in value.items()}


def texts(value: object) -> Any:
    """The same data with every text in it cleaned: JSON can say what no text file can hold."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {texts(key): texts(each) for key, each in value.items()}
    return [texts(each) for each in value] if isinstance(value, list) else value


def shown(value: object) -> str:
    """A value as a person reads it in a line about it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:59]}…"
