"""The filter as a tree of values: how it judges a document, and how large it may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rag.errors import InvalidFilter
from rag.types import Metadata, MetadataValue

Sign: TypeAlias = Literal["<", "<=", ">", ">="]

MAX_DEPTH = 20
"""Conditions within conditions: more than anyone reads, and far less than SQL takes."""
MAX_CONDITIONS = 100
MAX_VALUES = 1_000
"""Of all conditions together."""
MAX_VALUE = 10_000
"""Characters: what is kept of a metadata value."""

_NUMBER = re.compile(r"(?!-0$)-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?(?:e[+-]\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class In:
    """The key ``name`` has one of these values, as :func:`text_of` writes them."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The key ``name`` has a value on this side of ``value``, as :func:`text_of` writes it."""

    name: str
    sign: Sign
    value: str


@dataclass(frozen=True, slots=True)
class Exists:
    """The key ``name`` is there."""

    name: str


@dataclass(frozen=True, slots=True)
class And:
    """All of ``parts`` hold; of none that is so."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of ``parts`` holds; of none that is never so."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """``part`` does not hold."""

    part: Filter


Filter: TypeAlias = In | Compare | Exists | And | Or | Not
EVERYTHING = And(())
"""The filter that every document passes."""


def both(filters: Sequence[Filter]) -> Filter:
    """The filter of what passes all of these. Raises InvalidFilter where it becomes too large.

    >>> both([In("a", ("1",)), And((Exists("b"), Exists("c")))])
    And(parts=(In(name='a', values=('1',)), Exists(name='b'), Exists(name='c')))
    """
    made = joined(And, filters)
    check(made)
    return made


def joined(kind: type[And] | type[Or], parts: Sequence[Filter]) -> Filter:
    """One And, or one Or, of all; one part alone is itself."""
    flat: list[Filter] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) and part.parts else [part])
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def passes(where: Filter, metadata: Metadata) -> bool:
    """Whether a document with this metadata passes.

    >>> passes(And((In("tags", ("b",)), Compare("year", ">", "999"))), {"tags": ("a", "b"), "year": 2026})
    True
    >>> passes(Not(In("year", ("2026",))), {"tags": ("a", "b")})
    True
    """
    match where:
        case In(name, values):
            return any(value in values for value in _values(metadata, name))
        case Compare(name, sign, value):
            return any(_compares(own, sign, value) for own in _values(metadata, name))
        case Exists(name):
            return bool(_values(metadata, name))
        case And(parts):
            return all(passes(part, metadata) for part in parts)
        case Or(parts):
            return any(passes(part, metadata) for part in parts)
        case Not(part):
            return not passes(part, metadata)


def names(where: Filter) -> list[str]:
    """The keys that a filter asks for, as they are met."""
    return list(dict.fromkeys(leaf.name for leaf in _leaves(where)))


def text_of(value: MetadataValue) -> str:
    """How a value, or an element of a list, is written where filters compare it.

    >>> text_of("b"), text_of(2026.0), text_of(1.5), text_of(True)
    ('b', '2026', '1.5', 'true')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return str(value)


def number_of(text: str) -> float | None:
    """The number that a value is, as :func:`text_of` writes it; None of one that is none.

    >>> number_of("2026"), number_of("-0.5"), number_of("007"), number_of("1.10"), number_of("2026-01-01")
    (2026.0, -0.5, None, None, None)
    """
    return float(text) if _NUMBER.fullmatch(text) else None


def check(where: Filter) -> None:
    """Raise InvalidFilter for a filter that is too deep or too large, or has a key that none can have."""
    _check_depth(where, 1)
    leaves = list(_leaves(where))
    if len(leaves) > MAX_CONDITIONS:
        raise InvalidFilter(f"the filter has {len(leaves)} conditions; at most {MAX_CONDITIONS} are read")
    values = [value for leaf in leaves for value in _asked(leaf)]
    if len(values) > MAX_VALUES:
        raise InvalidFilter(f"the filter has {len(values):,} values; at most {MAX_VALUES:,} are read")
    for name in names(where):
        if not name or name.startswith("$"):
            raise InvalidFilter(f"the filter's key {name!r}: a key is a text, and begins with no $")
    for text in (*names(where), *values):
        if len(text) > MAX_VALUE:
            raise InvalidFilter(f"the filter's {text[:40]!r}… has more than {MAX_VALUE:,} characters")


def _check_depth(where: Filter, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise too_deep()
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                _check_depth(part, depth + 1)
        case Not(part):
            _check_depth(part, depth + 1)


def too_deep() -> InvalidFilter:
    return InvalidFilter(f"the filter is nested more than {MAX_DEPTH} deep")


def _leaves(where: Filter) -> Iterator[In | Compare | Exists]:
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(part):
            yield from _leaves(part)
        case _:
            yield where


def _asked(leaf: In | Compare | Exists) -> tuple[str, ...]:
    match leaf:
        case In(_, values):
            return values
        case Compare(_, _, value):
            return (value,)
        case _:
            return ()


def _values(metadata: Metadata, name: str) -> list[str]:
    if name not in metadata:
        return []
    value = metadata[name]
    return [text_of(one) for one in (value if isinstance(value, tuple) else (value,))]


def _compares(own: str, sign: Sign, value: str) -> bool:
    a, b = number_of(own), number_of(value)
    low, high = ((own < value), (own > value)) if a is None or b is None else ((a < b), (a > b))
    return {"<": low, "<=": not high, ">": high, ">=": not low}[sign]
