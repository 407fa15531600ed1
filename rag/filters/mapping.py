"""The filter as a mapping: the operators that MongoDB and Chroma made known, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, cast

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
    text_of,
    too_deep,
)
from rag.types import clean_text

Where: TypeAlias = Filter | Mapping[str, Any]
"""A filter, or the mapping that :func:`of` makes one of. {} filters nothing."""

_SIGNS: Mapping[str, Sign] = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_OPERATORS = ("$eq", "$ne", "$in", "$nin", *_SIGNS, "$exists")


def of(where: Where) -> Filter:
    """The filter that a mapping means; a filter is itself. Several keys must all hold. Raises InvalidFilter.

    >>> of({"language": "es", "year": {"$gte": 2020, "$ne": 2023}})
    And(parts=(In(name='language', values=('es',)), Compare(name='year', sign='>=', value='2020'), \
Not(part=In(name='year', values=('2023',)))))
    >>> of({"$not": {"tags": {"$in": ["draft", "old"]}}})
    Not(part=In(name='tags', values=('draft', 'old')))
    """
    made = _all(where, at="where", depth=0) if isinstance(where, Mapping) else where
    check(made)
    return made


def as_json(where: Filter) -> dict[str, Any]:
    """The filter as :func:`of` reads it, for receipts: plain data.

    >>> as_json(of({"language": "es", "year": {"$lt": 2020}}))
    {'language': 'es', 'year': {'$lt': '2020'}}
    """
    match where:
        case In(name, (value,)):
            return {name: value}
        case In(name, values):
            return {name: {"$in": list(values)}}
        case Compare(name, sign, value):
            return {name: {next(word for word, own in _SIGNS.items() if own == sign): value}}
        case Exists(name):
            return {name: {"$exists": True}}
        case Not(part):
            return {"$not": as_json(part)}
        case And(parts):
            written = [as_json(part) for part in parts]
            keys = [key for each in written for key in each]
            if len(set(keys)) == len(keys) and not any(isinstance(part, And) for part in parts):
                return {key: value for each in written for key, value in each.items()}
            return {"$and": written}
        case Or(parts):
            return {"$or": [as_json(part) for part in parts]}


def _all(where: Any, *, at: str, depth: int) -> Filter:
    """All keys of a mapping. ``at`` says where it stands, for messages."""
    if not isinstance(where, Mapping):
        raise InvalidFilter(f'{at}: {_shown(where)} is no filter; write an object, as {{"language": "es"}}')
    if depth > MAX_DEPTH:
        raise too_deep()
    return joined(And, [_one(key, value, at=at, depth=depth) for key, value in where.items()])


def _one(key: object, value: Any, *, at: str, depth: int) -> Filter:
    if not isinstance(key, str):
        raise InvalidFilter(f"{at}: the key {key!r} is no text")
    at = f"{at}.{key}"
    if key in ("$and", "$or"):
        if not isinstance(value, list | tuple) or not value:
            raise InvalidFilter(f"{at}: {_shown(value)} is no list of filters; it takes one or more")
        parts = [_all(part, at=f"{at}[{place}]", depth=depth + 1) for place, part in enumerate(value)]
        return joined(And if key == "$and" else Or, parts)
    if key == "$not":
        return Not(_all(value, at=at, depth=depth + 1))
    if key.startswith("$"):
        raise InvalidFilter(f"{at}: there is $and, $or and $not; {', '.join(_OPERATORS)} stand below a key")
    name = clean_text(key)
    if not isinstance(value, Mapping):
        return In(name, (_text(value, at),))
    if not value:
        raise InvalidFilter(f"{at}: an object without an operator; there is {', '.join(_OPERATORS)}")
    return joined(And, [_operation(name, operator, own, at=at) for operator, own in value.items()])


def _operation(name: str, operator: object, value: Any, *, at: str) -> Filter:
    at = f"{at}.{operator}"
    match operator:
        case "$eq":
            return In(name, (_text(value, at),))
        case "$ne":
            return Not(In(name, (_text(value, at),)))
        case "$in" | "$nin":
            if not isinstance(value, list | tuple):
                raise InvalidFilter(f"{at}: {_shown(value)} is no list of values")
            found = In(name, tuple(dict.fromkeys(_text(one, f"{at}[{n}]") for n, one in enumerate(value))))
            return found if operator == "$in" else Not(found)
        case "$lt" | "$lte" | "$gt" | "$gte":
            if isinstance(value, bool):
                raise InvalidFilter(f"{at}: true and false have no order; write a number or a text")
            return Compare(name, _SIGNS[cast("str", operator)], _text(value, at))
        case "$exists":
            if not isinstance(value, bool):
                raise InvalidFilter(f"{at}: {_shown(value)}; write true or false")
            return Exists(name) if value else Not(Exists(name))
        case _:
            raise InvalidFilter(f"{at}: there is {', '.join(_OPERATORS)}")


def _text(value: Any, at: str) -> str:
    if not isinstance(value, str | int | float):
        mend = "; $in takes several" if isinstance(value, list | tuple) else ""
        raise InvalidFilter(f"{at}: {_shown(value)} is no text, number, true or false{mend}")
    return clean_text(value) if isinstance(value, str) else text_of(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
