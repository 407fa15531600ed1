"""promptwell and its peers on judged sets: the same passages, the same weights, one table.

    python -m bench.retrieval SET[:QUESTIONS] … [--model NAME]… [--peer NAME]… [--only ours|peers] [--every N]

SET is a BEIR folder, QUESTIONS another file of questions in it. Every peer runs in a process of its own
in .venv-bench (``sh bench/peers/setup.sh``), set up as its own documentation says, with its language
option where it has one. promptwell runs through its own ingest and search, with whatever its defaults
are now, once with each embedder that it brings (or each ``--model``); the first one's hybrid is what all
others are compared with, by default that with the peers' weights. ``--every 3`` asks every third question.

What was measured lies in bench/results/retrieval, under names that change with the passages, the
questions, the judgements, and the code that was run: what is there already is not run again, so an
interrupted run goes on where it stopped, and after a change of promptwell's search only promptwell's own
rows are measured anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from api.services import Services, connect
from api.settings import load
from bench.process import table
from ingest.decide import texts_source
from rag.embed import BUNDLED
from rag.evaluate import (
    Comparison,
    Evaluation,
    JudgedSet,
    Run,
    compare,
    document_scores,
    evaluate,
    measured,
    read_beir,
)
from rag.language import detect
from rag.types import Query

ROOT = Path(__file__).resolve().parent.parent
BM25 = "BM25 alone"
PEERS = {
    "txtai hybrid": "retrieve_txtai.py",
    "LlamaIndex fusion": "retrieve_llamaindex.py",
    "Haystack RRF": "retrieve_haystack.py",
    "LangChain ensemble": "retrieve_langchain.py",
    BM25: "retrieve_bm25s.py",
}
SHARED_MODEL = "all-MiniLM-L6-v2"
"""The peers' weights. Ours with the same ones comes first: it is what all others are compared with."""
MODES = ("lexical", "vector", "hybrid")
CHUNKS = 300
"""Chunks asked of ours: a passage that its model cannot read whole is several, and R@100 looks at 100."""
MEASURES = ("nDCG@10", "R@100")
TIMED = 50
"""Questions embedded one at a time to tell what one costs."""
QUIET = {
    "ANONYMIZED_TELEMETRY": "False",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PARTS = ("rag/*.py", "rag/embed", "rag/filters", "rag/retrieve", "indexes/*.py", "ingest", "api/services.py")
"""The product's code that its rows depend on: a new command or measure changes no ranking."""
HEADER = (
    "set",
    "system",
    "nDCG@10",
    "R@100",
    "nDCG@10 against ours",
    "p (Holm)",
    "verdict",
    "detectable",
    "R@100 against ours",
    "p (Holm)",
    "verdict",
    "CPU-ms/question",
    "of it embedding",
)


@dataclass(frozen=True, slots=True)
class Work:
    """A judged set with the folder of its results."""

    name: str
    judged: JudgedSet
    language: str
    passages: Path
    questions: Path
    folder: Path


def main() -> None:
    options = arguments()
    rows: list[list[str]] = []
    for argument in options.sets:
        work = prepare(argument, options.results, every=options.every)
        asked = f"{len(work.judged.queries)} questions"
        print(f"{work.name}, {asked}, passages in {work.language!r}", file=sys.stderr, flush=True)
        found: list[Evaluation] = []
        if options.only != "peers":
            for model in options.model:
                found += ours(work, model, data=options.results / "data" / Path(model).name)
        if options.only != "ours":
            found += peers(work, options.peer, Path(options.peer_python))
        rows += told(work, found, reference=f"hybrid, {options.model[0]}")
    print(table(HEADER, rows))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("sets", nargs="+", metavar="SET[:QUESTIONS]")
    parser.add_argument("--model", action="append", help="embedder of ours; default: all bundled")
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="repeatable; default: all")
    parser.add_argument("--only", choices=("ours", "peers"))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="ask every Nth question")
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results" / "retrieval")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    options = parser.parse_args()
    options.peer = options.peer or list(PEERS)
    options.model = options.model or sorted(BUNDLED, key=lambda model: model != SHARED_MODEL)
    if options.only != "ours" and not Path(options.peer_python).exists():
        parser.error(f"no {options.peer_python}: set up the peers with sh bench/peers/setup.sh")
    return options


def prepare(argument: str, results: Path, *, every: int) -> Work:
    """Write the passages and questions as the peers read them: title, line break, text."""
    path, _, questions_file = argument.partition(":")
    questions_file = questions_file or "queries.jsonl"
    judged = read_beir(Path(path), queries=questions_file)
    judged = replace(judged, questions=judged.queries[::every])
    documents = list(judged.documents())
    passages = stored(
        results, ((each.id, f"{each.title}\n{each.text}" if each.title else each.text) for each in documents)
    )
    questions = stored(results, ((query.id, query.text) for query in judged.queries))
    folder = Path(path).resolve()
    name = folder.name if folder.name != "passages" else f"{folder.parent.name}/passages"
    name += f":{Path(questions_file).stem}" if questions_file != "queries.jsonl" else ""
    label = name.replace("/", "_").replace(":", "_")
    kept = results / f"{label}-{digest([passages.stem.encode(), judged.digest.encode()])}"
    kept.mkdir(parents=True, exist_ok=True)
    spoken = Counter(detect(each.text) for each in documents[:200])
    return Work(name, judged, spoken.most_common(1)[0][0], passages, questions, kept)


def stored(results: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """A file of ids and texts, named after what is in it."""
    lines = [json.dumps({"id": id, "text": text}, ensure_ascii=False) for id, text in rows]
    content = ("\n".join(lines) + "\n").encode()
    path = results / "texts" / f"{digest([content])}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- the peers ----------------------------------------------------------------------------------


def peers(work: Work, names: Sequence[str], python: Path) -> list[Evaluation]:
    """Every peer, measured: from its result, or run now."""
    import numpy as np

    scripts = ROOT / "bench" / "peers"
    for texts in (work.passages, work.questions):
        made(texts.with_suffix(".npz"), [python, scripts / "vectors.py", texts])
    embedding_ms = float(np.load(work.questions.with_suffix(".npz"))["cpu_ms"])
    evaluations = []
    for name in names:
        found = answered(work, name, python)
        embedding = embedding_ms if found["embeds"] else 0.0
        run = Run.of(name, found["run"])
        ids = [query.id for query in work.judged.queries]
        evaluations.append(
            Evaluation(
                run,
                measured(run, ids, work.judged.qrels, measures=MEASURES),
                costs={"cpu_ms": {id: ms + embedding for id, ms in found["cpu_ms"].items()}},
                facts={"embedding_ms": embedding},
            )
        )
    return evaluations


def answered(work: Work, name: str, python: Path) -> dict[str, Any]:
    """What a peer's script wrote: ``run``, ``cpu_ms`` by question, and whether it ``embeds``."""
    scripts = ROOT / "bench" / "peers"
    script = scripts / PEERS[name]
    parts = [each.read_bytes() for each in (scripts / "common.py", scripts / "requirements.txt", script)]
    result = work.folder / f"{script.stem}-{digest(parts)}.json"
    made(result, [python, script, work.passages, work.questions, work.language])
    found: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return found


def bm25s(work: Work, python: Path) -> Run:
    """The run of BM25 alone."""
    return Run.of(BM25, answered(work, BM25, python)["run"])


def made(result: Path, command: Sequence[str | Path]) -> None:
    """The file ``result``, by the command that takes its name last; whole or not at all."""
    if result.exists():
        return
    print(f"  {result.stem} …", file=sys.stderr, flush=True)
    part = result.with_suffix(".part")
    words = [str(word) for word in (*command, part)]
    done = subprocess.run(words, env={**os.environ, **QUIET}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr[-4000:]}")
    part.rename(result)


# --- ours ---------------------------------------------------------------------------------------


def ours(work: Work, model: str, *, data: Path) -> list[Evaluation]:
    """The legs and the hybrid through the product, with this embedder and every other setting's default."""
    result = work.folder / f"promptwell-{digest([model.encode(), *sources()])}.json"
    if not result.exists():
        print(f"  promptwell, {model} …", file=sys.stderr, flush=True)
        settings = load(start=Path("/"), env={}, overrides={"data": data, "embedder.model": model})
        with connect(settings) as services:
            found = [one.as_json() for one in run_ours(services, work, model)]
        part = result.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.rename(result)
    return [Evaluation.from_json(each) for each in json.loads(result.read_text("utf-8"))]


def run_ours(services: Services, work: Work, model: str) -> list[Evaluation]:
    """The set's passages in a collection for this run alone; their vectors stay, for the next one."""
    collection = f"bench-{secrets.token_hex(6)}"

    def ask(mode: str, query: Query) -> list[tuple[str, float]]:
        trail = services.trace(query.text, collection=collection, k=CHUNKS, mode=mode)
        return document_scores(trail.hits)

    try:
        services.take_in([texts_source(work.judged.documents())], collection=collection, wait=60.0)
        systems = {f"{mode}, {model}": partial(ask, mode) for mode in MODES}
        queries = work.judged.queries
        systems[f"hybrid, {model}"](queries[0])  # what is set up on first use is not a question's cost
        evaluations = evaluate(systems, queries, work.judged.qrels, measures=MEASURES)
    finally:
        if any(info.name == collection for info in services.collections()):
            services.remove_collection(collection, keep_vectors=True)
    if failed := [error for each in evaluations for error in each.errors]:
        sys.exit(f"{len(failed)} questions failed, such as {failed[0]}")
    embedder = services.embedder()
    began = time.process_time()
    for query in queries[:TIMED]:
        embedder.embed([query.text], input_type="query")
    embedding_ms = 1000 * (time.process_time() - began) / len(queries[:TIMED])
    return [
        replace(each, facts={"embedding_ms": 0.0 if each.system.startswith("lexical") else embedding_ms})
        for each in evaluations
    ]


def sources() -> list[bytes]:
    """What PARTS hold."""
    found = [path for part in PARTS for path in ROOT.glob(f"{part}/**/*.py" if "." not in part else part)]
    return [path.read_bytes() for path in sorted(found)]


# --- what is told -------------------------------------------------------------------------------


def told(work: Work, found: Sequence[Evaluation], *, reference: str) -> list[list[str]]:
    """A row a system: figures with 95 % intervals, and every one against the reference."""
    compared: dict[tuple[str, str], Comparison] = {}
    if any(each.system == reference for each in found):
        values = {each.system: each.by_query for each in found}
        compared = {
            (each.candidate, each.measure): each
            for each in compare(values, baseline=reference, measures=MEASURES)
        }
    return [row(work, each, compared, reference=reference) for each in found]


def row(
    work: Work,
    one: Evaluation,
    compared: dict[tuple[str, str], Comparison],
    *,
    reference: str,
) -> list[str]:
    """The cells of one system."""
    cells = [work.name, one.system]
    for measure in MEASURES:
        low, high = one.interval(measure)
        cells.append(f"{one.scores[measure]:.4f} [{low:.4f}, {high:.4f}]")
    ndcg, recall = (compared.get((one.system, measure)) for measure in MEASURES)
    if ndcg and recall:
        cells += [difference(ndcg), f"{ndcg.p_holm:.4f}", ndcg.verdict, f"{ndcg.detectable:.4f}"]
        cells += [difference(recall), f"{recall.p_holm:.4f}", recall.verdict]
    else:
        cells += ["", "", "(ours)" if one.system == reference else "", "", "", "", ""]
    return [*cells, f"{one.cpu_ms:.1f}", f"{one.facts['embedding_ms']:.1f}"]


def difference(one: Comparison) -> str:
    return f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"


def digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


if __name__ == "__main__":
    main()
