"""The inputs of a template that declares none, by how it uses its variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rag.prompts.exchange.draft import Each, If, Piece, Turn, Value
from rag.prompts.exchange.expressions import condition, filtered, joined
from rag.prompts.exchange.jinja import variables
from rag.prompts.values import Input


def inputs(turns: Sequence[Turn], *, lenient: bool) -> tuple[Input, ...]:
    """A variable that a loop goes over is an array, one that something is taken from an object.

    ``lenient``: there, what is not given prints nothing, so that what a condition or a loop is about need not
    be given here either. Raises InvalidTemplate for what is no template.

    >>> from rag.prompts.exchange.jinja import read
    >>> pieces = read("{{ a }}{% if b %}{{ b }}{% endif %}{% for x in xs %}{{ x.n }}{% endfor %}")
    >>> [(each.name, each.kind, each.required) for each in inputs([Turn("user", pieces)], lenient=True)]
    [('a', 'string', True), ('b', 'string', False), ('xs', 'array', False)]
    """
    names: dict[str, None] = {}
    tested: set[str] = set()
    kinds: dict[str, str] = {}
    for turn in turns:
        used = variables(turn.pieces)
        for name, way in _uses(turn.pieces, frozenset()):
            if name in used:
                names[name] = None
                if way == "tested":
                    tested.add(name)
                elif way:
                    kinds.setdefault(name, way)
        names |= dict.fromkeys(sorted(used - set(names)))
    return tuple(
        Input(name, kind, "", not (lenient and (name in tested or kind == "array")), None)
        for name in names
        for kind in [kinds.get(name, "string")]
    )


def _uses(pieces: Sequence[Piece], items: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Each variable with how it is used: "tested", "array", "object" or ""; those of loops apart."""
    for piece in pieces:
        if isinstance(piece, Value):
            yield from ((name, "array") for name in joined(piece.expression) if name not in items)
            found = filtered(piece.expression)
            if found and found[0][0] not in items:
                yield str(found[0][0]), "object" if len(found[0]) > 1 else ""
        elif isinstance(piece, If):
            for test, body in piece.branches:
                asked = condition(test)
                if asked and asked.path[0] not in items:
                    yield str(asked.path[0]), "object" if len(asked.path) > 1 else "tested"
                yield from _uses(body, items)
            yield from _uses(piece.otherwise, items)
        elif isinstance(piece, Each):
            over = filtered(piece.items)
            if over and over[0][0] not in items:
                keyed = len(over[0]) > 1 or {"items", "dictsort"} & set(over[1])
                yield str(over[0][0]), "object" if keyed else "array"
            yield from _uses(piece.body, items | {name.strip() for name in piece.item.split(",")})
            yield from _uses(piece.otherwise, items)
