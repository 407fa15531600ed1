"""Texts as a quotation is compared with them: where only how they are written changed, they are the same.

What is levelled, and nothing else: runs of white space, capitals, typographic quotes and dashes, marks of
Markdown emphasis (``*``, ``_``, `````, at the edge of a word), and characters that are not seen (soft hyphen,
zero-width space). Each place of the levelled text leads back to its place in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

_TYPOGRAPHIC = {"'": "‘’‚‛", '"': "“”„‟«»‹›", "-": "‐‑‒–—−"}
_UNSEEN = "\u00ad\u200b\u2060\ufeff"
_MARKS = f"*_`{_UNSEEN}"
# A run of white space and of marks, but not a lone blank: nearly all white space is one.
_RUN = re.compile(rf"[\s{_MARKS}](?:(?<! )|(?=[\s{_MARKS}]))[\s{_MARKS}]*")


@dataclass(frozen=True, slots=True)
class Plain:
    """``text`` levelled, and where the places of it stand in the text that it was made of."""

    text: str
    _from: list[int] = field(repr=False)
    _shift: list[int] = field(repr=False)

    @staticmethod
    def of(text: str) -> Plain:
        """A text, levelled.

        >>> Plain.of("It’s  **very**\\nHot: 2*3").text
        "it's very hot: 2*3"
        """
        pieces: list[str] = []
        places, shifts = [0], [0]
        made = at = 0
        for run in _RUN.finditer(text):
            start, end = run.span()
            blank = run.group().strip(_MARKS)
            if not blank and _inside(text, start, end) and run.group().strip(_UNSEEN):
                continue  # 2*3, 2**3 and snake_case are not emphasised
            pieces.append(text[at:start])
            made += start - at
            at = end
            if blank:
                pieces.append(" ")
                places.append(made)
                shifts.append(start - made)
                made += 1
            places.append(made)
            shifts.append(end - made)
        pieces.append(text[at:])
        plain = "".join(pieces)
        lowered = plain.lower()
        if len(lowered) != len(plain):  # a capital that has two small letters, as the Turkish İ
            lowered = "".join(low if len(low := each.lower()) == 1 else each for each in plain)
        if not lowered.isascii():
            for plainer, written in _TYPOGRAPHIC.items():
                for each in written:
                    lowered = lowered.replace(each, plainer)
        return Plain(lowered, places, shifts)

    def place(self, at: int) -> int:
        """Where the character at ``at`` stands in the text."""
        return at + self._shift[bisect_right(self._from, at) - 1]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters from ``start`` to ``end``, which is not among them, stand in the text."""
        return self.place(start), self.place(end - 1) + 1


def _inside(text: str, start: int, end: int) -> bool:
    """Whether what stands between is inside a word."""
    return start > 0 and end < len(text) and text[start - 1].isalnum() and text[end].isalnum()
