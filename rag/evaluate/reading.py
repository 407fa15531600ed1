"""Claims and passages as they are compared: the keys of their words, and their facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import NamedTuple

from rag.context import Passage
from rag.evaluate.facts import Facts, Name, Number, facts
from rag.language import detect
from rag.sentences import split_sentences
from rag.words import Language, fold, is_stop_word, keys, language_named, language_of, spans

BESIDE = 2
"""Words on either side of a number or a name that say what it is of."""
SHORT = 60
"""Characters below which a text's language is guessed by its function words."""
MAX_SENTENCES = 400
"""Sentences of a passage that are looked at; a context holds far fewer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A stretch of text as it is compared: the keys of its words, and its facts. ``order`` are its words that
    carry meaning and its numbers, one after the other, each by what it is compared by."""

    keys: frozenset[str]
    folded: frozenset[str]
    numbers: frozenset[float]
    months: frozenset[int]
    affirmed: frozenset[str]
    negated: frozenset[str]
    negates: bool
    sides: frozenset[tuple[int, int]]
    order: tuple[frozenset[str], ...]

    @staticmethod
    def of(text: str, language: Language) -> Seen:
        found = facts(text, language=language)
        words = [word for _, _, word in spans(text)]
        return Seen(
            frozenset(key for word in words for key in keys(word, language)),
            frozenset(fold(word) for word in words),
            frozenset(reading for number in found.numbers for reading in number.readings),
            found.months,
            found.affirmed,
            found.negated,
            found.negates,
            found.sides,
            tuple(each for _, each in in_order(text, found, language)),
        )

    def __or__(self, other: Seen) -> Seen:
        return Seen(
            self.keys | other.keys,
            self.folded | other.folded,
            self.numbers | other.numbers,
            self.months | other.months,
            self.affirmed | other.affirmed,
            self.negated | other.negated,
            self.negates or other.negates,
            self.sides | other.sides,
            self.order + other.order,
        )


class Sentence(NamedTuple):
    start: int
    end: int
    text: str
    seen: Seen


def language_in(passage: Passage) -> str:
    """ISO 639-1, as its document says, else as it reads; "" where that does not show."""
    said = str(passage.chunk.metadata.get("language") or "")
    return said[:2].lower() or spoken(passage.text)


def spoken(text: str) -> str:
    """The language of a text, ISO 639-1; of a short one by its function words first, which mistake fewer."""
    by_words = language_of(text)
    return (by_words or detect(text)) if len(text) < SHORT else (detect(text) or by_words)


@dataclass(frozen=True, slots=True)
class Read:
    """A passage, read. ``head`` is the line that says where it stands: its words stand in every window."""

    text: str
    language: str
    sentences: tuple[Sentence, ...]
    head: Seen
    whole: Seen

    @staticmethod
    def of(passage: Passage, *, language: str) -> Read:
        text = passage.text
        own = language_named(language)
        sentences = tuple(
            Sentence(start, end, text[start:end], Seen.of(text[start:end], own))
            for start, end in split_sentences(text)
        )[:MAX_SENTENCES]
        head = Seen.of(passage.source, own)
        whole = reduce(or_, (each.seen for each in sentences), head)
        return Read(text, language, sentences, head, whole)


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim, read. ``words`` are the keys of each word that carries meaning and is no number, ``written``
    how the word of a key is written."""

    language: str
    written: Mapping[str, str]
    words: tuple[tuple[str, ...], ...]
    facts: Facts
    beside: tuple[tuple[str, frozenset[str], tuple[frozenset[str], ...]], ...]
    """Of each number and name what is written, what it is compared by, and the words that stand beside it."""

    @staticmethod
    def of(claim: str, language: str) -> Asked:
        ours = language_named(language)
        words = {
            keys(word, ours): None
            for _, _, word in spans(claim)
            if not is_stop_word(word, ours) and not word[0].isdigit()
        }
        found = facts(claim, language=ours)
        written = {key: word for _, _, word in spans(claim) for key in keys(word, ours)}
        return Asked(language, written, tuple(words), found, tuple(_beside(claim, found, ours)))


def in_order(text: str, found: Facts, language: Language) -> list[tuple[int, frozenset[str]]]:
    """Where each word that carries meaning begins, and each number, and what it is compared by."""
    taken = [(number.start, number.end) for number in found.numbers]
    placed = [(number.start, frozenset(map(_figure, number.readings))) for number in found.numbers]
    placed += [
        (start, frozenset(keys(word, language)))
        for start, _, word in spans(text)
        if not is_stop_word(word, language) and not any(a <= start < b for a, b in taken)
    ]
    return sorted(placed, key=lambda one: one[0])


def _figure(reading: float) -> str:
    return f"#{reading:.12g}"


def _beside(
    claim: str, found: Facts, language: Language
) -> Iterator[tuple[str, frozenset[str], tuple[frozenset[str], ...]]]:
    order = in_order(claim, found, language)
    named: list[Number | Name] = [*found.numbers, *found.names]
    for one in named:
        at = next((place for place, (start, _) in enumerate(order) if start == one.start), None)
        if at is not None:
            around = order[max(0, at - BESIDE) : at] + order[at + 1 : at + 1 + BESIDE]
            yield one.written, order[at][1], tuple(each for _, each in around)
