"""Where the passages come from that judges are shown, and the questions that they are shown for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from api.evaluation.systems import SystemSettings
from api.prompts.lessons import corrected
from indexes.traces import Wanted
from rag.errors import EvaluationError, InvalidQuery
from rag.evaluate.quotations import Names
from rag.highlight import matches
from rag.types import Chunk, Query, clean_text, text_digest
from rag.words import fold, folded

if TYPE_CHECKING:
    from api.services import Services
    from indexes.evaluations.store import EvaluationStore
    from rag.evaluate import Evaluation
    from rag.trace import Trace

Finder: TypeAlias = Callable[[Query], Sequence[Sequence[Chunk]]]
"""A question in; the passages that each system found out, best first. Whose they are is not said."""


def searched(services: Services, systems: Sequence[SystemSettings], collection: str, *, depth: int) -> Finder:
    """The first ``depth`` passages of each system in a collection. Raises UnknownCollection, InvalidSetting,
    EvaluationError for a system that would cut or embed the documents anew."""
    for system in systems:
        if system.own_collection:
            raise EvaluationError(
                f"system {system.name!r} changes {', '.join(system.own_collection)}: the documents of "
                f"{collection!r} are kept otherwise; judge what `rag eval run` found with it (--run)"
            )
    wanted = [system.over(services.settings).retrieval.model_dump() for system in systems]
    asked = [services.searching(collection, wanted=each) for each in wanted]

    def find(query: Query) -> list[list[Chunk]]:
        return [
            [hit.chunk for hit in retriever.trace(found, query.text, k=depth).hits]
            for found, retriever in asked
        ]

    return find


def kept(services: Services, runs: Sequence[Evaluation], collection: str, *, depth: int) -> Finder:
    """The first ``depth`` documents of each run, each by the passage of it that has most of the question's
    words. Documents that the collection does not have are left out. Raises UnknownCollection."""
    catalogue = services.catalogue()
    names = Names(info.id for info in catalogue.documents(collection))

    def passage(query: Query, document: str) -> Chunk | None:
        ids = names.of(document)
        return closest(catalogue.chunks(collection, ids[0]), query.text) if len(ids) == 1 else None

    def find(query: Query) -> list[list[Chunk]]:
        rankings = []
        for run in runs:
            ranked = run.run.results.get(query.id, ())[:depth]
            passages = (passage(query, document) for document, _ in ranked)
            rankings.append([chunk for chunk in passages if chunk is not None])
        return rankings

    return find


def together(finders: Sequence[Finder]) -> Finder:
    """What all of them find."""
    return lambda query: [ranking for find in finders for ranking in find(query)]


def closest(chunks: Iterable[Chunk], question: str) -> Chunk | None:
    """The chunk that holds most of the question's words; of several the first, None of none.

    >>> chunks = [Chunk("d", "The port is large.", 0, 18), Chunk("d", "The port opens at nine.", 19, 42)]
    >>> closest(chunks, "When does the port open?").text
    'The port opens at nine.'
    """

    def shared(chunk: Chunk) -> int:
        text = chunk.embedded_text
        return len({fold(text[start:end]) for start, end in matches(question, text)})

    return max(chunks, key=shared, default=None)


# --- questions ------------------------------------------------------------------------------------


def add_questions(store: EvaluationStore, name: str, texts: Iterable[str]) -> list[Query]:
    """Put questions into a set, which is made where it is not; those that it did not have yet.

    Raises InvalidQuery for an empty one.
    """
    asked = [_query(text) for text in texts]
    return _added(store, name, asked)


def add_from_traces(services: Services, store: EvaluationStore, name: str, *, limit: int) -> list[Query]:
    """Put up to ``limit`` questions that people asked into a set, which is made where it is not: first those
    whose answer was judged wrong, then those that somebody corrected, then the others, each newest first.

    Questions that were not kept, or stand in the set already, are left out; those added are returned, with
    the trace's id in their metadata. Raises NotFound where there are no traces.
    """
    known = _known(store, name)
    found: dict[str, Query] = {}
    for trace in _traces(services, 4 * limit):
        if len(found) == limit:
            break
        if trace.kept == "text" and trace.question.strip():
            query = _query(trace.question, trace=trace.id)
            if (plain := _plain(query.text)) not in known:
                found.setdefault(plain, query)
    return _added(store, name, found.values())


def _traces(services: Services, recent: int) -> Iterator[Trace]:
    with services.traces() as store:
        yield from store.find(Wanted(feedback="down"))
        said_of = store.find(Wanted(feedback="any"))
        said = store.said(trace.id for trace in said_of)
        yield from (trace for trace in said_of if corrected(said[trace.id]))
        yield from store.find(limit=recent)


def _query(text: str, **metadata: str) -> Query:
    """A question named by the digest of its text, as in a file of questions without ids."""
    plain = " ".join(clean_text(text).split())
    if not plain:
        raise InvalidQuery("a question without words: say what is asked")
    return Query(f"q-{text_digest(plain)[:12]}", plain, metadata=metadata)


def _added(store: EvaluationStore, name: str, queries: Iterable[Query]) -> list[Query]:
    known = _known(store, name)
    new: dict[str, Query] = {}
    for query in queries:
        if (plain := _plain(query.text)) not in known:
            new.setdefault(plain, query)
    if new:
        store.ask(name, list(new.values()))
    return list(new.values())


def _known(store: EvaluationStore, name: str) -> set[str]:
    if all(each.name != name for each in store.sets()):
        return set()
    judged = store.judged_set(name)
    return {_plain(query.text) for query in (*judged.questions, *judged.unanswerable)}


def _plain(text: str) -> str:
    """What two ways to write one question have in common."""
    return " ".join(folded(text)) or text
