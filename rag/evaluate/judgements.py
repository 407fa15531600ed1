"""What judges said: a grade for a document, or for words quoted from it, and by whom.

A judgement is anchored in the source: it names a document and, where there is evidence in it, quotes it. It
knows nothing of chunks, so that it outlives every cut and every embedder. Several judges may judge the same;
nothing is overwritten, and the last word of each of them counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, TypeAlias

Qrels: TypeAlias = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> grade; relevant from 1 on. What is not there was not judged."""

AROUND = 32
"""Characters before and after a quotation kept with it, to tell places that read alike apart."""
WITHDRAWN = -(2**31)
"""The grade that takes back what the same judge said of the same words, as if it had never been said."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``grade`` (0 not relevant, from 1 on relevant, more is better) of a document for a question.

    With a ``quotation`` it is of these words, which stood at ``start`` of the document's text, between
    ``before`` and ``after``; without one (``start`` -1) of the whole document. ``at`` is an ISO time.
    """

    query_id: str
    document_id: str
    grade: int = 1
    quotation: str = ""
    start: int = -1
    before: str = ""
    after: str = ""
    judge: str = ""
    at: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data, without what is empty."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value for name, value in plain.items() if value != "" and (name, value) != ("start", -1)
        }


def quoted(query_id: str, document_id: str, text: str, start: int, end: int, **more: Any) -> Judgement:
    """A judgement of ``text[start:end]``, ``text`` being the document's.

    >>> quoted("q", "d", "We open at nine.", 8, 15)
    ... # doctest: +NORMALIZE_WHITESPACE
    Judgement(query_id='q', document_id='d', grade=1, quotation='at nine', start=8, before='We open ',
        after='.', judge='', at='', note='')
    """
    before, after = text[max(0, start - AROUND) : start], text[end : end + AROUND]
    return Judgement(
        query_id, document_id, quotation=text[start:end], start=start, before=before, after=after, **more
    )


def withdrawn(judgement: Judgement) -> Judgement:
    """What takes a judgement back, to be added after it."""
    return replace(judgement, grade=WITHDRAWN)


def last_words(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Those that no later one of the same judge, on the same question and words, has replaced or withdrawn.

    >>> first, second = Judgement("q", "d", 1, judge="ana"), Judgement("q", "d", 2, judge="ana")
    >>> [each.grade for each in last_words([first, second])]
    [2]
    >>> last_words([first, withdrawn(first)])
    []
    """
    said: dict[tuple[str, str, str, str, int], Judgement] = {}
    for each in judgements:
        at = each.start if each.quotation else -1
        said[each.judge, each.query_id, each.document_id, each.quotation, at] = each
    return [each for each in said.values() if each.grade != WITHDRAWN]


def consensus(judgements: Iterable[Judgement]) -> Qrels:
    """Every document's grade: of each judge the highest, of several judges the lower median.

    >>> judges = [Judgement("q", "d", 3, judge="ana"), Judgement("q", "d", 1, judge="leo")]
    >>> dict(consensus(judges)["q"])
    {'d': 1}
    """
    graded: dict[str, dict[str, dict[str, int]]] = {}
    for each in last_words(judgements):
        by_judge = graded.setdefault(each.query_id, {}).setdefault(each.document_id, {})
        by_judge[each.judge] = max(each.grade, by_judge.get(each.judge, each.grade))
    return MappingProxyType(
        {
            query: MappingProxyType(
                {
                    document: sorted(grades.values())[(len(grades) - 1) // 2]
                    for document, grades in by_document.items()
                }
            )
            for query, by_document in graded.items()
        }
    )
