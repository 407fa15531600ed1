"""What the words of a text become in the lexical index: terms, each in the language of its text.

A term carries its language with it (``es:univers``), so that texts of several languages meet in one
field: a text is scored by the stems of its own language only, summed once, and a query, whose
language is seldom known, is asked in every language that the index holds.

- A word becomes its stem, accents folded, ``ñ`` kept; and where it carries accents the stem of its
  bare form too: "logica" finds "lógica", "espana" finds "España", and "año" does not find "ano".
- An identifier or number (``HTTP_404``, ``BOE-A-2015-10565``, ``39/2015``, ``v1.2.3``, ``C++``) is
  found by its parts and, better, as a whole; ``HTTPException`` also as ``http exception``.
- Stop words are indexed, but asked for only when a query holds nothing else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import Any

__all__ = ["STEMMED", "query_words", "spelled_terms", "text_terms"]

STEMMED = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
}
"""ISO 639-1 to tantivy's Snowball stemmers. Any other language is folded and not stemmed."""

_STOPPED = ("da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pt", "ru", "sv")
"""Those for which tantivy carries stop words."""

_MAX_TERM = 64  # characters: past it a "word" is a blob of base64
_MAX_REMEMBERED = 100_000  # words whose terms are kept, about 25 MB: texts repeat their words

# A word, or words joined by single signs: identifiers, dates, versions, URLs, decimals, C++ and C#.
_SURFACE = re.compile(r"\w+(?:(?:[-./@:&]|(?<=\d),(?=\d))\w+)*(?:[+#]{1,2}(?!\w)|['’]s\b)?")
_PART = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]{2}")
_HUMP = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{2,}")
_ACCENTS = re.compile("(?<!n)\u0303|[\u0300-\u0302\u0304-\u036f]")
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i"})


def text_terms(text: str, language: str) -> str:
    """The terms of a text, in order, with spaces between them.

    ``language`` is ISO 639-1; one without a stemmer counts as unknown, "".

    >>> text_terms("Running on HTTP_404s", "en")
    'en:run en:on =http_404s en:http en:404s'
    """
    return " ".join(map(partial(_surface_terms, language if language in STEMMED else ""), _surfaces(text)))


def query_words(text: str, languages: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """What to look up for a query in indexes that hold these languages: its words, each with its terms.

    The word is bare of accents, and "" where it is an identifier or a part of one.

    The stop words of the *query's* language count against texts of all languages: otherwise "de la"
    of a Spanish question, rare in English, would rank English texts by it (measured on 5,183 English
    and 987 Spanish passages: nDCG@10 0.647 against 0.687 for the English ones). The query's language
    is the one that it holds the most stop words of, and at least two.

    >>> query_words("¿Cuál es la capital de Noruega?", ["en", "es"])
    [('capital', ('en:capit', 'es:capital')), ('noruega', ('en:noruega', 'es:norueg'))]
    >>> query_words("to be", ["en"])
    [('to', ('en:to',)), ('be', ('en:be',))]
    >>> query_words("BOE-151", ["en"])
    [('', ('=boe-151',)), ('', ('en:boe',)), ('', ('en:151',))]
    """
    exact: list[tuple[str, tuple[str, ...]]] = []
    words: dict[str, str] = {}
    for surface in _surfaces(text):
        whole, parts = _split(surface)
        if whole:
            exact.append(("", (whole,)))
        for part in parts:
            words.setdefault(part, "" if whole else _bare(part))
    stops = _stop_words(list(words))
    most = max(map(len, stops.values()))
    idle: set[str] = set()
    if most >= 2:
        idle = set().union(*(found for found in stops.values() if len(found) == most))
    useful = [word for word in words if word not in idle] or list(words)
    forms: dict[str, list[str]] = {word: [] for word in useful}
    for language in languages:
        own = stops.get(language, set())
        for word in [word for word in useful if word not in own] or useful:
            forms[word].append(_word_terms(language, word)[0])
    found = {tuple(terms): words[word] for word, terms in reversed(forms.items()) if terms}
    return list(dict.fromkeys(exact)) + [(word, terms) for terms, word in reversed(found.items())]


def spelled_terms(spellings: Sequence[str], languages: Sequence[str]) -> list[str]:
    """The terms that some spellings of one word, bare of accents, would be found by.

    >>> spelled_terms(["tigers", "tigger"], ["", "en"])
    [':tigers', ':tigger', 'en:tiger', 'en:tigger']
    """
    terms = []
    for language in languages:
        stems = _analyzer(language, "stemmer").analyze(" ".join(spellings)) if language else spellings
        terms += [f"{language}:{_fold(stem)}" for stem in stems]
    return list(dict.fromkeys(terms))


@lru_cache(maxsize=_MAX_REMEMBERED)
def _surface_terms(language: str, surface: str) -> str:
    whole, words = _split(surface)
    terms = [term for word in words for term in _word_terms(language, word)]
    return " ".join([whole, *terms] if whole else terms)


def _surfaces(text: str) -> list[str]:
    """The words as written, but for ligatures, composed accents and soft hyphens."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("\xad", "")
    return _SURFACE.findall(text)


def _split(surface: str) -> tuple[str, list[str]]:
    """(the term of the whole, "" where it is one plain word; its words).

    >>> _split("BOE-151"), _split("C++"), _split("HTTPError")
    (('=boe-151', ['boe', '151']), ('=c++', ['c']), ('', ['httperror', 'http', 'error']))
    """
    if surface.endswith(("'s", "’s")):
        surface = surface[:-2]
    words: list[str] = []
    for part in _PART.findall(surface):
        for run in _CJK.findall(part):  # no spaces between words: pairs of characters instead
            words += [run[i : i + 2] for i in range(len(run) - 1)]
        for word in _CJK.sub(" ", part).split():
            if len(word) > _MAX_TERM:
                continue
            words.append(word.lower())
            if _CAMEL.search(word):
                words += [hump.lower() for hump in _HUMP.findall(word)]
    whole = surface.lower()
    plain = whole in words or _CJK.search(whole) or len(whole) > _MAX_TERM
    return "" if plain else f"={_bare(whole)}", words


def _word_terms(language: str, word: str) -> list[str]:
    """The terms of one lower-case word, the one that a query asks for first.

    >>> _word_terms("es", "españas"), _word_terms("en", "running"), _word_terms("", "così")
    (['es:españ', 'es:espan'], ['en:run'], [':cosi'])
    """
    first = f"{language}:{_fold(_stem(language, word))}"
    if word.isascii():
        return [first]
    bare = f"{language}:{_stem(language, _bare(word))}"
    return [first] if first == bare else [first, bare]


def _fold(word: str) -> str:
    """Without accents; ñ is a letter of its own."""
    if word.isascii():
        return word
    apart = unicodedata.normalize("NFD", word.translate(_LETTERS))
    return unicodedata.normalize("NFC", _ACCENTS.sub("", apart))


def _bare(word: str) -> str:
    """Without accents, ñ as n: what is typed on a keyboard that lacks them."""
    return _fold(word).replace("ñ", "n")


def _stem(language: str, word: str) -> str:
    if not language:
        return word
    stems = _analyzer(language, "stemmer").analyze(word)
    return stems[0] if stems else word


def _stop_words(words: list[str]) -> dict[str, set[str]]:
    """For each language with a list, those of ``words`` on it, written with or without accents."""
    bare = [_fold(word) for word in words]
    text = " ".join(words + bare)
    stops = {}
    for language in _STOPPED:
        left = set(_analyzer(language, "stopword").analyze(text))
        stops[language] = {w for w, b in zip(words, bare, strict=True) if w not in left or b not in left}
    return stops


@cache
def _analyzer(language: str, kind: str) -> Any:
    import tantivy

    step = getattr(tantivy.Filter, kind)(STEMMED[language])
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).filter(step).build()
