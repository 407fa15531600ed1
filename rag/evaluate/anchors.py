"""Where judged words stand today: intact, moved or lost, whatever became of their document.

A judgement quotes its document. After an edit the quotation is looked for again: as it is, then as it reads
where only its writing changed (see :mod:`rag.evaluate.plainly`), and for a document that is gone in the
others. Where it stands in several places its surroundings tell them apart. Nothing is guessed: words that
changed are lost, and a person is shown what reads most alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from rag.errors import EvaluationError
from rag.evaluate.evidence import Gold, Span
from rag.evaluate.judged import JudgedSet
from rag.evaluate.judgements import Judgement, quoted, withdrawn
from rag.evaluate.quotations import Names, Shelf, Text

Status: TypeAlias = Literal["intact", "moved", "lost"]


@dataclass(frozen=True, slots=True)
class Located:
    """What became of a judgement.

    ``now`` is the judgement as it has to be today: itself where it is intact, anchored anew where it moved,
    None where it is lost. ``span`` are the quoted words, with the whole id of their document, None for a
    judgement of a whole one. ``why`` it is not intact, for people; of a lost one ``alike`` is what reads most
    like it in the document as it is now, and ``likeness`` how much (0 to 1, word by word).
    """

    judgement: Judgement
    status: Status
    now: Judgement | None = None
    span: Span | None = None
    why: str = ""
    alike: str = ""
    likeness: float = 0.0


def locate(judgement: Judgement, text: str) -> Located:
    """A judgement in its document's text as it is now.

    *intact*: the same words stand where they stood. *moved*: they stand elsewhere, or only their white
    space, capitals, typographic quotes and dashes or Markdown emphasis changed. A short quotation whose
    surroundings are known has to have some of them around it still: a figure stands in many places.

    >>> one = quoted("q", "d", "We open at nine.", 8, 15)
    >>> locate(one, "Hello! We open at **nine**.").status, locate(one, "We open at ten.").status
    ('moved', 'lost')
    >>> locate(one, "Hello! We open at nine.").span
    Span(document_id='d', start=15, end=22)
    """
    return _in_document(judgement, judgement.document_id, Text(text))


def locate_all(judgements: Iterable[Judgement], texts: Mapping[str, str]) -> list[Located]:
    """Each of them in ``texts``, by document id; a document may be named by the end of its id.

    A document that is gone is looked for by what was quoted from it: where the others have it, all of its
    judgements moved there.

    >>> one = quoted("q", "old.md", "We open at nine on Mondays.", 0, 27)
    >>> [told] = locate_all([one], {"new.md": "We open at nine on Mondays. Come in!"})
    >>> told.status, told.span, told.why
    ('moved', Span(document_id='new.md', start=0, end=27), "'old.md' is gone, and 'new.md' has it")
    """
    said, shelf, names = list(judgements), Shelf(texts), Names(texts)
    ids = {name: names.of(name) for name in dict.fromkeys(each.document_id for each in said)}
    gone: dict[str, list[Judgement]] = {}
    for each in said:
        if not ids[each.document_id]:
            gone.setdefault(each.document_id, []).append(each)
    followed = {name: _successor(those, shelf) for name, those in gone.items()}
    found = []
    for each in said:
        among = ids[each.document_id]
        if len(among) == 1:
            found.append(_in_document(each, among[0], shelf[among[0]]))
        elif among:
            there = ", ".join(among[:3])
            found.append(Located(each, "lost", why=f"{each.document_id!r} may be any of {there}"))
        else:
            found.append(_elsewhere(each, followed[each.document_id], shelf))
    return found


def gold(judged: JudgedSet, texts: Mapping[str, str]) -> Gold:
    """The spans of the words quoted from relevant documents as they stand in ``texts``, by question.

    What is lost is left out (:func:`locate_all` tells which). Raises EvaluationError where nothing of what
    was quoted is there.
    """
    wanted = [
        each
        for each in judged.judgements
        if each.quotation and each.grade > 0 and judged.qrels[each.query_id][each.document_id] > 0
    ]
    spans: dict[str, dict[Span, None]] = {}
    for one in locate_all(wanted, texts):
        if one.span is not None:
            spans.setdefault(one.judgement.query_id, {})[one.span] = None
    if wanted and not spans:
        raise EvaluationError(
            f"{judged.name}: none of its {len(wanted)} quotations stands in these documents, such as "
            f"{wanted[0].quotation[:60]!r} of {wanted[0].document_id!r}; do they belong together?"
        )
    return MappingProxyType({query: tuple(found) for query, found in spans.items()})


def anchored(judgements: Iterable[Judgement], texts: Mapping[str, str]) -> list[Judgement]:
    """The same, with the place and the surroundings of the quotations that came without: with them they are
    found again where the same words stand twice. Others, and those not found, stay as they are.

    >>> [one] = anchored([Judgement("q", "d", quotation="nine")], {"d": "We open at nine."})
    >>> one.start, one.before
    (11, 'We open at ')
    """
    said = list(judgements)
    bare = [each for each in said if each.quotation and not (each.before or each.after)]
    found = {one.judgement: one for one in locate_all(bare, texts)}
    made = []
    for each in said:
        one = found.get(each)
        there = one.span if one is not None else None
        if there is not None and there.document_id in Names([there.document_id]).of(each.document_id):
            made.append(_anchored(each, each.document_id, texts[there.document_id], there))
        else:
            made.append(each)
    return made


def mended(located: Iterable[Located]) -> list[Judgement]:
    """What to add to what was judged, so that those that moved stand where they stand now: each of them, and
    before it one that withdraws what was said of the old place.

    >>> from rag.evaluate.judgements import last_words
    >>> one = quoted("q", "d", "We open at nine.", 8, 15, grade=2)
    >>> [each.start for each in last_words([one, *mended([locate(one, "So: We open at nine.")])])]
    [12]
    """
    added = []
    for each in located:
        if each.status == "moved" and each.now is not None:
            added += [withdrawn(each.judgement), each.now]
    return added


def resolved(
    judged: JudgedSet, ids: Collection[str], *, tell: Callable[[int, str], None] = lambda *_: None
) -> JudgedSet:
    """The set with whole ids where its judgements name documents by the end of theirs; ``ids`` are those of
    the collection that is asked.

    Documents that are not among them stay as they are named: nobody can find them, which counts. ``tell``
    hears how many those are, and one of them. Raises EvaluationError for a name that several ids end with,
    and where none is there.
    """
    names = Names(ids)
    whole: dict[str, str] = {}
    missing: list[str] = []
    for name in dict.fromkeys(each.document_id for each in judged.judgements):
        among = names.of(name)
        if len(among) > 1:
            there = ", ".join(among[:5])
            raise EvaluationError(f"{judged.name}: {name!r} may be any of {there}; give more of its path")
        if not among:
            missing.append(name)
        whole[name] = among[0] if among else name
    if missing and len(missing) == len(whole):
        raise EvaluationError(
            f"{judged.name}: none of its {len(whole)} judged documents, such as {missing[0]!r}, is in the "
            "collection; ingest them, or name another one"
        )
    if missing:
        tell(len(missing), missing[0])
    return JudgedSet.of(
        judged.name,
        judged.questions,
        [replace(each, document_id=whole[each.document_id]) for each in judged.judgements],
        unanswerable=judged.unanswerable,
        corpus=judged.corpus,
        source=judged.source,
    )


# --- one judgement ------------------------------------------------------------------------------


def _in_document(judgement: Judgement, id: str, text: Text) -> Located:
    """In the document that it names."""
    if not judgement.quotation:
        return Located(judgement, "intact", judgement)
    place = text.find(judgement)
    if place is None:
        alike, likeness = text.alike(judgement.quotation)
        return Located(
            judgement, "lost", why="its words are not there any more", alike=alike, likeness=likeness
        )
    span = Span(id, *place)
    words = text.text[span.start : span.end]
    if words == judgement.quotation and judgement.start in (span.start, -1):
        return Located(judgement, "intact", judgement, span)
    why = "it stands elsewhere" if words == judgement.quotation else "it is written otherwise"
    now = _anchored(judgement, judgement.document_id, text.text, span)
    return Located(judgement, "moved", now, span, why)


def _elsewhere(judgement: Judgement, successor: str, shelf: Shelf) -> Located:
    """Of a document that is gone: in the one that has what it said, if there is one."""
    name = judgement.document_id
    why = f"{name!r} is gone"
    if not judgement.quotation:
        if not successor:
            return Located(judgement, "lost", why=why)
        now = replace(judgement, document_id=successor)
        return Located(judgement, "moved", now, why=f"{why}, and {successor!r} has what was quoted from it")
    holding = shelf.holding(judgement)
    if successor and (not holding or successor in holding):
        holding = [successor]
    if len(holding) > 1:
        why += f"; the words stand in {len(holding)} others, such as {holding[0]!r} and {holding[1]!r}"
    if len(holding) == 1 and (place := shelf[holding[0]].find(judgement)) is not None:
        span = Span(holding[0], *place)
        now = _anchored(judgement, span.document_id, shelf[span.document_id].text, span)
        return Located(judgement, "moved", now, span, f"{why}, and {span.document_id!r} has it")
    if successor:
        alike, likeness = shelf[successor].alike(judgement.quotation)
        why += f"; {successor!r} has what else was quoted from it"
        return Located(judgement, "lost", why=why, alike=alike, likeness=likeness)
    return Located(judgement, "lost", why=why)


def _successor(judgements: list[Judgement], shelf: Shelf) -> str:
    """The document that holds most of what was quoted from one that is gone; "" where none clearly does."""
    votes: dict[str, int] = {}
    for each in judgements:
        holding = shelf.holding(each) if each.quotation else []
        if len(holding) == 1:
            votes[holding[0]] = votes.get(holding[0], 0) + 1
    best = max(votes, key=lambda id: (votes[id], id), default="")
    return best if best and 2 * votes[best] > sum(votes.values()) else ""


def _anchored(judgement: Judgement, id: str, text: str, span: Span) -> Judgement:
    said = {"grade": judgement.grade, "judge": judgement.judge, "at": judgement.at, "note": judgement.note}
    return quoted(judgement.query_id, id, text, span.start, span.end, **said)
