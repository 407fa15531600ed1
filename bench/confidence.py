"""Telling questions without an answer from those with one, on judged sets: what rag/support.py is worth.

    python -m bench.confidence SET... --data DIR [--model NAME] [--most 300]

A SET is a BEIR folder. Its questions are asked twice: as they are, and with their relevant documents held
out; those of unanswerable.jsonl, where there is one, as they are. ``--data`` is a data folder of its own,
kept between runs. ``--most`` takes that many questions, evenly over the file.

For each signal, and for the strength that is made of them: the area under the ROC curve, and the false-answer
rate at the threshold that keeps 95 % of the answerable. Then what a calibration on half of the answerable
questions (drawn 20 times) keeps of the other half, and the false-answer rate that goes with it. Last, the
constants of rag/support.py for these sets: means and deviations of the signals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from api.services import Services, connect
from api.settings import load
from bench.process import table
from ingest.decide import texts_source
from rag.confidence import calibrate
from rag.evaluate import read_beir
from rag.retrieve import Retriever
from rag.support import Support, gather

SIGNALS = ("near", "beyond", "said", "met")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", type=Path, metavar="SET")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--most", type=int, default=300)
    arguments = parser.parse_args()
    overrides = {"data": str(arguments.data), "embedder.model": arguments.model}
    with connect(load(start=Path("/"), env={}, overrides=overrides)) as services:
        pairs = {}
        for folder in arguments.sets:
            for name, pair in supports(services, folder, arguments.most).items():
                pairs[name] = pair
                print(f"{name}: {len(pair[0])} answerable, {len(pair[1])} not", flush=True)
    header = ["set", *(f"{signal}: AUC, false" for signal in (*SIGNALS, "strength")), "half: kept, false"]
    print(table(header, [row(name, *pair) for name, pair in pairs.items()]))
    constants(list(pairs.values()))


Pair = tuple[Sequence[Support], Sequence[Support]]
"""The evidence for questions with an answer, and for questions without."""


def supports(services: Services, folder: Path, most: int) -> dict[str, Pair]:
    judged = read_beir(folder)
    name = f"{judged.name}-{judged.digest[:12]}"  # several sets are called "passages"
    services.take_in([texts_source(judged.documents())], collection=name)
    embedder = services.embedder()
    collection = services.catalogue().collection(name, embedder=embedder.info)
    retriever = Retriever(embedder)

    def ask(question: str, without: frozenset[str] = frozenset()) -> Support:
        trail = retriever.trace(collection, question)
        return gather(trail, collection, embedder=embedder, without=without)

    relevant = {
        query.text: frozenset(document for document, grade in judged.qrels[query.id].items() if grade > 0)
        for query in judged.queries
        if query.id in judged.qrels
    }
    questions = evenly([text for text, documents in relevant.items() if documents], most)
    answerable = [ask(question) for question in questions]
    pairs: dict[str, Pair] = {
        f"{judged.name} held out": (answerable, [ask(q, relevant[q]) for q in questions])
    }
    if (file := folder / "unanswerable.jsonl").exists():
        texts = [json.loads(line)["text"] for line in file.read_text("utf-8").splitlines()]
        pairs[f"{judged.name} unanswerable"] = answerable, [ask(text) for text in evenly(texts, most)]
    return pairs


def evenly(texts: Sequence[str], most: int) -> list[str]:
    places = np.unique(np.linspace(0, len(texts) - 1, min(most, len(texts))).astype(int))
    return [texts[place] for place in places]


def row(name: str, answerable: Sequence[Support], unanswerable: Sequence[Support]) -> list[str]:
    cells = [name]
    for signal in (*SIGNALS, "strength"):
        yes, no = (
            np.nan_to_num(np.array([getattr(s, signal) for s in side]), nan=-100.0, neginf=-100.0)
            for side in (answerable, unanswerable)
        )
        cells.append(f"{auc(yes, no):.3f}, {np.mean(no >= np.quantile(yes, 0.05)):.2f}")
    kept, false = halves(answerable, unanswerable)
    return [*cells, f"{kept:.3f}, {false:.2f}"]


def auc(yes: Sequence[float], no: Sequence[float]) -> float:
    """The share of pairs that stand in the right order, ties half."""
    above = np.subtract.outer(np.asarray(yes), np.asarray(no))
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def halves(answerable: Sequence[Support], unanswerable: Sequence[Support]) -> tuple[float, float]:
    yes, no = (np.array([s.strength for s in side]) for side in (answerable, unanswerable))
    draw = np.random.default_rng(0)
    found = []
    for _ in range(20):
        order = draw.permutation(len(yes))
        here, there = order[: len(order) // 2], order[len(order) // 2 :]
        made = calibrate(yes[here].tolist(), no.tolist())
        let = [[made.judge(strength).enough for strength in side] for side in (yes[there], no)]
        found.append([np.mean(side) for side in let])
    kept, false = np.mean(found, axis=0)
    return float(kept), float(false)


def constants(pairs: Sequence[Pair]) -> None:
    for signal in SIGNALS:
        each = [np.array([getattr(s, signal) for side in pair for s in side]) for pair in pairs]
        told = [known for values in each if len(known := values[~np.isnan(values)])]
        mean, deviation = (np.mean([how(known) for known in told]) for how in (np.mean, np.std))
        print(f"{signal}: mean {mean:.3f}, deviation {deviation:.3f}")


if __name__ == "__main__":
    main()
