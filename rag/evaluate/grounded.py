"""Groundedness without a language model: is what an answer says in the passages that were shown?

An answer is cut into claims (:mod:`rag.evaluate.claims`). Each is held against every stretch of one to three
sentences of the passages (:mod:`rag.evaluate.supporting`): which of its words stand there, how near its
vector is, and whether what a paraphrase has to keep was kept (:mod:`rag.evaluate.facts`): numbers, months,
names, negation, direction. A number that is not in the evidence makes a claim unsupported, however near the
rest is.

Citation recall and precision are those of ALCE (Gao et al. 2023, "Enabling Large Language Models to Generate
Text with Citations"), with this in place of its entailment model. ``bench/grounded.py`` measures what it can
tell, docs/prompt-matrix.md says it: a contradiction in other words it cannot see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rag.citations import read_citations
from rag.context import Context
from rag.evaluate.claims import Claim, claims
from rag.evaluate.reading import spoken
from rag.evaluate.supporting import SUPPORTED, Evidence
from rag.protocols import Embedder

__all__ = ["SUPPORTED", "Evidence", "Groundedness", "Supported", "grounded"]


@dataclass(frozen=True, slots=True)
class Supported:
    """A claim and what speaks for it, from 0 to 1, in all that was shown.

    ``quotation`` is what speaks most for it, of passage ``passage`` (0 and "" where nothing was shown), and
    ``why`` says in plain words what is amiss there, "" for nothing. ``by_citation`` is the support by each
    passage that it cites, ``by_cited`` by all of them together.
    """

    claim: Claim
    support: float
    passage: int
    quotation: str
    why: str
    by_citation: Mapping[int, float]
    by_cited: float
    without: Mapping[int, float]
    """By the cited passages but this one."""

    def precise(self, number: int, threshold: float) -> bool:
        """Whether a citation is of use, as ALCE has it: the cited passages support the claim, and this one
        does alone, or the others without it do not."""
        if self.by_cited < threshold:
            return False
        return self.by_citation[number] >= threshold or self.without[number] < threshold

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "claim": self.claim.text,
            "start": self.claim.start,
            "end": self.claim.end,
            "support": round(self.support, 4),
            "passage": self.passage,
            "quotation": self.quotation,
            "why": self.why,
            "cited": {str(number): round(value, 4) for number, value in self.by_citation.items()},
            "by_cited": round(self.by_cited, 4),
        }


@dataclass(frozen=True, slots=True)
class Groundedness:
    """The claims of an answer, in its order. ``unknown_citations`` are numbers that no passage has."""

    sentences: tuple[Supported, ...]
    unknown_citations: tuple[int, ...] = ()
    threshold: float = SUPPORTED

    @property
    def supported(self) -> int:
        """How many of the claims are supported by what was shown."""
        return sum(one.support >= self.threshold for one in self.sentences)

    @property
    def share(self) -> float | None:
        """The share of claims that are supported; None for an answer that claims nothing."""
        return self.supported / len(self.sentences) if self.sentences else None

    @property
    def citation_recall(self) -> float | None:
        """The share of claims that the passages they cite support, together; None without claims."""
        held = sum(one.by_cited >= self.threshold for one in self.sentences)
        return held / len(self.sentences) if self.sentences else None

    @property
    def citation_precision(self) -> float | None:
        """The share of citations that are of use; one of a passage that is not there is not. None without."""
        useful = [one.precise(number, self.threshold) for one in self.sentences for number in one.by_citation]
        return sum(useful) / len(useful) if useful else None

    @property
    def unsupported(self) -> tuple[Supported, ...]:
        """The claims that are not supported, least first."""
        return tuple(
            sorted(
                (one for one in self.sentences if one.support < self.threshold), key=lambda one: one.support
            )
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "claims": len(self.sentences),
            "supported": self.supported,
            "share": self.share,
            "citation_recall": self.citation_recall,
            "citation_precision": self.citation_precision,
            "unknown_citations": list(self.unknown_citations),
            "threshold": self.threshold,
            "sentences": [one.as_json() for one in self.sentences],
        }


def grounded(
    answer: str,
    context: Context,
    *,
    embedder: Embedder,
    evidence: Evidence | None = None,
    not_found: Sequence[str] = (),
    threshold: float = SUPPORTED,
) -> Groundedness:
    """How far an answer stands on its context. Raises EmbedderError.

    ``evidence`` is that of the same context, where several answers to it are judged. ``not_found`` are the
    sentences by which the prompt has the model admit that nothing was found.

    >>> from rag.context import fit
    >>> from rag.testing import HashEmbedder
    >>> from rag.types import Chunk, Hit
    >>> text = "The shop opens at nine in the morning. Returns are free."
    >>> context = fit([Hit(Chunk("d", text, 0, len(text), title="Shop"), 1.0)], budget=100)
    >>> answer = "The shop opens at 9 [1]. The shop opens at 10 [1]."
    >>> seen = grounded(answer, context, embedder=HashEmbedder())
    >>> [one.support >= seen.threshold for one in seen.sentences], seen.unsupported[0].why
    ([True, False], '10 is not in the passage')
    """
    seen = evidence or Evidence(context.passages, embedder)
    made = claims(answer, not_found=not_found)
    language = spoken(answer)
    _, unknown = read_citations(answer, context)
    return Groundedness(
        tuple(_supported(claim, seen, language) for claim in made),
        unknown_citations=unknown,
        threshold=threshold,
    )


def _supported(claim: Claim, evidence: Evidence, language: str) -> Supported:
    weighed = evidence.weigh(claim.text, language=language)
    best = weighed.best(weighed.windows)
    together = weighed.together(claim.cited)

    def others(number: int) -> list[int]:
        return [each for each in claim.cited if each != number]

    window = weighed.windows.get(best)
    return Supported(
        claim,
        support=max(weighed.support(weighed.windows), together),
        passage=best,
        quotation=window.quotation if window else "",
        why=window.signals.why if window else "no passage was shown",
        by_citation={number: weighed.support([number]) for number in claim.cited},
        by_cited=together,
        without={number: weighed.together(others(number)) for number in claim.cited},
    )


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
