"""Jinja for templates that are not wholly trusted: a small part of the language, bounded in every way.

A template can print values, choose with ``if``, loop with ``for``, apply a few filters and include files that
are put in when it is read. It cannot call, assign, import, define or compute: without those nothing grows
beyond its inputs, and what is left is counted: loop steps, the work they and the filters and comparisons
make, the output, what a filter returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, wraps
from io import StringIO
from typing import Any, cast

from jinja2 import Environment, StrictUndefined, Template, TemplateError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.idtracking import VAR_LOAD_RESOLVE
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from rag.errors import InvalidTemplate, PromptError
from rag.neutral import without_markers
from rag.prompts.meter import COUNTING, METER, Meter, Metered, printed
from rag.prompts.parts import Parts

MAX_NESTED = 30
"""Parts of a template that stand one within the other. Python's own compiler takes seconds for a hundred."""
MAX_OUTPUT = 2_000_000
"""Characters of one rendered message, and of what a single filter may return."""
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last"),
    *("length", "list", "lower", "reverse", "sort", "string", "title", "tojson", "trim", "unique", "upper"),
)
FILTERS = tuple(sorted((*_FILTERS, "join")))
"""The filters that a template may use."""
_TESTS = (
    *("boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in"),
    *(
        "greaterthan",
        "integer",
        "iterable",
        "le",
        "lessthan",
        "lower",
        "lt",
        "mapping",
        "ne",
        "none",
        "number",
    ),
    *("odd", "sequence", "string", "true", "undefined", "upper", "==", "!=", ">", ">=", "<", "<="),
)
_ALLOWED: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For),
    *(nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Getattr),
    *(nodes.Getitem, nodes.Filter, nodes.Test, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair),
    *(nodes.Keyword, nodes.Include, nodes.Neg, nodes.Pos),
)


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # keeps the marks by which Jinja knows what to pass in
    def bounded(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        if isinstance(result, str) and len(result) > MAX_OUTPUT:
            raise SecurityError(f"a filter returned more than {MAX_OUTPUT} characters")
        return list(result) if isinstance(result, Iterator) else result

    return bounded


def _join(items: Iterable[Any], separator: str = "") -> str:
    parts = [str(item) for item in items]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_OUTPUT:
        raise SecurityError(f"join would return more than {MAX_OUTPUT} characters")
    return separator.join(parts)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    # Not optimized: nothing is computed, and nothing grows, while a template is only read.
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, optimized=False, finalize=printed
    )
    kept = {name: _bounded(environment.filters[name]) for name in _FILTERS}
    environment.filters = {**kept, "join": _join, **COUNTING}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    environment.globals = {}
    return environment


def compiled(source: str, *, first_line: int, parts: Parts | None = None) -> tuple[Template, frozenset[str]]:
    """A message's template and the variables that it uses. Raises InvalidTemplate with the line, and the file
    where it is an included one.

    ``first_line`` is where ``source`` begins in its file, from 1; ``parts`` reads what it includes.

    >>> template, names = compiled("Hi {{ name }}", first_line=1)
    >>> sorted(names), rendered(template, {"name": "{{ evil }}"})
    (['name'], 'Hi {{ evil }}')
    """
    environment = _environment()
    parts = parts or Parts(None, own="")
    try:
        tree = _tree(source, first_line, parts, (parts.own,))
        try:
            parts.compiling(_size(tree))
        except InvalidTemplate as error:
            raise InvalidTemplate(f"line {first_line}: {error}") from None
        tree = Metered().visit(tree)
        tree.set_environment(environment)
        writer = _Writer(environment, None, None)
        writer.visit(tree)
        code = compile(writer.written, "<template>", "exec")
    except (TemplateError, RecursionError, SyntaxError, MemoryError) as error:
        told = error if isinstance(error, TemplateError) else "nested too deeply"
        raise InvalidTemplate(f"line {first_line}: {told}") from None
    return Template.from_code(environment, code, {}), frozenset(writer.undeclared)


class _Writer(CodeGenerator):
    """Writes a template's code, and notes on the way what :func:`jinja2.meta.find_undeclared_variables` would
    go through it once more for: the names that come from outside."""

    def __init__(self, environment: Environment, name: str | None, filename: str | None) -> None:
        super().__init__(environment, name, filename, optimized=False)
        self.undeclared: set[str] = set()

    @property
    def written(self) -> str:
        return str(cast(StringIO, self.stream).getvalue())

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        for action, name in frame.symbols.loads.values():
            if action == VAR_LOAD_RESOLVE and name is not None:
                self.undeclared.add(name)


def _size(tree: nodes.Node) -> int:
    """The parts of a template; one that stands deep counts more, as it takes longer to compile."""
    size = 0
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_NESTED:
            raise InvalidTemplate(f"nested more than {MAX_NESTED} deep")
        size += 1 + depth // 8
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())
    return size


def _tree(source: str, first_line: int, parts: Parts, trail: tuple[str, ...]) -> nodes.Template:
    """The checked nodes of a text, with those of the files that it includes in their places."""

    def fault(line: int, problem: object) -> InvalidTemplate:
        file = f"{trail[-1]}, " if len(trail) > 1 else ""
        return InvalidTemplate(f"{file}line {first_line + line - 1}: {problem}")

    try:
        tree = _environment().parse(source)
    except TemplateSyntaxError as error:
        raise fault(error.lineno, error.message) from None
    except (RecursionError, ValueError, SyntaxError, MemoryError):
        raise fault(1, "nested too deeply, or a number that is too long") from None
    for node in tree.find_all(nodes.Node):
        if problem := _problem(node):
            raise fault(getattr(node, "lineno", None) or 1, problem)

    def put_in(node: nodes.Include) -> list[nodes.Node]:
        name = node.template.value if isinstance(node.template, nodes.Const) else None
        if not isinstance(name, str) or node.ignore_missing or not node.with_context:
            raise fault(node.lineno, 'write an include as {% include "_core/rules.md" %}, the name in quotes')
        try:
            path, text = parts.included(name, trail=trail)
        except InvalidTemplate as error:
            raise fault(node.lineno, error) from None
        return _tree(text, 1, parts, (*trail, path)).body

    return cast(nodes.Template, _Including(put_in).visit(tree))


class _Including(NodeTransformer):
    def __init__(self, put_in: Callable[[nodes.Include], list[nodes.Node]]) -> None:
        self._put_in = put_in

    def visit_Include(self, node: nodes.Include) -> list[nodes.Node]:
        return self._put_in(node)


def _problem(node: nodes.Node) -> str:
    """Why a node cannot stand in a prompt, "" when it can."""
    if not isinstance(node, _ALLOWED):
        kind = type(node).__name__.lower()
        return f"{kind} is not allowed in a prompt; use values, if, for, include and filters"
    if isinstance(node, nodes.For) and node.recursive:
        return "a recursive loop is not allowed in a prompt"
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        return f"no filter {node.name!r}; there are {', '.join(FILTERS)}"
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        return f"no test {node.name!r}; there are {', '.join(name for name in _TESTS if name.isalpha())}"
    if isinstance(node, nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        return "a filter's arguments are written one by one, without *"
    if isinstance(node, nodes.Name) and (node.name.startswith("_") or node.name == "self"):
        return f"the name {node.name!r} is not for prompts; begin a name with a letter"
    return ""


def rendered(
    template: Template,
    values: Mapping[str, Any],
    *,
    markers: frozenset[str] = frozenset(),
    neutral: Iterable[object] = (),
) -> str:
    """The template's text. ``markers`` are those of chat templates that its author wrote, his to write;
    ``neutral`` are values known to be so (see :mod:`rag.neutral`).

    Raises PromptError when it fails or passes a bound.
    """
    pieces: list[str] = []
    size = 0
    meter = Meter(neutral)
    try:
        for piece in template.generate({**values, METER: meter}):
            size += len(piece)
            if size > MAX_OUTPUT:
                raise SecurityError(f"the rendered message has more than {MAX_OUTPUT} characters")
            pieces.append(piece)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise PromptError(str(error)) from error
    # Two values that stand side by side may make a marker of a chat template that neither of them is.
    return without_markers("".join(pieces), but=markers)
