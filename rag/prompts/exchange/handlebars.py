"""Handlebars as a tree, whitespace taken out where Handlebars takes it out.

Written after the language's own lexer and whitespace control (handlebars.js 4): ``\\{{`` is text, ``~`` eats
the whitespace beside a tag, and a block's tag alone on its line takes the line with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from rag.prompts.exchange.draft import MAX_TAGS, refused

MAX_DEPTH = 50
"""Blocks within blocks."""


@dataclass(slots=True)
class Content:
    """Text; ``original`` as it stood in the file."""

    value: str
    original: str
    cut_left: bool = False
    cut_right: bool = False


@dataclass(slots=True)
class Strip:
    """Whether a tag eats the whitespace before it, and after it."""

    before: bool
    after: bool


@dataclass(slots=True)
class Mustache:
    """``{{words}}``."""

    words: list[str]
    strip: Strip
    line: int


@dataclass(slots=True)
class Comment:
    strip: Strip


@dataclass(slots=True)
class Block:
    """``{{#words}}body{{else}}inverse{{/}}``; ``chained``: the inverse is another block, by ``else if``."""

    words: list[str]
    opened: Strip
    line: int
    body: list[Node] = field(default_factory=list)
    inverse: list[Node] | None = None
    chained: bool = False
    turned: Strip | None = None
    closed: Strip = field(default_factory=lambda: Strip(False, False))


Node: TypeAlias = Content | Mustache | Comment | Block

_TAG = re.compile(
    r"""\{\{(?P<before>~?)(?P<kind>\{|[#^/>&*]?)
        (?P<inside>(?:"[^"]*"|'[^']*'|\[[^\]]*\]|[^"'\[{}])*?)
        (?P<triple>\}?)(?P<after>~?)\}\}""",
    re.VERBOSE,
)
_LONG_COMMENT = re.compile(r"\{\{(~?)!--.*?--(~?)\}\}", re.DOTALL)
_COMMENT = re.compile(r"\{\{(~?)!.*?(~?)\}\}", re.DOTALL)
_ESCAPED = re.compile(r".{2,}?(?=\{\{|\\\{\{|\\\\\{\{|\Z)", re.DOTALL)
_WORD = re.compile(r"""\s*("[^"]*"|'[^']*'|\|[^|]*\||(?:\[[^\]]*\]|[^\s"'|])+)""")


@dataclass(slots=True)
class _Tag:
    kind: str  # one of "text", "comment", "", "#", "^", "/"
    words: list[str]
    text: str
    strip: Strip
    line: int


def parse(source: str, *, first_line: int = 1) -> list[Node]:
    """The template's tree. Raises InvalidTemplate, with the line, for what is not Handlebars, and for
    partials, decorators and raw blocks, which a prompt here has no place for.

    >>> parse("Hi {{who}}")[1].words
    ['who']
    """
    tags = list(islice(_tags(source, first_line), 2 * MAX_TAGS + 1))
    if len(tags) > 2 * MAX_TAGS:  # a text stands between two tags
        raise refused(first_line, f"the template has more than {MAX_TAGS:,} tags")
    nodes, rest = _program(tags, 0, None, 0)
    if rest < len(tags):
        raise refused(
            tags[rest].line, f"{{{{{tags[rest].kind}{' '.join(tags[rest].words)}}}}} closes nothing"
        )
    _control(nodes, root=True)
    return nodes


def _tags(source: str, first_line: int) -> Iterator[_Tag]:
    at, text, nothing = 0, "", Strip(False, False)

    def line() -> int:
        return first_line + source.count("\n", 0, at)

    while at < len(source):
        opens = source.find("{{", at)
        if opens < 0:
            text += source[at:]
            break
        before = source[at:opens]
        at = opens
        if before.endswith("\\") and not before.endswith("\\\\"):
            escaped = _ESCAPED.match(source, opens)
            assert escaped is not None  # noqa: S101  # {{ are two characters
            text += before[:-1] + escaped[0]
            at = escaped.end()
            continue
        text += before[:-1] if before.endswith("\\") else before
        if text:
            yield _Tag("text", [], text, nothing, line())
            text = ""
        found = _LONG_COMMENT.match(source, at) or (
            None if re.match(r"\{\{~?!--", source[at : at + 6]) else _COMMENT.match(source, at)
        )
        if found:
            yield _Tag("comment", [], "", Strip(bool(found[1]), bool(found[2])), line())
            at = found.end()
            continue
        yield _tag(source, at, line())
        match = _TAG.match(source, at)
        at = match.end() if match else len(source)
    if text:
        yield _Tag("text", [], text, nothing, line())


def _tag(source: str, at: int, line: int) -> _Tag:
    shown = source[at : at + 30].split("\n")[0]
    if source.startswith("{{{{", at):
        raise refused(line, f"raw blocks are not taken over: {shown}")
    found = _TAG.match(source, at)
    if not found or (found["kind"] == "{") != bool(found["triple"]):
        raise refused(line, f"not a Handlebars tag: {shown}")
    kind = {"{": "", "&": ""}.get(found["kind"], found["kind"])
    if kind == ">":
        raise refused(
            line, f"the partial {shown} is not taken over; put its text in its place, or include a part"
        )
    if kind == "*" or found["inside"].lstrip().startswith("*"):
        raise refused(line, f"decorators are not taken over: {shown}")
    words = _words(found["inside"], line, shown)
    if not words and kind != "^":
        raise refused(line, f"an empty tag: {shown}")
    return _Tag(kind, words, "", Strip(bool(found["before"]), bool(found["after"])), line)


def _words(inside: str, line: int, shown: str) -> list[str]:
    words, at, inside = [], 0, inside.strip()
    while at < len(inside):
        found = _WORD.match(inside, at)
        if not found:
            raise refused(line, f"not a Handlebars tag: {shown}")
        words.append(found[1])
        at = found.end()
    return words


def _program(tags: list[_Tag], at: int, within: Block | None, depth: int) -> tuple[list[Node], int]:
    """Nodes up to the tag that ends this program, and where that stands."""
    if depth > MAX_DEPTH:
        raise refused(tags[at - 1].line, f"blocks stand in each other more than {MAX_DEPTH} deep")
    nodes: list[Node] = []
    while at < len(tags):
        tag = tags[at]
        if tag.kind == "text":
            nodes.append(Content(tag.text, tag.text))
        elif tag.kind == "comment":
            nodes.append(Comment(tag.strip))
        elif tag.kind == "/" or _turns(tag):
            return nodes, at
        elif tag.kind in ("#", "^"):
            if tag.kind == "^":
                raise refused(tag.line, f"{{{{^{' '.join(tag.words)}}}}} is not taken over; write #unless")
            block = Block(tag.words, tag.strip, tag.line)
            at = _block(tags, at, block, depth)
            if (closing := tags[at].words[0]) != block.words[0]:
                raise refused(
                    tags[at].line,
                    f"{{{{/{closing}}}}} closes {{{{#{block.words[0]}}}}} of line {block.line}",
                )
            nodes.append(block)
        else:
            nodes.append(Mustache(tag.words, tag.strip, tag.line))
        at += 1
    if within is not None:
        raise refused(within.line, f"{{{{#{' '.join(within.words)}}}}} is never closed")
    return nodes, at


def _turns(tag: _Tag) -> bool:
    return (tag.kind == "" and tag.words[0] == "else") or (tag.kind == "^" and not tag.words)


def _block(tags: list[_Tag], at: int, block: Block, depth: int) -> int:
    """Read the block that opens here; where its closing tag stands."""
    block.body, at = _program(tags, at + 1, block, depth + 1)
    tag = tags[at]
    if _turns(tag):
        block.turned = tag.strip
        if tag.words[1:]:
            chained = Block(tag.words[1:], tag.strip, tag.line)
            at = _block(tags, at, chained, depth + 1)
            block.inverse, block.chained, block.closed = [chained], True, chained.closed
            return at
        block.inverse, at = _program(tags, at + 1, block, depth + 1)
        tag = tags[at]
    if tag.kind != "/":
        raise refused(tag.line, f"a second {{{{else}}}} in {{{{#{' '.join(block.words)}}}}}")
    block.closed = tag.strip
    return at


def _control(nodes: list[Node], *, root: bool) -> None:
    for at, node in enumerate(nodes):
        if isinstance(node, Content):
            continue
        blank_before, blank_after = _blank_before(nodes, at, root), _blank_after(nodes, at, root)
        if isinstance(node, Block):
            before, after, opens_alone, closes_alone = _control_block(node)
        else:
            before, after = node.strip.before, node.strip.after
            opens_alone = closes_alone = False
        if after:
            _cut_right(nodes, at + 1, everything=True)
        if before:
            _cut_left(nodes, at - 1, everything=True)
        if isinstance(node, Comment) and blank_before and blank_after:
            _cut_right(nodes, at + 1)
            _cut_left(nodes, at - 1)
        if isinstance(node, Block):
            if opens_alone and blank_before:
                _cut_right(node.body, 0)
                _cut_left(nodes, at - 1)
            if closes_alone and blank_after:
                last = node.body if node.inverse is None else node.inverse
                _cut_right(nodes, at + 1)
                _cut_left(last, len(last) - 1)


def _control_block(block: Block) -> tuple[bool, bool, bool, bool]:
    _control(block.body, root=False)
    if block.inverse is not None:
        _control(block.inverse, root=False)
    first = last = block.inverse
    if block.chained and block.inverse is not None:
        chained = block.inverse[0]
        assert isinstance(chained, Block)  # noqa: S101  # so it was made
        first = chained.body
        while isinstance(chained, Block):
            last = chained.body if chained.inverse is None else chained.inverse
            chained = last[-1] if chained.chained else None  # type: ignore[assignment]
    opens_alone = _blank_after(block.body, -1, False)
    closes_alone = _blank_before(block.body if first is None else first, None, False)
    if block.opened.after:
        _cut_right(block.body, 0, everything=True)
    if first is not None and last is not None:
        if block.turned and block.turned.before:
            _cut_left(block.body, len(block.body) - 1, everything=True)
        if block.turned and block.turned.after:
            _cut_right(first, 0, everything=True)
        if block.closed.before:
            _cut_left(last, len(last) - 1, everything=True)
        if _blank_before(block.body, None, False) and _blank_after(first, -1, False):
            _cut_left(block.body, len(block.body) - 1)
            _cut_right(first, 0)
    elif block.closed.before:
        _cut_left(block.body, len(block.body) - 1, everything=True)
    return block.opened.before, block.closed.after, opens_alone, closes_alone


def _blank_before(nodes: list[Node], at: int | None, root: bool) -> bool:
    """Whether nothing but spaces stands between this place and the beginning of its line."""
    at = len(nodes) if at is None else at
    if at < 1:
        return root
    before = nodes[at - 1]
    return isinstance(before, Content) and ends_blank(before.original, whole=at == 1 and root)


def ends_blank(text: str, *, whole: bool) -> bool:
    """Whether the last line of a text is blank; ``whole``: it is the first line too, and may be all of it."""
    words = text.rstrip()
    return "\n" in text[len(words) :] or (whole and not words)


def _blank_after(nodes: list[Node], at: int, root: bool) -> bool:
    if at + 1 >= len(nodes):
        return root
    after = nodes[at + 1]
    pattern = r"\s*?\n" if at + 2 < len(nodes) or not root else r"\s*?(\n|\Z)"
    return isinstance(after, Content) and re.match(pattern, after.original) is not None


def _cut_right(nodes: list[Node], at: int, *, everything: bool = False) -> None:
    """Take the whitespace off the beginning of the text that stands here: all of it, or to the line's end."""
    node = nodes[at] if 0 <= at < len(nodes) else None
    if not isinstance(node, Content) or (node.cut_right and not everything):
        return
    cut = node.value.lstrip() if everything else re.sub(r"\A[ \t]*\n?", "", node.value)
    node.cut_right = cut != node.value
    node.value = cut


def _cut_left(nodes: list[Node], at: int, *, everything: bool = False) -> None:
    node = nodes[at] if 0 <= at < len(nodes) else None
    if not isinstance(node, Content) or (node.cut_left and not everything):
        return
    cut = node.value.rstrip() if everything else re.sub(r"[ \t]+\Z", "", node.value)
    node.cut_left = cut != node.value
    node.value = cut
