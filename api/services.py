"""What every way in calls: taking documents in, asking, looking after what is there.

``connect(settings)`` gives it to commands and routes; :mod:`api.parts` says of what it is put together,
:mod:`api.intake` takes documents in, :mod:`api.asking` answers.
Nothing is loaded before it is needed: a ``rag documents list`` never waits for a model.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.asking import Asking
from api.calibration import calibration_of, forget_calibration, summary
from api.intake import Intake
from api.naming import ids_of, remove_under
from api.prompts.library import find
from api.prompts.traces import Recorder, feedback, recorded
from api.schemas import CollectionOut
from api.sections import Collections
from api.settings import Settings
from indexes.catalogue import CollectionInfo, DocumentInfo
from indexes.traces import TraceStore
from rag.answer import Event, Rendered
from rag.context import Context
from rag.errors import UnknownPrompt
from rag.filters import EVERYTHING, Where
from rag.prompts import PromptTemplate, load
from rag.prompts.versions import reference
from rag.protocols import Item
from rag.retrieve import Retriever, Trail
from rag.trace import Feedback, WayIn
from rag.types import Chunk, Document, Hit

if TYPE_CHECKING:
    from indexes import backup
    from indexes.collection import SqliteCollection
    from indexes.doctor import Report


def connect(settings: Settings) -> Services:
    """The product, wired as ``settings`` say."""
    return Services(settings)


class Services(Intake):
    """What every way in calls. Safe in any thread; close it, or use it as a context manager.

    Raises InvalidSetting for settings that contradict each other.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.way: WayIn = "python"
        """How questions come in, for their traces."""
        keys = (settings.llm_api_key, settings.chroma_token)
        secrets = [key.get_secret_value() for key in keys if key]
        self.recorder = Recorder(settings.data, settings.traces, secrets=secrets)
        self._asking = Asking(self, self._embedders)

    def close(self) -> None:
        """Close what was opened, once the traces are written."""
        self.recorder.close()
        super().close()

    def prompt(self, reference: str) -> PromptTemplate:
        """The prompt that a reference names. Raises as :func:`api.prompts.library.find`."""
        return find(self, reference).template

    # --- asking ------------------------------------------------------------------------------

    def search(
        self,
        question: str,
        *,
        collection: Collections = None,
        k: int | None = None,
        where: Where = EVERYTHING,
        mode: str | None = None,
    ) -> list[Hit]:
        """The best chunks for a question. Raises UnknownCollection, InvalidQuery, EmbedderMismatch."""
        return list(self.trace(question, collection=collection, k=k, where=where, mode=mode).hits)

    def trace(
        self,
        question: str,
        *,
        collection: Collections = None,
        k: int | None = None,
        where: Where = EVERYTHING,
        mode: str | None = None,
        reranker: str | None = None,
    ) -> Trail:
        """The same search with what every stage did. ``reranker`` in place of the settings' ("": none).

        Raises as :meth:`search`, and ModelNotFound for a reranker that is not to be had.
        """
        found, retriever = self._asking.retriever(collection, mode=mode, reranker=reranker)
        return retriever.trace(found, question, k=k, where=where)

    def searching(
        self, collection: Collections = None, *, wanted: Mapping[str, Any] | None = None
    ) -> tuple[SqliteCollection, Retriever]:
        """Collections, and what searches them with these fields of the retrieval's settings on top, for many
        questions at once. Raises as :meth:`search`, and InvalidSetting."""
        return self._asking.retriever(collection, wanted=wanted)

    def read(self, chunk: Chunk, start: int, end: int) -> str:
        """``[start:end]`` of the document that a chunk is of."""
        return self._asking.read(chunk, start, end)

    def traces(self) -> TraceStore:
        """What was asked until now, to be closed after use. Raises NotFound before the first trace."""
        self.recorder.flush()
        return TraceStore.open(self.settings.data)

    def feedback(
        self,
        trace: str,
        *,
        score: float | None = None,
        comment: str = "",
        answer: str = "",
        author: str = "",
    ) -> Feedback:
        """Say something of an answer. Raises as :func:`api.prompts.traces.feedback`."""
        with self.traces() as store:
            return feedback(
                store, self.recorder, trace, score=score, comment=comment, answer=answer, author=author
            )

    def ask_events(
        self,
        question: str,
        *,
        collection: Collections = None,
        k: int | None = None,
        where: Where = EVERYTHING,
        prompt: str | None = None,
        variables: Mapping[str, str] | None = None,
        exclude: AbstractSet[str] = frozenset(),
    ) -> Iterator[Event]:
        """Retrieved context, pieces of the answer, then the whole Answer; a trace of it is kept.

        Where the call names no collection, the prompt's own are searched, else that of the settings; nothing
        for a prompt that takes no context. ``exclude`` are ids of examples that are never shown.
        """
        name = prompt or self.settings.prompts.default

        def events() -> Generator[Event]:
            template = self._asked(name)
            found, pipeline = self._asking.pipeline(collection, template, chat=self.chat)
            yield from pipeline.stream(
                found, question, prompt=template, k=k, where=where, variables=variables, exclude=exclude
            )

        if not self.settings.traces.enabled:
            yield from events()
            return
        yield from recorded(
            events(),
            question=question,
            prompt=name,
            k=k,
            variables=variables,
            model=self.settings.llm.model,
            way=self.way,
            put=self.recorder.put,
            count_tokens=self.count_tokens,
        )

    def render(
        self,
        question: str,
        *,
        collection: Collections = None,
        k: int | None = None,
        where: Where = EVERYTHING,
        prompt: str | PromptTemplate | None = None,
        variables: Mapping[str, str] | None = None,
        exclude: AbstractSet[str] = frozenset(),
    ) -> Rendered:
        """Exactly what the model would get. No model is made, so that none need be reached."""
        template = self._asked(prompt or self.settings.prompts.default)
        found, pipeline = self._asking.pipeline(collection, template, chat=None)
        return pipeline.render(
            found, question, prompt=template, k=k, where=where, variables=variables, exclude=exclude
        )

    def context(
        self,
        question: str,
        *,
        k: int | None = None,
        where: Where = EVERYTHING,
        mode: str | None = None,
        reranker: str | None = None,
    ) -> tuple[Trail, Context]:
        """What an answer would be made from, in the collection in use: the search and the context, as the
        default prompt asks for them, or the shipped ``answer`` where that takes none. Raises as
        :meth:`trace`."""
        template = self._asked(self.settings.prompts.default)
        if "context" not in template.names:
            template = load("answer")
        found, pipeline = self._asking.pipeline(
            self.settings.collection, template, chat=None, mode=mode, reranker=reranker
        )
        return pipeline.context(found, question, prompt=template, k=k, where=where)

    def _asked(self, prompt: str | PromptTemplate) -> PromptTemplate:
        """The prompt of a question, in its variant for the model that the settings name."""
        if isinstance(prompt, PromptTemplate):
            return prompt
        if self.way == "http" and reference(prompt).path is not None:
            raise UnknownPrompt(
                f"no prompt {prompt!r}: files are not read over HTTP; name one, as answer or answer@3"
            )
        return self.prompt(prompt).for_model(self.settings.llm.model)

    # --- looking after -----------------------------------------------------------------------

    def collections(self) -> list[CollectionInfo]:
        """Every collection, by name; none before the first ingest."""
        return self.catalogue().collections() if self.exists else []

    def collection_info(self, name: str) -> CollectionInfo:
        """One collection. Raises UnknownCollection."""
        catalogue = self.catalogue()
        catalogue.collection(name)
        return next(info for info in catalogue.collections() if info.name == name)

    def remove_collection(self, name: str, *, keep_vectors: bool = False) -> None:
        """Forget a collection."""
        self.catalogue().remove_collection(name, wait=5.0, keep_vectors=keep_vectors)
        forget_calibration(self.catalogue(), name)

    def documents(self) -> list[DocumentInfo]:
        """The documents of the collection in use."""
        return self.catalogue().documents(self.settings.collection)

    def metadata_names(self, collection: Collections = None) -> list[str]:
        """The keys that the metadata of a collection has, or of several (None: of that in use)."""
        return self.catalogue().collection(*self.settings.named(collection)).metadata_names()

    def failed_items(self) -> list[Item]:
        """What could not be taken in, as of the last ingest."""
        return [
            item for item in self.catalogue().ledger(self.settings.collection).items().values() if item.reason
        ]

    def document(self, name: str) -> tuple[Document, list[Chunk]]:
        """A document by its id, or by the end of it when that names one alone, and its chunks."""
        [name] = self.document_ids([name])
        catalogue, collection = self.catalogue(), self.settings.collection
        return catalogue.document(collection, name), catalogue.chunks(collection, name)

    def remove_documents(self, names: Sequence[str], *, under: str | None = None) -> int:
        """Forget documents, by id or the end of it, and all that came from ``under``. Returns how many."""
        catalogue, collection = self.catalogue(), self.settings.collection
        removed = 0
        if names:
            ids = list(dict.fromkeys(self.document_ids(names)))
            removed += catalogue.remove_documents(collection, ids, wait=5.0)
        if under is not None:
            # A collection of failures alone was never cut; the writer wants a space all the same.
            space = catalogue.ledger(collection).space or self.space()
            removed += remove_under(catalogue, collection, under, space=space)
        return removed

    def document_ids(self, names: Sequence[str]) -> list[str]:
        """The ids of documents, each named by its id or by the end of it. Raises UnknownDocument."""
        collection = self.settings.collection
        return ids_of(names, {document.id for document in self.documents()}, collection=collection)

    def doctor(self, *, repair: bool = False) -> Report:
        """Check every invariant of the data folder; with ``repair``, rebuild what can be rebuilt."""
        from indexes import doctor

        catalogue = self.catalogue(create=self.has_library)
        return doctor.repair(catalogue) if repair else doctor.check(catalogue)

    def restore(
        self, file: Path, *, force: bool = False, on_progress: backup.Tell = lambda *_: None
    ) -> tuple[backup.Restored, Report]:
        """Put a backup into the data folder, build its indexes. Raises as :func:`indexes.backup.restore`."""
        from indexes import backup, doctor

        self.close()
        restored = backup.restore(file, self.settings.data, force=force, wait=5.0, on_progress=on_progress)
        on_progress("building the indexes", 0, 1)
        return restored, doctor.repair(self.catalogue(), wait=5.0)

    def status(self) -> dict[str, Any]:
        """Where the data lies, what is in it, what answers."""
        section = self.settings
        precision = self._embedders.precision(self.catalogue() if self.exists else None)
        size = sum(path.stat().st_size for path in section.data.rglob("*") if path.is_file())
        return {
            "data": str(section.data),
            "bytes": size,
            "embedder": f"{section.embedder.model} ({precision or 'auto: measured at first use'})",
            "llm": section.llm.model,
            "collections": [
                CollectionOut.of(info).model_dump() | {"calibration": self._calibration(info.name)}
                for info in self.collections()
            ],
        }

    def _calibration(self, name: str) -> dict[str, Any] | None:
        made = calibration_of(self.catalogue(), name)
        return None if made is None else summary(made, answered=self.settings.answer.answered)

    def health(self) -> dict[str, Any]:
        """Whether questions can be answered now."""
        return {"collections": len(self.collections())}
