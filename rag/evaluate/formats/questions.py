"""Questions, one a line, with the documents that answer them and the words that do: the form to write
by hand.

``{"question": "…", "document": "es/tarifas.md", "quote": "25,00 €"}``. The document is its id or the end of
it, a list of them, or null where nothing answers. In place of ``quote`` there may be
``"evidence": [{"doc_id", "start", "end", "text"}]``, as ``rag feedback --to-judgement`` writes it, or
``judgements``: all that was said, by whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from rag.errors import EvaluationError
from rag.evaluate.formats.lines import Tell, as_lines, flat, quiet, records, write_text
from rag.evaluate.formats.spans import place_of
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement
from rag.types import Query, clean_text, text_digest

FORM = '{"question": "…", "document": "its id or the end of it", a list of them, or null}'
_IDS = ("id", "_id")
_OURS = frozenset((*_IDS, "question", "document", "quote", "evidence", "judgements", "metadata"))
_FIELDS = {each.name: each for each in fields(Judgement)}
_WORDS = frozenset(("quotation", "before", "after", "note"))
"""Texts, which are made clean; ids stay as they are."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One line: a question, the ``documents`` that answer it (none: nothing does), and what was judged.

    ``where`` is its file and line. ``unanswerable`` is true where it says that nothing answers; a question
    that nobody has answered yet has neither.
    """

    where: str
    query: Query
    documents: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    unanswerable: bool


def read_asked(path: Path) -> Iterator[Asked]:
    """The lines of such a file. Raises EvaluationError with file and line."""
    for where, record in records(path):
        yield _asked(record, where)


def read_questions(path: Path, *, tell: Tell = quiet) -> JudgedSet:
    """A judged set of such a file. A question without an id is named by the digest of its text.

    The same question on two lines has the answers of both. Raises EvaluationError with file and line: for
    two questions of one id, and where one line says that nothing answers and another what does. ``tell``
    hears of judgements that stand twice.
    """
    first: dict[str, Asked] = {}
    said: dict[Judgement, str] = {}
    twice: list[str] = []
    for each in read_asked(path):
        before = first.setdefault(each.query.id, each)
        if before.query.text != each.query.text:
            raise EvaluationError(
                f"{each.where}: the id {each.query.id!r} is that of another question on line "
                f"{before.where.rpartition(':')[2]}; ids must be unique"
            )
        if before.unanswerable != each.unanswerable:
            raise EvaluationError(
                f"{each.where}: line {before.where.rpartition(':')[2]} asks the same, and one of the two "
                "says that nothing answers it: keep the one that is right"
            )
        for judgement in each.judgements:
            if judgement in said:
                twice.append(each.where)
            said.setdefault(judgement, each.where)
    if not first:
        raise EvaluationError(f"{path}: it holds no questions; a line is {FORM}")
    if twice:
        tell(f"{path}: judgements that stand twice: {len(twice)}, such as in {twice[0]}; once is enough")
    return JudgedSet.of(
        path.resolve().stem,
        [each.query for each in first.values() if not each.unanswerable],
        said,
        unanswerable=[each.query for each in first.values() if each.unanswerable],
    )


def write_questions(judged: JudgedSet, path: Path) -> None:
    """Write a set so that :func:`read_questions` gives it back, every judge's last words included; its
    documents are left out. Raises EvaluationError."""
    write_text(path, as_lines(question_records(judged)))


def question_records(judged: JudgedSet) -> Iterator[dict[str, Any]]:
    """The lines of :func:`write_questions`."""
    by_query: dict[str, list[Judgement]] = {}
    for each in judged.judgements:
        by_query.setdefault(each.query_id, []).append(each)
    for without, queries in ((False, judged.questions), (True, judged.unanswerable)):
        for query in queries:
            relevant = [name for name, grade in judged.qrels.get(query.id, {}).items() if grade > 0]
            kept = [_without_query(each) for each in by_query.get(query.id, ())]
            yield {
                "id": query.id,
                "question": query.text,
                "document": None if without else relevant,
                "judgements": kept,
                **({"metadata": dict(query.metadata)} if query.metadata else {}),
            }


def _without_query(judgement: Judgement) -> dict[str, Any]:
    plain = {name: getattr(judgement, name) for name in _FIELDS if name != "query_id"}
    default = {name: each.default for name, each in _FIELDS.items()}
    return {name: value for name, value in plain.items() if name == "grade" or value != default[name]}


def _asked(record: Mapping[str, Any], where: str) -> Asked:
    question = record.get("question")
    if not isinstance(question, str) or not question.strip():
        raise EvaluationError(f"{where}: a line must be {FORM}")
    text = clean_text(question)
    given = next((record[key] for key in _IDS if record.get(key) not in (None, "")), "")
    if not isinstance(given, str | int):
        raise EvaluationError(f"{where}: the id must be a text or a number")
    id = str(given) if given != "" else f"q-{text_digest(text)[:12]}"
    query = Query(id, text, metadata={**flat(record, without=_OURS), **flat(record.get("metadata"))})
    named = record.get("document", ())
    listed = [] if named is None else [named] if isinstance(named, str) else named
    if not (isinstance(listed, list | tuple) and all(isinstance(name, str) and name for name in listed)):
        raise EvaluationError(f"{where}: a line must be {FORM}")
    documents = tuple(dict.fromkeys(listed))
    if record.get("judgements") is not None:
        judgements = tuple(_said(each, id, where) for each in _list(record, "judgements", where))
        return Asked(where, query, documents, judgements, "document" in record and named is None)
    quoted = [*_evidence(record, id, where), *_quotes(record, id, documents, where)]
    by_words = {each.document_id for each in quoted}
    documents = tuple(dict.fromkeys((*documents, *by_words)))
    if named is None and quoted:
        raise EvaluationError(
            f"{where}: 'document' is null, which says that nothing answers; but there is evidence"
        )
    if not documents and named is not None:
        raise EvaluationError(f"{where}: a line must be {FORM}")
    whole = [Judgement(id, name) for name in documents if name not in by_words]
    return Asked(where, query, documents, tuple(dict.fromkeys((*whole, *quoted))), named is None)


def _evidence(record: Mapping[str, Any], id: str, where: str) -> Iterator[Judgement]:
    for each in _list(record, "evidence", where):
        document, text = each.get("doc_id"), each.get("text")
        if not (isinstance(document, str) and document and isinstance(text, str) and text.strip()):
            raise EvaluationError(f'{where}: evidence is {{"doc_id": "…", "text": "the words, verbatim"}}')
        start, _ = place_of(each, where)
        yield Judgement(id, document, quotation=clean_text(text), start=start)


def _quotes(
    record: Mapping[str, Any], id: str, documents: tuple[str, ...], where: str
) -> Iterator[Judgement]:
    given = record.get("quote")
    quotes = [] if given is None else [given] if isinstance(given, str) else given
    if not (isinstance(quotes, list) and all(isinstance(quote, str) and quote.strip() for quote in quotes)):
        raise EvaluationError(f"{where}: 'quote' must be the words that answer, verbatim, or a list of such")
    if quotes and len(documents) > 1 and len(documents) != len(quotes):
        raise EvaluationError(
            f"{where}: {len(quotes)} quotes and {len(documents)} documents: write "
            '"evidence": [{"doc_id": "…", "text": "…"}], which says what stands where'
        )
    if quotes and not documents:
        raise EvaluationError(f"{where}: a quote of which document? a line must be {FORM}")
    among = documents if len(documents) > 1 else documents * len(quotes)
    for document, quote in zip(among, quotes, strict=False):
        yield Judgement(id, document, quotation=clean_text(quote))


def _said(given: Mapping[str, Any], id: str, where: str) -> Judgement:
    unknown = [name for name in given if name not in _FIELDS or name == "query_id"]
    whole = ("grade", "start")
    wrong = [
        name
        for name, value in given.items()
        if name in _FIELDS and not (type(value) is int if name in whole else isinstance(value, str))
    ]
    if unknown or wrong or not given.get("document_id"):
        name = (unknown or wrong or ["document_id"])[0]
        raise EvaluationError(
            f"{where}: a judgement's {name!r} is {'unknown' if unknown else 'missing or of another kind'}; "
            f"it has {', '.join(list(_FIELDS)[1:])}"
        )
    plain: dict[str, Any] = {
        name: clean_text(value) if name in _WORDS else value for name, value in given.items()
    }
    return Judgement(query_id=id, **plain)


def _list(record: Mapping[str, Any], key: str, where: str) -> Iterable[Mapping[str, Any]]:
    given = record.get(key)
    if given is None:
        return ()
    if not (isinstance(given, list) and all(isinstance(each, dict) for each in given)):
        raise EvaluationError(f"{where}: {key!r} must be a list of objects")
    return given
