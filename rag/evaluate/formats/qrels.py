"""Judgements of whole documents: BEIR's ``query-id <tab> corpus-id <tab> score`` or TREC's
``qid 0 docid grade``, a line each."""

from __future__ import annotations

from pathlib import Path

from rag.errors import EvaluationError
from rag.evaluate.formats.lines import Tell, lines, quiet, write_text
from rag.evaluate.judgements import Qrels

HEADERS = ("query-id", "query_id", "qid")


def read_qrels(path: Path, *, shape: str = "", tell: Tell = quiet) -> dict[str, dict[str, int]]:
    """Query id -> document id -> grade, from either form; each line says which it is by its columns.

    Raises EvaluationError, with file and line, for a line that is neither, and for a document that is judged
    twice, not alike; ``tell`` hears of those judged twice alike.
    """
    qrels: dict[str, dict[str, int]] = {}
    twice: list[int] = []
    for number, line in lines(path, shape=shape):
        columns = line.split("\t")
        if number == 1 and columns[0] in HEADERS:
            continue
        if len(columns) != 3:
            parted = line.split()
            if len(parted) != 4:
                raise EvaluationError(
                    f"{path}:{number}: {len(columns)} columns; write query-id, corpus-id, score, parted by "
                    "tabs, or as TREC does query-id, 0, document-id, grade, parted by blanks"
                )
            columns = [parted[0], *parted[2:]]
        query_id, document_id, score = columns
        try:
            grade = int(score)
        except ValueError:
            raise EvaluationError(f"{path}:{number}: the score {score!r} is not a whole number") from None
        grades = qrels.setdefault(query_id, {})
        if document_id in grades:
            twice.append(number)
        if grades.setdefault(document_id, grade) != grade:
            raise EvaluationError(
                f"{path}:{number}: {document_id!r} is judged twice for {query_id!r}, not alike: "
                f"{grades[document_id]}, then {grade}; keep one"
            )
    if not qrels:
        raise EvaluationError(f"{path}: it holds no judgements")
    if twice:
        tell(f"{path}: judged twice, alike: {len(twice)}, such as in line {twice[0]}; once is enough")
    return qrels


def write_qrels(qrels: Qrels, path: Path, *, trec: bool) -> None:
    """Write them in TREC's form, or BEIR's with its header. Raises EvaluationError for an id that the form
    cannot hold."""
    rows = [
        (one_column(query, blanks=not trec), one_column(document, blanks=not trec), grade)
        for query, grades in qrels.items()
        for document, grade in grades.items()
    ]
    if trec:
        write_text(path, "".join(f"{query} 0 {document} {grade}\n" for query, document, grade in rows))
    else:
        table = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in rows)
        write_text(path, f"query-id\tcorpus-id\tscore\n{table}")


def one_column(id: str, *, blanks: bool = False) -> str:
    """The id, if one column can hold it; with ``blanks`` of a table parted by tabs. Raises EvaluationError.

    >>> one_column("my tea.md", blanks=True)
    'my tea.md'
    """
    fits = not set("\t\n\r") & set(id) if blanks else id.split() == [id]
    if not (id and fits):
        parts, instead = ("tabs", "jsonl") if blanks else ("blanks", "beir or jsonl")
        raise EvaluationError(f"the id {id!r} cannot stand in a table parted by {parts}: export as {instead}")
    return id
