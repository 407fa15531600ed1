"""Jinja for templates that are not wholly trusted: a small part of the language, bounded in every way.

A template can print values, choose with ``if``, loop with ``for`` and apply a few filters. It cannot
call, assign, include, import, define or compute: without those nothing grows beyond its inputs, and
what is left (loop steps, the output, what a filter returns) is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateError, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rag.errors import InvalidTemplate, PromptError

MAX_STEPS = 10_000
"""Loop steps of one render, all loops together."""
MAX_OUTPUT = 2_000_000
"""Characters of one rendered message, and of what a single filter may return."""

_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last"),
    *("length", "list", "lower", "reverse", "sort", "string", "title", "tojson", "trim", "unique", "upper"),
)
_ALLOWED: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Getattr),
    *(nodes.Getitem, nodes.Filter, nodes.Test, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair),
    nodes.Keyword,
)
_STEPS = "__steps__"
_COUNTED = "counted steps"  # a space: no template can name this filter


class _Steps:
    """The loop steps left to one render."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def take(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._left -= 1
            if self._left < 0:
                raise SecurityError(f"the template's loops take more than {MAX_STEPS} steps")
            yield item


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    steps = cast(_Steps, context.resolve(_STEPS))
    return steps.take(items)


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # keeps the marks by which Jinja knows what to pass in
    def bounded(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if isinstance(result, str) and len(result) > MAX_OUTPUT:
            raise SecurityError(f"a filter returned more than {MAX_OUTPUT} characters")
        return result

    return bounded


def _join(items: Iterable[Any], separator: str = "") -> str:
    parts = [str(item) for item in items]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_OUTPUT:
        raise SecurityError(f"join would return more than {MAX_OUTPUT} characters")
    return separator.join(parts)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    kept = {name: _bounded(environment.filters[name]) for name in _FILTERS}
    environment.filters = {**kept, "join": _join, _COUNTED: _counted}
    environment.globals = {}
    return environment


def compiled(source: str, *, first_line: int) -> tuple[Template, frozenset[str]]:
    """The template and the names of the variables it uses. Raises InvalidTemplate with the line.

    ``first_line`` is where ``source`` begins in its file, from 1.

    >>> template, names = compiled("Hi {{ name }}", first_line=1)
    >>> sorted(names), rendered(template, {"name": "{{ evil }}"})
    (['name'], 'Hi {{ evil }}')
    """
    from jinja2.meta import find_undeclared_variables

    environment = _environment()
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        line = first_line + error.lineno - 1
        raise InvalidTemplate(f"line {line}: {error.message}") from None
    except RecursionError:
        raise InvalidTemplate(f"line {first_line}: nested too deeply") from None
    for node in tree.find_all(nodes.Node):
        line = first_line + getattr(node, "lineno", 1) - 1
        _check(node, line)
    for loop in list(tree.find_all(nodes.For)):
        loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
    tree.set_environment(environment)
    names = frozenset(find_undeclared_variables(tree))
    try:
        code: Any = environment.compile(tree)
    except (TemplateError, RecursionError, SyntaxError) as error:
        raise InvalidTemplate(f"line {first_line}: {error}") from None
    return Template.from_code(environment, code, {}), names


def _check(node: nodes.Node, line: int) -> None:
    if not isinstance(node, _ALLOWED):
        raise InvalidTemplate(
            f"line {line}: {type(node).__name__.lower()} is not allowed in a prompt; "
            "use values, if, for and filters"
        )
    if isinstance(node, nodes.For) and node.recursive:
        raise InvalidTemplate(f"line {line}: a recursive loop is not allowed in a prompt")
    if isinstance(node, nodes.Filter) and node.name not in (*_FILTERS, "join"):
        raise InvalidTemplate(
            f"line {line}: no filter {node.name!r}; there are {', '.join(sorted((*_FILTERS, 'join')))}"
        )
    if isinstance(node, nodes.Name) and node.name.startswith("_"):
        raise InvalidTemplate(f"line {line}: the name {node.name!r} starts with an underscore")


def rendered(template: Template, values: Mapping[str, Any]) -> str:
    """The template's output. Raises PromptError when it fails or passes a bound."""
    pieces: list[str] = []
    size = 0
    try:
        for piece in template.generate({**values, _STEPS: _Steps()}):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise SecurityError(f"the rendered message has more than {MAX_OUTPUT} characters")
            pieces.append(piece)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise PromptError(str(error)) from error
    return "".join(pieces)
