"""The whole library by meaning and by words: searched, grouped, and its categories suggested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from api.prompts.cards import Card, cards
from indexes.memo import Memo
from indexes.question import ask
from indexes.shelf import TermShelf
from indexes.terms import STEMMED
from rag.errors import InvalidQuery
from rag.prompts.similar import NEAR, centre, groups, middle, placed, suggestions
from rag.prompts.twins import Twins
from rag.retrieve.fuse import evidence, ranked, words
from rag.shingles import Shingles
from rag.types import Candidates, Vectors, clean_text

if TYPE_CHECKING:
    from api.services import Services


@dataclass(frozen=True, slots=True)
class Match:
    """A prompt that a search found. ``score`` is 0 to 1; ``cosine`` that of its best piece; ``words`` the
    share of the question that its words answer."""

    card: Card
    score: float
    cosine: float
    words: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """Near-duplicates, the most typical first. ``likeness`` is that of the two that are least alike;
    ``to_first`` the likeness of each to the first, by meaning and by the words that both have."""

    cards: tuple[Card, ...]
    likeness: float
    to_first: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """A category for a prompt that has none, "" where nothing can be said; ``like`` are those that have it
    and are most like the prompt."""

    card: Card
    category: str
    like: tuple[Card, ...]


class Shelf:
    """All prompts as they are now. ``broken`` are files that cannot be read (name, why).

    ``tell`` is called, before it is done, with how many pieces of prompts are to be embedded. Raises
    EmbedderError.
    """

    def __init__(self, services: Services, *, tell: Callable[[int], None] = lambda _: None) -> None:
        self._tell = tell
        self._embedder = services.embedder()
        self._memo = Memo(services.settings.data)
        made = cards(services, self._embedder)
        self.cards = made.used
        self.broken = made.broken
        self._shipped = made.shipped

    def search(self, text: str, *, k: int = 10) -> list[Match]:
        """The k prompts that ``text`` describes best, by meaning and by words as a search of documents does
        it; of each piece of a prompt the best counts. Raises InvalidQuery."""
        asked = clean_text(text).strip()
        if not asked or k < 1:
            raise InvalidQuery(
                f"k = {k}: ask for 1 prompt or more" if asked else "say what the prompt is for"
            )
        (vector,) = self._embedder.embed([asked], input_type="query")
        cosines = np.array([float((rows @ vector).max()) for rows in self._vectors], np.float32)
        languages = {card.language if card.language in STEMMED else "" for card in self.cards}
        shelf = TermShelf([card.terms for card in self.cards], languages=languages)
        question = ask(asked, [shelf])
        mean, deviation = float(cosines.mean()), float(cosines.std())
        keys, means = np.arange(len(self.cards), dtype=np.int64), np.full(len(cosines), mean, np.float32)
        found = Candidates(keys, cosines, shelf.scores(question), means, question.bound, mean, deviation)
        best, share = ranked(found, evidence(found)), words(found)
        return [
            Match(
                self.cards[key], round(score, 4), round(float(cosines[key]), 4), round(float(share[key]), 4)
            )
            for key, score in zip(best.keys[:k].tolist(), best.scores[:k].tolist(), strict=True)
            if score > 0
        ]

    def clusters(self, *, at: float = NEAR) -> list[Cluster]:
        """Near-duplicates by meaning or by words, the largest cluster first. Raises InvalidQuery."""
        if not 0 < at <= 1:
            raise InvalidQuery(f"a likeness of {at:g} is none: choose more than 0, up to 1")
        places = {card.name: place for place, card in enumerate(self.cards)}
        known = Twins({card.name: card.text for card in self.cards}, at=at)
        twins: dict[tuple[int, int], float] = {}
        for place, card in enumerate(self.cards):
            for twin in known.of(card.text, but=card.name):
                other = places[twin.name]
                twins[min(place, other), max(place, other)] = twin.likeness
        return [
            Cluster(
                tuple(self.cards[place] for place in group.members),
                group.likeness,
                tuple(self._likeness(place, group.members[0]) for place in group.members),
            )
            for group in groups(self._rows, twins=twins, at=at)
        ]

    def categories(self) -> list[Advice]:
        """For each prompt without a category the one of those most like it, if they agree."""
        told = suggestions(self._rows, [card.facts.category for card in self.cards])
        return [
            Advice(self.cards[one.place], one.category, tuple(self.cards[place] for place in one.like))
            for one in told
        ]

    def _likeness(self, one: int, other: int) -> tuple[float, float]:
        meaning = min(1.0, float(self._rows[one] @ self._rows[other]))
        shared = Shingles.of(self.cards[one].text).resemblance(Shingles.of(self.cards[other].text))
        return round(meaning, 4), round(shared, 4)

    @cached_property
    def _vectors(self) -> list[Vectors]:
        return self._embedded(self.cards)

    @cached_property
    def _rows(self) -> Vectors:
        shipped = np.stack([middle(rows) for rows in self._embedded(self._shipped)])
        own = [rows for card, rows in zip(self.cards, self._vectors, strict=True) if card.origin != "shipped"]
        return placed(self._vectors, centre=centre(shipped, own))

    def _embedded(self, some: Sequence[Card]) -> list[Vectors]:
        pieces = [piece for card in some for piece in card.pieces]
        rows = self._memo.vectors(self._embedder, pieces, input_type="document", tell=self._tell)
        ends = np.cumsum([len(card.pieces) for card in some]).tolist()
        return [rows[end - len(card.pieces) : end] for card, end in zip(some, ends, strict=True)]
