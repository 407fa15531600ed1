"""Judged sets and runs in the forms that others write: what is written is read again, faults are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from api.cli import app
from api.evaluation.sets import find_set
from api.services import Services, connect
from api.settings import load
from indexes.catalogue import Catalogue
from rag.errors import EvaluationError
from rag.evaluate import Evaluation, JudgedSet, Judgement, Run
from rag.evaluate.sets import (
    read_evaluation,
    read_run,
    read_set,
    write_beir,
    write_evaluation,
    write_questions,
    write_run,
    write_trec,
)
from rag.protocols import RemoveItem, Space
from rag.testing import HashEmbedder, put_texts
from rag.types import Document, Query, clean_text

QUESTIONS = Path(__file__).parents[1] / "examples" / "questions.jsonl"
EVERY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30).map(
    clean_text
)
texts = words.filter(lambda text: bool(text.strip()))
ids = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=8)
metadata = st.dictionaries(
    st.sampled_from(["language", "kind"]), st.one_of(texts, st.integers(), st.just(("a", "b"))), max_size=2
)


@st.composite
def sets(draw: st.DrawFn, *, judges: bool = True, relevant: bool = False) -> JudgedSet:
    """Any set; with ``relevant`` every question is judged, and one relevant."""
    names = draw(st.lists(ids, min_size=2, max_size=5, unique=True))
    queries = [Query(name, draw(texts), metadata=draw(metadata)) for name in names]
    without = draw(st.integers(0, len(queries) - 1))
    asked, none = queries[without:], queries[:without]
    said = []
    for query in asked:
        for _ in range(draw(st.integers(1 if relevant else 0, 3))):
            quotation = draw(st.one_of(st.just(""), texts))
            said.append(
                Judgement(
                    query.id,
                    draw(ids),
                    draw(st.integers(1, 3) if not judges else st.integers(-1, 3)),
                    quotation,
                    draw(st.integers(-1, 99)) if quotation else -1,
                    before=draw(st.sampled_from(["", "So: "])) if quotation else "",
                    judge=draw(st.sampled_from(["", "ana", "leo"])) if judges else "",
                    at=draw(st.sampled_from(["", "2026-01-01T00:00:00Z"])) if judges else "",
                )
            )
    return JudgedSet.of("set", asked, said, unanswerable=none)


@EVERY
@given(judged=sets())
def test_questions_with_all_that_every_judge_said_come_back_from_jsonl(judged, tmp_path):
    write_questions(judged, tmp_path / "set.jsonl")
    again = read_set(tmp_path / "set.jsonl")
    assert again == judged
    assert again.digest == judged.digest
    assert [query.metadata for query in again.questions] == [query.metadata for query in judged.questions]


@EVERY
@given(judged=sets(judges=False, relevant=True), number=st.integers(0, 10**9))
def test_a_beir_folder_holds_what_the_judges_come_to(judged, number, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"set{number}") / "set"
    write_beir(judged, folder)
    again = read_set(folder)
    assert (again.questions, again.unanswerable, again.qrels) == (
        judged.questions,
        judged.unanswerable,
        judged.qrels,
    )
    quoted = {
        (j.query_id, j.document_id, j.quotation, j.start, j.before) for j in judged.judgements if j.quotation
    }
    assert {
        (j.query_id, j.document_id, j.quotation, j.start, j.before) for j in again.judgements if j.quotation
    } == quoted


def test_a_beir_folder_takes_its_documents_along_and_never_writes_over_a_set(tmp_path):
    documents = [Document("d", "Uno.\nDos.", title="T", metadata={"language": "es", "tags": ("a", "b")})]
    judged = JudgedSet.of("set", [Query("q", "?")], [Judgement("q", "d")], corpus=lambda: iter(documents))
    write_beir(judged, tmp_path / "set")
    assert list(read_set(tmp_path / "set").documents()) == documents
    with pytest.raises(EvaluationError, match=r"queries\.jsonl is there already"):
        write_beir(judged, tmp_path / "set")


@EVERY
@given(judged=sets(relevant=True).filter(lambda judged: bool(judged.queries)), number=st.integers(0, 10**9))
def test_topics_and_qrels_come_back_from_trec(judged, number, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"trec{number}")
    write_trec(judged, folder)
    again = read_set(folder / "topics.tsv", qrels="qrels.txt")
    assert again.qrels == judged.qrels
    assert [query.id for query in again.questions] == [query.id for query in judged.questions]
    assert [query.text for query in again.questions] == [" ".join(q.text.split()) for q in judged.questions]


scores = st.floats(allow_nan=False, allow_infinity=False)
results = st.dictionaries(ids, st.dictionaries(ids, scores, min_size=1, max_size=5), min_size=1, max_size=4)


@EVERY
@given(found=results)
def test_a_run_comes_back_from_trec_to_the_last_digit(found, tmp_path):
    run = Run.of("two_words", {query: list(each.items()) for query, each in found.items()})
    write_run(run, tmp_path / "a.run")
    again = read_run(tmp_path / "a.run")
    assert (again.name, again.results) == (run.name, run.results)


def test_a_run_comes_back_whole_from_json(tmp_path):
    one = Evaluation(
        Run.of("hybrid", {"q": [("d", 1 / 3)]}),
        {"RR@10": {"q": 1.0}},
        costs={"cpu_ms": {"q": 0.1}},
        errors=(("r", "gone"),),
        questions=(Query("q", "¿Qué?", metadata={"language": "es"}),),
        set_name="faq",
        settings={"retrieval": {"k": 5}},
    )
    write_evaluation(one, tmp_path / "run.json")
    assert read_evaluation(tmp_path / "run.json") == one
    (tmp_path / "bad.json").write_text('{"system": "x"}')
    with pytest.raises(EvaluationError, match=r"bad\.json: not an evaluation"):
        read_evaluation(tmp_path / "bad.json")


# --- what stands in a BEIR folder beside its three files ------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two documents, three questions in two languages, the evidence of two."""
    made = tmp_path / "set"
    (made / "qrels").mkdir(parents=True)
    put(
        made / "corpus.jsonl",
        {"_id": "a", "text": "Tea is hot. Ice is cold."},
        {"_id": "b", "text": "Nothing."},
    )
    put(
        made / "queries.jsonl",
        {"_id": "q", "text": "¿Qué está frío?", "metadata": {"kind": "fact", "deep": {"x": 1}}},
        {"_id": "r", "text": "¿Y caliente?"},
        {"_id": "z", "text": "Of another split"},
    )
    put(made / "queries_en.jsonl", {"_id": "q", "text": "What is cold?"}, {"_id": "r", "text": "And hot?"})
    put(made / "unanswerable.jsonl", {"_id": "n", "text": "¿Quién?", "metadata": {"kind": "none"}})
    put(made / "spans.jsonl", span(), span(query_id="r", start=0, end=11, text=None))
    (made / "qrels" / "test.tsv").write_text("q\ta\t2\nq\tb\t0\nr\ta\t1\n", "utf-8")
    return made


def put(path: Path, *records: object) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in records]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def span(**about: object) -> dict[str, object]:
    return {"query_id": "q", "doc_id": "a", "start": 12, "end": 24, "text": "Ice is cold.", **about}


def test_spans_become_quoted_judgements_with_the_grade_of_their_document(folder):
    judged = read_set(folder)
    assert judged.qrels == {"q": {"a": 2, "b": 0}, "r": {"a": 1}}
    quoted = {each.query_id: each for each in judged.judgements if each.quotation}
    assert (quoted["q"].quotation, quoted["q"].start, quoted["q"].grade) == ("Ice is cold.", 12, 2)
    assert (quoted["r"].quotation, quoted["r"].after[:4]) == ("Tea is hot.", " Ice"), "quoted from the corpus"
    assert len(judged.judgements) == 3, "a document that is quoted is not judged whole as well"
    assert [query.metadata for query in judged.questions] == [{"kind": "fact"}, {}]
    assert [(query.id, query.metadata) for query in judged.unanswerable] == [("n", {"kind": "none"})]


def test_the_corpus_is_not_read_for_spans_that_quote(folder):
    put(folder / "spans.jsonl", span())
    (folder / "corpus.jsonl").write_text("never read {")
    assert len(read_set(folder).queries) == 2


def test_questions_in_another_language_bring_their_own_unanswerable_ones(folder):
    judged = read_set(folder, queries="queries_en.jsonl")
    assert ([query.text for query in judged.questions], judged.unanswerable) == (
        ["What is cold?", "And hot?"],
        (),
    )
    put(folder / "unanswerable_en.jsonl", {"_id": "n", "text": "Who?"})
    assert [q.text for q in read_set(folder, queries="queries_en.jsonl").unanswerable] == ["Who?"]


def test_spans_alone_judge_and_other_qrels_may_be_named(folder, tmp_path):
    other = tmp_path / "other.qrels"
    other.write_text("q 0 b 3\nq 0 a 1\n", "utf-8")
    assert read_set(folder, qrels=str(other)).qrels == {"q": {"a": 1, "b": 3}}
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels").rmdir()
    assert read_set(folder).qrels == {"q": {"a": 1}, "r": {"a": 1}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "2: not JSON"),
        ("[]", "2: not an object"),
        (span(query_id="x"), "2: no question 'x'"),
        (span(query_id=""), "2: the query_id is missing"),
        (span(start=-1), "2: 'start' and 'end'"),
        (span(end=12), "2: 'start' and 'end'"),
        (span(start="0"), "2: 'start' and 'end'"),
        (span(doc_id="b"), "2: it quotes 'b', which the qrels judge not relevant"),
        (span(start=None, end=None, text=None), "2: it needs 'text', or 'start' and 'end'"),
        (span(doc_id="x", text=None), "2: no document 'x'"),
        (span(end=99, text=None), "2: it ends at 99; 'a' has 24 characters"),
    ],
)
def test_a_faulty_span_is_named_by_file_and_line(folder, record, message):
    path = put(folder / "spans.jsonl", span(), record)
    with pytest.raises(EvaluationError) as told:
        read_set(folder)
    assert f"{path}:{message}" in str(told.value)


def test_what_stands_twice_is_told_and_what_contradicts_itself_refused(folder):
    heard: list[str] = []
    put(folder / "spans.jsonl", span(), span())
    (folder / "qrels" / "test.tsv").write_text("q\ta\t2\nq\ta\t2\n", "utf-8")
    read_set(folder, tell=heard.append)
    qrels, spans = folder / "qrels" / "test.tsv", folder / "spans.jsonl"
    assert heard == [
        f"{qrels}: judged twice, alike: 1, such as in line 2; once is enough",
        f"{spans}: lines that stand twice: 1, such as {spans}:2; once is enough",
    ]
    (folder / "qrels" / "test.tsv").write_text("q\ta\t2\nq\ta\t1\n", "utf-8")
    with pytest.raises(EvaluationError, match="judged twice for 'q', not alike: 2, then 1"):
        read_set(folder)


# --- TREC -----------------------------------------------------------------------------------------

SGML = """<top>
<num> Number: 301
<title> International
  Organized Crime
<desc> Description:
Identify organizations.
</top>

<top>
<num>302</num>
<title>Topic: Polio</title>
</top>
"""


@pytest.mark.parametrize(
    "topics",
    [
        "301\tInternational Organized Crime\n302\tPolio\n",
        "qid\tquery\n301\tInternational Organized Crime\n302\tPolio\n",
        '{"_id": 301, "text": "International Organized Crime"}\n{"id": "302", "title": "Polio"}\n',
        SGML,
    ],
    ids=["table", "table with header", "jsonl", "sgml"],
)
def test_topics_are_read_however_they_are_written(tmp_path, topics):
    (tmp_path / "topics").write_text(topics, "utf-8")
    (tmp_path / "qrels").write_text("301 0 FT-1 1\n301\t0\tFT-2\t0\n302 Q0 FT-1 2\n999 0 x 1\n", "utf-8")
    heard: list[str] = []
    judged = read_set(tmp_path / "topics", qrels="qrels", tell=heard.append)
    assert [(q.id, q.text) for q in judged.queries] == [
        ("301", "International Organized Crime"),
        ("302", "Polio"),
    ]
    assert judged.qrels == {"301": {"FT-1": 1, "FT-2": 0}, "302": {"FT-1": 2}}
    assert "judged topics that are not in topics: 1, such as '999'" in heard[0]


@pytest.mark.parametrize(
    ("topics", "qrels", "message"),
    [
        ("301 no tab\n", "301 0 d 1\n", r"topics:1: no topic; write id, tab, text"),
        ("1\ta\n1\tb\n", "1 0 d 1\n", r"topics:2: the topic '1' stands twice"),
        (
            "<top>\n<num>1\n</top>\n\n<top>\n<title>x\n</top>\n",
            "1 0 d 1\n",
            r"topics:1: the topic lacks its <title>",
        ),
        ("1\ta\n", "2 0 d 1\n", "none of its 1 topics is judged"),
        ("1\ta\n", "1 0 d\n", r"qrels:1: 1 columns; write query-id"),
        ("1\ta\n", "1 0 d 0\n", "no document is judged relevant"),
        ('{"text": "x"}\n', "1 0 d 1\n", r"topics:1: no id"),
    ],
)
def test_faulty_topics_and_qrels_are_named_by_line(tmp_path, topics, qrels, message):
    (tmp_path / "topics").write_text(topics, "utf-8")
    (tmp_path / "qrels").write_text(qrels, "utf-8")
    with pytest.raises(EvaluationError, match=message):
        read_set(tmp_path / "topics", qrels="qrels")


def test_scores_rank_a_run_and_its_oddities_are_told(tmp_path):
    path = tmp_path / "a.run"
    path.write_text("q Q0 a 1 0.5 bm25\nq Q0 b 2 0.9 bm25\nq Q0 a 3 0.1 bm25\n", "utf-8")
    heard: list[str] = []
    run = read_run(path, tell=heard.append)
    assert (run.name, run.results["q"]) == ("bm25", (("b", 0.9), ("a", 0.5)))
    assert "such as in line 3; the better score counts" in heard[0]
    assert "contradict each other for 1 of 1 questions, such as 'q' in line 2" in heard[1]
    path.write_text("q Q0 a 1 0.5 one\nq Q0 b 2 0.4 two\n", "utf-8")
    assert read_run(path, name="mine").name == "mine"
    with pytest.raises(EvaluationError, match="several tags, one, two"):
        read_run(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q a 1 0.5 t", "1: 5 columns; a run has"),
        ("q Q0 a 1 best t", "1: rank '1', score 'best': write numbers"),
        ("q Q0 a 1 nan t", "1: the score 'nan' ranks nothing"),
        ("q Q0 a inf 1 t", "1: rank 'inf'"),
        ("", "it holds no results"),
    ],
)
def test_a_line_that_is_no_result_is_named(tmp_path, line, message):
    (tmp_path / "a.run").write_text(line + "\n", "utf-8")
    with pytest.raises(EvaluationError, match=message):
        read_run(tmp_path / "a.run")


def test_ids_with_blanks_are_refused_by_name_where_blanks_part_the_columns(tmp_path):
    with pytest.raises(EvaluationError, match=r"'my tea\.md' cannot stand in a table parted by blanks"):
        write_run(Run.of("s", {"q": [("my tea.md", 1.0)]}), tmp_path / "a.run")
    judged = JudgedSet.of("set", [Query("q", "?")], [Judgement("q", "my tea.md")])
    with pytest.raises(EvaluationError, match="export as beir or jsonl"):
        write_trec(judged, tmp_path)
    write_beir(judged, tmp_path / "set")
    assert read_set(tmp_path / "set").qrels == {"q": {"my tea.md": 1}}


# --- questions in JSONL ---------------------------------------------------------------------------


def test_the_questions_of_the_sample_are_a_set_with_evidence():
    judged = read_set(QUESTIONS)
    assert (judged.name, len(judged.queries), len(judged.unanswerable)) == ("questions", 33, 4)
    first = judged.judgements[0]
    assert (first.query_id, first.document_id, first.grade) == ("q01", "es/tarifas.md", 1)
    assert first.quotation == "Fuera de la zona de servicio | 25,00 €"
    assert judged.questions[0].metadata == {"language": "es"}


def test_evidence_names_its_documents_and_a_question_on_two_lines_has_both_answers(tmp_path):
    path = put(
        tmp_path / "j.jsonl",
        {
            "question": "When?",
            "document": ["a", "b"],
            "evidence": [{"doc_id": "a", "start": 3, "end": 7, "text": "noon"}],
        },
        {"question": "When?", "document": "c", "trace": "t1"},
        {"question": "Who?", "document": None, "evidence": []},
        {"question": "Why?", "document": ["a", "b"], "quote": ["because", "since"]},
        {"question": "How?", "evidence": [{"doc_id": "a", "text": "so"}]},
    )
    judged = read_set(path)
    when, why, how = judged.questions
    assert when.id.startswith("q-")
    assert {(j.document_id, j.quotation, j.start) for j in judged.judgements if j.query_id == when.id} == {
        ("a", "noon", 3),
        ("b", "", -1),
        ("c", "", -1),
    }
    assert {j.document_id: j.quotation for j in judged.judgements if j.query_id == why.id} == {
        "a": "because",
        "b": "since",
    }
    assert judged.qrels[how.id] == {"a": 1}
    assert [query.text for query in judged.unanswerable] == ["Who?"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"question": "?", "document": "d", "quote": 5}, "'quote' must be the words"),
        ({"question": "?", "document": ["a", "b"], "quote": "x"}, "1 quotes and 2 documents"),
        ({"question": "?", "document": "d", "evidence": [{"doc_id": "d"}]}, "evidence is"),
        ({"question": "?", "document": "d", "evidence": {"doc_id": "d"}}, "'evidence' must be a list"),
        (
            {"question": "?", "document": None, "evidence": [{"doc_id": "d", "text": "x"}]},
            "but there is evidence",
        ),
        (
            {"question": "?", "document": "d", "judgements": [{"document_id": "d", "grad": 1}]},
            "'grad' is unknown",
        ),
        (
            {"question": "?", "document": "d", "judgements": [{"document_id": "d", "grade": "1"}]},
            "'grade' is missing or",
        ),
        ({"question": "?", "document": "d", "judgements": [{"grade": 1}]}, "'document_id' is missing or"),
        ({"question": "One?", "document": None}, "line 1 asks the same, and one of the two says"),
        ({"id": "q-1", "question": "Other?", "document": "d"}, "'q-1' is that of another question on line 2"),
    ],
)
def test_a_faulty_line_of_questions_is_named(tmp_path, line, message):
    path = put(
        tmp_path / "j.jsonl",
        {"question": "One?", "document": "d"},
        {"id": "q-1", "question": "Two?", "document": "d"},
        line,
    )
    with pytest.raises(EvaluationError) as told:
        read_set(path)
    assert str(told.value).startswith(f"{path}:3: ")
    assert message in str(told.value)


def test_what_is_no_set_is_told_with_what_a_set_is(tmp_path):
    with pytest.raises(EvaluationError, match="is not there; a judged set is"):
        read_set(tmp_path / "nowhere")
    (tmp_path / "topics.tsv").write_text("1\ta\n")
    with pytest.raises(EvaluationError, match="topics need --qrels FILE"):
        read_set(tmp_path / "topics.tsv")
    with pytest.raises(EvaluationError, match="name it with --qrels"):
        read_set(tmp_path / "topics.tsv", queries="x.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(EvaluationError, match="topics need"):
        read_set(tmp_path / "empty.jsonl")


# --- kept sets, as a user meets them --------------------------------------------------------------

TEXTS = {
    "kb/es/tea.md": "# Té\n\nEl té verde reposa dos minutos. El té negro reposa cuatro minutos.",
    "kb/es/pan.md": "# Pan\n\nLa masa reposa una hora. El horno se calienta a 220 grados.",
}
ASKED = (
    {
        "id": "t",
        "question": "¿Cuánto reposa el té verde?",
        "document": "es/tea.md",
        "quote": "reposa dos minutos",
    },
    {
        "id": "p",
        "question": "¿Cuánto reposa la masa?",
        "document": "pan.md",
        "quote": "La masa reposa una hora.",
    },
    {"id": "n", "question": "¿Quién?", "document": None},
)


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["eval", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with questions in a file, and their documents in the collection "default"."""
    monkeypatch.setenv("RAG_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "faq.jsonl", *ASKED)
    store(tmp_path, TEXTS)
    return tmp_path


def store(folder: Path, texts: dict[str, str], *, gone: tuple[str, ...] = ()) -> None:
    embedder = HashEmbedder()
    space = Space("whole", embedder.info)
    with (
        Catalogue.open(folder / "data", create=True) as catalogue,
        catalogue.writer("default", space) as writer,
    ):
        put_texts(writer, texts, embedder.embed(list(texts.values()), input_type="document"))
        if gone:
            none = embedder.embed([], input_type="document")
            writer.commit([RemoveItem(uri) for uri in gone], hashes=(), vectors=none)


def services(folder: Path) -> Services:
    return connect(load(start=folder, env={}, overrides={"data": str(folder / "data")}))


def test_a_set_is_kept_listed_exported_and_forgotten(here):
    assert rag("sets").stdout == "No judged set is kept: rag eval import PATH keeps one.\n"
    told = rag("import", "faq.jsonl", "--name", "té", "-c", "default", "--note", "ours")
    assert told.stdout == "Kept té: 2 questions, 1 without an answer, 2 judgements, 2 of them quoted.\n"
    [one] = json.loads(rag("sets", "--json").stdout)["sets"]
    assert (one["name"], one["questions"], one["unanswerable"], one["note"]) == ("té", 2, 1, "ours")
    rag("import", "faq.jsonl", "--name", "té", "-c", "default")
    assert json.loads(rag("sets", "--json").stdout)["sets"][0]["judgements"] == 2, (
        "the same is not said twice"
    )
    with services(here) as wired:
        kept = find_set(wired, "té")
    assert kept.judgements[0].before == "# Té\n\nEl té verde "
    assert rag("export", "té", "--to", "judged", "-c", "default").stdout == "Wrote judged.\n"
    made = read_set(here / "judged")
    assert {document.id: document.text for document in made.documents()} == TEXTS
    assert made.qrels == {"t": {"kb/es/tea.md": 1}, "p": {"kb/es/pan.md": 1}}
    rag("export", "té", "--to", "again.jsonl")
    again = read_set(here / "again.jsonl")
    assert (again.questions, again.judgements) == (kept.questions, kept.judgements)
    assert "is there already" in rag("export", "té", "--to", "again.jsonl", code=2).stderr
    assert "a set is written as" in rag("export", "té", "--to", "x", "--format", "xml", code=2).stderr
    assert rag("sets", "--remove", "té").stdout == "Forgot té.\n"
    missing = rag("status", "té", code=2).stderr
    assert missing == (
        "Error: no judged set 'té': there is no such folder or file, and of kept sets there are none yet\n"
    )


def test_a_kept_set_has_its_documents_as_long_as_they_lie_where_they_lay(here):
    rag("import", "faq.jsonl", "-c", "default")
    rag("export", "faq", "--to", "judged", "-c", "default")
    rag("import", "judged")
    with services(here) as wired:
        assert len(list(find_set(wired, "judged").documents())) == 2
        (here / "judged" / "corpus.jsonl").unlink()
        assert find_set(wired, str(here / "judged")).corpus is None
        (here / "judged").rename(here / "elsewhere")
        assert find_set(wired, "judged").corpus is None
        with pytest.raises(EvaluationError, match="is a kept set"):
            find_set(wired, "judged", queries="queries_en.jsonl")


def test_documents_that_are_not_in_the_collection_are_told_at_the_import(here):
    put(here / "faq.jsonl", *ASKED, {"question": "Más", "document": "café.md", "quote": "solo"})
    told = rag("import", "faq.jsonl", "-c", "default").stderr
    assert "judged documents that are not in 'default': 1, such as 'café.md'" in told
    assert "not in their documents: 1 of 3 quotations, such as 'solo' of 'café.md'" in told
    put(here / "none.jsonl", {"question": "Más", "document": "café.md"})
    assert "is in the collection" in rag("import", "none.jsonl", "-c", "default", code=2).stderr
    assert "no collection 'nope'" in rag("import", "faq.jsonl", "-c", "nope", code=2).stderr


def test_status_tells_what_moved_and_what_is_lost_and_mends_what_moved(here):
    rag("import", "faq.jsonl", "-c", "default")
    assert rag("status", "faq").stdout == "faq: 2 judgements: 2 intact, 0 moved, 0 lost\n"
    store(here, {"kb/es/tea.md": TEXTS["kb/es/tea.md"].replace("# Té", "# El té y el agua")})
    store(here, {"kb/es/masa.md": TEXTS["kb/es/pan.md"]}, gone=("kb/es/pan.md",))
    told = rag("status", "faq").stdout
    assert told.splitlines() == [
        "faq: 2 judgements: 0 intact, 2 moved, 0 lost",
        "  moved  1 x it stands elsewhere",
        "  moved  1 x 'pan.md' is gone, and 'kb/es/masa.md' has it",
        "What moved counts where it is now; --mend writes its new places into a kept set.",
    ]
    assert "lies in files: keep it first" in rag("status", "faq.jsonl", "--mend", code=2).stderr
    assert "Judged 2 quotations that moved where it stands now." in rag("status", "faq", "--mend").stdout
    assert rag("status", "faq").stdout == "faq: 2 judgements: 2 intact, 0 moved, 0 lost\n"
    with services(here) as wired:
        kept = find_set(wired, "faq")
    assert kept.qrels == {"t": {"es/tea.md": 1}, "p": {"kb/es/masa.md": 1}}
    store(here, {"kb/es/tea.md": TEXTS["kb/es/tea.md"].replace("dos minutos", "tres minutos")})
    lost = rag("status", "faq", code=100).stdout
    assert "  lost   t, es/tea.md: its words are not there any more" in lost
    assert "         now   “El té verde reposa tres minutos.”" in lost
    plain = json.loads(rag("status", "faq", "--json", code=100).stdout)
    assert (plain["intact"], plain["moved"], plain["lost"]) == (1, 0, 1)
    assert plain["judgements"][0]["alike"] == "El té verde reposa tres minutos."


def test_a_run_of_any_other_system_is_measured_and_kept(here):
    rag("import", "faq.jsonl", "-c", "default")
    (here / "bm25.run").write_text("t Q0 es/tea.md 1 9.5 bm25\nx Q0 es/tea.md 1 9.5 bm25\n")
    told = rag("import", "bm25.run", "--set", "faq", "--json")
    assert "questions that faq does not judge: 1, such as 'x'; left out" in told.stderr
    assert "without results: 1 of 2 questions, such as 'p'; they count 0" in told.stderr
    run = json.loads(told.stdout)
    assert (run["system"], run["set"], run["scores"]["RR@10"]) == ("bm25", "faq", 0.5)
    rag("export", run["run"], "--to", "again.run")
    assert read_run(here / "again.run").results == {"t": (("es/tea.md", 9.5),)}
    rag("export", "faq/bm25", "--to", "again.json")
    again = json.loads(rag("import", "again.json", "--system", "mine", "--json").stdout)
    assert (again["system"], again["scores"], again["set_digest"]) == (
        "mine",
        run["scores"],
        run["set_digest"],
    )
    (here / "ids.run").write_text("t Q0 kb/es/tea.md 1 9.5 bm25\np Q0 kb/es/pan.md 2 1 bm25\n")
    whole = json.loads(rag("import", "ids.run", "--set", "faq", "--json").stdout)
    assert whole["scores"]["RR@10"] == 1.0, "the set names its documents by the end of their ids"
    assert whole["set_digest"] == run["set_digest"]
    assert "name it with --set" in rag("import", "bm25.run", code=2).stderr
    (here / "other.run").write_text("1 Q0 es/tea.md 1 9.5 bm25\n")
    assert "are the ids of one kind?" in rag("import", "other.run", "--set", "faq", code=2).stderr
    (here / "other.run").write_text("t Q0 doc-1 1 9.5 bm25\n")
    assert "such as 'doc-1', was judged in faq" in rag("import", "other.run", "--set", "faq", code=2).stderr
