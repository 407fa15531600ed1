"""The assertions, evaluated: passed, failed, or not to be evaluated, each with a reason in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rag.errors import RagError
from rag.prompts.testing.assertions import Assertion
from rag.prompts.testing.findings import CHECKS, Asked, CannotTell, Subject, Tools
from rag.prompts.testing.guarded import OverTime

__all__ = ["Outcome", "Status", "Subject", "Tools", "combined", "evaluate"]

Status: TypeAlias = Literal["passed", "failed", "unevaluated"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one assertion. ``name`` is its type as written, ``line`` where it stands."""

    name: str
    status: Status
    score: float
    reason: str
    weight: float = 1.0
    metric: str = ""
    line: int = 0
    parts: tuple[Outcome, ...] = ()


def evaluate(assertion: Assertion, subject: Subject, tools: Tools) -> Outcome:
    """One assertion about one answer and its context. Raises nothing of ours.

    >>> subject = Subject({}, answer="We open at nine.")
    >>> evaluate(Assertion("icontains", value="NINE"), subject, Tools()).reason
    'the answer contains “NINE”'
    """
    parts: tuple[Outcome, ...] = ()
    try:
        if assertion.unsupported:
            raise CannotTell(assertion.unsupported)
        if assertion.parts:
            parts = tuple(evaluate(part, subject, tools) for part in assertion.parts)
            status, score, reason = combined(parts, threshold=assertion.threshold)
            if status == "unevaluated":
                raise CannotTell(reason)
            holds = status == "passed"
        else:
            holds, score, reason = CHECKS[assertion.type](Asked.of(assertion, subject, tools))
        status = "passed" if holds != assertion.negated else "failed"
        score = 1 - score if assertion.negated else score
    except (CannotTell, OverTime, RagError) as error:
        status, score, reason = "unevaluated", 0.0, str(error)
    return Outcome(
        assertion.name, status, score, reason, assertion.weight, assertion.metric, assertion.line, parts
    )


def combined(outcomes: Sequence[Outcome], *, threshold: float | None) -> tuple[Status, float, str]:
    """Several assertions as one, with the mean of their scores by weight. One of weight 0 only informs.

    Without a ``threshold`` all have to pass. With one, the mean has to reach it, as in promptfoo, whatever
    the single ones say; what could not be evaluated counts as nothing and as everything, and where that
    makes the difference, the whole could not be evaluated.
    """
    counted = [outcome for outcome in outcomes if outcome.weight > 0]
    total = sum(outcome.weight for outcome in counted)
    if not total:
        return "unevaluated", 0.0, "nothing is asserted"
    unknown = [outcome for outcome in counted if outcome.status == "unevaluated"]
    least = sum(outcome.score * outcome.weight for outcome in counted) / total
    most = least + sum(outcome.weight for outcome in unknown) / total
    if threshold is None:
        failed = [outcome for outcome in counted if outcome.status == "failed"]
        if failed:
            return "failed", least, failed[0].reason
        return ("unevaluated", least, unknown[0].reason) if unknown else ("passed", least, "all passed")
    told = f"score {least:.2f}, threshold {threshold:g}"
    if least >= threshold - 1e-9:
        return "passed", least, told
    return ("failed", least, told) if most < threshold - 1e-9 else ("unevaluated", least, unknown[0].reason)
