"""What the rules about a prompt share: the prompt taken apart, and what a finding is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal, TypeAlias

from rag.prompts.anatomy import MessageParts, messages
from rag.prompts.template import PromptTemplate
from rag.prompts.twins import Twins
from rag.tokens import TokenCounter

Severity: TypeAlias = Literal["error", "warning"]

CONTEXT = "context"
"""The variable that the passages are put in."""

RULES: Mapping[str, Severity] = MappingProxyType(
    {
        "unreadable": "error",
        "undefined-variable": "error",
        "secret": "error",
        "unused-variable": "warning",
        "value-in-system": "warning",
        "unfenced-context": "warning",
        "missing-not-found": "warning",
        "conflicting-roles": "warning",
        "contradicting-language": "warning",
        "unbounded-output": "warning",
        "large-fixed-part": "warning",
        "near-duplicate": "warning",
        "missing-description": "warning",
        "missing-category": "warning",
        "todo-left": "warning",
        "unknown-rule": "warning",
    }
)
"""The rules there are, and how bad it is."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to mend. ``line`` is that of the prompt's file, from 1; 0 where it is the file as a whole."""

    rule: str
    severity: Severity
    line: int
    message: str
    fix: str


class Looked:
    """A prompt taken apart once, and what several rules ask of it."""

    def __init__(
        self, template: PromptTemplate, others: Twins | None, count_tokens: TokenCounter, window: int | None
    ) -> None:
        self.template = template
        self.others = others
        self.count_tokens = count_tokens
        self.window = window
        self.messages = messages(template)

    @cached_property
    def text(self) -> str:
        """All the fixed text."""
        return "\n".join(message.text for message in self.messages)

    @cached_property
    def language(self) -> str:
        """Of the instructions, "" when not sure."""
        from rag.language import detect

        return detect(self.text)

    def puts(self, name: str) -> list[tuple[MessageParts, int, bool]]:
        """The messages, lines and whether it stands alone there, of each place that a variable is put in."""
        return [
            (message, put.line, put.alone)
            for message in self.messages
            for put in message.puts
            if put.name == name
        ]

    def line_of(self, key: str) -> int:
        """The first line on which a key, or an input of this name, stands in the front matter; 0 for none."""
        written = re.compile(rf"[\s{{,-]*(?:.*\bname:\s*)?[\"']?{re.escape(key)}[\"']?\s*(?::|[,}}]|$)")
        for number, line in enumerate(self.template.source.split("\n")[1:], 2):
            if line.rstrip() == "---":
                break
            if written.match(line):
                return number
        return 0


def finding(rule: str, line: int, message: str, fix: str, *, severity: Severity | None = None) -> Finding:
    """One with the severity of its rule, unless told."""
    return Finding(rule, severity or RULES[rule], line, message, fix)
