"""One question out: retrieve, fit, render, stream, and an answer with its citations and its receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, TypedDict, Unpack

from rag.citations import Citation
from rag.confidence import Calibration, Confidence
from rag.context import Between, Context, fit
from rag.draft import Draft, Finding, read_answer
from rag.errors import InvalidQuery, InvalidSetting, OverBudget
from rag.events import Answer, Event, Piece, Retrieved
from rag.extract import NOTICE, extract, nothing_found
from rag.filters import EVERYTHING, Where, as_json, of
from rag.prompts import PromptTemplate, RenderedPrompt, load
from rag.prompts.examples import VARIABLE as EXAMPLES
from rag.prompts.examples import Example, Examples, no_examples
from rag.protocols import ChatModel, Collection, Embedder
from rag.receipt import Receipt, UsedChunk, UsedExample
from rag.retrieve import MAX_K, Retriever, Trail, checked_question
from rag.support import gather
from rag.tokens import TokenCounter, estimate_tokens
from rag.types import Hit
from rag.words import language_of

__all__ = ["Answer", "AskOptions", "Event", "Piece", "Pipeline", "Rendered", "Retrieved"]

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
class Rendered:
    """Everything up to the model: the prompt as it gets it, and what it was made from. ``trail`` is the
    search behind it, None for a prompt that takes no context. ``ms`` is wall time in milliseconds, to
    ``retrieve`` and to ``render``."""

    template: PromptTemplate
    prompt: RenderedPrompt
    context: Context
    receipt: Receipt
    trail: Trail | None
    ms: Mapping[str, float]


class Pipeline:
    """Retrieval, context, prompt and model, put together. Without a ``chat`` model it quotes; without a
    ``retriever`` it serves the prompts that take no context alone, for which nothing is searched.

    ``examples`` chooses, for a prompt that names a set of them, those that suit the question.
    ``budget`` is the most context, in tokens, that a prompt gets unless a call asks for more; ``window``
    what the model reads in all (None: unknown, no limit); ``embedder`` lets extractive answers compare by
    meaning, and tells how sure it is that there is an answer, in collections that ``calibration`` has a
    scale for. There, below the threshold that lets through the share ``answered`` of the questions with an
    answer, nothing is quoted and, unless ``ask_anyway``, no model is asked.
    """

    def __init__(
        self,
        retriever: Retriever | None,
        *,
        chat: ChatModel | None = None,
        embedder: Embedder | None = None,
        prompts: Callable[[str], PromptTemplate] = load,
        count_tokens: TokenCounter = estimate_tokens,
        budget: int = DEFAULT_BUDGET,
        window: int | None = None,
        read: Between | None = None,
        examples: Examples = no_examples,
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
        if self._retriever is None:
            raise InvalidQuery("nothing can be searched: this pipeline was made without a retriever")
        return self._retriever.search(collection, question, k=k, where=where)

    def render(
        self,
        collection: Collection | None,
        question: str,
        *,
        prompt: str | PromptTemplate = "answer",
        k: int | None = None,
        where: Where = EVERYTHING,
        variables: Mapping[str, Any] | None = None,
        budget: int | None = None,
        exclude: AbstractSet[str] = frozenset(),
    ) -> Rendered:
        """All but the model: exactly the messages that it would get.

        The prompt's variant for the model is taken. Without ``k``, which the prompt may name, hits are taken
        as the budget asks for them, at least as many as a search returns. For a prompt that takes no context
        nothing is searched, and ``collection`` may be None. ``exclude`` are ids of examples that are never
        shown: those of the item that an evaluation asks about.
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
            examples = self._examples(template, question, exclude=exclude)
            values[EXAMPLES] = [example.as_value() for example in examples]
        trail: Trail | None = None
        room = 0
        began = perf_counter()
        if "context" in template.names:
            room = self._room(template, values, budget)
            trail = self._searched(collection, question, template, k=k, where=where, room=room)
        retrieved = perf_counter()
        hits = trail.hits if trail else ()
        context = fit(hits, budget=room, count_tokens=self._count_tokens, between=self._read)
        rendered = template.render(values, context=context, count_tokens=self._count_tokens)
        if rendered.nonce:
            context = replace(context, nonce=rendered.nonce)
        receipt = self._receipt(question, trail, context, template, where, examples)
        ms = {"retrieve": (retrieved - began) * 1000, "render": (perf_counter() - retrieved) * 1000}
        return Rendered(template, rendered, context, receipt, trail, ms)

    def context(
        self,
        collection: Collection | None,
        question: str,
        *,
        prompt: str | PromptTemplate = "answer",
        k: int | None = None,
        where: Where = EVERYTHING,
        budget: int | None = None,
    ) -> tuple[Trail, Context]:
        """The search and the context of :meth:`render`, which needs no other value of the prompt. Raises as
        that."""
        template = prompt if isinstance(prompt, PromptTemplate) else self._prompts(prompt)
        room = self._room(template, {}, budget)
        trail = self._searched(collection, question, template, k=k, where=where, room=room)
        return trail, fit(trail.hits, budget=room, count_tokens=self._count_tokens, between=self._read)

    def _searched(
        self,
        collection: Collection | None,
        question: str,
        template: PromptTemplate,
        *,
        k: int | None,
        where: Where,
        room: int,
    ) -> Trail:
        if self._retriever is None or collection is None:
            raise InvalidQuery(
                f"prompt {template.name!r} takes passages, and there is no collection to search"
            )
        if k is None:
            k = template.retrieval.get("k")
        if k is None:
            k = min(MAX_K, max(self._retriever.settings.k, room // TOKENS_A_HIT))
        return self._retriever.trace(collection, question, k=k, where=where)

    def stream(
        self, collection: Collection | None, question: str, **options: Unpack[AskOptions]
    ) -> Iterator[Event]:
        """Retrieved, then the answer's Pieces as they come, then the Answer: one path for all ways in.

        Raises what :meth:`render` raises, InvalidSetting for a prompt that takes no context where there is no
        model, and ModelError, also between two pieces.
        """
        rendered = self._answerable(self.render(collection, question, **options))
        yield Retrieved(rendered.context, rendered.receipt, rendered.prompt.tokens, rendered.ms)
        draft = self._draft(collection, rendered)
        text = ""
        for piece in draft.pieces:
            text += piece
            yield Piece(piece)
        yield draft.finish(text)

    def ask(self, collection: Collection | None, question: str, **options: Unpack[AskOptions]) -> Answer:
        """The whole answer at once. Raises as :meth:`stream`."""
        rendered = self._answerable(self.render(collection, question, **options))
        draft = self._draft(collection, rendered)
        return draft.finish("".join(draft.pieces))

    def _answerable(self, rendered: Rendered) -> Rendered:
        if self._chat is None and rendered.trail is None:
            raise InvalidSetting(
                f"prompt {rendered.template.name!r} takes no passages, so there is nothing to quote: it "
                "needs a language model. Name one in [llm] model or RAG_LLM"
            )
        return rendered

    def confidence(self, collection: Collection, trail: Trail) -> Confidence | None:
        """How sure it is that what a search found holds an answer; None without a calibration, without an
        embedder and after a search that was not hybrid, as those are that calibrate. Raises EmbedderError.
        """
        scale = self._calibration(collection)
        if scale is None or self._embedder is None or trail.settings.mode != "hybrid":
            return None
        found = gather(trail, collection, embedder=self._embedder)
        return scale.judge(found.strength, answered=self._answered)

    def _draft(self, collection: Collection | None, rendered: Rendered) -> Draft:
        context, receipt, trail = rendered.context, rendered.receipt, rendered.trail
        language = language_of(receipt.question) or "en"
        sure = self.confidence(collection, trail) if collection is not None and trail is not None else None
        doubted = sure is not None and not sure.enough
        refused = doubted and (self._chat is None or not self._ask_anyway)
        if trail is not None and (refused or not context.passages):
            # Nothing to answer from: no model is asked to make something up.
            nothing = Finding((), (), found=False)
            said = nothing_found(receipt.question, rendered.template.not_found)
            return Draft(iter([said]), context, receipt, lambda _: nothing, confidence=sure)
        if self._chat is not None:
            messages, template = rendered.prompt.messages, rendered.template
            model = replace(receipt, model=self._chat.name, parameters=_parameters(self._chat))
            read = partial(read_answer, template=template, context=context)
            return Draft(self._chat.stream(messages), context, model, read, confidence=sure)
        quoted = extract(receipt.question, context, embedder=self._embedder)
        by_number = {quotation.passage.number: quotation.passage for quotation in quoted.quotations}
        citations = tuple(Citation(number, passage) for number, passage in by_number.items())
        finding = Finding(citations, (), found=bool(citations))
        return Draft(
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
        question: str,
        trail: Trail | None,
        context: Context,
        template: PromptTemplate,
        where: Where,
        examples: Sequence[Example],
    ) -> Receipt:
        about = Receipt(
            question=question,
            prompt=template.name,
            prompt_version=template.version,
            prompt_digest=template.digest,
            prompt_variant=template.variant,
            examples=tuple(UsedExample(example.id, example.digest) for example in examples),
            where=as_json(of(where)),
            context_budget=context.budget,
            context_tokens=context.tokens,
            chunks=tuple(
                UsedChunk.of(hit, passage=passage.number)
                for passage in context.passages
                for hit in passage.hits
            ),
        )
        if trail is None or self._retriever is None:
            return about
        return replace(
            about,
            generations=dict(trail.generations),
            embedder=self._retriever.embedder.fingerprint,
            retrieval=asdict(trail.settings),
            rewritten=(*trail.rewritten.queries, *trail.rewritten.passages),
            not_rewritten=trail.rewritten.failure,
        )


class AskOptions(TypedDict, total=False):
    """What :meth:`Pipeline.render` takes by keyword."""

    prompt: str | PromptTemplate
    k: int | None
    where: Where
    variables: Mapping[str, Any] | None
    budget: int | None
    exclude: AbstractSet[str]


def _parameters(chat: ChatModel) -> Mapping[str, Any]:
    """What a model says of itself beyond its name; the seam does not demand it."""
    return dict(getattr(chat, "parameters", {}))
