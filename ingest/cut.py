"""Cutting a text to a token limit, exactly: blocks to pieces, pieces to chunks.

The mechanics under :mod:`ingest.chunk`, which decides what goes together. The laws of a cut hold here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TypeAlias

from ingest.blocks import Block
from ingest.sentences import line_starts, sentence_starts, word_starts
from ingest.tokens import TokenMap, breadcrumb
from rag.protocols import Tokenizer
from rag.types import Chunk, Document

__all__ = ["Cut", "Limits", "Piece", "common_path", "total"]

_SPECIAL = 2  # tokens that the model puts around a text
_NEAR = 8  # tokens below the limit: so near to it, a text is counted again as it will be embedded

_Starts: TypeAlias = Callable[[str, int, int], Iterator[int]]
_PROSE: tuple[_Starts, ...] = (sentence_starts, line_starts, word_starts)
_ROWS: tuple[_Starts, ...] = (line_starts, word_starts)


@dataclass(frozen=True, slots=True)
class Limits:
    """Tokens: the most of an embedded text, the usual size of a chunk, what the next one repeats."""

    most: int
    target: int
    overlap: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A span that is not cut further. ``size`` in tokens; ``torn``: it may begin or end inside a word."""

    start: int
    end: int
    size: int
    block: Block
    torn: bool


class Cut:
    """The cutting of one document: its text, tokenised once, and the limits."""

    def __init__(self, tokenizer: Tokenizer, limits: Limits, document: Document) -> None:
        self._limits = limits
        self._document = document
        self._text = document.text
        self._tokens = TokenMap(tokenizer, document.text)
        self._breadcrumbs: dict[tuple[str, ...], tuple[str, int]] = {}

    def room(self, path: tuple[str, ...]) -> int:
        """Tokens left for the text of a chunk under these headings."""
        return self._limits.most - _SPECIAL - self._breadcrumb(path)[1]

    def pieces(self, block: Block) -> Iterator[Piece]:
        """A block in pieces. Rows stay whole where they fit at all; else, as prose, cut to the target."""
        room = self.room(block.path)
        target = min(self._limits.target, room)
        rows = block.kind == "rows"
        whole = self._tokens.size(block.start, block.end) <= room
        limit = room if rows and whole else target
        yield from self._pieces(block, block.start, block.end, limit, _ROWS if rows else _PROSE)

    def chunks(self, groups: Iterable[list[Piece]]) -> Iterator[Chunk]:
        """A chunk of each group of pieces, or several where the limit asks for it."""
        before = 0
        above: tuple[str, ...] | None = None
        for group in groups:
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

    def _pieces(
        self, block: Block, start: int, end: int, limit: int, levels: Sequence[_Starts]
    ) -> Iterator[Piece]:
        """``text[start:end]`` in spans of at most ``limit`` tokens, cut at the first level that can."""
        end = self._without_space(start, end)
        size = self._tokens.size(start, end)
        if start == end:
            return
        if size <= limit:
            yield Piece(start, end, size, block, not self._between_words(start, end))
        elif not levels:
            yield from self._torn(block, start, end, limit)
        else:
            cuts = levels[0](self._text, start, end)
            if levels[0] is not sentence_starts:  # sentences are worth keeping apart, lines and words not
                cuts = self._needed(start, end, cuts, limit)
            for a, b in pairwise(chain([start], cuts, [end])):
                yield from self._pieces(block, a, b, limit, levels[1:])

    def _needed(self, start: int, end: int, cuts: Iterator[int], limit: int) -> Iterator[int]:
        """Of the places to cut at, those that spans of at most ``limit`` tokens need."""
        begun = last = start
        for cut in chain(cuts, [end]):
            if last > begun and self._tokens.size(begun, self._without_space(begun, cut)) > limit:
                yield last
                begun = last
            last = cut

    def _torn(self, block: Block, start: int, end: int, limit: int) -> Iterator[Piece]:
        """A word longer than a chunk, cut between characters. Half a word has other tokens than the
        word had, so each part is counted by itself."""
        while start < end:
            stop = min(end, self._tokens.reach(start, limit))
            while (size := self._tokens.count(self._text[start:stop])) > limit and stop - start > 1:
                stop = start + (stop - start) // 2
            yield Piece(start, stop, max(size, self._tokens.size(start, stop)), block, True)
            start = stop

    def _fit(self, group: list[Piece]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
        """Spans of whole pieces that, as they will be embedded, are within the limit."""
        start, end, path = group[0].start, group[-1].end, common_path(group)
        room = self.room(path)
        span = self._tokens.size(start, end)
        near = max(span, total(group)) > room - _NEAR or any(piece.torn for piece in group)
        if not near or (span <= room and self._fits(start, end, path)):
            yield start, end, path
            return
        if len(group) == 1:
            group = self._smaller(group[0])
        if len(group) == 1:  # one character: no smaller text holds it
            yield start, end, path
            return
        middle = len(group) // 2
        yield from self._fit(group[:middle])
        yield from self._fit(group[middle:])

    def _smaller(self, piece: Piece) -> list[Piece]:
        levels = _ROWS if piece.block.kind == "rows" else _PROSE
        size = self._tokens.count(self._text[piece.start : piece.end])
        limit = max(1, min(size, self._limits.most) // 2)
        pieces = list(self._pieces(piece.block, piece.start, piece.end, limit, levels))
        if len(pieces) == 1:
            pieces = list(self._torn(piece.block, piece.start, piece.end, limit))
        return pieces

    def _overlap(self, before: int, start: int, end: int, path: tuple[str, ...]) -> int:
        """Where a chunk starts when it repeats whole sentences of the one that started at ``before``."""
        if not self._limits.overlap:
            return start
        most = min(self._limits.overlap, self.room(path) - _NEAR - self._tokens.size(start, end))
        for at in sentence_starts(self._text, before, start):
            if 0 < self._tokens.size(at, start) <= most and self._fits(at, end, path):
                return at
        return start

    def _fits(self, start: int, end: int, path: tuple[str, ...]) -> bool:
        embedded = self._chunk(start, end, path).embedded_text
        return self._tokens.count(embedded) <= self._limits.most - _SPECIAL

    def _breadcrumb(self, path: tuple[str, ...]) -> tuple[str, int]:
        """The line put in front of a chunk under these headings, and its tokens: at most a quarter of all."""
        if path not in self._breadcrumbs:
            title = self._document.title
            self._breadcrumbs[path] = breadcrumb(title, path, self._limits.most // 4, self._tokens.count)
        return self._breadcrumbs[path]

    def _between_words(self, start: int, end: int) -> bool:
        text = self._text
        begins = start == 0 or text[start - 1].isspace() or text[start].isspace()
        return begins and (end == len(text) or text[end].isspace())

    def _without_space(self, start: int, end: int) -> int:
        """The end of a span without the white space at its end."""
        while end > start and self._text[end - 1].isspace():
            end -= 1
        return end


def total(pieces: Sequence[Piece]) -> int:
    """Tokens of all pieces."""
    return sum(piece.size for piece in pieces)


def common_path(group: Sequence[Piece]) -> tuple[str, ...]:
    """The headings that all pieces stand under."""
    path = group[0].block.path
    for piece in group:
        other = piece.block.path
        while other[: len(path)] != path:
            path = path[:-1]
    return path
