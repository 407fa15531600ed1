"""What runs are worth: the measures of ir-measures, evidence in the context, answers where there are none."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rag.errors import EvaluationError, RagError
from rag.evaluate.evidence import Gold, Span, evidence
from rag.evaluate.judgements import Qrels
from rag.evaluate.run import Evaluation, Found, Run, System
from rag.types import Query

MEASURES = ("nDCG@10", "R@100", "RR@10", "Judged@10")
"""Names as ir-measures writes them."""

FALSE_ANSWERS = "FalseAnswers"
KEPT = 0.95
"""The share of the answerable questions that a threshold has to let through."""


def evaluate(
    systems: Mapping[str, System],
    queries: Sequence[Query],
    qrels: Qrels,
    *,
    measures: Sequence[str] = MEASURES,
    gold: Gold | None = None,
    unanswerable: Sequence[Query] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Evaluation]:
    """Every system asked every query; one evaluation a system, in the order given.

    Where there is ``gold`` and a system tells what it has ``shown``, ``Evidence@1000tok`` and its kin are
    measured too; where there are ``unanswerable`` queries and it tells its ``strength``, ``FalseAnswers``.
    ``progress`` hears the system's name, how many queries are done, and of how many. Raises EvaluationError
    for an unknown measure, or queries without a relevant judgement.

    >>> qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    >>> [one] = evaluate({"s": lambda query: [("a", 1.0)]}, [Query("q1", "?"), Query("q2", "?")], qrels)
    >>> one.scores["nDCG@10"], one.scores["RR@10"]
    (0.5, 0.5)
    """
    _parsed(measures)
    evaluations = []
    for name, system in systems.items():
        found: dict[str, Found] = {}
        errors: list[tuple[str, str]] = []
        costs: dict[str, dict[str, float]] = {}
        questions = (*queries, *unanswerable)
        for done, query in enumerate(questions, 1):
            clock, started = time.perf_counter(), time.process_time()
            try:
                given = system(query)
                took = {
                    "cpu_ms": 1000 * (time.process_time() - started),
                    "ms": 1000 * (time.perf_counter() - clock),
                }
                found[query.id] = one = given if isinstance(given, Found) else Found(given)
                for cost, value in (took | dict(one.costs)).items():
                    costs.setdefault(cost, {})[query.id] = value
            except RagError as error:
                errors.append((query.id, str(error)))
            if progress is not None:
                progress(name, done, len(questions))
        run = Run.of(name, {query: each.ranking for query, each in found.items()})
        answered = [query.id for query in queries if query.id in found]
        shown = {query: each.shown for query, each in found.items() if each.shown}
        strengths = {query: each.strength for query, each in found.items() if each.strength is not None}
        by_query = dict(measured(run, answered, qrels, measures=measures))
        if gold is not None:
            by_query |= evidence_by_query(gold, {query: shown[query] for query in answered if query in shown})
        if unanswerable:
            without = [query.id for query in unanswerable if query.id in strengths]
            by_query |= false_answers(strengths, answered, without)
        evaluations.append(
            Evaluation(
                run,
                MappingProxyType(by_query),
                costs=costs,
                shown=shown,
                strengths=strengths,
                errors=tuple(errors),
                questions=tuple(questions),
            )
        )
    return evaluations


def evidence_by_query(
    gold: Gold, shown: Mapping[str, Mapping[int, tuple[Span, ...]]]
) -> dict[str, dict[str, float]]:
    """``Evidence@<tokens>tok``, ``Precision@…`` and ``IoU@…`` of what each query was shown, by query: shares
    of characters, see :mod:`rag.evaluate.evidence`. Queries without gold are left out.

    >>> found = evidence_by_query({"q": (Span("d", 0, 10),)}, {"q": {500: (Span("d", 0, 5),)}})
    >>> found["Evidence@500tok"], found["Precision@500tok"]
    ({'q': 0.5}, {'q': 1.0})
    """
    values: dict[str, dict[str, float]] = {}
    for query, by_budget in shown.items():
        if not gold.get(query):
            continue
        for budget, spans in by_budget.items():
            told = evidence(gold[query], spans)
            for measure, value in zip(
                ("Evidence", "Precision", "IoU"), (told.recall, told.precision, told.iou), strict=True
            ):
                values.setdefault(f"{measure}@{budget}tok", {})[query] = value
    return values


def false_answers(
    strengths: Mapping[str, float], answerable: Sequence[str], unanswerable: Sequence[str]
) -> dict[str, dict[str, float]]:
    """``FalseAnswers``: 1 for each question without an answer that is as strong as what keeps 95 % of those
    with one, 0 for the others; less is better. Empty where either kind has no strengths.

    >>> strengths = {f"yes{n}": n for n in range(20)} | {"no1": 0, "no2": 3}
    >>> false_answers(strengths, [f"yes{n}" for n in range(20)], ["no1", "no2"])
    {'FalseAnswers': {'no1': 0.0, 'no2': 1.0}}
    """
    kept = sorted((strengths[query] for query in answerable if query in strengths), reverse=True)
    if not kept or not unanswerable:
        return {}
    threshold = kept[math.ceil(KEPT * len(kept)) - 1]
    return {FALSE_ANSWERS: {query: float(strengths[query] >= threshold) for query in unanswerable}}


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
    # What goes to trec_eval are ranks, for it breaks ties by descending id and reads floats of 32 bits, and
    # numbers for ids: it is C code that an id which is no UTF-8 (a file's name may be none) brings down.
    ranks: dict[str, dict[str, float]] = {}
    judged: dict[str, dict[str, int]] = {}
    for place, query in enumerate(queries):
        if found := run.results.get(query):  # some providers divide by the number of results
            number = {document: str(rank) for rank, (document, _) in enumerate(found)}
            ranks[str(place)] = {id: -float(id) for id in number.values()}
            judged[str(place)] = {
                number.get(document, f"-{missed}"): grade
                for missed, (document, grade) in enumerate(qrels[query].items())
            }
    values = {measure: dict.fromkeys(queries, 0.0) for measure in measures}
    names = {measure: name for name, measure in parsed.items()}
    if ranks:
        import ir_measures

        for metric in ir_measures.iter_calc(list(parsed.values()), judged, ranks):
            values[names[metric.measure]][queries[int(metric.query_id)]] = float(metric.value)
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
