"""Where a piece of prose may be cut: after sentences, in Spanish and English; else between words."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["line_starts", "sentence_starts", "word_starts"]

_END = re.compile(r"(?:[.!?…]+[\"'”’»)\]*_]*\s+|[。！？]+[」』”]*\s*)")
_WORD_BEFORE = re.compile(r"[^\s(\[«“\"'¿¡]+\Z")
_ABBREVIATED = """
    sr sra sres sras srta srtas dr dra dres dña prof profa ing lic arq gral tte cap excmo excma ilmo ilma
    mons art arts núm núms nº num pág págs pag pags vol vols caps fig figs ap apdo párr párrs inc lit ss sigs
    cf cfr ej pp etc aprox máx mín tel tfno av avda ctra izq dcha admón dpto depto cía hnos sta sto
    ee.uu aa.vv rr.dd ff.aa cc.aa r.d l.o vid op cit ed eds coord trad rev col s.a s.l a.c d.c
    mr mrs ms messrs hon gen sgt capt lt gov sen rep st mt jr ltd corp co bros dept univ nos sec ch eq eqs
    ref refs vs viz al e.g i.e approx est ca u.s u.k jan feb apr jun jul aug sep sept oct nov dec
"""  # Spanish, then English
_ABBREVIATIONS = frozenset(_ABBREVIATED.split())


def sentence_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where each sentence of ``text[start:end]`` after the first one starts.

    A full stop ends no sentence after an abbreviation or an initial, nor before a small letter.

    >>> text = "El art. 5 rige. ¿Y el Sr. Gil? Vale 3.14 e.g. aquí."
    >>> [text[i:i+5] for i in sentence_starts(text, 0, len(text))]
    ['¿Y el', 'Vale ']
    """
    for match in _END.finditer(text, start, end):
        at = match.end()
        if at >= end or text[at].islower():
            continue
        if match[0][0] == "." and "\n\n" not in match[0]:
            before = _WORD_BEFORE.search(text, max(start, match.start() - 20), match.start())
            word = before[0] if before else ""
            if word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isalpha()):
                continue
        yield at


def line_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where each line of ``text[start:end]`` after the first one starts."""
    at = text.find("\n", start, end)
    while at >= 0:
        if at + 1 < end:
            yield at + 1
        at = text.find("\n", at + 1, end)


_SPACE = re.compile(r"\s+")


def word_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where each word of ``text[start:end]`` after the first one starts."""
    for match in _SPACE.finditer(text, start, end):
        if start < match.end() < end:
            yield match.end()
