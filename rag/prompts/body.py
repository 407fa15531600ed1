"""The body of a prompt file: its role lines, and the template of each message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from rag.errors import InvalidTemplate
from rag.prompts.parts import ROLE, Parts

if TYPE_CHECKING:
    from jinja2 import Template

MAX_MESSAGES = 200
"""Messages of a prompt."""

Role = Literal["system", "user", "assistant"]
_WITH_ATTRIBUTES = re.compile(ROLE.pattern.replace("[ \\t]*:", r"[ \t]*\[[^]]*\][ \t]*:", 1), re.IGNORECASE)
"""A role line as Prompty's own package also takes it: left as text, it would hide a message."""


@dataclass(frozen=True, slots=True)
class Section:
    """One message of a prompt; ``names`` are the variables that it uses."""

    role: Role
    template: Template
    names: frozenset[str]


def sections_of(body: str, first_line: int, parts: Parts) -> tuple[Section, ...]:
    """The messages of a body that begins on ``first_line`` of its file. Raises InvalidTemplate with the line.

    >>> [section.role for section in sections_of("Be kind.\\nuser:\\nHi", 1, Parts(None, own=""))]
    ['system', 'user']
    """
    from rag.prompts.sandbox import compiled

    found: list[tuple[str, int, list[str]]] = []
    lines = body.split("\n")
    for number, line in enumerate(lines, first_line):
        if _WITH_ATTRIBUTES.fullmatch(line):
            raise InvalidTemplate(
                f"line {number}: {line.strip()!r}: attributes of a role are not read; write `user:` alone"
            )
        role = ROLE.fullmatch(line)
        if role:
            found.append((role[1].lower(), number + 1, []))
        elif found:
            found[-1][2].append(line)
        elif line.strip():
            found.append(("system", number, [line]))  # as Prompty: what stands before any role line
    if not any("".join(content).strip() for _, _, content in found):
        raise InvalidTemplate(
            f"line {first_line}: the prompt has no message; write a line `user:` and a text"
        )
    if len(found) > MAX_MESSAGES:
        raise InvalidTemplate(f"line {found[MAX_MESSAGES][1] - 1}: more than {MAX_MESSAGES} messages")
    sections = []
    for named, line_number, content in found:
        source = "\n".join(content).strip("\n")
        template, names = compiled(source, first_line=_start(content, line_number), parts=parts)
        sections.append(Section("system" if named == "developer" else cast("Role", named), template, names))
    return tuple(sections)


def _start(content: Sequence[str], line: int) -> int:
    """The line of the first that is not empty: the empty ones around a message are not part of it."""
    return line + next((number for number, text in enumerate(content) if text), 0)
