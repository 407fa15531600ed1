"""Where the sentences of a Markdown text stand: what may be quoted, and where a passage may end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rag.words import spans

MAX_SENTENCE = 600
"""Characters of one quotation; a longer sentence is quoted from its beginning, to a word's end."""

# A sentence ends at . ! ? … and what closes it, before white space and a beginning; or at a line that ends
# a Markdown block. Not after an initial or a common abbreviation.
_END = re.compile(
    r"[.!?…]++[\"'»”’)\]*_]*+(?=\s+[\"'¿¡«“‘(\[*_`]*[^\W_a-z])|\n\s*\n|\n(?=\s*(?:[-*+|>#]|\d+[.)]|```))"
)
_ABBREVIATION = re.compile(
    r"(?:\b[^\W\d_]|\b(?:Mr|Mrs|Ms|Dr|Dra|Sr|Sra|Srta|Prof|St|vs|etc|Fig|fig|No|núm|art|Art|pág|págs|p\.ej|e\.g|i\.e|cf))\.$"
)
_MARKUP = re.compile(r"\s*(?:(?:[-*+>]|\d+[.)])\s+)*")


def split_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence or line of a Markdown text, list marks and outer space left out.

    >>> text = "El Sr. Gil llegó. ¿A qué hora? A las 3.5 horas.\\n\\n- Uno, o dos."
    >>> [text[start:end] for start, end in split_sentences(text)]
    ['El Sr. Gil llegó.', '¿A qué hora?', 'A las 3.5 horas.', 'Uno, o dos.']
    """
    begin = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        if end < len(text) and _ABBREVIATION.search(text, max(begin, end - 8), end):
            continue
        start = _after_markup(text, begin, end)
        begin = end
        piece = text[start:end].rstrip()
        if len(piece) > MAX_SENTENCE:
            piece = piece[: max((stop for _, stop, _ in spans(piece[:MAX_SENTENCE])), default=MAX_SENTENCE)]
        if piece:
            yield start, start + len(piece)


def _after_markup(text: str, begin: int, end: int) -> int:
    marks = _MARKUP.match(text, begin, end)
    return marks.end() if marks else begin
