"""Whether a question may stay: its evidence is found, and no other document answers it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rag.evaluate.judgements import Judgement
from rag.evaluate.synthetic.facts import named
from rag.evaluate.synthetic.reading import Reading, Vocabulary, content, plain
from rag.evaluate.synthetic.values import Draft
from rag.sentences import split_sentences
from rag.shingles import Shingles
from rag.types import Chunk, Hit
from rag.words import Language, keys, spans

Search = Callable[[str], Sequence[Sequence[Hit]]]
"""A question in, the chunks that each of several systems finds, best first."""

HOLDS = 0.9
"""A passage that holds this share of a question's words, each by its rarity, may answer it."""
LOOKED_AT = 10
"""Hits of each system in which another answer is looked for."""
NAME_WORDS = 8

NOT_FOUND, AMBIGUOUS, ANSWERED = "not found", "ambiguous", "answered elsewhere"


@dataclass(frozen=True, slots=True)
class Checked:
    """``draft`` as it may be asked, with the other documents that say the same; or why it may not be."""

    draft: Draft
    also: tuple[Judgement, ...] = ()
    refused: str = ""


def check(
    draft: Draft,
    reading: Reading,
    search: Search,
    vocabulary: Vocabulary,
    *,
    within: int,
    left_out: Collection[str] = (),
) -> Checked:
    """A question as it may be asked, or why it may not.

    It has to be found: a chunk with evidence is among the first ``within`` of at least one system (0: this
    is not asked). It has to be clear: another document's passage that holds all its words is a second
    answer. Where that says the same (or holds the ``answer``), both are relevant; else the question is put
    with its document's name, and dropped where this does not help. Documents ``left_out`` are not there.
    """
    legs = [[hit for hit in hits if hit.chunk.document_id not in left_out] for hits in search(draft.text)]
    if within and not any(_shows(hit.chunk, draft) for hits in legs for hit in hits[:within]):
        return Checked(draft, refused=NOT_FOUND)
    others = _others(legs, draft)
    also, rivals = _parted(draft, reading, others, vocabulary)
    if rivals and draft.kind != "terms" and (name := _name(draft, reading)):
        draft = draft.varied(named(draft.text, name), draft.kind)
        also, rivals = _parted(draft, reading, others, vocabulary)
    return Checked(draft, refused=AMBIGUOUS) if rivals else Checked(draft, also)


def check_unanswerable(
    draft: Draft, reading: Reading, search: Search, vocabulary: Vocabulary, *, left_out: Collection[str]
) -> Checked:
    """The same for a question whose document is ``left_out``: nothing of what is there may answer it."""
    legs = [[hit for hit in hits if hit.chunk.document_id not in left_out] for hits in search(draft.text)]
    also, rivals = _parted(draft, reading, _others(legs, draft), vocabulary)
    return Checked(draft, refused=ANSWERED if also or rivals else "")


def _shows(chunk: Chunk, draft: Draft) -> bool:
    return chunk.document_id == draft.document_id and chunk.start < draft.end and draft.start < chunk.end


def _name(draft: Draft, reading: Reading) -> str:
    """The document's name where it is short, and says more than the question; else ""."""
    name = plain(reading.document.title)
    said = set(content(draft.text, reading.stems))
    return name if len(name.split()) <= NAME_WORDS and not set(content(name, reading.stems)) <= said else ""


def _others(legs: Sequence[Sequence[Hit]], draft: Draft) -> list[Chunk]:
    chunks = (hit.chunk for hits in legs for hit in hits[:LOOKED_AT])
    return list(
        {
            (each.document_id, each.start): each for each in chunks if each.document_id != draft.document_id
        }.values()
    )


def _parted(
    draft: Draft, reading: Reading, others: Sequence[Chunk], vocabulary: Vocabulary
) -> tuple[tuple[Judgement, ...], list[Chunk]]:
    """Of other documents' chunks that hold the question's words those that say the same, and the rest."""
    stems = reading.stems
    text = reading.document.text[draft.start : draft.end]
    own = _keys(f"{reading.document.title} {text}", stems)  # of "in what year" the other need not hold "year"
    wanted = {key: vocabulary.rarity(key) for key in content(draft.text, stems) if key in own}
    evidence = Shingles.of(text)
    answer = set(content(draft.answer, stems)) or None
    also: dict[str, Judgement] = {}
    rivals: list[Chunk] = []
    for chunk in others:
        held = _keys(chunk.embedded_text, stems)
        if sum(weight for key, weight in wanted.items() if key in held) < HOLDS * sum(wanted.values()):
            continue
        if evidence.stand_in(Shingles.of(chunk.text)) or (answer and answer <= held):
            also.setdefault(chunk.document_id, _quotation(chunk, draft, set(wanted), stems))
        else:
            rivals.append(chunk)
    return tuple(also.values()), rivals


def _quotation(chunk: Chunk, draft: Draft, wanted: set[str], stems: Language) -> Judgement:
    """The sentence of a chunk that holds most of the question and its answer."""
    looked_for = wanted | set(content(draft.answer, stems))
    start, end = max(
        split_sentences(chunk.text),
        key=lambda span: (len(looked_for & _keys(chunk.text[slice(*span)], stems)), -span[0]),
        default=(0, len(chunk.text)),
    )
    return Judgement("", chunk.document_id, quotation=chunk.text[start:end], start=chunk.start + start)


def _keys(text: str, language: Language) -> set[str]:
    return {keys(word, language)[0] for _, _, word in spans(text)}
