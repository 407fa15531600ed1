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
from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from ingest.blocks import Block, blocks
from ingest.cut import Cut, Limits, Piece, common_path, total
from rag.errors import InvalidSetting
from rag.protocols import Tokenizer
from rag.types import Chunk, Document

__all__ = ["Chunker", "SplitterChunker", "TextSplitter"]

_VERSION = 1
# Share of the judged evidence in the best 1,000 tokens of passages by BM25, at 96, 128, 160, 200 and 254
# tokens: long English documents .846 .864 .865 .872 .881, contracts .532 .516 .504 .504 .487, Spanish
# articles .884 .902 .899 .897 .905. An overlap of 20 to 40 % changed none of them by more than .01.
# With all-MiniLM-L6-v2 on the first, at 96, 128, 160 and 254: dense .817 .803 .790 .721, and half dense,
# half BM25 .872 .888 .897 .865.
# With hybrid search, in a context of 500, 1,000 and 2,000 estimated tokens, at 96, 128 and 160: English .750
# .740 .731, .840 .845 .846, .902 .917 .918; contracts (a sixth of the questions) .373 .381 .395, .562 .599
# .638, .704 .757 .778. Spanish (a half) at 128, 160 and 224: .831 .781 .784, .861 .859 .873, .915 .889 .925.
# No size is best on all.
_DEFAULT_TARGET = 160
_GAP = 100  # characters of white space looked at between two parts


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
        target = _DEFAULT_TARGET if target_tokens is None else target_tokens
        self._tokenizer = tokenizer
        self._name = tokenizer_name
        self._limits = _limits(max_tokens, target, overlap_tokens)

    @property
    def fingerprint(self) -> str:
        """Changes whenever a cut could: the rules' version, the settings, the tokenizer's name."""
        return _fingerprint("blocks", self._name, self._limits)

    def cut(self, document: Document) -> list[Chunk]:
        """The chunks of a document, in order; none for a text of white space only."""
        cut = Cut(self._tokenizer, self._limits, document)
        return list(cut.chunks(_groups(cut, document.text, self._limits.target)))


class TextSplitter(Protocol):
    """What LangChain calls a TextSplitter, as far as it is needed here."""

    def split_text(self, text: str) -> list[str]: ...


class SplitterChunker:
    """Cuts where another splitter does: exact spans are recovered, and nothing is lost or too long.

    A part that the splitter left out becomes a chunk of its own, one over ``max_tokens`` is cut again,
    one that lies wholly inside another is dropped. ``name`` (with the splitter's settings) goes into
    the fingerprint. :meth:`cut` raises InvalidSetting for a splitter that alters the text.

    >>> from rag.testing import WordTokenizer
    >>> class Lines:
    ...     def split_text(self, text): return text.split("\\n")
    >>> chunker = SplitterChunker(Lines(), WordTokenizer(), max_tokens=16, name="lines")
    >>> [(c.start, c.text) for c in chunker.cut(Document("d", "One.\\n\\nTwo."))]
    [(0, 'One.'), (6, 'Two.')]
    """

    def __init__(self, splitter: TextSplitter, tokenizer: Tokenizer, *, max_tokens: int, name: str) -> None:
        self._splitter = splitter
        self._tokenizer = tokenizer
        self._name = name
        self._limits = _limits(max_tokens, max_tokens, 0)

    @property
    def fingerprint(self) -> str:
        """Changes with the name, the limit and the rules' version."""
        return _fingerprint("splitter", self._name, self._limits)

    def cut(self, document: Document) -> list[Chunk]:
        """The chunks of a document, in order. Raises InvalidSetting."""
        cut = Cut(self._tokenizer, self._limits, document)
        chunks = cut.chunks([piece] for piece in self._pieces(cut, document.text))
        apart = {
            (chunk.start, chunk.end): chunk for chunk in chunks
        }  # parts that overlap, cut again, may meet
        return [apart[span] for span in sorted(apart)]

    def _pieces(self, cut: Cut, text: str) -> Iterator[Piece]:
        headings = [block for block in blocks(text) if block.kind == "heading"]
        starts = [heading.start for heading in headings]
        for start, end in self._spans(text):
            above = bisect_right(starts, start)
            yield from cut.pieces(Block(start, end, "prose", headings[above - 1].path if above else ()))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        last = reached = 0
        for part in map(str.strip, self._splitter.split_text(text)):
            near = text[reached : reached + _GAP]
            start = reached + len(near) - len(near.lstrip())
            if not text.startswith(part, start):  # it overlaps the part before, or leaves something out
                start = text.find(part, max(last, reached - len(part) + 1))
            if start < 0 and part not in text:
                raise InvalidSetting(
                    f"The splitter {self._name!r} alters the text: {part[:60]!r} is not in the document. "
                    "Use one that only cuts."
                )
            if part and start >= 0:
                yield from _stripped(text, reached, start)
                yield start, start + len(part)
                last, reached = start, start + len(part)
        yield from _stripped(text, reached, len(text))


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A span without the white space around it, if anything is left."""
    part = text[start:end] if start < end else ""
    if inner := part.strip():
        start += part.index(inner)
        yield start, start + len(inner)


def _limits(max_tokens: int, target: int, overlap: int) -> Limits:
    if max_tokens < 16:
        raise InvalidSetting(f"max_tokens is {max_tokens}; a chunk needs room for at least 16 tokens.")
    if target < 1:
        raise InvalidSetting(f"target_tokens is {target}; it must be 1 or more.")
    if not 0 <= overlap < target:
        raise InvalidSetting(
            f"overlap_tokens is {overlap}; it must be from 0 to less than the target, {target}."
        )
    return Limits(max_tokens, target, overlap)


def _fingerprint(kind: str, name: str, limits: Limits) -> str:
    about = f"{name}|{limits.most}|{limits.target}|{limits.overlap}"
    return f"{kind}-{_VERSION}-{hashlib.sha256(about.encode()).hexdigest()[:16]}"


def _groups(cut: Cut, text: str, target: int) -> Iterator[list[Piece]]:
    """Pieces, in groups of about the target; sections apart, unless they are very small."""
    group: list[Piece] = []
    for _, section in groupby(blocks(text), key=attrgetter("path")):
        pieces = [piece for block in section for piece in cut.pieces(block)]
        left = total(pieces)
        if group and not _joins(cut, group, pieces, target):
            yield group
            group = []
        size = total(group)
        for piece in pieces:
            if group and not _takes(cut, group, size, piece, left, target):
                keep = _openers(group)  # what opens something goes with it
                yield group[: len(group) - keep]
                group = group[len(group) - keep :]
                size = total(group)
            group.append(piece)
            size += piece.size
            left -= piece.size
    if group:
        yield group


def _takes(cut: Cut, group: list[Piece], size: int, piece: Piece, left: int, target: int) -> bool:
    """Whether a group takes the next piece of its section, of which ``left`` tokens are to come. It grows
    past the target for the end of an admonition, for what it opens, and for a last quarter alone."""
    room = cut.room(common_path([group[0], piece]))
    if piece.block.closes or all(one.block.opens for one in group):
        return size + piece.size <= room
    return size + piece.size <= min(target, room) or size + left <= min(target + target // 4, room)


def _joins(cut: Cut, group: list[Piece], section: list[Piece], target: int) -> bool:
    """Whether a section begins in the chunk before it: under a mere heading, or where both are a line
    or two."""
    path, other = group[-1].block.path, section[0].block.path
    if other[: len(path)] == path and all(piece.block.opens for piece in group):
        return total(group) + section[0].size <= min(target, cut.room(path))
    return other[:-1] == path[:-1] and max(total(group), total(section)) <= target // 4


def _openers(group: list[Piece]) -> int:
    """How many pieces at the end of a group only open what follows; 0 where all of them do."""
    count = 0
    while count < len(group) and group[-1 - count].block.opens:
        count += 1
    return count if count < len(group) else 0
