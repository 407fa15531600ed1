"""The questions that a prompt is asked, beside those that it is tested with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from api.calibrate import read_questions
from api.prompts.library import Found, find
from api.prompts.stats import Drift, drift
from rag.errors import EvaluationError, PromptError, UnknownPrompt
from rag.prompts.testing.suite import read_suite

if TYPE_CHECKING:
    from api.services import Services
    from indexes.traces import Fact

MOST = 500
"""Questions that are embedded, the newest: they tell what is asked now, in seconds."""
_HASH = re.compile("#[0-9a-f]{32}")


def drift_of(services: Services, name: str, facts: Sequence[Fact]) -> Drift | None:
    """Whether the questions that a prompt was asked (``facts``, oldest first) are unlike those it is tested
    with: its tests', and those of its judged set. None for a prompt that is no longer there."""
    try:
        found = find(services, name)
    except UnknownPrompt:
        return None
    tested = tested_questions(services, found)
    newest = dict.fromkeys(fact.question for fact in reversed(facts) if not fact.error)
    asked = [question for question in newest if not _HASH.fullmatch(question)][:MOST]
    if not asked or not tested:
        return Drift.too_few(len(asked), len(tested))
    embedder = services.answering_embedder() if services.exists else services.embedder()
    return drift(embedder.embed(asked, input_type="query"), embedder.embed(tested, input_type="query"))


def tested_questions(services: Services, found: Found) -> list[str]:
    """The questions of a prompt's tests and of its judged set, each once; those that cannot be read are
    for ``rag prompts test`` to tell."""
    questions: list[str] = []
    template = found.template
    if found.tests:
        with suppress(PromptError):
            for case in read_suite(found.tests, name=template.name).cases:
                asked = case.vars.get("question")
                questions += [asked] if isinstance(asked, str) else asked if isinstance(asked, list) else []
    if template.judged:
        with suppress(EvaluationError):
            lines = read_questions(services.settings.prompts.dir / template.judged)
            questions += [line.question for line in lines]
    return list(dict.fromkeys(question for question in questions if isinstance(question, str) and question))
