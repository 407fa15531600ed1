"""The blocks of a Markdown-like text: where each one stands, and under which headings.

A scanner of lines, not a Markdown parser: it needs to know where a text may be cut, never how it is
shown. Every character that is not white space belongs to exactly one block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Block", "blocks", "plain"]

Kind = Literal["heading", "prose", "rows"]
"""``rows`` are code, tables and HTML: their lines belong together and are never cut inside if avoidable."""


@dataclass(frozen=True, slots=True)
class Block:
    """``text[start:end]``, whole lines without the last line end; ``path``: the headings above it, its own
    included, outermost first. ``opens``: it says little without what follows, ``closes``: without what
    went before (the two ends of an admonition)."""

    start: int
    end: int
    kind: Kind
    path: tuple[str, ...]
    opens: bool = False
    closes: bool = False


_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r"\s*(?:>\s?)*(?:[-*+]\s+|\d+[.)]\s+)?(`{3,}(?!.*`)|~{3,})")
_TABLE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s")
_HTML = re.compile(r" {0,3}<(?:[a-zA-Z/!?])")
_OPENS = re.compile(r"\s*(?:/{3,}\s*\w|(?:!!!|\?\?\?)\+?\s|:{3,}\s*\{?\w)")
_CLOSES = re.compile(r"\s*(?:/{3,}|:{3,})\s*$")

_LONGEST = 300  # characters of a heading that name a section

_ANCHOR = re.compile(r"\s*\{\s*[#.][^{}]*\}\s*$")
_CLOSING_MARKS = re.compile(r"(?:^|[ \t]+)#+[ \t]*$")
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()\s]*(?:\s+\"[^\"]*\")?\)|\[[^\[\]]*\])")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>")
_EMPHASIS = re.compile(r"(\*{1,3}|(?<!\w)_{1,3}|~~|`+)(?=\S)(.{1,300}?)(?<=\S)\1(?!\w)")


def plain(heading: str) -> str:
    r"""A heading as it is displayed: without anchors, links, tags and emphasis.

    >>> plain("**Usar** `response_model` y [más](a.md) { #usar }")
    'Usar response_model y más'
    """
    text = _CLOSING_MARKS.sub("", _ANCHOR.sub("", heading))
    text = _TAG.sub("", _LINK.sub(r"\1", text))
    return " ".join(_EMPHASIS.sub(r"\2", text).replace("\\", "").split())


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a text, in order, in one pass.

    >>> [(b.kind, text[b.start:b.end], b.path) for text in ["# A\\nb\\n\\n- c\\n- d"] for b in blocks(text)]
    [('heading', '# A', ('A',)), ('prose', 'b', ('A',)), ('prose', '- c', ('A',)), ('prose', '- d', ('A',))]
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._path: list[tuple[int, str]] = []

    def scan(self) -> Iterator[Block]:
        lines = self._lines()
        line = next(lines, None)
        while line is not None:
            start, end = line
            content = self._text[start:end]
            following = next(lines, None)
            if not content.strip():
                line = following
                continue
            if atx := _ATX.match(content):
                yield self._heading(len(atx[1]), atx[2] or "", start, end)
                line = following
                continue
            if fence := _FENCE.match(content):
                end, line = self._until_fence_closes(fence[1], end, following, lines)
                yield self._block(start, end, "rows")
                continue
            if following and (level := self._underlines(content, following)):
                yield self._heading(level, content, start, following[1])
                line = next(lines, None)
                continue
            rows = bool(_HTML.match(content)) or self._is_table(content, following)
            while following and self._continues(following, rows=rows):
                end = following[1]
                following = next(lines, None)
            yield self._block(start, end, "rows" if rows else "prose")
            line = following

    def _lines(self) -> Iterator[tuple[int, int]]:
        start = 0
        while start < len(self._text):
            end = self._text.find("\n", start)
            end = len(self._text) if end < 0 else end
            yield start, end
            start = end + 1

    def _block(self, start: int, end: int, kind: Kind) -> Block:
        first = self._text[start:end] if end - start < 200 else ""
        return Block(
            start,
            end,
            kind,
            tuple(title for _, title in self._path),
            opens=bool(_OPENS.match(first)) or (kind == "prose" and self._text[end - 1] == ":"),
            closes=bool(_CLOSES.match(first)),
        )

    def _heading(self, level: int, title: str, start: int, end: int) -> Block:
        while self._path and self._path[-1][0] >= level:
            self._path.pop()
        if title := plain(title[:_LONGEST]):
            self._path.append((level, title))
        return Block(start, end, "heading", tuple(title for _, title in self._path), opens=True)

    def _underlines(self, content: str, following: tuple[int, int]) -> int:
        """The level of a heading underlined with = or -, 0 where ``content`` is none."""
        line = self._text[slice(*following)]
        mark = _SETEXT.match(line)
        if not mark or len(mark[1]) < 2 or _ITEM.match(content) or "|" in content or content.startswith(">"):
            return 0
        return 1 if mark[1][0] == "=" else 2

    def _until_fence_closes(
        self, mark: str, end: int, line: tuple[int, int] | None, lines: Iterator[tuple[int, int]]
    ) -> tuple[int, tuple[int, int] | None]:
        while line is not None:
            content = self._text[slice(*line)].strip(" \t>")
            if content:
                end = line[1]
            line = next(lines, None)
            if content.startswith(mark) and not content.strip(mark[0]):
                break
        return end, line

    def _is_table(self, content: str, following: tuple[int, int] | None) -> bool:
        if "|" not in content or following is None:
            return False
        delimiter = self._text[slice(*following)]
        return "|" in delimiter and bool(_TABLE.match(delimiter))

    def _continues(self, line: tuple[int, int], *, rows: bool) -> bool:
        content = self._text[slice(*line)]
        if not content.strip() or _FENCE.match(content) or _ATX.match(content):
            return False
        return rows or not (_ITEM.match(content) or _CLOSES.match(content) or _OPENS.match(content))
