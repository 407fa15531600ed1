"""BEIR folders (Thakur et al. 2021): corpus.jsonl, queries.jsonl, qrels/test.tsv; and what may stand beside
them: spans.jsonl, the words that answer a question, and unanswerable.jsonl, questions without an answer."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError
from rag.evaluate.formats.lines import (
    Tell,
    as_lines,
    flat,
    id_of,
    queries_of,
    query_record,
    quiet,
    records,
    text_of,
    write_text,
)
from rag.evaluate.formats.qrels import read_qrels, write_qrels
from rag.evaluate.formats.spans import read_spans, span_records
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement
from rag.types import Document

SHAPE = "a BEIR folder has queries.jsonl, qrels/test.tsv and, for its documents, corpus.jsonl"


def read_beir(
    folder: Path,
    *,
    split: str = "test",
    queries: str = "queries.jsonl",
    qrels: Path | None = None,
    tell: Tell = quiet,
) -> JudgedSet:
    """A judged set from a BEIR folder: qrels/``split``.tsv (or ``qrels``) and ``queries``.

    Where spans.jsonl quotes a document, its judgement is of these words. A folder without qrels is judged by
    its spans alone. The questions without an answer are those of the file that is called as ``queries`` is:
    unanswerable_en.jsonl beside queries_en.jsonl. ``tell`` hears of what stands twice. Raises
    EvaluationError naming the file and line, and what mends it.
    """
    if not folder.is_dir():
        raise EvaluationError(f"no folder {folder}; {SHAPE}")
    spans, corpus = folder / "spans.jsonl", folder / "corpus.jsonl"
    judged_in = qrels or folder / "qrels" / f"{split}.tsv"
    by_spans = qrels is None and spans.is_file() and not judged_in.parent.is_dir()
    graded = {} if by_spans else read_qrels(judged_in, shape=SHAPE, tell=tell)
    asked = queries_of(folder / queries, shape=SHAPE)
    unknown = [query_id for query_id in graded if query_id not in asked]
    if unknown:
        raise EvaluationError(
            f"{folder / queries}: {len(unknown)} judged queries are not in it, such as {unknown[0]!r}; "
            f"does it belong to {judged_in}?"
        )
    quoted: list[Judgement] = []
    if spans.is_file():
        among = asked.keys() if by_spans else graded.keys()
        quoted = read_spans(spans, graded, asked=asked.keys(), among=among, corpus=corpus, tell=tell)
    words = {(each.query_id, each.document_id) for each in quoted}
    whole = [
        Judgement(query, document, grade)
        for query, grades in graded.items()
        for document, grade in grades.items()
        if (query, document) not in words
    ]
    by = {each.query_id for each in (*quoted, *whole)}
    name = Path(queries).name
    without = folder / Path(queries).parent / name.replace("queries", "unanswerable", 1)
    judged = JudgedSet.of(
        folder.resolve().name,
        [query for query in asked.values() if query.id in by],
        [*whole, *quoted],
        unanswerable=queries_of(without).values() if "queries" in name and without.is_file() else (),
        corpus=partial(documents_of, corpus, {each.document_id for each in (*whole, *quoted)})
        if corpus.is_file()
        else None,
    )
    if not judged.queries:
        raise EvaluationError(f"{spans if by_spans else judged_in}: no document is judged relevant")
    return judged


def write_beir(judged: JudgedSet, folder: Path) -> None:
    """Write a set as a BEIR folder, its documents too where it has them. Raises EvaluationError for a folder
    that holds a set already, and for an id that a table cannot hold.

    It has what all judges come to, and the words that were quoted from relevant documents; who said what is
    kept by JSONL alone.
    """
    for name in ("queries.jsonl", "qrels/test.tsv", "spans.jsonl", "unanswerable.jsonl", "corpus.jsonl"):
        if (folder / name).exists():
            raise EvaluationError(f"{folder / name} is there already: choose another folder, or remove it")
    write_qrels(judged.qrels, folder / "qrels" / "test.tsv", trec=False)
    write_text(folder / "queries.jsonl", as_lines(map(query_record, judged.questions)))
    if spans := span_records(judged):
        write_text(folder / "spans.jsonl", as_lines(spans))
    if judged.unanswerable:
        write_text(folder / "unanswerable.jsonl", as_lines(map(query_record, judged.unanswerable)))
    if judged.corpus is not None:
        write_text(folder / "corpus.jsonl", as_lines(map(_document_record, judged.documents())))


def documents_of(path: Path, judged: Collection[str]) -> Iterator[Document]:
    """The documents of a corpus.jsonl. Raises EvaluationError with file and line, and at the end where none
    of those that were ``judged`` is among them."""
    seen: set[str] = set()
    met = False
    for where, record in records(path):
        document_id = id_of(record, where)
        if document_id in seen:
            raise EvaluationError(f"{where}: the _id {document_id!r} stands twice; ids must be unique")
        seen.add(document_id)
        met = met or document_id in judged
        text, title = text_of(record, "text", where), text_of(record, "title", where, default="")
        yield Document(document_id, text, title=title, metadata=flat(record.get("metadata")))
    if not met:
        raise EvaluationError(
            f"{path}: none of its {len(seen)} documents is among the {len(judged)} that were judged; "
            "do corpus and qrels belong together?"
        )


def _document_record(document: Document) -> dict[str, Any]:
    record: dict[str, Any] = {"_id": document.id, "title": document.title, "text": document.text}
    return record | ({"metadata": dict(document.metadata)} if document.metadata else {})
