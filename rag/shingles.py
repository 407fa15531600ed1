"""Texts compared by their word triples (Broder 1997, "On the resemblance and containment of documents")."""

from __future__ import annotations

from dataclasses import dataclass

from rag.words import folded

NEAR_DUPLICATE = 0.9
"""A text stands in another when the other holds this share of its word triples."""


@dataclass(frozen=True, slots=True)
class Shingles:
    """A text as its word triples and its numbers, without case, accents and punctuation."""

    triples: frozenset[tuple[str, ...]]
    numbers: frozenset[str]

    @staticmethod
    def of(text: str) -> Shingles:
        """Those of a text. One of one or two words is a single shingle."""
        words = folded(text)
        triples = zip(words, words[1:], words[2:], strict=False) if len(words) > 2 else [tuple(words)]
        return Shingles(frozenset(triples), frozenset(word for word in words if word[0].isdigit()))

    def stand_in(self, other: Shingles) -> bool:
        """Whether ``other`` says all of this. Two texts that differ in a figure say different things.

        >>> short, long = Shingles.of("Boil the water."), Shingles.of("First boil the water, then wait.")
        >>> short.stand_in(long), long.stand_in(short)
        (True, False)
        """
        shared = len(self.triples & other.triples)
        return shared >= NEAR_DUPLICATE * len(self.triples) and self.numbers <= other.numbers

    def resemblance(self, other: Shingles) -> float:
        """The share of all their triples that both hold (Jaccard), 0 to 1.

        >>> Shingles.of("one two three four").resemblance(Shingles.of("One, two, three!"))
        0.5
        """
        either = len(self.triples | other.triples)
        return len(self.triples & other.triples) / either if either else 1.0
