"""TREC's files: topics, and runs (``qid Q0 docid rank score tag`` a line); its qrels are in
``formats.qrels``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rag.errors import EvaluationError
from rag.evaluate.formats.lines import Tell, flat, lines, quiet, records, text_of, write_text
from rag.evaluate.formats.qrels import HEADERS, one_column, read_qrels
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement
from rag.evaluate.run import Run
from rag.types import Query, clean_text

_TOPIC = re.compile(r"<top>(.*?)(?:</top>|(?=<top>)|\Z)", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"<(num|title)>(.*?)(?=<|\Z)", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"^\s*(?:Number|Topic)\s*:", re.IGNORECASE)
_IDS = ("_id", "id", "qid", "query_id")
_TEXTS = ("text", "query", "question", "title")


def read_trec(topics: Path, qrels: Path, *, tell: Tell = quiet) -> JudgedSet:
    """A judged set from topics and qrels; a topic without a judgement was not judged, and is left out.

    Raises EvaluationError naming the file and line, and what mends it; ``tell`` hears of judgements of
    topics that are not there, which are left out too.
    """
    graded = read_qrels(qrels, tell=tell)
    asked = {query.id: query for query in read_topics(topics)}
    unknown = [query for query in graded if query not in asked]
    if len(unknown) == len(graded):
        raise EvaluationError(
            f"{topics}: none of its {len(asked)} topics is judged in {qrels}; are they a pair?"
        )
    if unknown:
        tell(
            f"{qrels}: judged topics that are not in {topics.name}: {len(unknown)}, such as {unknown[0]!r}; "
            "they are left out"
        )
    judged = JudgedSet.of(
        topics.resolve().stem,
        [query for query in asked.values() if query.id in graded],
        [Judgement(query, document, grade) for query, by in graded.items() for document, grade in by.items()],
    )
    if not judged.queries:
        raise EvaluationError(f"{qrels}: no document is judged relevant")
    return judged


def read_topics(path: Path) -> list[Query]:
    """Topics by what the file begins with: TREC's SGML (``<top><num> Number: 301 <title> …``), JSON a line,
    or ``id <tab> text``. Raises EvaluationError.
    """
    first = next(lines(path), (0, ""))[1].lstrip()
    if first.startswith("<"):
        found = list(_sgml(path))
    elif first.startswith("{"):
        found = list(_json(path))
    else:
        found = list(_tsv(path))
    if not found:
        raise EvaluationError(f"{path}: it holds no topics; write id, tab, text, one a line")
    known: set[str] = set()
    for where, query in found:
        if query.id in known:
            raise EvaluationError(f"{where}: the topic {query.id!r} stands twice; ids must be unique")
        known.add(query.id)
    return [query for _, query in found]


def _tsv(path: Path) -> Iterator[tuple[str, Query]]:
    for number, line in lines(path):
        id, tab, text = line.partition("\t")
        if number == 1 and id.strip() in HEADERS:
            continue
        if not (tab and id.strip() and text.strip()):
            raise EvaluationError(f"{path}:{number}: no topic; write id, tab, text")
        yield f"{path}:{number}", Query(id.strip(), clean_text(text.strip()))


def _json(path: Path) -> Iterator[tuple[str, Query]]:
    for where, record in records(path):
        key = next((key for key in _IDS if key in record), "_id")
        text = next((key for key in _TEXTS if key in record), "text")
        value = record.get(key)
        if not isinstance(value, str | int) or value == "":
            raise EvaluationError(f'{where}: no id; a topic is {{"_id": "301", "text": "…"}}')
        about = flat(record.get("metadata"))
        yield where, Query(str(value), text_of(record, text, where), metadata=about)


def _sgml(path: Path) -> Iterator[tuple[str, Query]]:
    numbered = list(lines(path))
    text = "\n".join(line for _, line in numbered)
    for topic in _TOPIC.finditer(text):
        where = f"{path}:{numbered[text.count(chr(10), 0, topic.start())][0]}"
        fields = {name.lower(): _LABEL.sub("", value) for name, value in reversed(_FIELD.findall(topic[1]))}
        id, title = fields.get("num", "").strip(), " ".join(fields.get("title", "").split())
        if not (id and title):
            raise EvaluationError(f"{where}: the topic lacks its {'<title>' if id else '<num>'}")
        yield where, Query(id, clean_text(title))


def write_topics(queries: Iterable[Query], path: Path) -> None:
    """``id <tab> text`` a line; what parts lines in a text becomes a blank. Raises EvaluationError."""
    write_text(path, "".join(f"{one_column(each.id)}\t{' '.join(each.text.split())}\n" for each in queries))


def read_run(path: Path, *, name: str = "", tell: Tell = quiet) -> Run:
    """A run; called ``name``, or as its tag says. Scores rank, not the column of ranks, as in trec_eval.

    Raises EvaluationError with file and line; ``tell`` hears where scores and ranks contradict each other,
    and of documents that come twice for a question: the best place counts.
    """
    results: dict[str, dict[str, float]] = {}
    first: dict[str, tuple[int, float]] = {}
    tags: dict[str, int] = {}
    twice: list[int] = []
    contradicting: dict[str, int] = {}
    for number, line in lines(path):
        columns = line.split()
        if len(columns) != 6:
            raise EvaluationError(
                f"{path}:{number}: {len(columns)} columns; a run has qid Q0 docid rank score tag"
            )
        query, _, document, rank, score, tag = columns
        try:
            value, place = float(score), int(float(rank))
        except (ValueError, OverflowError):
            raise EvaluationError(f"{path}:{number}: rank {rank!r}, score {score!r}: write numbers") from None
        if not math.isfinite(value):
            raise EvaluationError(
                f"{path}:{number}: the score {score!r} ranks nothing; write a finite number"
            )
        tags.setdefault(tag, number)
        found = results.setdefault(query, {})
        if document in found:
            twice.append(number)
        found[document] = max(value, found.get(document, value))
        before = first.get(query, (place, value))
        if (place > before[0] and value > before[1]) or (place < before[0] and value < before[1]):
            contradicting.setdefault(query, number)
        first[query] = (place, value)
    if not results:
        raise EvaluationError(f"{path}: it holds no results")
    if len(tags) > 1 and not name:
        raise EvaluationError(
            f"{path}: it has several tags, {', '.join(list(tags)[:3])}: say what to call the system"
        )
    if twice:
        tell(
            f"{path}: documents that come twice for a question: {len(twice)}, such as in line {twice[0]}; "
            "the better score counts"
        )
    if contradicting:
        query, number = next(iter(contradicting.items()))
        tell(
            f"{path}: scores and ranks contradict each other for {len(contradicting)} of {len(results)} "
            f"questions, such as {query!r} in line {number}; the higher score counts, as in trec_eval"
        )
    return Run.of(name or next(iter(tags)), {query: list(found.items()) for query, found in results.items()})


def write_run(run: Run, path: Path) -> None:
    """A run in TREC's form; questions without a result have no line in it. Raises EvaluationError for an id
    with a blank in it."""
    tag = "_".join(run.name.split()) or "run"
    rows = [
        f"{one_column(query)} Q0 {one_column(document)} {rank} {score!r} {tag}\n"
        for query, found in run.results.items()
        for rank, (document, score) in enumerate(found, 1)
    ]
    write_text(path, "".join(rows))
