"""The filter as it is typed: ``language=es and (year>=2020 or not draft=true)``.

    filter     alternative {"or" alternative}
    alternative  condition {"and" condition}
    condition  "not" condition  |  "(" filter ")"  |  KEY SIGN VALUE
               |  KEY ["not"] "in" "(" VALUE {"," VALUE} ")"  |  KEY "exists"
    SIGN       = != < <= > >=

Keys and values may stand in quotes, "like this" or 'like this', with a backslash before a quote inside. A key
without quotes is one word. A value without them may have several: it ends at ``and``, ``or``, a bracket or
the end, in a list at a comma too. ``a=b=c`` is the value ``b=c``.
"""

from __future__ import annotations

import re

from rag.errors import InvalidFilter
from rag.filters.tree import (
    MAX_DEPTH,
    And,
    Compare,
    Exists,
    Filter,
    In,
    Not,
    Or,
    Sign,
    check,
    joined,
    too_deep,
)
from rag.types import clean_text

_SPACE = re.compile(r"\s*")
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1)[^\\])*)\1""", re.DOTALL)
_KEY = re.compile(r"""[^\s()=!<>,"']+""")
_SIGN = re.compile(r"==|=|!=|<=|>=|<|>")
_NOT = re.compile(r"not(?=\s+[^\s=!<>]|\s*\()", re.IGNORECASE)
_IN = re.compile(r"(not\s+)?in(?=\s*\()", re.IGNORECASE)
_EXISTS = re.compile(r"exists(?=[\s)]|$)", re.IGNORECASE)
_AND = re.compile(r"and(?=[\s(]|$)", re.IGNORECASE)
_OR = re.compile(r"or(?=[\s(]|$)", re.IGNORECASE)
_OPEN = re.compile(r"\(")
_CLOSE = re.compile(r"\)")
_COMMA = re.compile(r",")
_WORD = re.compile(r"[^\s()]+")
_ELEMENT = re.compile(r"[^,()]+")
_SHOWN = 20
"""Characters that are shown of what is wrong."""


def parse(text: str) -> Filter:
    """The filter that a text means. Raises InvalidFilter, which shows where it cannot be read.

    >>> parse("year>=2020 and not tag in (a, 'b c')")
    And(parts=(Compare(name='year', sign='>=', value='2020'), Not(part=In(name='tag', values=('a', 'b c')))))
    >>> parse("author=Ana Gil")
    In(name='author', values=('Ana Gil',))
    """
    reader = _Reader(clean_text(text))
    made = reader.filter(depth=1)
    if reader.more():
        raise reader.wrong("and, or, or its end (a value with brackets or signs in it stands in quotes)")
    check(made)
    return made


class _Reader:
    """Reads a text from left to right; ``at`` is where it stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def filter(self, *, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise too_deep()
        parts = [self.alternative(depth=depth)]
        while self.taken(_OR):
            parts.append(self.alternative(depth=depth))
        return joined(Or, parts)

    def alternative(self, *, depth: int) -> Filter:
        parts = [self.condition(depth=depth)]
        while self.taken(_AND):
            parts.append(self.condition(depth=depth))
        return joined(And, parts)

    def condition(self, *, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise too_deep()
        if self.taken(_NOT):
            return Not(self.condition(depth=depth + 1))
        if self.taken(_OPEN):
            made = self.filter(depth=depth + 1)
            if not self.taken(_CLOSE):
                raise self.wrong("and, or, or a closing bracket")
            return made
        name = self.quoted() or self.taken(_KEY)
        if not name:
            raise self.wrong("a condition, as language=es")
        if sign := self.taken(_SIGN):
            value = self.value()
            match sign:
                case "=" | "==":
                    return In(name, (value,))
                case "!=":
                    return Not(In(name, (value,)))
                case _:
                    return Compare(name, _sign(sign), value)
        if found := self.taken(_IN):
            listed = In(name, self.listed())
            return Not(listed) if found[:3].lower() == "not" else listed
        if self.taken(_EXISTS):
            return Exists(name)
        raise self.wrong("=, !=, <, <=, >, >=, in (…), not in (…) or exists")

    def value(self) -> str:
        if (text := self.quoted()) is not None:
            return text
        start = end = self.at
        while word := _WORD.match(self.text, self.at):
            if end > start and (_AND.match(self.text, self.at) or _OR.match(self.text, self.at)):
                break
            if end > start and _SIGN.search(word[0]):
                raise self.wrong(
                    "and, or, or its end (a value with brackets or signs in it stands in quotes)"
                )
            self.at = end = word.end()
            self.skip()
        if end == start:
            raise self.wrong('a value ("" is the empty one)')
        return self.text[start:end]

    def listed(self) -> tuple[str, ...]:
        self.taken(_OPEN)
        values: dict[str, None] = {}
        while True:
            value = self.quoted()
            if value is None:
                value = self.taken(_ELEMENT).strip()
                if not value:
                    raise self.wrong("a value")
            values[value] = None
            if self.taken(_CLOSE):
                return tuple(values)
            if not self.taken(_COMMA):
                raise self.wrong("a comma or a closing bracket")

    def quoted(self) -> str | None:
        """What stands in quotes here; None where nothing does."""
        self.skip()
        if self.text[self.at : self.at + 1] not in ('"', "'"):
            return None
        if not (found := _QUOTED.match(self.text, self.at)):
            raise self.wrong("a closing quote behind this one")
        self.at = found.end()
        return re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL)

    def taken(self, token: re.Pattern[str]) -> str:
        """The token, if it stands here: then it is read; else ""."""
        self.skip()
        if not (found := token.match(self.text, self.at)):
            return ""
        self.at = found.end()
        return found[0]

    def more(self) -> bool:
        self.skip()
        return self.at < len(self.text)

    def skip(self) -> None:
        if found := _SPACE.match(self.text, self.at):
            self.at = found.end()

    def wrong(self, expected: str) -> InvalidFilter:
        """The error for what stands here."""
        self.skip()
        rest = self.text[self.at : self.at + _SHOWN]
        place = f"at character {self.at + 1}, not {rest!r}" if rest else "at its end"
        return InvalidFilter(f"filter {_shortened(self.text)!r}: expected {expected} {place}")


def _shortened(text: str) -> str:
    return text if len(text) <= 10 * _SHOWN else f"{text[: 10 * _SHOWN]}…"


def _sign(sign: str) -> Sign:
    signs: dict[str, Sign] = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
    return signs[sign]
