"""Names in a text, and documents that bear them: how one document leads to another.

A question such as "who was the mother of the director of *Dune*?" is answered by a document that the
question does not name: the film's names the director, the director's the mother. Where a passage that
answers the first half names a document by its title, that document is a candidate too. This is the
hyperlink of plain text (compare Asai et al. 2020, "Learning to Retrieve Reasoning Paths over Wikipedia
Graph"), without a graph to keep: titles are looked up when they are met.
"""

from __future__ import annotations

import re

from rag.words import fold

MAX_NAME = 8
"""Words of the longest name looked for."""
MAX_NAMES = 400
"""Names looked up of one text: a list of proper names alone could hold thousands."""

_WORD = r"[^\W_]+(?:['’.-][^\W_]+)*\.?"
_CAPITAL = rf"(?=[^\W\d_a-zà-öø-ÿ]|\d){_WORD}"
# Small words inside a name: "Universidad de la República", "Lord of the Rings", "Ludwig van Beethoven".
_JOIN = r"(?:of|the|and|for|in|on|to|a|an|de|del|la|las|los|el|y|e|en|al|von|van|der|den|di|da|do|dos|du|le)"
_NAME = re.compile(rf"{_CAPITAL}(?:[ \n](?:{_JOIN}[ \n]){{0,2}}{_CAPITAL})*")
_BARE = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"\s*\([^()]*\)\s*$")


def name_of(title: str) -> str:
    """A title as names are compared: folded words, without the aside in brackets that tells namesakes apart.

    >>> name_of("Mónica Pérez (política)"), name_of("2001: A Space Odyssey")
    ('monica perez', '2001 a space odyssey')
    """
    return _folded(_ASIDE.sub("", title)) or _folded(title)


def names(text: str) -> list[str]:
    """The names that may stand in ``text``, folded as by :func:`name_of`: runs of words with capitals or
    digits, small words between them, and every part of a run. At most MAX_NAMES, as they are met.

    >>> names("It was directed by Ana María Gil.")
    ['it', 'ana', 'ana maria', 'ana maria gil', 'maria', 'maria gil', 'gil']
    """
    found: dict[str, None] = {}
    for run in _NAME.finditer(text):
        words = _BARE.findall(fold(run.group()))
        for start in range(len(words)):
            for end in range(start + 1, min(len(words), start + MAX_NAME) + 1):
                found[" ".join(words[start:end])] = None
                if len(found) >= MAX_NAMES:
                    return list(found)
    return list(found)


def _folded(text: str) -> str:
    return " ".join(_BARE.findall(fold(text)))
