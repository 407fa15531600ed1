"""Reading the citations out of an answer: [1], [2][3], [1, 2], [1-3]."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rag.context import Context, Passage

# Code is not prose: a[1] in it indexes a list. A link's text, [1](https://…), is not a citation either.
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_CITED = re.compile(r"\[\s*(\d{1,4}(?:\s*[-–,;]\s*\d{1,4})*)\s*\](?!\()")
_PART = re.compile(r"(\d+)(?:\s*[-–]\s*(\d+))?")


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that an answer names by its number."""

    number: int
    passage: Passage


def read_citations(text: str, context: Context) -> tuple[tuple[Citation, ...], tuple[int, ...]]:
    """The passages cited, each once, in order of first mention; and the numbers that name none.

    >>> read_citations("So it is [2].", Context((), (), 0, 0, ""))
    ((), (2,))
    """
    cited: dict[int, Citation] = {}
    unknown: dict[int, None] = {}
    prose = _CODE.sub(lambda code: " " * len(code.group()), text)
    for number in cited_numbers(prose):
        passage = context.passage(number)
        if passage is None:
            unknown[number] = None
        else:
            cited.setdefault(number, Citation(number, passage))
    return tuple(cited.values()), tuple(unknown)


def cited_numbers(prose: str) -> list[int]:
    """Every number cited, in order.

    >>> cited_numbers("A [1, 3]; b[2][5-6]. See [4](https://example.org).")
    [1, 3, 2, 5, 6]
    """
    numbers: list[int] = []
    for group in _CITED.finditer(prose):
        for part in _PART.finditer(group[1]):
            first, last = int(part[1]), int(part[2] or part[1])
            # [1990-2020] is a span of years or of a text, not thirty passages
            numbers.extend(range(first, last + 1) if 0 <= last - first < 20 else (first, last))
    return numbers
