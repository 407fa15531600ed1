"""The examples of a prompt for a question: from a file beside it, or from a collection."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexes.memo import Memo
from rag.errors import PromptError, UnknownCollection
from rag.filters import EVERYTHING
from rag.prompts import PromptTemplate
from rag.prompts.examples import (
    POOL,
    VARIABLE,
    Chosen,
    Example,
    ExampleSettings,
    choose,
    read_examples,
)
from rag.prompts.parts import path_of
from rag.types import MetadataValue

if TYPE_CHECKING:
    from api.parts import Parts

LONGEST = 10_000
"""Characters at which an ingest cuts a value of metadata: an output that long is no whole one."""
_KEPT = 8
"""Sets of examples that are held in memory."""


class ExampleSets:
    """What :class:`rag.answer.Pipeline` asks for the examples of a prompt. Safe in any thread.

    The inputs of a file are embedded once and remembered in the data folder.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._read: dict[str, tuple[Example, ...]] = {}

    def __call__(
        self, template: PromptTemplate, question: str, *, exclude: Collection[str] = ()
    ) -> Sequence[Example]:
        """Those for a question, the most similar last; none for a prompt without a set. Raises as
        :meth:`chosen`."""
        return self.chosen(template, question, exclude=exclude).examples

    def chosen(self, template: PromptTemplate, question: str, *, exclude: Collection[str] = ()) -> Chosen:
        """The same with what they cost. ``exclude`` are ids that are never taken: of the items an evaluation
        asks about.

        Raises PromptError for a set that is not there or cannot be read, and for a prompt that has no input
        to put it in.
        """
        settings = ExampleSettings.of(template)
        if settings is None:
            return Chosen((), 0, ())
        if VARIABLE not in template.names:
            raise PromptError(
                f"prompt {template.name!r} names a set of examples, and has no input for them: declare "
                f"`- {{name: {VARIABLE}, kind: array, required: false}}` under inputs, and write them out in "
                "the body"
            )
        if settings.file:
            return self._from_file(template, question, settings, exclude)
        return self._from_collection(template, question, settings, exclude)

    def of_file(self, template: PromptTemplate, settings: ExampleSettings) -> tuple[Example, ...]:
        """All examples of the file that a prompt names. Raises PromptError."""
        text = _text(self._parts, template, settings.file)
        with self._lock:
            if (known := self._read.get(text)) is not None:
                return known
        found = read_examples(text, name=settings.file)
        with self._lock:
            while len(self._read) >= _KEPT:
                del self._read[next(iter(self._read))]
            self._read[text] = found
        return found

    def _from_file(
        self, template: PromptTemplate, question: str, settings: ExampleSettings, exclude: Collection[str]
    ) -> Chosen:
        examples = self.of_file(template, settings)
        embedder = self._parts.embedder()
        # A question is compared with questions: both are embedded as such.
        memo = Memo(self._parts.settings.data)
        vectors = memo.vectors(embedder, [example.input for example in examples], input_type="query")
        (vector,) = embedder.embed([question], input_type="query")
        return choose(
            question,
            examples,
            vectors=vectors,
            vector=vector,
            settings=settings,
            count_tokens=self._parts.count_tokens,
            exclude=exclude,
        )

    def _from_collection(
        self, template: PromptTemplate, question: str, settings: ExampleSettings, exclude: Collection[str]
    ) -> Chosen:
        name, parts = settings.collection, self._parts
        try:
            embedder = parts.answering_embedder(name)
            collection = parts.catalogue().collection(name, embedder=embedder.info)
        except UnknownCollection as error:
            raise PromptError(
                f"the examples of prompt {template.name!r}: {error}; `rag ingest examples.jsonl -c {name}` "
                "makes it"
            ) from None
        (vector,) = embedder.embed([question], input_type="query")
        wanted = 2 * max(POOL, 4 * settings.k) + len(exclude)
        found = collection.rank(vector=vector, vector_k=wanted, text="", text_k=1, where=EVERYTHING)
        keys, rows = collection.vectors(found.keys)
        best: dict[str, tuple[float, int, MetadataValue, MetadataValue]] = {}
        for chunk in collection.read(keys.tolist()):
            place = int(np.searchsorted(keys, chunk.key))
            cosine = float(rows[place] @ vector)
            if cosine > best.get(chunk.document_id, (-2.0,))[0]:
                about = chunk.metadata
                best[chunk.document_id] = cosine, place, about.get("input", ""), about.get("output", "")
        if not best:
            raise PromptError(f"the examples of prompt {template.name!r}: collection {name!r} is empty")
        examples, places = [], []
        for document, (_, place, input, output) in best.items():
            if (solved := _as_text(output)) and len(solved) < LONGEST:
                text = _as_text(input) or parts.catalogue().document(name, document).text
                examples.append(Example(text, solved, id=document))
                places.append(place)
        if not examples:
            raise PromptError(
                f"the examples of prompt {template.name!r}: the documents of collection {name!r} have no "
                f"metadata `output` shorter than {LONGEST:,} characters; ingest records "
                '{"text": "what is asked", "output": "what is answered"}'
            )
        return choose(
            question,
            examples,
            vectors=rows[np.array(places)],
            vector=vector,
            settings=settings,
            count_tokens=self._parts.count_tokens,
            exclude=exclude,
        )


def _as_text(value: MetadataValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, tuple) else str(value).strip()


def _text(parts: Parts, template: PromptTemplate, file: str) -> str:
    """The set's text: a part of the prompt, or, of one that was read without its folder, the file there."""
    path = path_of(file, beside=f"{template.name}.prompty")
    if path in template.parts:
        return template.parts[path]
    folder = parts.settings.prompts.dir
    try:
        return (folder / path).read_text("utf-8")
    except FileNotFoundError:
        raise PromptError(
            f"the examples of prompt {template.name!r}: there is no file {path} in {folder}; write it, one "
            '{"input": "…", "output": "…"} a line, or name a collection by metadata.examples.collection'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"the examples of prompt {template.name!r}: {folder / path}: {error}") from None
