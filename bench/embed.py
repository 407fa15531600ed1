"""Embedding speed and fidelity on this machine, as ratios in one run.

    python -m bench.embed                          speed: LangChain's way, for a model that it can load,
                                                   against each precision
    python -m bench.embed --quality DIR [DIR...]   nDCG@10 of exact search over BEIR folders, and cosines

Speeds are interleaved in rounds and the best round counts, so that a busy neighbour slows all alike.
CPU-seconds are printed beside wall time: on a machine that is not idle they are the steadier figure.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rag.embed import DEFAULT_MODEL, SentenceTransformerEmbedder
from rag.embed.engines import cpu_flags, precisions
from rag.embed.folder import ModelFolder
from rag.embed.locate import open_model
from rag.types import Vectors

SCIFACT = Path(__file__).resolve().parents[2] / "shared" / "data" / "scifact"
Embed = Callable[[Sequence[str]], Vectors]


def corpus(folder: Path) -> tuple[list[str], list[str]]:
    """Ids and texts (title, a space, text: as BEIR does) of a BEIR folder."""
    with (folder / "corpus.jsonl").open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [r["_id"] for r in records], [f"{r.get('title', '')} {r['text']}".strip() for r in records]


def langchain_way(model: str) -> Embed:
    """What LangChain's HuggingFaceEmbeddings does: SentenceTransformer.encode with its defaults."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(open_model(model).path), device="cpu")
    return lambda texts: loaded.encode(list(texts), batch_size=32, normalize_embeddings=True)


def machine_limits() -> dict[str, float]:
    """GFLOP/s of a 2048 x 1536 x 1536 matrix product on all cores, best of five."""
    import torch

    found: dict[str, float] = {}
    size = 2 * 2048 * 1536 * 1536
    a, b = torch.randn(2048, 1536), torch.randn(1536, 1536)
    found["float32"] = size / best_of(5, lambda: a @ b) / 1e9
    if cpu_flags() & {"amx_bf16", "avx512_bf16"}:
        half_a, half_b = a.bfloat16(), b.bfloat16()
        found["bfloat16"] = size / best_of(5, lambda: half_a @ half_b) / 1e9
    found["int8"] = size / best_of(5, int8_product(2048, 1536, 1536)) / 1e9
    return found


def int8_product(rows: int, inner: int, columns: int) -> Callable[[], object]:
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = rng.integers(-63, 64, (inner, columns)).astype(np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [rows, inner])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [rows, columns])],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    a = rng.integers(0, 256, (rows, inner)).astype(np.uint8)
    return lambda: session.run(None, {"a": a})


def best_of(rounds: int, work: Callable[[], object]) -> float:
    work()
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def flops_per_token(model: str, length: float) -> float:
    """Multiplications and additions of a BERT encoder for one token of a text of ``length`` tokens."""
    c = open_model(model).config
    hidden, inner, layers = c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"]
    return float(layers * (2 * (4 * hidden * hidden + 2 * hidden * inner) + 4 * length * hidden))


def speed(model: str, texts: Sequence[str], *, rounds: int, tried: Sequence[str]) -> None:
    folder = isinstance(open_model(model), ModelFolder)
    ways: dict[str, Embed] = {"langchain": langchain_way(model)} if folder else {}
    tokens = 0.0
    for precision in precisions(open_model(model)):
        if precision in tried:
            embedder = SentenceTransformerEmbedder(model, precision=precision)
            ways[precision] = partial(embedder.embed, input_type="document")
            limit = embedder.info.max_tokens
            tokens = sum(min(limit, len(embedder.tokenizer.offsets(text)) + 2) for text in texts)
    wall = dict.fromkeys(ways, float("inf"))
    cpu = dict.fromkeys(ways, float("inf"))
    vectors: dict[str, Vectors] = {}
    for way in ways.values():
        way(texts[:16])
    for _ in range(rounds):
        for name, way in ways.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            vectors[name] = way(texts)
            wall[name] = min(wall[name], time.perf_counter() - start)
            cpu[name] = min(cpu[name], time.process_time() - start_cpu)
    flops = flops_per_token(model, tokens / len(texts)) * tokens / 1e9
    limits = machine_limits()
    first = next(iter(ways))
    print(f"{model}: {len(texts)} texts, {tokens / len(texts):.0f} tokens each; best of {rounds} rounds")
    print("limits: " + ", ".join(f"{name} {value:.0f} GFLOP/s" for name, value in limits.items()))
    print("way         passages/s  tokens/s  x wall  CPU-ms/passage  x CPU  % of limit  min cosine")
    for name in ways:
        limit_name = name if name in limits else "float32"
        cosine = (vectors[name] * vectors[first]).sum(axis=1).min()
        print(
            f"{name:10s} {len(texts) / wall[name]:11.1f} {tokens / wall[name]:9.0f}"
            f" {wall[first] / wall[name]:7.2f} {1000 * cpu[name] / len(texts):15.1f}"
            f" {cpu[first] / cpu[name]:6.2f}"
            f" {100 * flops / wall[name] / limits[limit_name]:11.0f} {cosine:11.4f}"
        )


def quality(model: str, folder: Path, *, tried: Sequence[str], langchain: bool) -> None:
    ids, texts = corpus(folder)
    with (folder / "queries.jsonl").open(encoding="utf-8") as lines:
        queries = {r["_id"]: r["text"] for r in map(json.loads, lines)}
    judged: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as rows:
        for row in csv.DictReader(rows, delimiter="\t"):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    names = [q for q in judged if q in queries]
    questions = [queries[q] for q in names]
    reference: Vectors | None = None
    for name in [*(["langchain"] if langchain else []), *tried]:
        if name == "langchain":
            way = langchain_way(model)
            passages, asked = way(texts), way(questions)
        else:
            precision = next(p for p in precisions(open_model(model)) if p == name)
            embedder = SentenceTransformerEmbedder(model, precision=precision)
            passages = embedder.embed(texts, input_type="document")
            asked = embedder.embed(questions, input_type="query")
        reference = passages if reference is None else reference
        cosine = (passages * reference).sum(axis=1)
        score = ndcg([judged[q] for q in names], ids, asked @ passages.T)
        print(
            f"{folder.name}: {name:10s} nDCG@10 {score:.4f}, cosine to the first way:"
            f" min {cosine.min():.4f} mean {cosine.mean():.4f}"
        )


def ndcg(judged: Sequence[dict[str, int]], ids: Sequence[str], scores: Vectors, k: int = 10) -> float:
    discounts = 1 / np.log2(np.arange(2, k + 2))
    values = []
    for grades, row in zip(judged, scores, strict=True):
        top = np.argsort(-row, kind="stable")[:k]
        gain = sum(grades.get(ids[i], 0) * d for i, d in zip(top, discounts, strict=False))
        ideal = sum(g * d for g, d in zip(sorted(grades.values(), reverse=True), discounts, strict=False))
        values.append(gain / ideal if ideal else 0.0)
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--corpus", type=Path, default=SCIFACT, help="a BEIR folder for the speeds")
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", nargs="+", help="default: float32, int8, and bfloat16 where native")
    parser.add_argument("--quality", nargs="+", type=Path, metavar="DIR", help="BEIR folders")
    parser.add_argument("--langchain", action="store_true", help="with --quality: embed LangChain's way too")
    chosen = parser.parse_args()
    native = bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})
    default = [p for p in precisions(open_model(chosen.model)) if native or p != "bfloat16"]
    tried = chosen.precision or default
    if chosen.quality:
        for folder in chosen.quality:
            quality(chosen.model, folder, tried=tried, langchain=chosen.langchain)
    else:
        speed(chosen.model, corpus(chosen.corpus)[1][: chosen.texts], rounds=chosen.rounds, tried=tried)


if __name__ == "__main__":
    main()
