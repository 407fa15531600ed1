"""The questions that two runs answer most differently, with what each of them found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from rag.errors import EvaluationError
from rag.evaluate.compare import LOWER_IS_BETTER
from rag.evaluate.judged import JudgedSet
from rag.evaluate.run import Evaluation
from rag.lines import cut
from rag.types import Document, Query

EACH_WAY = 5
"""Questions shown that got better, and as many that got worse, unless said otherwise."""
TOP = 3
PASSAGE = 280
"""Characters of a passage, and of a quotation, that are shown."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A document of a ranking. ``grade`` is None where nobody judged it, or the judgements are not at hand;
    so are ``title`` and ``passage`` (""). ``name`` is its id without the folder common to all shown."""

    rank: int
    document_id: str
    name: str
    grade: int | None = None
    title: str = ""
    passage: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """What one system found: its first documents, and the rank of the first relevant one (0: it has none)."""

    value: float
    first_relevant: int | None
    documents: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with both sides; ``quotations`` are words of the documents that answer it."""

    query: Query
    difference: float
    before: Side
    after: Side
    quotations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A candidate against the baseline, question by question: ``differences`` in falling order, and those
    ``questions`` that gained and lost most."""

    differences: tuple[float, ...]
    questions: tuple[Question, ...]
    gained: int
    lost: int
    lower_is_better: bool

    def as_json(self) -> list[dict[str, Any]]:
        """The questions as plain data."""
        return [
            {
                "query": each.query.id,
                "question": each.query.text,
                "difference": each.difference,
                "before": asdict(each.before),
                "after": asdict(each.after),
                "quotations": list(each.quotations),
            }
            for each in self.questions
        ]


Lookup: TypeAlias = Callable[[Set[str]], Mapping[str, Document]]
"""Document ids in, those documents out that are there."""


def own(judged: JudgedSet | None) -> Lookup:
    """The documents that a set brings; none where it has moved since, or never had any."""

    def look(wanted: Set[str]) -> dict[str, Document]:
        if judged is None or judged.corpus is None or not wanted:
            return {}
        try:
            return {document.id: document for document in judged.documents() if document.id in wanted}
        except (EvaluationError, OSError):  # a report does without texts
            return {}

    return look


def moved(
    runs: Mapping[str, Evaluation],
    measure: str,
    *,
    baseline: str,
    judged: JudgedSet | None = None,
    documents: Lookup | None = None,
    each_way: int = EACH_WAY,
) -> dict[str, Moved]:
    """By candidate, what moved in ``measure``, a cost too; best first, and where equal by question id.

    Documents have grades with the set that the runs were ``judged`` by, titles and passages where
    ``documents`` has them, or else that set. Candidates without the measure are left out.
    """
    old = runs[baseline]
    values = {name: one.values for name, one in runs.items()}
    lower = measure in LOWER_IS_BETTER
    chosen: dict[str, list[tuple[float, str]]] = {}
    everything: dict[str, list[float]] = {}
    for name in runs:
        if name == baseline or measure not in values[name]:
            continue
        before, after = values[baseline][measure], values[name][measure]
        pairs = sorted(
            ((after[query] - before[query], query) for query in before if query in after),
            key=lambda pair: (pair[0] if lower else -pair[0], pair[1]),
        )
        everything[name] = [difference for difference, _ in pairs]
        won = [pair for pair in pairs if (pair[0] < 0) == lower and pair[0]][:each_way]
        lost = [pair for pair in pairs if (pair[0] > 0) == lower and pair[0]][::-1][:each_way]
        chosen[name] = won + lost
    needed = {
        document
        for name, pairs in chosen.items()
        for _, query in pairs
        for one in (old, runs[name])
        for document, _ in one.run.results.get(query, ())[:TOP]
    }
    texts, folder = (documents or own(judged))(needed), common_folder(needed)
    asked = {query.id: query for one in runs.values() for query in one.questions}
    return {
        name: Moved(
            differences=tuple(everything[name]),
            questions=tuple(
                Question(
                    asked.get(query, Query(query, "")),
                    difference,
                    _side(old, query, values[baseline][measure], judged, texts, folder),
                    _side(runs[name], query, values[name][measure], judged, texts, folder),
                    _quotations(judged, query),
                )
                for difference, query in pairs
            ),
            gained=sum((each < 0) == lower and each != 0 for each in everything[name]),
            lost=sum((each > 0) == lower and each != 0 for each in everything[name]),
            lower_is_better=lower,
        )
        for name, pairs in chosen.items()
    }


def common_folder(ids: Set[str]) -> str:
    """What all ids begin with, up to a slash: where they lie is the same for all, and nobody's business.

    >>> common_folder({"file:///home/ana/es/a.md", "file:///home/ana/en/b.md"}), common_folder({"a/b"})
    ('file:///home/ana/', '')
    """
    if len(ids) < 2:
        return ""
    first, last = min(ids), max(ids)
    same = next((place for place, sign in enumerate(first) if last[place : place + 1] != sign), len(first))
    return first[: first.rfind("/", 0, same) + 1]


def _side(
    one: Evaluation,
    query: str,
    values: Mapping[str, float],
    judged: JudgedSet | None,
    documents: Mapping[str, Document],
    folder: str,
) -> Side:
    ranking = one.run.results.get(query, ())
    grades = judged.qrels.get(query, {}) if judged is not None else {}
    shown = one.shown.get(query, {})
    spans = shown[max(shown)] if shown else ()
    listed = []
    for rank, (document_id, _) in enumerate(ranking[:TOP], 1):
        document = documents.get(document_id)
        title = passage = ""
        if document is not None:
            title = cut(document.title, 80)
            span = next((span for span in spans if span.document_id == document_id), None)
            start, end = (span.start, span.end) if span is not None else (0, 2 * PASSAGE)
            passage = cut(document.text[start:end], PASSAGE)
        listed.append(
            Listed(
                rank, document_id, document_id.removeprefix(folder), grades.get(document_id), title, passage
            )
        )
    first: int | None = None
    if judged is not None:
        relevant = (rank for rank, (id, _) in enumerate(ranking, 1) if grades.get(id, 0) > 0)
        first = next(relevant, 0)
    return Side(values[query], first, tuple(listed))


def _quotations(judged: JudgedSet | None, query: str) -> tuple[str, ...]:
    if judged is None:
        return ()
    said = (each for each in judged.judgements if each.query_id == query and each.grade > 0)
    return tuple(dict.fromkeys(cut(each.quotation, PASSAGE) for each in said if each.quotation))[:2]
