"""An answer without a language model: the sentences of the context that speak to the question, quoted."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rag.context import Context, Passage
from rag.protocols import Embedder
from rag.sentences import split_sentences
from rag.words import Language, Terms, fold, folded, is_stop_word, language_named, language_of, spans

NOT_FOUND: Mapping[Language, str] = {
    "en": "I could not find this in the knowledge base.",
    "es": "No lo he encontrado en la base de conocimiento.",
}
"""What is said where a prompt has no sentence of its own for it."""
NOTICE: Mapping[Language, str] = {
    "en": "Extractive answer: sentences quoted from the passages; no language model was used.",
    "es": "Respuesta extractiva: frases citadas de los pasajes; no se ha usado ningún modelo de lenguaje.",
}
_QUOTES: Mapping[Language, tuple[str, str]] = {"en": ("“", "”"), "es": ("«", "»")}

MAX_EMBEDDED = 32
"""Sentences compared by meaning: those with most of the question's words, or the first ones."""
ENOUGH_WORDS = 1 / 3
"""Share of the question's words, by weight, from which a sentence has to do with it. Measured with eight
passages a question: 97 % of questions on another subject are turned away, and 6 to 9 % of those answered."""
ENOUGH_LIFT = 0.35
"""Or: how far its cosine lies above the least of the context's, on the way to 1 (as in fusion)."""


_RULE = re.compile(r"\s*\n\s*\|[ :|-]*-[ :|-]*(?:\n|\Z)")  # the line under the first row of a Markdown table


def nothing_found(question: str, sentences: Sequence[str] = ()) -> str:
    """What to say where nothing answers: of a prompt's own sentences the one in the question's language, else
    the first, which may be JSON; without any, ours.

    >>> nothing_found("¿Dónde está?", ["I do not know that.", "No lo sé."])
    'No lo sé.'
    >>> nothing_found("Where is it?", ['{"found": false}']), nothing_found("HTTP 404")
    ('{"found": false}', 'I could not find this in the knowledge base.')
    """
    language = language_of(question) or "en"
    own = (each for each in sentences if language_of(each) == language)
    return next(own, sentences[0] if sentences else NOT_FOUND[language])


def says_nothing(text: str, sentences: Iterable[str]) -> bool:
    """Whether an answer admits that nothing answers: it is empty, or says one of these sentences, word for
    word, in whatever letters and signs.

    >>> says_nothing("Sorry: I DO NOT know!", ["I do not know."]), says_nothing("At noon.", ["No."])
    (True, False)
    """
    said = " ".join(folded(text))
    admitted = (" ".join(folded(sentence)) for sentence in sentences)
    return not said or any(words and f" {words} " in f" {said} " for words in admitted)


@dataclass(frozen=True, slots=True)
class Quotation:
    """A verbatim part of a passage: ``document.text[start:end] == text``."""

    passage: Passage
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Extract:
    """The quotations, best first; none when the context has nothing to do with the question."""

    quotations: tuple[Quotation, ...]
    language: Language

    def lines(self) -> Iterator[str]:
        """The answer line by line, in the question's language (English when it is neither of ours)."""
        language: Language = self.language or "en"
        if not self.quotations:
            yield NOT_FOUND[language]
            return
        opening, closing = _QUOTES[language]
        for number, quotation in enumerate(self.quotations):
            line = f"{opening}{quotation.text}{closing} [{quotation.passage.number}]"
            yield line if number == 0 else f"\n\n{line}"


def extract(question: str, context: Context, *, embedder: Embedder | None = None, most: int = 3) -> Extract:
    """At most ``most`` sentences that answer ``question`` best, no two saying the same.

    A sentence scores by the question's words in it, each weighted by how rare it is in the context
    (the idf of BM25); words that a better sentence already gave count half, and so do those that only
    stand above it, in headings and title. Its passage's own score counts too: the retriever has seen
    more than words. With an ``embedder`` the likeness of sentence and question counts as much, which
    carries a question in one language to passages in another.
    """
    language = language_of(question)
    sentences = list(_sentences(context.passages))
    if not sentences:
        return Extract((), language)
    found, above, weights = _weighed(question, sentences)
    retrieved = _retrieved(sentences)
    total = math.fsum(weights.values()) or 1.0
    coverage = [math.fsum(weights[word] for word in words) / total for words in found]
    lift = _lifts(question, sentences, coverage, embedder)
    if max(coverage) < ENOUGH_WORDS and max(lift) < ENOUGH_LIFT:
        return Extract((), language)

    chosen: list[int] = []
    heard: frozenset[str] = frozenset()
    first_score = 0.0
    while len(chosen) < most:
        scores = {
            number: lift[number]
            + retrieved[number]
            + math.fsum(weights[word] * (0.5 if word in heard else 1.0) for word in words) / total
            + math.fsum(0.5 * weights[word] for word in above[number] - words - heard) / total
            for number, words in enumerate(found)
            if not any(
                _says_the_same(sentences[number].quotation, sentences[other].quotation) for other in chosen
            )
        }
        best = max(scores, key=lambda number: (scores[number], -number), default=None)
        if best is None or scores[best] < 0.6 * first_score or scores[best] <= 0:
            break
        first_score = first_score or scores[best]
        chosen.append(best)
        heard |= found[best]
    return Extract(tuple(sentences[number].quotation for number in chosen), language)


@dataclass(frozen=True, slots=True)
class _Sentence:
    """What may be quoted, the title and heading that it stands under, and, of a table's row, its columns:
    the table's first row, whose words the row says too."""

    quotation: Quotation
    above: str
    columns: str


def _sentences(passages: Sequence[Passage]) -> Iterator[_Sentence]:
    for passage in passages:
        heading = columns = ""
        for start, end in split_sentences(passage.text):
            text = passage.text[start:end]
            if text.startswith("#"):
                heading = text
            if not text.startswith("|"):
                columns = ""
            elif _RULE.match(passage.text, end):
                columns = text
                continue
            if text.startswith(("#", "```", "~~~")) or len(list(spans(text))) < 3:
                continue  # a heading, a fence, a fragment: says nothing by itself
            quotation = Quotation(passage, passage.start + start, passage.start + end, text)
            yield _Sentence(quotation, f"{passage.source} {heading}", columns)


def _weighed(
    question: str, sentences: Sequence[_Sentence]
) -> tuple[list[frozenset[str]], list[frozenset[str]], dict[str, float]]:
    """For each sentence the question's words in it and above it; and the weight of each word."""
    terms: dict[Language, Terms] = {}
    headed: dict[tuple[Language, str], frozenset[str]] = {}
    found, above = [], []
    for sentence in sentences:
        passage = sentence.quotation.passage
        language = language_named(passage.chunk.metadata.get("language")) or language_of(passage.text)
        if language not in terms:
            terms[language] = Terms(question, language=language)
        asked = terms[language]
        found.append(_asked_in(asked, f"{sentence.columns} {sentence.quotation.text}"))
        place = language, sentence.above
        if place not in headed:
            headed[place] = _asked_in(asked, sentence.above)
        above.append(headed[place])
    holding = Counter(word for each in found for word in each)
    words = dict.fromkeys(word for each in terms.values() for word in each.words)
    count = len(sentences)
    most = math.log(1 + (count + 0.5) / 0.5)
    # Half a word's weight does not depend on how rare it is: in a short context every word of the
    # subject is common, and the few that are not there would outweigh them all.
    return (
        found,
        above,
        {
            word: 0.5 + math.log(1 + (count - holding[word] + 0.5) / (holding[word] + 0.5)) / most
            for word in words
        },
    )


def _asked_in(asked: Terms, text: str) -> frozenset[str]:
    return frozenset(asked.words[index] for _, _, index in asked.find(text))


def _retrieved(sentences: Sequence[_Sentence]) -> list[float]:
    """Each sentence's passage's score as a share of the best one."""
    scores = [sentence.quotation.passage.hits[0].score for sentence in sentences]
    best = max(scores)
    return [max(score, 0.0) / best if best > 0 else 0.0 for score in scores]


def _lifts(
    question: str, sentences: Sequence[_Sentence], coverage: Sequence[float], embedder: Embedder | None
) -> list[float]:
    lifts = [0.0] * len(sentences)
    if embedder is None:
        return lifts
    order = sorted(range(len(sentences)), key=lambda number: (-coverage[number], number))[:MAX_EMBEDDED]
    asked = embedder.embed([question], input_type="query")[0]
    cosines = (
        embedder.embed([sentences[number].quotation.text for number in order], input_type="document") @ asked
    )
    floor = float(cosines.min())
    for number, cosine in zip(order, cosines, strict=True):
        lifts[number] = (float(cosine) - floor) / (1.0 - floor) if floor < 1.0 - 1e-6 else 0.0
    return lifts


def _says_the_same(a: Quotation, b: Quotation) -> bool:
    """Whether most words of the shorter stand in the longer. True of a sentence and itself."""
    one, two = ({fold(w) for _, _, w in spans(each.text) if not is_stop_word(w, "")} for each in (a, b))
    return a is b or (bool(one) and len(one & two) >= 0.7 * min(len(one), len(two)))
