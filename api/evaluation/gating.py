"""A gate, run: the candidate measured, both sides judged by the judgements of now, the verdict kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from api.evaluation.comparing import Compared, compare_runs
from api.evaluation.gate import TIMES, Check, as_json, cost, exit_code, quality
from api.evaluation.running import Count, Tell, evaluate_set
from api.evaluation.runs import by_now, find_run
from api.evaluation.sets import find_set
from api.evaluation.systems import SystemSettings, read_system
from rag.errors import EvaluationError
from rag.evaluate import Evaluation

if TYPE_CHECKING:
    from api.services import Services

BASELINE = "baseline"
"""What the baseline's system is called where it runs again, for its times."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a gate is asked: is ``candidate`` (a run) or ``system`` not worse than ``baseline`` (a run) on a
    set, by more than ``margin``; and do its costs stay below ``limits``, as ratios to the baseline's?"""

    judged_set: str
    baseline: str
    system: str = "as-set"
    candidate: str = ""
    queries: str = ""
    qrels: str = ""
    collection: str = ""
    measures: tuple[str, ...] = ()
    margin: float = 0.01
    alpha: float = 0.05
    cluster: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)


def gated(
    services: Services,
    wanted: Wanted,
    *,
    on_ingest: Tell = lambda _: None,
    on_query: Count = lambda *_: None,
) -> tuple[Compared, list[Check]]:
    """The comparison and the checks; both are kept. Raises EvaluationError, NotFound, InvalidSetting."""
    baseline = find_run(services, wanted.baseline)
    judged = find_set(services, wanted.judged_set, queries=wanted.queries, qrels=wanted.qrels)
    timed = [name for name in wanted.limits if name in TIMES]
    beside = baseline
    if wanted.candidate:
        if timed:
            raise EvaluationError(
                f"the times of a run that was made earlier tell nothing: leave out --candidate or {timed[0]}"
            )
        candidate = find_run(services, wanted.candidate)
    else:
        systems = [read_system(wanted.system, services.settings)]
        if timed:
            systems.insert(0, _again(baseline))
        made = evaluate_set(
            services, judged, systems, collection=wanted.collection, on_ingest=on_ingest, on_query=on_query
        )
        with services.evaluations(create=True) as store:
            made = [store.add(each) for each in made]
        candidate = made[-1]
        if timed:
            beside = made[0]
    both = [by_now(services, run, judged) for run in (baseline, candidate)]
    compared = compare_runs(
        both, measures=wanted.measures, margin=wanted.margin, alpha=wanted.alpha, cluster=wanted.cluster
    )
    stored = {name: limit for name, limit in wanted.limits.items() if name not in TIMES}
    times = {name: limit for name, limit in wanted.limits.items() if name in TIMES}
    checks = [*quality(compared), *cost(baseline, candidate, stored), *cost(beside, candidate, times)]
    with services.evaluations(create=True) as store:
        store.keep_verdict(
            "gate", {"exit": exit_code(checks), "checks": as_json(checks), **compared.as_json()}
        )
    return compared, checks


def _again(baseline: Evaluation) -> SystemSettings:
    changes = baseline.settings.get("changes")
    if changes is None:
        raise EvaluationError(
            f"run {baseline.id or baseline.system} came from elsewhere: its system cannot be run again for "
            "its times; leave cpu_ms and ms out of --at-most"
        )
    return SystemSettings(BASELINE, changes)
