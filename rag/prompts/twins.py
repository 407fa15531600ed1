"""Near-duplicates among thousands of texts, found without comparing each with each.

Two sets that share most of their elements share one of their rarest: of a set of n word triples, looked
through from the rarest on, the first n - at * n + 1 are enough to meet every other set of that likeness
(prefix filtering: Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007). Only the sets that
meet so are compared, and exactly.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import ceil

from rag.words import fold

SAME = 0.8
"""Share of the word triples of two texts, all together, that both have: from here on, near-duplicates."""
FEWEST = 5
"""Word triples of a text that is compared at all: two greetings are alike, and no duplicates."""
ENOUGH = 10
"""Near-duplicates of one text, after which no more are looked for."""
SCANS = 30
"""Questions that are answered by comparing with every text; for more than these, an index pays."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Twin:
    """A text that is nearly another. ``likeness`` is their Jaccard similarity, 0 to 1."""

    name: str
    likeness: float


class Twins:
    """Texts by name, ready to be asked which of them are nearly a given one.

    >>> texts = {"a": "one two three four five six seven eight", "b": "something else altogether"}
    >>> Twins(texts).of("One, two, three, four, five, six, seven, eight!")
    (Twin(name='a', likeness=1.0),)
    """

    def __init__(self, texts: Mapping[str, str], *, at: float = SAME) -> None:
        self._at = at
        self._names = tuple(texts)
        self._known = {text: _triples(text) for text in texts.values()}
        self._sets = [self._known[text] for text in texts.values()]
        self._questions = 0

    def of(self, text: str, *, but: str = "") -> tuple[Twin, ...]:
        """The near-duplicates of a text, the nearest first, at most :data:`ENOUGH`; ``but`` is not asked."""
        asked = self._known.get(text) or _triples(text)
        self._questions += 1
        found: list[Twin] = []
        for number in self._met(asked):
            if self._names[number] == but:
                continue
            other = self._sets[number]
            shared = len(asked & other)
            likeness = shared / (len(asked) + len(other) - shared)
            if likeness >= self._at:
                found.append(Twin(self._names[number], likeness))
                if len(found) == ENOUGH:
                    break
        return tuple(sorted(found, key=lambda twin: (-twin.likeness, twin.name)))

    def _met(self, asked: frozenset[int]) -> Iterator[int]:
        """The texts that may be near-duplicates by their size; if the index is made, those that it meets."""
        if len(asked) < FEWEST:
            return
        fewest, most = self._at * len(asked), len(asked) / self._at
        met: Iterable[int] = range(len(self._sets))
        if self._questions > SCANS:
            counts, by_triple = self._index
            found = (by_triple.get(triple, ()) for triple in _rarest(asked, counts, self._at))
            met = _once(found)
        yield from (number for number in met if fewest <= len(self._sets[number]) <= most)

    @cached_property
    def _index(self) -> tuple[Counter[int], dict[int, list[int]]]:
        """How often each triple occurs, and the texts by their rarest ones."""
        counts = Counter(chain.from_iterable(self._sets))
        by_triple: dict[int, list[int]] = defaultdict(list)
        for number, some in enumerate(self._sets):
            if len(some) >= FEWEST:
                for triple in _rarest(some, counts, self._at):
                    by_triple[triple].append(number)
        return counts, by_triple


def _rarest(some: frozenset[int], counts: Mapping[int, int], at: float) -> list[int]:
    """As many as every near-duplicate shares one of, in the one order for all sets."""
    ordered = sorted(some, key=lambda triple: (counts.get(triple, 0), triple))
    return ordered[: len(some) - ceil(at * len(some) - 1e-9) + 1]


def _once(lists: Iterable[Iterable[int]]) -> Iterator[int]:
    """Every number once, as they come: nobody may want the last."""
    seen: set[int] = set()
    for number in chain.from_iterable(lists):
        if number not in seen:
            seen.add(number)
            yield number


def _triples(text: str) -> frozenset[int]:
    """Of the folded words, as :class:`rag.shingles.Shingles` has them, and hashed: 64 bits are enough to tell
    them apart, take a fifth of the memory, and are kept for this process alone."""
    words = _WORD.findall(fold(text))
    return frozenset(map(hash, zip(words, words[1:], words[2:], strict=False)))
