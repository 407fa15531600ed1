"""What speaks for a claim in passages: its words, its vector, and the facts that a paraphrase has to keep.

Every stretch of one to three sentences is looked at, and the one that speaks most for the claim is taken.
:mod:`rag.evaluate.grounded` makes an answer's groundedness of it; ``bench/grounded.py`` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_

import numpy as np
import numpy.typing as npt

from rag.context import Passage
from rag.evaluate.facts import Facts, Name
from rag.evaluate.reading import Asked, Read, Seen, language_in, spoken
from rag.protocols import Embedder
from rag.types import Vectors
from rag.words import Language, fold

SUPPORTED = 0.5
"""Support from which a claim counts as supported."""
WINDOW = 3
"""Sentences of a passage that are taken together at most."""
NEAR = 0.8
"""How near counts as the same: paraphrases seldom come nearer."""
_AMISS = 0.45
"""What is left of a claim's support for a number, month or name that is elsewhere or beside other words, and
for a negation: the best of claims falls below :data:`SUPPORTED` with one."""
_ABSENT = 0.3
"""For a number or month that is not in the passage at all."""
_NAME_ABSENT = 0.5
"""For a name that is not: people write them in more than one way."""
NEGATION, DIRECTION = "negation", "direction"
REACH = 4
"""Words that carry meaning between a number and what stands beside it in the claim."""
SHARE = 0.5
"""Of the words beside a number that have to be near it, of those that are there at all."""

# Sentences about nothing in particular: how near a claim is to them is how near it is to anything.
_REFERENCE: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "The meeting was moved to another room because of the noise.",
        "Rivers carry sand and stones from the mountains to the sea.",
        "Please send the form to the office before the end of the week.",
        "The film tells the story of a family that moves to the city.",
        "Cells divide, and each of the two parts holds the same information.",
        "The team scored twice in the second half and won the match.",
        "A contract binds both parties from the day on which it is signed.",
        "Add the onions, stir well and let everything simmer for a while.",
    ),
    "es": (
        "La reunión se trasladó a otra sala por culpa del ruido.",
        "Los ríos llevan arena y piedras de las montañas al mar.",
        "Envíe el formulario a la oficina antes de que acabe la semana.",
        "La película cuenta la historia de una familia que se muda a la ciudad.",
        "Las células se dividen, y cada una de las partes contiene la misma información.",
        "El equipo marcó dos veces en la segunda parte y ganó el partido.",
        "Un contrato obliga a ambas partes desde el día en que se firma.",
        "Añada la cebolla, remueva bien y deje que todo cueza un rato.",
    ),
}


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for a claim in one window. ``words`` is the share of its words that stand there, NaN where
    the languages differ; ``near`` how far their cosine lies above that of a claim and anything, on the way
    to 1. ``absent`` are the facts that the whole passage lacks, ``apart`` those that it has elsewhere;
    ``names_absent`` and ``names_apart`` the same of names (none where the languages differ: names do too);
    ``misplaced`` are numbers and names that stand beside other words there; ``against`` is a word whose
    negation or direction is another there, "" for none."""

    words: float
    near: float
    absent: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    names_absent: tuple[str, ...] = ()
    names_apart: tuple[str, ...] = ()
    against: str = ""
    misplaced: tuple[str, ...] = ()

    @property
    def support(self) -> float:
        """From 0 to 1: how near it is, times what is left of it for each thing amiss.

        >>> whole = Signals(words=1.0, near=0.8)
        >>> whole.support >= SUPPORTED > Signals(words=1.0, near=0.8, absent=("25",)).support
        True
        """
        near = min(1.0, max(0.0, self.near / NEAR))
        base = near if math.isnan(self.words) else (self.words + near) / 2
        left = 1.0
        if self.absent:
            left *= _ABSENT
        elif self.apart or self.misplaced or self.names_apart:
            left *= _AMISS
        if self.names_absent:
            left *= _NAME_ABSENT
        if self.against:
            left *= _AMISS
        return base * left

    @property
    def why(self) -> str:
        """What is amiss, in plain words; "" for nothing.

        >>> Signals(words=1.0, near=1.0, absent=("25", "30"), against="free").why
        '25, 30 are not in the passage; “free” is negated in one and not in the other'
        """
        told = [
            *_not_there((*self.absent, *self.names_absent), "in the passage"),
            *_not_there((*self.apart, *self.names_apart), "in these sentences, but elsewhere in the passage"),
        ]
        if self.misplaced:
            told.append(f"{', '.join(self.misplaced)}: beside other words there")
        if self.against in (NEGATION, DIRECTION):
            told.append(f"one of them says the opposite by a {self.against}")
        elif self.against:
            told.append(f"“{self.against}” is negated in one and not in the other")
        return "; ".join(told)


def _not_there(what: Sequence[str], where: str) -> Iterator[str]:
    if what:
        yield f"{', '.join(what)} {'is' if len(what) == 1 else 'are'} not {where}"


class Evidence:
    """The passages that were shown, read once for any number of claims.

    ``embedder`` is asked for their sentences' vectors when the first claim comes.
    """

    def __init__(self, passages: Sequence[Passage], embedder: Embedder) -> None:
        self._embedder = embedder
        languages = [language_in(passage) for passage in passages]
        most = next((language for language in languages if language), "")
        self._read = {
            passage.number: Read.of(passage, language=language or most)
            for passage, language in zip(passages, languages, strict=True)
        }

    @cached_property
    def _near(self) -> Mapping[int, Vectors]:
        texts = [each.text for read in self._read.values() for each in read.sentences]
        rows = self._embedder.embed(texts, input_type="query")  # like with like: all of them as questions
        ends = np.cumsum([len(read.sentences) for read in self._read.values()])
        return dict(zip(self._read, np.split(rows, ends[:-1]), strict=True))

    @cached_property
    def _reference(self) -> Mapping[Language, Vectors]:
        return {
            language: self._embedder.embed(list(texts), input_type="query")
            for language, texts in _REFERENCE.items()
        }

    def weigh(self, claim: str, *, language: str = "") -> Weighed:
        """The claim against every passage. ``language`` is that of the claim, where it is known."""
        own = language or spoken(claim)
        asked: dict[str, Asked] = {}
        vector = self._embedder.embed([claim], input_type="query")[0]
        best: dict[int, Window] = {}
        for number, read in self._read.items():
            # A claim too short to tell its language is taken to be in the passage's.
            said = own or read.language
            if said not in asked:
                asked[said] = Asked.of(claim, said)
            floor = float((self._reference["es" if read.language == "es" else "en"] @ vector).mean())
            near = (self._near[number] @ vector - floor) / max(1e-6, 1 - floor)
            windows = list(_windows(asked[said], read, near))
            if windows:
                best[number] = max(windows, key=lambda one: (one.signals.support, -len(one.quotation)))
        return Weighed(best)


@dataclass(frozen=True, slots=True)
class Window:
    """The stretch of a passage that speaks most for a claim, and what it says for it."""

    signals: Signals
    quotation: str
    asked: Asked
    seen: Seen
    whole: Seen
    foreign: bool


@dataclass(frozen=True, slots=True)
class Weighed:
    """A claim against passages: ``windows`` by the passage's number, of those that hold a sentence."""

    windows: Mapping[int, Window]

    def best(self, numbers: Collection[int]) -> int:
        """Which of these passages speaks most for the claim; 0 for none."""
        there = [number for number in numbers if number in self.windows]
        return max(there, key=lambda one: (self.windows[one].signals.support, -one), default=0)

    def support(self, numbers: Collection[int]) -> float:
        """By the one of these passages that speaks most for it; 0 for none."""
        best = self.best(numbers)
        return self.windows[best].signals.support if best else 0.0

    def together(self, numbers: Collection[int]) -> float:
        """By these passages, which a sentence may be made from: what is not in one is in another."""
        there = [self.windows[number] for number in numbers if number in self.windows]
        alone = self.support(numbers)
        if len(there) < 2 or len({window.foreign for window in there}) > 1:
            return alone
        seen = reduce(or_, (window.seen for window in there))
        whole = reduce(or_, (window.whole for window in there))
        near = max(window.signals.near for window in there)
        joined = _signals(there[0].asked, seen, whole, near=near, foreign=there[0].foreign, alone=False)
        return max(alone, joined.support)


def _windows(asked: Asked, read: Read, near: npt.NDArray[np.float32]) -> Iterator[Window]:
    foreign = bool(asked.language and read.language and asked.language != read.language)
    for first in range(len(read.sentences)):
        seen = read.head
        for last in range(first, min(first + WINDOW, len(read.sentences))):
            seen = seen | read.sentences[last].seen
            held = float(near[first : last + 1].max())
            signals = _signals(asked, seen, read.whole, near=held, foreign=foreign, alone=first == last)
            quotation = read.text[read.sentences[first].start : read.sentences[last].end]
            yield Window(signals, quotation, asked, seen, read.whole, foreign)


def _signals(asked: Asked, seen: Seen, whole: Seen, *, near: float, foreign: bool, alone: bool) -> Signals:
    wanted = asked.facts
    numbers = [one for one in wanted.numbers if not one.readings & seen.numbers]
    absent = [one.written for one in numbers if not one.readings & whole.numbers]
    months = wanted.months - seen.months
    names = [] if foreign else [one for one in wanted.names if not _named(one, seen)]
    away = [one.written for one in names if not _named(one, whole)]
    turned = _against(wanted, seen, foreign=foreign, alone=alone)
    share = math.nan
    if not foreign and asked.words:
        share = sum(not seen.keys.isdisjoint(word) for word in asked.words) / len(asked.words)
    return Signals(
        words=share,
        near=near,
        absent=(*absent, *(f"month {month}" for month in sorted(months - whole.months))),
        apart=(
            *(one.written for one in numbers if one.written not in absent),
            *(f"month {month}" for month in sorted(months & whole.months)),
        ),
        names_absent=tuple(away),
        names_apart=tuple(one.written for one in names if one.written not in away),
        against=asked.written.get(turned, turned),
        misplaced=() if foreign else tuple(_misplaced(asked, seen)),
    )


def _named(name: Name, seen: Seen) -> bool:
    return not seen.keys.isdisjoint(name.keys) or fold(name.written) in seen.folded


def _misplaced(asked: Asked, seen: Seen) -> Iterator[str]:
    """Numbers and names that stand there, but beside none of the words that they have beside them in the
    claim, though these stand there too: another thing's number."""
    for written, own, beside in asked.beside:
        places = [at for at, each in enumerate(seen.order) if each & own]
        there = [word for word in beside if any(word & each for each in seen.order)]
        if not places or not there:
            continue
        best = max(
            sum(
                any(word & each for each in seen.order[max(0, at - REACH) : at + REACH + 1]) for word in there
            )
            for at in places
        )
        if best < SHARE * len(there):
            yield written


def _against(wanted: Facts, seen: Seen, *, foreign: bool, alone: bool) -> str:
    """A word that the one affirms and the other negates, or the direction that is turned round."""
    if foreign:
        if wanted.negates and not seen.negates:
            return NEGATION
        if alone and seen.negates and not wanted.negates:
            return NEGATION
    else:
        turned = (wanted.negated & seen.affirmed) - seen.negated
        turned |= (wanted.affirmed & seen.negated) - seen.affirmed - wanted.negated
        if turned:
            return min(turned)
    here = {axis: {side for other, side in wanted.sides if other == axis} for axis, _ in wanted.sides}
    there = {axis: {side for other, side in seen.sides if other == axis} for axis, _ in seen.sides}
    for axis, sides in sorted(here.items()):
        if len(sides) == 1 and len(there.get(axis, ())) == 1 and sides != there[axis]:
            return DIRECTION
    return ""
