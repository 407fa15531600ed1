"""What is left to judge of a question: what was found for it and not judged, or judged by others only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from api.evaluation.candidates import Finder
from rag.evaluate.agreement import same_place
from rag.evaluate.anchors import locate
from rag.evaluate.evidence import Span
from rag.evaluate.judgements import Judgement, last_words
from rag.evaluate.pool import BATCH, blind, most_telling
from rag.evaluate.quotations import Names
from rag.types import Chunk, Document, Query

if TYPE_CHECKING:
    from indexes.catalogue import Catalogue


class Agenda:
    """The passages of a collection to be judged, by question, in the order to ask them in.

    ``said`` is query id -> all that was judged of it; what is added to it later counts.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        collection: str,
        find: Finder,
        said: Mapping[str, Sequence[Judgement]],
        *,
        depth: int,
    ) -> None:
        self._catalogue = catalogue
        self._collection = collection
        self._find = find
        self._said = said
        self._depth = depth
        self._documents: dict[str, Document] = {}

    def unjudged(self, query: Query) -> list[Chunk]:
        """What the systems found and nobody judged: in batches, what tells most of the systems apart first,
        each batch in an order that hides who found what."""
        rankings = self._find(query)
        chunks = {_span(chunk): chunk for ranking in rankings for chunk in ranking}
        places = [[_span(chunk) for chunk in ranking] for ranking in rankings]
        telling = most_telling(places, self._depth, seed=query.id)
        left = [span for span in telling if next(self._of(query, chunks[span]), None) is None]
        return [
            chunks[span]
            for start in range(0, len(left), BATCH)
            for span in blind(left[start : start + BATCH], seed=query.id)
        ]

    def judged_by_others(self, query: Query, judge: str) -> list[Chunk]:
        """The passages that others judged and this judge did not. Whole, even where words of them were
        quoted: a quotation would say that there is something in them."""
        found: dict[Span, Chunk] = {}
        for each in last_words(self._said.get(query.id, ())):
            ids = self._names.of(each.document_id)
            if each.judge == judge or not each.quotation or len(ids) != 1:
                continue
            there = locate(each, self.document(ids[0]).text).span
            for chunk in self._catalogue.chunks(self._collection, ids[0]) if there else ():
                if there and same_place((there.start, there.end), (chunk.start, chunk.end)):
                    found[_span(chunk)] = chunk
        left = [
            span
            for span, chunk in found.items()
            if all(said.judge != judge for said in self._of(query, chunk))
        ]
        return [found[span] for span in blind(left, seed=query.id)]

    def document(self, id: str) -> Document:
        """A document of the collection. Raises UnknownDocument."""
        if id not in self._documents:
            self._documents[id] = self._catalogue.document(self._collection, id)
        return self._documents[id]

    def _of(self, query: Query, chunk: Chunk) -> Iterator[Judgement]:
        """What was last said of this passage: of words in it or around it, or of its whole document."""
        id = chunk.document_id
        for each in last_words(self._said.get(query.id, ())):
            if id != each.document_id and not id.endswith(f"/{each.document_id}"):
                continue
            there = locate(each, self.document(id).text).span if each.quotation else None
            if not each.quotation or (
                there is not None and same_place((there.start, there.end), (chunk.start, chunk.end))
            ):
                yield each

    @cached_property
    def _names(self) -> Names:
        return Names(info.id for info in self._catalogue.documents(self._collection))


def _span(chunk: Chunk) -> Span:
    return Span(chunk.document_id, chunk.start, chunk.end)
