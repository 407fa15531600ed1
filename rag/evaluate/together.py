"""Runs side by side: whether they can be, and what each is called there."""

from __future__ import annotations

from collections.abc import Sequence

from rag.errors import EvaluationError
from rag.evaluate.anchors import resolved
from rag.evaluate.judged import JudgedSet
from rag.evaluate.run import Evaluation


def alike(evaluations: Sequence[Evaluation]) -> None:
    """Raises EvaluationError unless these are runs, each once, that were judged by the same judgements."""
    if not evaluations:
        raise EvaluationError("no runs to report: name one or several; `rag eval runs` lists them")
    first = evaluations[0]
    for place, one in enumerate(evaluations):
        if one.id and any(one.id == other.id for other in evaluations[:place]):
            raise EvaluationError(f"{run_name(one)} is named twice; name each run once")
        if one.set_digest == first.set_digest and (one.set_digest or one.set_name == first.set_name):
            continue
        if one.set_name != first.set_name:
            raise EvaluationError(
                f"{run_name(first)} is of the set {first.set_name!r}, {run_name(one)} of {one.set_name!r}: "
                "only runs on one set can be compared; SET/SYSTEM, or a number, names one"
            )
        raise EvaluationError(
            f"{run_name(first)} and {run_name(one)} were judged differently: the questions or judgements of "
            f"{first.set_name!r} changed in between ({first.set_digest[:12]}, {one.set_digest[:12]}); "
            f"name the set (--set {first.set_name}) to measure all by the judgements of now"
        )


def judged_by(evaluations: Sequence[Evaluation], judged: JudgedSet | None) -> JudgedSet | None:
    """The set, if it is what these runs were judged by, with the ids of what they found; else None.

    Its judgements may name documents by the end of their ids.
    """
    if judged is None or judged.digest != evaluations[0].set_digest:
        return None
    found = {id for one in evaluations for ranking in one.run.results.values() for id, _ in ranking}
    try:
        return resolved(judged, found)
    except EvaluationError:  # a name that fits several, or none that fits: grades are shown where ids agree
        return judged


def run_name(one: Evaluation) -> str:
    """How a message names a run."""
    return f"run {one.id} ({one.system})" if one.id else f"the run of {one.system}"


def named(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    """By system; where two runs are of one system, by run as well."""
    systems = [one.system for one in evaluations]
    named: dict[str, Evaluation] = {}
    for place, one in enumerate(evaluations, 1):
        name = one.system or "unnamed"
        if systems.count(one.system) > 1:
            name = f"{name} ({one.id})" if one.id else f"{name} #{place}"
        while name in named:
            name += "'"
        named[name] = one
    return named
