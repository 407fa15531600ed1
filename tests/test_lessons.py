"""Traces put to use, over a real data folder: asked again, compared, made tests and judgements of."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.prompts.compare import Seen, asking, compare, logged, questions
from api.prompts.lessons import append_line, append_test, as_judgement, as_test, evidence
from api.prompts.passages import shown
from api.prompts.replay import replay, settings_for
from api.services import Services, connect
from api.settings import load
from indexes.traces import TraceStore
from rag.answer import Answer
from rag.errors import InvalidQuery, PromptError
from rag.prompts.testing.suite import read_suite
from rag.protocols import Message
from rag.trace import Feedback, Trace
from rag.types import Document

pytestmark = pytest.mark.model

TEXTS = {
    "tea": "# Tea\n\nGreen tea draws for two minutes in water of eighty degrees. Black tea wants boiling"
    " water and a pot.",
    "bread": "# Bread\n\nThe dough is kneaded for ten minutes. It rises overnight in the cellar.",
    "train": "# Train\n\nThe train to the sierra leaves at noon and returns at six in the evening.",
}
ASKED = ["How long does green tea draw?", "How long is the dough kneaded?", "When does the train leave?"]


@pytest.fixture(scope="module")
def wired(tmp_path_factory) -> Iterator[Services]:
    """Three documents, and three questions asked of them."""
    folder = tmp_path_factory.mktemp("lessons")
    env = {"RAG_EMBEDDER__MODEL": "all-MiniLM-L6-v2", "RAG_EMBEDDER__PRECISION": "float32"}
    with connect(load(start=folder, env=env, overrides={})) as services:
        services.ingest_texts([Document(name, text) for name, text in TEXTS.items()])
        for question in ASKED:
            list(services.ask_events(question))
        services.recorder.flush()
        yield services


@pytest.fixture
def traces(wired) -> dict[str, Trace]:
    """The first trace of each question."""
    with TraceStore.open(wired.settings.data) as store:
        return {trace.question: trace for trace in store.find()}


@pytest.fixture
def edited(wired) -> Iterator[None]:
    """Tea has changed, something stands before the dough, and the train is gone."""
    text = "# Bread\n\nFirst the oven is lit.\n\n" + TEXTS["bread"].partition("\n\n")[2]
    tea = TEXTS["tea"].replace("two minutes", "three minutes")
    wired.ingest_texts([Document("tea", tea), Document("bread", text)])
    wired.remove_documents(["train"])
    yield
    wired.ingest_texts([Document(name, text) for name, text in TEXTS.items()])


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def here(wired, monkeypatch, tmp_path) -> Path:
    """An empty working folder whose data folder is the one with the traces."""
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_DATA", str(wired.settings.data))
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- looked up, asked again ----------------------------------------------------------------------


def test_passages_are_the_same_until_their_documents_change(wired, traces):
    for trace in traces.values():
        assert {chunk.state for chunk in shown(wired.catalogue(), trace)} == {"same"}
        assert all(TEXTS[c.document_id][c.start : c.end] == c.text for c in shown(wired.catalogue(), trace))


def test_passages_tell_what_became_of_them(wired, traces, edited):
    states = {c.document_id: c.state for c in shown(wired.catalogue(), traces[ASKED[0]])}
    assert states == {"tea": "changed", "bread": "changed", "train": "gone"}


def test_a_question_asked_again_gives_the_same_and_leaves_no_trace(wired, traces):
    trace = traces[ASKED[0]]
    with connect(settings_for(trace, wired.settings)) as again:
        done = replay(again, trace)
    assert done.changed == ()
    assert {each.became for each in done.passages} == {"same"}
    assert (done.answer_diff(), done.settings) == ([], {})
    with TraceStore.open(wired.settings.data) as store:
        assert len(store.find()) == len(ASKED)


def test_a_question_asked_again_tells_what_is_different(wired, traces, edited):
    trace = traces[ASKED[0]]
    changed = wired.settings.retrieval.model_copy(update={"links": 0})
    settings = settings_for(trace, wired.settings).model_copy(update={"retrieval": changed})
    with connect(settings) as again:
        done = replay(again, trace)
    assert set(done.changed) == {"passages", "answer"}
    became = [(each.became, each.document_id) for each in done.passages]
    assert sorted(became) == [
        *(("changed", "bread"), ("changed", "tea"), ("gone", "train")),
        *(("new", "bread"), ("new", "tea")),
    ]
    assert done.settings == {"links": (2, 0)}
    assert any("three minutes" in line for line in done.answer_diff() if line.startswith("+"))
    assert json.loads(json.dumps(done.as_json()))["changed"] == ["passages", "answer"]


def test_a_prompt_that_was_changed_since_is_told(wired, traces):
    trace = traces[ASKED[1]]
    other = replace(trace, receipt={**trace.receipt, "prompt_digest": "0" * 64})
    with connect(settings_for(other, wired.settings)) as again:
        done = replay(again, other)
    assert done.changed == ("prompt",)
    assert "has been changed since" in done.notes[0]


def test_what_was_not_kept_or_failed_cannot_be_asked_again(wired, traces):
    trace = traces[ASKED[0]]
    with pytest.raises(InvalidQuery, match="was not kept"):
        settings_for(replace(trace, kept="hashes"), wired.settings)
    with pytest.raises(InvalidQuery, match="failed before anything was searched"):
        settings_for(replace(trace, receipt={}), wired.settings)


# --- compared ------------------------------------------------------------------------------------


def test_the_same_way_of_asking_changes_no_question(wired, traces):
    asked = list(traces.values())
    same = compare(asked, asking(wired), asking(wired), names=("a", "b"))
    assert (same.passages.count, same.messages.count, same.overlap, same.failed) == (0, 0, 1.0, ())
    then = compare(asked, logged, asking(wired), names=("then", "now"))
    assert (then.passages.count, then.overlap) == (0, 1.0)


def test_other_settings_and_prompts_are_told_by_question(wired, traces):
    asked = list(traces.values())
    less = wired.settings.context.model_copy(update={"max_tokens": 60})
    with connect(wired.settings.model_copy(update={"context": less})) as other:
        narrower = compare(asked, asking(wired), asking(other), names=("as set", "less"))
    assert narrower.passages.count == 3
    assert all(pair.lost and not pair.gained for pair in narrower.pairs)
    assert 0 < narrower.overlap < 1
    prompts = compare(asked, asking(wired), asking(wired, prompt="answer-es"), names=("en", "es"))
    assert (prompts.passages.count, prompts.messages.count) == (0, 3)
    wrong = compare(asked, asking(wired), asking(wired, prompt="translation"), names=("a", "b"))
    assert len(wrong.failed) == 3
    assert wrong.pairs == ()


def test_edits_change_the_passages_of_then(wired, traces, edited):
    then = compare(list(traces.values()), logged, asking(wired), names=("then", "now"))
    assert then.passages.count == 3
    assert then.pairs[0].overlap <= then.pairs[-1].overlap < 1


def test_overlap_is_by_text_or_by_place():
    def seen(*chunks: tuple[str, int, int, str], now: bool = True) -> Seen:
        names = ("document_id", "start", "end", "sha256")
        rows = tuple({"collection": "c", **dict(zip(names, chunk, strict=True))} for chunk in chunks)
        return Seen(rows, (Message("user", "x"),) if now else None, "p")

    def overlap(a: Seen, b: Seen) -> float:
        trace = Trace("1", "", "cli", "q", "answer")
        return compare([trace], lambda _: a, lambda _: b, names=("a", "b")).overlap

    assert overlap(seen(), seen()) == 1
    assert overlap(seen(), seen(("d", 0, 10, "x"))) == 0
    assert overlap(seen(("d", 0, 10, "x")), seen(("d", 90, 100, "x"))) == 1
    assert overlap(seen(("d", 0, 10, "x"), ("d", 10, 20, "y")), seen(("d", 0, 20, "xy"))) == 1
    assert overlap(seen(("d", 0, 10, "x"), now=False), seen(("d", 0, 10, "z"))) == 0
    assert overlap(seen(("d", 0, 10, "x"), ("e", 0, 30, "y")), seen(("d", 0, 10, "x"))) == 0.25


def test_each_question_is_compared_once_and_the_sample_is_the_same_each_time(traces):
    one = traces[ASKED[0]]
    many = [replace(one, id=str(n), question=f"q{n}") for n in range(50)]
    assert questions([*many, *many], most=100) == many
    drawn = questions(many, most=10)
    assert len(drawn) == 10
    assert drawn == questions(many, most=10)
    assert questions([replace(one, kept="hashes"), replace(one, receipt={})], most=5) == []


# --- tests and judgements ------------------------------------------------------------------------


def test_evidence_is_the_sentence_that_says_what_the_answer_says(wired, traces):
    trace = traces[ASKED[0]]
    (quoted,) = evidence(wired.catalogue(), replace(trace, citations=(1,)), [])
    assert quoted.text == "Green tea draws for two minutes in water of eighty degrees."
    assert TEXTS["tea"][quoted.start : quoted.end] == quoted.text
    right = Feedback(trace.id, "", 0.0, answer="Black tea wants boiling water.")
    (corrected,) = evidence(wired.catalogue(), trace, [right], passages=[1])
    assert corrected.text == "Black tea wants boiling water and a pot."


def test_a_wrong_answer_proves_nothing_by_what_it_cites(wired, traces):
    trace = traces[ASKED[0]]
    wrong = [Feedback(trace.id, "", 1.0), Feedback(trace.id, "", 0.2)]
    with pytest.raises(InvalidQuery, match="--evidence"):
        evidence(wired.catalogue(), trace, wrong)
    assert evidence(wired.catalogue(), trace, wrong, passages=[]) == []
    with pytest.raises(InvalidQuery, match="no passage 9"):
        evidence(wired.catalogue(), trace, wrong, passages=[9])


def test_evidence_that_is_gone_is_told(wired, traces, edited):
    with pytest.raises(InvalidQuery, match="no longer there"):
        evidence(wired.catalogue(), traces[ASKED[2]], [])


def test_a_test_asserts_what_was_judged(wired, traces):
    trace = replace(traces[ASKED[0]], citations=(1,))
    quoted = evidence(wired.catalogue(), trace, [])
    made = as_test(trace, [], quoted)
    assert [each["type"] for each in made["assert"]] == ["context-contains", "cites", "cites-only-retrieved"]
    by_model = replace(trace, receipt={**trace.receipt, "model": "m"})
    up = [Feedback(trace.id, "", 1.0, comment="fine\nindeed")]
    assert as_test(by_model, up, quoted)["assert"][-1] == {
        "type": "similar",
        "value": trace.answer,
        "threshold": 0.8,
    }
    assert as_test(by_model, up, quoted)["description"].endswith(": fine indeed")
    nothing = as_test(replace(trace, found=False), up, [])
    assert [each["type"] for each in nothing["assert"]] == ["not-found"]
    with pytest.raises(InvalidQuery, match="not kept"):
        as_test(replace(trace, kept="hashes"), [], [])


@pytest.mark.parametrize(
    "before",
    [
        None,
        "tests:\n  # by hand\n  - vars: {question: a}\n    assert: [{type: cites}]\n",
        "description: mine\ntests:\n- vars: {question: a}\n  assert:\n  - {type: found}\n",
        "- vars: {question: a}\n  assert: [{type: found}]",
        "tests:\n    - vars:\n        question: a",
    ],
)
def test_a_test_is_written_at_the_end_and_the_rest_stays_as_it_is(tmp_path, before):
    path = tmp_path / "sub" / "a.tests.yaml"
    if before is not None:
        path.parent.mkdir()
        path.write_text(before, "utf-8")
    test = {"description": "ñ: 'x'", "vars": {"question": "q: [1]\n- b"}, "assert": [{"type": "cites"}]}
    append_test(path, test)
    append_test(path, test)
    text = path.read_text("utf-8")
    assert text.startswith((before or "tests:").rstrip())
    cases = read_suite(text, name="a").cases
    assert [case.vars["question"] for case in cases[-2:]] == ["q: [1]\n- b"] * 2
    assert len(cases) == 2 + (before is not None)


def test_a_file_that_cannot_take_a_test_stays_as_it_is(tmp_path):
    path = tmp_path / "a.tests.yaml"
    for text, error in (
        ("tests: [{vars: {q: a}}]\n", InvalidQuery),
        ("tests:\n- vars: {q: a}\ndescription: last\n", InvalidQuery),
        ("tests: 3\n", PromptError),
    ):
        path.write_text(text)
        with pytest.raises(error):
            append_test(path, {"vars": {"question": "q"}, "assert": [{"type": "found"}]})
        assert path.read_text() == text


def test_judgements_are_lines_that_calibrate_reads(wired, traces, tmp_path):
    from api.calibrate import read_questions

    trace = replace(traces[ASKED[0]], citations=(1,))
    path = tmp_path / "j.jsonl"
    path.write_text('{"question": "old", "document": null}')
    append_line(path, as_judgement(trace, evidence(wired.catalogue(), trace, [])))
    append_line(path, as_judgement(trace, []))
    asked = read_questions(path)
    assert [(each.question, each.documents) for each in asked[1:]] == [(ASKED[0], ("tea",)), (ASKED[0], ())]
    line = json.loads(path.read_text().splitlines()[1])
    assert line["evidence"][0]["text"] == "Green tea draws for two minutes in water of eighty degrees."


# --- as commands ---------------------------------------------------------------------------------


def test_traces_are_listed_shown_exported_and_removed(wired, here):
    *_, answer = wired.ask_events("Who paints ¿la luna?")
    assert isinstance(answer, Answer)
    wired.recorder.flush()
    listed = rag("traces", "list", "--question", "LUNA").stdout
    assert "Who paints ¿la luna?" in listed
    assert answer.trace in listed
    assert rag("traces", "list", "--prompt", "answer@3").stdout == "No trace of that kind.\n"
    page = rag("traces", "show", answer.trace[-7:]).stdout
    assert "Q: Who paints ¿la luna?" in page
    assert "tea" in page
    rag("feedback", answer.trace, "--down", "--comment", "call 612345678", "--author", "ana")
    assert "ana, down\n  call 612345678" in rag("traces", "show", "last").stdout
    assert rag("traces", "list", "--feedback", "down").stdout.count("\n") == 2
    rag("traces", "export", "--out", "all.jsonl", "--feedback", "any")
    (line,) = (here / "all.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["feedback"][0]["author"] == "ana"
    assert rag("traces", "remove", answer.trace).stdout == "Removed 1 trace.\n"
    assert "no trace" in rag("traces", "show", answer.trace, code=2).stderr
    assert "name the traces" in rag("traces", "remove", code=2).stderr
    assert "choose up, down or any" in rag("traces", "list", "--feedback", "bad", code=2).stderr


def test_before_the_first_question_there_are_no_traces(here, tmp_path, monkeypatch):
    monkeypatch.setenv("RAG_DATA", str(tmp_path / "empty"))
    for command in (
        ["traces", "list"],
        ["prompts", "stats"],
        ["diff"],
        ["replay", "last"],
        ["feedback", "last"],
    ):
        assert "there are no traces" in rag(*command, code=2).stderr
    assert not (tmp_path / "empty").exists()


def test_feedback_becomes_a_test_and_a_judgement_with_one_command(wired, here, traces):
    trace = traces[ASKED[2]]
    both = ("--to-test", "t.tests.yaml", "--to-judgement", "j.jsonl")
    said = rag("feedback", trace.id, "--up", *both).stdout
    assert said == f"Noted, of trace {trace.id}.\nWrote it to t.tests.yaml.\nWrote it to j.jsonl.\n"
    assert rag("prompts", "test", "answer", "--file", "t.tests.yaml").stdout.count("1 passed") == 1
    for wrong in (["--up", "--down"], ["--score", "2"], [], ["--up", "--evidence", "1", "--nothing"]):
        assert "Error: " in rag("feedback", trace.id, *wrong, code=2).stderr


def test_replay_and_diff_say_by_their_exit_code_and_in_words_what_differs(wired, here, traces, edited):
    trace = traces[ASKED[0]]
    told = rag("replay", trace.id, code=100).stdout
    assert "passages  2 changed, 1 gone, 2 new" in told
    assert "prompt    same: answer" in told
    page = rag("diff").stdout
    assert "against now" in page
    assert "The most changed:" in page
    less = json.loads(rag("diff", "--with", "context.max_tokens=60", "--json").stdout)
    assert less["b"] == "context.max_tokens=60"
    assert less["other_passages"]["count"] > 0
    rag("index", "build", "--kind", "rabitq")
    index = [row["folder"] for row in json.loads(rag("index", "list", "--json").stdout)]
    same = json.loads(rag("diff", "--generations", index[-1], "now", "--json").stdout)
    assert (same["questions"], same["other_passages"]["count"]) == (3, 0)
    wrong = json.loads(rag("diff", "--generations", "default/999999", "now", "--json", code=1).stdout)
    assert "no generation 'default/999999' that answers; there are: " in wrong["failed"][0]["error"]
    assert "does not shape" in rag("diff", "--with", "llm.model=x", code=2).stderr
    assert "choose one" in rag("diff", "--with", "a=b", "--prompts", "a", "b", code=2).stderr
