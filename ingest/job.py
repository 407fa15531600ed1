"""Plan and apply: bring a collection in step with its sources.

One decision, two uses. :func:`ingest.decide.decide` walks the sources and says, item by item and
document by document, what differs from what is stored; :func:`plan` counts those steps, :func:`run`
embeds and commits them. So a plan never promises what an ingest does not do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np

from ingest.decide import (
    ITEM_DONE,
    Chunker,
    Failed,
    Failure,
    Gone,
    Kept,
    Moved,
    Put,
    Read,
    Same,
    Source,
    Step,
    decide,
    move,
    needs_move,
)
from rag.errors import StorageError
from rag.protocols import Change, Embedder, Ledger, PutChunks, PutDocument, Space, TokenEmbedder, Writer
from rag.types import Chunk, Vectors, text_hash

POOL_TEXTS = 512
"""New texts gathered before they are embedded and committed together: enough to sort into even
batches, few enough that a search sees new documents, and a kill loses, within some seconds."""

POOL_CHANGES = 2_000
"""Changes gathered at most before a commit, where they bring few new texts."""

STEP_TEXTS = 128
"""Texts given to the embedder at a time, so that progress shows and queries are not starved."""

ENOUGH_SECONDS = 2.0
"""Embedding measured for less than this says nothing of the machine."""


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
    None where it embedded too little to tell. ``unindexed`` says why no index could be built of what it
    stored, which is found all the same, more slowly; "" where nothing stood in the way."""

    counts: Counts
    seconds: float
    characters_per_second: float | None
    unindexed: str = ""

    @property
    def ok(self) -> bool:
        return not self.counts.failures and not self.unindexed


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after every item and every batch of texts. ``total`` items are expected."""

    items: int
    total: int
    uri: str
    texts_embedded: int
    texts_waiting: int

    @property
    def share(self) -> float:
        """How much is done, 0 to 1: items that were read count as far as their texts are embedded.

        >>> Progress(items=5, total=10, uri="", texts_embedded=30, texts_waiting=10).share
        0.375
        """
        texts = self.texts_embedded + self.texts_waiting
        embedded = self.texts_embedded / texts if texts else 1.0
        return self.items / self.total * embedded if self.total else 0.0


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
            on_progress(Progress(items, total, "", 0, 0))
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
    unindexed = ""
    try:
        writer.publish()
    except StorageError as error:  # all of it is stored: an index that cannot be built loses none of it
        unindexed = str(error)
    return IngestReport(pool.counts, time.monotonic() - started, pool.rate, unindexed)


def _steps(sources: Sequence[Source], ledger: Ledger, space: Space, chunker: Chunker) -> Iterator[Step]:
    yield from move(ledger, space, chunker)
    yield from decide(sources, ledger, chunker)


def _texts(step: Step) -> Iterator[tuple[list[bytes], Sequence[Chunk]]]:
    if isinstance(step, Put | Moved):
        chunks = step.change.chunks
        yield [text_hash(chunk.embedded_text) for chunk in chunks], chunks


class _Embedded(NamedTuple):
    """Texts by hash, their vectors, and the codes of their tokens where the embedder gives them."""

    hashes: list[bytes]
    vectors: Vectors
    tokens: list[bytes]


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
        embedded = self._embed()
        if self._changes or embedded.hashes:
            self._commit(self._changes, embedded)
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
                self._commit((), self._embed())

    def _commit(self, changes: Sequence[Change], embedded: _Embedded) -> None:
        self._writer.commit(changes, hashes=embedded.hashes, vectors=embedded.vectors, tokens=embedded.tokens)

    def _embed(self) -> _Embedded:
        """Shortest first, so that texts of one length stand together in the embedder's batches."""
        waiting = sorted(self._waiting.items(), key=lambda pair: len(pair[1]))
        parts: list[Vectors] = []
        tokens: list[bytes] = []
        for start in range(0, len(waiting), STEP_TEXTS):
            texts = [text for _, text in waiting[start : start + STEP_TEXTS]]
            characters = sum(map(len, texts))
            began = time.monotonic()
            if self._embedder.info.tokens:
                vectors, codes = cast("TokenEmbedder", self._embedder).embed_coded(texts)
                tokens += codes
            else:
                vectors = self._embedder.embed(texts, input_type="document")
            parts.append(vectors)
            if self._warm:  # the first batch of a run also loads the model
                self._timed_seconds += time.monotonic() - began
                self._timed_characters += characters
            self._warm = True
            self.counts.characters_embedded += characters
            self._tell(embedding=len(waiting) - start - len(texts))
        self._waiting = {}
        dim = self._embedder.info.dim
        vectors = np.concatenate(parts) if parts else np.zeros((0, dim), dtype=np.float32)
        return _Embedded([key for key, _ in waiting], vectors, tokens)

    def _tell(self, *, embedding: int | None = None) -> None:
        waiting = len(self._waiting) if embedding is None else embedding
        done = self.counts.texts_embedded - waiting
        self._on_progress(Progress(self._items, self._total, self._uri, done, waiting))
