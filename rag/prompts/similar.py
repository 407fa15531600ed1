"""Which prompts are like each other: groups of near-duplicates, and categories by likeness.

A prompt is embedded in windows. Raw cosines say little about prompts: one embedder gives two that have
nothing in common .38, another .89 (medians of the shipped ones). So they are taken from a centre, the mean
of the shipped prompts and of what a library adds to them. Then different prompts lie at most at .72 and .60
(all-MiniLM-L6-v2, multilingual-e5-small), one with a rule more at .99 and .95, one in which every tenth word
is another at .91 and .87, every third at .70 and .58.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rag.protocols import Tokenizer
from rag.types import Vectors

NEAR = 0.9
"""Likeness from which on prompts count as near-duplicates."""
MAX_WINDOWS = 4
"""Windows of one prompt that are embedded: what comes after them seldom says what a prompt is for."""
_BLOCK = 1024
VOTERS = 5
LEAST = 0.25
"""Likeness of a prompt that has a say in the category of another."""
WEIGHT = 3
"""A vote counts by this power of its likeness: one near-duplicate outweighs four that are only akin."""
SURE = 0.7
"""Share of the votes that makes a category a suggestion. Of the 20 shipped prompts, of 9 categories, each
asked of the others: 11 suggestions, all right (multilingual-e5-small); none with all-MiniLM-L6-v2, which does
not see that a prompt in Spanish is that in English, the only other one of most categories."""


def windows(text: str, tokenizer: Tokenizer, *, room: int) -> tuple[str, ...]:
    """``text`` in pieces of at most ``room`` tokens, the first :data:`MAX_WINDOWS` of them.

    >>> from rag.testing import WordTokenizer
    >>> windows("one two three four five", WordTokenizer(), room=2)
    ('one two ', 'three four ', 'five')
    """
    offsets = tokenizer.offsets(text)
    starts = [0, *(int(offsets[at][0]) for at in range(room, len(offsets), room)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(starts)]
    return tuple(piece for piece in pieces[:MAX_WINDOWS] if piece.strip()) or (text,)


def placed(vectors: Sequence[Vectors], *, centre: Vectors) -> Vectors:
    """Shape (n, dim), unit rows: each prompt's windows (shape (w, dim)) as one vector, from ``centre``."""
    if not vectors:
        return np.empty((0, len(centre)), np.float32)
    means = np.stack([middle(each) for each in vectors]) - centre
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.maximum(lengths, 1e-6), dtype=np.float32)


def middle(vectors: Vectors) -> Vectors:
    """The direction of the mean, shape (dim,)."""
    mean = vectors.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-6), dtype=np.float32)


def centre(shipped: Vectors, own: Sequence[Vectors]) -> Vectors:
    """Where likeness is seen from, shape (dim,): the mean of the ``shipped`` prompts (shape (n, dim)) and of
    one's ``own`` (each prompt's windows).

    Of near-duplicates one counts: a prompt that lies in a library a hundred times is not what the others
    differ from. And a library about one subject does not look like a single prompt, as it does from the
    shipped ones: of 5,000 prompts with one system message, each about another abstract, 100 being small
    edits of others, 683 groups alike by .85 were found from there, 246 from here. At .9 they are 128: all 100
    edits, and pairs about the same drug or disease.
    """
    seen = middle(shipped)
    if not own:
        return seen
    rows = placed(own, centre=seen)
    again = {place for group in groups(rows, twins={}) for place in group.members[1:]}
    distinct = [middle(each) for place, each in enumerate(own) if place not in again]
    return middle(np.concatenate([shipped, np.stack(distinct)]))


@dataclass(frozen=True, slots=True)
class Group:
    """Near-duplicates: every two of them are. ``members`` are places, the most typical first, ``likeness``
    that of the two that are least alike."""

    members: tuple[int, ...]
    likeness: float


def groups(rows: Vectors, *, twins: Mapping[tuple[int, int], float], at: float = NEAR) -> list[Group]:
    """The groups of prompts (``rows`` as :func:`placed` gives them) of which every two are alike, by meaning
    or by their words: ``twins`` has the share of words that two have in common, by (lower, higher) place.

    Complete linkage, the most alike first: a chain of small changes does not make one group of two prompts
    that have nothing in common. The largest group comes first.

    >>> axes = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> groups(axes, twins={})
    [Group(members=(0, 1), likeness=1.0)]
    """
    alike = _alike(rows, twins)
    near = alike >= at
    np.fill_diagonal(near, False)
    firsts, seconds = np.nonzero(np.triu(near))
    order = np.argsort(-alike[firsts, seconds], kind="stable")
    of = list(range(len(rows)))
    members: dict[int, list[int]] = {place: [place] for place in of}
    for first, second in zip(firsts[order].tolist(), seconds[order].tolist(), strict=True):
        a, b = of[first], of[second]
        if a == b or not near[a, b]:
            continue
        near[a] &= near[b]
        near[:, a] = near[a]
        members[a] += members.pop(b)
        for place in members[a]:
            of[place] = a
    found = [_group(sorted(some), alike) for some in members.values() if len(some) > 1]
    return sorted(found, key=lambda group: (-len(group.members), -group.likeness, group.members))


def _alike(rows: Vectors, twins: Mapping[tuple[int, int], float]) -> npt.NDArray[np.float32]:
    alike = np.empty((len(rows), len(rows)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        alike[start : start + _BLOCK] = rows[start : start + _BLOCK] @ rows.T
    for (first, second), share in twins.items():
        if share > alike[first, second]:
            alike[first, second] = alike[second, first] = share
    return alike


def _group(places: list[int], alike: npt.NDArray[np.float32]) -> Group:
    among = alike[np.ix_(places, places)]
    typical = np.argsort(-among.sum(axis=1), kind="stable")
    least = float(among[np.triu_indices(len(places), 1)].min())
    return Group(tuple(places[place] for place in typical), round(min(1.0, least), 4))


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A category for a prompt that has none: ``category`` is "" where nothing can be said. ``share`` is that
    of the votes it got; ``like`` the places of the prompts that voted for it, the most alike first."""

    place: int
    category: str
    share: float
    like: tuple[int, ...]


def suggestions(rows: Vectors, categories: Sequence[str]) -> list[Suggestion]:
    """For each prompt with the category "" that of the prompts most like it, if they agree.

    The :data:`VOTERS` most alike of those with a category vote, from a likeness of :data:`LEAST` on; a
    category with :data:`SURE` of all the votes is suggested.

    >>> axes = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    >>> [(one.place, one.category) for one in suggestions(axes, ["summary", "", ""])]
    [(1, 'summary'), (2, '')]
    """
    told = np.array([place for place, category in enumerate(categories) if category], dtype=np.int64)
    found = []
    for place, category in enumerate(categories):
        if category:
            continue
        likeness = rows[told] @ rows[place]
        best = [at for at in np.argsort(-likeness, kind="stable")[:VOTERS] if likeness[at] >= LEAST]
        votes: dict[str, float] = defaultdict(float)
        for at in best:
            votes[categories[told[at]]] += float(likeness[at]) ** WEIGHT
        winner = max(votes, key=lambda name: votes[name], default="")
        share = votes[winner] / sum(votes.values()) if votes else 0.0
        like = tuple(int(told[at]) for at in best if categories[told[at]] == winner)
        sure = share >= SURE
        found.append(Suggestion(place, winner if sure else "", round(share, 4), like if sure else ()))
    return found
