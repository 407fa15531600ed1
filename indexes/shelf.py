"""BM25 over a few thousand texts whose terms are at hand: no index is built, kept or brought up to date.

What :class:`indexes.lexical.LexicalIndex` computes, for texts whose terms somebody remembers. Making an index
of 5,000 prompts takes seconds; looking through their terms for a question's takes hundredths of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from indexes.question import Question

_K1, _B = 1.2, 0.75  # tantivy's


class TermShelf:
    """Texts as :func:`indexes.terms.text_terms` writes them, in these ``languages`` ("": unknown).

    >>> from indexes.question import ask
    >>> shelf = TermShelf(["en:boil en:the en:water", "en:the en:train en:leav"], languages=["en"])
    >>> (shelf.scores(ask("boiling water", [shelf])) > 0).tolist()
    [True, False]
    """

    def __init__(self, texts: Sequence[str], *, languages: Iterable[str]) -> None:
        self.languages = tuple(sorted(set(languages)))
        self._texts = tuple(texts)
        self._sets = [frozenset(text.split(" ")) for text in texts]
        self._lengths = np.array([text.count(" ") + 1 for text in texts], dtype=np.float64)

    @property
    def count(self) -> int:
        """How many texts there are."""
        return len(self._texts)

    def texts_with(self, terms: Sequence[str]) -> list[int]:
        """How many texts hold each of the terms."""
        counts = dict.fromkeys(terms, 0)
        asked = counts.keys()
        for held in self._sets:
            for term in asked & held:
                counts[term] += 1
        return [counts[term] for term in terms]

    def scores(self, question: Question) -> npt.NDArray[np.float32]:
        """Shape (count,): each text's score, 0 for one that holds no word of the question."""
        found = np.zeros(self.count)
        mean = max(float(self._lengths.mean()), 1.0) if self.count else 1.0
        norm = _K1 * (1 - _B + _B * self._lengths / mean)
        asked = question.rarity.keys()
        for place, held in enumerate(self._sets):
            for term in asked & held:
                times = self._texts[place].split(" ").count(term)
                found[place] += question.rarity[term] * times * (_K1 + 1) / (times + norm[place])
        return found.astype(np.float32)
