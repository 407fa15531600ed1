"""One question out: retrieve, fit, render, stream, and an answer with its citations and its receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias, TypedDict, Unpack

from rag.citations import Citation, read_citations
from rag.confidence import Calibration, Confidence
from rag.context import Between, Context, fit
from rag.errors import OverBudget
from rag.extract import NOTICE, extract, nothing_found, says_nothing
from rag.filters import EVERYTHING, Where, as_json, of
from rag.prompts import PromptTemplate, RenderedPrompt, load
from rag.prompts.examples import VARIABLE as EXAMPLES
from rag.prompts.examples import Example
from rag.protocols import ChatModel, Collection, Embedder
from rag.receipt import Receipt, UsedChunk, UsedExample
from rag.retrieve import MAX_K, Retriever, Trail, checked_question
from rag.support import gather
from rag.tokens import TokenCounter, estimate_tokens
from rag.types import Hit
from rag.words import language_of

DEFAULT_BUDGET = 2000
"""Tokens of context where neither the call nor the prompt says: what small models still read well."""

TOKENS_A_HIT = 100
"""A hit is offered to the context for every so many tokens of its budget: fewer than a passage costs, so
that the budget ends the context, and not the number of hits. Evidence in 2,000 tokens with 8 hits and with
enough of them: chunking-eval .877 and .896, xquad-es .882 and .889, contractnli .763 and .778 (MiniLM; a
third, a quarter and a sixth of the questions)."""

ANSWER_TOKENS = 512
"""Kept free in the model's window for the answer."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The first event of a stream: what the answer will be made from, the tokens of its prompt by part, and
    the milliseconds that it took by stage."""

    context: Context
    receipt: Receipt
    tokens: Mapping[str, int]
    ms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of the answer's text; all of them joined are ``Answer.text``."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The last event of a stream. ``unknown_citations`` are numbers that the text cites and that no
    passage has. ``notice`` is a line to show with it, in the question's language, "" when there is none.
    ``confidence`` is None where nothing tells it: a collection without a calibration. ``trace`` names what
    was kept of it, "" where nothing was.
    """

    text: str
    citations: tuple[Citation, ...]
    unknown_citations: tuple[int, ...]
    extractive: bool
    found: bool
    notice: str
    confidence: Confidence | None
    context: Context
    receipt: Receipt
    trace: str = ""


Event: TypeAlias = Retrieved | Piece | Answer


@dataclass(frozen=True, slots=True)
class Rendered:
    """Everything up to the model: the prompt as it gets it, and what it was made from. ``ms`` is wall time in
    milliseconds, to ``retrieve`` and to ``render``."""

    template: PromptTemplate
    prompt: RenderedPrompt
    context: Context
    receipt: Receipt
    trail: Trail
    ms: Mapping[str, float]


class Pipeline:
    """Retrieval, context, prompt and model, put together. Without a ``chat`` model it quotes.

    ``examples`` chooses, for a prompt that names a set of them, those that suit the question.
    ``budget`` is the most context, in tokens, that a prompt gets unless a call asks for more; ``window``
    what the model reads in all (None: unknown, no limit); ``embedder`` lets extractive answers compare by
    meaning, and tells how sure it is that there is an answer, in collections that ``calibration`` has a
    scale for. There, below the threshold that lets through the share ``answered`` of the questions with an
    answer, nothing is quoted and, unless ``ask_anyway``, no model is asked.
    """

    def __init__(
        self,
        retriever: Retriever,
        *,
        chat: ChatModel | None = None,
        embedder: Embedder | None = None,
        prompts: Callable[[str], PromptTemplate] = load,
        count_tokens: TokenCounter = estimate_tokens,
        budget: int = DEFAULT_BUDGET,
        window: int | None = None,
        read: Between | None = None,
        examples: Callable[[PromptTemplate, str], Sequence[Example]] = lambda *_: (),
        calibration: Callable[[Collection], Calibration | None] = lambda _: None,
        answered: float = 0.95,
        ask_anyway: bool = False,
    ) -> None:
        self._retriever = retriever
        self._chat = chat
        self._embedder = embedder
        self._prompts = prompts
        self._count_tokens = count_tokens
        self._budget = budget
        self._window = window
        self._read = read
        self._examples = examples
        self._calibration = calibration
        self._answered = answered
        self._ask_anyway = ask_anyway

    def retrieve(
        self, collection: Collection, question: str, *, k: int | None = None, where: Where = EVERYTHING
    ) -> list[Hit]:
        """The ranked chunks; the first step alone. Raises InvalidQuery."""
        return self._retriever.search(collection, question, k=k, where=where)

    def render(
        self,
        collection: Collection,
        question: str,
        *,
        prompt: str | PromptTemplate = "answer",
        k: int | None = None,
        where: Where = EVERYTHING,
        variables: Mapping[str, Any] | None = None,
        budget: int | None = None,
    ) -> Rendered:
        """All but the model: exactly the messages that it would get.

        The prompt's variant for the model is taken. Without ``k``, which the prompt may name, hits are taken
        as the budget asks for them, at least as many as a search returns.
        Raises InvalidQuery, UnknownPrompt, InvalidTemplate, MissingVariables, PromptError, and OverBudget
        when the prompt leaves no room for context in the model's window.
        """
        template = prompt if isinstance(prompt, PromptTemplate) else self._prompts(prompt)
        if self._chat is not None:
            template = template.for_model(self._chat.name)
        question = checked_question(question)
        values = {**({"question": question} if "question" in template.names else {}), **(variables or {})}
        examples: Sequence[Example] = ()
        if template.examples and EXAMPLES not in values:
            examples = self._examples(template, question)
            values[EXAMPLES] = [example.as_value() for example in examples]
        room = self._room(template, values, budget)
        if k is None:
            k = template.retrieval.get("k")
        if k is None:
            k = min(MAX_K, max(self._retriever.settings.k, room // TOKENS_A_HIT))
        began = perf_counter()
        trail = self._retriever.trace(collection, question, k=k, where=where)
        retrieved = perf_counter()
        context = fit(trail.hits, budget=room, count_tokens=self._count_tokens, between=self._read)
        rendered = template.render(values, context=context, count_tokens=self._count_tokens)
        if rendered.nonce:
            context = replace(context, nonce=rendered.nonce)
        receipt = self._receipt(trail, context, template, where, examples)
        ms = {"retrieve": (retrieved - began) * 1000, "render": (perf_counter() - retrieved) * 1000}
        return Rendered(template, rendered, context, receipt, trail, ms)

    def stream(self, collection: Collection, question: str, **options: Unpack[AskOptions]) -> Iterator[Event]:
        """Retrieved, then the answer's Pieces as they come, then the Answer: one path for all ways in.

        Raises what :meth:`render` raises, and ModelError, also between two pieces.
        """
        rendered = self.render(collection, question, **options)
        yield Retrieved(rendered.context, rendered.receipt, rendered.prompt.tokens, rendered.ms)
        draft = self._draft(collection, rendered)
        text = ""
        for piece in draft.pieces:
            text += piece
            yield Piece(piece)
        yield draft.finish(text)

    def ask(self, collection: Collection, question: str, **options: Unpack[AskOptions]) -> Answer:
        """The whole answer at once. Raises as :meth:`stream`."""
        draft = self._draft(collection, self.render(collection, question, **options))
        return draft.finish("".join(draft.pieces))

    def confidence(self, collection: Collection, trail: Trail) -> Confidence | None:
        """How sure it is that what a search found holds an answer; None without a calibration, without an
        embedder and after a search that was not hybrid, as those are that calibrate. Raises EmbedderError.
        """
        scale = self._calibration(collection)
        if scale is None or self._embedder is None or trail.settings.mode != "hybrid":
            return None
        found = gather(trail, collection, embedder=self._embedder)
        return scale.judge(found.strength, answered=self._answered)

    def _draft(self, collection: Collection, rendered: Rendered) -> _Draft:
        context, receipt = rendered.context, rendered.receipt
        language = language_of(receipt.question) or "en"
        asks_passages = "context" in rendered.template.names
        sure = self.confidence(collection, rendered.trail) if asks_passages else None
        doubted = sure is not None and not sure.enough
        refused = doubted and (self._chat is None or not self._ask_anyway)
        if asks_passages and (refused or not context.passages):
            # Nothing to answer from: no model is asked to make something up.
            nothing = _Finding((), (), found=False)
            said = nothing_found(receipt.question, rendered.template.not_found)
            return _Draft(iter([said]), context, receipt, lambda _: nothing, confidence=sure)
        if self._chat is not None:
            messages, template = rendered.prompt.messages, rendered.template
            model = replace(receipt, model=self._chat.name, parameters=_parameters(self._chat))
            read = partial(_read_answer, template=template, context=context)
            return _Draft(self._chat.stream(messages), context, model, read, confidence=sure)
        quoted = extract(receipt.question, context, embedder=self._embedder)
        by_number = {quotation.passage.number: quotation.passage for quotation in quoted.quotations}
        citations = tuple(Citation(number, passage) for number, passage in by_number.items())
        finding = _Finding(citations, (), found=bool(citations))
        return _Draft(
            quoted.lines(),
            context,
            receipt,
            lambda _: finding,
            notice=NOTICE[language],
            confidence=sure,
        )

    def _room(self, template: PromptTemplate, values: Mapping[str, Any], budget: int | None) -> int:
        """Tokens for the context: what the call asks for, else the smaller of what the prompt and the
        settings allow; and no more than the model's window leaves."""
        wanted = budget or min(template.context_budget or self._budget, self._budget)
        if self._window is None:
            return wanted
        empty = fit((), budget=0, count_tokens=self._count_tokens)
        fixed = template.render(values, context=empty, count_tokens=self._count_tokens).total_tokens
        left = self._window - fixed - ANSWER_TOKENS
        if left < 1:
            raise OverBudget(
                f"prompt {template.name!r} has {fixed} tokens without any context, and {ANSWER_TOKENS} are "
                f"kept for the answer: the model reads {self._window}; shorten the prompt or the question"
            )
        return min(wanted, left)

    def _receipt(
        self,
        trail: Trail,
        context: Context,
        template: PromptTemplate,
        where: Where,
        examples: Sequence[Example],
    ) -> Receipt:
        return Receipt(
            question=trail.question,
            prompt=template.name,
            prompt_version=template.version,
            prompt_digest=template.digest,
            prompt_variant=template.variant,
            examples=tuple(UsedExample(example.id, example.digest) for example in examples),
            generations=dict(trail.generations),
            embedder=self._retriever.embedder.fingerprint,
            retrieval=asdict(trail.settings),
            where=as_json(of(where)),
            context_budget=context.budget,
            context_tokens=context.tokens,
            chunks=tuple(
                UsedChunk.of(hit, passage=passage.number)
                for passage in context.passages
                for hit in passage.hits
            ),
            rewritten=(*trail.rewritten.queries, *trail.rewritten.passages),
        )


class AskOptions(TypedDict, total=False):
    """What :meth:`Pipeline.render` takes by keyword."""

    prompt: str | PromptTemplate
    k: int | None
    where: Where
    variables: Mapping[str, Any] | None
    budget: int | None


@dataclass(frozen=True, slots=True)
class _Finding:
    citations: tuple[Citation, ...]
    unknown: tuple[int, ...]
    found: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """An answer on its way: the pieces to come, and how the whole text is to be read."""

    pieces: Iterator[str]
    context: Context
    receipt: Receipt
    read: Callable[[str], _Finding]
    notice: str = ""
    confidence: Confidence | None = None

    def finish(self, text: str) -> Answer:
        finding = self.read(text)
        return Answer(
            text=text,
            citations=finding.citations,
            unknown_citations=finding.unknown,
            extractive=bool(self.notice),
            found=finding.found,
            notice=self.notice,
            confidence=self.confidence,
            context=self.context,
            receipt=self.receipt,
        )


def _read_answer(text: str, *, template: PromptTemplate, context: Context) -> _Finding:
    citations, unknown = read_citations(text, context)
    admitted = says_nothing(text, template.not_found)
    return _Finding(citations, unknown, found=bool(citations) or not admitted)


def _parameters(chat: ChatModel) -> Mapping[str, Any]:
    """What a model says of itself beyond its name; the seam does not demand it."""
    return dict(getattr(chat, "parameters", {}))
