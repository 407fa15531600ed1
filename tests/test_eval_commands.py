"""rag eval run, runs, compare, gate: over a small judged set, through the real ingest and search."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli import app

TEXTS = {
    "tea.md": "Green tea draws for two minutes. Black tea draws for four.",
    "bread.md": "The dough rises overnight. It is baked for forty minutes.",
    "rice.md": "Rice is washed until the water runs clear.",
    "te.md": "El té verde reposa dos minutos. El té negro, cuatro.",
}
ASKED = {
    "q1": ("how long does green tea draw?", "tea.md", "Green tea draws for two minutes."),
    "q2": ("when does the dough rise?", "bread.md", "The dough rises overnight."),
    "q3": ("how is rice washed?", "rice.md", "until the water runs clear"),
    "q4": ("¿cuánto reposa el té verde?", "te.md", "El té verde reposa dos minutos."),
    "q5": ("¿y el té negro?", "te.md", "El té negro, cuatro."),
    "q6": ("how long is bread baked?", "bread.md", "baked for forty minutes"),
    "q7": ("how long does black tea draw?", "tea.md", "Black tea draws for four."),
}


@pytest.fixture
def judged(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    folder = tmp_path / "small"
    (folder / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": id, "text": text}) for id, text in TEXTS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = [json.dumps({"_id": id, "text": each[0]}) for id, each in ASKED.items()]
    (folder / "queries.jsonl").write_text("\n".join(queries))
    spans = [
        {"query_id": id, "doc_id": document, "start": TEXTS[document].index(quote),
         "end": TEXTS[document].index(quote) + len(quote), "text": quote}
        for id, (_, document, quote) in ASKED.items()
    ]  # fmt: skip
    (folder / "spans.jsonl").write_text("\n".join(map(json.dumps, spans)))
    (folder / "unanswerable.jsonl").write_text(json.dumps({"_id": "n1", "text": "who won the cup in 1986?"}))
    qrels = "".join(f"{id}\t{document}\t1\n" for id, (_, document, _) in ASKED.items())
    (folder / "qrels/test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    return folder


def rag(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def told(*arguments: object, code: int = 0):
    return json.loads(rag(*arguments, "--json", code=code).stdout)


@pytest.mark.model
def test_runs_are_measured_kept_listed_compared_and_gated(judged):
    made = told("eval", "run", judged)["runs"]
    assert [each["system"] for each in made] == ["lexical", "vector", "hybrid"]
    assert [each["run"] for each in made] == [1, 2, 3]
    hybrid = made[2]
    assert hybrid["scores"]["R@100"] == 1.0
    assert hybrid["scores"]["Evidence@500tok"] == 1.0
    assert hybrid["intervals"]["RR@10"][0] <= hybrid["scores"]["RR@10"]
    assert set(hybrid["costs"]) == {"cpu_ms", "ms", "tokens"}
    assert hybrid["facts"]["documents"] == 4
    assert hybrid["facts"]["index_bytes"] > 0
    assert hybrid["settings"]["retrieval"]["mode"] == "hybrid"
    assert hybrid["settings"]["embedder"]["fingerprint"]
    assert told("collections", "list") == []

    table = rag("eval", "run", judged, "--system", "few=retrieval.min_score=0.9,retrieval.mode=vector").stdout
    assert re.fullmatch(
        r"small: 4 documents, \d+ chunks, 8 questions, 1 of them without an answer", table.splitlines()[0]
    )
    assert "few" in table
    assert [each["system"] for each in told("eval", "runs")["runs"]] == ["few", "hybrid", "vector", "lexical"]

    compared = told("eval", "compare", "small/hybrid", "few", "--measure", "R@100")
    [one] = compared["comparisons"]
    assert (one["baseline"], one["candidate"], one["queries"]) == ("hybrid", "few", 7)
    assert (one["wins"], one["ties"], one["losses"], one["verdict"]) == (0, 0, 7, "worse")
    text = rag("eval", "compare", "hybrid", "few").stdout
    assert text.startswith("against hybrid: 7 questions")
    assert "- 1 [1] tea.md: Green tea draws for two minutes. Black tea draws for four." in text
    assert "answered by: Black tea draws for four." in text
    assert "+ nothing" in text

    # The same system again gives the same values: within any margin.
    passed = told(
        "eval", "gate", judged, "--baseline", "hybrid", "--system", "hybrid", "--at-most", "tokens=1"
    )
    assert {each["outcome"] for each in passed["checks"]} == {"passed"}
    failed = told(
        *("eval", "gate", judged, "--baseline", "hybrid", "--candidate", "few", "--measure", "R@100"),
        *("--junit", "gate.xml"),
        code=100,
    )
    assert [each["check"] for each in failed["checks"]] == ["few: R@100"]
    assert 'testsuite name="small" tests="1"' in Path("gate.xml").read_text()
    rag("eval", "remove", "1")
    assert "no run 1;" in rag("eval", "compare", "1", "2", code=2).stderr


@pytest.mark.model
def test_a_collection_that_is_there_is_asked_as_it_is(judged, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in TEXTS.items():
        (docs / name).write_text(text)
    rag("ingest", docs)
    questions = [
        {"id": id, "question": question, "document": document, "quote": quote}
        for id, (question, document, quote) in ASKED.items()
    ]
    Path("own.jsonl").write_text("\n".join(map(json.dumps, questions)))
    before = told("status")["collections"]
    [one] = told("eval", "run", "own.jsonl", "-c", "default", "--system", "as-set")["runs"]
    assert one["scores"]["R@100"] == 1.0
    assert one["settings"]["collection"] == "default"
    assert told("status")["collections"] == before
    said = rag("eval", "run", "own.jsonl", "-c", "default", "--system", "x=chunker.target_tokens=50", code=2)
    assert "kept otherwise" in said.stderr
    assert "name the collection" in rag("eval", "run", "own.jsonl", code=2).stderr
    (docs / "rice.md").unlink()
    rag("ingest", docs)
    less = rag("eval", "run", "own.jsonl", "-c", "default", "--system", "as-set", "--json")
    assert "1 judged document not in the collection, such as rice.md" in less.stderr
    assert json.loads(less.stdout)["runs"][0]["scores"]["R@100"] == pytest.approx(6 / 7)
    # Both were judged by the same set, whatever the collection held.
    assert told("eval", "compare", "1", "2", "--measure", "R@100")["comparisons"][0]["losses"] == 1


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("magic", "lexical, vector, hybrid"),
        ("x=retrieval.kk=3", "there is no setting [retrieval] kk"),
        ("x=llm.model=gpt", "with keys of [retrieval]"),
        ("x=retrieval.k=many", "cannot be used"),
    ],
)
def test_a_system_that_cannot_be_is_told_before_anything_is_taken_in(judged, system, said):
    assert said in rag("eval", "run", judged, "--system", system, code=2).stderr
    assert not Path(".rag/catalogue.db").exists()


def test_without_runs_there_is_a_hint(judged):
    assert "rag eval run" in rag("eval", "runs", code=2).stderr
