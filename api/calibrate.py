"""What a collection's confidence is calibrated on: its own questions, with and without their documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.calibration import keep_calibration
from rag.confidence import Calibration, calibrate, check_enough
from rag.errors import InvalidSetting
from rag.evaluate.formats.questions import read_asked
from rag.support import READ, gather

if TYPE_CHECKING:
    from api.services import Services


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the documents that answer it, by id or the end of it; none: nothing does."""

    question: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A calibration, and the number of answerable questions whose documents the search ``missed``."""

    calibration: Calibration
    missed: int


def read_questions(path: Path) -> list[Asked]:
    """The questions of a JSONL file (see :mod:`rag.evaluate.formats.questions`) that are answered, or said to
    have no answer. Raises EvaluationError, with the line that cannot be read."""
    return [
        Asked(one.query.text, one.documents) for one in read_asked(path) if one.documents or one.unanswerable
    ]


def calibrate_collection(
    services: Services, path: Path, *, on_question: Callable[[int, int], None] = lambda _done, _total: None
) -> Outcome:
    """Ask the collection in use the questions of a file, and keep what that tells.

    Questions whose documents are not among the passages that confidence looks at are left out: "not found"
    is the right answer to them, and a threshold that lets them through would let everything through.
    Raises EvaluationError, UnknownDocument, UnknownCollection, InvalidSetting for a search that is not
    hybrid, LockHeld.
    """
    if services.settings.retrieval.mode != "hybrid":
        raise InvalidSetting('only a hybrid search has a confidence: set [retrieval] mode = "hybrid"')
    asked = read_questions(path)
    check_enough(sum(1 for each in asked if each.documents))
    name = services.settings.collection
    catalogue = services.catalogue()
    collection = catalogue.collection(name)
    names = [document for each in asked for document in each.documents]
    ids = dict(zip(names, services.document_ids(names), strict=True))
    embedder = services.sentence_embedder()
    yes: list[float] = []
    held: list[float] = []
    no: list[float] = []
    missed = 0
    for done, each in enumerate(asked, 1):
        trail = services.trace(each.question)
        strength = gather(trail, collection, embedder=embedder).strength
        answering = frozenset(ids[document] for document in each.documents)
        found = {chunk.document_id for chunk in collection.read(trail.fused.keys[:READ].tolist())}
        if not answering:
            no.append(strength)
        elif answering & found:
            yes.append(strength)
            held.append(gather(trail, collection, embedder=embedder, without=answering).strength)
        else:
            missed += 1
        on_question(done, len(asked))
    made = calibrate(yes, held, no)
    keep_calibration(catalogue, name, made)
    return Outcome(made, missed)
