"""Cutting documents into chunks that the embedder reads whole.

Laws: ``document.text[chunk.start:chunk.end] == chunk.text``; the chunks stand in the order of the
text; together they hold every character that is not white space; none of them, its breadcrumb
included, is longer than ``max_tokens``; the same document is always cut the same way.

Blocks (:mod:`ingest.blocks`) are gathered, section by section, up to the target. Code and tables
stay whole where they fit and are cut at lines where not; prose too long is cut after sentences,
then at lines, between words, and, where a "word" fills a chunk, between characters. A document is
tokenised once, so cutting costs what its tokens cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from operator import attrgetter
from typing import TypeAlias

from ingest.blocks import Block, blocks
from ingest.sentences import line_starts, sentence_starts, word_starts
from ingest.tokens import TokenMap, breadcrumb
from rag.errors import InvalidSetting
from rag.protocols import Tokenizer
from rag.types import Chunk, Document

__all__ = ["Chunker"]

_VERSION = 1
_DEFAULT_TARGET = 160
_SPECIAL = 2  # tokens that the model puts around a text
_NEAR = 8  # tokens below the limit: so near to it, a text is counted again as it will be embedded

_Cuts: TypeAlias = Callable[[str, int, int], Iterator[int]]
_PROSE: tuple[_Cuts, ...] = (sentence_starts, line_starts, word_starts)
_ROWS: tuple[_Cuts, ...] = (line_starts, word_starts)


@dataclass(frozen=True, slots=True)
class _Limits:
    """Tokens: the most of an embedded text, the usual size of a chunk, what the next one repeats."""

    most: int
    target: int
    overlap: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A span that is not cut further. ``size`` in tokens; ``torn``: it ends or starts inside a word."""

    start: int
    end: int
    size: int
    block: Block
    torn: bool = False


class Chunker:
    """Markdown blocks to chunks of about ``target_tokens``, none over ``max_tokens``.

    ``max_tokens`` is what the embedder reads of one text, special tokens included. ``target_tokens``
    (of text, without the breadcrumb) is by default 160 or what fits. ``overlap_tokens`` is how much of
    the end of a chunk, in whole sentences, the next one of the same section repeats.
    Raises InvalidSetting.

    >>> from rag.testing import WordTokenizer
    >>> document = Document("tea.md", "# Tea\\n\\nBoil water.\\n\\n## Green\\n\\nWait first.", title="Drinks")
    >>> for c in Chunker(WordTokenizer(), max_tokens=24, target_tokens=8).cut(document):
    ...     print(repr(c.breadcrumb), repr(c.text))
    'Drinks > Tea' '# Tea\\n\\nBoil water.'
    'Drinks > Tea > Green' '## Green\\n\\nWait first.'
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        target_tokens: int | None = None,
        overlap_tokens: int = 0,
        tokenizer_name: str = "",
    ) -> None:
        if max_tokens < 16:
            raise InvalidSetting(f"max_tokens is {max_tokens}; a chunk needs room for at least 16 tokens.")
        target = _DEFAULT_TARGET if target_tokens is None else target_tokens
        if target < 1:
            raise InvalidSetting(f"target_tokens is {target}; it must be 1 or more.")
        if not 0 <= overlap_tokens < target:
            raise InvalidSetting(
                f"overlap_tokens is {overlap_tokens}; it must be from 0 to less than the target, {target}."
            )
        self._tokenizer = tokenizer
        self._limits = _Limits(max_tokens, target, overlap_tokens)
        about = f"{_VERSION}|{tokenizer_name}|{max_tokens}|{target}|{overlap_tokens}"
        self._fingerprint = f"blocks-{_VERSION}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"

    @property
    def fingerprint(self) -> str:
        """Changes whenever a cut could: the rules' version, the settings, the tokenizer's name."""
        return self._fingerprint

    def cut(self, document: Document) -> list[Chunk]:
        """The chunks of a document, in order; none for a text of white space only."""
        return list(_Cut(self._tokenizer, self._limits, document).chunks())


class _Cut:
    """The cutting of one document."""

    def __init__(self, tokenizer: Tokenizer, limits: _Limits, document: Document) -> None:
        self._limits = limits
        self._document = document
        self._text = document.text
        self._tokens = TokenMap(tokenizer, document.text)
        self._breadcrumbs: dict[tuple[str, ...], tuple[str, int]] = {}

    def chunks(self) -> Iterator[Chunk]:
        before, above = 0, None
        for group in self._groups():
            for start, end, path in self._fit(group):
                again = self._overlap(before, start, end, path) if path == above else start
                before, above = start, path
                yield self._chunk(again, end, path)

    def _chunk(self, start: int, end: int, path: tuple[str, ...]) -> Chunk:
        document = self._document
        return Chunk(
            document.id,
            self._text[start:end],
            start,
            end,
            heading=path,
            page=document.page_at(start),
            breadcrumb=self._breadcrumb(path)[0],
            title=document.title,
            uri=document.uri,
            metadata=document.metadata,
        )

    # --- from blocks to pieces ------------------------------------------------------------------

    def _sections(self) -> Iterator[list[_Piece]]:
        """The pieces of each section: of a heading and what follows until the next."""
        for path, group in groupby(blocks(self._text), key=attrgetter("path")):
            room = self._room(path)
            pieces: list[_Piece] = []
            for block in group:
                # Rows stay whole as long as they fit at all; prose is cut to the target.
                rows = block.kind == "rows"
                limit = room if rows else min(self._limits.target, room)
                pieces += self._pieces(block, block.start, block.end, limit, _ROWS if rows else _PROSE)
            yield pieces

    def _pieces(
        self, block: Block, start: int, end: int, limit: int, levels: Sequence[_Cuts]
    ) -> Iterator[_Piece]:
        """``text[start:end]`` in spans of at most ``limit`` tokens, cut at the first level that can."""
        end = self._without_space(start, end)
        size = self._tokens.size(start, end)
        if start == end:
            return
        if size <= limit:
            yield _Piece(start, end, size, block)
        elif not levels:
            yield from self._torn(block, start, end, limit)
        else:
            cuts = levels[0](self._text, start, end)
            for a, b in pairwise(chain([start], self._joined(start, end, cuts, limit, levels), [end])):
                yield from self._pieces(block, a, b, limit, levels[1:])

    def _joined(
        self, start: int, end: int, cuts: Iterator[int], limit: int, levels: Sequence[_Cuts]
    ) -> Iterator[int]:
        """All cuts, but of those between words only the ones that are needed."""
        if len(levels) > 1:
            yield from cuts
            return
        begun = last = start
        for cut in chain(cuts, [end]):
            if last > begun and self._tokens.size(begun, self._without_space(begun, cut)) > limit:
                yield last
                begun = last
            last = cut

    def _torn(self, block: Block, start: int, end: int, limit: int) -> Iterator[_Piece]:
        """A word longer than a chunk, cut between characters. Half a word has other tokens than the
        word had, so each part is counted by itself."""
        while start < end:
            stop = min(end, self._tokens.reach(start, limit))
            while (size := self._tokens.count(self._text[start:stop])) > limit and stop - start > 1:
                stop = start + (stop - start) // 2
            size = max(size, self._tokens.size(start, stop))
            yield _Piece(start, stop, size, block, torn=True)
            start = stop

    # --- from pieces to chunks ------------------------------------------------------------------

    def _groups(self) -> Iterator[list[_Piece]]:
        """Pieces, in groups of about the target; sections apart, unless they are very small."""
        group: list[_Piece] = []
        for section in self._sections():
            left = _total(section)
            if group and not self._joins(group, section, left):
                yield group
                group = []
            size = _total(group)
            for piece in section:
                if group and not self._takes(group, size, piece, left):
                    keep = _openers(group)  # what opens something goes with it
                    yield group[: len(group) - keep]
                    group = group[len(group) - keep :]
                    size = _total(group)
                group.append(piece)
                size += piece.size
                left -= piece.size
        if group:
            yield group

    def _takes(self, group: list[_Piece], size: int, piece: _Piece, left: int) -> bool:
        """Whether a group takes the next piece. It grows past the target for the end of an admonition,
        for what it opens, and for a last quarter that would be left alone."""
        room = self._room(_common_path([*group[:1], piece]))
        if piece.block.closes or all(one.block.opens for one in group):
            return size + piece.size <= room
        target = self._limits.target
        return size + piece.size <= min(target, room) or size + left <= min(target + target // 4, room)

    def _joins(self, group: list[_Piece], section: list[_Piece], size: int) -> bool:
        """Whether a section begins in the chunk before it: under a mere heading, or where both are a
        line or two."""
        path, other = group[-1].block.path, section[0].block.path
        if other[: len(path)] == path and all(piece.block.opens for piece in group):
            return _total(group) + section[0].size <= min(self._limits.target, self._room(path))
        small = self._limits.target // 4
        return other[:-1] == path[:-1] and size <= small and _total(group) <= small

    def _fit(self, group: list[_Piece]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """Spans of whole pieces that, as they will be embedded, are within the limit."""
        start, end, path = group[0].start, group[-1].end, _common_path(group)
        size = max(_total(group), self._tokens.size(start, end))
        near = size > self._room(path) - _NEAR or any(piece.torn for piece in group)
        if not near or self._fits(start, end, path):
            yield start, end, path
            return
        if len(group) == 1:
            [piece] = group
            levels = _ROWS if piece.block.kind == "rows" else _PROSE
            group = list(self._pieces(piece.block, start, end, max(1, piece.size // 2), levels))
            if len(group) == 1:
                group = list(self._torn(piece.block, start, end, max(1, piece.size // 2)))
            if len(group) == 1:  # one character: no smaller text holds it
                yield start, end, path
                return
        middle = len(group) // 2
        yield from self._fit(group[:middle])
        yield from self._fit(group[middle:])

    def _overlap(self, before: int, start: int, end: int, path: tuple[str, ...]) -> int:
        """Where a chunk starts when it repeats whole sentences of the one that started at ``before``."""
        if not self._limits.overlap:
            return start
        most = min(self._limits.overlap, self._room(path) - _NEAR - self._tokens.size(start, end))
        for at in sentence_starts(self._text, before, start):
            if 0 < self._tokens.size(at, start) <= most and self._fits(at, end, path):
                return at
        return start

    # --- measuring ------------------------------------------------------------------------------

    def _room(self, path: tuple[str, ...]) -> int:
        """Tokens left for the text of a chunk under these headings."""
        return self._limits.most - _SPECIAL - self._breadcrumb(path)[1]

    def _fits(self, start: int, end: int, path: tuple[str, ...]) -> bool:
        embedded = self._chunk(start, end, path).embedded_text
        return self._tokens.count(embedded) <= self._limits.most - _SPECIAL

    def _breadcrumb(self, path: tuple[str, ...]) -> tuple[str, int]:
        """The line put in front of a chunk under these headings, and its tokens: at most a quarter of all."""
        if path not in self._breadcrumbs:
            title = self._document.title
            self._breadcrumbs[path] = breadcrumb(title, path, self._limits.most // 4, self._tokens.count)
        return self._breadcrumbs[path]

    def _without_space(self, start: int, end: int) -> int:
        """The end of a span without the white space at its end."""
        while end > start and self._text[end - 1].isspace():
            end -= 1
        return end


def _total(pieces: Sequence[_Piece]) -> int:
    return sum(piece.size for piece in pieces)


def _openers(group: list[_Piece]) -> int:
    """How many pieces at the end of a group only open what follows; 0 where all of them do."""
    count = 0
    while count < len(group) and group[-1 - count].block.opens:
        count += 1
    return count if count < len(group) else 0


def _common_path(group: Sequence[_Piece]) -> tuple[str, ...]:
    """The headings that all pieces stand under."""
    path = group[0].block.path
    for piece in group:
        other = piece.block.path
        while other[: len(path)] != path:
            path = path[:-1]
    return path
