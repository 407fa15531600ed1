"""Mustache, as LangChain reads it, as pieces: variables, sections and inverted sections."""

from __future__ import annotations

import re

from rag.prompts.exchange.draft import MAX_TAGS, Each, If, Names, Piece, Text, Value, merged, refused
from rag.prompts.exchange.expressions import Path, expression_of

MAX_DEPTH = 50
"""Sections within sections."""

_ALONE = re.compile(r"[ \t]*(?:\n|\Z)")


def _next(text: str, at: int) -> tuple[int, int, str, str] | None:
    """The tag that comes next: where it begins and ends, its sign, and what stands in it.

    >>> _next("Hi {{# who }}", 0), _next("{{{who}}}", 0)
    ((3, 13, '#', 'who'), (0, 9, '&', 'who'))
    """
    start = text.find("{{", at)
    if start < 0:
        return None
    triple = text.startswith("{{{", start)
    close = "}}}" if triple else "}}"
    end = text.find(close, start)
    if end < 0:
        return None
    inside = text[start + len(close) : end].strip()
    sign = "&" if triple else inside[:1] if inside[:1] in tuple("#^/>!&=") else ""
    return start, end + len(close), sign, inside if triple else inside.removeprefix(sign).strip()


class Reading:
    """Reads templates; ``looped`` are the variables (our names) that a section loops over.

    A section is a loop, and its variable a list, where something in it is about the item; else it is a
    condition. LangChain makes HTML of what ``{{name}}`` prints, here it stays as it is; that is told.

    >>> Reading(Names(), []).read("{{#names}}Hi {{.}}{{/names}}")[0].items
    'names'
    """

    def __init__(self, names: Names, lost: list[str]) -> None:
        self._names, self._lost = names, lost
        self.looped: set[str] = set()
        self._text, self._at = "", 0

    def read(self, text: str) -> tuple[Piece, ...]:
        """A template as pieces. Raises InvalidTemplate, with the line."""
        if text.count("{{") > MAX_TAGS:
            raise refused(0, f"the template has more than {MAX_TAGS:,} tags")
        self._text, self._at = text, 0
        pieces, ended = self._until("", (), 0)
        if ended:
            raise refused(self._line(), f"{{{{/{ended}}}}} closes nothing")
        return pieces

    def _line(self) -> int:
        return 1 + self._text.count("\n", 0, self._at)

    def _until(self, name: str, loops: tuple[str, ...], depth: int) -> tuple[tuple[Piece, ...], str]:
        if depth > MAX_DEPTH:
            raise refused(self._line(), f"sections stand in each other more than {MAX_DEPTH} deep")
        found: list[Piece] = []
        while tag := _next(self._text, self._at):
            start, end, sign, key = tag
            shown = self._text[start:end]
            before = self._text[self._at : start]
            line_start = self._text.rfind("\n", 0, start) + 1
            after = _ALONE.match(self._text, end)
            alone = (
                sign not in ("", "&") and after is not None and not self._text[line_start:start].strip(" \t")
            )
            if alone and after:
                before = before.rstrip(" \t")
                end = after.end()
            found.append(Text(before))
            self._at = start
            line = self._line()
            self._at = end
            if sign in ("=", ">"):
                raise refused(line, f"{shown} is not taken over")
            if sign == "/":
                if key != name:
                    raise refused(
                        line, f"{shown} closes {{{{#{name}}}}}" if name else f"{shown} closes nothing"
                    )
                return merged(found), key
            if sign == "#" or sign == "^":
                found.append(self._section(sign, key, line, loops, depth))
            elif sign != "!":
                found.append(self._variable(sign, key, line, loops))
        found.append(Text(self._text[self._at :]))
        self._at = len(self._text)
        if name:
            raise refused(self._line(), f"{{{{#{name}}}}} is never closed")
        return merged(found), ""

    def _variable(self, sign: str, key: str, line: int, loops: tuple[str, ...]) -> Piece:
        path = self._path(key, line, loops)
        told = f"{{{{{key}}}}}"
        if not sign and not any(told in each for each in self._lost):
            self._lost.append(
                f'{told}: LangChain writes & < > " in its value as HTML; here it stays as it is'
            )
        return Value(expression_of(path), line)

    def _section(self, sign: str, key: str, line: int, loops: tuple[str, ...], depth: int) -> Piece:
        path = self._path(key, line, loops)
        expression = expression_of(path)
        body_start = self._at
        about_item = sign == "#" and self._about_item(body_start, key)
        if about_item:
            item = self._names.keep("item")
            body, _ = self._until(key, (*loops, item), depth + 1)
            if len(path) == 1 and not loops:
                self.looped.add(str(path[0]))
            return Each(item, expression, body, (), line)
        body, _ = self._until(key, loops, depth + 1)
        if sign == "#":
            self._lost.append(f"line {line}: {{{{#{key}}}}} is a condition here, and no loop over a list")
        return If(((f"not {expression}" if sign == "^" else expression, body),), (), line)

    def _about_item(self, start: int, key: str) -> bool:
        """Whether the section prints its item: {{.}} or {{.name}}; a bare name in it may be the item's or
        the template's own, so that is refused where it is not a variable outside too."""
        depth, at = 0, start
        while tag := _next(self._text, at):
            begin, at, sign, inner = tag
            if sign in ("#", "^"):
                depth += 1
            elif sign == "/":
                if depth == 0:
                    return False
                depth -= 1
            elif depth == 0 and sign in ("", "&"):
                if inner.startswith("."):
                    return True
                if inner != key:
                    raise refused(
                        1 + self._text.count("\n", 0, begin),
                        f"{self._text[begin:at]} within {{{{#{key}}}}} may be the item's or the prompt's, "
                        "which is known only when it is filled in; write it as Jinja",
                    )
        return False

    def _path(self, key: str, line: int, loops: tuple[str, ...]) -> Path:
        if key.startswith("."):
            if not loops:
                raise refused(line, "{{.}} stands in no section")
            return (loops[-1], *(step for step in key.split(".") if step))
        steps = key.split(".")
        if not all(re.fullmatch(r"[^\s{}\"']+", step) for step in steps):
            raise refused(line, f"{{{{{key}}}}} is no variable's name")
        return (self._names.of(steps[0]), *(int(step) if step.isdigit() else step for step in steps[1:]))
