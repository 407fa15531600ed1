"""spans.jsonl: which words of a document answer a question,
``{"query_id", "doc_id", "start", "end", "text"}`` a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError
from rag.evaluate.formats.lines import Tell, id_of, quiet, records, text_of
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement, Qrels, quoted

_KEPT = ("before", "after", "note")
"""Fields of ours, which other readers pass over."""


def read_spans(
    path: Path,
    graded: Qrels,
    *,
    asked: Collection[str],
    among: Collection[str],
    corpus: Path,
    tell: Tell = quiet,
) -> list[Judgement]:
    """A judgement of quoted words a line, with the grade of its document in ``graded`` (1 where that says
    nothing), of the questions ``among`` those ``asked``.

    The quotation is the line's ``text``. Lines without one are quoted from ``corpus``, which is read for them
    alone. Raises EvaluationError with file and line; ``tell`` hears of lines that stand twice.
    """
    found: dict[Judgement, str] = {}
    silent: list[tuple[str, Judgement, int]] = []
    twice: list[str] = []
    for where, record in records(path):
        query_id, document_id = id_of(record, where, key="query_id"), id_of(record, where, key="doc_id")
        start, end = place_of(record, where)
        if query_id not in asked:
            raise EvaluationError(f"{where}: no question {query_id!r}; do spans and queries belong together?")
        if query_id not in among:
            continue  # of another split
        grade = graded.get(query_id, {}).get(document_id, 1)
        if grade < 1:
            raise EvaluationError(
                f"{where}: it quotes {document_id!r}, which the qrels judge not relevant for {query_id!r}: "
                "mend one of the two"
            )
        kept = {key: text_of(record, key, where, default="") for key in _KEPT}
        quotation = "" if record.get("text") is None else text_of(record, "text", where)
        one = Judgement(query_id, document_id, grade, quotation, start, **kept)
        if not quotation:
            if end < 0:
                raise EvaluationError(f"{where}: it needs 'text', or 'start' and 'end'")
            silent.append((where, one, end))
        elif one in found:
            twice.append(where)
        else:
            found[one] = where
    if not found and not silent:
        raise EvaluationError(f"{path}: it holds no spans")
    if twice:
        tell(f"{path}: lines that stand twice: {len(twice)}, such as {twice[0]}; once is enough")
    return [*found, *_from_corpus(silent, corpus)]


def place_of(record: Mapping[str, Any], where: str) -> tuple[int, int]:
    """``start`` and ``end``, -1 both where they are not said. Raises EvaluationError."""
    start, end = record.get("start"), record.get("end")
    if start is None and end is None:
        return -1, -1
    if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end):
        raise EvaluationError(f"{where}: 'start' and 'end' must be whole numbers, 0 <= start < end")
    return start, end


def span_records(judged: JudgedSet) -> list[dict[str, Any]]:
    """The words quoted from relevant documents, each once, as :func:`read_spans` reads them."""
    found: dict[tuple[str, str, str, int], dict[str, Any]] = {}
    for each in judged.judgements:
        if each.quotation and each.grade > 0 and judged.qrels[each.query_id][each.document_id] > 0:
            key = (each.query_id, each.document_id, each.quotation, each.start)
            place = {"start": each.start, "end": each.start + len(each.quotation)} if each.start >= 0 else {}
            record = {"query_id": each.query_id, "doc_id": each.document_id, **place, "text": each.quotation}
            kept = {name: value for name in _KEPT if (value := getattr(each, name))}
            found.setdefault(key, record | kept)
    return list(found.values())


def _from_corpus(silent: list[tuple[str, Judgement, int]], corpus: Path) -> list[Judgement]:
    """Those without a quotation, quoted from their documents."""
    if not silent:
        return []
    wanted = {each.document_id for _, each, _ in silent}
    texts: dict[str, str] = {}
    for where, record in records(corpus, shape="spans without 'text' are quoted from it"):
        if (document_id := id_of(record, where)) in wanted:
            texts[document_id] = text_of(record, "text", where)
    made = []
    for where, each, end in silent:
        text = texts.get(each.document_id)
        if text is None:
            raise EvaluationError(
                f"{where}: no document {each.document_id!r}; do spans and corpus belong together?"
            )
        if end > len(text):
            raise EvaluationError(
                f"{where}: it ends at {end}; {each.document_id!r} has {len(text)} characters"
            )
        new = quoted(each.query_id, each.document_id, text, each.start, end)
        made.append(replace(each, quotation=new.quotation, before=new.before, after=new.after))
    return made
