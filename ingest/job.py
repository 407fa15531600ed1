"""Plan and apply: bring a collection in step with its sources.

One decision, two uses. :func:`decide` walks a source and says, item by item and document by
document, what differs from what the ledger holds; :func:`plan` counts those steps, :func:`run`
embeds and commits them. So a plan never promises what an ingest does not do.

What is kept is decided by content: an item by the SHA-256 of its bytes and its parser's
fingerprint, a document by its digest, a text by its hash and the embedder's fingerprint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np

from rag.errors import ReasonCode, SourceError
from rag.protocols import (
    Change,
    Embedder,
    Item,
    Ledger,
    PutChunks,
    PutDocument,
    PutItem,
    RemoveDocument,
    RemoveItem,
    Space,
    Writer,
)
from rag.types import Chunk, Document, Vectors, text_hash

POOL_TEXTS = 512
"""New texts gathered before they are embedded and committed together: enough to sort into even
batches, few enough that a search sees new documents, and a kill loses, within some seconds."""

POOL_CHANGES = 2_000
"""Changes gathered at most before a commit, where they bring few new texts."""

STEP_TEXTS = 128
"""Texts given to the embedder at a time, so that progress shows and queries are not starved."""

ENOUGH_SECONDS = 2.0
"""Embedding measured for less than this says nothing of the machine."""

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
            f"If they are really gone: rag documents remove --under {prefix}"
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


# --- what is told ------------------------------------------------------------------------------


@dataclass(slots=True)
class Counts:
    """What a job does, or would do. ``characters`` are those of the texts to embed."""

    documents_added: int = 0
    documents_updated: int = 0
    documents_unchanged: int = 0
    documents_removed: int = 0
    documents_failed: int = 0
    items_reparsed: int = 0
    documents_rechunked: int = 0
    chunks: int = 0
    texts_embedded: int = 0
    texts_reused: int = 0
    characters_embedded: int = 0
    failures: list[Failure] = field(default_factory=list)

    def count(self, step: Step) -> None:
        """Add one step."""
        match step:
            case Kept(documents=n):
                self.documents_unchanged += n
            case Same():
                self.documents_unchanged += 1
            case Put(known=known, change=change):
                self.documents_updated += known
                self.documents_added += not known
                self.chunks += len(change.chunks)
            case Gone(documents=n):
                self.documents_removed += n
            case Read(reparsed=reparsed):
                self.items_reparsed += reparsed
            case Moved(change=change):
                self.documents_rechunked += 1
                self.chunks += len(change.chunks)
            case Failed(failure=failure):
                self.documents_failed += 1
                self.failures.append(failure)


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``rag ingest`` would do now. ``seconds`` is None where no rate is known."""

    counts: Counts
    moves: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingest did. ``characters_per_second`` is what it measured of the embedder on this machine;
    None where it embedded too little to tell."""

    counts: Counts
    seconds: float
    characters_per_second: float | None

    @property
    def ok(self) -> bool:
        return not self.counts.failures


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after every item and every batch of texts. ``total`` items are expected."""

    items: int
    total: int
    uri: str
    texts_embedded: int
    texts_waiting: int


def plan(
    sources: Sequence[Source],
    ledger: Ledger,
    *,
    space: Space,
    chunker: Chunker,
    characters_per_second: float | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Plan:
    """Decide without doing. Parses and cuts what changed, so that the counts are those of the ingest."""
    counts = Counts()
    waiting: set[bytes] = set()
    fingerprint = space.embedder.fingerprint
    items, total = 0, sum(source.count() for source in sources)
    for step in _steps(sources, ledger, space, chunker):
        counts.count(step)
        for hashes, chunks in _texts(step):
            missing = ledger.missing(hashes, fingerprint=fingerprint) - waiting
            for key, chunk in zip(hashes, chunks, strict=True):
                if key in missing:
                    missing.discard(key)
                    waiting.add(key)
                    counts.texts_embedded += 1
                    counts.characters_embedded += len(chunk.embedded_text)
                else:
                    counts.texts_reused += 1
        if isinstance(step, ITEM_DONE):
            items += 1
            on_progress(Progress(items, total, "", 0, counts.texts_embedded))
    rate = characters_per_second
    seconds = None if rate is None else counts.characters_embedded / rate
    return Plan(counts, moves=needs_move(ledger, space), seconds=seconds)


def run(
    sources: Sequence[Source],
    writer: Writer,
    *,
    space: Space,
    chunker: Chunker,
    embedder: Embedder,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Do what :func:`plan` says, and publish the indexes. Raises what storage and embedder raise.

    A collection of another space is moved first, beside the one that answers, and swapped when it
    is complete; then the sources are brought in step. Kill it anywhere and run it again: texts
    already embedded are not embedded twice, documents already committed are not read twice.
    """
    started = time.monotonic()
    pool = _Pool(writer, embedder, on_progress, total=sum(source.count() for source in sources))
    if needs_move(writer, space):
        for moved in move(writer, space, chunker):
            pool.counts.count(moved)
            pool.add(moved.change)
        pool.flush()
        writer.activate()
    for step in decide(sources, writer, chunker):
        pool.counts.count(step)
        match step:
            case Put(change=change) | Gone(change=change) | Read(change=change):
                pool.add(change)
            case Failed(changes=changes):
                for record in changes:
                    pool.add(record)
        if isinstance(step, ITEM_DONE):
            pool.item_done(step)
    pool.flush()
    writer.publish()
    return IngestReport(pool.counts, time.monotonic() - started, pool.rate)


def _steps(sources: Sequence[Source], ledger: Ledger, space: Space, chunker: Chunker) -> Iterator[Step]:
    yield from move(ledger, space, chunker)
    yield from decide(sources, ledger, chunker)


def _texts(step: Step) -> Iterator[tuple[list[bytes], Sequence[Chunk]]]:
    if isinstance(step, Put | Moved):
        chunks = step.change.chunks
        yield [text_hash(chunk.embedded_text) for chunk in chunks], chunks


class _Pool:
    """Gathers changes until their new texts are worth a batch, then embeds and commits them together."""

    def __init__(
        self, writer: Writer, embedder: Embedder, on_progress: Callable[[Progress], None], *, total: int
    ) -> None:
        self.counts = Counts()
        self._timed_seconds = 0.0
        self._timed_characters = 0
        self._warm = False
        self._writer = writer
        self._embedder = embedder
        self._on_progress = on_progress
        self._changes: list[Change] = []
        self._waiting: dict[bytes, str] = {}
        self._items = 0
        self._total = total
        self._uri = ""

    @property
    def rate(self) -> float | None:
        """Characters embedded a second, once some seconds were spent on it."""
        enough = self._timed_seconds >= ENOUGH_SECONDS
        return self._timed_characters / self._timed_seconds if enough else None

    def add(self, change: Change) -> None:
        if isinstance(change, PutDocument | PutChunks):
            self._gather(change.chunks)
        self._changes.append(change)
        if len(self._changes) >= POOL_CHANGES or len(self._waiting) >= POOL_TEXTS:
            self.flush()

    def item_done(self, step: Step) -> None:
        self._items += 1
        if isinstance(step, Read):
            self._uri = step.change.item.uri
        self._tell()

    def flush(self) -> None:
        """Embed what waits and commit everything gathered."""
        hashes, vectors = self._embed()
        if self._changes or hashes:
            self._writer.commit(self._changes, hashes=hashes, vectors=vectors)
        self._changes = []

    def _gather(self, chunks: Sequence[Chunk]) -> None:
        texts = {text_hash(chunk.embedded_text): chunk.embedded_text for chunk in chunks}
        fingerprint = self._embedder.info.fingerprint
        missing = self._writer.missing(list(texts), fingerprint=fingerprint) - self._waiting.keys()
        self.counts.texts_embedded += len(missing)
        self.counts.texts_reused += len(chunks) - len(missing)
        for key, text in texts.items():
            if key not in missing:
                continue
            self._waiting[key] = text
            if len(self._waiting) >= 2 * POOL_TEXTS:
                # A document of many texts: its vectors are remembered ahead of it, so that memory
                # stays bounded; the document itself still appears whole, in one commit.
                hashes, vectors = self._embed()
                self._writer.commit((), hashes=hashes, vectors=vectors)

    def _embed(self) -> tuple[list[bytes], Vectors]:
        """Shortest first, so that texts of one length stand together in the embedder's batches."""
        waiting = sorted(self._waiting.items(), key=lambda pair: len(pair[1]))
        parts: list[Vectors] = []
        for start in range(0, len(waiting), STEP_TEXTS):
            texts = [text for _, text in waiting[start : start + STEP_TEXTS]]
            characters = sum(map(len, texts))
            began = time.monotonic()
            parts.append(self._embedder.embed(texts, input_type="document"))
            if self._warm:  # the first batch of a run also loads the model
                self._timed_seconds += time.monotonic() - began
                self._timed_characters += characters
            self._warm = True
            self.counts.characters_embedded += characters
            self._tell(embedding=len(waiting) - start - len(texts))
        self._waiting = {}
        dim = self._embedder.info.dim
        vectors = np.concatenate(parts) if parts else np.zeros((0, dim), dtype=np.float32)
        return [key for key, _ in waiting], vectors

    def _tell(self, *, embedding: int | None = None) -> None:
        waiting = len(self._waiting) if embedding is None else embedding
        done = self.counts.texts_embedded - waiting
        self._on_progress(Progress(self._items, self._total, self._uri, done, waiting))


def texts_source(documents: Iterable[Document], *, parser: str = "text") -> Source:
    """Documents that need no parsing, each an item of its own: what an application sends.

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
    yield document
