"""What a synthetic set is made of: drafts of questions, each with the words that answer it."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace

KINDS = ("heading", "fact", "terms", "typo", "paraphrase")
"""What is made without a language model. ``typo`` and ``paraphrase`` are made of the others."""
BASES = ("heading", "fact", "terms")
WRITTEN = "written"
"""The kind of what a language model wrote."""
HELD_OUT = "held-out"
"""The kind of a question without an answer: its document is not in the corpus that is searched."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question that ``document.text[start:end]`` answers; ``language`` is ISO 639-1, "" unknown.

    ``answer`` are the words that were taken out of the sentence, "" where none were.
    """

    text: str
    kind: str
    language: str
    document_id: str
    start: int
    end: int
    answer: str = ""

    def varied(self, text: str, kind: str) -> Draft:
        """Another question with the same evidence."""
        return replace(self, text=text, kind=kind)


def dice(seed: int, *names: object) -> random.Random:
    """Random numbers that depend on the seed and on what they are for, on nothing else that happens.

    >>> dice(0, "a.md", 12).random() == dice(0, "a.md", 12).random() != dice(1, "a.md", 12).random()
    True
    """
    digest = hashlib.sha256(repr((seed, *names)).encode("utf-8", "surrogatepass")).digest()
    return random.Random(digest)  # noqa: S311 - nothing is kept secret by it
