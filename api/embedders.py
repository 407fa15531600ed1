"""Which embedder serves: the one that the settings name, and those whose vectors still answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from api.sections import EmbedderSection
from indexes.catalogue import Catalogue
from rag.embed import Precision, SentenceTransformerEmbedder, choose_precision, rate
from rag.embed.precision import PROBE
from rag.embed.remembering import RememberingEmbedder
from rag.errors import EmbedderMismatch, LockHeld

PATIENCE = 5.0
"""Seconds to wait for the lock when a fact about an embedder is written down."""


class Embedders:
    """The embedders of one data folder, each loaded once in a process. Safe in any thread."""

    def __init__(self, section: EmbedderSection) -> None:
        self._section = section
        self._lock = threading.RLock()
        self._made: dict[str, SentenceTransformerEmbedder] = {}
        self._answering: dict[str, SentenceTransformerEmbedder] = {}
        self._remembering: dict[str, RememberingEmbedder] = {}

    def configured(self, catalogue: Catalogue) -> SentenceTransformerEmbedder:
        """The embedder that the settings name.

        Precision "auto" is chosen once, by a measurement on this machine, and remembered: what the
        first ingest took, the next one takes as well, so that vectors are never mixed.
        """
        with self._lock:
            precision = self.precision(catalogue)
            if precision is None:
                precision = choose_precision(self._section.model).precision
                catalogue.remember(f"precision:{self._section.model}", precision, wait=PATIENCE)
            return self._of({**self._section.model_dump(), "precision": precision})

    def precision(self, catalogue: Catalogue | None) -> Precision | None:
        """What the settings say, or what was chosen here before; None before that."""
        if self._section.precision != "auto":
            return self._section.precision
        known = catalogue.fact(f"precision:{self._section.model}") if catalogue else None
        return cast("Precision | None", known)

    def remember(self, catalogue: Catalogue, embedder: SentenceTransformerEmbedder, *, wait: float) -> None:
        """Write down how to load this embedder, for as long as a collection answers with its vectors."""
        fact = f"embedder:{embedder.info.fingerprint}"
        if catalogue.fact(fact) is None:
            about = {**self._section.model_dump(), "precision": embedder.precision}
            catalogue.remember(fact, json.dumps(about), wait=wait)

    def answering(self, catalogue: Catalogue, collections: Sequence[str]) -> SentenceTransformerEmbedder:
        """The embedder whose vectors the collections hold, which may not be the configured one yet.

        Raises UnknownCollection, and EmbedderMismatch where that model is no longer to be had or is not the
        same for all.
        """
        space = catalogue.collection(*collections).space
        if space is None:
            return self.configured(catalogue)
        fingerprint = space.embedder.fingerprint
        with self._lock:
            if fingerprint in self._answering:
                return self._answering[fingerprint]
            about = catalogue.fact(f"embedder:{fingerprint}")
            embedder = self._of(json.loads(about)) if about else self.configured(catalogue)
            if embedder.info.fingerprint != fingerprint:
                named = ", ".join(map(repr, collections))
                raise EmbedderMismatch(
                    f"the vectors of {named} are of {space.embedder.name!r} ({fingerprint[:12]}), and "
                    f"what that name stands for now is another model ({embedder.info.fingerprint[:12]}): put "
                    "the first one back, or embed anew: rag plan tells the price, rag ingest does it"
                )
            self._answering[fingerprint] = embedder
            return embedder

    def remembering(self, catalogue: Catalogue, collections: Sequence[str]) -> RememberingEmbedder:
        """The same for what embeds the sentences of passages, which come again and again. Raises as
        :meth:`answering`."""
        embedder = self.answering(catalogue, collections)
        with self._lock:
            if embedder.info.fingerprint not in self._remembering:
                self._remembering[embedder.info.fingerprint] = RememberingEmbedder(embedder)
            return self._remembering[embedder.info.fingerprint]

    def _of(self, about: Mapping[str, Any]) -> SentenceTransformerEmbedder:
        name = json.dumps(about, sort_keys=True)
        if name not in self._made:
            self._made[name] = SentenceTransformerEmbedder(
                about["model"],
                precision=about["precision"],
                query_prefix=about["query_prefix"] or None,
                document_prefix=about["document_prefix"] or None,
                tokens=about["tokens"],
            )
        return self._made[name]


def characters_per_second(catalogue: Catalogue, embedder: SentenceTransformerEmbedder) -> float:
    """How fast this machine embeds: as the last ingest measured it, else measured now and written down."""
    if (known := catalogue.fact(_rate_of(embedder))) is not None:
        return float(known)
    text = " ".join(PROBE)
    speed = rate(embedder) * len(text) / len(embedder.tokenizer.offsets(text))
    remember_rate(catalogue, embedder, speed)
    return speed


def remember_rate(catalogue: Catalogue, embedder: SentenceTransformerEmbedder, speed: float) -> None:
    """Write down what was measured, in characters a second, unless another process is writing: neither a
    plan nor an ingest that is done waits, or fails, for the sake of a rate that can be measured again."""
    with suppress(LockHeld):
        catalogue.remember(_rate_of(embedder), str(speed))


def _rate_of(embedder: SentenceTransformerEmbedder) -> str:
    return f"characters_per_second:{embedder.info.fingerprint}"
