"""Do synthetic sets rank systems like people's judgements do? Kendall's tau, kind by kind and mixed.

    python -m bench.synthetic SET[=MODEL] … [--chosen SET]… [--write]

SET is a BEIR folder, or the folder ``examples`` (knowledge base and questions). Of a large corpus as much is
taken as ``--characters`` says, judged documents first, drawn by their ids; of the questions, those whose
relevant documents are all in. It is ingested once into a data folder that is kept. A dozen and more systems
are measured by nDCG@10 on people's questions and on synthetic ones: over chunks that hold evidence where the
judgements quote it (``spans.jsonl``), else over documents.

``--chosen`` sets are those that the mix of kinds may be chosen by: for these every mix of kinds is shown.
``--write`` writes what ``rag eval synth`` tells with each of its sets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np

from api.services import Services, connect
from api.settings import load
from bench.process import table
from bench.rankers import Rankers
from ingest.decide import texts_source
from rag.embed import DEFAULT_MODEL
from rag.evaluate import JudgedSet, Judgement, read_beir
from rag.evaluate.evidence import Span
from rag.evaluate.synthetic import KINDS, MIX, Agreement, Material, Measured, agreement, kendall, synthesise
from rag.evaluate.synthetic.agreement import FIGURES, Values, as_json
from rag.language import detect
from rag.types import Document, Query

ROOT = Path(__file__).resolve().parent.parent
AT = 10
WHOLE = 20
"""Documents up to which a corpus is taken whole, however long they are."""


@dataclass(frozen=True)
class Work:
    """A judged set, as much of it as is used, with what was made of it."""

    name: str
    language: str
    queries: Sequence[Query]
    gold: Mapping[str, frozenset[int]]
    material: Material
    rankers: Rankers
    by_chunk: bool


def main() -> None:
    options = arguments()
    measured: list[Measured] = []
    chosen: list[dict[tuple[str, ...], float]] = []
    for argument in options.sets:
        path, _, model = argument.partition("=")
        data = options.data / (model or DEFAULT_MODEL)
        overrides = {"data": data, "embedder.model": model or DEFAULT_MODEL}
        with connect(load(start=Path("/"), env={}, overrides=overrides)) as services:
            work = prepare(services, Path(path), characters=options.characters, questions=options.questions)
            people = values(work, work.queries, work.gold)
            scores = {system: mean(each) for system, each in people.items()}
            ranked = sorted(scores, key=scores.__getitem__)
            print(f"\n## {work.name}\n")
            print(f"{len(work.material.readings)} documents, {len(work.queries)} questions by people")
            print(", ".join(f"{name} {scores[name]:.3f}" for name in ranked), flush=True)
            kinds = by_kind(work, people, size=options.size)
            if work.name in options.chosen:
                chosen.append(mixes(people, kinds))
            found = checks(work, people, size=options.size)
            measured.append(Measured(work.name, work.language, work.name in options.chosen, found))
    if chosen:
        print("\n## Mixes of kinds, mean tau over the sets that choose\n")
        common = set.intersection(*(set(each) for each in chosen))
        means = {mix: sum(each[mix] for each in chosen) / len(chosen) for mix in common}
        rows = [
            [" ".join(mix), f"{means[mix]:.3f}"] for mix in sorted(means, key=lambda mix: (-means[mix], mix))
        ]
        print(table(["kinds", "tau"], rows))
    print("\n## The mix that is shipped\n")
    header = ["set", "language", "chose", "systems", "people", "synthetic", "tau", "95 %"]
    print(table(header, [row_of(each) for each in measured]))
    if options.write:
        FIGURES.write_text(json.dumps(as_json(measured), indent=1) + "\n", "utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("sets", nargs="+", metavar="SET[=MODEL]")
    parser.add_argument("--chosen", action="append", default=[], metavar="SET", help="name of a folder")
    parser.add_argument("--data", type=Path, default=ROOT / "bench" / "results" / "synthetic" / "data")
    parser.add_argument("--characters", type=int, default=800_000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--size", type=int, default=100, help="synthetic questions of a kind; twice in a mix")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def row_of(one: Measured) -> list[str]:
    found = one.agreement
    sizes = [str(found.systems), str(found.people), str(found.synthetic)]
    return [one.judged_set, one.language, "yes" if one.chosen else "", *sizes, *told(found)]


def told(found: Agreement) -> list[str]:
    return [f"{found.tau:.2f}", f"{found.low:.2f} to {found.high:.2f}"]


# --- people's judgements ------------------------------------------------------------------------


def prepare(services: Services, path: Path, *, characters: int, questions: int) -> Work:
    """Ingest what is used of a set, and find its evidence among the chunks."""
    judged = examples(path) if (path / "questions.jsonl").exists() else read_beir(path)
    documents = some(list(judged.documents()), judged, characters)
    services.take_in([texts_source(documents)], collection=path.name)  # what is there is not embedded again
    ids = {each.document_id for each in judged.judgements if each.grade > 0}
    here = {each.id for each in documents}
    catalogue = services.catalogue()
    chunks = [chunk for each in documents for chunk in catalogue.chunks(path.name, each.id)]
    asked = sorted(judged.queries, key=lambda query: digest(query.id))
    asked = [query for query in asked if relevant(judged, query.id) <= here][:questions]
    rankers = Rankers(services, path.name, chunks)
    by_chunk = any(each.quotation for each in judged.judgements)
    gold = {query.id: units(rankers, judged, query.id, by_chunk=by_chunk) for query in asked}
    asked = [query for query in asked if gold[query.id]]
    spoken = Counter(detect(each.text) for each in documents[:100] if each.id in ids)
    language = "+".join(
        sorted(name for name, count in spoken.items() if name and count > 0.2 * spoken.total())
    )
    stored = [catalogue.document(path.name, each.id) for each in documents]
    return Work(path.name, language, asked, gold, Material.of(stored), rankers, by_chunk)


def units(rankers: Rankers, judged: JudgedSet, query: str, *, by_chunk: bool) -> frozenset[int]:
    """What answers a question: chunks with the words quoted, or documents."""
    said = [each for each in judged.judgements if each.query_id == query and each.grade > 0]
    if not by_chunk:
        return rankers.documents({each.document_id for each in said})
    quoted = [each for each in said if each.quotation]
    return rankers.overlapping(
        Span(each.document_id, each.start, each.start + len(each.quotation)) for each in quoted
    )


def examples(path: Path) -> JudgedSet:
    """The sample knowledge base with its questions, by document."""
    known = {
        file.relative_to(path / "knowledge").as_posix(): file.read_text("utf-8")
        for file in sorted((path / "knowledge").rglob("*.md"))
    }
    rows = [json.loads(line) for line in (path / "questions.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["document"] in known]
    return JudgedSet.of(
        path.name,
        [Query(row["id"], row["question"]) for row in rows],
        [Judgement(row["id"], row["document"]) for row in rows],
        corpus=lambda: (Document(name, text, title=heading(text)) for name, text in known.items()),
    )


def heading(text: str) -> str:
    return next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), "")


def some(documents: Sequence[Document], judged: JudgedSet, characters: int) -> list[Document]:
    """Judged documents up to half of the characters, others up to all, then judged ones again."""
    wanted = {each.document_id for each in judged.judgements if each.grade > 0}
    drawn = sorted(documents, key=lambda each: digest(each.id))
    judged_ones = [each for each in drawn if each.id in wanted]
    kept: dict[str, Document] = {}
    size = 0
    for group, most in ((judged_ones, characters / 2), (drawn, characters)):
        for each in group:
            fits = size + len(each.text) <= most or len(documents) <= WHOLE
            if each.id not in kept and fits and (each.id not in wanted or group is judged_ones):
                kept[each.id] = each
                size += len(each.text)
    for each in judged_ones:
        if each.id not in kept and size + len(each.text) <= characters:
            kept[each.id] = each
            size += len(each.text)
    return list(kept.values())


def relevant(judged: JudgedSet, query: str) -> set[str]:
    return {document for document, grade in judged.qrels.get(query, {}).items() if grade > 0}


# --- synthetic questions ------------------------------------------------------------------------


def by_kind(work: Work, people: Values, *, size: int) -> dict[str, Values]:
    """Each kind of question alone: how many there are, and how they rank the systems."""
    found: dict[str, Values] = {}
    rows = []
    for kind in KINDS:
        given = measured_on(work, kinds=[kind], size=size)
        if given is None or len(next(iter(given.values()))) < 20:
            rows.append([kind, "too few", "", ""])
            continue
        found[kind] = given
        rows.append([kind, str(len(next(iter(given.values())))), *told(agreement(people, given))])
    print(f"\n{table(['kind', 'questions', 'tau', '95 %'], rows)}", flush=True)
    return found


def mixes(people: Values, kinds: Mapping[str, Values]) -> dict[tuple[str, ...], float]:
    """Tau of every mix of kinds in equal parts."""
    systems = sorted(people)
    scores = {kind: np.array([mean(each[name]) for name in systems]) for kind, each in kinds.items()}
    judged = np.array([mean(people[name]) for name in systems])
    every = chain.from_iterable(combinations(sorted(scores), size) for size in range(1, len(scores) + 1))
    return {mix: kendall(judged, np.mean([scores[kind] for kind in mix], axis=0)) for mix in every}


def checks(work: Work, people: Values, *, size: int) -> Agreement:
    """The mix that is shipped, and what the checks do to it."""
    ways: dict[str, dict[str, Any]] = {
        "found in 50 and clear": {},
        "found in 10 and clear": {"within": 10},
        "clear": {"within": 0},
        "found in 50": {"clear": False},
        "not checked": {"within": 0, "clear": False},
    }
    rows, agreements = [], []
    for name, options in ways.items():
        given = measured_on(work, kinds=[kind for kind in KINDS if MIX[kind]], size=2 * size, **options)
        if given is None:
            raise SystemExit(f"{work.name}: no questions")
        agreements.append(agreement(people, given))
        best = max(mean(each) for each in given.values())
        rows.append([name, str(len(next(iter(given.values())))), *told(agreements[-1]), f"{best:.3f}"])
    print(f"\n{table(['checked for', 'questions', 'tau', '95 %', 'best nDCG@10'], rows)}", flush=True)
    return agreements[0]


def measured_on(work: Work, *, kinds: Sequence[str], size: int, **options: object) -> Values | None:
    """What the systems reach on a synthetic set; None where there is none."""
    from rag.errors import EvaluationError

    try:
        made = synthesise(work.name, work.material, work.rankers.hits, kinds=kinds, size=size, **options)  # type: ignore[arg-type]
    except EvaluationError:
        return None
    gold = {
        query.id: units(work.rankers, made.judged, query.id, by_chunk=work.by_chunk)
        for query in made.judged.queries
    }
    return values(work, made.judged.queries, gold)


# --- measuring ----------------------------------------------------------------------------------


def values(work: Work, queries: Iterable[Query], gold: Mapping[str, frozenset[int]]) -> Values:
    """nDCG@10 of every system and question; the units are chunks, or documents."""
    by_system: dict[str, dict[str, float]] = {}
    for query in queries:
        for system, ranked in work.rankers.rankings(query.text).items():
            units = ranked if work.by_chunk else work.rankers.to_documents(ranked)
            by_system.setdefault(system, {})[query.id] = ndcg(units, gold[query.id])
    return by_system


def ndcg(ranked: Sequence[int], gold: frozenset[int]) -> float:
    gains = [float(unit in gold) / np.log2(rank + 1) for rank, unit in enumerate(ranked[:AT], 1)]
    best = sum(1 / np.log2(rank + 1) for rank in range(1, min(AT, len(gold)) + 1))
    return float(sum(gains) / best) if best else 0.0


def mean(scores: Mapping[str, float]) -> float:
    return sum(scores.values()) / len(scores)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


if __name__ == "__main__":
    main()
