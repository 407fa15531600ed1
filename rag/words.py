"""Words as a reader compares them: without case, accents or endings, in Spanish and in English.

What highlighting, near-duplicate detection and extractive answers share. The stemmers are
Snowball's (Porter 2001), the same that the lexical index uses, so that what is marked is what matched.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, TypeAlias, cast

Language: TypeAlias = Literal["en", "es", ""]
"""ISO 639-1; "" is any other language, or unknown: words are then compared without stemming."""

# Letters and digits with their combining marks; an underscore parts words, as in the lexical index.
_WORD = re.compile(r"(?:[^\W_]++|[\u0300-\u036f]++)++")

# Function words: articles, pronouns, prepositions, conjunctions, auxiliaries, question words. Folded.
_FUNCTION_WORDS = {
    "en": """
        a about above after again against all also am an and any are as at be because been before
        being below between both but by can could d did do does doing don down during each few for
        from further had has have having he her here hers herself him himself his how i if in into is
        it its itself ll m many may me might more most much must my myself no nor not of off on once
        only or other our ours ourselves out over own re s same shall she should so some such t than
        that the their theirs them themselves then there these they this those through to too under
        until up upon us ve very was we were what when where which while who whom whose why will with
        would you your yours yourself""",
    "es": """
        a al algo algun alguna algunas alguno algunos ante antes aquel aquella aquellas aquello
        aquellos aqui asi aun aunque cada como con contra cual cuales cualquier cuando cuanta cuantas
        cuanto cuantos de del desde donde dos durante e el ella ellas ello ellos en entre era eran
        eres es esa esas ese eso esos esta estaba estaban estado estamos estan estar estas este esto
        estos estoy fue fueron fui ha habia habian haber hace hacia han has hasta hay he hemos la las
        le les lo los mas me mi mia mias mientras mio mios mis mucha muchas mucho muchos muy nada ni
        no nos nosotras nosotros nuestra nuestras nuestro nuestros o os otra otras otro otros para
        pero poco por porque pues puede pueden que quien quienes se sea sean segun ser si sido sin
        sobre sois somos son soy su sus suya suyas suyo suyos tal tambien tampoco tan tanto te tenia
        tiene tienen toda todas todo todos tu tus tuya tuyo u un una unas uno unos usted ustedes
        vosotras vosotros vuestra vuestro y ya yo""",
}
_STOP = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}
_SNOWBALL = {"en": "english", "es": "spanish"}


def fold(word: str) -> str:
    """Without case and accents, so that what was typed in a hurry is found.

    >>> fold("Canción"), fold("AÑO"), fold("Straße")
    ('cancion', 'ano', 'strasse')
    """
    if word.isascii():
        return word.lower()
    parts = unicodedata.normalize("NFKD", word.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


_KEPT = 40
"""Letters of the longest word that is kept with its folded form."""
_kept_fold = lru_cache(maxsize=20_000)(fold)


def spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end (characters) and text of each word.

    >>> list(spans("¿HTTP_404?"))
    [(1, 5, 'HTTP'), (6, 9, '404')]
    """
    for match in _WORD.finditer(text):
        yield *match.span(), match.group()


def folded(text: str) -> list[str]:
    """Its words, folded: ``fold`` of each of :func:`spans`, several times as quick.

    >>> folded("¿Qué es HTTP_404?")
    ['que', 'es', 'http', '404']
    """
    if text.isascii():
        return _WORD.findall(text.lower())
    return [_kept_fold(word) if len(word) <= _KEPT else fold(word) for word in _WORD.findall(text)]


def language_of(text: str) -> Language:
    """Spanish or English by the function words of ``text``, "" when neither shows.

    For the wording of messages and the choice of a stemmer, where a wrong guess costs little.

    >>> language_of("¿Dónde está la biblioteca?"), language_of("Where is it?"), language_of("HTTP 404")
    ('es', 'en', '')
    """
    words = [fold(word) for _, _, word in spans(text[:4000])]
    spanish = sum(word in _STOP["es"] for word in words) + sum(text[:4000].count(mark) for mark in "¿¡ñ")
    english = sum(word in _STOP["en"] for word in words)
    if spanish == english:
        return ""
    return "es" if spanish > english else "en"


def language_named(name: object) -> Language:
    """A document's ``language`` metadata (``es``, ``en-GB``) as one of ours; "" for all else.

    >>> language_named("en-GB"), language_named("de"), language_named(None)
    ('en', '', '')
    """
    code = str(name or "").lower().replace("_", "-").split("-")[0]
    return cast(Language, code) if code in _STOP else ""


def is_stop_word(word: str, language: Language) -> bool:
    """A function word of ``language``; of either language where it is unknown."""
    folded = fold(word)
    return folded in _STOP[language] if language else any(folded in words for words in _STOP.values())


@lru_cache(maxsize=8)
def _stemmer(language: str) -> Callable[[str], list[str]]:
    import tantivy

    raw = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    return cast(
        "Callable[[str], list[str]]",
        raw.filter(tantivy.Filter.stemmer(_SNOWBALL[language])).build().analyze,
    )


@lru_cache(maxsize=50_000)
def keys(word: str, language: Language) -> tuple[str, ...]:
    """What ``word`` is compared by: two words are the same when they share a key.

    Stemmed as written and as typed without accents, for the stemmer knows the endings by their accents.

    >>> keys("organización", "es"), keys("Organizaciones", "es")
    (('organiz',), ('organiz',))
    >>> keys("running", "en") == keys("runs", "en")
    True
    """
    lowered, folded = word.lower(), fold(word)
    if not language:
        return (folded,)
    stem = _stemmer(language)
    stems = [fold(part) for form in dict.fromkeys((lowered, folded)) for part in stem(form)]
    return tuple(dict.fromkeys(stems or [folded]))


class Terms:
    """The words of a question that carry meaning, ready to be found in texts of one language.

    Stop words of the question's own language are left out, unless nothing else is there.

    >>> terms = Terms("¿Dónde están las bibliotecas?", language="es")
    >>> terms.words
    ('bibliotecas',)
    >>> terms.find("La Biblioteca cierra.")
    [(3, 13, 0)]
    """

    def __init__(self, question: str, *, language: Language) -> None:
        asked = [word for _, _, word in spans(unicodedata.normalize("NFC", question))]
        own = language_of(question)
        carrying = [word for word in asked if not is_stop_word(word, own)] or asked
        self._language: Language = language
        self._by_key: dict[str, int] = {}
        words: list[str] = []
        for word in carrying:
            found = keys(word, language)
            if not any(key in self._by_key for key in found):
                words.append(word)
                self._by_key.update(dict.fromkeys(found, len(words) - 1))
        self.words = tuple(words)
        """The distinct words, as asked."""

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """Start, end and the index in ``words`` of every word of ``text`` that was asked for."""
        found = []
        for start, end, word in spans(text):
            for key in keys(word, self._language):
                if key in self._by_key:
                    found.append((start, end, self._by_key[key]))
                    break
        return found

    def held(self, text: str) -> int:
        """How many of ``words`` the text holds.

        >>> Terms("opening hours of libraries", language="en").held("The library is open. Libraries close.")
        2
        """
        return len(
            {
                self._by_key[key]
                for word in set(_WORD.findall(text))
                for key in keys(word, self._language)
                if key in self._by_key
            }
        )
