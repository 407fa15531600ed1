"""Keyword queries: the words of one paragraph that tell it from the others, as people type them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from rag.evaluate.synthetic.reading import Reading, Vocabulary, plain
from rag.evaluate.synthetic.values import Draft, dice
from rag.words import is_stop_word, keys, spans

_FEWEST, _MOST = 3, 5
"""Words of a query: what people type into a search box (Jansen et al. 2000; three are the most usual)."""
_POOL = 9
"""The query's words are drawn from so many: the very rarest alone would ask for one word of one text."""


def from_terms(reading: Reading, vocabulary: Vocabulary, *, seed: int) -> Iterator[Draft]:
    """A query for every paragraph that has enough words of its own."""
    document, stems = reading.document, reading.stems
    for start, end in reading.paragraphs():
        counted: Counter[str] = Counter()
        first: dict[str, tuple[int, str]] = {}
        for at, _, word in spans(plain(document.text[start:end])):
            if len(word) < 3 or not word.isalpha() or is_stop_word(word, stems):
                continue
            key = keys(word, stems)[0]
            counted[key] += 1
            first.setdefault(key, (at, word.lower()))
        weights = {
            key: (1 + math.log(count)) * math.log(vocabulary.texts / held)
            for key, count in counted.items()
            if (held := vocabulary.holding.get(key, 0)) and held <= 0.1 * vocabulary.texts + 1
        }
        best = sorted(weights, key=lambda key: (-weights[key], key))[:_POOL]
        if len(best) < 2 * _FEWEST:
            continue
        random = dice(seed, "terms", document.id, start)
        chosen = random.sample(best, random.randint(_FEWEST, _MOST))
        text = " ".join(word for _, word in sorted(first[key] for key in chosen))
        yield Draft(text, "terms", reading.language, document.id, start, end)
