"""Judged sets and measures, against slow oracles and trec_eval itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import EvaluationError, ModelError
from rag.evaluate import MEASURES, Run, document_scores, evaluate, measured, read_beir
from rag.types import Chunk, Hit, Query

SHARED = Path(__file__).parents[2] / "shared" / "data"


def beir(folder: Path, *, corpus=None, queries=None, qrels=None) -> Path:
    corpus = (
        corpus
        if corpus is not None
        else [{"_id": "d1", "title": "T", "text": "uno"}, {"_id": "d2", "text": "dos"}]
    )
    queries = (
        queries if queries is not None else [{"_id": "q1", "text": "¿uno?"}, {"_id": "q2", "text": "¿nada?"}]
    )
    qrels = qrels if qrels is not None else "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t0\n"
    (folder / "qrels").mkdir(parents=True)
    for name, records in (("corpus", corpus), ("queries", queries)):
        lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


# --- measures ---------------------------------------------------------------------------------


def slow_ndcg(ranked: list[str], grades: dict[str, int], k: int) -> float:
    gains = [grades.get(document, 0) / math.log2(rank + 1) for rank, document in enumerate(ranked[:k], 1)]
    best = sorted(grades.values(), reverse=True)[:k]
    return sum(gains) / sum(gain / math.log2(rank + 1) for rank, gain in enumerate(best, 1))


def slow_recall(ranked: list[str], grades: dict[str, int], k: int) -> float:
    relevant = {document for document, grade in grades.items() if grade > 0}
    return len(relevant & set(ranked[:k])) / len(relevant)


def slow_rr(ranked: list[str], grades: dict[str, int], k: int) -> float:
    return next((1 / n for n, document in enumerate(ranked[:k], 1) if grades.get(document, 0) > 0), 0.0)


documents = st.sampled_from([f"d{number}" for number in range(30)])
gradings = st.dictionaries(documents, st.integers(0, 3), min_size=1, max_size=12).filter(
    lambda grades: max(grades.values()) > 0
)
# Few distinct scores, so that ties are common; tiny differences, so that 32 bits would merge them.
scores = st.sampled_from([0.5, 0.5 + 1e-12, 1.0, 2.0, -1.0])


@settings(max_examples=200, deadline=None)
@given(
    grades=st.lists(gradings, min_size=1, max_size=4),
    found=st.lists(st.dictionaries(documents, scores, max_size=30), min_size=4, max_size=4),
)
def test_measures_equal_their_definitions_ties_by_id_included(grades, found):
    qrels = {f"q{number}": each for number, each in enumerate(grades)}
    run = Run.of("r", {f"q{number}": list(each.items()) for number, each in enumerate(found)})
    values = measured(run, list(qrels), qrels)
    for number, (query, judged) in enumerate(qrels.items()):
        ranked = sorted(found[number], key=lambda document: (-found[number][document], document))
        assert values["nDCG@10"][query] == pytest.approx(slow_ndcg(ranked, judged, 10))
        assert values["R@100"][query] == pytest.approx(slow_recall(ranked, judged, 100))
        assert values["RR@10"][query] == pytest.approx(slow_rr(ranked, judged, 10))
        top = ranked[:10]
        seen = sum(document in judged for document in top)
        assert values["Judged@10"][query] == pytest.approx(seen / len(top) if top else 0.0)


def test_figures_are_those_of_trec_eval_on_a_run_made_by_hand():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    qrels = {"q1": {"a": 2, "b": 1, "c": 0, "z": 3}, "q2": {"m": 1}, "q3": {"k": 1}}
    run = {"q1": {"c": 9.0, "a": 8.0, "x": 7.0, "b": 6.0}, "q2": {"n": 2.0, "m": 1.0}, "q3": {"x": 1.0}}
    judge = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recall_100", "recip_rank"})
    theirs = judge.evaluate(run)
    ours = measured(Run.of("r", {q: list(d.items()) for q, d in run.items()}), list(qrels), qrels)
    for query in qrels:
        assert ours["nDCG@10"][query] == pytest.approx(theirs[query]["ndcg_cut_10"])
        assert ours["R@100"][query] == pytest.approx(theirs[query]["recall_100"])
        assert ours["RR@10"][query] == pytest.approx(theirs[query]["recip_rank"])


def test_a_judged_query_without_results_counts_zero():
    queries = [Query("q1", "a"), Query("q2", "b")]
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    [row] = evaluate({"half": lambda query: [("a", 1.0)] if query.id == "q1" else []}, queries, qrels)
    assert (row.scores["nDCG@10"], row.scores["R@100"], len(row.questions)) == (0.5, 0.5, 2)


def test_a_query_that_failed_is_told_apart_and_not_averaged():
    def system(query: Query):
        if query.id == "q2":
            raise ModelError("gone")
        return [("a", 1.0)]

    heard: list[tuple[str, int, int]] = []
    queries = [Query("q1", "a"), Query("q2", "b")]
    qrels = {"q1": {"a": 1}, "q2": {"b": 1}}
    rows = evaluate({"s": system}, queries, qrels, progress=lambda *step: heard.append(step))
    assert (rows[0].scores["nDCG@10"], rows[0].errors) == (1.0, (("q2", "gone"),))
    assert list(rows[0].by_query["nDCG@10"]) == ["q1"]
    assert heard == [("s", 1, 2), ("s", 2, 2)]
    assert json.loads(json.dumps(rows[0].summary()))["errors"] == [{"query": "q2", "message": "gone"}]


def test_ids_that_are_no_utf8_are_measured_like_others():
    qrels = {"q\ud800": {"d\ud800": 1, "\0": 1}}
    [one] = evaluate({"s": lambda _: [("x", 2.0), ("d\ud800", 1.0)]}, [Query("q\ud800", "?")], qrels)
    assert (one.scores["RR@10"], one.scores["R@100"]) == (0.5, 0.5)


def test_rows_come_in_the_order_of_the_systems_and_measures_by_their_names():
    qrels = {"q": {"a": 1}}
    rows = evaluate(
        {"z": lambda _: [("a", 1.0)], "a": lambda _: [("b", 1.0)]},
        [Query("q", "?")],
        qrels,
        measures=["AP", "P@5"],
    )
    assert [(row.system, dict(row.scores)) for row in rows] == [
        ("z", {"AP": 1.0, "P@5": 0.2}),
        ("a", {"AP": 0.0, "P@5": 0.0}),
    ]


def test_an_unknown_measure_names_some_that_there_are():
    with pytest.raises(EvaluationError, match=r"no measure 'nDGC@10'; .*nDCG@10"):
        evaluate({}, [], {}, measures=["nDGC@10"])


def test_a_query_nobody_judged_is_not_silently_zero():
    with pytest.raises(EvaluationError, match="1 of 1 queries have no relevant judgement, such as 'q9'"):
        evaluate({"s": lambda _: []}, [Query("q9", "?")], {"q": {"a": 1}})


def test_a_document_is_worth_its_best_chunk_and_equal_ones_stand_by_id():
    hits = [
        Hit(Chunk(d, "x", 0, 1), s) for d, s in [("b", 1.0), ("c", 2.0), ("a", 1.0), ("b", 3.0), ("c", 0.1)]
    ]
    assert document_scores(hits) == [("b", 3.0), ("c", 2.0), ("a", 1.0)]


# --- reading ----------------------------------------------------------------------------------


def test_a_beir_folder_is_read_and_queries_without_a_relevant_document_are_named(tmp_path):
    judged = read_beir(beir(tmp_path / "set"))
    assert (judged.name, judged.queries) == ("set", (Query("q1", "¿uno?"),))
    assert judged.without_relevant == ("q2",)
    assert judged.qrels["q1"] == {"d1": 1}
    assert [(d.id, d.title, d.text) for d in judged.documents()] == [("d1", "T", "uno"), ("d2", "", "dos")]


def test_metadata_that_is_flat_is_kept(tmp_path):
    record = {
        "_id": "d1",
        "text": "x",
        "metadata": {"a": 1, "tags": ["u", "v"], "deep": {"x": 1}, "none": None},
    }
    [document] = read_beir(beir(tmp_path / "set", corpus=[record])).documents()
    assert document.metadata == {"a": 1, "tags": ("u", "v")}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"corpus": [{"_id": "d1", "text": "x"}, "{"]}, r"corpus\.jsonl:2: not JSON"),
        ({"corpus": ["[1]"]}, r"corpus\.jsonl:1: not an object"),
        ({"corpus": [{"_id": "d1"}]}, r"corpus\.jsonl:1: 'text' is missing"),
        ({"corpus": [{"_id": "d1", "text": 5}]}, r"corpus\.jsonl:1: 'text' is not a text"),
        ({"corpus": [{"text": "x"}]}, r"corpus\.jsonl:1: the _id is missing"),
        ({"corpus": [{"_id": "d1", "text": "x"}] * 2}, r"corpus\.jsonl:2: the _id 'd1' stands twice"),
        (
            {"corpus": [{"_id": "other", "text": "x"}]},
            r"none of its 1 documents is among the 2 that were judged",
        ),
        (
            {"queries": [{"_id": "q1", "text": "a"}]},
            r"queries\.jsonl: 1 judged queries are not in it, such as 'q2'",
        ),
        ({"queries": [{"_id": "q1", "text": "a"}] * 2}, r"queries\.jsonl:2: .* stands twice"),
        ({"qrels": "query-id\tcorpus-id\tscore\nq1 d1 1\n"}, r"test\.tsv:2: 1 columns"),
        ({"qrels": "q1\td1\tyes\n"}, r"test\.tsv:1: the score 'yes' is not a whole number"),
        ({"qrels": "q1\td1\t1\nq1\td1\t0\n"}, r"test\.tsv:2: 'd1' is judged twice"),
        ({"qrels": "query-id\tcorpus-id\tscore\n"}, "holds no judgements"),
        ({"qrels": "q1\td1\t0\n"}, "no document is judged relevant"),
    ],
)
def test_a_set_that_cannot_be_read_says_where_and_what_mends_it(tmp_path, broken, message):
    with pytest.raises(EvaluationError, match=message):
        list(read_beir(beir(tmp_path / "set", **broken)).documents())


def test_missing_files_and_other_encodings_are_named(tmp_path):
    with pytest.raises(EvaluationError, match="no folder"):
        read_beir(tmp_path / "nowhere")
    folder = beir(tmp_path / "set")
    with pytest.raises(EvaluationError, match=r"dev\.tsv is missing; a BEIR folder has"):
        read_beir(folder, split="dev")
    (folder / "corpus.jsonl").unlink()
    judged = read_beir(folder)
    assert judged.corpus is None
    with pytest.raises(EvaluationError, match=r"has no documents of its own"):
        list(judged.documents())
    (folder / "queries.jsonl").write_bytes('{"_id": "q1", "text": "¿uno?"}'.encode("latin-1"))
    with pytest.raises(EvaluationError, match=r"queries\.jsonl:1: not UTF-8"):
        read_beir(folder)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the judged sets in ../shared/data")
@pytest.mark.parametrize(
    ("name", "queries", "count"),
    [
        ("scifact", "queries.jsonl", 300),
        ("vaswani", "queries.jsonl", 93),
        ("xquad-es-wiki-dev/passages", "../queries_en.jsonl", 612),
    ],
)
def test_the_shared_sets_are_read_whole(name, queries, count):
    judged = read_beir(SHARED / name, queries=queries)
    assert len(judged.queries) == count
    ids = {document.id for document in judged.documents()}
    assert all(set(grades) <= ids for grades in judged.qrels.values())
    perfect = {
        query: [(document, float(grade)) for document, grade in grades.items()]
        for query, grades in judged.qrels.items()
    }
    [row] = evaluate({"perfect": lambda query: perfect[query.id]}, judged.queries, judged.qrels)
    assert row.scores["nDCG@10"] == row.scores["RR@10"] == pytest.approx(1.0)
    assert set(row.scores) == set(MEASURES)
