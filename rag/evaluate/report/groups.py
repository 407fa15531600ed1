"""The same comparison by kind of question: language, category, type of document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from rag.evaluate.compare import Clusters, Comparison, compare
from rag.evaluate.judged import JudgedSet
from rag.evaluate.report.cells import Cell, cell
from rag.evaluate.run import Evaluation

ENOUGH = 10
"""Questions that a group needs to be compared: with fewer, one of them moves the mean by more than 0.1."""
FIRST = ("language", "lang", "kind", "category", "type", "document type")
"""What questions are grouped by first, where their metadata say it."""
AT_MOST = 12
"""Values that a key may have: what nearly every question has for itself is a name and no group."""
KEYS = 4
DOCUMENT_TYPE = "document type"


@dataclass(frozen=True, slots=True)
class Group:
    """The questions whose ``key`` is ``value``, in one ``measure``.

    ``cells`` are means with intervals by system, ``comparisons`` verdicts by candidate. Both are
    empty where there are ``too_few``. Verdicts are corrected for all groups of a report together.
    """

    measure: str
    key: str
    value: str
    questions: int
    cells: Mapping[str, Cell] = field(default_factory=dict)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def too_few(self) -> bool:
        return not self.cells


def groups(
    runs: Mapping[str, Evaluation],
    measure: str,
    *,
    baseline: str,
    judged: JudgedSet | None = None,
    clusters: Clusters | None = None,
) -> tuple[Group, ...]:
    """``measure`` by the metadata of the questions, and by the type of the documents that answer them where
    the judged set is there to tell; keys in the order of ``FIRST``, then by name, each group by size.

    A key counts where it has up to ``AT_MOST`` values, and two groups or more of ``ENOUGH`` questions.
    """
    values = {name: one.by_query[measure] for name, one in runs.items()}
    common = [query for query in values[baseline] if all(query in each for each in values.values())]
    split = _split(runs[baseline], common, judged)
    enough = {
        f"{key}: {value}": queries
        for key, by_value in split.items()
        for value, queries in by_value.items()
        if len(queries) >= ENOUGH
    }
    # Each group is compared as if it were a measure of its own, so that Holm's correction sees all of them.
    cut = {
        name: {group: {query: each[query] for query in queries} for group, queries in enough.items()}
        for name, each in values.items()
    }
    compared: dict[str, dict[str, Comparison]] = {}
    if len(runs) > 1 and enough:
        for one in compare(cut, baseline=baseline, measures=list(enough), clusters=clusters):
            compared.setdefault(one.measure, {})[one.candidate] = one
    found = []
    for key, by_value in split.items():
        for value, queries in sorted(by_value.items(), key=lambda each: (-len(each[1]), each[0])):
            name = f"{key}: {value}"
            cells = {system: cell(cut[system][name], clusters) for system in runs if name in enough}
            found.append(Group(measure, key, value, len(queries), cells, compared.get(name, {})))
    return tuple(found)


def _split(one: Evaluation, queries: list[str], judged: JudgedSet | None) -> dict[str, dict[str, list[str]]]:
    """Key -> value -> query ids."""
    asked = {query.id: query for query in one.questions}
    told: dict[str, dict[str, list[str]]] = {}
    for query in queries:
        about = asked[query].metadata if query in asked else {}
        for key, value in about.items():
            if isinstance(value, str | bool | int) and str(value).strip():
                told.setdefault(key, {}).setdefault(str(value), []).append(query)
        if judged is not None and (kind := document_type(judged.qrels.get(query, {}))):
            told.setdefault(DOCUMENT_TYPE, {}).setdefault(kind, []).append(query)
    useful = {
        key: by_value
        for key, by_value in told.items()
        if len(by_value) <= AT_MOST and sum(len(queries) >= ENOUGH for queries in by_value.values()) > 1
    }
    order = sorted(useful, key=lambda key: (FIRST.index(key) if key in FIRST else len(FIRST), key))
    return {key: useful[key] for key in order[:KEYS]}


def document_type(grades: Mapping[str, int]) -> str:
    """The type that the relevant documents have by their ids: that of most of them, "" where none has one.

    >>> document_type({"es/tarifas.md": 1, "old/tarifas.pdf": 0}), document_type({"art00": 1})
    ('md', '')
    """
    types = Counter(
        suffix[1:].lower()
        for document, grade in grades.items()
        if grade > 0 and 1 < len(suffix := PurePosixPath(document).suffix) <= 6 and suffix[1:].isalnum()
    )
    return min(types, key=lambda kind: (-types[kind], kind)) if types else ""
