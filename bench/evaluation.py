"""Evaluation itself: does it measure as others do, and how fast?

    python -m bench.evaluation [--sets ../shared/data] [--peer-python .venv-bench/bin/python] [--only NAME]

- harness: BM25 on scifact and vaswani, put to ``rag.evaluate.evaluate``, beside the figures that others
  have published. Once with bm25s as BEIR's baselines set it up (from .venv-bench: ``sh
  bench/peers/setup.sh``), once with our own lexical index, whose k1, b and weight of the title are others.
- speed: CPU seconds, the best of three, of measuring 1,000 questions with 100 documents each, of a
  comparison with 10,000 flips on them, and of what 1,000 kept runs take to be listed and one to be read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.process import table
from bench.retrieval import ROOT, bm25s, prepare
from indexes.evaluations.store import EvaluationStore
from indexes.lexical import LexicalIndex
from indexes.question import ask
from rag.evaluate import Evaluation, JudgedSet, Qrels, Run, bootstrap, compare, evaluate, measured
from rag.evaluate.run import System
from rag.types import Query

MEASURES = ("nDCG@10", "AP", "R@100", "RR@10")
DEPTH = 1000
"""Documents a question, as TREC's runs have: AP looks at all of them."""
PUBLISHED = {
    "scifact": "nDCG@10 0.679, R@100 0.925 (BEIR's BM25, Anserini)",
    "vaswani": "AP 0.2965 (PyTerrier's BM25)",
}
SPEED = ("nDCG@10", "R@100", "RR@10")
QUESTIONS, FOUND, RUNS = 1000, 100, 1000


# --- harness --------------------------------------------------------------------------------------


def harness(sets: Path, python: Path, results: Path) -> list[list[str]]:
    """A row for each set and BM25."""
    rows = []
    for name, published in PUBLISHED.items():
        work = prepare(str(sets / name), results, every=1)
        systems: dict[str, System] = {"promptwell, lexical index": ours(work.judged, work.language)}
        if python.exists():
            systems["bm25s, k1 0.9, b 0.4"] = canned(bm25s(work, python))
        for one in evaluate(systems, work.judged.queries, work.judged.qrels, measures=MEASURES):
            cells = [f"{one.scores[measure]:.4f}" for measure in MEASURES]
            rows.append([name, one.system, *cells, published])
    return rows


def canned(run: Run) -> Callable[[Query], tuple[tuple[str, float], ...]]:
    return lambda query: run.results.get(query.id, ())


def ours(judged: JudgedSet, language: str) -> Callable[[Query], list[tuple[str, float]]]:
    """The lexical index over whole documents, in memory: no chunks, no vectors, no fusion."""
    ids: list[str] = []

    def rows() -> Iterator[tuple[int, str, str, str]]:
        for number, document in enumerate(judged.documents()):
            ids.append(document.id)
            yield number, document.title, document.text, language

    index = LexicalIndex.in_memory(rows())

    def search(query: Query) -> list[tuple[str, float]]:
        keys, scores = index.search(ask(query.text, [index]), k=DEPTH)
        return [(ids[key], float(score)) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)]

    return search


# --- speed ----------------------------------------------------------------------------------------


def speed() -> list[list[str]]:
    """What each step takes."""
    random = np.random.default_rng(0)
    questions = [Query(f"q{number:04d}", "?") for number in range(QUESTIONS)]
    ids = [query.id for query in questions]
    qrels, found = drawn(random, ids)
    run = Run.of("one", found)
    old = dict(zip(ids, random.random(QUESTIONS).tolist(), strict=True))
    new = {id: min(1.0, max(0.0, value + random.normal(0.01, 0.1))) for id, value in old.items()}
    passed = {
        name: {"pass": {id: float(value > 0.5) for id, value in each.items()}}
        for name, each in (("old", old), ("new", new))
    }
    graded = {"old": {"m": old}, "new": {"m": new}}
    candidates = {f"c{number}": {"m": new, "n": old} for number in range(9)}
    family = {"old": {"m": old, "n": new}, **candidates}
    rows = [
        ["measures: nDCG@10, R@100, RR@10", cpu(lambda: measured(run, ids, qrels, measures=SPEED))],
        ["the same, with sorting the run", cpu(lambda: measured(Run.of("r", found), ids, qrels))],
        ["an interval of a mean", cpu(lambda: bootstrap(list(old.values())))],
        ["a comparison", cpu(lambda: compare(graded, baseline="old", measures=["m"]))],
        ["a comparison of passes and fails", cpu(lambda: compare(passed, baseline="old", measures=["pass"]))],
        ["nine candidates, two measures", cpu(lambda: compare(family, baseline="old", measures=["m", "n"]))],
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        EvaluationStore.open(Path(folder), create=True) as store,
    ):
        values = measured(run, ids, qrels, measures=SPEED)
        whole = Evaluation(run, values, questions=tuple(questions), set_name="drawn")
        size = store.add(whole).id
        small = replace(whole, run=Run.of("one", {}), questions=())
        began = time.process_time()
        for _ in range(RUNS - 1):
            store.add(small)
        rows.append([f"keeping {RUNS - 1:,} runs without rankings", f"{time.process_time() - began:.2f}"])
        rows.append([f"listing {RUNS:,} kept runs", cpu(store.runs)])
        rows.append(["reading a kept run, whole", cpu(lambda: store.run(size))])
        rows.append(["its summary, intervals too", cpu(store.run(size).summary)])
    return rows


def drawn(random: np.random.Generator, ids: list[str]) -> tuple[Qrels, Mapping[str, list[tuple[str, float]]]]:
    """Judgements and rankings of many documents, some of which were judged."""
    qrels, found = {}, {}
    for id in ids:
        documents = random.choice(20_000, FOUND, replace=False).tolist()
        scores = np.sort(random.random(FOUND))[::-1].tolist()
        found[id] = [(f"doc{number:05d}", score) for number, score in zip(documents, scores, strict=True)]
        qrels[id] = {
            f"doc{number:05d}": grade
            for number, grade in zip(documents[::17], (1, 0, 2, 3, 0, 1), strict=True)
        }
    return qrels, found


def cpu(do: Callable[[], object], *, rounds: int = 3) -> str:
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        do()
        best = min(best, time.process_time() - began)
    return f"{best:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--peer-python", type=Path, default=ROOT / ".venv-bench" / "bin" / "python")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results" / "retrieval")
    parser.add_argument("--only", choices=("harness", "speed"))
    options = parser.parse_args()
    if options.only != "speed":
        rows = harness(options.sets, options.peer_python, options.results)
        print(f"{table(['set', 'system', *MEASURES, 'published'], rows)}\n", flush=True)
    if options.only != "harness":
        print(table(["1,000 questions", "CPU-s"], speed()))


if __name__ == "__main__":
    main()
