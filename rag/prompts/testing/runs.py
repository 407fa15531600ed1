"""A prompt's tests, run: each is put to whatever answers, and its assertions are evaluated."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

from rag.citations import read_citations
from rag.context import Context, fit
from rag.errors import PromptError, RagError
from rag.extract import NOT_FOUND, extract, nothing_found, says_nothing
from rag.prompts.template import PromptTemplate
from rag.prompts.testing.checks import Outcome, Subject, Tools, combined, evaluate
from rag.prompts.testing.recorded import NotRecorded
from rag.prompts.testing.suite import Case, Given, Suite
from rag.protocols import ChatModel
from rag.tokens import TokenCounter, estimate_tokens
from rag.types import Chunk, Hit

RunStatus: TypeAlias = Literal["passed", "failed", "unevaluated", "error"]

EXTRACTIVE = "extractive"
"""What stands for a model's name where sentences are quoted and no model is asked."""
NO_MODEL = "no language model is configured: name one with --model, or give recorded answers with --replay"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for a test. ``text`` or ``context`` is None where there is none, and ``no_text`` or
    ``no_context`` says why. ``notes`` are lines for people. ``tokens`` are those of the prompt, 0 where none
    was made."""

    text: str | None = None
    context: Context | None = None
    found: bool = False
    model: str = ""
    no_text: str = "no answer was asked for"
    no_context: str = "the prompt takes no context"
    notes: tuple[str, ...] = ()
    tokens: int = 0


class Ask(Protocol):
    """Puts a test to whatever answers."""

    def __call__(self, case: Case, values: Mapping[str, Any], *, answer: bool) -> Reply:
        """``values`` are the prompt's variables without its context. Without ``answer`` the context will do.
        Raises RagError, which is told as the test's error."""


@dataclass(frozen=True, slots=True)
class Result:
    """One test, run. ``reason`` says in a line why it did not pass; ``score`` is the share of its
    assertions' weight that passed, ``seconds`` what it took, ``tokens`` what its prompt and its answer have.
    ``context`` is what it was answered from, None where there is none."""

    case: Case
    status: RunStatus
    score: float
    reason: str
    outcomes: tuple[Outcome, ...]
    answer: str
    model: str
    seconds: float
    notes: tuple[str, ...] = ()
    tokens: int = 0
    context: Context | None = field(default=None, repr=False)

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "description": self.case.description,
            "line": self.case.line,
            "status": self.status,
            "score": round(self.score, 4),
            "reason": self.reason,
            "model": self.model,
            "seconds": round(self.seconds, 4),
            "answer": self.answer,
            "notes": list(self.notes),
            "assertions": [asdict(outcome) for outcome in self.outcomes],
        }


def cases_of(suite: Suite, template: PromptTemplate) -> list[Case]:
    """The tests of a suite for this prompt: a list among the variables is one test for each element, unless
    the prompt takes a list there."""
    lists = {each.name for each in template.inputs if each.kind in ("array", "object")} | {"context"}
    return [one for case in suite.cases for one in case.each(lists=lists)]


def run(
    cases: Sequence[Case], template: PromptTemplate, *, ask: Ask, tools: Tools, jobs: int = 1
) -> Iterator[Result]:
    """The results, in the order of the cases; ``jobs`` of them are asked at a time."""
    if jobs <= 1:
        yield from (run_case(case, template, ask=ask, tools=tools) for case in cases)
        return
    with ThreadPoolExecutor(jobs, thread_name_prefix="prompt-test") as pool:
        yield from pool.map(lambda case: run_case(case, template, ask=ask, tools=tools), cases)


def run_case(case: Case, template: PromptTemplate, *, ask: Ask, tools: Tools) -> Result:
    """One test. Raises nothing of ours: an error is a result."""
    began = time.perf_counter()
    try:
        values = _values(case, template)
        reply = ask(case, values, answer=any(each.asks_answer for each in case.assertions))
    except RagError as error:
        took = time.perf_counter() - began
        return Result(case, "error", 0.0, str(error), (), "", "", took)
    subject = Subject(
        case.vars,
        answer=reply.text,
        context=reply.context,
        found=reply.found,
        no_answer=reply.no_text,
        no_context=reply.no_context,
    )
    outcomes = tuple(evaluate(each, subject, tools) for each in case.assertions)
    status, score, reason = combined(outcomes, threshold=case.threshold)
    took = time.perf_counter() - began
    return Result(
        case,
        status,
        score,
        reason,
        outcomes,
        reply.text or "",
        reply.model,
        took,
        reply.notes,
        tokens=reply.tokens + tools.count_tokens(reply.text or ""),
        context=reply.context,
    )


def counts(results: Iterable[Result]) -> Mapping[RunStatus, int]:
    """How many of each status, all four named.

    >>> counts([])
    {'passed': 0, 'failed': 0, 'unevaluated': 0, 'error': 0}
    """
    found = Counter(result.status for result in results)
    return {
        "passed": found["passed"],
        "failed": found["failed"],
        "unevaluated": found["unevaluated"],
        "error": found["error"],
    }


def _values(case: Case, template: PromptTemplate) -> dict[str, Any]:
    """The prompt's variables. One that neither the prompt nor an assertion uses is a slip of the pen."""
    if case.context is not None and "context" not in template.names:
        raise PromptError(f"the test gives a context, and prompt {template.name!r} takes none")
    used = {"question", *template.names}.union(*(each.uses for each in case.assertions))
    unknown = sorted(set(case.vars) - used)
    if unknown:
        takes = ", ".join(template.names) or "none"
        raise PromptError(
            f"prompt {template.name!r} takes no {', '.join(unknown)}, and no assertion uses it; "
            f"its variables: {takes}"
        )
    return {name: value for name, value in case.vars.items() if name in template.names}


# --- without a collection --------------------------------------------------------------------------


def given_context(
    passages: Sequence[Given], *, budget: int, count_tokens: TokenCounter = estimate_tokens
) -> Context:
    """A test's own passages as a context, fitted and fenced as retrieved ones are.

    >>> given_context([Given("We open at nine.")], budget=100).passages[0].source
    'Passage 1'
    """
    hits = []
    for number, each in enumerate(passages, 1):
        title = each.title or f"Passage {number}"
        chunk = Chunk(f"given/{number}", each.text, 0, len(each.text), title=title, key=number)
        hits.append(Hit(chunk, 1 / number))
    return fit(hits, budget=budget, count_tokens=count_tokens)


def reply_from(
    context: Context | None,
    template: PromptTemplate,
    values: Mapping[str, Any],
    *,
    question: str,
    chat: ChatModel | None,
    tools: Tools,
    answer: bool = True,
) -> Reply:
    """What comes of a given context, as :class:`rag.answer.Pipeline` would have it: nothing to answer from
    and no model is asked; no model, and the best sentences are quoted.

    Raises PromptError and MissingVariables for values that the prompt does not take, and ModelError.
    """
    rendered = template.render(values, context=context, count_tokens=tools.count_tokens)
    notes = tuple(
        f"given passage {left.hit.chunk.key}: {left.detail}" for left in (context.left_out if context else ())
    )
    reply = Reply(context=context, notes=notes, tokens=rendered.total_tokens)
    if not answer:
        return reply
    if context is not None and not context.passages:
        return replace(reply, text=nothing_found(question, template.not_found), model=EXTRACTIVE)
    if chat is not None:
        try:
            text = "".join(chat.stream(rendered.messages))
        except NotRecorded as error:
            return replace(reply, no_text=str(error), model=chat.name)
        return replace(reply, text=text, found=says_found(text, template, context), model=chat.name)
    if context is None or not question:
        return replace(reply, no_text=NO_MODEL)
    quoted = extract(question, context, embedder=tools.embedder() if tools.embedder else None)
    text = "".join(quoted.lines())
    return replace(reply, text=text, found=bool(quoted.quotations), model=EXTRACTIVE)


def says_found(text: str, template: PromptTemplate, context: Context | None) -> bool:
    """Whether an answer says that it found something: it cites, or has none of the sentences by which the
    prompt has it say that there is nothing."""
    if context is not None and read_citations(text, context)[0]:
        return True
    return not says_nothing(text, (*template.not_found, *NOT_FOUND.values()))
