"""Runs and what they are worth: ir-measures' measures, one row a system."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from rag.errors import EvaluationError, RagError
from rag.evaluate.judged import Qrels
from rag.types import Hit, Query

Ranking: TypeAlias = Sequence[tuple[str, float]]
"""Document ids with scores, higher is better; in any order."""

System: TypeAlias = Callable[[Query], Ranking]
"""What is evaluated: a question in, a ranking out."""

MEASURES = ("nDCG@10", "R@100", "RR@10", "Judged@10")
"""Names as ir-measures writes them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Ranked documents for a set of queries, as TREC means it: best first, equal scores by id."""

    name: str
    results: Mapping[str, tuple[tuple[str, float], ...]] = field(repr=False)

    @staticmethod
    def of(name: str, results: Mapping[str, Ranking]) -> Run:
        """Sorted; a document that comes twice counts once, with its best score.

        >>> Run.of("r", {"q": [("b", 1.0), ("a", 1.0), ("b", 2.0)]}).results["q"]
        (('b', 2.0), ('a', 1.0))
        """
        return Run(name, MappingProxyType({query: _ranked(found) for query, found in results.items()}))


@dataclass(frozen=True, slots=True)
class Row:
    """One system's figures: ``scores`` are means over the ``queries`` it answered, of ``by_query``.

    A query on which the system failed is in ``errors`` (query id, message) and in no mean.
    ``cpu_ms`` is the process's CPU time a query, in milliseconds.
    """

    run: Run
    scores: Mapping[str, float]
    by_query: Mapping[str, Mapping[str, float]] = field(repr=False)
    queries: int
    cpu_ms: float
    errors: tuple[tuple[str, str], ...] = ()

    @property
    def system(self) -> str:
        return self.run.name

    def as_json(self) -> dict[str, Any]:
        """Plain data, without the run."""
        return {
            "system": self.system,
            "scores": dict(self.scores),
            "queries": self.queries,
            "cpu_ms": self.cpu_ms,
            "errors": [{"query": query, "message": message} for query, message in self.errors],
        }


def document_scores(hits: Iterable[Hit]) -> list[tuple[str, float]]:
    """Chunk hits as a ranking of documents: a document is worth its best chunk.

    >>> from rag.types import Chunk
    >>> chunk = lambda document: Chunk(document, "x", 0, 1)
    >>> document_scores([Hit(chunk("a"), 0.2), Hit(chunk("b"), 0.5), Hit(chunk("a"), 0.9)])
    [('a', 0.9), ('b', 0.5)]
    """
    return list(_ranked((hit.chunk.document_id, hit.score) for hit in hits))


def evaluate(
    systems: Mapping[str, System],
    queries: Sequence[Query],
    qrels: Qrels,
    *,
    measures: Sequence[str] = MEASURES,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Row]:
    """Every system asked every query; one row a system, in the order given.

    ``progress`` hears the system's name, how many queries are done, and of how many. Raises
    EvaluationError for an unknown measure, or queries without a relevant judgement.

    >>> qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    >>> [row] = evaluate({"s": lambda query: [("a", 1.0)]}, [Query("q1", "?"), Query("q2", "?")], qrels)
    >>> row.scores["nDCG@10"], row.scores["RR@10"]
    (0.5, 0.5)
    """
    _parsed(measures)
    rows = []
    for name, system in systems.items():
        results: dict[str, Ranking] = {}
        errors: list[tuple[str, str]] = []
        spent = 0.0
        for done, query in enumerate(queries, 1):
            started = time.process_time()
            try:
                results[query.id] = system(query)
            except RagError as error:
                errors.append((query.id, str(error)))
            spent += time.process_time() - started
            if progress is not None:
                progress(name, done, len(queries))
        run = Run.of(name, results)
        failed = {query_id for query_id, _ in errors}
        asked = [query.id for query in queries if query.id not in failed]
        by_query = measured(run, asked, qrels, measures=measures)
        scores = {
            measure: sum(values.values()) / len(values) if values else 0.0
            for measure, values in by_query.items()
        }
        cpu_ms = 1000 * spent / max(1, len(queries))
        rows.append(Row(run, MappingProxyType(scores), by_query, len(asked), cpu_ms, tuple(errors)))
    return rows


def measured(
    run: Run, queries: Sequence[str], qrels: Qrels, *, measures: Sequence[str] = MEASURES
) -> Mapping[str, Mapping[str, float]]:
    """Measure -> query id -> value, for every one of ``queries``: without results it is 0.

    Raises EvaluationError for an unknown measure, or a query without a relevant judgement.
    """
    parsed = _parsed(measures)
    unjudged = [query for query in queries if max(qrels.get(query, {"": 0}).values()) < 1]
    if unjudged:
        raise EvaluationError(
            f"{len(unjudged)} of {len(queries)} queries have no relevant judgement, such as {unjudged[0]!r}; "
            "leave them out, or judge them"
        )
    # Scores go to trec_eval as ranks: it breaks ties by descending id, and reads floats of 32 bits.
    ranks = {
        query: {document: float(-rank) for rank, (document, _) in enumerate(run.results.get(query, ()))}
        for query in queries
        if run.results.get(query)  # some providers divide by the number of results
    }
    judged = {query: dict(qrels[query]) for query in queries}
    values = {measure: dict.fromkeys(queries, 0.0) for measure in measures}
    names = {measure: name for name, measure in parsed.items()}
    if ranks:
        import ir_measures

        for metric in ir_measures.iter_calc(list(parsed.values()), judged, ranks):
            values[names[metric.measure]][metric.query_id] = float(metric.value)
    return MappingProxyType({measure: MappingProxyType(each) for measure, each in values.items()})


def _parsed(measures: Sequence[str]) -> dict[str, Any]:
    import ir_measures

    parsed = {}
    for measure in measures:
        try:
            parsed[measure] = ir_measures.parse_measure(measure)
        except (NameError, ValueError, SyntaxError) as error:
            known = ", ".join(MEASURES)
            raise EvaluationError(
                f"no measure {measure!r}; ir-measures has, for one, {known}, AP and P@5"
            ) from error
    return parsed


def _ranked(found: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    best: dict[str, float] = {}
    for document, score in found:
        best[document] = max(score, best.get(document, score))
    return tuple(sorted(best.items(), key=lambda pair: (-pair[1], pair[0])))
