"""Several queries in one: a language model writes what a question might also have been asked as.

    queries   other wordings of the question, or the questions that it consists of
    hyde      a passage that might answer it: Gao et al. 2023, "Precise Zero-Shot Dense Retrieval without
              Relevance Labels"

What the model writes is searched with and nothing else. It is bounded, read line by line and never taken for
query syntax, and where there is none the question is searched as it stands: a model that fails must not cost
a search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from rag.errors import ModelError
from rag.prompts import PromptTemplate, load
from rag.protocols import ChatModel
from rag.types import clean_text
from rag.words import folded

Way: TypeAlias = Literal["queries", "hyde"]

MAX_QUERIES = 3
"""More cost more, and each makes the question itself weigh less."""
MAX_QUERY = 300
"""Characters. A longer line is prose around the queries and not one of them."""
MAX_PASSAGE = 2_000
"""Characters: about what embedders read of a text."""
MAX_WRITTEN = 20_000
"""Characters of the model's that are read: some think aloud first."""

_PROMPTS: Mapping[Way, str] = MappingProxyType({"queries": "rewrite", "hyde": "hyde"})
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_MARK = re.compile(r"(?:[-*•–]|\(?\d{1,2}[.):]|#+)\s+")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What was written for a question. Queries are searched by meaning and by words, passages by meaning.

    ``failure`` says why there is neither although a model was asked; "" where all is well.
    """

    queries: tuple[str, ...] = field(default=(), kw_only=True)
    passages: tuple[str, ...] = field(default=(), kw_only=True)
    failure: str = field(default="", kw_only=True)


NOT_REWRITTEN = Rewritten()


class Rewriter:
    """Has a model write queries or a passage for a question.

    ``prompts`` gives the prompt of a name: ``rewrite`` for queries, ``hyde`` for a passage. Raises
    UnknownPrompt, InvalidTemplate.

    >>> class Model:
    ...     name = "a model"
    ...     def stream(self, messages):
    ...         yield "Here you are:\\n1. price of a day ticket\\n2. 'day ticket, how much?'\\n"
    >>> Rewriter(Model(), way="queries").rewrite("What does a day ticket cost?").queries
    ('price of a day ticket', 'day ticket, how much?')
    """

    def __init__(self, chat: ChatModel, *, way: Way, prompts: Callable[[str], PromptTemplate] = load) -> None:
        self._chat = chat
        self._way = way
        self._template = prompts(_PROMPTS[way])

    def rewrite(self, question: str) -> Rewritten:
        """What the model writes for ``question``; why there is nothing, where it fails or is of no use.

        Raises MissingVariables or PromptError for a prompt that wants more than the question.
        """
        messages = self._template.render({"question": question}).messages
        written = ""
        try:
            for piece in self._chat.stream(messages):
                written += piece
                if len(written) >= MAX_WRITTEN:
                    break
        except ModelError as error:
            return Rewritten(failure=str(error))
        text = _THOUGHTS.sub("", clean_text(written[:MAX_WRITTEN])).strip()
        if self._way == "queries" and (queries := read_queries(text, question)):
            return Rewritten(queries=queries)
        if self._way == "hyde" and (passage := text[:MAX_PASSAGE]):
            return Rewritten(passages=(passage,))
        return Rewritten(failure=f"model {self._chat.name!r} wrote nothing that can be searched with")


def read_queries(text: str, question: str) -> tuple[str, ...]:
    """The first :data:`MAX_QUERIES` queries of ``text``, one a line, without what models put around them.

    Left out are list marks and quotation marks, introductions (they end with a colon), fences, lines of more
    than :data:`MAX_QUERY` characters, and what has the words of the question or of a line before it.

    >>> read_queries("```text\\n- Rent?\\n- rent\\n- «deposit of the flat»\\n```", "How much is the flat?")
    ('Rent?', 'deposit of the flat')
    """
    found: list[str] = []
    seen = {_words(question), ()}
    for line in map(str.strip, text.splitlines()):
        query = _MARK.sub("", line, count=1).strip("\"'`*«»“”‘’ \t")
        words = _words(query)
        if len(query) > MAX_QUERY or query.endswith(":") or line.startswith("```") or words in seen:
            continue
        seen.add(words)
        found.append(query)
    return tuple(found[:MAX_QUERIES])


def _words(text: str) -> tuple[str, ...]:
    return tuple(folded(text))
