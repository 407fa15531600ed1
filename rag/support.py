"""What speaks for an answer in the passages that were found.

A question about something that the knowledge base treats, and does not answer, is the hard one: its
passage is on the subject, often under a heading with the question's very words. So four things are asked
of the best passages:

- near: how far the best cosine stands above the question's cosines to the whole collection, in standard
  deviations. A question on a foreign subject is near to nothing.
- beyond: what the passage's text has in common with the question that its heading has not: their cosine
  once the direction of the heading is taken out of both (a partial correlation), all seen from the centre
  of the candidates, for what all of them share says nothing. A passage on the subject that says something
  else shares the heading only.
- said: the most that one sentence has to do with the question, in the search's own terms
  (:func:`rag.retrieve.fuse.evidence`): its cosine, and the share of the question's words in it, the
  sentence before it and its heading.
- met: how far the passage that best meets the question token by token stands above the others that were
  compared so (:mod:`rag.retrieve.late`), in their standard deviations. Every token counts alike here: one
  that no passage meets is what an answer would have had to say.

What a collection cannot tell (no headings; no token vectors; a question in another language than the
passages) is left out, and the others decide. They are standardised and count alike (Dawes 1979, "The robust
beauty of improper linear models in decision making"). Of an earlier form of the first three, weights learned
on the other judged sets had a mean area under the ROC curve of .741 over eight comparisons and equal ones
.736; on clapnq-dev's real unanswerable questions .849 and .908: held-out documents teach little about those.
With the fourth the area rose on all of seven comparisons, by .008 to .074. Signals and equal weights were
chosen with these sets in view, so their figures flatter them. ``bench/confidence.py`` measures other sets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from rag.extract import MAX_EMBEDDED
from rag.protocols import Collection, Embedder
from rag.retrieve import Trail
from rag.retrieve.fuse import WORDS, meaning
from rag.sentences import split_sentences
from rag.types import Candidates, Chunk, Vectors
from rag.words import Language, Terms, language_named, language_of, spans

Signal: TypeAlias = Literal["near", "beyond", "said", "met"]
Rows: TypeAlias = npt.NDArray[np.float64]

READ = 8
"""Passages that are looked at: about as many as a context holds by default."""

FEW = 4
"""Passages to be compared token by token at least: of fewer none can stand far above the others."""

_SCALE: dict[Signal, tuple[float, float]] = {
    "near": (5.0, 1.3),
    "beyond": (0.30, 0.115),
    "said": (10.1, 2.9),
    "met": (3.5, 1.0),
}
"""Mean and standard deviation of each signal, over six judged sets with MiniLM and multilingual-e5-small,
each counting once. Only the ratios of the deviations matter: without clapnq-dev they are, with
MiniLM, 1.08, 0.106 and 2.37, in the same ratio within a tenth."""


@dataclass(frozen=True, slots=True)
class Support:
    """What speaks for an answer. NaN is a signal that this question and these passages cannot give."""

    near: float = math.nan
    beyond: float = math.nan
    said: float = math.nan
    met: float = math.nan

    @property
    def strength(self) -> float:
        """The mean of the signals that there are, each in standard deviations; -inf where there is none.

        >>> round(Support(near=5.0, said=13.0).strength, 6), Support().strength
        (0.5, -inf)
        """
        known = [
            (value - mean) / deviation
            for name, (mean, deviation) in _SCALE.items()
            if not math.isnan(value := getattr(self, name))
        ]
        return math.fsum(known) / len(known) if known else -math.inf


def gather(
    trail: Trail,
    collection: Collection,
    *,
    embedder: Embedder,
    without: frozenset[str] = frozenset(),
) -> Support:
    """The evidence for the question of a search, as if the documents ``without`` (ids) were not there.

    It looks at the :data:`READ` best of all that the search ranked, whatever its ``k``, and embeds their
    texts, their headings and at most :data:`rag.extract.MAX_EMBEDDED` of their sentences. A search by words
    alone gives no evidence. Raises EmbedderError.
    """
    candidates, asked = trail.candidates, trail.vector
    if asked is None or candidates.deviation <= 0:
        return Support()
    keys = trail.fused.keys
    if without:
        chunks = [chunk for chunk in collection.read(keys.tolist()) if chunk.document_id not in without]
        kept = np.isin(candidates.keys, [chunk.key for chunk in chunks])
        candidates = candidates.at(kept)
    else:
        chunks = collection.read(keys[:READ].tolist())
    chunks = chunks[:READ]
    if not chunks:
        return Support()
    centre = collection.vectors(candidates.keys)[1].mean(axis=0, dtype=np.float64)
    return Support(
        near=float(meaning(candidates).max()),
        beyond=_beyond(asked - centre, chunks, centre, embedder),
        said=_said(trail.question, asked, chunks, candidates, embedder),
        met=_met([trail.compared[key].cosine for key in candidates.keys.tolist() if key in trail.compared]),
    )


def _beyond(asked: Rows, chunks: Sequence[Chunk], centre: Rows, embedder: Embedder) -> float:
    """The best partial cosine of question and text given the heading; NaN where no chunk has one."""
    headed = [chunk for chunk in chunks if chunk.breadcrumb]
    if not headed:
        return math.nan
    headings = list(dict.fromkeys(chunk.breadcrumb for chunk in headed))
    made = embedder.embed([*(chunk.text for chunk in headed), *headings], input_type="document") - centre
    texts = made[: len(headed)]
    above = _unit(made[len(headed) :])[[headings.index(chunk.breadcrumb) for chunk in headed]]
    texts = texts - np.einsum("ij,ij->i", texts, above)[:, None] * above
    left = asked - (above @ asked)[:, None] * above
    return float(np.einsum("ij,ij->i", _unit(texts), _unit(left)).max())


def _met(cosines: Sequence[float]) -> float:
    """The highest of these, in standard deviations above their mean; NaN of fewer than FEW, or where all are
    alike."""
    values = np.array(cosines, np.float64)
    if len(values) < FEW or (deviation := values.std()) < 1e-6:
        return math.nan
    return float((values.max() - values.mean()) / deviation)


def _unit(rows: Rows) -> Rows:
    """Rows of length 1; one of length 0 stays."""
    lengths: Rows = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-9)


def _said(
    question: str, asked: Vectors, chunks: Sequence[Chunk], candidates: Candidates, embedder: Embedder
) -> float:
    """The best sentence's evidence; NaN where no passage is in the question's language."""
    own = language_of(question)
    terms: dict[Language, Terms] = {}
    sentences: list[tuple[float, str]] = []
    for chunk in chunks:
        language = language_named(chunk.metadata.get("language")) or language_of(chunk.text)
        if own and language and own != language:
            continue
        if language not in terms:
            terms[language] = Terms(question, language=language)
        sentences += _covered(terms[language], chunk)
    if not sentences:
        return math.nan
    sentences.sort(key=lambda sentence: -sentence[0])
    shares, texts = zip(*sentences[:MAX_EMBEDDED], strict=True)
    cosines = embedder.embed(texts, input_type="document") @ asked
    near = (cosines.astype(np.float64) - candidates.mean) / candidates.deviation
    return float((near + WORDS * np.array(shares)).max())


def _covered(terms: Terms, chunk: Chunk) -> Iterator[tuple[float, str]]:
    """Each sentence, and the share of the words in it, the one before it and the heading."""
    headed = frozenset(index for _, _, index in terms.find(chunk.breadcrumb))
    before: frozenset[int] = frozenset()
    for start, end in split_sentences(chunk.text):
        text = chunk.text[start:end]
        if text.startswith(("#", "```", "~~~")) or len(list(spans(text))) < 3:
            continue
        here = frozenset(index for _, _, index in terms.find(text))
        yield len(here | before | headed) / max(len(terms.words), 1), text
        before = here
