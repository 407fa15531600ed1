"""A synthetic judged set of a collection: made, kept, and written with its documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from api.evaluation.sets import kept_sets
from rag.errors import EvaluationError, InvalidSetting
from rag.evaluate.sets import write_beir
from rag.evaluate.synthetic import KINDS, WITHIN, Synthetic, by_model, synthesise
from rag.evaluate.synthetic.material import place

if TYPE_CHECKING:
    from api.services import Services
    from rag.types import Document, Hit

READ = 2000
"""Documents that are read, drawn by the seed: more give no better set, and a million take hours."""
NOTE = "synthetic, of "


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was made of ``collection``, which has ``documents``; ``refused`` answers of the language model, by
    why, and the folder that it was written ``to``."""

    made: Synthetic
    collection: str
    documents: int
    refused: Mapping[str, int]
    to: Path | None = None


def synthesise_set(
    services: Services,
    collection: str,
    *,
    name: str = "",
    size: int = 200,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    hold_out: float = 0.0,
    to: Path | None = None,
    llm: bool = False,
    on_question: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Make a set of a collection's documents and keep it under ``name``, by default the folder's or the
    collection's with ``-synthetic``.

    With ``to`` it is also written there as a BEIR folder with its documents; those held out are not among
    them. The two legs of the search are what a question has to be found by. Raises UnknownCollection,
    EvaluationError (held out without a folder; a set of that name that people judged), InvalidSetting
    without a language model for ``llm``.
    """
    name = name or (to.resolve().name if to is not None else f"{collection}-synthetic")
    if hold_out and to is None:
        raise EvaluationError(
            "documents are held out of a corpus of their own: name a folder to write it to (--to FOLDER)"
        )
    if any(each.name == name and not each.note.startswith(NOTE) for each in kept_sets(services)):
        raise EvaluationError(f"there is a judged set {name!r} that is not synthetic: choose another --name")
    if to is not None and (to / "queries.jsonl").exists():
        raise EvaluationError(f"{to / 'queries.jsonl'} is there already: choose another folder, or remove it")
    if llm and services.chat is None:
        raise InvalidSetting("--llm needs a language model: name one in [llm] model or RAG_LLM")
    catalogue = services.catalogue()
    catalogue.collection(collection)
    ids = sorted((each.id for each in catalogue.documents(collection)), key=lambda id: place(seed, id))
    refused: Counter[str] = Counter()
    written = None
    if llm and services.chat is not None:
        written = by_model(services.chat, seed=seed, refused=lambda why: refused.update([why]))

    def search(question: str) -> list[list[Hit]]:
        return [
            list(services.trace(question, collection=collection, k=WITHIN, mode=mode, reranker="").hits)
            for mode in ("lexical", "vector")
        ]

    made = synthesise(
        name,
        (catalogue.document(collection, id) for id in ids[:READ]),
        search,
        size=size,
        kinds=kinds,
        seed=seed,
        hold_out=hold_out,
        written=written,
        progress=on_question,
    )

    def corpus() -> Iterator[Document]:
        left_out = set(made.left_out)
        return (catalogue.document(collection, id) for id in sorted(ids) if id not in left_out)

    if to is not None:
        made = replace(made, judged=replace(made.judged, corpus=corpus))
        write_beir(made.judged, to)
    with services.evaluations(create=True) as store:
        store.put_set(
            made.judged,
            corpus=str(to.resolve()) if to is not None else "",
            note=f"{NOTE}{collection}, seed {seed}",
        )
    return Outcome(made, collection, len(ids), dict(refused), to)
