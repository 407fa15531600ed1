"""What reranking gains and costs: the hybrid search of today, and rerankers over pools of its hits.

    python -m bench.rerank SET[:QUESTIONS] … [--model NAME] [--cross-encoder FOLDER] [--pool N]… [--every N]

SET is a BEIR folder, QUESTIONS another file of questions in it. Each question is searched once through
promptwell's own search; the same hits are then put to late interaction, and to a cross-encoder where one
is named, with each pool. CPU-ms are the reranker's alone. ``p`` is of a paired sign-flip test against no
reranking, Holm-corrected over the rows of a set. ``--data`` keeps the collections for the next time;
``--every 3`` asks every third question.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from api.services import Services, connect
from api.settings import load
from bench.process import table
from ingest.decide import texts_source
from rag.evaluate import JudgedSet, compare, document_scores, evaluate, read_beir
from rag.evaluate.run import System
from rag.protocols import Reranker
from rag.retrieve.late import WEIGHT, LateInteraction
from rag.retrieve.rerank import CrossEncoderReranker, rerank
from rag.types import Hit, Query

MEASURES = ("nDCG@10", "R@10")
HITS = 100
HEADER = ("reranker", "pool", "nDCG@10", "R@10", "nDCG@10 against none", "p (Holm)", "CPU-ms")


def measure(
    services: Services, judged: JudgedSet, collection: str, pools: Sequence[int], cross_encoder: str | None
) -> list[tuple[str, ...]]:
    """A row without reranking, then one for each reranker and pool."""
    late = LateInteraction(services.embedder())
    rerankers: list[tuple[str, Reranker, float]] = [("late interaction", late, WEIGHT)]
    if cross_encoder is not None:
        rerankers.append((Path(cross_encoder).name, CrossEncoderReranker(cross_encoder), 1.0))
    hits = {q.id: services.search(q.text, collection=collection, k=HITS) for q in judged.queries}

    def plain(query: Query) -> list[tuple[str, float]]:
        return document_scores(hits[query.id])

    def better(query: Query, *, reranker: Reranker, weight: float, pool: int) -> list[tuple[str, float]]:
        found: list[Hit] = rerank(query.text, hits[query.id], reranker, pool=pool, weight=weight)
        return document_scores(found)

    systems: dict[str, System] = {"none": plain}
    for name, reranker, weight in rerankers:
        reranker.score("warm", ["up"], seconds=math.inf)
        for pool in pools:
            systems[f"{name}|{pool}"] = partial(better, reranker=reranker, weight=weight, pool=pool)
    rows = evaluate(systems, judged.queries, judged.qrels, measures=MEASURES)
    values = {row.run.name: row.by_query for row in rows}
    verdicts = {c.candidate: c for c in compare(values, baseline="none", measures=["nDCG@10"])}
    lines: list[tuple[str, ...]] = []
    for row in rows:
        name, _, read = row.run.name.partition("|")
        against = verdicts.get(row.run.name)
        lines.append(
            (
                name,
                read or "-",
                f"{row.scores['nDCG@10']:.4f}",
                f"{row.scores['R@10']:.4f}",
                f"{against.difference:+.4f}" if against else "",
                f"{against.p_holm:.4f}" if against else "",
                f"{row.cpu_ms:.0f}" if against else "-",
            )
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET[:QUESTIONS]")
    parser.add_argument("--model", help="the embedder (default: promptwell's)")
    parser.add_argument("--cross-encoder", metavar="FOLDER")
    parser.add_argument("--pool", type=int, action="append", metavar="N", help="default: 10, 20, 30")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--data", metavar="FOLDER", help="default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        overrides = {"data": options.data or scratch}
        if options.model:
            overrides["embedder.model"] = options.model
        with connect(load(start=Path(scratch), env={}, overrides=overrides)) as services:
            for named in options.sets:
                folder, _, questions = named.partition(":")
                judged = read_beir(Path(folder), queries=questions or "queries.jsonl")
                judged = replace(judged, questions=judged.queries[:: options.every])
                collection = Path(folder).resolve().as_posix().strip("/").replace("/", "_")[-60:]
                services.take_in([texts_source(judged.documents())], collection=collection)
                lines = measure(
                    services, judged, collection, options.pool or (10, 20, 30), options.cross_encoder
                )
                print(f"\n{named}, {len(judged.queries)} questions, {services.embedder().info.name}\n")
                print(table(HEADER, lines), flush=True)


if __name__ == "__main__":
    main()
