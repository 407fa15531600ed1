"""The same question in other words or mistyped: what a search has to see through.

Nothing is invented: clauses change places, words are put in another of their forms that the collection
itself uses, function words go.
"""

from __future__ import annotations

import random as random_
import re
from collections.abc import Callable

from rag.evaluate.synthetic.reading import Vocabulary
from rag.evaluate.synthetic.wording import WORDINGS
from rag.words import Language, fold, is_stop_word, keys, language_named, spans

_ROWS = {"en": ("qwertyuiop", "asdfghjkl", "zxcvbnm"), "es": ("qwertyuiop", "asdfghjklñ", "zxcvbnm")}
_LEAST = 5
"""Letters of a word that may be mistyped or change its form: a shorter one could become another word."""
_WORDS_A_TYPO = 4
_JOINTS = ("-", "_", "/", "'", "’")
_COUNTED = re.compile(r"(?:how many|cuánt[oa]s) $", re.I)


def mistyped(text: str, language: str, random: random_.Random) -> str:
    """``text`` as typed in a hurry: in one word of four a slip of a finger, no accents, no opening marks.

    >>> import random
    >>> mistyped("¿Cuándo cierra la biblioteca?", "es", random.Random(1))
    'caundo cierra la biblioteca'
    """
    plain = _unaccented(text) if language == "es" else text
    plain = plain.strip("¿¡?!. ").lower()
    found = [(start, end) for start, end, word in spans(plain) if end - start >= _LEAST and word.isalpha()]
    wanted = max(1, round(sum(1 for _ in spans(plain)) / _WORDS_A_TYPO))
    for start, end in sorted(random.sample(found, min(wanted, len(found))), reverse=True):
        plain = plain[:start] + _slip(plain[start:end], language, random) + plain[end:]
    return plain


def paraphrased(text: str, language: str, random: random_.Random, vocabulary: Vocabulary) -> str:
    """``text`` with its structure translated; "" where nothing could be changed.

    >>> import random
    >>> nothing = Vocabulary.of([])
    >>> paraphrased("In what year was the old bridge built?", "en", random.Random(3), nothing)
    'i want to know in what year was the old bridge built'
    """
    stems = language_named(language)
    ways: list[Callable[[str], str]] = [
        lambda text: _telegraphic(text, stems),
        _swapped,
        lambda text: _told(text, language, random),
    ]
    random.shuffle(ways)
    formed = _other_forms(text, stems, random, vocabulary)
    text = formed or text
    return next((made for way in ways if (made := way(text)) and made != text), formed)


def _slip(word: str, language: str, random: random_.Random) -> str:
    at = random.randrange(1, len(word) - 1)
    slips = [
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + _neighbour(word[at], language, random) + word[at + 1 :],
    ]
    return random.choice([slip for slip in slips if slip != word] or [word])


def _neighbour(letter: str, language: str, random: random_.Random) -> str:
    for row in _ROWS.get(language, _ROWS["en"]):
        if (at := row.find(letter)) >= 0:
            return random.choice(row[max(0, at - 1) : at] + row[at + 1 : at + 2])
    return letter


def _unaccented(text: str) -> str:
    """Without accents, but with ñ: it is a letter of its own, and has its own key."""
    return "".join(char if char in "ñÑ" or not char.isalpha() else _bare(char) for char in text)


def _bare(letter: str) -> str:
    bare = fold(letter)
    return bare.upper() if letter.isupper() else bare


def _telegraphic(text: str, language: Language) -> str:
    """The words that carry meaning, as typed into a search box."""
    kept = [word.lower() for _, _, word in spans(text) if not is_stop_word(word, language)]
    return " ".join(kept) if len(kept) >= 3 else ""


def _swapped(text: str) -> str:
    """The part before the comma or colon behind what follows it."""
    found = re.fullmatch(r"([^,:?]{8,}?)[,:]\s+([^,:]{8,}?)(\?*)", text)
    if not found:
        return ""
    first, second = found[1].strip("¿"), found[2].strip("¿? ")
    mark = "¿" if "¿" in text else ""
    return f"{mark}{second[:1].upper()}{second[1:]}, {first}{found[3]}"


def _told(text: str, language: str, random: random_.Random) -> str:
    """A direct question as an indirect one."""
    wording = WORDINGS.get(language)
    if wording is None or not text.endswith("?"):
        return ""
    return random.choice(wording.tell).format(text.strip("¿?").lower())


def _other_forms(text: str, language: Language, random: random_.Random, vocabulary: Vocabulary) -> str:
    """Up to two words in other forms that the collection uses; "" where it uses none."""
    places = []
    for start, end, word in spans(text):
        joined = text[start - 1 : start] in _JOINTS or text[end : end + 1] in _JOINTS
        counted = _COUNTED.search(text, 0, start)
        if (
            end - start >= _LEAST
            and word.islower()
            and not (joined or counted or is_stop_word(word, language))
        ):
            others = vocabulary.others(word, keys(word, language)[0])
            safe = [other for other in others if _inflected(word, other, language)]
            if safe:
                places.append((start, end, safe[:2]))
    if not places:
        return ""
    for start, end, others in sorted(random.sample(places, min(2, len(places))), reverse=True):
        text = text[:start] + random.choice(others) + text[end:]
    return text


def _inflected(word: str, other: str, language: Language) -> bool:
    """Whether two words differ in number or gender only, as far as their endings tell."""
    wording = WORDINGS.get(language)
    if wording is None:
        return False
    shorter = min(len(word), len(other))
    alike = next((n for n in range(shorter) if word[n] != other[n]), shorter)
    return any(
        frozenset((word[at:], other[at:])) in wording.endings for at in (alike, alike - 1) if at >= _LEAST - 2
    )
