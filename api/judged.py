"""A judged set put to the real thing: its documents in a throw-away collection, its questions to each leg."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from api.rerankers import LATE
from ingest.decide import texts_source
from ingest.job import Progress
from rag.errors import EvaluationError
from rag.evaluate import Evaluation, JudgedSet, document_scores, evaluate, read_beir
from rag.types import Query

if TYPE_CHECKING:
    from api.services import Services

SYSTEMS = ("lexical", "vector", "hybrid")
RERANKED = "reranked"
"""The hybrid and a reranker: the settings', or late interaction where they name none. Asked for by name: it
costs many times what the others do."""
CHUNKS = 300
"""Chunks asked for a question: several of one document must still leave a hundred documents for R@100."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows of one evaluation, and what it was run on."""

    judged: JudgedSet
    rows: tuple[Evaluation, ...]
    documents: int
    chunks: int


def evaluate_set(
    services: Services,
    folder: Path,
    *,
    queries: str = "queries.jsonl",
    systems: Sequence[str] = SYSTEMS,
    on_ingest: Callable[[Progress], None],
    on_query: Callable[[str, int, int], None],
) -> Outcome:
    """Measure the legs and the hybrid on a BEIR folder.

    Its documents go to a collection of their own, which is removed at the end; their vectors stay in
    the catalogue by content, so that a second evaluation of the same texts embeds nothing. Raises
    EvaluationError, and what an ingest or a search raises.
    """
    known = (*SYSTEMS, RERANKED)
    unknown = [system for system in systems if system not in known]
    if unknown:
        raise EvaluationError(f"no system {unknown[0]!r}; there are {', '.join(known)}")
    judged = read_beir(folder, queries=queries)
    if judged.corpus is None:
        raise EvaluationError(f"{folder} has no corpus.jsonl: there is nothing to search in")
    collection = f"eval-{secrets.token_hex(6)}"
    source = texts_source(judged.documents())
    try:
        report = services.take_in([source], collection=collection, wait=0.0, on_progress=on_ingest)
        if report.counts.failures and not report.counts.chunks:
            raise EvaluationError(f"{folder}: {report.counts.failures[0].detail}")

        reranker = services.settings.retrieval.reranker or LATE

        def ask(system: str, query: Query) -> list[tuple[str, float]]:
            reranked = system == RERANKED
            mode, reader = ("hybrid", reranker) if reranked else (system, "")
            trail = services.trace(query.text, collection=collection, k=CHUNKS, mode=mode, reranker=reader)
            return document_scores(trail.hits)

        asked = {system: partial(ask, system) for system in systems}
        rows = evaluate(asked, judged.queries, judged.qrels, progress=on_query)
    finally:
        if any(info.name == collection for info in services.collections()):
            services.remove_collection(collection, keep_vectors=True)
    return Outcome(judged, tuple(rows), report.counts.documents_added, report.counts.chunks)
