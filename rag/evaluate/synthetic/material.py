"""What a set is made of: the documents as they are read, the words of all, and the drafts that each gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rag.evaluate.synthetic.facts import from_facts
from rag.evaluate.synthetic.headings import from_headings
from rag.evaluate.synthetic.reading import Reading, Vocabulary
from rag.evaluate.synthetic.terms import from_terms
from rag.evaluate.synthetic.values import Draft
from rag.types import Document, text_digest


@dataclass(frozen=True, slots=True)
class Material:
    """Documents, read once for however many sets: ``readings`` in an order drawn by ``seed``."""

    readings: tuple[Reading, ...]
    vocabulary: Vocabulary
    seed: int
    _drafts: dict[tuple[str, str], list[Draft]] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(documents: Iterable[Document], *, seed: int = 0) -> Material:
        """That of these documents."""
        readings = sorted(map(Reading.of, documents), key=lambda each: place(seed, each.document.id))
        return Material(tuple(readings), Vocabulary.of(readings), seed)

    def drafts(self, reading: Reading, kinds: Sequence[str]) -> Iterator[Draft]:
        """The questions of these of the BASES that a document gives."""
        for kind in kinds:
            known = (reading.document.id, kind)
            if known not in self._drafts:
                self._drafts[known] = list(self._made(reading, kind))
            yield from self._drafts[known]

    def _made(self, reading: Reading, kind: str) -> Iterator[Draft]:
        if kind == "heading":
            return from_headings(reading)
        if kind == "fact":
            return from_facts(reading, seed=self.seed)
        return from_terms(reading, self.vocabulary, seed=self.seed)


def spread(drafts: Iterable[Draft], seed: int, *names: str) -> list[Draft]:
    """One of every document, then a second of every document, and so on; which come first is drawn."""
    drawn = sorted(drafts, key=lambda each: place(seed, *names, each.document_id, each.start, each.kind))
    nth: Counter[str] = Counter()
    rounds = []
    for draft in drawn:
        rounds.append((nth[draft.document_id], draft))
        nth[draft.document_id] += 1
    return [draft for _, draft in sorted(rounds, key=lambda pair: pair[0])]


def place(seed: int, *names: object) -> str:
    """Where something stands in an order that the seed draws, whatever else there is."""
    return text_digest(repr((seed, *names)))
