"""What few-shot examples are worth before any model reads them: does their label agree with the question's?

    python -m bench.few_shot [--model all-MiniLM-L6-v2] [--k 4]

Three classifications made of the judged sets: the clause of a contract -> which of 17 hypotheses it settles
(legalbench-contractnli, evidence spans; those of the question's own contract are excluded, as an evaluation
would), the question -> which of 24 articles it is about (xquad-es), and the question -> which of 5 corpora it
is from (chunking-eval). Each item is asked with all others as the set. Printed for examples taken at random
and by likeness, with and without diversity: the share of the examples that bear the right label, how often
at least one of them does, how often the vote of all of them is right, and the number of different labels.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag.embed import SentenceTransformerEmbedder
from rag.prompts.examples import Example, ExampleSettings, choose

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ASKED = 400
"""Items of a set that are asked; all serve as examples."""


@dataclass(frozen=True, slots=True)
class Task:
    name: str
    examples: tuple[Example, ...]
    group: dict[str, str]
    """By id of an example the document that it is from: none of those is shown for another of them."""


def _lines(path: Path) -> Iterator[dict]:
    yield from map(json.loads, path.read_text("utf-8").splitlines())


def clauses() -> Task:
    folder = DATA / "legalbench-contractnli"
    asked = {one["_id"]: one["text"].split(";")[-1].strip() for one in _lines(folder / "queries.jsonl")}
    labels: dict[tuple[str, str], set[str]] = defaultdict(set)
    for span in _lines(folder / "spans.jsonl"):
        labels[span["doc_id"], span["text"]].add(asked[span["query_id"]])
    once = [(document, text, *found) for (document, text), found in labels.items() if len(found) == 1]
    examples = tuple(Example(text, label, id=str(n)) for n, (_, text, label) in enumerate(once))
    return Task("clauses", examples, {str(n): document for n, (document, _, _) in enumerate(once)})


def articles() -> Task:
    folder = DATA / "xquad-es-wiki-dev"
    texts = {one["_id"]: one["text"] for one in _lines(folder / "queries.jsonl")}
    rows = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text("utf-8").splitlines()[1:]]
    return Task("articles (es)", tuple(Example(texts[q], document, id=q) for q, document, _ in rows), {})


def corpora() -> Task:
    found = _lines(DATA / "chunking-eval" / "queries.jsonl")
    return Task("corpora", tuple(Example(q["text"], q["metadata"]["corpus"], id=q["_id"]) for q in found), {})


def report(task: Task, embedder: SentenceTransformerEmbedder, k: int) -> None:
    vectors = embedder.embed([example.input for example in task.examples], input_type="query")
    draw = random.Random(7)
    asked = draw.sample(range(len(task.examples)), min(ASKED, len(task.examples)))
    labels = Counter(example.output for example in task.examples)
    print(
        f"\n{task.name}: {len(task.examples)} items, {len(labels)} labels, {len(asked)} asked, {k} examples"
    )
    print(f"commonest label everywhere: {max(labels.values()) / len(task.examples):.3f}")
    print("                 right label   one of them   vote right   labels")
    ways: list[tuple[str, Callable[[int, set[str]], Sequence[Example]]]] = [
        ("at random", lambda item, out: _random(task, item, out, k, draw))
    ]
    for diversity in (0.0, 0.3, 0.5, 0.7):
        settings = ExampleSettings(file="x", k=k, budget=100_000, diversity=diversity)

        def near(item: int, out: set[str], settings: ExampleSettings = settings) -> Sequence[Example]:
            question = task.examples[item].input
            return choose(
                question,
                task.examples,
                vectors=vectors,
                vector=vectors[item],
                settings=settings,
                count_tokens=len,
                exclude=out,
            ).examples

        ways.append((f"diversity {diversity:.1f}", near))
    for name, way in ways:
        agree, any_right, vote, distinct = [], [], [], []
        for item in asked:
            label, own = task.examples[item].output, task.group.get(task.examples[item].id)
            out = {id for id, document in task.group.items() if document == own} | {task.examples[item].id}
            chosen = [example.output for example in way(item, out)]
            agree.append(chosen.count(label) / max(1, len(chosen)))
            any_right.append(label in chosen)
            # The most similar stands last: of equal votes its label counts.
            votes = Counter(reversed(chosen))
            vote.append(bool(votes) and votes.most_common(1)[0][0] == label)
            distinct.append(len(set(chosen)))
        figures = [float(np.mean(column)) for column in (agree, any_right, vote, distinct)]
        print("{:14}  {:12.3f}  {:12.3f}  {:11.3f}  {:7.2f}".format(name, *figures))


def _random(task: Task, item: int, out: set[str], k: int, draw: random.Random) -> list[Example]:
    return draw.sample([example for example in task.examples if example.id not in out], k)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--k", type=int, default=4)
    options = parser.parse_args()
    model = SentenceTransformerEmbedder(options.model)
    print(model.info.name)
    for task in (clauses(), articles(), corpora()):
        report(task, model, options.k)
