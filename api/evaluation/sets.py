"""Judged sets by what people call them, into the data folder and out of it, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rag.errors import EvaluationError, NotFound
from rag.evaluate import Evaluation, JudgedSet, Run, measured
from rag.evaluate.anchors import Located, anchored, locate_all, mended, resolved
from rag.evaluate.formats.beir import documents_of
from rag.evaluate.formats.lines import Tell, quiet
from rag.evaluate.quotations import Names
from rag.evaluate.sets import (
    read_evaluation,
    read_run,
    read_set,
    write_beir,
    write_evaluation,
    write_questions,
    write_run,
    write_trec,
)
from rag.trace import stamp

if TYPE_CHECKING:
    from api.services import Services
    from indexes.catalogue import Catalogue
    from indexes.evaluations.store import KeptSet
    from rag.types import Document

SET_FORMATS = ("beir", "trec", "jsonl")
RUN_FORMATS = ("trec", "json")


@dataclass(frozen=True, slots=True)
class Imported:
    """A set as it was kept. ``quotations`` were looked for in its documents, ``unfound`` do not stand there:
    0 both where its documents are not known."""

    judged: JudgedSet
    corpus: str
    quotations: int
    unfound: int


def find_set(
    services: Services, reference: str, *, queries: str = "", qrels: str = "", tell: Tell = quiet
) -> JudgedSet:
    """A judged set by the path of a folder or file (see :func:`rag.evaluate.sets.read_set`), else by the name
    that it was kept under; the latter with its own documents where they still lie where they lay.

    Raises NotFound naming both possibilities, EvaluationError.
    """
    path = Path(reference)
    if path.exists():
        return read_set(path, queries=queries, qrels=qrels, tell=tell)
    kept = {each.name: each.corpus for each in kept_sets(services)}
    if reference not in kept:
        there = f"there are {', '.join(list(kept)[:10])} (rag eval sets)" if kept else "there are none yet"
        raise NotFound(
            f"no judged set {reference!r}: there is no such folder or file, and of kept sets {there}"
        )
    if queries or qrels:
        raise EvaluationError(
            f"{reference!r} is a kept set: --queries and --qrels are for sets that lie in files"
        )
    with services.evaluations() as store:
        judged = store.judged_set(reference)
    corpus = Path(kept[reference]) / "corpus.jsonl" if kept[reference] else None
    if corpus is None or not corpus.is_file():
        return judged
    documents = {each.document_id for each in judged.judgements}
    return replace(judged, corpus=partial(documents_of, corpus, documents))


def kept_sets(services: Services) -> list[KeptSet]:
    """The sets that the data folder keeps, by name; none before the first."""
    try:
        with services.evaluations() as store:
            return store.sets()
    except NotFound:
        return []


def import_set(
    services: Services,
    path: Path,
    *,
    name: str = "",
    queries: str = "",
    qrels: str = "",
    collection: str = "",
    note: str = "",
    tell: Tell = quiet,
) -> Imported:
    """Keep a set under a name ("": that of its file), with the surroundings of what it quotes.

    Those are read from its own documents, or from ``collection``, which also says whether the documents that
    it judges are there. One that is kept under that name gets these questions; what was judged is added.
    Raises EvaluationError, UnknownCollection, LockHeld.
    """
    judged = read_set(path, queries=queries, qrels=qrels, tell=tell)
    judged = replace(judged, name=name or judged.name)
    texts: Mapping[str, str] = {}
    if collection:
        texts = Texts(services.catalogue(), collection)
        resolved(
            judged,
            list(texts),
            tell=lambda count, one: tell(
                f"judged documents that are not in {collection!r}: {count}, such as {one!r}"
            ),
        )
    elif judged.corpus is not None:
        wanted = {each.document_id for each in judged.judgements}
        texts = {each.id: each.text for each in judged.documents() if each.id in wanted}
    quotations = unfound = 0
    if texts:
        judged = replace(judged, judgements=tuple(anchored(judged.judgements, texts)))
        quoting = [each for each in judged.judgements if each.quotation]
        lost = [each.judgement for each in locate_all(quoting, texts) if each.status == "lost"]
        quotations, unfound = len(quoting), len(lost)
        if lost:
            tell(
                f"not in their documents: {unfound} of {quotations} quotations, such as "
                f"{lost[0].quotation[:60]!r} of {lost[0].document_id!r}"
            )
    corpus = str(path.resolve()) if judged.corpus is not None else ""
    with services.evaluations(create=True) as store:
        store.put_set(judged, corpus=corpus, note=note)
    return Imported(judged, corpus, quotations, unfound)


def import_run(
    services: Services, path: Path, judged: JudgedSet | None, *, system: str = "", tell: Tell = quiet
) -> Evaluation:
    """Keep a run of any other system, measured on a set: TREC's form, or what ``rag eval export`` wrote as
    JSON, which knows its set. A question that it has no results for counts 0. Raises EvaluationError,
    LockHeld.
    """
    if path.suffix == ".json":
        whole = read_evaluation(path)
        if system:
            whole = replace(whole, run=Run(system, whole.run.results))
        judged_run = whole if judged is None else _measured(whole.run, judged, path, tell)
    elif judged is None:
        raise EvaluationError(f"{path}: a run is measured on a judged set: name it with --set")
    else:
        judged_run = _measured(read_run(path, name=system, tell=tell), judged, path, tell)
    with services.evaluations(create=True) as store:
        return store.add(judged_run)


def _measured(run: Run, judged: JudgedSet, path: Path, tell: Tell) -> Evaluation:
    known = {query.id for query in (*judged.queries, *judged.unanswerable)}
    answered = {query: found for query, found in run.results.items() if query in known}
    asked = [query.id for query in judged.queries]
    if not any(query in answered for query in asked):
        some = next(iter(run.results))
        raise EvaluationError(
            f"{path}: none of its {len(run.results)} questions, such as {some!r}, is among the {len(asked)} "
            f"judged ones of {judged.name}, such as {asked[0]!r}; are the ids of one kind?"
        )
    found = dict.fromkeys(document for query in asked for document, _ in answered.get(query, ()))
    names = Names(found)
    if not any(names.of(document) for query in asked for document in judged.qrels[query]):
        some, other = next(iter(found), ""), next(iter(judged.qrels[asked[0]]))
        raise EvaluationError(
            f"{path}: none of the documents that it found, such as {some!r}, was judged in {judged.name}, "
            f"which has {other!r}, for one; are the ids of one kind?"
        )
    if left := [query for query in run.results if query not in answered]:
        tell(
            f"{path}: questions that {judged.name} does not judge: {len(left)}, such as {left[0]!r}; left out"
        )
    if without := [query for query in asked if query not in answered]:
        tell(
            f"{path}: without results: {len(without)} of {len(asked)} questions, such as {without[0]!r}; "
            "they count 0"
        )
    kept = Run(run.name, answered)
    return Evaluation(
        kept,
        measured(kept, asked, resolved(judged, found).qrels),
        questions=judged.queries,
        set_name=judged.name,
        set_source=judged.source,
        set_digest=judged.digest,
        settings={"imported": path.name},
        at=stamp(datetime.now(UTC)),
    )


def export_set(services: Services, judged: JudgedSet, to: Path, *, form: str, collection: str = "") -> None:
    """Write a set as ``form`` says, one of SET_FORMATS; a BEIR folder with the documents of ``collection``
    where it has none of its own. Raises EvaluationError, UnknownCollection."""
    if form not in SET_FORMATS:
        raise EvaluationError(f"a set is written as {', '.join(SET_FORMATS)}, not {form!r}")
    if collection:
        catalogue = services.catalogue()
        ids = [info.id for info in catalogue.documents(collection)]
        judged = resolved(judged, ids)
        if judged.corpus is None:
            judged = replace(judged, corpus=partial(_all, catalogue, collection, ids))
    if form == "jsonl":
        _new(to)
        write_questions(judged, to)
    elif form == "trec":
        write_trec(judged, to)
    else:
        write_beir(judged, to)


def export_run(evaluation: Evaluation, to: Path, *, form: str) -> None:
    """Write a run as ``form`` says, one of RUN_FORMATS. Raises EvaluationError."""
    if form not in RUN_FORMATS:
        raise EvaluationError(f"a run is written as {', '.join(RUN_FORMATS)}, not {form!r}")
    _new(to)
    if form == "trec":
        write_run(evaluation.run, to)
    else:
        write_evaluation(evaluation, to)


def status(services: Services, judged: JudgedSet, *, collection: str = "") -> list[Located]:
    """What became of every judgement of a set, in ``collection`` ("": in its own documents, else in the
    collection in use). Raises EvaluationError, UnknownCollection, NotFound."""
    if not collection and judged.corpus is not None:
        texts: Mapping[str, str] = {each.id: each.text for each in judged.documents()}
    else:
        texts = Texts(services.catalogue(), collection or services.settings.collection)
    return locate_all(judged.judgements, texts)


def mend(services: Services, name: str, located: list[Located]) -> int:
    """Judge those that moved where they stand now; how many they were. Raises NotFound, LockHeld."""
    added = mended(located)
    if added:
        with services.evaluations() as store:
            store.judge(name, added)
    return len(added) // 2


class Texts(Mapping[str, str]):
    """The texts of a collection's documents by id, each read when it is asked for.

    Raises UnknownCollection when it is made.
    """

    def __init__(self, catalogue: Catalogue, collection: str) -> None:
        self._catalogue, self._collection = catalogue, collection
        self._ids = dict.fromkeys(info.id for info in catalogue.documents(collection))

    def __getitem__(self, id: str) -> str:
        if id not in self._ids:
            raise KeyError(id)
        return self._catalogue.document(self._collection, id).text

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def _all(catalogue: Catalogue, collection: str, ids: list[str]) -> Iterator[Document]:
    for id in ids:
        yield catalogue.document(collection, id)


def _new(path: Path) -> None:
    if path.exists():
        raise EvaluationError(f"{path} is there already: choose another name, or remove it")
