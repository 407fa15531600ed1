"""Jinja's expressions, as far as other languages have them too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from jinja2 import Environment, TemplateSyntaxError, nodes

Path: TypeAlias = tuple[str | int, ...]
"""A variable, then the names or numbers that lead into its value."""

_METHODS = frozenset((*dir(dict), *dir(list), *dir(str)))


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that other languages have too: ``path`` is true, or equals ``other``; or not."""

    path: Path
    negated: bool
    other: Path | str | int | float | bool | None = None
    compares: bool = False


def plain(expression: str) -> Path | None:
    """The path that an expression is; None for any other expression.

    >>> plain("user.names[0]"), plain("a | upper")
    (('user', 'names', 0), None)
    """
    node = parsed(expression)
    return None if node is None else _path(node)


def filtered(expression: str) -> tuple[Path, tuple[str, ...]] | None:
    """The path and the filters without arguments that are applied to it; ``join(",")`` counts as one.

    >>> filtered("flag | string | lower")
    (('flag',), ('string', 'lower'))
    """
    node, names = parsed(expression), []
    while isinstance(node, nodes.Filter):
        arguments = [each.value for each in node.args if isinstance(each, nodes.Const)]
        if node.kwargs or len(arguments) != len(node.args) or (arguments and arguments != [","]):
            return None
        names.append(node.name)
        node = node.node
    path = None if node is None else _path(node)
    return None if path is None else (path, tuple(reversed(names)))


def joined(expression: str) -> list[str]:
    """The variables that the expression joins: they are lists.

    >>> joined("names | join('; ')")
    ['names']
    """
    node = parsed(expression)
    whole = nodes.Output([node]) if isinstance(node, nodes.Expr) else nodes.Output([])
    return [
        each.node.name
        for each in whole.find_all(nodes.Filter)
        if each.name == "join" and isinstance(each.node, nodes.Name)
    ]


def condition(expression: str) -> Condition | None:
    """The condition that an expression is, where it is of the simple kinds.

    >>> condition("not a")
    Condition(path=('a',), negated=True, other=None, compares=False)
    >>> condition("tone == 'formal'").other
    'formal'
    """
    node = parsed(expression)
    negated = False
    while isinstance(node, nodes.Not):
        node, negated = node.node, not negated
    if (
        isinstance(node, nodes.And)
        and isinstance(node.left, nodes.Test)
        and node.left.name == "defined"
        and _path(node.left.node) == _path(node.right)
    ):
        node = node.right
    if isinstance(node, nodes.Compare) and len(node.ops) == 1 and node.ops[0].op in ("eq", "ne"):
        left, right = _path(node.expr), node.ops[0].expr
        other = right.value if isinstance(right, nodes.Const) else _path(right)
        if left is None or other is None:
            return None
        return Condition(left, negated != (node.ops[0].op == "ne"), other, True)
    path = None if node is None else _path(node)
    return None if path is None else Condition(path, negated)


def expression_of(path: Path) -> str:
    """A path as Jinja writes it; never one that would name a method of the value.

    >>> expression_of(("user", "name", 0, "items"))
    'user.name[0]["items"]'
    """
    name, *rest = path
    out = str(name)
    for step in rest:
        if isinstance(step, int):
            out += f"[{step}]"
        elif re.fullmatch(r"[A-Za-z]\w*", step, re.ASCII) and step not in _METHODS:
            out += f".{step}"
        else:
            out += f"[{quoted(step)}]"
    return out


def quoted(text: str) -> str:
    """A text as a Jinja string.

    >>> quoted('say "a\\\\b"')
    '"say \\\\"a\\\\\\\\b\\\\""'
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _path(node: nodes.Node) -> Path | None:
    steps: list[str | int] = []
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            steps.append(node.attr)
        elif (
            isinstance(node, nodes.Getitem)
            and isinstance(node.arg, nodes.Const)
            and isinstance(node.arg.value, str | int)
        ):
            steps.append(node.arg.value)
        else:
            return None
        node = node.node
    return (node.name, *reversed(steps))


@lru_cache(maxsize=512)
def parsed(expression: str) -> nodes.Node | None:
    """The expression's syntax tree; None where it is no expression."""
    try:
        body = Environment(autoescape=False).parse(f"{{{{ {expression} }}}}").body  # noqa: S701
    except (TemplateSyntaxError, RecursionError):
        return None
    if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
        return None
    return body[0].nodes[0]
