"""From ranked hits to the context block: merged, deduplicated, ordered, numbered, inside a budget."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

from rag.neutral import neutral
from rag.sentences import split_sentences
from rag.shingles import Shingles
from rag.tokens import TokenCounter, estimate_tokens
from rag.types import Chunk, Hit
from rag.words import spans

Between: TypeAlias = Callable[[Chunk, int, int], str]
"""A chunk, start, end -> that part of its document's text."""

Reason: TypeAlias = Literal["near-duplicate", "budget", "cut"]

MAX_SKIPPED = 3
"""Hits that did not fit, after which no more are tried: the room that is left holds next to nothing."""
DRAWS = 20
"""Tries to find digits that no passage holds, before one more digit is taken."""
MAX_GAP = 8
"""Characters between two chunks that may be white space only; more is never a paragraph break."""
BETWEEN_BLOCKS = "\n\n"
"""What parts the passages of a context."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of one document as the model reads it: ``document.text[start:end] == text``.

    ``hits`` are the retrieved chunks that it is made of, best first; ``number`` is what a citation
    names; ``tokens`` counts the whole block, source line and fence included.
    """

    number: int
    document_id: str
    start: int
    end: int
    text: str
    hits: tuple[Hit, ...]
    tokens: int = field(default=0, kw_only=True)

    @property
    def chunk(self) -> Chunk:
        """The best chunk: title, address and metadata are its document's."""
        return self.hits[0].chunk

    @property
    def heading(self) -> tuple[str, ...]:
        """The headings that stand above every chunk of the passage."""
        paths = [hit.chunk.heading for hit in self.hits]
        shared = 0
        for level in zip(*paths, strict=False):
            if len(set(level)) > 1:
                break
            shared += 1
        return paths[0][:shared]

    @property
    def pages(self) -> str:
        """The printed page or pages, "" where the format has none."""
        in_order = sorted(self.hits, key=lambda hit: hit.chunk.start)
        labels = dict.fromkeys(hit.chunk.page for hit in in_order if hit.chunk.page)
        first, last = next(iter(labels), ""), next(reversed(labels), "")
        return first if first == last else f"{first}-{last}"

    @property
    def source(self) -> str:
        """One line that says where the passage stands: title, headings, page."""
        title = self.chunk.title or self.document_id
        parts = [title, *(part for part in self.heading if part != title)]
        line = " > ".join(" ".join(part.split()) for part in parts)
        return f"{line} (p. {' '.join(self.pages.split())})" if self.pages else line

    def block(self, nonce: str) -> str:
        """The passage as it stands in the prompt, between fences that its text cannot know, and neutral (see
        :mod:`rag.neutral`).

        >>> hit = Hit(Chunk("tea.md", "Boil it.", 0, 8, title="Tea", page="3"), 1.0)
        >>> print(Passage(1, "tea.md", 0, 8, "Boil it.", (hit,)).block("2043"))
        <passage-2043 number="1">
        Tea (p. 3)
        <BLANKLINE>
        Boil it.
        </passage-2043>
        """
        return f"{self.opening(nonce)}{neutral(self.text)}{self.closing(nonce)}"

    def opening(self, nonce: str) -> str:
        """What stands before the text: a fence and the source line."""
        return f'<passage-{nonce} number="{self.number}">\n{neutral(self.source)}\n\n'

    def closing(self, nonce: str) -> str:
        """What stands behind it."""
        return f"\n</passage-{nonce}>"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A hit that did not come into the context whole, and why. ``detail`` is a sentence for people."""

    hit: Hit
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Context:
    """What the model may answer from. ``tokens`` counts ``text``, and never exceeds ``budget``."""

    passages: tuple[Passage, ...]
    left_out: tuple[LeftOut, ...]
    tokens: int
    budget: int
    nonce: str

    @property
    def text(self) -> str:
        """The passages' blocks, in order, parted by a blank line."""
        return _joined(self.passages, self.nonce)

    def passage(self, number: int) -> Passage | None:
        """The passage that a citation's number names."""
        return self.passages[number - 1] if 1 <= number <= len(self.passages) else None


def fit(
    hits: Sequence[Hit],
    *,
    budget: int,
    count_tokens: TokenCounter = estimate_tokens,
    between: Between | None = None,
    nonce: str | None = None,
) -> Context:
    """The best of ``hits`` (best first) as one context of at most ``budget`` tokens.

    Hits are taken in their order. One that overlaps or touches a passage of the same document is
    merged into it by its span, so that nothing stands twice; so is one with nothing but white space
    between, where ``between`` is given to read it. One whose words stand in a better passage already
    (:class:`rag.shingles.Shingles` says when) is dropped. The first that no longer
    fits gives as many of its first sentences as do, and the context is full; where not one of them
    fits, or they would stand before what they touch, it is skipped, and smaller ones behind it may still
    come in (:data:`MAX_SKIPPED`). Only the very first may be cut at a word's end. Then documents stand in
    the order of their best hit, and passages of a document in reading order. ``nonce`` names the fences;
    fresh when None.

    >>> chunks = [Chunk("d", "one two", 0, 7, key=1), Chunk("d", "two three", 4, 13, key=2)]
    >>> context = fit([Hit(chunks[1], 0.9), Hit(chunks[0], 0.5)], budget=100)
    >>> [(passage.start, passage.end, passage.text) for passage in context.passages]
    [(0, 13, 'one two three')]
    """
    nonce = nonce or _fresh_nonce(hits)
    left_out: list[LeftOut] = []
    passages: list[Passage] = []
    kept: dict[int, Shingles] = {}  # by id of the hit
    cost = _Cost(count_tokens, nonce)
    ranks = {id(hit): rank for rank, hit in enumerate(hits)}
    skipped = 0
    full = False

    def placed(others: Sequence[Passage], touching: Sequence[Passage], passage: Passage) -> list[Passage]:
        for other in touching:
            passage = _merged(other, passage, between, ranks)
        return _in_order([*others, passage], ranks)

    def fits(some: Sequence[Passage]) -> bool:
        return cost.of(some) <= budget

    for hit in hits:
        if full or skipped > MAX_SKIPPED:
            left_out.append(LeftOut(hit, "budget", f"better passages fill the budget of {budget} tokens"))
            continue
        passage = Passage(0, hit.chunk.document_id, hit.chunk.start, hit.chunk.end, hit.chunk.text, (hit,))
        touching = [other for other in passages if _gap(other, passage, between) is not None]
        words = Shingles.of(hit.chunk.text)
        if not touching:
            twin = next((p for p in passages if any(words.stand_in(kept[id(h)]) for h in p.hits)), None)
            if twin is not None:
                detail = f"its words already stand in a better passage, of {twin.source}"
                left_out.append(LeftOut(hit, "near-duplicate", detail))
                continue
        others = [p for p in passages if p not in touching]
        candidate = placed(others, touching, passage)
        tokens = cost.of(candidate)
        if tokens > budget:
            cut = None
            if all(other.start <= passage.start for other in touching):
                cut = _cut(passage, partial(placed, others, touching), fits, alone=not passages)
            # A beginning that stands in what it touches would close the context and add nothing.
            if cut is None or any(cut.end <= other.end for other in touching):
                detail = f"with it the context would have {tokens} tokens; the budget is {budget}"
                left_out.append(LeftOut(hit, "budget", detail))
                skipped += 1
                continue
            detail = f"shortened to its first {len(cut.text)} of {len(passage.text)} characters to fit"
            left_out.append(LeftOut(hit, "cut", detail))
            candidate, words = placed(others, touching, cut), Shingles.of(cut.text)
            full = True
        passages = candidate
        kept[id(hit)] = words
    # The blocks were counted one by one; a tokenizer may count them otherwise when they stand together.
    while (tokens := count_tokens(_joined(passages, nonce))) > budget and passages:
        last = max(passages, key=lambda p: ranks[id(p.hits[0])])
        detail = f"with it the context would have {tokens} tokens; the budget is {budget}"
        left_out = [out for out in left_out if out.reason != "cut" or out.hit not in last.hits]
        left_out.extend(LeftOut(hit, "budget", detail) for hit in last.hits)
        passages = _in_order([passage for passage in passages if passage is not last], ranks)
    counted = tuple(replace(p, tokens=count_tokens(p.block(nonce))) for p in passages)
    return Context(counted, tuple(left_out), tokens, budget, nonce)


def _joined(passages: Sequence[Passage], nonce: str) -> str:
    return BETWEEN_BLOCKS.join(passage.block(nonce) for passage in passages)


def _fresh_nonce(hits: Sequence[Hit]) -> str:
    """Digits that stand in none of the passages: four of them, which costs few tokens in every block, and
    more only where texts leave no four. Digits, so that every nonce costs the same and the same question
    has the same context again."""
    texts = ["\n".join(_parts(hit.chunk)) for hit in hits]
    draws = 0
    while True:
        width = 4 + draws // DRAWS
        nonce = f"{secrets.randbelow(10**width):0{width}d}"
        if not any(nonce in text for text in texts):
            return nonce
        draws += 1


def _parts(chunk: Chunk) -> tuple[str, ...]:
    """Everything of a chunk that a block shows."""
    return chunk.text, chunk.title, chunk.document_id, chunk.page, *chunk.heading


Ranks: TypeAlias = Mapping[int, int]
"""By the id of a hit its place among them: scores may be alike where the order is not by chance."""


def _in_order(passages: Sequence[Passage], ranks: Ranks) -> list[Passage]:
    """Numbered: documents by their best hit, passages of a document as they are read."""
    best: dict[tuple[str, str], int] = {}
    for passage in passages:
        rank = min(ranks[id(hit)] for hit in passage.hits)
        best[passage.chunk.origin] = min(rank, best.get(passage.chunk.origin, rank))
    ordered = sorted(passages, key=lambda p: (best[p.chunk.origin], p.chunk.origin, p.start))
    return [replace(passage, number=number) for number, passage in enumerate(ordered, 1)]


def _gap(a: Passage, b: Passage, between: Between | None) -> str | None:
    """What stands between two passages when they belong together: "" or white space; else None."""
    if a.chunk.origin != b.chunk.origin:
        return None
    start, end = sorted((a, b), key=lambda p: p.start)[0].end, max(a.start, b.start)
    if end <= start:
        return ""
    if between is None or end - start > MAX_GAP:
        return None
    gap = between(a.chunk, start, end)
    return gap if len(gap) == end - start and not gap.strip() else None


def _merged(a: Passage, b: Passage, between: Between | None, ranks: Ranks) -> Passage:
    first, second = sorted((a, b), key=lambda p: (p.start, -p.end))
    gap = _gap(first, second, between) or ""
    text = first.text + gap + second.text[max(0, first.end - second.start) :]
    hits = tuple(sorted(a.hits + b.hits, key=lambda hit: ranks[id(hit)]))
    return Passage(0, a.document_id, first.start, max(first.end, second.end), text, hits)


def _cut(
    passage: Passage,
    placed: Callable[[Passage], Sequence[Passage]],
    fits: Callable[[Sequence[Passage]], bool],
    *,
    alone: bool,
) -> Passage | None:
    """The longest beginning that fits where it is ``placed`` and ends with a sentence; with a word, where no
    sentence fits and it stands ``alone``. None when nothing fits, or nothing but headings of more."""
    sentences = list(split_sentences(passage.text))
    said = next((n for n, (start, _) in enumerate(sentences) if passage.text[start] != "#"), len(sentences))
    headings = sentences[said - 1][1] if 0 < said < len(sentences) else 0
    cut = _beginning(passage, [end for _, end in sentences[said:]], lambda some: fits(placed(some)))
    if cut is None and alone:
        ends = [end for _, end, _ in spans(passage.text) if end > headings]
        cut = _beginning(passage, ends, lambda some: fits(placed(some)))
    return cut


def _beginning(passage: Passage, ends: Sequence[int], fits: Callable[[Passage], bool]) -> Passage | None:
    """The longest beginning that fits, of those that stop at ``ends`` (ascending); None where none does."""

    def until(count: int) -> Passage:
        end = ends[count - 1]
        return replace(passage, text=passage.text[:end], end=passage.start + end)

    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(until(middle)) else (low, middle - 1)
    # Token counts do not quite grow with every character: what the search ends on is asked once more.
    return until(low) if low and fits(until(low)) else None


class _Cost:
    """Tokens of passages that stand together, each block counted once, whatever number it gets: every
    digit of the number counts as a token, which is the most it costs."""

    def __init__(self, count_tokens: TokenCounter, nonce: str) -> None:
        self._count_tokens = count_tokens
        self._nonce = nonce
        self._gap = count_tokens(BETWEEN_BLOCKS)
        self._counts: dict[tuple[tuple[int, ...], str], int] = {}

    def of(self, passages: Sequence[Passage]) -> int:
        total = self._gap * max(0, len(passages) - 1)
        for number, passage in enumerate(passages, 1):
            total += self._block(passage) + len(str(number)) - 1
        return total

    def _block(self, passage: Passage) -> int:
        about = tuple(map(id, passage.hits)), passage.text  # the hits tell the source line, and outlive this
        if about not in self._counts:
            self._counts[about] = self._count_tokens(replace(passage, number=1).block(self._nonce))
        return self._counts[about]
