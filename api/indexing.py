"""Building and measuring a collection's indexes, where that takes the embedder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from indexes import upkeep
from ingest.decide import needs_move
from rag.errors import EvaluationError
from rag.sentences import split_sentences

if TYPE_CHECKING:
    from api.intake import Tell
    from api.services import Services
    from indexes.generation import GenerationInfo
    from ingest.job import IngestReport

PATIENCE = 5.0
"""Seconds to wait for a process that writes."""
LONGEST = 300
"""Characters of the longest sentence that stands in for a question."""


@dataclass(frozen=True, slots=True)
class Built:
    """The new generation (None: the collection has no chunk), and what moving to it took, if it moved."""

    generation: GenerationInfo | None
    moved: IngestReport | None


def build_index(services: Services, name: str, *, wait: float = PATIENCE, on_progress: Tell) -> Built:
    """Build a generation of a collection now. Where the settings name another embedder or another cut than
    the collection has, its documents are cut and embedded anew first, from their stored texts; the old
    generation answers until that is complete, and what was done is not done again after a stop.

    Raises UnknownCollection, LockHeld, StorageError, EmbedderError.
    """
    catalogue = services.catalogue()
    catalogue.collection(name)
    if needs_move(catalogue.ledger(name), services.space()):
        moved = services.take_in([], collection=name, wait=wait, on_progress=on_progress)
        return Built(services.collection_info(name).generation, moved)
    return Built(upkeep.build(catalogue, name, wait=wait), None)


def audit_index(
    services: Services,
    name: str,
    *,
    sample: int,
    recall: float,
    questions: Path | None = None,
    logged: bool = False,
) -> upkeep.Audit:
    """Measure a collection's index with ``sample`` questions at most: those of a file, one a line; those that
    people asked it last, where ``logged``; or sentences of its own chunks, one of each.

    Raises UnknownCollection, NotFound, EvaluationError, EmbedderError.
    """
    catalogue = services.catalogue()
    if questions is not None:
        asked = _lines(questions)[:sample]
    elif logged:
        asked = _logged(services, name)[:sample]
    else:
        asked = [_sentence(chunk.text) for chunk in upkeep.sampled(catalogue, name, sample)]
    embedder = services.answering_embedder(name)
    return upkeep.audit(catalogue, name, embedder.embed(asked, input_type="query"), recall=recall)


def _sentence(text: str) -> str:
    """The longest sentence that is no longer than a question may be; else how the text begins."""
    sentences = [text[start:end] for start, end in split_sentences(text) if end - start <= LONGEST]
    return max(sentences, key=len, default=text[:LONGEST])


def _logged(services: Services, name: str) -> list[str]:
    """The questions that a collection was asked, each once, the last first."""
    with services.traces() as store:
        traces = [trace for trace in store.find() if name in trace.collections and trace.kept == "text"]
    if not traces:
        raise EvaluationError(
            f"no trace holds the text of a question to {name!r}: rag ask, or the server, leaves them where "
            '[traces] is enabled and keeps "text"; or measure with --questions FILE'
        )
    return list(dict.fromkeys(trace.question for trace in traces))


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read: {error}") from error
    if not (asked := [line for line in lines if line]):
        raise EvaluationError(f"{path} holds no question: write one a line")
    return asked
