"""Measures against trec_eval itself, on random runs: ties, missing queries, graded judgements."""

from __future__ import annotations

import random

import pytest

from rag.evaluate import Run, evaluate, measured
from rag.types import Query

THEIRS = {
    "nDCG@10": "ndcg_cut_10",
    "AP": "map",
    "P@5": "P_5",
    "R@100": "recall_100",
    "R@10": "recall_10",
    "RR": "recip_rank",
}
SCORES = (0.25, 0.5, 1.0, 2.0, -1.0)
"""Few, so that ties are common; exact in 32 bits, as trec_eval reads them."""


def mirrored(document: str) -> str:
    """An id that sorts the other way: trec_eval puts the higher id first among equal scores, we the lower."""
    return "".join(chr(ord("z") - ord(letter) + ord("a")) for letter in document)


def name(number: int) -> str:
    """Ids of one length, all letters: 0 is "aaa"."""
    return "".join(chr(ord("a") + number // 26**place % 26) for place in (2, 1, 0))


def drawn(seed: int, queries: int = 25):
    """Graded judgements, some of unknown documents; rankings of 0 to 150 documents; some queries without."""
    source = random.Random(seed)
    qrels, run = {}, {}
    for number in range(queries):
        judged = source.sample(range(300), source.randint(1, 30))
        grades = {name(each): source.choice((0, 0, 1, 2, 3)) for each in judged}
        grades[name(judged[0])] = source.randint(1, 3)
        qrels[f"q{number}"] = grades
        if number % 7:
            found = source.sample(range(300), source.randint(0, 150))
            run[f"q{number}"] = {name(each): source.choice(SCORES) for each in found}
    return qrels, run


@pytest.mark.parametrize("seed", range(8))
def test_figures_are_those_of_trec_eval_with_ties_and_without_results(seed):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels, run = drawn(seed)
    judge = pytrec_eval.RelevanceEvaluator(
        {query: {mirrored(each): grade for each, grade in grades.items()} for query, grades in qrels.items()},
        set(THEIRS.values()),
    )
    theirs = judge.evaluate(
        {query: {mirrored(each): score for each, score in found.items()} for query, found in run.items()}
    )
    ours = measured(
        Run.of("r", {query: list(found.items()) for query, found in run.items()}),
        list(qrels),
        qrels,
        measures=list(THEIRS),
    )
    for query in qrels:
        for measure, their_name in THEIRS.items():
            expected = theirs.get(query, {}).get(their_name, 0.0)  # trec_eval leaves out what is not in a run
            assert ours[measure][query] == pytest.approx(expected), (query, measure)


@pytest.mark.parametrize("seed", range(3))
def test_means_count_every_judged_query_as_trec_eval_does_when_told_to(seed):
    # trec_eval -c: what a run does not have counts 0. Without it a system that answers less looks better.
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels, run = drawn(seed)
    asked = [Query(query, "?") for query in qrels]
    [one] = evaluate(
        {"s": lambda query: list(run.get(query.id, {}).items())}, asked, qrels, measures=["AP", "P@5"]
    )
    ranked = {
        query: {each: -place for place, each in enumerate(sorted(found, key=lambda d: (-found[d], d)))}
        for query, found in run.items()
    }
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"map", "P_5"}).evaluate(ranked)
    for measure, their_name in (("AP", "map"), ("P@5", "P_5")):
        total = sum(values[their_name] for values in theirs.values())
        assert one.scores[measure] == pytest.approx(total / len(qrels))
