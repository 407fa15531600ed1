"""What a render may cost: loop steps and work, counted where a template does what depends on its values.

A time limit would be simpler, and would fail the same prompt on one machine and not on another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.visitor import NodeTransformer

from rag.neutral import neutral

MAX_STEPS = 10_000
"""Loop steps of one render, all loops together."""
MAX_WORK = 2_000_000
"""Work of one render: a unit is a part of a template in a loop, an element of a list that a filter or a
comparison reads, or so many characters (:data:`CHARACTERS`). Seconds at the very most."""
CHARACTERS = 16
_COSTLY = dict.fromkeys(("dictsort", "join", "sort", "tojson", "unique"), 4)
"""Filters that take several times as long for each element."""
_METERED = (nodes.Filter, nodes.Test, nodes.Compare)
_FLAT = frozenset((int, float, bool, type(None)))

METER = "__meter__"
"""Where the values of a render hold its meter; no template can name it, nor the two filters."""
_COUNTED = "counted steps"
_CHARGED = "charged work"


class Meter:
    """What is left to one render. ``neutral`` are texts known to be so (see :mod:`rag.neutral`)."""

    def __init__(self, neutral: Iterable[object] = ()) -> None:
        self._neutral = frozenset(id(text) for text in neutral if isinstance(text, str))
        self._steps = MAX_STEPS
        self._work = MAX_WORK

    def take(self, items: Iterable[Any], weight: int) -> Iterator[Any]:
        for item in items:
            self._steps -= 1
            if self._steps < 0:
                raise SecurityError(f"the template's loops take more than {MAX_STEPS} steps")
            self._spend(weight)
            yield item

    def is_neutral(self, value: object) -> bool:
        """Whether this very value is one of those."""
        return id(value) in self._neutral

    def charge(self, value: Any, weight: int = 1) -> Any:
        """``value``, for whose reading the work is taken off: all that is in it, however deep."""
        if isinstance(value, Iterator):
            return (self.charge(item, weight) for item in value)
        stack = [value]
        while stack:
            part = stack.pop()
            if isinstance(part, str):
                self._spend(weight * (1 + len(part) // CHARACTERS))
                continue
            if isinstance(part, Mapping):
                part = [each for pair in part.items() for each in pair]
            if not isinstance(part, list | tuple):
                self._spend(weight)
                continue
            self._spend(weight * (1 + len(part)))
            texts = [each for each in part if type(each) is str]
            self._spend(weight * sum(map(len, texts)) // CHARACTERS)
            stack.extend(each for each in part if type(each) is not str and type(each) not in _FLAT)
        return value

    def _spend(self, work: int) -> None:
        self._work -= work
        if self._work < 0:
            raise SecurityError("the template takes too much work; use fewer loops, filters and comparisons")


def _meter(context: Context) -> Meter:
    return cast(Meter, context.resolve(METER))


@pass_context
def _counted(context: Context, items: Iterable[Any], weight: int) -> Iterator[Any]:
    return _meter(context).take(items, weight)


@pass_context
def _charged(context: Context, value: Any, weight: int = 1) -> Any:
    return value if isinstance(value, Undefined) else _meter(context).charge(value, weight)


@pass_context
def printed(context: Context, value: Any) -> str:
    """A value's text. It is made neutral last: filters may have put together what no value was."""
    if isinstance(value, Undefined):
        return str(value)  # raises what is missing
    meter = _meter(context)
    text = str(meter.charge(value))
    return text if meter.is_neutral(value) else neutral(text)


COUNTING: Mapping[str, Callable[..., Any]] = MappingProxyType({_COUNTED: _counted, _CHARGED: _charged})
"""The filters that :class:`Metered` puts in, by name."""


class Metered(NodeTransformer):
    """Puts the counting filters around everything whose cost depends on a value."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        inside = (each for part in node.body for each in part.find_all(nodes.Node))
        weight = nodes.Const(1 + sum(10 if isinstance(each, _METERED) else 1 for each in inside))
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, _COUNTED, [weight], [], None, None, lineno=node.lineno)
        return node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        self.generic_visit(node)
        if node.node is not None:
            node.node = _charge(node.node, _COSTLY.get(node.name, 1))
        node.args = [_charge(argument) for argument in node.args]
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        self.generic_visit(node)
        if node.name not in ("defined", "undefined"):
            node.node = _charge(node.node)
        node.args = [_charge(argument) for argument in node.args]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _charge(node.expr)
        for operand in node.ops:
            operand.expr = _charge(operand.expr)
        return node


def _charge(node: nodes.Expr, weight: int = 1) -> nodes.Expr:
    if isinstance(node, nodes.Const):
        return node
    return nodes.Filter(node, _CHARGED, [nodes.Const(weight)], [], None, None, lineno=node.lineno)
