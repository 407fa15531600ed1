"""A prompt taken apart without a value in it: its messages, their fixed text, and where each value is put."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rag.prompts.body import Role
from rag.prompts.parts import ROLE, path_of, plain
from rag.prompts.template import PromptTemplate

if TYPE_CHECKING:
    from jinja2 import nodes

_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Put:
    """A place where a variable's value is put. ``line`` is counted in the prompt's own file, from 1; for one
    in an included file it is the include's. ``alone``: nothing but tags and quotes beside it in its line."""

    name: str
    line: int
    alone: bool


@dataclass(frozen=True, slots=True)
class Fixed:
    """A piece of text that is there whatever the values are, and its line."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class MessageParts:
    """One message. ``line`` is where its text begins."""

    role: Role
    line: int
    fixed: tuple[Fixed, ...]
    puts: tuple[Put, ...]

    @property
    def text(self) -> str:
        """The fixed text, in order; where a value is put stands a space."""
        return " ".join(piece.text for piece in self.fixed)


def messages(template: PromptTemplate) -> tuple[MessageParts, ...]:
    """The messages that have anything in them, in order; of an ``if``, both ways.

    >>> prompt = PromptTemplate.parse("---\\nname: hi\\ninputs: [{name: who}]\\n---\\nuser:\\nHi {{ who }}!")
    >>> [(part.role, part.line, part.text, part.puts) for part in messages(prompt)]
    [('user', 6, 'Hi  !', (Put(name='who', line=6, alone=False),))]
    """
    return tuple(_messages(template))


def body_of(source: str) -> tuple[str, int]:
    """The text below the front matter, and the line on which it begins.

    >>> body_of("---\\nname: hi\\n---\\nuser:\\nHi!")
    ('user:\\nHi!', 4)
    """
    lines = plain(source).split("\n")
    if lines[0].rstrip() != "---":
        return "\n".join(lines), 1
    for number, line in enumerate(lines[1:], 1):
        if line.rstrip() == "---":
            return "\n".join(lines[number + 1 :]), number + 2
    return "", len(lines)


def instructions_of(source: str) -> str:
    """The words of a prompt's file that its author wrote for the model: no front matter, roles, variables.

    It is quick, and good enough to compare prompts: nothing is parsed.

    >>> instructions_of("---\\nname: hi\\n---\\nuser:\\nHi {{ who }}!")
    'Hi  !'
    """
    body, _ = body_of(source)
    return _TAG.sub(" ", "\n".join(line for line in body.split("\n") if not ROLE.fullmatch(line)))


def _messages(template: PromptTemplate) -> Iterator[MessageParts]:
    body, first = body_of(template.source)
    found: list[tuple[Role, int, list[str]]] = []
    for number, line in enumerate(body.split("\n"), first):
        if role := ROLE.fullmatch(line):
            named = role[1].lower()
            found.append((cast("Role", "system" if named == "developer" else named), number + 1, []))
        elif found:
            found[-1][2].append(line)
        elif line.strip():
            found.append(("system", number, [line]))
    for role_, start, text in found:
        reading = _Reading(template.parts, own=f"{template.name}.prompty")
        reading.read("\n".join(text), start)
        if reading.puts or any(piece.text.strip() for piece in reading.fixed):
            begins = next((piece.line for piece in reading.fixed if piece.text.strip()), start)
            yield MessageParts(role_, begins, tuple(reading.fixed), tuple(reading.puts))


class _Reading:
    """Walks the nodes of one message, and of what it includes."""

    def __init__(self, parts: Mapping[str, str], *, own: str) -> None:
        self.fixed: list[Fixed] = []
        self.puts: list[Put] = []
        self._parts = parts
        self._trail = [own]

    def read(self, text: str, first_line: int, *, include_line: int = 0) -> None:
        from jinja2 import Environment

        # Only read, never run: the template was checked when it was parsed.
        tree = Environment(keep_trailing_newline=True, autoescape=True).parse(text)
        lines = text.split("\n")

        def line_of(number: int) -> int:
            return include_line or first_line + number - 1

        def walk(node: nodes.Node, scope: Mapping[str, frozenset[str]]) -> None:
            from jinja2 import nodes

            if isinstance(node, nodes.TemplateData):
                skipped = len(node.data) - len(node.data.lstrip("\n"))
                self.fixed.append(Fixed(node.data, line_of(node.lineno + skipped)))
            elif isinstance(node, nodes.Output):
                for shown in node.nodes:
                    if isinstance(shown, nodes.TemplateData):
                        walk(shown, scope)
                    else:
                        rest = _TAG.sub("", lines[shown.lineno - 1]) if shown.lineno <= len(lines) else ""
                        alone = not re.sub(r"</?[\w -]*>|[`\"'«»*_]", "", rest).strip()
                        for name in sorted(_names(shown, scope)):
                            self.puts.append(Put(name, line_of(shown.lineno), alone))
            elif isinstance(node, nodes.For):
                roots = _names(node.iter, scope)
                targets = [node.target, *node.target.find_all(nodes.Name)]
                inner = {each.name: roots for each in targets if isinstance(each, nodes.Name)}
                for child in (*node.body, *node.else_):
                    walk(child, {**scope, "loop": frozenset(), **inner})
            elif isinstance(node, nodes.If):
                for child in (*node.body, *node.elif_, *node.else_):
                    walk(child, scope)
            elif isinstance(node, nodes.Include):
                self._include(node, line_of(node.lineno))
            else:
                for child in node.iter_child_nodes():
                    walk(child, scope)

        walk(tree, {})

    def _include(self, node: nodes.Include, line: int) -> None:
        written = getattr(node.template, "value", "")
        path = path_of(str(written), beside=self._trail[-1])
        self._trail.append(path)
        self.read(self._parts[path].removesuffix("\n"), 1, include_line=line)
        self._trail.pop()


def _names(expression: nodes.Node, scope: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The variables whose values an expression shows; those of a condition only choose."""
    from jinja2 import nodes

    if isinstance(expression, nodes.Name):
        return scope.get(expression.name, frozenset({expression.name}))
    if isinstance(expression, nodes.CondExpr):
        shown = [expression.expr1, *([expression.expr2] if expression.expr2 else [])]
        return frozenset[str]().union(*(_names(each, scope) for each in shown))
    return frozenset[str]().union(*(_names(each, scope) for each in expression.iter_child_nodes()))
