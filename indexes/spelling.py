"""What a mistyped word may have been: every spelling one edit away.

An edit leaves a letter out, puts one in, changes one, or swaps two neighbours (Damerau 1964: four of
five misspellings are one such edit). The spellings are looked up as the terms they would become, so the
vocabulary needs no second index, and a slip in an ending that a stemmer would cut is mended too.
"""

from __future__ import annotations

__all__ = ["is_plain", "one_edit_away"]

_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzñ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρστυφχψως",
)
_SHORTEST = 5  # letters: a shorter word has too many neighbours that are words of their own
_LONGEST = 24


def is_plain(word: str) -> bool:
    """Whether a word is long enough to be mended, and of letters alone: no number, no identifier."""
    return _SHORTEST <= len(word) <= _LONGEST and word.isalpha()


def one_edit_away(word: str) -> list[str]:
    """The spellings one edit away from a lower-case word without accents; for n letters about 54 n.

    >>> spellings = one_edit_away("tiegr")
    >>> [word in spellings for word in ("tiger", "tier", "tigers", "tiegr")]
    [True, True, False, False]
    """
    alphabet = next((letters for letters in _ALPHABETS if word[0] in letters), "")
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    swapped = [head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1]
    without = [head + tail[1:] for head, tail in cuts if tail]
    changed = [head + letter + tail[1:] for head, tail in cuts if tail for letter in alphabet]
    more = [head + letter + tail for head, tail in cuts for letter in alphabet]
    spellings = dict.fromkeys(swapped + without + changed + more)
    spellings.pop(word, None)
    return list(spellings)
