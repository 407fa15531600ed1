"""A language model as the judge of groundedness, and how far it agrees with people before it is trusted.

The judge is asked with the shipped prompts ``groundedness`` and ``groundedness-es``. Its verdicts decide
nothing until it has agreed with people's, beyond what chance gives (Cohen's kappa), on answers like those it
is to judge; McHugh 2012, "Interrater reliability: the kappa statistic", asks 0.6 at the very least.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.context import Context
from rag.errors import EvaluationError, ModelError, RagError
from rag.evaluate.agreement import Agreement, kappa
from rag.evaluate.formats.lines import records
from rag.prompts import load
from rag.prompts.testing.guarded import find_json
from rag.prompts.testing.runs import given_context
from rag.prompts.testing.suite import Given
from rag.protocols import ChatModel
from rag.words import language_of

KAPPA = 0.6
"""Agreement from which a judge's verdict counts."""
FEWEST = 20
"""Labels from which agreement says anything."""
MAX_CONTEXT = 100_000
"""Tokens of a label's context: it is judged whole."""
_YES = frozenset({"true", "1", "yes", "si", "pass", "passed", "supported", "grounded", "up", "good"})
_NO = frozenset(
    {"false", "0", "no", "fail", "failed", "unsupported", "contradicted", "not grounded", "down", "bad"}
)


@dataclass(frozen=True, slots=True)
class Graded:
    """What the judge said of an answer: whether all it claims is in the passages. ``passed`` is None where it
    gave no verdict, and ``reason`` says why."""

    passed: bool | None
    score: float
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {"passed": self.passed, "score": self.score, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Labelled:
    """An answer, the passages that it was made from, and whether a person found it grounded in them."""

    answer: str
    context: tuple[Given, ...]
    grounded: bool
    question: str = ""


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a judge agrees with people, and whether that is enough. ``agreement`` is None where the judge
    gave no verdict on any label; ``unjudged`` counts those that it gave none on."""

    model: str
    agreement: Agreement | None
    labels: int
    unjudged: int
    least: float = KAPPA

    @property
    def why_not(self) -> str:
        """Why its verdict decides nothing; "" where it does.

        >>> Trust("m", None, labels=0, unjudged=0).why_not
        'nobody labelled answers to measure it by: --labels FILE'
        """
        told = self.agreement
        if not self.labels:
            return "nobody labelled answers to measure it by: --labels FILE"
        if told is None:
            return "it gave no verdict on any label"
        if told.items < FEWEST:
            return f"it was measured on {told.items} labels, and {FEWEST} are the fewest that say anything"
        if told.value != told.value:  # NaN
            return "all labels and verdicts are the same: label answers of both kinds"
        if told.value < self.least:
            return f"its kappa is {told.value:.2f}, and {self.least:g} is asked"
        return ""

    @property
    def trusted(self) -> bool:
        return not self.why_not

    @property
    def sentence(self) -> str:
        """How far it agrees, for people."""
        told = self.agreement
        if told is None:
            return f"judge {self.model}: not measured; {self.why_not}; its verdict decides nothing"
        rest = "its verdict counts" if self.trusted else f"its verdict decides nothing: {self.why_not}"
        return (
            f"judge {self.model}: kappa {told.value:.2f} [{told.low:.2f}, {told.high:.2f}] with people on "
            f"{told.items} answers, {told.same:.0%} the same; {rest}"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "model": self.model,
            "agreement": self.agreement.as_json() if self.agreement else None,
            "labels": self.labels,
            "unjudged": self.unjudged,
            "least": self.least,
            "trusted": self.trusted,
            "why_not": self.why_not,
        }


def judged(model: ChatModel, answer: str, context: Context, *, question: str = "") -> Graded:
    """The judge's verdict on an answer. Raises nothing of ours: no verdict is one without ``passed``."""
    template = load("groundedness-es" if language_of(answer) == "es" else "groundedness")
    try:
        values = {"question": question or "-", "answer": answer}
        messages = template.for_model(model.name).render(values, context=context).messages
        return _graded(model.name, "".join(model.stream(messages)))
    except RagError as error:
        return Graded(None, 0.0, str(error))


def _graded(name: str, reply: str) -> Graded:
    for value in find_json(reply):
        if isinstance(value, Mapping) and isinstance(value.get("pass"), bool):
            reason = " ".join(str(value.get("reason", "")).split())
            score = value.get("score")
            if not isinstance(score, int | float) or not 0 <= score <= 1:
                score = float(value["pass"])
            return Graded(value["pass"], float(score), reason)
    raise ModelError(f"model {name!r} gave no verdict, but {' '.join(reply.split())[:100]!r}")


def trust(model: ChatModel, labels: Sequence[Labelled], *, least: float = KAPPA, jobs: int = 1) -> Trust:
    """The judge asked of every labelled answer, ``jobs`` at a time, and its agreement with the people who
    labelled them."""

    def verdict(each: Labelled) -> Graded:
        context = given_context(each.context, budget=MAX_CONTEXT)
        return judged(model, each.answer, context, question=each.question)

    with ThreadPoolExecutor(jobs, thread_name_prefix="judge") as pool:
        said = list(pool.map(verdict, labels))
    told = {str(place): int(each.passed) for place, each in enumerate(said) if each.passed is not None}
    people = {str(place): int(each.grounded) for place, each in enumerate(labels)}
    agreement = kappa(people, told) if told else None
    return Trust(model.name, agreement, len(labels), len(labels) - len(told), least)


def read_labels(path: Path) -> tuple[Labelled, ...]:
    """What people said of answers: JSON, one object a line, with ``answer``, ``context`` (a text, or a list
    of texts and ``{title, text}``), ``verdict`` (true or false, pass or fail, supported or unsupported) and,
    if there is one, ``question``. Raises EvaluationError naming the file and line."""
    found = tuple(_label(record, where) for where, record in records(path))
    if not found:
        raise EvaluationError(f"{path}: it holds no labels")
    return found


def _label(record: Mapping[str, Any], where: str) -> Labelled:
    answer = record.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise EvaluationError(f"{where}: 'answer' is missing or empty")
    given = record.get("context")
    passages = []
    for each in given if isinstance(given, list) else [given]:
        text = each.get("text") if isinstance(each, Mapping) else each
        if not isinstance(text, str) or not text.strip():
            raise EvaluationError(f"{where}: 'context' is a text, or a list of texts and {{title, text}}")
        title = str(each.get("title", "")) if isinstance(each, Mapping) else ""
        passages.append(Given(text, title))
    verdict = json.dumps(record.get("verdict")).strip('"').casefold().replace("í", "i")
    if verdict not in _YES | _NO:
        raise EvaluationError(
            f"{where}: 'verdict' is {record.get('verdict')!r}; write true or false, pass or fail, "
            "supported or unsupported"
        )
    return Labelled(answer, tuple(passages), verdict in _YES, str(record.get("question") or ""))
