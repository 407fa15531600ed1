"""Evidence inside a token budget: our chunker, retriever and context against LangChain's recursive splitter.

    python -m bench.evidence SET... --data DIR [--model NAME] [--sizes 200,400,800] [--tokenizer NAME]

A SET is a BEIR folder with spans.jsonl. ``--data`` is a data folder of its own, kept between runs: no
text is embedded twice. Contenders are cut by RecursiveCharacterTextSplitter at each size, without
overlap and with a fifth of it, embedded by the same model (truncated to what it reads, as LangChain
does, and without title or headings, as there), and

- dense: ranked by cosine, the best filling the budget;
- hybrid: ranked by our retriever, which tells the chunker and the context apart from the retrieval.

Every passage of a contender stands in the same fences with the title as its source line, as ours do,
and all of that counts; the last one is cut where the tokens end. Ours is the whole context that
``fit`` makes for the budget. Differences are paired by query, with a bootstrap interval of 95 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from api.services import Services, connect
from api.settings import load
from bench.process import table
from ingest import job
from ingest.decide import Chunker, texts_source
from rag.context import BETWEEN_BLOCKS, Passage, fit
from rag.embed.remembering import RememberingEmbedder
from rag.evaluate import JudgedSet, read_beir
from rag.evaluate.anchors import gold as gold_of
from rag.evaluate.evidence import Evidence, Gold, Shown, Span, evidence, first_tokens, mean
from rag.protocols import Collection, Space
from rag.retrieve import RetrievalSettings, Retriever
from rag.tokens import TokenCounter
from rag.types import Chunk, Document, Hit, text_digest

BUDGETS = (500, 1000, 2000)
NONCE = "2043"  # as long as the ones that fit draws
POOL = 50
"""Hits handed to the context: more than any budget here holds."""


@dataclass(frozen=True)
class RecursiveSplitter:
    """LangChain's RecursiveCharacterTextSplitter as a chunker: its parts, where they stand, nothing else."""

    size: int
    overlap: int

    @property
    def fingerprint(self) -> str:
        return f"recursive-{self.size}-{self.overlap}"

    def cut(self, document: Document) -> Iterable[Chunk]:
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        splitter = RecursiveCharacterTextSplitter(
            chunk_size=self.size, chunk_overlap=self.overlap, add_start_index=True
        )
        parts = splitter.create_documents([document.text])
        seen: set[tuple[int, int]] = set()
        for part in parts:
            text, start = part.page_content, part.metadata["start_index"]
            if start >= 0 and (start, len(text)) not in seen:
                seen.add((start, len(text)))
                end = start + len(text)
                yield Chunk(document.id, text, start, end, title=document.title, metadata=document.metadata)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--sizes", default="200,400,800,1200,1600")
    parser.add_argument("--tokenizer", default="", help="what counts tokens, as [llm] tokenizer says it")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    splitters = [RecursiveSplitter(size, overlap) for size in sizes for overlap in (0, size // 5)]
    overrides = {
        "data": str(arguments.data),
        "embedder.model": arguments.model,
        "llm.tokenizer": arguments.tokenizer,
    }
    with connect(load(start=Path("/"), env={}, overrides=overrides)) as services:
        for folder in arguments.sets:
            compare(services, folder, splitters)


def compare(services: Services, folder: Path, splitters: Sequence[RecursiveSplitter]) -> None:
    judged = read_beir(folder)
    documents = list(judged.documents())
    gold = gold_of(judged, {document.id: document.text for document in documents})
    chunkers: list[Chunker] = [services.chunker(services.embedder()), *splitters]
    collections = {each.fingerprint: take_in(services, judged, documents, each) for each in chunkers}
    own, *others = collections.items()
    embedder = RememberingEmbedder(services.embedder())
    hybrid, dense = (
        Retriever(embedder, settings=settings)
        for settings in (RetrievalSettings(), RetrievalSettings(mode="vector"))
    )
    texts = {document.id: document.text for document in documents}
    count = services.count_tokens
    ours = scores(judged, gold, lambda question: fitted(hybrid, own[1], question, count, texts))
    rows = [row("promptwell", ours, ours)]
    for name, collection in others:
        for how, retriever in (("dense", dense), ("hybrid", hybrid)):
            theirs = scores(judged, gold, partial(filled, retriever, collection, count=count))
            rows.append(row(f"{name} {how}", theirs, ours))
    settings = services.settings
    counted = settings.llm.tokenizer or "estimated"
    print(f"\n## {judged.name}, {len(gold)} questions, {settings.embedder.model}, tokens: {counted}\n")
    header = ["contender"]
    for budget in BUDGETS:
        header += [f"@{budget}", "ours - it", "precision", "IoU"]
    print(table(header, rows), flush=True)


def take_in(
    services: Services, judged: JudgedSet, documents: Sequence[Document], chunker: Chunker
) -> Collection:
    """The documents, cut by this chunker, in a collection of their own."""
    embedder = services.embedder()
    # Several sets are called "passages".
    name = f"{judged.name}-{judged.digest[:12]}-{text_digest(chunker.fingerprint)[:12]}"
    space = Space(chunker.fingerprint, embedder.info)
    catalogue = services.catalogue(create=True)
    with catalogue.writer(name, space, wait=60.0) as writer:
        job.run([texts_source(documents)], writer, space=space, chunker=chunker, embedder=embedder)
    return catalogue.collection(name, embedder=embedder.info)


Contexts = Mapping[int, Sequence[Span]]
"""Budget -> the spans that the model reads."""


def fitted(
    retriever: Retriever, collection: Collection, question: str, count: TokenCounter, texts: Mapping[str, str]
) -> Contexts:
    hits = retriever.search(collection, question, k=POOL)
    found = {}
    for budget in BUDGETS:
        context = fit(
            hits, budget=budget, count_tokens=count, between=lambda chunk, a, b: texts[chunk.document_id][a:b]
        )
        found[budget] = [Span(p.document_id, p.start, p.end) for p in context.passages]
    return found


def filled(retriever: Retriever, collection: Collection, question: str, *, count: TokenCounter) -> Contexts:
    shown = [
        block(number, hit) for number, hit in enumerate(retriever.search(collection, question, k=POOL), 1)
    ]
    return {budget: first_tokens(shown, budget, count_tokens=count) for budget in BUDGETS}


def block(number: int, hit: Hit) -> Shown:
    chunk = hit.chunk
    passage = Passage(number, chunk.document_id, chunk.start, chunk.end, chunk.text, (hit,))
    span = Span(chunk.document_id, chunk.start, chunk.end)
    return Shown(span, chunk.text, passage.opening(NONCE), passage.closing(NONCE) + BETWEEN_BLOCKS)


Scores = Mapping[int, Sequence[Evidence]]
"""Budget -> what each query scored, in the set's order."""


def scores(judged: JudgedSet, gold: Gold, ask: Callable[[str], Contexts]) -> Scores:
    found: dict[int, list[Evidence]] = {budget: [] for budget in BUDGETS}
    for query in judged.queries:
        if query.id in gold:
            for budget, spans in ask(query.text).items():
                found[budget].append(evidence(gold[query.id], spans))
    return found


def row(name: str, theirs: Scores, ours: Scores) -> list[str]:
    cells = [name]
    for budget in BUDGETS:
        told = mean(theirs[budget])
        better = np.array([a.recall - b.recall for a, b in zip(ours[budget], theirs[budget], strict=True)])
        low, high = interval(better)
        difference = "" if theirs is ours else f"{better.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        cells += [f"{told.recall:.3f}", difference, f"{told.precision:.3f}", f"{told.iou:.3f}"]
    return cells


def interval(differences: np.ndarray) -> tuple[float, float]:
    """The bootstrap's 95 % for a mean: percentiles of 10,000 samples of the queries."""
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(differences), np.full(len(differences), 1 / len(differences)), size=10_000)
    low, high = np.percentile(weights @ differences / len(differences), [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
