"""How vector indexes grow: ours and the peers', on the same real vectors, from ten thousand to a million.

    python -m bench.vectors FOLDER … [--model NAME]              texts, embedded by the product's embedder
    python -m bench.vectors --rows ROWS.npy --questions Q.npy    vectors that are at hand already
        [--sizes 10000,100000,1000000] [--kinds sq8,rabitq,hnsw,flat] [--peers | --only-peers] [--minutes 20]

bench/vectors/data.py says where a million real vectors come from. Each system is built in one process, on
all cores, and searched in another, on one core, a question at a time, with 100 and with 10 rows wanted:
real questions and held-out sentences, up to 1,000 of each. Recall is against every row, by the score of
the k-th, so that equal rows count alike. Peers run in .venv-bench (``sh bench/peers/setup.sh``) with the
defaults of their own documentation. A build that takes longer than ``--minutes`` is given up and told.

Results lie in bench/results/vectors under the digest of the vectors; what is there is not measured again:
remove a system's file to do so. The table goes to the terminal, and as a plot to growth.svg beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.process import table
from bench.vectors.data import Real, embedded, extended, shuffled
from bench.vectors.plot import plot
from rag.embed import DEFAULT_MODEL
from rag.types import Vectors

ROOT = Path(__file__).resolve().parents[2]
PEERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "FAISS HNSW": ("nearest_faiss.py", {}),
    "usearch": ("nearest_usearch.py", {}),
    "LanceDB": ("nearest_lancedb.py", {}),
    "LanceDB, refine 10": ("nearest_lancedb.py", {"LANCEDB_REFINE": "10"}),
    "Chroma": ("nearest_chroma.py", {}),
}
QUIET = {"ANONYMIZED_TELEMETRY": "False", "ORT_DISABLE_TELEMETRY": "1", "LANCE_LOG": "error"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LANCE_CPU_THREADS"), "1")
BLOCK = 50_000
SAME = 1e-6
"""A score this near the k-th best is as good: float32 sums differ by less."""
HEADER = (
    "rows",
    "system",
    "build s",
    "CPU s",
    "disk MB",
    "RSS MB",
    "anon. MB",
    "open s",
    "p50 ms",
    "p95",
    "p99",
    "k=10 p50",
    "R@10 questions",
    "R@10 sentences",
    "R@100",
)


def main() -> None:
    options = arguments()
    options.results.mkdir(parents=True, exist_ok=True)
    if options.rows:
        real = shuffled(np.load(options.rows), np.load(options.questions))
    else:
        real = embedded(options.folder, model=options.model, cache=options.results)
    folder = options.results / real.digest
    folder.mkdir(exist_ok=True)
    asked = np.concatenate([real.questions, real.held_out])
    np.save(folder / "asked.npy", asked)
    systems: dict[str, tuple[list[str], dict[str, str]]] = {}
    if not options.only_peers:
        for kind in options.kinds.split(","):
            systems[kind] = ([sys.executable, "-m", "bench.vectors.ours"], {"VECTORS_KIND": kind})
    if options.peers or options.only_peers:
        for name, (script, env) in PEERS.items():
            systems[name] = ([options.peer_python, str(ROOT / "bench" / "peers" / script)], dict(env))
    sizes = sorted(map(int, options.sizes.split(",")))
    made = [int(path.stem.split("-")[1]) for path in folder.glob("rows-*.npy")]
    largest = max([*made, sizes[-1]])  # a smaller size is the first so many rows of a larger one
    rows = folder / f"rows-{largest}.npy"
    all_rows = extended(real, largest, rows)
    for size in sizes:
        vectors = all_rows[:size]
        truth = exact(vectors, asked, folder / f"truth-{size}.npy")
        for name, (command, env) in systems.items():
            result = folder / f"{size}-{name.replace(' ', '-').replace(',', '')}.json"
            if not result.exists():
                print(f"  {size:,} {name} …", file=sys.stderr, flush=True)
                found = measured(command, env, rows=rows, size=size, work=folder, minutes=options.minutes)
                result.write_text(
                    json.dumps({"rows": size, "system": name, **figures(found, real, vectors, truth)})
                )
        for built in folder.glob("built-*"):
            shutil.rmtree(built) if built.is_dir() else built.unlink()
    known = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    known.sort(key=lambda each: (each["rows"], each["system"] in PEERS, each["system"]))
    print(
        f"{len(real.rows):,} real rows, the rest drawn; {len(real.questions):,} questions, "
        f"{len(real.held_out):,} sentences; p50, p95 and p99 with 100 rows wanted, on one core\n"
    )
    print(table(HEADER, [cells(each) for each in known]))
    (folder / "growth.svg").write_text(plot(known), "utf-8")
    print(f"\n{folder / 'growth.svg'}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", nargs="*", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--kinds", default="sq8,rabitq,hnsw,flat")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--only-peers", action="store_true")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results" / "vectors")
    options = parser.parse_args()
    if bool(options.folder) == bool(options.rows) or bool(options.rows) != bool(options.questions):
        parser.error("name folders of texts, or --rows and --questions")
    return options


def measured(
    command: list[str], env: Mapping[str, str], *, rows: Path, size: int, work: Path, minutes: float
) -> dict[str, Any]:
    """What building and searching gave; of a build that took too long, only that."""
    script = Path(command[-1]).name.removesuffix(".py").replace(".", "-")
    built = work / f"built-{size}-{script}{env.get('VECTORS_KIND', '')}"
    told, answers = built.with_suffix(".told"), work / "answers.npz"
    env = {**os.environ, **QUIET, **env}
    env.pop("OPENBLAS_CORETYPE", None)
    if not told.exists() or not built.exists():
        shutil.rmtree(built, ignore_errors=True)
        built.mkdir()
        arguments = map(str, ("build", rows, size, built, told))
        try:
            subprocess.run([*command, *arguments], env=env, cwd=ROOT, check=True, timeout=60 * minutes)
        except subprocess.TimeoutExpired:
            return {"given_up": 60 * minutes}
    subprocess.run(
        [*command, "search", work / "asked.npy", built, answers],
        env={**env, **ONE_THREAD},
        cwd=ROOT,
        check=True,
    )
    with np.load(answers) as found:
        return {**json.loads(told.read_text()), **found}


def figures(found: Mapping[str, Any], real: Real, rows: Vectors, truth: Vectors) -> dict[str, float]:
    """A system's row of the table, of plain numbers."""
    if "given_up" in found:
        return {"given_up": found["given_up"]}
    asked = np.concatenate([real.questions, real.held_out])
    plain = {key: float(found[key]) for key in ("seconds", "cpu", "disk", "rss", "anonymous", "open")}
    for k in (100, 10):
        took = 1000 * found[f"took{k}"]
        plain |= {f"p{at}_{k}": float(np.percentile(took, at)) for at in (50, 95, 99)}
        plain[f"cpu_ms_{k}"] = 1000 * float(found[f"cpu{k}"])
        shares = recall(found[f"places{k}"], rows, asked, truth, k=k)
        plain[f"recall_{k}_questions"] = float(shares[: len(real.questions)].mean())
        plain[f"recall_{k}_sentences"] = float(shares[len(real.questions) :].mean())
    return plain


def exact(rows: Vectors, asked: Vectors, path: Path) -> Vectors:
    """The scores of the 100 best rows of each question, best first: (questions, 100); kept in a file."""
    if not path.exists():
        best = np.empty((len(asked), 0), dtype=np.float32)
        for start in range(0, len(rows), BLOCK):
            scores = asked @ rows[start : start + BLOCK].T
            best = np.concatenate([best, scores], axis=1)
            best = -np.partition(-best, min(100, best.shape[1]) - 1, axis=1)[:, :100]
        np.save(path, -np.sort(-best, axis=1))
    scores_of: Vectors = np.load(path)
    return scores_of


def recall(places: Any, rows: Vectors, asked: Vectors, truth: Vectors, *, k: int) -> Any:
    """The share of each question's k best that was found; a place found twice counts once.

    >>> rows = np.eye(3, dtype=np.float32)
    >>> asked = np.array([[0.8, 0.6, 0.0]], dtype=np.float32)
    >>> truth = np.array([[0.8, 0.6]], dtype=np.float32)
    >>> [recall(np.array([places]), rows, asked, truth, k=2).tolist() for places in ([1, 0], [0, 0], [2, 1])]
    [[1.0], [0.5], [0.5]]
    """
    shares = np.zeros(len(asked))
    for number, found in enumerate(places):
        found = np.unique(found[found >= 0])
        shares[number] = np.sum(rows[found] @ asked[number] >= truth[number, k - 1] - SAME) / k
    return np.minimum(shares, 1)


def cells(one: Mapping[str, Any]) -> list[str]:
    rows, system = f"{one['rows']:,}", one["system"]
    if "given_up" in one:
        return [rows, system, f"over {one['given_up']:.0f}", *[""] * (len(HEADER) - 3)]
    sizes = [f"{one[key] / 1e6:,.0f}" for key in ("disk", "rss", "anonymous")]
    took = [f"{one[key]:.2f}" for key in ("p50_100", "p95_100", "p99_100", "p50_10")]
    at_100 = (one["recall_100_questions"] + one["recall_100_sentences"]) / 2
    recalls = [f"{each:.3f}" for each in (one["recall_10_questions"], one["recall_10_sentences"], at_100)]
    return [
        rows,
        system,
        f"{one['seconds']:.1f}",
        f"{one['cpu']:.0f}",
        *sizes,
        f"{one['open']:.2f}",
        *took,
        *recalls,
    ]


if __name__ == "__main__":
    main()
