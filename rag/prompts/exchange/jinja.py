"""Jinja's text as pieces, and pieces as Jinja's text. What is text stays text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from jinja2 import Environment, TemplateSyntaxError, nodes

from rag.errors import InvalidTemplate
from rag.prompts.exchange.draft import MAX_TAGS, Each, If, Piece, Text, Value, merged, refused
from rag.prompts.exchange.expressions import parsed
from rag.prompts.parts import path_of

MAX_DEPTH = 50
"""Blocks within blocks, and files included by files."""

_OPENERS = re.compile(r"\{\{+|\{(?=[%#])")
_ROLE_LINE = re.compile(
    r"[ \t]*(?:#[ \t]*)?(system|user|assistant|developer|function|tool)[ \t]*(\[.*\])?[ \t]*:[ \t]*",
    re.IGNORECASE,
)
"""A line that Prompty would read as the start of a message."""


def written(pieces: Sequence[Piece]) -> str:
    """The pieces as a Jinja template whose text renders as it is, and opens no message of Prompty's.

    >>> written((Text("{{a}} costs {"), Value("price"), Text("}\\nuser:\\nx")))
    '{{ "{{" }}a}} costs {{ "{" }}{{ price }}}\\n{{ "user:" }}\\nx'
    """
    parts: list[tuple[bool, str]] = []
    _write(tuple(pieces), parts)
    out: list[str] = []
    for number, (is_tag, part) in enumerate(parts):
        if is_tag:
            out.append(part)
            continue
        before_tag = number + 1 < len(parts)
        text = _OPENERS.sub(lambda run: f'{{{{ "{run[0]}" }}}}', part)
        if before_tag and text.endswith("{"):
            text = f'{text[:-1]}{{{{ "{{" }}}}'
        out.append(text)
    lines = "".join(out).split("\n")
    return "\n".join(f'{{{{ "{line}" }}}}' if _ROLE_LINE.fullmatch(line) else line for line in lines)


def _write(pieces: tuple[Piece, ...], parts: list[tuple[bool, str]]) -> None:
    for piece in merged(pieces):
        if isinstance(piece, Text):
            parts.append((False, piece.text))
        elif isinstance(piece, Value):
            parts.append((True, f"{{{{ {piece.expression} }}}}"))
        elif isinstance(piece, If):
            for number, (condition, body) in enumerate(piece.branches):
                parts.append((True, f"{{% {'elif' if number else 'if'} {condition} %}}"))
                _write(body, parts)
            _otherwise(piece.otherwise, parts)
            parts.append((True, "{% endif %}"))
        else:
            parts.append((True, f"{{% for {piece.item} in {piece.items} %}}"))
            _write(piece.body, parts)
            _otherwise(piece.otherwise, parts)
            parts.append((True, "{% endfor %}"))


def _otherwise(pieces: tuple[Piece, ...], parts: list[tuple[bool, str]]) -> None:
    if pieces:
        parts.append((True, "{% else %}"))
        _write(pieces, parts)


def read(
    source: str, *, first_line: int = 1, parts: Mapping[str, str] | None = None, own: str = ""
) -> tuple[Piece, ...]:
    """A Jinja template as pieces; what it includes is taken from ``parts``, by path, and ``own`` is its own.

    Raises InvalidTemplate, with the line, for what a prompt may not do: set, macro, call and the like.

    >>> read("Hi {{ who }}{% raw %}{{a}}{% endraw %}")
    (Text(text='Hi '), Value(expression='who', line=1), Text(text='{{a}}'))
    """
    return _Reader(source, first_line, parts or {}, (own,)).all()


class _Reader:
    def __init__(
        self, source: str, first_line: int, parts: Mapping[str, str], trail: tuple[str, ...]
    ) -> None:
        if len(trail) > MAX_DEPTH:
            raise refused(first_line, f"files include each other more than {MAX_DEPTH} deep")
        self._parts, self._trail = parts, trail
        self._shift = first_line - 1
        try:
            lexed = Environment(keep_trailing_newline=True, autoescape=False).lex(source)  # noqa: S701
            tokens = list(islice(lexed, 20 * MAX_TAGS + 1))
        except TemplateSyntaxError as error:
            raise InvalidTemplate(f"line {error.lineno + self._shift}: {error.message}") from None
        if len(tokens) > 20 * MAX_TAGS or sum(kind.endswith("_begin") for _, kind, _ in tokens) > MAX_TAGS:
            raise refused(first_line, f"the template has more than {MAX_TAGS:,} tags")
        self._tokens = tokens
        self._at = 0

    def all(self) -> tuple[Piece, ...]:
        pieces, tag, _ = self._until((), 0)
        if tag:
            raise refused(self._line(), f"{{% {tag} %}} closes nothing")
        return pieces

    def _line(self) -> int:
        at = min(self._at, len(self._tokens) - 1)
        return (self._tokens[at][0] if self._tokens else 1) + self._shift

    def _until(self, ends: tuple[str, ...], depth: int) -> tuple[tuple[Piece, ...], str, str]:
        """Pieces up to one of these tags; the tag and what stands in it after its name."""
        if depth > MAX_DEPTH:
            raise refused(self._line(), f"blocks stand in each other more than {MAX_DEPTH} deep")
        found: list[Piece] = []
        while self._at < len(self._tokens):
            _, kind, value = self._tokens[self._at]
            line = self._line()
            if kind == "variable_begin":
                found.append(_printed(self._inside("variable_end"), line))
                continue
            if kind == "block_begin":
                tag, _, rest = self._inside("block_end").partition(" ")
                if tag in ends:
                    return merged(found), tag, rest
                found.extend(self._block(tag, rest, line, depth))
                continue
            if kind == "data":
                found.append(Text(value))
            self._at += 1  # comments, and the marks of raw
        if ends:
            raise refused(self._line(), f"{{% {ends[-1]} %}} is missing")
        return merged(found), "", ""

    def _inside(self, end: str) -> str:
        """What stands in a tag, spaces between its words made one; leaves the tag."""
        words: list[str] = []
        self._at += 1
        while True:
            if self._at == len(self._tokens):
                raise refused(self._line(), "a tag is never closed")
            _, kind, value = self._tokens[self._at]
            if kind == end:
                break
            words.append(" " if kind == "whitespace" else value)
            self._at += 1
        self._at += 1
        return "".join(words).strip()

    def _block(self, tag: str, rest: str, line: int, depth: int) -> Sequence[Piece]:
        if tag == "if":
            branches: list[tuple[str, tuple[Piece, ...]]] = []
            while True:
                body, ended, after = self._until(("elif", "else", "endif"), depth + 1)
                branches.append((rest, body))
                if ended != "elif":
                    break
                rest = after
            otherwise: tuple[Piece, ...] = ()
            if ended == "else":
                otherwise, _, _ = self._until(("endif",), depth + 1)
            return [If(tuple(branches), otherwise, line)]
        if tag == "for":
            item, _, items = rest.partition(" in ")
            body, ended, _ = self._until(("else", "endfor"), depth + 1)
            otherwise = self._until(("endfor",), depth + 1)[0] if ended == "else" else ()
            return [Each(item.strip(), items.strip(), body, otherwise, line)]
        if tag == "include":
            path = path_of(rest.strip("\"'"), beside=self._trail[-1])
            if path not in self._parts:
                raise refused(line, f"includes {rest}, which is not here")
            text = self._parts[path].removesuffix("\n")  # as when the prompt itself is read
            return _Reader(text, 1, self._parts, (*self._trail, path)).all()
        raise refused(line, f"{{% {tag} %}} is not allowed in a prompt; use values, if, for and filters")


def _printed(expression: str, line: int) -> Piece:
    node = parsed(expression)
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return Text(node.value)  # {{ "{{" }} is how a text says what would be a tag
    return Value(expression, line)


def renamed(pieces: Sequence[Piece], rename: Callable[[str], str]) -> tuple[Piece, ...]:
    """The same pieces with the texts of their expressions passed through ``rename``."""
    out: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Value):
            out.append(Value(rename(piece.expression), piece.line))
        elif isinstance(piece, If):
            branches = tuple((rename(test), renamed(body, rename)) for test, body in piece.branches)
            out.append(If(branches, renamed(piece.otherwise, rename), piece.line))
        elif isinstance(piece, Each):
            body, otherwise = renamed(piece.body, rename), renamed(piece.otherwise, rename)
            out.append(Each(piece.item, rename(piece.items), body, otherwise, piece.line))
        else:
            out.append(piece)
    return tuple(out)


def variables(pieces: Sequence[Piece]) -> frozenset[str]:
    """The variables that the pieces use, those of their loops apart. Raises InvalidTemplate.

    >>> sorted(variables(read("{{ a }}{% for x in xs if b %}{{ x }}{% endfor %}")))
    ['a', 'b', 'xs']
    """
    from jinja2.meta import find_undeclared_variables

    try:
        return frozenset(find_undeclared_variables(Environment(autoescape=False).parse(written(pieces))))  # noqa: S701
    except (TemplateSyntaxError, RecursionError) as error:
        raise InvalidTemplate(f"not a template: {error}") from None
