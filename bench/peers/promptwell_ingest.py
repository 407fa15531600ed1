"""promptwell's own ingest; with --same-passages, of texts cut to what the model reads.

bench/ingest.py runs it: python bench/peers/promptwell_ingest.py [--same-passages] PASSAGES QUERIES FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from api.services import Services
    from ingest.job import IngestReport
    from rag.protocols import Embedder
    from rag.types import Chunk, Document

MODEL_TOKENS = 256
SPECIAL_TOKENS = 2
DEPTH = 100
"""Documents of a ranking that are kept."""

CHUNKS_DEPTH = 300
"""Chunks looked at for them: a document may have several."""


class WholeText:
    """A chunker that leaves a document in one piece, which the caller made short enough."""

    fingerprint = "bench-whole-text"

    def cut(self, document: Document) -> Iterator[Chunk]:
        from rag.types import Chunk

        yield Chunk(document.id, document.text, 0, len(document.text))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--same-passages", action="store_true")
    parser.add_argument("passages", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()

    began = time.perf_counter()
    from api.services import connect
    from api.settings import load

    overrides = {
        "data": options.folder / "data",
        "collection": "bench",
        "embedder.model": "all-MiniLM-L6-v2",  # the peers' model
        "chunker.target_tokens": MODEL_TOKENS,  # one chunk a passage, where it fits
    }
    settings = load(start=options.folder, env={}, overrides=overrides)
    with connect(settings) as services:
        embedder = services.embedder()
        embedder.embed(["The first text pays for what is set up on use."], input_type="document")
        services.chunker(embedder)
        documents = truncated(options.passages, embedder) if options.same_passages else []
        loaded = time.perf_counter()

        cpu = sum(os.times()[:4])
        if options.same_passages:
            report = ingest_whole(services, embedder, documents)
        else:
            report = services.ingest([str(options.passages)])
        seconds, cpu = time.perf_counter() - loaded, sum(os.times()[:4]) - cpu
        if report.counts.failures:
            sys.exit(f"not everything was taken in: {report.counts.failures[:3]}")

        result = {
            "load_seconds": loaded - began,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "texts": report.counts.texts_embedded,
            "tokens": tokens(services, embedder),
            "run": dense_run(services, embedder, options.queries),
        }
    (options.folder / "result.json").write_text(json.dumps(result))


def truncated(passages: Path, embedder: Embedder) -> list[Document]:
    """Title, line break and text, up to the last token that fits into the model's window."""
    from rag.types import Document, clean_text

    room = MODEL_TOKENS - SPECIAL_TOKENS
    documents = []
    for row in rows(passages):
        text = clean_text(f"{row['title']}\n{row['text']}")
        spans = embedder.tokenizer.offsets(text)
        end = int(spans[room - 1][1]) if len(spans) > room else len(text)
        documents.append(Document(row["_id"], text[:end]))
    return documents


def ingest_whole(services: Services, embedder: Embedder, documents: list[Document]) -> IngestReport:
    """The product's own job, with another chunker."""
    from ingest import job
    from ingest.decide import texts_source
    from rag.protocols import Space

    chunker = WholeText()
    space = Space(chunker.fingerprint, embedder.info)
    source = texts_source(documents)
    with services.catalogue(create=True).writer("bench", space) as writer:
        return job.run([source], writer, space=space, chunker=chunker, embedder=embedder)


def tokens(services: Services, embedder: Embedder) -> int:
    """What the model read: the tokens of every chunk as it was embedded, special ones included."""
    catalogue = services.catalogue()
    return sum(
        len(embedder.tokenizer.offsets(chunk.embedded_text)) + SPECIAL_TOKENS
        for document in catalogue.documents("bench")
        for chunk in catalogue.chunks("bench", document.id)
    )


def dense_run(services: Services, embedder: Embedder, queries: Path) -> dict[str, dict[str, float]]:
    """The exact vector search; a document ranks with its best chunk."""
    collection = services.catalogue().collection("bench", embedder=embedder.info)
    run: dict[str, dict[str, float]] = {}
    for row in rows(queries):
        vector = embedder.embed([row["text"]], input_type="query")[0]
        ranking: dict[str, float] = {}
        for hit in collection.nearest(vector, k=CHUNKS_DEPTH, where={}):
            ranking.setdefault(hit.chunk.document_id.rpartition("#")[2], hit.score)
        run[row["_id"]] = dict(list(ranking.items())[:DEPTH])
    return run


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    main()
