"""What a search costs apart from embedding the question: CPU milliseconds, stage by stage.

    python -m bench.search [--chunks 20000] [--dim 384] [--questions 200] [--kind auto] [--text FOLDER]

The text is real (the language reference that Python carries in ``pydoc_data``, or the ``.md`` and
``.txt`` files of a folder), cut at words into overlapping chunks. The vectors are synthetic and
clustered, as those of an embedder are: 200 directions, and noise around each. A question is some words
of a chunk and a vector near the chunk's own.

CPU time is of the whole process, all threads. The last line holds the figure to reach: at 20,000
chunks of 384 dimensions about 6 ms for the retriever's hybrid search with its default pools, 10
passages read; the embedder's place is taken by a table, for embedding the question does not count, nor
does comparing tokens.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from indexes.catalogue import Catalogue
from indexes.generation import Generation
from indexes.question import ask
from indexes.settings import IndexSettings
from rag.protocols import PutDocument, Space
from rag.retrieve import RetrievalSettings, Retriever
from rag.testing import WordTokenizer
from rag.types import Chunk, Document, EmbedderInfo, Vectors, text_hash

WORDS = 120
CHUNKS_A_DOCUMENT = 40
BATCH_DOCUMENTS = 25


def texts(folder: str | None) -> list[str]:
    """The words to cut chunks from."""
    if folder is None:
        return " ".join(topics.values()).split()
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".md", ".txt"})
    return " ".join(path.read_text("utf-8", "replace") for path in files).split()


def documents(words: Sequence[str], chunks: int) -> Iterator[tuple[Document, list[Chunk]]]:
    """Documents of CHUNKS_A_DOCUMENT chunks; the words are gone through as often as it takes."""
    step = max(1, len(words) // chunks)
    for number in range(0, chunks, CHUNKS_A_DOCUMENT):
        texts = [
            " ".join(words[at * step : at * step + WORDS])
            for at in range(number, min(number + CHUNKS_A_DOCUMENT, chunks))
        ]
        ends = list(itertools.accumulate(len(text) + 2 for text in texts))
        id = f"part-{number:06d}"
        metadata = {"language": "en", "part": str(number % 7)}
        document = Document(id, "\n\n".join(texts), title=f"Part {number}", metadata=metadata)
        yield (
            document,
            [
                Chunk(id, text, end - 2 - len(text), end - 2, heading=("Part", str(number)), breadcrumb=id)
                for text, end in zip(texts, ends, strict=True)
            ],
        )


def clustered(count: int, dim: int, random: np.random.Generator) -> Vectors:
    """Unit rows around 200 directions."""
    centres = random.standard_normal((200, dim))
    rows = centres[random.integers(0, 200, count)] + random.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def fill(catalogue: Catalogue, space: Space, words: Sequence[str], vectors: Vectors) -> float:
    """Put everything and publish; returns chunks committed in a second."""
    seconds = 0.0
    done = 0
    with catalogue.writer("bench", space) as writer:
        parts = documents(words, len(vectors))
        while batch := list(itertools.islice(parts, BATCH_DOCUMENTS)):
            hashes = [text_hash(chunk.embedded_text) for _, chunks in batch for chunk in chunks]
            changes = [PutDocument(document.id, document, chunks) for document, chunks in batch]
            began = time.perf_counter()
            writer.commit(changes, hashes=hashes, vectors=vectors[done : done + len(hashes)])
            seconds += time.perf_counter() - began
            done += len(hashes)
        began = time.perf_counter()
        writer.publish()
        print(f"publish                  {time.perf_counter() - began:8.2f} s")
    return done / seconds


class Table:
    """An embedder that has looked up everything before."""

    def __init__(self, info: EmbedderInfo, questions: Sequence[str], vectors: Vectors) -> None:
        self.info = info
        self.tokenizer = WordTokenizer()
        self._vectors = dict(zip(questions, vectors, strict=True))

    def embed(self, texts: Sequence[str], *, input_type: str) -> Vectors:
        return np.stack([self._vectors[text] for text in texts])


def cpu(name: str, work: Callable[[int], object], questions: int) -> float:
    """CPU milliseconds of one call, after a warm-up."""
    for number in range(20):
        work(number % questions)
    began, wall = time.process_time(), time.perf_counter()
    for number in range(questions):
        work(number)
    spent = (time.process_time() - began) / questions * 1e3
    print(f"{name:24s} {spent:8.2f} CPU-ms {(time.perf_counter() - wall) / questions * 1e3:8.2f} ms")
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--kind", default="auto")
    parser.add_argument("--text")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()

    random = np.random.default_rng(7)
    words = texts(options.text)
    vectors = clustered(options.chunks, options.dim, random)
    asked = random.integers(0, options.chunks, options.questions)
    near = vectors[asked] + 0.5 * clustered(options.questions, options.dim, random)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    step = max(1, len(words) // options.chunks)
    questions = [" ".join(words[at * step + 10 : at * step + 18]) for at in asked]
    space = Space("bench", EmbedderInfo("bench", "bench", options.dim, 256))

    with (
        tempfile.TemporaryDirectory() as folder,
        Catalogue.open(Path(folder), create=True, index=IndexSettings(kind=options.kind)) as catalogue,
    ):
        print(f"commit                   {fill(catalogue, space, words, vectors):8.0f} chunks/s")
        collection = catalogue.collection("bench", embedder=space.embedder)
        published = catalogue.collections()[0].generation
        generation = catalogue.generations.load(published) if published else None
        if not isinstance(generation, Generation):
            raise SystemExit(f"no index to search: {generation}")

        retriever = Retriever(Table(space.embedder, questions, near))

        def both(number: int, k: int = 10, **where: str) -> None:
            retriever.search(collection, questions[number], k=k, where=where)

        def search(retriever: Retriever, number: int) -> None:
            retriever.search(collection, questions[number], k=10)

        def rank(number: int) -> None:
            collection.rank(vector=near[number], vector_k=100, text=questions[number], text_k=100, where={})

        n = options.questions
        cpu("vector index alone", lambda i: generation.vectors.search(near[i], k=26), n)
        lexical = generation.lexical
        cpu("lexical index alone", lambda i: lexical.search(ask(questions[i], [lexical]), k=26), n)
        cpu("nearest, 10 hits", lambda i: collection.nearest(near[i], k=10, where={}), n)
        cpu("matching, 10 hits", lambda i: collection.matching(questions[i], k=10, where={}), n)
        cpu("rank, 100 keys each", rank, n)
        cpu("hybrid, 1/7 passes", lambda i: both(i, part="3"), n)
        cpu("hybrid, all pass", lambda i: both(i, language="en"), n)
        cpu("hybrid, 200 hits", lambda i: both(i, 200), n)
        if options.profile:
            with cProfile.Profile() as profile:
                for number in range(n):
                    both(number)
            pstats.Stats(profile).sort_stats("tottime").print_stats(18)
        table = Table(space.embedder, questions, near)
        for name, settings in (
            ("links", RetrievalSettings(links=0)),
            ("neighbours", RetrievalSettings(neighbours=0)),
        ):
            cpu(f"hybrid, {name} = 0", partial(search, Retriever(table, settings=settings)), n)
        cpu("hybrid, 10 hits", both, n)


if __name__ == "__main__":
    main()
