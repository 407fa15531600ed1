"""What differs: the sources compared with what the collection holds.

What is kept is decided by content: an item by the SHA-256 of its bytes and its parser's fingerprint, a
document by its digest, a text by its hash and the embedder's fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias

from rag.errors import ReasonCode, SourceError
from rag.language import detect
from rag.protocols import (
    Item,
    Ledger,
    PutChunks,
    PutDocument,
    PutItem,
    RemoveDocument,
    RemoveItem,
    Space,
)
from rag.types import Chunk, Document

WORTH_RETRYING = frozenset(
    {"unreadable", "vanished", "timeout", "out_of_memory", "crashed", "http", "network"}
)
"""Failures that the next run may not meet again. The others hold as long as the bytes stay the same."""


class Chunker(Protocol):
    """Cuts documents. ``fingerprint`` changes whenever a cut could."""

    @property
    def fingerprint(self) -> str: ...

    def cut(self, document: Document) -> Iterable[Chunk]: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a source, ready to be compared and, only if it changed, parsed."""

    item: Item
    parse: Callable[[], Iterator[Document]]


@dataclass(frozen=True, slots=True)
class Failure:
    """One file, URL or record that could not be taken in, or not wholly."""

    uri: str
    code: ReasonCode
    detail: str


class Source(Protocol):
    """Where items come from. ``prefix`` is what their URIs start with; ``whole`` says whether items
    of that prefix that are no longer listed have gone (a folder) or not (texts sent to an API)."""

    @property
    def prefix(self) -> str: ...

    @property
    def whole(self) -> bool: ...

    def count(self) -> int:
        """How many entries to expect, told cheaply: for the progress bar."""

    def entries(self) -> Iterator[Entry | Failure]: ...


# --- the decision ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """An item that is as it was: nothing is read again."""

    documents: int


@dataclass(frozen=True, slots=True)
class Put:
    """A document that is new (``known`` False) or differs from its stored version."""

    change: PutDocument
    known: bool
    reparsed: bool


@dataclass(frozen=True, slots=True)
class Same:
    """A document of a changed item that is as it was."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Documents that no longer exist."""

    change: RemoveDocument | RemoveItem
    documents: int


@dataclass(frozen=True, slots=True)
class Read:
    """An item whose documents have all been decided. ``reparsed``: only its parser had changed."""

    change: PutItem
    reparsed: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """An item that could not be taken in. ``changes`` records that, where it is not known yet."""

    failure: Failure
    changes: tuple[PutItem, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A stored document cut anew for another space."""

    change: PutChunks


Step: TypeAlias = Kept | Put | Same | Gone | Read | Moved | Failed

ITEM_DONE = (Kept, Read, Failed)


def decide(sources: Iterable[Source], ledger: Ledger, chunker: Chunker) -> Iterator[Step]:
    """What an ingest of ``sources`` has to do, in an order in which it can be done.

    An item that several sources name (a folder and a file in it) is decided once.

    A document that fails to parse keeps its last good version; an item that cannot be read keeps
    its documents. A folder that lists nothing at all while it had items is a failure, not a
    removal of everything: an unmounted disk looks like that.
    """
    done: set[str] = set()
    for source in sources:
        stored = ledger.items(source.prefix)
        listed = False
        unlisted: list[str] = []
        for entry in source.entries():
            listed = True
            uri = entry.uri if isinstance(entry, Failure) else entry.item.uri
            if uri in done:
                continue
            done.add(uri)
            if isinstance(entry, Failure):
                unlisted.append(
                    uri
                )  # perhaps a folder that cannot be read: what is below it may still be there
                yield Failed(entry)
            else:
                yield from _decide_item(entry, stored.get(uri), ledger, chunker)
        if source.whole:
            gone = [uri for uri in stored if uri not in done and not uri.startswith(tuple(unlisted))]
            yield from _decide_gone(source.prefix, gone, listed, ledger)


def _decide_gone(prefix: str, gone: Sequence[str], listed: bool, ledger: Ledger) -> Iterator[Step]:
    if gone and not listed:
        detail = (
            f"the folder is empty, but {len(gone)} files were taken in from it; nothing was removed. "
            f"If they are really gone: rag documents remove --under {prefix.removeprefix('file://')}"
        )
        yield Failed(Failure(prefix, "vanished", detail))
        return
    for uri in gone:
        yield Gone(RemoveItem(uri), documents=len(ledger.digests(uri)))


def _decide_item(entry: Entry, stored: Item | None, ledger: Ledger, chunker: Chunker) -> Iterator[Step]:
    item = entry.item
    same_bytes = stored is not None and stored.sha256 == item.sha256
    if stored is not None and same_bytes and stored.parser == item.parser:
        if not stored.reason:
            yield Kept(documents=len(ledger.digests(item.uri)))
            return
        if stored.reason not in WORTH_RETRYING:
            yield Failed(Failure(item.uri, stored.reason, stored.detail))
            return
    known = ledger.digests(item.uri)
    met: set[str] = set()
    try:
        for document in entry.parse():
            met.add(document.id)
            if known.get(document.id) == document.digest:
                yield Same()
                continue
            chunks = tuple(chunker.cut(document))
            change = PutDocument(item.uri, document, chunks)
            yield Put(change, known=document.id in known, reparsed=same_bytes)
    except SourceError as error:
        failed = Item(item.uri, item.sha256, item.parser, reason=error.code, detail=str(error))
        yield Failed(Failure(item.uri, error.code, str(error)), (PutItem(failed),))
        return
    for document_id in known.keys() - met:
        yield Gone(RemoveDocument(document_id), documents=1)
    yield Read(PutItem(item), reparsed=same_bytes)


def move(ledger: Ledger, space: Space, chunker: Chunker) -> Iterator[Moved]:
    """The stored documents, cut anew, when the collection's space is another one than ``space``."""
    if needs_move(ledger, space):
        for document in ledger.unmoved(space):
            yield Moved(PutChunks(document, tuple(chunker.cut(document))))


def needs_move(ledger: Ledger, space: Space) -> bool:
    """Whether the collection is cut or embedded otherwise than ``space`` says."""
    now = ledger.space
    return now is not None and (
        now.chunker != space.chunker or now.embedder.fingerprint != space.embedder.fingerprint
    )


def texts_source(documents: Iterable[Document], *, parser: str = "text") -> Source:
    """Documents that need no parsing, each an item of its own: what an application sends. Their language
    is told where they do not say it.

    >>> source = texts_source([Document("faq-1", "We open at nine.")])
    >>> [entry.item.uri for entry in source.entries()]
    ['text:faq-1']
    """
    return _Texts(tuple(documents), parser)


@dataclass(frozen=True, slots=True)
class _Texts:
    documents: tuple[Document, ...]
    parser: str
    prefix: str = "text:"
    whole: bool = False

    def count(self) -> int:
        return len(self.documents)

    def entries(self) -> Iterator[Entry | Failure]:
        for document in self.documents:
            item = Item(f"text:{document.id}", document.digest, self.parser)
            yield Entry(item, partial(_as_it_is, document))


def _as_it_is(document: Document) -> Iterator[Document]:
    if not document.text.strip():
        raise SourceError("empty", "the text is empty")
    if not document.metadata.get("language") and (language := detect(document.text)):
        document = replace(document, metadata={**document.metadata, "language": language})
    yield document
