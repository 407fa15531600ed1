"""promptwell and its peers on judged sets: the same passages, the same weights, one table a set.

    python -m bench.retrieval SET[:QUESTIONS] … [--model NAME]… [--peer NAME]… [--only ours|peers]

SET is a BEIR folder, QUESTIONS another file of questions in it. Every peer runs in a process of its own
in .venv-bench (``sh bench/peers/setup.sh``), set up as its own documentation says, with its language
option where it has one. promptwell runs through its own ingest and search, with whatever its defaults
are now, once with each embedder that it brings (or each ``--model``); the first one's hybrid is what all
others are compared with, by default that with the peers' weights.

What was measured lies in bench/results/retrieval, under names that change with the passages, the
questions, and the code that was run: what is there already is not run again, so an interrupted run goes
on where it stopped, and after a change of promptwell only promptwell's own rows are measured anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from api.judged import SYSTEMS, evaluate_set
from api.services import connect
from api.settings import load
from bench.process import table
from rag.embed import BUNDLED
from rag.evaluate import Comparison, JudgedSet, Run, bootstrap, compare, measured, read_beir
from rag.language import detect

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "txtai hybrid": "retrieve_txtai.py",
    "LlamaIndex fusion": "retrieve_llamaindex.py",
    "Haystack RRF": "retrieve_haystack.py",
    "LangChain ensemble": "retrieve_langchain.py",
}
SHARED_MODEL = "all-MiniLM-L6-v2"
"""The peers' weights. Ours with the same ones comes first: it is what all others are compared with."""
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
HEADER = (
    "system",
    "nDCG@10",
    "R@100",
    "nDCG@10 against ours",
    "p (Holm)",
    "verdict",
    "detectable",
    "R@100 against ours",
    "p (Holm)",
    "CPU-ms/question",
    "of it embedding",
)


@dataclass(frozen=True, slots=True)
class Answered:
    """One system's run over a set; CPU milliseconds a question, and what of them embeds the question."""

    name: str
    run: Run
    cpu_ms: float
    embedding_ms: float


@dataclass(frozen=True, slots=True)
class Work:
    """A judged set with the folder of its results."""

    judged: JudgedSet
    argument: str
    questions_file: str
    language: str
    passages: Path
    questions: Path
    folder: Path


def main() -> None:
    options = arguments()
    for argument in options.sets:
        work = prepare(argument, options.results)
        print(argument, file=sys.stderr, flush=True)
        answered: list[Answered] = []
        if options.only != "peers":
            for model in options.model:
                answered += ours(work, model, data=options.results / "data" / Path(model).name)
        if options.only != "ours":
            answered += peers(work, options.peer, Path(options.peer_python))
        print(f"\n{told(work, answered, reference=f'hybrid, {options.model[0]}')}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("sets", nargs="+", metavar="SET[:QUESTIONS]")
    parser.add_argument("--model", action="append", help="embedder of ours; default: all bundled")
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="repeatable; default: all")
    parser.add_argument("--only", choices=("ours", "peers"))
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results" / "retrieval")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    options = parser.parse_args()
    options.peer = options.peer or list(PEERS)
    options.model = options.model or sorted(BUNDLED, key=lambda model: model != SHARED_MODEL)
    if options.only != "ours" and not Path(options.peer_python).exists():
        parser.error(f"no {options.peer_python}: set up the peers with sh bench/peers/setup.sh")
    return options


def prepare(argument: str, results: Path) -> Work:
    """Write the passages and questions as the peers read them: title, line break, text."""
    path, _, questions_file = argument.partition(":")
    questions_file = questions_file or "queries.jsonl"
    judged = read_beir(Path(path), queries=questions_file)
    documents = list(judged.documents())
    passages = stored(
        results, ((each.id, f"{each.title}\n{each.text}" if each.title else each.text) for each in documents)
    )
    questions = stored(results, ((query.id, query.text) for query in judged.queries))
    label = "_".join([*judged.folder.resolve().parts[-2:], Path(questions_file).stem])
    folder = results / f"{label}-{digest([passages.stem.encode(), questions.stem.encode()])}"
    folder.mkdir(parents=True, exist_ok=True)
    spoken = Counter(detect(each.text) for each in documents[:200])
    return Work(judged, argument, questions_file, spoken.most_common(1)[0][0], passages, questions, folder)


def stored(results: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """A file of ids and texts, named after what is in it."""
    lines = [json.dumps({"id": id, "text": text}, ensure_ascii=False) for id, text in rows]
    content = ("\n".join(lines) + "\n").encode()
    path = results / "texts" / f"{digest([content])}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# --- the peers ----------------------------------------------------------------------------------


def peers(work: Work, names: Sequence[str], python: Path) -> list[Answered]:
    """Every peer's run: from its result, or run now."""
    import numpy as np

    scripts = ROOT / "bench" / "peers"
    for texts in (work.passages, work.questions):
        made(texts.with_suffix(".npz"), [python, scripts / "vectors.py", texts])
    embedding_ms = float(np.load(work.questions.with_suffix(".npz"))["cpu_ms"])
    shared = [(scripts / name).read_bytes() for name in ("common.py", "requirements.txt")]
    answered = []
    for name in names:
        script = scripts / PEERS[name]
        result = work.folder / f"{script.stem}-{digest([*shared, script.read_bytes()])}.json"
        made(result, [python, script, work.passages, work.questions, work.language])
        found = json.loads(result.read_text("utf-8"))
        cpu_ms = found["cpu_ms"] + embedding_ms
        answered.append(Answered(name, Run.of(name, found["run"]), cpu_ms, embedding_ms))
    return answered


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


def ours(work: Work, model: str, *, data: Path) -> list[Answered]:
    """The legs and the hybrid through the product, with this embedder and every other setting's default."""
    names = {mode: f"{mode}, {model}" for mode in SYSTEMS}
    result = work.folder / f"promptwell-{digest([model.encode(), *sources()])}.json"
    if not result.exists():
        print(f"  promptwell, {model} …", file=sys.stderr, flush=True)
        settings = load(start=Path("/"), env={}, overrides={"data": data, "embedder.model": model})
        with connect(settings) as services:
            outcome = evaluate_set(
                services,
                work.judged.folder,
                queries=work.questions_file,
                on_ingest=lambda _: None,
                on_query=lambda *_: None,
            )
            failed = [error for row in outcome.rows for error in row.errors]
            if failed:
                sys.exit(f"{len(failed)} questions failed, such as {failed[0]}")
            embedder = services.embedder()
            began = time.process_time()
            for query in work.judged.queries[:TIMED]:
                embedder.embed([query.text], input_type="query")
            embedding_ms = 1000 * (time.process_time() - began) / len(work.judged.queries[:TIMED])
        found = {
            row.system: {
                "cpu_ms": row.cpu_ms,
                "embedding_ms": 0.0 if row.system == "lexical" else embedding_ms,
                "run": dict(row.run.results),
            }
            for row in outcome.rows
        }
        part = result.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.rename(result)
    found = json.loads(result.read_text("utf-8"))
    return [
        Answered(names[mode], Run.of(names[mode], each["run"]), each["cpu_ms"], each["embedding_ms"])
        for mode, each in found.items()
    ]


def sources() -> list[bytes]:
    """The product's code: what its rows depend on."""
    packages = [ROOT / name for name in ("rag", "indexes", "ingest", "api")]
    return [path.read_bytes() for package in packages for path in sorted(package.rglob("*.py"))]


# --- what is told -------------------------------------------------------------------------------


def told(work: Work, answered: Sequence[Answered], *, reference: str) -> str:
    """One table: figures with 95 % intervals, and every system against the reference."""
    ids = [query.id for query in work.judged.queries]
    values = {each.name: measured(each.run, ids, work.judged.qrels, measures=MEASURES) for each in answered}
    compared: Mapping[tuple[str, str], Comparison] = {}
    if reference in values:
        compared = {
            (each.candidate, each.measure): each
            for each in compare(values, baseline=reference, measures=MEASURES)
        }
    rows = [row(each, values[each.name], compared, reference=reference) for each in answered]
    header = f"{work.argument} ({work.language}), {len(ids)} questions"
    return f"{header}\n\n{table(HEADER, rows)}"


def row(
    one: Answered,
    values: Mapping[str, Mapping[str, float]],
    compared: Mapping[tuple[str, str], Comparison],
    *,
    reference: str,
) -> list[str]:
    """The cells of one system."""
    of_mean = {measure: list(each.values()) for measure, each in values.items()}
    means = [f"{sum(each) / len(each):.4f}" for each in of_mean.values()]
    low, high = bootstrap(of_mean[MEASURES[0]])
    cells = [one.name, f"{means[0]} [{low:.4f}, {high:.4f}]", means[1]]
    ndcg, recall = (compared.get((one.name, measure)) for measure in MEASURES)
    if ndcg and recall:
        cells += [difference(ndcg), f"{ndcg.p_holm:.4f}", ndcg.verdict, f"{ndcg.detectable:.4f}"]
        cells += [difference(recall), f"{recall.p_holm:.4f}"]
    else:
        cells += ["", "", "(ours)" if one.name == reference else "", "", "", ""]
    return [*cells, f"{one.cpu_ms:.1f}", f"{one.embedding_ms:.1f}"]


def difference(one: Comparison) -> str:
    return f"{one.difference:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"


def digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


if __name__ == "__main__":
    main()
