"""BEIR folders (Thakur et al. 2021): corpus.jsonl, queries.jsonl, qrels/test.tsv."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement
from rag.types import Document, Metadata, MetadataValue, Query, clean_text

_SHAPE = "a BEIR folder has queries.jsonl, qrels/test.tsv and, for its documents, corpus.jsonl"


def read_beir(folder: Path, *, split: str = "test", queries: str = "queries.jsonl") -> JudgedSet:
    """A judged set from a BEIR folder (Thakur et al. 2021): qrels/``split``.tsv and ``queries``.

    Raises EvaluationError naming the file and line, and what mends it.
    """
    if not folder.is_dir():
        raise EvaluationError(f"no folder {folder}; {_SHAPE}")
    qrels = _read_qrels(folder / "qrels" / f"{split}.tsv")
    asked: dict[str, str] = {}
    for where, record in records(folder / queries):
        query_id = _id(record, where)
        if query_id in asked:
            raise EvaluationError(f"{where}: the _id {query_id!r} stands twice; ids must be unique")
        asked[query_id] = _text(record, "text", where)
    unknown = [query_id for query_id in qrels if query_id not in asked]
    if unknown:
        raise EvaluationError(
            f"{folder / queries}: {len(unknown)} judged queries are not in it, such as {unknown[0]!r}; "
            f"does it belong to qrels/{split}.tsv?"
        )
    judged = JudgedSet.of(
        folder.resolve().name,
        [Query(query_id, text) for query_id, text in asked.items() if query_id in qrels],
        [Judgement(query, document, grade) for query, by in qrels.items() for document, grade in by.items()],
        corpus=partial(_documents, corpus, qrels) if (corpus := folder / "corpus.jsonl").is_file() else None,
    )
    if not judged.queries:
        raise EvaluationError(f"{folder / 'qrels' / f'{split}.tsv'}: no document is judged relevant")
    return judged


def _documents(path: Path, qrels: Mapping[str, Mapping[str, int]]) -> Iterator[Document]:
    judged = {document for grades in qrels.values() for document in grades}
    seen: set[str] = set()
    met = False
    for where, record in records(path):
        document_id = _id(record, where)
        if document_id in seen:
            raise EvaluationError(f"{where}: the _id {document_id!r} stands twice; ids must be unique")
        seen.add(document_id)
        met = met or document_id in judged
        text, title = _text(record, "text", where), _text(record, "title", where, default="")
        yield Document(document_id, text, title=title, metadata=_metadata(record))
    if not met:
        raise EvaluationError(
            f"{path}: none of its {len(seen)} documents is among the {len(judged)} that were judged; "
            "do corpus and qrels belong together?"
        )


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        columns = line.split("\t")
        if number == 1 and columns[0] in ("query-id", "query_id", "qid"):
            continue
        if len(columns) != 3:
            raise EvaluationError(
                f"{path}:{number}: {len(columns)} columns; write query-id, corpus-id, score, parted by tabs"
            )
        query_id, document_id, score = columns
        try:
            grade = int(score)
        except ValueError:
            raise EvaluationError(f"{path}:{number}: the score {score!r} is not a whole number") from None
        grades = qrels.setdefault(query_id, {})
        if grades.setdefault(document_id, grade) != grade:
            raise EvaluationError(
                f"{path}:{number}: {document_id!r} is judged twice for {query_id!r}, not alike"
            )
    if not qrels:
        raise EvaluationError(f"{path}: it holds no judgements")
    return qrels


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1."""
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
        raise EvaluationError(f"{path} is missing; {_SHAPE}") from None
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read: {error.strerror}") from error


def records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The JSON objects of a file, each with the file and line where it stands. Raises EvaluationError."""
    for number, line in _lines(path):
        where = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise EvaluationError(f"{where}: not JSON; one object a line is expected") from None
        if not isinstance(record, dict):
            raise EvaluationError(f'{where}: not an object such as {{"_id": "1", "text": "…"}}')
        yield where, record


def _id(record: Mapping[str, Any], where: str) -> str:
    value = record.get("_id")
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise EvaluationError(f"{where}: the _id is missing or empty")
    return str(value)


def _text(record: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    value = record.get(key, default)
    if not isinstance(value, str):
        raise EvaluationError(f"{where}: {key!r} is {'missing' if value is None else 'not a text'}")
    return clean_text(value)


def _metadata(record: Mapping[str, Any]) -> Metadata:
    """The flat part of a record's metadata; what is nested has no place in ours."""
    given = record.get("metadata")
    kept: dict[str, MetadataValue] = {}
    for key, value in given.items() if isinstance(given, dict) else ():
        if isinstance(value, str | int | float):
            kept[key] = value
        elif isinstance(value, list) and all(isinstance(each, str) for each in value):
            kept[key] = tuple(value)
    return kept
