"""A judged set put to the real thing: its documents in throw-away collections, or a collection that is there.

Systems that differ in how they search share a collection; each cut and each embedder gets one of its own. The
collections are removed at the end; their vectors stay by content, so that the next evaluation of the same
texts embeds nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from api.evaluation.systems import SystemSettings
from api.settings import changed
from ingest.decide import texts_source
from ingest.job import Progress
from rag.context import Context, fit
from rag.errors import EvaluationError
from rag.evaluate import MEASURES, Evaluation, Found, JudgedSet, document_scores, evaluate
from rag.evaluate.anchors import gold, resolved
from rag.evaluate.evidence import Gold, Span
from rag.evaluate.run import System
from rag.support import gather
from rag.trace import stamp
from rag.types import Document, Query

if TYPE_CHECKING:
    from api.services import Services

CHUNKS = 300
"""Chunks asked for a question: several of one document must still leave a hundred documents for R@100."""
BUDGETS = (500, 1000, 2000)
"""Tokens of context that the evidence is looked for in."""

Tell = Callable[[Progress], None]
Count = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A collection that holds the documents of a set: who searches it, what it took to make it, and the texts
    of the documents that were judged."""

    services: Services
    collection: str
    facts: Mapping[str, float]
    texts: Mapping[str, str]


def evaluate_set(
    services: Services,
    judged: JudgedSet,
    systems: Sequence[SystemSettings],
    *,
    collection: str = "",
    measures: Sequence[str] = MEASURES,
    on_ingest: Tell = lambda _: None,
    on_query: Count = lambda *_: None,
    on_missing: Callable[[int, str], None] = lambda *_: None,
) -> list[Evaluation]:
    """Measure every system on a judged set; one evaluation a system, in their order, not kept yet.

    With ``collection`` its documents are those judged, by id or by the end of one; else the set's own are
    taken in. ``on_missing`` hears how many judged documents are not in it, and one of them: nothing can find
    those, which counts.

    Raises EvaluationError for a set without documents where no collection is named, for systems that would
    cut or embed a collection's documents anew, and what an ingest or a search raises.
    """
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        raise EvaluationError(f"two systems have one name: {', '.join(names)}; give each its own")
    if collection:
        for system in systems:
            if system.own_collection:
                raise EvaluationError(
                    f"system {system.name!r} changes {', '.join(system.own_collection)}: the documents of "
                    f"{collection!r} are kept otherwise; name no collection, for a set that brings documents"
                )
    elif judged.corpus is None:
        raise EvaluationError(
            f"{judged.name} has no documents of its own: name the collection that holds them (--collection)"
        )
    digest = judged.digest  # of the set as it was given, whatever collection it is asked of
    if collection:
        there = {document.id for document in services.catalogue().documents(collection)}
        judged = resolved(judged, there, tell=on_missing)
    judged = _with_documents(judged)
    made: dict[str, Evaluation] = {}
    for group in _groups(systems):
        with _place(services, judged, group[0], collection, on_ingest) as place:
            spans = gold(judged, place.texts) if any(each.quotation for each in judged.judgements) else None
            for system in group:
                one = _evaluated(place, judged, system, spans, measures, on_query)
                made[system.name] = replace(one, set_digest=digest)
    return [made[name] for name in names]


def _groups(systems: Sequence[SystemSettings]) -> list[list[SystemSettings]]:
    """Those that can share a collection."""
    groups: dict[str, list[SystemSettings]] = {}
    for system in systems:
        groups.setdefault(repr(sorted(system.own_collection.items())), []).append(system)
    return list(groups.values())


def _evaluated(
    place: _Place,
    judged: JudgedSet,
    system: SystemSettings,
    spans: Gold | None,
    measures: Sequence[str],
    on_query: Count,
) -> Evaluation:
    [one] = evaluate(
        {system.name: _asked(place, system, evidence=spans is not None, strength=bool(judged.unanswerable))},
        judged.queries,
        judged.qrels,
        measures=measures,
        gold=spans,
        unanswerable=judged.unanswerable,
        progress=on_query,
    )
    return replace(
        one,
        set_name=judged.name,
        set_source=judged.source,
        settings=_made_of(place, system),
        facts=place.facts,
        at=stamp(datetime.now(UTC)),
    )


def _asked(place: _Place, system: SystemSettings, *, evidence: bool, strength: bool) -> System:
    """What a question is put to. Its costs are those of the search and of the context that the settings ask
    for; contexts of other sizes, and how sure it is, are looked at on top of that."""
    settings = system.over(place.services.settings)
    found, retriever = place.services.searching(place.collection, wanted=settings.retrieval.model_dump())
    services = place.services
    fitted_to = partial(fit, count_tokens=services.count_tokens, between=services.read)
    # How sure it is costs as much as ten searches, and only a hybrid search says so where answers are made.
    sure_of = strength and settings.retrieval.mode == "hybrid"
    embedder = place.services.sentence_embedder(place.collection) if sure_of else None

    def ask(query: Query) -> Found:
        clock, started = time.perf_counter(), time.process_time()
        trail = retriever.trace(found, query.text, k=CHUNKS)
        context = fitted_to(trail.hits, budget=settings.context.max_tokens)
        costs = {
            "cpu_ms": 1000 * (time.process_time() - started),
            "ms": 1000 * (time.perf_counter() - clock),
            "tokens": float(context.tokens),
        }
        fitted = {settings.context.max_tokens: context}
        budgets = BUDGETS if evidence else BUDGETS[-1:]  # the passages themselves are worth a look
        shown = {
            budget: _spans(fitted.get(budget) or fitted_to(trail.hits, budget=budget)) for budget in budgets
        }
        sure = None
        if embedder is not None and trail.vector is not None:
            sure = gather(trail, found, embedder=embedder).strength
        return Found(document_scores(trail.hits), shown, costs, sure)

    return ask


def _spans(context: Context) -> tuple[Span, ...]:
    return tuple(Span(each.document_id, each.start, each.end) for each in context.passages)


# --- where the documents are --------------------------------------------------------------------


def texts_of(services: Services, judged: JudgedSet, collection: str = "") -> dict[str, str]:
    """The texts of the documents that were judged, by id: of the set's own, or of a collection's.

    Those that are not there are left out.
    """
    wanted = {each.document_id for each in judged.judgements}
    if not collection:
        documents = judged.documents() if judged.corpus else iter(())
        return {document.id: document.text for document in documents if document.id in wanted}
    catalogue = services.catalogue()
    there = {info.id for info in catalogue.documents(collection)} & wanted
    return {id: catalogue.document(collection, id).text for id in there}


@contextmanager
def _place(
    services: Services, judged: JudgedSet, system: SystemSettings, collection: str, on_ingest: Tell
) -> Iterator[_Place]:
    """The collection named, or one made of the set's documents as ``system`` has them cut and embedded."""
    wanted = {document for grades in judged.qrels.values() for document in grades}
    if collection:
        texts = texts_of(services, judged, collection)
        yield _Place(services, collection, _size(services, collection), texts)
        return
    from api.services import Services

    own = Services(changed(services.settings, system.own_collection)) if system.own_collection else services
    name = f"eval-{secrets.token_hex(6)}"
    texts = {}

    def documents() -> Iterator[Document]:
        for document in judged.documents():
            if document.id in wanted:
                texts[document.id] = document.text
            yield document

    started = time.perf_counter()
    try:
        report = own.take_in([texts_source(documents())], collection=name, wait=0.0, on_progress=on_ingest)
        if report.counts.failures and not report.counts.chunks:
            raise EvaluationError(f"{judged.name}: {report.counts.failures[0].detail}")
        facts = {"ingest_s": time.perf_counter() - started, **_size(own, name)}
        yield _Place(own, name, facts, texts)
    finally:
        if any(info.name == name for info in own.collections()):
            own.remove_collection(name, keep_vectors=True)
        if own is not services:
            own.close()


def _size(services: Services, collection: str) -> dict[str, float]:
    info = services.collection_info(collection)
    facts = {"documents": float(info.documents), "chunks": float(info.chunks)}
    if info.generation is not None:
        folder = services.settings.data / "indexes" / info.generation.folder
        facts["index_bytes"] = float(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()))
    return facts


def _with_documents(judged: JudgedSet) -> JudgedSet:
    """The set with each question's document among its metadata, where one alone is relevant: questions of one
    document hang together, and a report may tell them apart."""

    def told(query: Query) -> Query:
        relevant = [document for document, grade in judged.qrels.get(query.id, {}).items() if grade > 0]
        if len(relevant) != 1 or "document" in query.metadata:
            return query
        return replace(query, metadata={**query.metadata, "document": relevant[0]})

    return replace(judged, questions=tuple(told(query) for query in judged.questions))


def _made_of(place: _Place, system: SystemSettings) -> dict[str, Any]:
    """All that it takes to run a system again, as plain data."""
    settings = system.over(place.services.settings)
    info = place.services.collection_info(place.collection)
    space, generation = info.space, info.generation
    return {
        "promptwell": version("promptwell"),
        "changes": dict(system.changes),
        "retrieval": settings.retrieval.model_dump(),
        "context": settings.context.model_dump(),
        "tokenizer": settings.llm.tokenizer,
        "embedder": {"name": space.embedder.name, "fingerprint": space.embedder.fingerprint} if space else {},
        "chunker": space.chunker if space else "",
        "index": generation.kind if generation else "",
        "collection": "" if place.collection.startswith("eval-") else place.collection,
        "generation": generation.folder if generation else "",
    }
