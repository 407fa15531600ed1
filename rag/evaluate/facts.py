"""What of a sentence a paraphrase has to keep: its numbers, names, months, negations and directions.

Spanish and English; in other languages numbers and abbreviations alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from rag.words import Language, fold, is_stop_word, keys, spans

SCOPE = 3
"""Words that carry meaning behind a negation that it negates; a clause's end ends it sooner."""

_DIGITS = re.compile(r"(?<![^\W\d_])(?<![\d.,])\d+(?:[.,'’\u00a0\u202f]\d{3})*(?:[.,]\d+)?")
_ROMAN = re.compile(r"X{0,3}(?:IX|IV|V?I{0,3})\Z")
_FULL_HOUR = re.compile(r"(?<=\d):00\b")
_AFTERNOON = re.compile(r"\s*p\.?\s?m\b", re.IGNORECASE)
_TOKEN = re.compile(rf"(?P<digits>{_DIGITS.pattern})|(?P<word>[^\W\d_]+)")


def _counting(units: str, tens: str, more: Mapping[str, int]) -> dict[str, int]:
    named = {word: value for value, word in enumerate(units.split(), 1)}
    named |= {word: 10 * value for value, word in enumerate(tens.split(), 2)}
    return named | dict(more)


_WORDS: Mapping[str, Mapping[str, int]] = {
    "en": _counting(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen",
        "twenty thirty forty fifty sixty seventy eighty ninety",
        {"dozen": 12},
    ),
    "es": _counting(
        "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis "
        "diecisiete dieciocho diecinueve",
        "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
        {"un": 1, "una": 1, "veintiuno": 21, "veintiun": 21, "veintiuna": 21, "veintidos": 22}
        | {"veintitres": 23, "veinticuatro": 24, "veinticinco": 25, "veintiseis": 26, "veintisiete": 27}
        | {"veintiocho": 28, "veintinueve": 29, "cien": 100, "ciento": 100, "doscientos": 200}
        | {"doscientas": 200, "trescientos": 300, "trescientas": 300, "cuatrocientos": 400}
        | {"cuatrocientas": 400, "quinientos": 500, "quinientas": 500, "seiscientos": 600}
        | {"seiscientas": 600, "setecientos": 700, "setecientas": 700, "ochocientos": 800}
        | {"ochocientas": 800, "novecientos": 900, "novecientas": 900, "docena": 12},
    ),
}
_SCALES: Mapping[str, Mapping[str, int]] = {
    "en": {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    "es": {"mil": 1000, "millon": 10**6, "millones": 10**6, "billon": 10**12, "billones": 10**12},
}
_MONTHS = {
    word: month
    for months in (
        "january february march april may june july august september october november december",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    )
    for month, word in enumerate(months.split(), 1)
}
_CAPITAL_MONTHS = {"march", "may", "august"}  # in small letters they are other words
_NEGATING = {
    "en": "not no never none nobody nothing neither nor without cannot non",
    "es": "no nunca jamas ni sin ningun ninguno ninguna nadie nada tampoco",
}
_NEGATORS = {language: frozenset(words.split()) for language, words in _NEGATING.items()}
_CONTRACTED = re.compile(r"n[’']t\b", re.IGNORECASE)
_NOT_ONLY = re.compile(r"\b(?:not|no)\s+(?:only|solo|sólo|solamente|obstante|doubt)\b|\bNo\.\s*(?=\d)", re.I)
_CLAUSE = re.compile(r"[,.](?=[\s”»’)])|[;:!?()—]|\b(?:but|pero|sino)\b", re.IGNORECASE)

_OPPOSITES = """
    more greater mas mayor mayores | less fewer menos menor menores
    before antes prior | after despues tras later
    increase increases increased increasing rise rises rose grow grew aumenta aumentan aumento aumentar
        aumentado crece crecio sube subio | decrease decreases decreased decreasing fall falls fell decline
        declined reduce reduced reduces disminuye disminuyen disminuyo disminuir disminuido baja bajo cae
        cayo reduce redujo
    above encima over | below under debajo
    minimum least minimo minima | maximum most maximo maxima
    higher highest superior | lower lowest inferior
    open opens opened opening abre abren abierto abierta abrio | close closes closed closing cierra cierran
        cerrado cerrada cerro
    allowed permitted permitido permitida permite | forbidden prohibited banned prohibido prohibida prohibe
    include includes included including incluye incluyen incluido incluida | exclude excludes excluded
        excluding excluye excluyen excluido excluida
    north northern norte | south southern sur
    east eastern este oriental | west western oeste occidental
    win wins won gana gano ganaron | lose loses lost pierde perdio perdieron
    earliest first primero primera | last latest ultimo ultima
    optional opcional voluntary voluntario | mandatory compulsory obligatorio obligatoria
    free gratis gratuito gratuita | paid pago
    begin begins began start starts started empieza empezo comienza comenzo | end ends ended finish finished
        termina termino acaba acabo
"""
_STANDS: dict[str, tuple[int, int]] = {
    word: (axis, side)
    for axis, line in enumerate(re.split(r"\n(?! {8})", _OPPOSITES.strip()))
    for side, words in enumerate(line.split("|"))
    for word in words.split()
}
_AMBIGUOUS = {"es": frozenset({"este", "bajo"}), "en": frozenset({"mas", "over", "most", "under"})}
"""Words that are seldom the direction that they could be: *este* (this), *bajo* (under)."""


class Number(NamedTuple):
    """A number as written, and what it may mean: 1.200 is twelve hundred, or one and a fifth."""

    written: str
    readings: frozenset[float]
    start: int = 0
    end: int = 0


class Name(NamedTuple):
    """A name as written, and what it is compared by."""

    written: str
    keys: tuple[str, ...]
    start: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """``affirmed`` and ``negated`` are the keys of the words that carry meaning, by what stands before them;
    ``negates`` is whether anything is negated. ``sides`` are directions: 3 is an axis, 0 and 1 its ends."""

    numbers: tuple[Number, ...]
    months: frozenset[int]
    names: tuple[Name, ...]
    affirmed: frozenset[str]
    negated: frozenset[str]
    negates: bool
    sides: frozenset[tuple[int, int]]


def facts(text: str, *, language: Language) -> Facts:
    """What a paraphrase of ``text`` has to keep.

    >>> seen = facts("In March the fee did not exceed 1,200 euros in New York.", language="en")
    >>> [one.written for one in seen.numbers], [one.written for one in seen.names], seen.months
    (['1,200'], ['New', 'York'], frozenset({3}))
    >>> sorted(seen.negated)
    ['euro', 'exceed', 'new']
    """
    affirmed, negated, negates = _polarity(text, language)
    words = [word for _, _, word in spans(text)]
    return Facts(
        numbers=tuple(_numbers(text, language)),
        months=frozenset(
            _MONTHS[folded]
            for word in words
            if (folded := fold(word)) in _MONTHS and (word[0].isupper() or folded not in _CAPITAL_MONTHS)
        ),
        names=tuple(_names(text, language)),
        affirmed=affirmed,
        negated=negated,
        negates=negates,
        sides=frozenset(
            _STANDS[folded]
            for word in words
            if (folded := fold(word)) in _STANDS and folded not in _AMBIGUOUS.get(language, ())
        ),
    )


# --- numbers -------------------------------------------------------------------------------------


def _numbers(text: str, language: Language) -> Iterator[Number]:
    """Numbers in digits, in words and, from II to XXXIX, in Roman numerals. A lone *one* is a pronoun."""
    text = _FULL_HOUR.sub("   ", text)
    run: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text):
        joins = not run or re.fullmatch(r"[\s-]+(?:(?:y|and)\s+)?", text[run[-1].end() : token.start()])
        if token["word"] and fold(token["word"]) in ("y", "and"):
            continue
        kind = _kind(token, language)
        if run and (not joins or kind not in ("word", "scale") or (kind == "word" and run[-1]["digits"])):
            yield from _number(text, run, language)
            run = []
        if kind == "roman":
            yield Number(token.group(), frozenset([float(_roman(token.group()))]), *token.span())
        elif kind and (run or kind != "scale" or language == "es"):
            run.append(token)
    yield from _number(text, run, language)


def _kind(token: re.Match[str], language: Language) -> str:
    if token["digits"]:
        return "digits"
    word = fold(token["word"])
    if any(word in _WORDS[each] for each in _spoken(language)):
        return "word"
    if any(word in _SCALES[each] for each in _spoken(language)):
        return "scale"
    return "roman" if len(word) > 1 and _ROMAN.match(token["word"]) else ""


def _spoken(language: Language) -> tuple[str, ...]:
    return (language,) if language else ()


def _number(text: str, run: list[re.Match[str]], language: Language) -> Iterator[Number]:
    if not run:
        return
    written = text[run[0].start() : run[-1].end()]
    totals = [(0.0, reading) for reading in _readings(run[0]["digits"])] if run[0]["digits"] else [(0.0, 0.0)]
    for token in run[1:] if run[0]["digits"] else run:
        word = fold(token["word"])
        scale = next((_SCALES[each][word] for each in _spoken(language) if word in _SCALES[each]), 0)
        value = next((_WORDS[each][word] for each in _spoken(language) if word in _WORDS[each]), 0)
        if scale == 100:
            totals = [(total, max(current, 1) * 100) for total, current in totals]
        elif scale > 1000 and language == "es":  # dos mil millones: the thousand counts the millions
            totals = [(max(total + current, 1) * scale, 0.0) for total, current in totals]
        elif scale:
            totals = [(total + max(current, 1) * scale, 0.0) for total, current in totals]
        else:
            totals = [(total, current + value) for total, current in totals]
    readings = frozenset(total + current for total, current in totals)
    if _AFTERNOON.match(text, run[-1].end()):
        readings |= {reading + 12 for reading in readings if reading < 12}
    if run[0]["digits"] or readings != {1.0}:
        yield Number(written, readings, run[0].start(), run[-1].end())


def _readings(digits: str) -> list[float]:
    plain = re.sub("['’\u00a0\u202f]", "", digits)
    parts = re.split("[.,]", plain)
    marks = re.findall("[.,]", plain)
    if not marks:
        return [float(plain)]
    whole = float("".join(parts))
    decimal = float("".join(parts[:-1]) + "." + parts[-1])
    if len(marks) > 1:
        return [decimal] if marks[-1] != marks[0] else [whole]
    return [whole, decimal] if len(parts[1]) == 3 and parts[0].lstrip("0") else [decimal]


def _roman(text: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in text]
    signed = [-one if one < after else one for one, after in pairwise([*values, 0])]
    return sum(signed)


# --- names, negation -----------------------------------------------------------------------------


def _names(text: str, language: Language) -> Iterator[Name]:
    """Words with a capital inside the sentence, or at its beginning before another one; and what is written
    in capitals, or with digits in it. In other languages than ours capitals say nothing of names."""
    words = list(spans(text))
    begins = True
    for place, (start, end, word) in enumerate(words):
        before = text[words[place - 1][1] : start] if place else ""
        begins = not place or bool(re.search(r"[.!?:\n]", before))
        after = words[place + 1][2] if place + 1 < len(words) else ""
        touching = after and text[end : words[place + 1][0]] == " "
        mixed = any(letter.isdigit() for letter in word) and word[0].isalpha()
        capitals = len(word) > 1 and word.isupper() and not _ROMAN.match(word)
        capital = word[0].isupper() and len(word) > 1 and not is_stop_word(word, language)
        if fold(word) in _MONTHS:
            continue
        if mixed or capitals or (language and capital and (not begins or (touching and after[0].isupper()))):
            yield Name(word, keys(word, language), start)


def _polarity(text: str, language: Language) -> tuple[frozenset[str], frozenset[str], bool]:
    """The keys of the words that are affirmed, of those negated, and whether anything is."""
    plain = _NOT_ONLY.sub(lambda match: " " * len(match.group()), text)
    plain = _CONTRACTED.sub(lambda match: "n" + " " * (len(match.group()) - 1), plain)
    contracted = {match.start() for match in _CONTRACTED.finditer(text)}
    negators = frozenset().union(*(_NEGATORS[each] for each in _spoken(language)))
    affirmed: set[str] = set()
    negated: set[str] = set()
    left, last, negates = 0, 0, False
    for start, end, word in spans(plain):
        if _CLAUSE.search(plain, last, start):
            left = 0
        last = end
        if fold(word) in negators or any(start < at < end for at in contracted):
            left, negates = SCOPE, True
            continue
        if _CLAUSE.fullmatch(word):
            left = 0
        if is_stop_word(word, language) or word[0].isdigit():
            continue
        (negated if left else affirmed).add(keys(word, language)[0])
        left = max(0, left - 1)
    return frozenset(affirmed), frozenset(negated), negates
