"""What is kept of evaluations: runs whole, sets, and every judgement ever made."""

import sqlite3
import threading
from collections import Counter
from dataclasses import replace

import pytest

from indexes import backup
from indexes.catalogue import Catalogue
from indexes.evaluations.store import EvaluationStore
from indexes.library import doctor
from rag.errors import NotFound
from rag.evaluate import Evaluation, JudgedSet, Judgement, Run, evaluate
from rag.evaluate.evidence import Span
from rag.types import Query

ASKED = (Query("q1", "¿Cuándo?", metadata={"language": "es"}), Query("q2", "Who?"))


@pytest.fixture
def kept(tmp_path):
    with EvaluationStore.open(tmp_path, create=True) as store:
        yield store


def evaluation(**more) -> Evaluation:
    found = {"q1": [("d\ud800", 0.5), ("ñ", 0.25)], "q2": []}
    [one] = evaluate({"hybrid": lambda query: found[query.id]}, ASKED, {"q1": {"ñ": 1}, "q2": {"x": 1}})
    made = {"shown": {"q1": {500: (Span("ñ", 3, 9),)}}, "strengths": {"q1": 0.5}, "set_name": "faq"}
    return replace(one, settings={"retrieval.k": 10}, at="2026-01-01", **made | more)


def test_a_run_comes_back_as_it_was(kept):
    one = evaluation(errors=(("q9", "gone"),))
    again = kept.run(kept.add(one).id)
    assert again == replace(one, id=again.id)
    assert again.run.results["q1"] == (("d\ud800", 0.5), ("ñ", 0.25))
    assert again.shown["q1"][500] == (Span("ñ", 3, 9),)
    assert again.questions[0].metadata == {"language": "es"}


def test_runs_are_listed_newest_first_by_set_and_system(kept):
    first, second = kept.add(evaluation()), kept.add(evaluation(run=Run.of("lexical", {})))
    assert [each.id for each in kept.runs()] == [second.id, first.id]
    assert [each.system for each in kept.runs(set_name="faq", system="lexical")] == ["lexical"]
    assert kept.runs(set_name="other") == []
    assert kept.runs()[1].scores == first.scores


def test_removing_runs_removes_all_of_them_or_none(kept):
    one = kept.add(evaluation())
    with pytest.raises(NotFound, match="no run 9; rag eval runs"):
        kept.remove_runs([one.id, 9])
    assert kept.run(one.id) == one
    kept.remove_runs([one.id])
    with pytest.raises(NotFound):
        kept.run(one.id)


def test_a_set_keeps_every_judgement_and_the_last_word_of_each_judge_counts(kept):
    without = [Query("n", "?")]
    kept.put_set(JudgedSet.of("faq", ASKED, [Judgement("q1", "d", 1, judge="ana")], unanswerable=without))
    kept.judge("faq", [Judgement("q1", "d", 3, judge="ana"), Judgement("q2", "e", 0, judge="leo")])
    judged = kept.judged_set("faq")
    assert judged.questions == ASKED
    assert judged.questions[0].metadata == {"language": "es"}
    assert [query.id for query in judged.unanswerable] == ["n"]
    assert {query: dict(grades) for query, grades in judged.qrels.items()} == {"q1": {"d": 3}, "q2": {"e": 0}}
    assert [each.grade for each in kept.judgements("faq")] == [1, 3, 0]


def test_a_set_put_again_loses_no_judgement_and_gains_none_twice(kept):
    said = Judgement("q1", "d", 2, "at nine", 8, "open ", ".", judge="ana")
    kept.put_set(JudgedSet.of("faq", ASKED, [said]), corpus="/there", note="first")
    kept.judge("faq", [Judgement("q2", "e", 1, judge="leo")])
    kept.put_set(JudgedSet.of("faq", ASKED[:1], [said]), note="second")
    assert kept.judgements("faq") == [said, Judgement("q2", "e", 1, judge="leo")]
    [only] = kept.sets()
    assert (only.questions, only.judgements, only.note, only.corpus) == (1, 2, "second", "")


def test_judgements_are_never_changed_by_whatever_program(kept, tmp_path):
    kept.put_set(JudgedSet.of("faq", ASKED, [Judgement("q1", "d")]))
    db = sqlite3.connect(tmp_path / "evaluations.db")
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute("UPDATE judgements SET grade = 0")
    db.close()


def test_a_set_that_is_not_there_is_told_with_those_that_are(kept):
    with pytest.raises(NotFound, match="no judged set 'x'; there are none yet"):
        kept.judged_set("x")
    kept.ask("faq", ASKED)
    with pytest.raises(NotFound, match="no judged set 'x'; there are faq"):
        kept.judge("x", [])
    kept.remove_set("faq")
    assert kept.sets() == []


def test_judges_write_at_the_same_time_and_nothing_is_lost(kept, tmp_path):
    kept.ask("faq", ASKED)

    def judge(name: str) -> None:
        with EvaluationStore.open(tmp_path) as store:
            for grade in range(10):
                store.judge("faq", [Judgement("q1", "d", grade % 4, judge=name)])

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("ana", "leo", "eva")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = kept.judgements("faq")
    assert len(said) == 30
    assert [each.grade for each in said if each.judge == "eva"] == [grade % 4 for grade in range(10)]


def test_a_backup_holds_what_was_judged_and_doctor_looks_at_it(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    with EvaluationStore.open(old, create=True) as store, Catalogue.open(old, create=True) as catalogue:
        store.ask("faq", ASKED)
        backup.backup(catalogue.store, tmp_path / "b.tar")
    backup.restore(tmp_path / "b.tar", new)
    with EvaluationStore.open(new) as restored:
        assert restored.judged_set("faq").questions == ASKED
    assert list(doctor.findings(new, Counter())) == []
    (new / "evaluations.db").write_bytes(b"SQLite format 3\0" + b"x" * 9000)
    found = next(iter(doctor.findings(new, Counter())))
    assert (found.invariant, found.severity, found.mend[:12]) == ("evaluations", "error", "put a backup")
