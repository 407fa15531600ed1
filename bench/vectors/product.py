"""What a change, a rebuild and a cold start cost in a collection of 100,000 documents, through the product.

    python -m bench.vectors.product --rows ROWS.npy [--documents 10000,100000]

ROWS.npy holds real vectors, as many as documents (bench.vectors leaves some in bench/results/vectors). Each
document is one chunk of the language reference that Python carries; the vectors are at hand, for
embedding does not count. A *change* is 100 documents of new text, committed durably, then ``publish``, which
decides whether an index is built. A *rebuild* is what ``rag doctor --repair`` does when ``indexes/`` is gone:
the vector index alone, and all of it with the lexical one and the verification. A *cold start* is a new
process that opens the data folder and answers one hybrid question: with the files in the page cache.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.process import table
from bench.search import Table, texts
from indexes.catalogue import Catalogue
from indexes.generation import vector_batches
from indexes.kinds import COARSE, choose
from indexes.settings import DEFAULTS
from indexes.vector import VectorIndex
from indexes.writer import SqliteWriter
from rag.protocols import PutDocument, Space
from rag.retrieve import Retriever
from rag.types import Chunk, Document, EmbedderInfo, Vectors, text_hash

NAME = "bench"
WORDS = 60
COMMIT = 1_000
CHANGED = 100
ROUNDS = 5
QUESTION = "how is an exception raised again"
HEADER = ("documents", "kind", "change s, median", "worst", "vector index s", "rebuild s", "cold start s")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--documents", default="10000,100000")
    parser.add_argument("--cold", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rows = np.load(options.rows, mmap_mode="r")
    if options.cold:
        answer(options.cold, rows[0])
        return
    counts = [int(count) for count in options.documents.split(",")]
    print(table(HEADER, [measured(options.rows, rows, count) for count in counts]))


def measured(path: Path, rows: Vectors, count: int) -> list[str]:
    """A row of the table, for a collection of so many documents."""
    space = space_of(rows.shape[1])
    words = texts(None)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with Catalogue.open(folder, create=True) as catalogue:
            with catalogue.writer(NAME, space) as writer:
                for start in range(0, count, COMMIT):
                    put(writer, range(start, min(start + COMMIT, count)), words, rows, version=0)
                writer.publish()
            changes = []
            for turn in range(ROUNDS):
                began = time.perf_counter()
                with catalogue.writer(NAME, space) as writer:
                    changed = range(turn * CHANGED, (turn + 1) * CHANGED)
                    put(writer, changed, words, rows, version=turn + 1)
                    writer.publish()
                changes.append(time.perf_counter() - began)
        command = [sys.executable, "-m", "bench.vectors.product", "--rows", str(path), "--cold", place]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        shutil.rmtree(folder / "indexes")
        with Catalogue.open(folder, create=False) as catalogue:
            kind, _ = choose(DEFAULTS, count=count, dim=rows.shape[1])
            began = time.perf_counter()
            with catalogue.store.reading() as db, tempfile.TemporaryDirectory() as alone:
                id = catalogue.space_id(db, NAME)
                assert id is not None
                batches = ((keys, vectors) for keys, vectors, _ in vector_batches(db, id, after=0))
                VectorIndex.build(
                    Path(alone),
                    batches,
                    count=count,
                    dim=rows.shape[1],
                    coarse=COARSE[kind],
                    settings=DEFAULTS,
                )
            vectors_took = time.perf_counter() - began
            began = time.perf_counter()
            with catalogue.writer(NAME, space) as writer:
                writer.publish()
            took = time.perf_counter() - began
    times = (float(np.median(changes)), max(changes), vectors_took, took, float(told))
    return [f"{count:,}", kind, *[f"{each:.2f}" for each in times]]


def answer(folder: Path, vector: Vectors) -> None:
    """Open a data folder, answer one hybrid question, print the seconds that it took."""
    began = time.perf_counter()
    space = space_of(len(vector))
    with Catalogue.open(folder, create=False) as catalogue:
        retriever = Retriever(Table(space.embedder, [QUESTION], vector[np.newaxis]))
        found = retriever.search(catalogue.collection(NAME, embedder=space.embedder), QUESTION, k=10)
    assert found
    print(time.perf_counter() - began)


def space_of(dim: int) -> Space:
    return Space(NAME, EmbedderInfo(NAME, NAME, dim, 256))


def put(writer: SqliteWriter, numbers: range, words: list[str], rows: Vectors, *, version: int) -> None:
    """Commit one version of some documents. Another version has another text, and a vector of its own."""
    changes, hashes = [], []
    for number in numbers:
        start = (number * 7 + version) % (len(words) - WORDS)
        text = f"{version} {number} " + " ".join(words[start : start + WORDS])
        id = f"part-{number:06d}"
        chunk = Chunk(id, text, 0, len(text))
        document = Document(id, text, title=f"Part {number}", metadata={"language": "en"})
        changes.append(PutDocument(id, document, [chunk]))
        hashes.append(text_hash(chunk.embedded_text))
    vectors = np.ascontiguousarray(rows[numbers.start + version : numbers.stop + version])
    writer.commit(changes, hashes=hashes, vectors=vectors)


if __name__ == "__main__":
    main()
