"""Masked facts: a sentence with a date, a figure, a name or a reason taken out, and asked for.

The question is the sentence, up to what matters for the fact, with a question word of the right kind in
front. It keeps near to the sentence: nothing is added but the document's name, where the sentence leaves
open of what it speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from rag.evaluate.synthetic.reading import Reading, content, plain
from rag.evaluate.synthetic.values import Draft, dice
from rag.evaluate.synthetic.wording import WORDINGS, Wording
from rag.words import fold, is_stop_word, spans

_MOST_WORDS = 15
"""Of a question without its question words: judged questions have 8 to 15."""
_TITLE_WORDS = 8
_NAME_WORDS = 5
_NOT_COUNTED = frozenset(
    (
        "times",
        "years",
        "months",
        "days",
        "hours",
        "minutes",
        "seconds",
        "ways",
        "veces",
        "años",
        "meses",
        "días",
    )
)
"""Units rather than things: "how many years" asks for less than it seems to."""
_GAP = "\x00"
"""Where the fact stood, while a sentence is cut."""
_ASIDE = re.compile(r"\s*\([^()\x00]*\)|\s*\[[^\[\]\x00]*\]")
_LABEL = re.compile(
    r"^(?:\(?(?:[a-z]|[ivx]{1,4})\)|\d+(?:\.\d+)*[.)]?|[A-Z]{4,}(?:\s[A-Z&]{3,})*:?(?=\s[A-Z]))\s+"
)
"""The number of a clause, the label of a part of an abstract."""
_SPACED = re.compile(r"\s*,?\s+(?=,)")
_INSIDE = re.compile(r"(?<=[a-záéíóúñ,;] )[A-ZÁÉÍÓÚÑ][\w'’-]+")
_HEAD_END = re.compile(r"[;:]\s|\s[—–-]\s")
_TAIL_END = re.compile(r"[,;:]\s|\s[—–-]\s")
_BROKEN = re.compile(r"[\[\](){}<>|=_/\\]|\d\s*[-–]\s*\?|@")


def from_facts(reading: Reading, *, seed: int) -> Iterator[Draft]:
    """At most one question a sentence, in the languages of WORDINGS.

    >>> from rag.types import Document
    >>> text = "The old bridge was built in 1819. It is closed to cars because its stones are loose."
    >>> reading = Reading.of(Document("d", text, title="Old bridge", metadata={"language": "en"}))
    >>> [(draft.text, draft.answer) for draft in from_facts(reading, seed=0)]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('In what year was the old bridge built?', '1819'),
     ('Old bridge: why is it closed to cars?', 'because its stones are loose')]
    """
    wording = WORDINGS.get(reading.language)
    if wording is None:
        return
    document = reading.document
    names = set(_INSIDE.findall(document.text))
    for start, end in reading.sentences():
        sentence = wording.linking.sub("", _LABEL.sub("", plain(document.text[start:end]))).rstrip(".!… ")
        if sentence.endswith("?") or sentence[:1] in "¿\"“«'‘" or not sentence:
            continue
        asked = list(_asked(sentence, wording, names.__contains__))
        dice(seed, "fact", document.id, start).shuffle(asked)
        for text, answer in asked:
            text = _named(text, sentence, document.title, wording)
            if _sound(text, reading):
                yield Draft(text, "fact", reading.language, document.id, start, end, answer)
                break


def named(question: str, name: str) -> str:
    """A question that says of which document it is.

    >>> named("¿Cuándo abre?", "Biblioteca central")
    'Biblioteca central: ¿cuándo abre?'
    """
    mark = "¿" if question.startswith("¿") else ""
    rest = question.removeprefix("¿")
    return f"{name.rstrip('.:')}: {mark}{rest[:1].lower()}{rest[1:]}"


def _asked(sentence: str, wording: Wording, is_name: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Every question that the sentence answers, with the answer. ``is_name`` tells whether a word has its
    capital within sentences too."""
    if (found := wording.defined.match(sentence)) and not _hangs(sentence, wording):
        name = found["name"].strip()
        if _is_name(name, wording):
            person = re.fullmatch(r"(?:[A-ZÁÉÍÓÚÑ][\w.'’-]*\s){1,3}[A-ZÁÉÍÓÚÑ][\w'’-]+", name)
            form = wording.who if person and found["verb"] in wording.past else wording.what
            yield (
                form.format(verb=found["verb"], article=found["article"].lower(), name=name),
                found["answer"],
            )
    if (found := wording.reason.match(sentence)) and (clause := _cut(found["main"], wording)):
        yield _question(wording.why, clause, wording, is_name), found["answer"]
    for fact in wording.facts:
        for found in fact.pattern.finditer(sentence):
            groups = {name: value or "" for name, value in found.groupdict().items()}
            noun = groups.get("noun", "")
            if any(word in _NOT_COUNTED or is_stop_word(word, "") for word in noun.split()):
                continue
            before, after = sentence[: found.start()].rstrip(" ,"), sentence[found.end() :]
            clause = _cut(f"{before} {_GAP} {after}", wording)
            if clause and (clause.startswith(_GAP) or not groups.get("of")):
                groups["ending"] = "a" if re.search(r"(?<!m)as$|(?:ion|dad)es$", noun) else "o"
                asked = " ".join(fact.asked.format_map(groups).lower().split())
                subject = fact.subject and clause.startswith(_GAP) and not groups.get("prep")
                yield _question(asked, clause, wording, is_name, subject=subject), groups["answer"]


def _cut(sentence: str, wording: Wording) -> str:
    """The sentence from its beginning, or from the last semicolon or colon before the gap, to where a clause
    ends behind the gap; "" where that is too long, or too little, to be asked."""
    text = " ".join(_ASIDE.sub("", sentence).split())
    gap = max(text.find(_GAP), 0)
    starts = [found.end() for found in _HEAD_END.finditer(text, 0, gap)]
    begin = starts[-1] if starts else 0
    ends = [
        found.start()
        for found in _TAIL_END.finditer(text, gap)
        if _carrying(text[begin : found.start()]) >= 3 and not text[found.end() :].startswith(_GAP)
    ]
    words = text[begin : ends[0] if ends else len(text)].split()
    if _GAP in words and words.index(_GAP) > _MOST_WORDS:
        return ""
    if len(words) > _MOST_WORDS:
        least = max(6, words.index(_GAP) + 1 if _GAP in words else 0)
        joint = next((n for n in range(_MOST_WORDS, least - 1, -1) if words[n].lower() in wording.joints), 0)
        if not joint:
            return ""
        words = words[:joint]
    while len(words) > 1 and is_stop_word(words[-1], "") and words[-1] != _GAP:
        words.pop()
    while words and words[0].lower() in wording.joints and words[0].islower():
        words.pop(0)
    clause = " ".join(words).strip(" ,")
    return clause if _carrying(clause) >= 2 else ""


def _question(
    asked: str, clause: str, wording: Wording, is_name: Callable[[str], bool], *, subject: bool = False
) -> str:
    """The question word, then the clause without its gap; in English an auxiliary before the subject."""
    rest = [word for word in clause.split() if word != _GAP]
    if rest and rest[0].istitle() and not (len(rest) > 1 and rest[1][:1].isupper()) and not is_name(rest[0]):
        rest[0] = rest[0].lower()
    for place, word in enumerate(() if subject else rest[:9]):
        if word in wording.auxiliaries and place > 0:
            rest = [word, *rest[:place], *rest[place + 1 :]]
        if word in wording.auxiliaries or word.endswith(",") or word in ("that", "which", "who"):
            break
    text = _SPACED.sub("", " ".join([asked, *rest])).strip(" ,.")
    return f"{wording.opening}{text[:1].upper()}{text[1:]}?"


def _named(question: str, sentence: str, title: str, wording: Wording) -> str:
    """The question with the document's name where the sentence hangs on another; "" where it has none."""
    if not _hangs(sentence, wording):
        return question
    name = plain(title)
    return named(question, name) if 0 < len(name.split()) <= _TITLE_WORDS else ""


def _hangs(sentence: str, wording: Wording) -> bool:
    first = next((word.lower() for _, _, word in spans(sentence)), "")
    return first in wording.hanging or wording.dropped.match(first) is not None


def _is_name(name: str, wording: Wording) -> bool:
    words = name.split()
    return len(words) <= _NAME_WORDS and all(
        any(char.isalpha() for char in word) and (fold(word) in wording.inner or not is_stop_word(word, ""))
        for word in words
    )


def _sound(question: str, reading: Reading) -> bool:
    return (
        len(content(question, reading.stems)) >= 1
        and question.count('"') % 2 == 0
        and not _BROKEN.search(question)
    )


def _carrying(clause: str) -> int:
    return sum(1 for _, _, word in spans(clause) if not is_stop_word(word, ""))
