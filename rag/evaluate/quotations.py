"""Quotations looked for in texts: where one stands, which of several places it is, what reads like it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from functools import cached_property

from rag.evaluate.judgements import Judgement
from rag.evaluate.plainly import Plain
from rag.sentences import split_sentences
from rag.words import folded

SHORT = 24
"""Characters under which a quotation says too little by itself: a name or a figure stands in many places."""
AGREEING = 0.4
"""The share of its surroundings (of their runs of three characters) that a short one has to have kept. Of
places that have nothing to do with each other about 0.1 agree; a word put in beside it leaves over 0.6."""
MOST = 2000
"""Places of one quotation that are looked at, the nearest: of a quoted "a" a book has more."""
_UNSPACED = "\u0e00"
"""From here on scripts may write words without a space between: Thai, Chinese, Japanese."""
_WORD = re.compile(r"\w+")


class Names:
    """Documents by the end of their ids.

    >>> names = Names(["file:///docs/es/tea.md", "file:///docs/en/tea.md"])
    >>> names.of("es/tea.md"), len(names.of("tea.md")), names.of("ea.md")
    (['file:///docs/es/tea.md'], 2, [])
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._last: dict[str, list[str]] = {}
        for id in ids:
            self._last.setdefault(id.rpartition("/")[2], []).append(id)

    def of(self, name: str) -> list[str]:
        """The id itself, or all that end with it after a slash, sorted."""
        among = self._last.get(name.rpartition("/")[2], [])
        if name in among:
            return [name]
        return sorted(id for id in among if id.endswith(f"/{name.removeprefix('./')}"))


class Text:
    """One text to look in; what a search needs of it is made once, when it is first needed."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def plain(self) -> Plain:
        return Plain.of(self.text)

    def find(self, judgement: Judgement) -> tuple[int, int] | None:
        """Start and end of the words that a judgement quotes, None where they are not there."""
        words, start = judgement.quotation, judgement.start
        there = judgement.before + words + judgement.after
        if start >= 0 and self.text.startswith(there, max(0, start - len(judgement.before))):
            return start, start + len(words)
        # The same words between the same others, once: nothing has to be weighed.
        inside = judgement.before[-SHORT:] + words + judgement.after[:SHORT]
        at = self.text.find(inside) if len(inside) > len(words) else -1
        if at >= 0 and self.text.find(inside, at + 1) < 0:
            at += len(judgement.before[-SHORT:])
            return at, at + len(words)
        as_it_is = [(place, place + len(words)) for place in _places(self.text, words)]
        return self._chosen(judgement, as_it_is) or self._chosen(judgement, list(self._levelled(words)))

    def _levelled(self, words: str) -> Iterator[tuple[int, int]]:
        needle = Plain.of(words).text.strip()
        if needle:
            for place in _places(self.plain.text, needle):
                yield self.plain.span(place, place + len(needle))

    def _chosen(self, judgement: Judgement, places: list[tuple[int, int]]) -> tuple[int, int] | None:
        """The place among these that is the judgement's: by its surroundings, then the nearest."""
        known = bool(judgement.before or judgement.after)
        near = sorted(places, key=lambda place: abs(place[0] - judgement.start))[:MOST]
        near = [place for place in near if not self._inside_word(judgement, *place, known=known)]
        if not known or not near:
            return near[0] if near else None
        short = len(judgement.quotation) < SHORT
        if len(near) == 1 and not short:
            return near[0]
        around = (_triples(judgement.before), _triples(judgement.after))
        agreements = [self._agreement(around, judgement, *place) for place in near]
        best = max(range(len(near)), key=lambda n: (agreements[n], -n))
        return near[best] if agreements[best] >= AGREEING or not short else None

    def _agreement(
        self, around: tuple[frozenset[str], frozenset[str]], judgement: Judgement, start: int, end: int
    ) -> float:
        """The share of a judgement's surroundings that stands around a place."""
        before, after = around
        ahead = self.text[max(0, start - 2 * len(judgement.before)) : start]
        behind = self.text[end : end + 2 * len(judgement.after)]
        kept = len(before & _triples(ahead)) + len(after & _triples(behind))
        return kept / (len(before) + len(after) or 1)

    def _inside_word(self, judgement: Judgement, start: int, end: int, *, known: bool) -> bool:
        """Whether a place begins or ends inside a word where the quotation did not: 308 is not in 1308."""
        ahead, behind = self.text[start - 1 : start], self.text[end : end + 1]
        was_ahead = known and _joined(judgement.before[-1:], judgement.quotation[:1])
        was_behind = known and _joined(judgement.quotation[-1:], judgement.after[:1])
        return (_joined(ahead, self.text[start]) and not was_ahead) or (
            _joined(self.text[end - 1], behind) and not was_behind
        )

    def alike(self, words: str) -> tuple[str, float]:
        """The sentence, or as many as were quoted, that shares most words with ``words``; how alike they are,
        word by word in their order (0 to 1)."""
        wanted = frozenset(folded(words))
        held: dict[int, int] = {}
        for word in wanted:
            for number in self._holding.get(word, ()):
                held[number] = held.get(number, 0) + 1
        if not held:
            return "", 0.0
        size = min(5, sum(1 for _ in split_sentences(words)) or 1)
        first = max(held, key=lambda number: (_dice(wanted, self._sentences[number][2]), -number))
        best, shared = "", 0.0
        for begin in range(max(0, first - size + 1), first + 1):
            some = self._sentences[begin : begin + size]
            likely = _dice(wanted, frozenset().union(*(each[2] for each in some)))
            if likely > shared:
                best, shared = self.text[some[0][0] : some[-1][1]], likely
        return best, SequenceMatcher(None, folded(words), folded(best), autojunk=False).ratio()

    @cached_property
    def _sentences(self) -> list[tuple[int, int, frozenset[str]]]:
        return [
            (start, end, frozenset(folded(self.text[start:end]))) for start, end in split_sentences(self.text)
        ]

    @cached_property
    def _holding(self) -> dict[str, list[int]]:
        holding: dict[str, list[int]] = {}
        for number, (_, _, words) in enumerate(self._sentences):
            for word in words:
                holding.setdefault(word, []).append(number)
        return holding


class Shelf:
    """All the texts that there are, to look for what was quoted from one that is gone."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._kept: dict[str, Text] = {}
        self._held: dict[str, list[str]] = {}

    def __getitem__(self, id: str) -> Text:
        if id not in self._kept:
            self._kept[id] = Text(self._texts[id])
        return self._kept[id]

    def holding(self, judgement: Judgement) -> list[str]:
        """The documents that hold what a judgement quotes, by id. A short quotation is looked for with its
        surroundings, and found in none where these are not known."""
        words = judgement.quotation
        if len(words) < SHORT:
            words = judgement.before[-SHORT:] + words + judgement.after[:SHORT]
        needle = Plain.of(words).text.strip()
        if needle not in self._held:
            self._held[needle] = self._with(needle) if len(needle) >= SHORT else []
        return self._held[needle]

    def _with(self, needle: str) -> list[str]:
        inner = _WORD.findall(needle)[1:-1]  # the first and the last may be parts of words
        among = (
            set.intersection(*(self._by_word.get(word, set()) for word in inner)) if inner else self._texts
        )
        return sorted(id for id in among if needle in self[id].plain.text)

    @cached_property
    def _by_word(self) -> dict[str, set[str]]:
        by_word: dict[str, set[str]] = {}
        for id in self._texts:
            for word in set(_WORD.findall(self[id].plain.text)):
                by_word.setdefault(word, set()).add(id)
        return by_word


def _places(text: str, words: str) -> Iterator[int]:
    at = text.find(words)
    while at >= 0:
        yield at
        at = text.find(words, at + 1)


def _joined(one: str, other: str) -> bool:
    """Whether two characters are in one word, in a script that parts its words."""
    return one.isalnum() and other.isalnum() and one < _UNSPACED and other < _UNSPACED


def _triples(text: str) -> frozenset[str]:
    level = " ".join(text.lower().split())
    return frozenset(level[n : n + 3] for n in range(len(level) - 2))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other) or 1)
