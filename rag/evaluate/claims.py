"""What an answer claims, sentence by sentence, and which passages each claim cites."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rag.citations import cited_numbers
from rag.extract import NOT_FOUND, says_nothing
from rag.sentences import split_sentences
from rag.words import fold, is_stop_word, spans

FEWEST_WORDS = 2
"""Words that carry meaning: with fewer, a sentence (a greeting, "As follows:") claims nothing."""

_GROUP = r"\[\s*\d{1,4}(?:\s*[-–,;]\s*\d{1,4})*\s*\](?!\()"
_CITATIONS = re.compile(rf"(?:{_GROUP}[\s,;]*)+")
_LEADING = re.compile(rf"[\s*_]*(?P<citations>(?:{_GROUP}[\s,;.]*)+)")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_MARKS = " \t\r\n*_`\"'“”«»‘’"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of an answer, or the part of one that has citations of its own. ``text`` is without them;
    ``cited`` are the numbers it cites, each once; it stands at ``answer[start:end]``."""

    text: str
    start: int
    end: int
    cited: tuple[int, ...] = ()


def claims(answer: str, *, not_found: Sequence[str] = ()) -> list[Claim]:
    """The claims of an answer, in its order.

    Headings, code, questions, sentences of fewer than :data:`FEWEST_WORDS` words that carry meaning, and the
    admission that nothing was found (``not_found`` has the prompt's own words for it) are none. Citations
    behind a sentence's full stop are that sentence's, unless it has its own.

    >>> [(one.text, one.cited) for one in claims("The shop opens at nine [1] and closes at eight [2, 3].")]
    [('The shop opens at nine', (1,)), ('and closes at eight.', (2, 3))]
    >>> [(one.text, one.cited) for one in claims("Here it is. The shop opens at nine. [1] Anything else?")]
    [('The shop opens at nine.', (1,))]
    """
    admissions = (*not_found, *NOT_FOUND.values())
    return [
        claim
        for claim in _sentences(_CODE.sub(lambda code: "\n" * len(code.group()), answer))
        if not claim.text.startswith(("#", "¿"))
        and not claim.text.endswith("?")
        and _carrying(claim.text) >= FEWEST_WORDS
        and not says_nothing(claim.text, admissions)
    ]


def _sentences(answer: str) -> Iterator[Claim]:
    """All sentences, parted where citations stand inside them; those behind the full stop are given back."""
    last: Claim | None = None
    for start, end in split_sentences(answer):
        leading = _LEADING.match(answer, start, end)
        if leading and last is not None and (not last.cited or leading.end() == end):
            numbers = (*last.cited, *cited_numbers(leading["citations"]))
            last = Claim(last.text, last.start, leading.end(), tuple(dict.fromkeys(numbers)))
            start = leading.end()
        for part in _parted(answer, start, end):
            if last is not None:
                yield last
            last = part
    if last is not None:
        yield last


def _parted(answer: str, start: int, end: int) -> Iterator[Claim]:
    """One claim for each stretch that ends in citations, where both sides of them say something."""
    begin = start
    numbers: list[int] = []
    for group in _CITATIONS.finditer(answer, start, end):
        numbers += cited_numbers(group.group())
        if _carrying(answer[begin : group.start()]) < FEWEST_WORDS:
            continue
        if _carrying(answer[group.end() : end]) < FEWEST_WORDS:
            continue
        yield _claim(answer, begin, group.end(), numbers)
        begin, numbers = group.end(), []
    if answer[begin:end].strip():
        yield _claim(answer, begin, end, numbers)


def _claim(answer: str, start: int, end: int, numbers: Sequence[int]) -> Claim:
    plain = " ".join(_CITATIONS.sub(" ", answer[start:end]).split()).strip(_MARKS)
    plain = re.sub(r"\s+([.,;:!?])", r"\1", plain)
    return Claim(plain, start, end, tuple(dict.fromkeys(numbers)))


def _carrying(text: str) -> int:
    """How many different words carry meaning; numbers do."""
    plain = _CITATIONS.sub(" ", text)
    return len({fold(word) for _, _, word in spans(plain) if not is_stop_word(word, "")})
