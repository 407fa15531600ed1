"""A filter as SQL: which chunks of a space stand in documents that pass it.

Every condition is a search of one index; SQLite puts their sets of documents together. Names and values are
bound, never pasted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np

from rag.filters import And, Compare, Exists, Filter, In, Not, Or, number_of
from rag.types import Keys

Sql: TypeAlias = tuple[str, list[object]]
"""An expression, and the values of its question marks."""

# The chunks of a document in a space are written by one writer in one transaction: their keys follow each
# other, and the first says them all. At a million chunks, reading each would take a second.
PASSING = "SELECT u.first_key, u.chunks FROM cuts u WHERE u.space_id = ? AND "
OF_NAME = "SELECT document_key FROM document_metadata WHERE name = ?"


def passing(db: sqlite3.Connection, space_id: int, where: Filter) -> Keys:
    """The keys, rising, of the live chunks of a space whose documents pass the filter."""
    expression, values = condition(where)
    rows = db.execute(PASSING + expression, [space_id, *values]).fetchall()
    first, count = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    before = np.cumsum(count) - count
    keys: Keys = np.repeat(first - before, count) + np.arange(count.sum())
    return np.sort(keys)


def condition(where: Filter) -> Sql:
    """The expression over ``u.document_key`` that is true of the documents that pass.

    >>> condition(Not(In("language", ("es",))))
    ('NOT u.document_key IN (SELECT document_key FROM document_metadata WHERE name = ? AND number IS NULL \
AND value IN (?))', ['language', 'es'])
    """
    match where:
        case And(parts):
            return _joined(" AND ", parts, empty="1")
        case Or(parts):
            return _joined(" OR ", parts, empty="0")
        case Not(part):
            sql, values = condition(part)
            return f"NOT {sql}", values
        case Exists(name):
            return _documents([(OF_NAME, [name])])
        case In(name, values):
            return _documents(_equal(name, values))
        case Compare(name, sign, value):
            return _documents(_compared(name, sign, value))


def _joined(word: str, parts: Sequence[Filter], *, empty: str) -> Sql:
    made = [condition(part) for part in parts]
    sql = word.join(sql for sql, _ in made) or empty
    return f"({sql})", [value for _, values in made for value in values]


def _documents(searches: Sequence[Sql]) -> Sql:
    union = " UNION ALL ".join(sql for sql, _ in searches) or "SELECT NULL WHERE 0"
    return f"u.document_key IN ({union})", [value for _, values in searches for value in values]


def _equal(name: str, values: Sequence[str]) -> list[Sql]:
    numbers = {text: number for text in values if (number := number_of(text)) is not None}
    texts = [text for text in values if text not in numbers]
    searches: list[Sql] = []
    if texts:
        searches.append((f"{OF_NAME} AND number IS NULL AND value IN ({_marks(texts)})", [name, *texts]))
    if numbers:
        # Of values that are one number to a computer (far more digits than it keeps) the text decides; "+":
        # SQLite would look up each number with each text.
        sql = f"{OF_NAME} AND number IN ({_marks(numbers.values())}) AND +value IN ({_marks(numbers)})"
        searches.append((sql, [name, *numbers.values(), *numbers]))
    return searches


def _compared(name: str, sign: str, value: str) -> list[Sql]:
    as_text: Sql = f"{OF_NAME} AND number IS NULL AND value {sign} ?", [name, value]
    number = number_of(value)
    if number is None:
        return [as_text, (f"{OF_NAME} AND number IS NOT NULL AND value {sign} ?", [name, value])]
    return [as_text, (f"{OF_NAME} AND number {sign} ?", [name, number])]


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))
