"""Files of one record a line, whoever wrote them: each record with the file and line where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from rag.errors import EvaluationError
from rag.types import Metadata, MetadataValue, Query, clean_text

Tell: TypeAlias = Callable[[str], None]
"""Hears what a reader met that is no error, and that a person may want to know: lines that stand twice."""


def quiet(_: str) -> None:
    """A ``Tell`` that tells nobody."""


def lines(path: Path, *, shape: str = "") -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1.

    Raises EvaluationError; of a file that is not there it says what ``shape`` is expected.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    raise EvaluationError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from None
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        told = f"is missing; {shape}" if shape else "cannot be read: there is no such file"
        raise EvaluationError(f"{path} {told}") from None
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error


def records(path: Path, *, shape: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file, each with the file and line where it stands. Raises EvaluationError."""
    for number, line in lines(path, shape=shape):
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise EvaluationError(f"{where}: not JSON; one object a line is expected") from None
        if not isinstance(record, dict):
            raise EvaluationError(f'{where}: not an object such as {{"_id": "1", "text": "…"}}')
        yield where, record


def id_of(record: Mapping[str, Any], where: str, *, key: str = "_id") -> str:
    """A record's id, a text or a whole number. Raises EvaluationError."""
    value = record.get(key)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise EvaluationError(f"{where}: the {key} is missing or empty")
    return str(value)


def text_of(record: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    """A text of a record, clean. Raises EvaluationError."""
    value = record.get(key, default)
    if not isinstance(value, str):
        raise EvaluationError(f"{where}: {key!r} is {'missing' if value is None else 'not a text'}")
    return clean_text(value)


def flat(given: object, *, without: Collection[str] = ()) -> Metadata:
    """The flat part of what is given as metadata; what is nested has no place in ours.

    >>> flat({"language": "es", "tags": ["a", "b"], "deep": {"x": 1}, "none": None})
    {'language': 'es', 'tags': ('a', 'b')}
    """
    kept: dict[str, MetadataValue] = {}
    for key, value in given.items() if isinstance(given, Mapping) else ():
        if key in without:
            continue
        if isinstance(value, str | int | float):
            kept[str(key)] = value
        elif isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
            kept[str(key)] = tuple(value)
    return kept


def queries_of(path: Path, *, shape: str = "") -> dict[str, Query]:
    """Questions by id: ``{"_id", "text", "metadata"}`` a line. Raises EvaluationError."""
    asked: dict[str, Query] = {}
    for where, record in records(path, shape=shape):
        query_id = id_of(record, where)
        if query_id in asked:
            raise EvaluationError(f"{where}: the _id {query_id!r} stands twice; ids must be unique")
        about = flat(record.get("metadata"))
        asked[query_id] = Query(query_id, text_of(record, "text", where), metadata=about)
    return asked


def query_record(query: Query) -> dict[str, Any]:
    """A question as :func:`queries_of` reads it."""
    record: dict[str, Any] = {"_id": query.id, "text": query.text}
    return record | ({"metadata": dict(query.metadata)} if query.metadata else {})


def write_text(path: Path, text: str) -> None:
    """Write a file, with its folder, in UTF-8. Raises EvaluationError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
    except (OSError, UnicodeEncodeError) as error:
        raise EvaluationError(f"{path} cannot be written: {error}") from error


def as_lines(records: Iterator[Mapping[str, Any]] | list[dict[str, Any]]) -> str:
    """JSON objects, one a line."""
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)
