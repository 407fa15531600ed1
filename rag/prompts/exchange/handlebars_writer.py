"""Pieces as Handlebars: the simple conditions and loops; anything else is refused with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rag.prompts.exchange.draft import If, Piece, Text, Turn, Value, merged, unsayable
from rag.prompts.exchange.expressions import Condition, Path, condition, filtered, plain
from rag.prompts.exchange.handlebars import ends_blank

FORMAT = "Handlebars"
_HELPERS = frozenset(
    (
        *(
            "blockHelperMissing",
            "each",
            "helperMissing",
            "history",
            "if",
            "ifEquals",
            "json",
            "log",
            "lookup",
        ),
        *("media", "role", "section", "unless", "unlessEquals", "with"),
    )
)
_WORDS = frozenset(("true", "false", "null", "undefined", "else", "as", "this"))


@dataclass(slots=True)
class _Part:
    """A text, or what stands between the braces of a tag. ``alone``: a tag that may take its line along;
    ``role``: one that begins a message, set apart by lines that ``~`` eats."""

    text: str
    tag: bool
    alone: bool = False
    role: bool = False


@dataclass(slots=True)
class Writing:
    """What writing found out. ``kinds`` are those of the variables, by name."""

    kinds: Mapping[str, str]
    lost: list[str] = field(default_factory=list)
    _items: list[str] = field(default_factory=list)

    def write(self, pieces: Sequence[Piece]) -> str:
        """The pieces as Handlebars, which prints every text as it is. Raises PromptError with the line.

        >>> Writing({}).write((Text("{{a}} {"), Value("price"), Text("}")))
        '\\\\{{a}} { {{~price~}} }'
        """
        parts: list[_Part] = []
        self._put(tuple(pieces), parts)
        return _joined(parts)

    def turns(self, turns: Sequence[Turn]) -> str:
        """Messages as a dotprompt body."""
        parts: list[_Part] = []
        for turn in turns:
            named = "model" if turn.role == "assistant" else turn.role
            parts.append(_Part(f'role "{named}"', True, role=True))
            self._put(turn.pieces, parts)
        return _joined(parts)

    def _put(self, pieces: tuple[Piece, ...], parts: list[_Part]) -> None:
        for piece in merged(pieces):
            if isinstance(piece, Text):
                parts.append(_Part(piece.text, False))
            elif isinstance(piece, Value):
                parts.append(_Part(self._value(piece), True))
            elif isinstance(piece, If):
                self._if(piece, parts)
            else:
                path = plain(piece.items)
                if path is None or not piece.item.isidentifier():
                    raise unsayable(FORMAT, piece.line, f"the loop `for {piece.item} in {piece.items}`")
                self._block("each", self._path(path, piece.line), parts)
                self._items.append(piece.item)
                self._put(piece.body, parts)
                self._items.pop()
                self._else(piece.otherwise, parts)
                parts.append(_Part("/each", True, alone=True))

    def _if(self, piece: If, parts: list[_Part]) -> None:
        test, body = piece.branches[0]
        found = condition(test)
        if found is None:
            raise unsayable(FORMAT, piece.line, f"the condition `{test}`")
        helper, argument = self._condition(found, piece.line)
        self._block(helper, argument, parts)
        self._put(body, parts)
        rest = piece.branches[1:]
        otherwise = (If(rest, piece.otherwise, piece.line),) if rest else piece.otherwise
        self._else(otherwise, parts)
        parts.append(_Part(f"/{helper}", True, alone=True))

    def _block(self, helper: str, argument: str, parts: list[_Part]) -> None:
        parts.append(_Part(f"#{helper} {argument}", True, alone=True))

    def _else(self, pieces: tuple[Piece, ...], parts: list[_Part]) -> None:
        if pieces:
            parts.append(_Part("else", True, alone=True))
            self._put(pieces, parts)

    def _condition(self, found: Condition, line: int) -> tuple[str, str]:
        path = self._path(found.path, line)
        if not found.compares:
            return ("unless" if found.negated else "if"), path
        helper = "unlessEquals" if found.negated else "ifEquals"
        if isinstance(found.other, tuple):
            return helper, f"{path} {self._path(found.other, line)}"
        return helper, f"{path} {_literal(found.other, line)}"

    def _value(self, piece: Value) -> str:
        found = filtered(piece.expression)
        if found is None:
            raise unsayable(FORMAT, piece.line, f"`{piece.expression}`")
        path, filters = found
        kind = self.kinds.get(str(path[0]), "") if len(path) == 1 and path[0] not in self._items else ""
        written = self._path(path, piece.line)
        if filters == ("tojson",):
            self.lost.append(f"`{piece.expression}` is {{{{json}}}} there, which writes fewer spaces")
            return f"json {written}"
        if filters == ("string", "lower") and kind == "boolean":
            return written
        if filters == ("join",) and kind == "array":
            return written
        if filters:
            raise unsayable(FORMAT, piece.line, f"`{piece.expression}`")
        if kind == "boolean":
            self.lost.append(f"{path[0]} is printed as true or false there, as True or False here")
        elif kind in ("array", "object"):
            raise unsayable(FORMAT, piece.line, f"the {kind} `{piece.expression}`, as Python prints it,")
        return written

    def _path(self, path: Path, line: int) -> str:
        root, *rest = path
        if root == "loop" and self._items:
            known: dict[Path, str] = {("index0",): "@index", ("first",): "@first", ("last",): "@last"}
            if tuple(rest) not in known:
                raise unsayable(FORMAT, line, f"`{'.'.join(map(str, path))}`")
            return known[tuple(rest)]
        steps = [_segment(step, line) for step in rest]
        if root in self._items:
            depth = len(self._items) - 1 - _last(self._items, str(root))
            if not depth:
                return ".".join(("this", *steps))
            return "../" * depth + ".".join(steps) if steps else "/".join([".."] * depth)
        name = _segment(root, line)
        if self._items:
            return "../" * len(self._items) + ".".join((name, *steps))
        if root in _HELPERS:
            name = f"this.{name}"
        return ".".join((name, *steps))


def _last(items: list[str], name: str) -> int:
    return len(items) - 1 - items[::-1].index(name)


def _segment(step: str | int, line: int) -> str:
    text = str(step)
    if re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII) and text not in _WORDS:
        return text
    if "]" in text or "\n" in text:
        raise unsayable(FORMAT, line, f"the name {text!r}")
    return f"[{text}]"


def _literal(value: object, line: int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and re.fullmatch(r"-?\d+\.\d+", str(value))):
        return str(value)
    if isinstance(value, str) and "\\" not in value:
        for quote in "\"'":
            if quote not in value:
                return f"{quote}{value}{quote}"
    raise unsayable(FORMAT, line, f"a comparison with {value!r}")


def _joined(parts: Sequence[_Part]) -> str:
    out = []
    for at, part in enumerate(parts):
        last = parts[at - 1] if at else None
        following = parts[at + 1] if at + 1 < len(parts) else None
        if not part.tag:
            out.append(_escaped(part.text, last, following))
            continue
        if part.alone and (last is None or (not last.tag and ends_blank(last.text, whole=True))):
            out.append("{{!}}")  # a comment beside it: not alone on its line, so the line stays
        gap = _gap(part, last)
        before = "~" if gap or (last and not last.tag and last.text.endswith("{")) else ""
        laid = part.role and following and not following.tag and re.match(r"[^\s}]", following.text)
        after = "~" if laid or (following and not following.tag and following.text.startswith("}")) else ""
        line = "\n" if laid else ""
        out.append(f"{gap}{{{{{before}{part.text}{after}}}}}{line}")
    return "".join(out)


def _gap(part: _Part, last: _Part | None) -> str:
    """The empty line before a message, where nothing but itself is eaten with it."""
    clear = part.role and last is not None and (last.tag or not last.text[-1:].isspace())
    return "\n\n" if clear else ""


def _escaped(text: str, last: _Part | None, following: _Part | None) -> str:
    """A text between two tags: no brace of it opens or closes one, no backslash of it escapes one."""
    out, at = "", 0
    for run in re.finditer(r"\{{2,}", text):
        out += text[at : run.start()]
        if out.endswith("\\"):
            out += "\\{{!}}"  # the backslashes are text, and the tag is a comment
        pairs, odd = divmod(len(run[0]), 2)
        out += "\\{{" * pairs + "{" * odd
        at = run.end()
    out += text[at:]
    if following is not None and not _gap(following, _Part(text, False)):
        if out.endswith("{"):
            out += " "  # which the ~ of the tag eats
        elif out.endswith("\\"):
            out += "\\"
    return f" {out}" if last is not None and text.startswith("}") else out
