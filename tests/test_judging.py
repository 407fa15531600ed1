"""Judging: pools that hide who found what, sessions that lose nothing, the command as a judge meets it."""

from __future__ import annotations

import json
import os
import random
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from api.cli import app
from api.evaluation.agenda import Agenda
from api.evaluation.candidates import add_from_traces, add_questions, closest
from api.evaluation.judging import Session
from indexes.catalogue import Catalogue
from indexes.evaluations.store import EvaluationStore
from indexes.traces import TraceStore
from rag.errors import EvaluationError, InvalidQuery
from rag.evaluate import Evaluation, Judgement, Run
from rag.evaluate.judgements import last_words
from rag.evaluate.pool import blind, most_telling, pool, worth
from rag.protocols import PutDocument, Space
from rag.testing import HashEmbedder
from rag.trace import Feedback, Trace, new_id, stamp
from rag.types import Chunk, Document, Query, text_hash

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

# --- pools ------------------------------------------------------------------------------------------

rankings = st.lists(st.lists(st.sampled_from("abcdefghijklmnop"), unique=True), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(rankings=rankings, depth=st.integers(1, 12))
def test_a_pool_is_what_somebody_found_in_an_order_that_does_not_tell_who(rankings, depth):
    runs = [
        Run.of(f"s{n}", {"q": [(item, -float(rank)) for rank, item in enumerate(each)]})
        for n, each in enumerate(rankings)
    ]
    items = pool(runs, depth)["q"]
    assert set(items) == {item for each in rankings for item in each[:depth]}
    assert len(items) == len(set(items))
    assert pool(runs[::-1], depth)["q"] == items
    more = pool([*runs, Run.of("new", {"q": [("zz", 1.0), ("a", 0.5)]})], depth)["q"]
    assert [item for item in more if item in items] == items


@settings(max_examples=60, deadline=None)
@given(rankings=rankings)
def test_worth_is_how_far_apart_each_two_systems_place_an_item(rankings):
    from math import log2

    def gain(ranking: list[str], item: str) -> float:
        return 1 / log2(2 + ranking.index(item)) if item in ranking[:10] else 0.0

    told = worth(rankings)
    assert set(told) == {item for each in rankings for item in each}
    for item, value in told.items():
        slow = sum(abs(gain(one, item) - gain(other, item)) for one, other in combinations(rankings, 2))
        assert value == pytest.approx(slow)
    ordered = most_telling(rankings, 10)
    assert [round(told[item], 9) for item in ordered] == sorted(
        (round(told[item], 9) for item in ordered), reverse=True
    )


def test_the_most_telling_grades_order_systems_better_than_as_many_in_pool_order():
    """Six systems, of which each is a little worse than the one before; 3 grades for each of 60 questions."""
    chance = random.Random(5)
    documents = [f"d{n}" for n in range(40)]
    right = dict.fromkeys(("pool", "telling"), 0)
    for trial in range(12):
        gains: dict[str, list[float]] = {name: [0.0] * 6 for name in ("all", "pool", "telling")}
        for question in range(60):
            relevant = set(chance.sample(documents, 4))
            noise = [
                {
                    d: (d in relevant) - 0.1 * system * (d in relevant) + chance.gauss(0, 0.5)
                    for d in documents
                }
                for system in range(6)
            ]
            found = [sorted(documents, key=each.__getitem__, reverse=True)[:10] for each in noise]
            every = blind({d for each in found for d in each}, seed=f"{trial} {question}")
            telling = most_telling(found, 10, seed=f"{trial} {question}")
            for name, graded in (("all", every), ("pool", every[:3]), ("telling", telling[:3])):
                for system, ranking in enumerate(found):
                    hits = (rank for rank, d in enumerate(ranking) if d in relevant and d in graded)
                    gains[name][system] += sum(1 / (rank + 2) for rank in hits)
        for name in right:
            right[name] += sum(
                (gains["all"][a] > gains["all"][b]) == (gains[name][a] > gains[name][b])
                for a, b in combinations(range(6), 2)
            )
    assert right["telling"] > right["pool"] + 12  # of 180


# --- sessions ---------------------------------------------------------------------------------------

TEXTS = {
    "port.md": "The port opens at nine. It closes at six. Dogs may come in.",
    "zoo.md": "The zoo opens at ten. It closes on Mondays.",
    **{f"other-{n}.md": f"Another place, number {n}, opens too." for n in range(6)},
}
QUESTIONS = [Query("port", "When does the port open?"), Query("zoo", "When does the zoo open?")]


@pytest.fixture
def house(tmp_path: Path):
    with House(tmp_path) as made:
        yield made


class House:
    """A data folder with a collection of small documents, and a judged set of two questions."""

    def __init__(self, folder: Path) -> None:
        self.catalogue = Catalogue.open(folder, create=True)
        self.store = EvaluationStore.open(folder, create=True)
        self.store.ask("faq", QUESTIONS)
        self.cut(whole=True)

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalogue.close()
        self.store.close()

    def cut(self, *, whole: bool) -> None:
        """Every document as one chunk, or a chunk a sentence."""
        embedder = HashEmbedder()
        changes, texts = [], []
        for id, text in TEXTS.items():
            ends = [len(text)] if whole else [at + 1 for at, letter in enumerate(text) if letter == "."]
            chunks, start = [], 0
            for end in ends:
                start += len(text[start:end]) - len(text[start:end].lstrip())
                chunks.append(Chunk(id, text[start:end], start, end, title=id))
                start = end
            changes.append(PutDocument(id, Document(id, text, title=id), chunks))
            texts += [chunk.text for chunk in chunks]
        self.collection = "whole" if whole else "sentences"
        with self.catalogue.writer(self.collection, Space(self.collection, embedder.info)) as writer:
            vectors = embedder.embed(texts, input_type="document")
            writer.commit(changes, hashes=[text_hash(text) for text in texts], vectors=vectors)
        self.chunks = [chunk for id in TEXTS for chunk in self.catalogue.chunks(self.collection, id)]

    def session(self, judge: str = "ana", **more) -> Session:
        find = more.pop("find", lambda _: [self.chunks, self.chunks[::-1]])
        return Session(
            self.store,
            "faq",
            lambda said: Agenda(self.catalogue, self.collection, find, said, depth=more.pop("depth", 20)),
            judge=judge,
            now=lambda: NOW,
            **more,
        )

    def to(self, session: Session, document: str, question: str = "port"):
        """Skip to a passage."""
        while (item := session.current()) is not None:
            if (item.query.id, item.chunk.document_id) == (question, document):
                return item
            session.skip()
        raise AssertionError(f"{document} does not come")


def seen(session: Session) -> list[tuple[str, str]]:
    """Everything that is still to come, by question and text."""
    found = []
    while (item := session.current()) is not None:
        found.append((item.query.id, item.chunk.text))
        session.skip()
    return found


def test_a_grade_is_kept_at_once_anchored_in_the_document(house):
    session = house.session()
    item = house.to(session, "port.md")
    session.grade(2, note="late")
    [kept] = house.store.judgements("faq")
    assert (kept.query_id, kept.document_id, kept.grade, kept.judge) == ("port", "port.md", 2, "ana")
    assert kept.quotation == item.chunk.text == TEXTS["port.md"][kept.start :]
    assert (kept.at, kept.note) == ("2026-03-01T09:30:00.000Z", "late")
    assert session.graded == 1


def test_passages_come_in_batches_of_every_question_and_say_nothing_of_systems(house):
    session = house.session()
    first = session.current()
    assert (first.question, first.questions, first.number, first.of) == (1, 2, 1, 8)
    found = seen(session)
    assert [query for query, _ in found] == ["port"] * 5 + ["zoo"] * 5 + ["port"] * 3 + ["zoo"] * 3
    assert len(set(found)) == 16
    assert seen(house.session(find=lambda _: [house.chunks[::-1], house.chunks])) == found
    assert session.current() is None
    with pytest.raises(EvaluationError, match="nothing is left"):
        session.grade(1)


def test_a_limit_counts_grades_and_not_what_was_skipped(house):
    session = house.session(limit=2)
    session.skip()
    session.grade(0)
    session.grade(0)
    assert session.current() is None
    assert session.undo()
    session.grade(3)
    assert (session.current(), session.graded) == (None, 2)


def test_what_anybody_judged_is_not_asked_again_however_it_is_cut(house):
    session = house.session()
    house.to(session, "port.md")
    session.grade(3, sentences=[1])
    house.store.judge("faq", [Judgement("port", "zoo.md", 0, judge="leo")])  # of the whole document
    left = [text for query, text in seen(house.session("leo")) if query == "port"]
    assert sorted(left) == sorted(text for id, text in TEXTS.items() if id.startswith("other"))
    house.cut(whole=False)
    left = [text for query, text in seen(house.session("mar")) if query == "port"]
    assert not {"The port opens at nine.", "It closes on Mondays."} & set(left)
    assert "Dogs may come in." in left  # of the sentence that was quoted only the passage is judged


def test_questions_with_fewer_judgements_come_first(house):
    session = house.session(limit=1)
    session.grade(0)
    assert house.session().current().query.id == "zoo"


def test_a_second_judge_sees_whole_passages_of_others_and_none_of_their_own(house):
    assert house.session("leo", second=True).current() is None
    ana = house.session()
    house.to(ana, "port.md")
    ana.grade(3, quotation="opens at nine")
    house.to(ana, "zoo.md", "zoo")
    ana.grade(0)
    leo = house.session("leo", second=True)
    assert sorted(seen(leo)) == [("port", TEXTS["port.md"]), ("zoo", TEXTS["zoo.md"])]
    leo = house.session("leo", second=True)
    assert leo.current().said is None
    leo.grade(1)
    assert len(seen(house.session("leo", second=True))) == 1
    assert house.session("ana", second=True).current() is None  # leo said nothing that ana had not judged


def test_undo_goes_back_and_the_grade_given_then_is_the_last_word(house):
    session = house.session()
    assert not session.undo()
    item = house.to(session, "port.md")
    session.grade(3)
    assert session.undo()
    back = session.current()
    assert (back.chunk, back.said) == (item.chunk, 3)
    session.grade(0)
    said = house.store.judgements("faq")
    assert [each.grade for each in said] == [3, 0]
    assert [each.grade for each in last_words(said)] == [0]
    assert (session.graded, session.undo(), session.graded) == (1, True, 0)


def test_evidence_that_is_taken_back_counts_for_nothing_any_more(house):
    session = house.session()
    house.to(session, "port.md")
    session.grade(3, sentences=[3])
    session.undo()
    session.grade(2, sentences=[1])
    words = {each.quotation: each.grade for each in last_words(house.store.judgements("faq"))}
    assert words == {"Dogs may come in.": 0, "The port opens at nine.": 2}


def test_undo_brings_back_what_was_skipped_and_a_question_without_an_answer(house):
    session = house.session()
    first = session.current()
    session.skip()
    session.undo()
    assert session.current() == first
    session.no_answer()
    assert session.current().query.id == "zoo"
    judged = house.store.judged_set("faq")
    assert ([q.id for q in judged.questions], [q.id for q in judged.unanswerable]) == (["zoo"], ["port"])
    assert {query for query, _ in seen(house.session())} == {"zoo"}
    session.undo()
    assert session.current() == first
    assert [query.id for query in house.store.judged_set("faq").questions] == ["port", "zoo"]


def test_a_question_that_somebody_found_an_answer_to_has_one(house):
    house.store.judge("faq", [Judgement("port", "port.md", 2, judge="leo")])
    session = house.session()
    house.to(session, "zoo.md")
    with pytest.raises(EvaluationError, match=r"leo gave 2 to a passage of port\.md"):
        session.no_answer()
    assert session.current().chunk.document_id == "zoo.md"


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        ({"sentences": [1, 2]}, ["The port opens at nine. It closes at six."]),
        ({"sentences": [3, 1]}, ["The port opens at nine.", "Dogs may come in."]),
        ({"quotation": "nine.\n  It   closes"}, ["nine. It closes"]),
        ({}, [TEXTS["port.md"]]),
    ],
)
def test_evidence_is_sentences_by_number_or_words_as_they_stand(house, evidence, words):
    session = house.session()
    house.to(session, "port.md")
    session.grade(2, **evidence)
    kept = house.store.judgements("faq")
    assert [each.quotation for each in kept] == words
    assert all(TEXTS["port.md"][each.start :].startswith(each.quotation) for each in kept)


def test_what_cannot_be_said_is_refused_and_the_passage_stays(house):
    session = house.session()
    item = house.to(session, "port.md")
    for wrong, message in (
        ({"grade": 4}, "no grade 4; there are 0, 1, 2, 3"),
        ({"grade": 0, "sentences": [1]}, "has no evidence"),
        ({"grade": 2, "sentences": [4]}, "no sentence 4; the passage has 3"),
        ({"grade": 2, "quotation": "opens at ten (or so"}, "does not stand in the passage"),
    ):
        with pytest.raises(EvaluationError) as raised:
            session.grade(**wrong)
        assert message in str(raised.value)
    assert session.current() == item
    assert house.store.judgements("faq") == []


def test_a_set_without_questions_says_how_to_add_some(house):
    house.store.ask("empty", [])
    with pytest.raises(EvaluationError, match="--from-traces"):
        Session(house.store, "empty", lambda _: None, judge="ana")


# --- questions --------------------------------------------------------------------------------------


def test_questions_are_added_once_however_they_are_written(house):
    added = add_questions(house.store, "faq", ["¿Abre hoy?", "When does  the PORT open", " ¿abre hoy? "])
    assert [query.text for query in added] == ["¿Abre hoy?"]
    assert add_questions(house.store, "faq", ["¿Abre hoy?"]) == []
    assert [query.text for query in add_questions(house.store, "new", ["Why?"])] == ["Why?"]
    assert house.store.judged_set("new").questions[0].text == "Why?"
    with pytest.raises(InvalidQuery, match="without words"):
        add_questions(house.store, "faq", [" \n "])


def test_questions_of_wrong_answers_come_before_corrected_ones_and_those_before_others(tmp_path):
    from api.services import connect
    from api.settings import load

    asked = ["plain", "praised", "corrected", "wrong", "plain", "hidden"]
    with TraceStore.open(tmp_path, create=True) as traces:
        for minute, question in enumerate(asked):
            at = NOW + timedelta(minutes=minute)
            kept = "hashes" if question == "hidden" else "text"
            trace = Trace(new_id(at), stamp(at), "cli", f"{question}?", "answer", kept=kept)
            traces.add(trace, now=NOW)
            score = {"praised": 1.0, "wrong": 0.0}.get(question)
            answer = "Nine." if question == "corrected" else ""
            if score is not None or answer:
                traces.say(Feedback(trace.id, stamp(at), score, answer=answer))
    wired = connect(load(start=tmp_path, env={}, overrides={"data": tmp_path}))
    with wired, wired.evaluations(create=True) as store:
        add_questions(store, "faq", ["praised?"])
        added = add_from_traces(wired, store, "faq", limit=3)
        assert [query.text for query in added] == ["wrong?", "corrected?", "plain?"]
        assert all(query.metadata["trace"] for query in added)
        assert add_from_traces(wired, store, "faq", limit=3) == []


def test_a_document_that_a_run_found_is_shown_by_its_closest_passage():
    chunks = [
        Chunk("d", text, 0, len(text)) for text in ("The port is large.", "Abre a las nueve el puerto.")
    ]
    assert closest(chunks, "¿Cuándo abre el puerto?") == chunks[1]
    assert closest(chunks, "Why?") == chunks[0]
    assert closest([], "Why?") is None


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four documents, ingested with the quickest model."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "docs").mkdir()
    for place, hour in (("puerto", "nueve"), ("zoo", "diez"), ("museo", "once"), ("mercado", "siete")):
        text = f"# El {place}\n\nEl {place} abre a las {hour}. Nadie paga."
        (folder / "docs" / f"{place}.md").write_text(text, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _quick(patch)
        rag("ingest", "docs")
    return folder


@pytest.fixture
def at_home(knowledge: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(knowledge)
    _quick(monkeypatch)
    (knowledge / ".rag" / "evaluations.db").unlink(missing_ok=True)
    return knowledge


def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")


def rag(*arguments: object, keys: str = "", code: int = 0) -> Result:
    given = "\n".join(keys.split()) + "\n" if keys else ""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.mark.model
def test_a_judge_grades_at_a_terminal_and_another_one_blindly(at_home):
    told = rag(
        "judge", "faq", "--question", "¿Cuándo abre el puerto?", "--judge", "ana", keys="? 9 3 s u 0 q"
    )
    lines = told.stdout.splitlines()
    assert lines[0] == "1 question added to faq."
    assert "Question 1 of 1, passage 1 of 4" in lines
    assert "¿Cuándo abre el puerto?" in lines
    assert "'9' means nothing here." in told.stdout
    assert "does not answer, even if it is on the subject" in told.stdout
    assert lines[-1] == "Stopped: 2 grades by ana kept in faq."
    assert not any(name in told.stdout for name in ("lexical", "vector", "hybrid"))
    second = rag("judge", "faq", "--second", "--judge", "leo", keys="e 1 1 0")
    assert "  1  " in second.stdout
    assert second.stdout.splitlines()[-1] == "Done: 2 grades by leo kept in faq."
    table = rag("judge", "faq", "--agreement").stdout
    assert "ana, leo            2        0.50" in table
    assert "Krippendorff's alpha (ordinal) of 2 judges on 2 passages" in table
    assert "ana 3, leo 1: ¿Cuándo abre el puerto?" in table
    plain = json.loads(rag("judge", "faq", "--agreement", "--json").stdout)
    assert plain["judges"] == {"ana": 2, "leo": 2}
    assert plain["disputed"][0]["grades"] == {"ana": 3, "leo": 1}


@pytest.mark.model
def test_what_a_kept_run_found_is_judged_in_place_of_what_systems_find(at_home):
    rag("judge", "faq", "--question", "¿Cuándo abre el puerto?", "--judge", "ana", keys="q")
    with EvaluationStore.open(at_home / ".rag") as store:
        [question] = store.judged_set("faq").questions
        ranking = [("museo.md", 2.0), ("gone.md", 1.5), ("zoo.md", 1.0)]
        store.add(Evaluation(Run.of("theirs", {question.id: ranking}), {"RR@10": {}}, set_name="faq"))
    told = rag("judge", "faq", "--run", "theirs", "--judge", "ana", keys="0 1").stdout
    assert "Question 1 of 1, passage 1 of 2" in told.splitlines()
    assert "El museo abre a las once." in told
    assert "El puerto" not in told
    with EvaluationStore.open(at_home / ".rag") as store:
        documents = {Path(each.document_id).name for each in store.judgements("faq")}
    assert documents == {"museo.md", "zoo.md"}


@pytest.mark.model
def test_questions_that_people_asked_are_judged_with_one_system(at_home):
    rag("ask", "¿Cuándo abre el zoo?")
    vector = ("--system", "vector", "--depth", 2)
    told = rag("judge", "asked", "--from-traces", 5, *vector, "--limit", 1, keys="0")
    assert "1 question added to asked." in told.stdout
    assert "passage 1 of 2" in told.stdout
    assert "Done: 1 grade by " in told.stdout
    again = rag("judge", "asked", *vector, keys="n")
    assert "Done: 0 grades by " in again.stdout
    assert "no question to judge" in rag("judge", "asked", code=2).stderr


@pytest.mark.model
def test_what_cannot_be_judged_is_told_in_a_line_and_nothing_is_made(at_home):
    assert "no judged set 'nope' yet" in rag("judge", "nope", code=2).stderr
    assert not (at_home / ".rag" / "evaluations.db").exists()
    assert "no collection 'x'" in rag("judge", "faq", "--question", "Why?", "-c", "x", code=2).stderr
    assert not (at_home / ".rag" / "evaluations.db").exists()
    assert "no system 'bm25'" in rag("judge", "faq", "--system", "bm25", code=2).stderr
    assert "--json goes with --agreement" in rag("judge", "faq", "--json", code=2).stderr
    rag("judge", "faq", "--question", "¿Abre?", keys="q")
    assert "Nothing is judged in faq yet" in rag("judge", "faq", "--agreement").stdout
    rag("judge", "faq", "--judge", "ana", keys="0")
    assert "No passage has two judges" in rag("judge", "faq", "--agreement").stdout
