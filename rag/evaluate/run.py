"""A run, and what it was worth: what is measured, kept, compared and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from rag.errors import EvaluationError
from rag.evaluate.evidence import Span
from rag.evaluate.paired import bootstrap, finite
from rag.evaluate.rates import rate
from rag.types import Hit, Query

Ranking: TypeAlias = Sequence[tuple[str, float]]
"""Document ids with scores, higher is better; in any order."""


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
class Found:
    """What a system gave for one question, where that is more than a ranking.

    ``shown`` are the spans that the model would read in a context of so many tokens, by that number.
    ``costs`` are what it took where the system knows better than its caller (``cpu_ms``, ``ms``) or alone
    (``tokens``, of the context; or any other). ``strength`` says how sure it is that the answer is among what
    it found, on any scale, more is surer; None where it says nothing of that.
    """

    ranking: Ranking
    shown: Mapping[int, tuple[Span, ...]] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    strength: float | None = None


System: TypeAlias = Callable[[Query], Ranking | Found]
"""What is evaluated: a question in, a ranking out, or a ranking and more."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One system, measured on one judged set: what is kept, compared and reported.

    ``by_query`` is measure -> query id -> value, of those that the system answered; a question on which it
    failed is in ``errors`` (query id, message) and in no mean. ``costs`` is what each question took, by name:
    ``cpu_ms`` (CPU time of the process, milliseconds), ``ms`` (wall time), ``tokens`` (of the context);
    ``facts`` what the system took as a whole (``index_bytes``, ``ingest_s``, ``chunks``, ``documents``).
    ``shown`` and ``strengths`` are as in :class:`Found`, by query. ``questions`` were asked,
    those without an answer too; ``settings`` are what the system was made of, ``set_digest`` what it was
    judged by, ``set_source`` the path that this was read from. ``id`` is 0 until it is kept.
    """

    run: Run
    by_query: Mapping[str, Mapping[str, float]] = field(repr=False)
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)
    shown: Mapping[str, Mapping[int, tuple[Span, ...]]] = field(default_factory=dict, repr=False)
    strengths: Mapping[str, float] = field(default_factory=dict, repr=False)
    errors: tuple[tuple[str, str], ...] = ()
    questions: tuple[Query, ...] = field(default=(), repr=False)
    set_name: str = ""
    set_digest: str = ""
    set_source: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    facts: Mapping[str, float] = field(default_factory=dict)
    at: str = ""
    id: int = 0

    @property
    def system(self) -> str:
        return self.run.name

    @property
    def scores(self) -> Mapping[str, float]:
        """The mean of each measure over its questions; a measure that no question has is not there."""
        return {measure: _mean(values) for measure, values in self.by_query.items() if values}

    @property
    def values(self) -> Mapping[str, Mapping[str, float]]:
        """What can be compared, by query: the measures, and the costs."""
        return {**self.by_query, **self.costs}

    @property
    def cpu_ms(self) -> float:
        """The process's CPU time a question, in milliseconds."""
        return _mean(self.costs.get("cpu_ms", {}))

    def interval(self, measure: str, *, level: float = 0.95) -> tuple[float, float]:
        """Where the mean of ``measure`` lies for questions like these: a bootstrap over them, or Wilson's
        interval where each only passed or failed (a bootstrap of nothing but passes would be sure of it)."""
        values = list(self.by_query[measure].values())
        if set(values) <= {0.0, 1.0}:
            passed = rate(int(sum(values)), len(values), level=level)
            return passed.low, passed.high
        return bootstrap(values, level=level)

    def summary(self) -> dict[str, Any]:
        """Plain data for people and pipes: means with intervals, costs, facts, what failed."""
        return {
            "run": self.id or None,
            "system": self.system,
            "set": self.set_name,
            "set_digest": self.set_digest,
            "at": self.at,
            "questions": len(self.questions),
            "scores": dict(self.scores),
            "intervals": {measure: finite(self.interval(measure)) for measure in self.scores},
            "costs": {name: _mean(values) for name, values in self.costs.items()},
            "facts": dict(self.facts),
            "settings": dict(self.settings),
            "errors": [{"query": query, "message": message} for query, message in self.errors],
        }

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data, but for the id."""
        return {
            "system": self.system,
            "results": {query: list(map(list, found)) for query, found in self.run.results.items()},
            "by_query": {measure: dict(values) for measure, values in self.by_query.items()},
            "costs": {name: dict(values) for name, values in self.costs.items()},
            "shown": {
                query: {str(budget): [list(span) for span in spans] for budget, spans in by_budget.items()}
                for query, by_budget in self.shown.items()
            },
            "strengths": dict(self.strengths),
            "errors": [list(each) for each in self.errors],
            "questions": [[each.id, each.text, dict(each.metadata)] for each in self.questions],
            "set_name": self.set_name,
            "set_digest": self.set_digest,
            "set_source": self.set_source,
            "settings": dict(self.settings),
            "facts": dict(self.facts),
            "at": self.at,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any], *, id: int = 0) -> Evaluation:
        """The inverse of :meth:`as_json`. Raises EvaluationError for what is none.

        >>> one = Evaluation(Run.of("s", {"q": [("a", 1.0)]}), {"RR@10": {"q": 1.0}}, at="2026-01-01")
        >>> Evaluation.from_json(one.as_json()) == one
        True
        """
        try:
            results = {
                str(query): tuple((str(document), float(score)) for document, score in found)
                for query, found in data["results"].items()
            }
            return Evaluation(
                Run(str(data["system"]), MappingProxyType(results)),
                data["by_query"],
                costs=data["costs"],
                shown={query: _spans(by_budget) for query, by_budget in data["shown"].items()},
                strengths=data["strengths"],
                errors=tuple((query, message) for query, message in data["errors"]),
                questions=tuple(Query(id, text, metadata=more) for id, text, more in data["questions"]),
                set_name=data["set_name"],
                set_digest=data["set_digest"],
                set_source=data.get("set_source", ""),
                settings=data["settings"],
                facts=data["facts"],
                at=data["at"],
                id=id,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise EvaluationError(f"not an evaluation as `rag eval export` writes it: {error!r}") from error


def document_scores(hits: Iterable[Hit]) -> list[tuple[str, float]]:
    """Chunk hits as a ranking of documents: a document is worth its best chunk.

    >>> from rag.types import Chunk
    >>> chunk = lambda document: Chunk(document, "x", 0, 1)
    >>> document_scores([Hit(chunk("a"), 0.2), Hit(chunk("b"), 0.5), Hit(chunk("a"), 0.9)])
    [('a', 0.9), ('b', 0.5)]
    """
    return list(_ranked((hit.chunk.document_id, hit.score) for hit in hits))


def _ranked(found: Iterable[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    best: dict[str, float] = {}
    for document, score in found:
        best[document] = max(score, best.get(document, score))
    return tuple(sorted(best.items(), key=lambda pair: (-pair[1], pair[0])))


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / len(values) if values else 0.0


def _spans(by_budget: Mapping[str, Iterable[Sequence[Any]]]) -> dict[int, tuple[Span, ...]]:
    return {int(budget): tuple(Span(*span) for span in spans) for budget, spans in by_budget.items()}
