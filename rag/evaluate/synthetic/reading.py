"""A document as questions are made from it: its sections, its paragraphs, its sentences of prose."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rag.language import detect
from rag.sentences import split_sentences
from rag.types import Document
from rag.words import Language, fold, is_stop_word, keys, language_named, spans

_HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*?)[ \t#]*$")
_FENCE = re.compile(r"[ \t]*(```|~~~)")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\([^()\s]{0,500}\)")
_NOTE = re.compile(r"\[(?:\d{1,3}|note \d+|citation needed)\]")
_APART = re.compile(r" (?=[,.;:!?)](?:\s|$)|['’]s\b)|(?<=[(¿¡]) ")
"""Spaces that tokenised text has before its punctuation."""
_MARKS = re.compile(r"(?:\*\*|__|`|~~|(?<!\w)[*_]|[*_](?!\w))")
_LEAST_WORDS, _MOST_WORDS = 6, 60


@dataclass(frozen=True, slots=True)
class Section:
    """``document.text[start:end]`` stands below the headings ``path``, outermost first."""

    path: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A document, its language (ISO 639-1, "" unknown) and its sections, in document order."""

    document: Document
    language: str
    sections: tuple[Section, ...]

    @staticmethod
    def of(document: Document) -> Reading:
        """``document`` as it is read here; its language is told where its metadata does not say it."""
        named = str(document.metadata.get("language") or "").lower()[:2]
        return Reading(document, named or detect(document.text), tuple(_sections(document.text)))

    @property
    def stems(self) -> Language:
        """By which stemmer its words are compared."""
        return language_named(self.language)

    def sentences(self) -> Iterator[tuple[int, int]]:
        """Where its sentences of prose stand: no headings, lists of links, tables or code."""
        for section in self.sections:
            for start, end in _paragraphs(self.document.text, section):
                for begin, stop in split_sentences(self.document.text[start:end]):
                    if _is_prose(self.document.text[start + begin : start + stop]):
                        yield start + begin, start + stop

    def paragraphs(self) -> Iterator[tuple[int, int]]:
        """Where its paragraphs of prose stand; a long one as several, at sentence ends."""
        for section in self.sections:
            for start, end in _paragraphs(self.document.text, section):
                yield from _windows(self.document.text, start, end)


def plain(text: str) -> str:
    """A piece of Markdown in one line, without its marks.

    >>> plain("The **tower**[3] is in\\n[Paris](https://example.org).")
    'The tower is in Paris.'
    """
    text = _MARKS.sub("", _NOTE.sub("", _LINK.sub(r"\1", text.replace("``", '"').replace("''", '"'))))
    return _APART.sub("", " ".join(text.split()))


def content(text: str, language: Language) -> list[str]:
    """The distinct words of ``text`` that carry meaning, as compared, in order.

    >>> content("When was the library opened?", "en")
    ['librari', 'open']
    """
    found = [keys(word, language)[0] for _, _, word in spans(text) if not is_stop_word(word, language)]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """In how many of ``texts`` paragraphs each word stands, as compared, and how it is written there."""

    texts: int
    holding: Counter[str] = field(repr=False)
    forms: dict[str, Counter[str]] = field(repr=False)

    @staticmethod
    def of(readings: Iterable[Reading]) -> Vocabulary:
        """Of the paragraphs of these documents."""
        holding: Counter[str] = Counter()
        forms: dict[str, Counter[str]] = {}
        texts = 0
        for reading in readings:
            for start, end in reading.paragraphs():
                texts += 1
                met: set[str] = set()
                for _, _, word in spans(reading.document.text[start:end]):
                    key = keys(word, reading.stems)[0]
                    met.add(key)
                    if word.isalpha():
                        forms.setdefault(key, Counter())[word.lower()] += 1
                holding.update(met)
        return Vocabulary(texts, holding, forms)

    def rarity(self, key: str) -> float:
        """How much a word tells: the logarithm of one over the share of texts that hold it."""
        return math.log((self.texts + 1) / (self.holding.get(key, 0) + 0.5))

    def others(self, word: str, key: str) -> list[str]:
        """Other forms of a word that are met at least twice, the most frequent first."""
        known = self.forms.get(key, Counter())
        return [form for form, count in known.most_common() if count > 1 and fold(form) != fold(word)]


def _sections(text: str) -> Iterator[Section]:
    path: list[tuple[int, str]] = []
    begin = at = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if mark and (not fence or fence == mark[1]):
            fence = "" if fence else mark[1]
        heading = None if fence or mark else _HEADING.match(line.rstrip("\n"))
        if heading:
            yield from _section(text, path, begin, at)
            path = [(level, name) for level, name in path if level < len(heading[1])]
            path.append((len(heading[1]), plain(heading[2])))
            begin = at + len(line)
        at += len(line)
    yield from _section(text, path, begin, len(text))


def _section(text: str, path: list[tuple[int, str]], start: int, end: int) -> Iterator[Section]:
    if text[start:end].strip():
        yield Section(tuple(name for _, name in path), start, end)


def _paragraphs(text: str, section: Section) -> Iterator[tuple[int, int]]:
    """Blocks between blank lines, but for fenced code and tables."""
    at, fenced = section.start, False
    for piece in re.split(r"(\n[ \t]*\n)", text[section.start : section.end]):
        body = piece.strip()
        start, at = at + len(piece) - len(piece.lstrip()), at + len(piece)
        marks = len(re.findall(r"(?m)^[ \t]*(?:```|~~~)", piece))
        if body and not fenced and not marks and not body.startswith(("|", "<", "$$")):
            yield start, start + len(body)
        fenced ^= bool(marks % 2)


def _windows(
    text: str, start: int, end: int, *, least: int = 120, most: int = 900
) -> Iterator[tuple[int, int]]:
    """The paragraph in parts of ``least`` to about ``most`` characters that end where sentences do."""
    begin, stop = -1, -1
    for first, last in split_sentences(text[start:end]):
        begin = first if begin < 0 else begin
        stop = last
        if stop - begin >= most // 2 and stop - begin >= least:
            yield start + begin, start + stop
            begin = -1
    if begin >= 0 and stop - begin >= least:
        yield start + begin, start + stop


def _is_prose(text: str) -> bool:
    if text.lstrip().startswith(("#", "|", "<", "http")) or " | " in text or "](" in text[:2]:
        return False
    count = sum(1 for _ in spans(text))
    letters = sum(char.isalpha() or char.isspace() for char in text)
    return _LEAST_WORDS <= count <= _MOST_WORDS and letters >= 0.75 * len(text)
