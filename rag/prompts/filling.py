"""Values put into a prompt: its messages, as the model gets them.

Each message is a template of its own, compiled before: a value can be anything at all, and stays text in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from rag.context import Context
from rag.errors import MissingVariables, PromptError
from rag.prompts.body import Section
from rag.prompts.values import Input, checked
from rag.protocols import Message
from rag.tokens import TokenCounter


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """Exactly what the model gets. ``tokens`` by part: instructions, context, then each variable.

    ``nonce`` is in the fences of the context, "" without one: that of the Context, unless a value held it.
    """

    messages: tuple[Message, ...]
    tokens: Mapping[str, int]
    nonce: str = ""

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens.values())


@dataclass(frozen=True, slots=True)
class Filling:
    """What a prompt takes, and where it goes. ``markers`` are those of chat templates that its author
    wrote."""

    name: str
    inputs: tuple[Input, ...]
    sections: tuple[Section, ...]
    markers: frozenset[str]

    def rendered(
        self, variables: Mapping[str, Any], *, context: Context | None, count_tokens: TokenCounter
    ) -> RenderedPrompt:
        """As :meth:`rag.prompts.template.PromptTemplate.render`, which says what it raises."""
        names = {each.name for each in self.inputs}
        if context is None or "context" not in names:
            values = self.values(variables)
            messages = self._messages(values)
            return RenderedPrompt(messages, self._tokens(messages, values, count_tokens))
        if "context" in variables:
            raise PromptError(
                f"prompt {self.name!r}: the context is given twice, retrieved and as a value; leave that out"
            )
        values = self.values({**variables, "context": context.text})
        messages = self._messages(values)
        outside = "\n".join(message.content.replace(values["context"], "") for message in messages)
        if context.passages and f"passage-{context.nonce}" in outside:
            # A value names the fence: a guess, which is not to be right.
            context = replace(context, nonce=_not_in(outside, context.nonce))
            values = self.values({**variables, "context": context.text})
            messages = self._messages(values)
        return RenderedPrompt(messages, self._tokens(messages, values, count_tokens), context.nonce)

    def _messages(self, values: Mapping[str, Any]) -> tuple[Message, ...]:
        from rag.prompts.sandbox import rendered

        messages = []
        for section in self.sections:
            try:
                content = rendered(
                    section.template, values, markers=self.markers, neutral=values.values()
                ).strip("\n")
            except PromptError as error:
                raise PromptError(f"prompt {self.name!r}, {section.role} message: {error}") from error
            messages.append(Message(section.role, content))
        return tuple(messages)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What is put in, by name: checked, and with defaults. Raises as :meth:`rendered`."""
        names = [each.name for each in self.inputs]
        unknown = sorted(set(given) - set(names))
        if unknown:
            takes = ", ".join(names) or "none"
            raise PromptError(f"prompt {self.name!r} takes no {', '.join(unknown)}; its variables: {takes}")
        missing = tuple(each.name for each in self.inputs if each.required and each.name not in given)
        if missing:
            message = f"prompt {self.name!r} needs a value for: {', '.join(missing)}"
            raise MissingVariables(message, names=missing)
        return {each.name: checked(each, given.get(each.name, each.default)) for each in self.inputs}

    def _tokens(
        self, messages: Sequence[Message], values: Mapping[str, Any], count_tokens: TokenCounter
    ) -> Mapping[str, int]:
        """The parts' own counts; instructions are the rest, so that the sum is that of the messages."""
        used = frozenset[str]().union(*(section.names for section in self.sections))
        parts = {name: count_tokens(str(value)) for name, value in values.items() if name in used}
        total = sum(count_tokens(message.content) for message in messages)
        return MappingProxyType({"instructions": max(0, total - sum(parts.values())), **parts})


def _not_in(text: str, nonce: str) -> str:
    """Fresh digits, one more than ``nonce`` has for every few tries, that do not stand in the text."""
    draws = 0
    while True:
        width = len(nonce) + draws // 4
        fresh = f"{secrets.randbelow(10**width):0{width}d}"
        if fresh not in text:
            return fresh
        draws += 1
