"""Runs by what people call them, and what they are worth by the judgements of now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from api.evaluation.running import texts_of
from api.evaluation.sets import find_set
from rag.errors import EvaluationError, NotFound, RagError
from rag.evaluate import MEASURES, Evaluation, JudgedSet, measured
from rag.evaluate.anchors import gold, resolved
from rag.evaluate.measure import FALSE_ANSWERS, evidence_by_query, false_answers

if TYPE_CHECKING:
    from api.services import Services
    from rag.evaluate.moved import Lookup
    from rag.types import Document


def find_run(services: Services, reference: str) -> Evaluation:
    """A run by its number, by the name of its system (the newest one; ``SET/SYSTEM`` of a set), or by the
    path of a file that ``rag eval export`` wrote. Raises NotFound, EvaluationError."""
    path = Path(reference)
    if path.suffix == ".json" and path.is_file():
        return _from_file(path)
    with services.evaluations() as store:
        if reference.isdecimal():
            return store.run(int(reference))
        set_name, _, system = reference.rpartition("/")
        kept = store.runs(set_name=set_name, system=system)
        if not kept:
            raise NotFound(
                f"no run {reference!r}: name its number, its system (SYSTEM or SET/SYSTEM) or a .json file; "
                "rag eval runs lists those there are"
            )
        return store.run(kept[0].id)


def _from_file(path: Path) -> Evaluation:
    try:
        return Evaluation.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, EvaluationError) as error:
        raise EvaluationError(f"{path}: {error}") from error


def measured_again(services: Services, runs: Sequence[Evaluation], name: str) -> list[Evaluation]:
    """Runs by the judgements that a set has now. Raises as :func:`api.evaluation.sets.find_set`."""
    judged = find_set(services, name)
    return [by_now(services, run, judged) for run in runs]


def by_now(services: Services, run: Evaluation, judged: JudgedSet) -> Evaluation:
    """The run by what a set says now, its documents being where the run found them.

    Raises EvaluationError.
    """
    if run.set_digest == judged.digest:
        return run
    collection = str(run.settings.get("collection", ""))
    there = {info.id for info in services.catalogue().documents(collection)} if collection else set()
    here = resolved(judged, there) if collection else judged
    texts = texts_of(services, here, collection)
    return replace(remeasured(run, here, texts or None), set_digest=judged.digest, set_source=judged.source)


def judged_at_hand(services: Services, run: Evaluation) -> JudgedSet | None:
    """The set that a run was judged by, where it is still as it was: what shows runs does without one."""
    for reference in filter(None, (run.set_source, run.set_name)):
        try:
            judged = find_set(services, reference)
        except RagError:  # gone, or something else by that name
            continue
        if judged.digest == run.set_digest:
            return judged
    return None


def documents_at_hand(services: Services, run: Evaluation) -> Lookup | None:
    """Those of the collection that a run asked, as far as it is still there; None where it asked none."""
    collection = str(run.settings.get("collection") or "")

    def look(wanted: Set[str]) -> dict[str, Document]:
        found = {}
        for id in sorted(wanted):
            try:
                found[id] = services.catalogue().document(collection, id)
            except NotFound:
                continue
        return found

    return look if collection else None


def remeasured(
    evaluation: Evaluation, judged: JudgedSet, texts: Mapping[str, str] | None = None
) -> Evaluation:
    """The same run by the judgements of now: what was found and shown is as it was, what it is worth anew.

    Its measures are measured again, and the evidence where ``texts`` (document id -> text) say where the
    quotations stand now; without them it stays as it was. Raises EvaluationError where the run answered none
    of the set's questions.
    """
    answered = [query.id for query in judged.queries if query.id in evaluation.run.results]
    if not answered:
        raise EvaluationError(f"run {evaluation.id} answered none of the questions of {judged.name}")
    ranked = [name for name in evaluation.by_query if "tok" not in name and name != FALSE_ANSWERS]
    by_query = dict(evaluation.by_query)
    by_query |= measured(evaluation.run, answered, judged.qrels, measures=ranked or MEASURES)
    if texts is not None and evaluation.shown:
        shown = {query: evaluation.shown[query] for query in answered if query in evaluation.shown}
        by_query |= evidence_by_query(gold(judged, texts), shown)
    without = [query.id for query in judged.unanswerable if query.id in evaluation.strengths]
    by_query |= false_answers(evaluation.strengths, answered, without)
    return replace(
        evaluation,
        by_query=by_query,
        set_name=judged.name,
        set_source=judged.source,
        set_digest=judged.digest,
    )
