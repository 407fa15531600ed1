"""Traces: what is kept of a question, for how long, and what can be made of it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.prompts.traces import Recorder, label_of, moment, recorded
from api.sections import TracesSection
from indexes.lock import writer_lock
from indexes.traces import REMOVED_AT_ONCE, TraceStore, Wanted
from rag.answer import Answer, Pipeline
from rag.errors import InvalidQuery, LockHeld, ModelError, NotFound
from rag.retrieve import Retriever
from rag.testing import EchoModel, HashEmbedder, MemoryCollection
from rag.trace import Feedback, Trace, discreet, first_id, new_id, stamp
from rag.types import Chunk

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEA = "Boil the water, then let the green tea draw for two minutes."
TRAIN = "The train to the sierra leaves at noon."


def trace(ago: timedelta = timedelta(), **about: object) -> Trace:
    at = NOW - ago
    values = {"way": "cli", "question": "How long does tea draw?", "reference": "answer", "prompt": "answer"}
    return Trace(id=new_id(at), at=stamp(at), **{**values, **about})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TraceStore]:
    with TraceStore.open(tmp_path, create=True) as opened:
        yield opened


# --- the store -----------------------------------------------------------------------------------


def test_a_trace_is_read_back_as_it_was_kept(store):
    kept = trace(
        answer="Two minutes [1].",
        variables={"tone": "dry"},
        receipt={"generations": {"notes": "notes/000001"}, "chunks": [{"passage": 1}], "model": "m"},
        found=True,
        citations=(1,),
        unknown_citations=(7,),
        confidence=0.5,
        tokens={"instructions": 20, "answer": 4},
        ms={"retrieve": 1.5, "total": 3.0},
    )
    store.add(kept, now=NOW)
    assert store.get(kept.id) == kept
    (fact,) = store.facts()
    assert (fact.passages, fact.citations, fact.unknown, fact.prompt_tokens, fact.answer_tokens) == (
        1,
        1,
        1,
        20,
        4,
    )
    assert kept.collections == ("notes",)
    assert fact.searched
    store.add(trace(timedelta(seconds=-1), receipt={"generations": {}, "model": "m"}), now=NOW)
    assert [each.searched for each in store.facts()] == [True, False]


def test_traces_are_named_by_an_end_of_their_id_or_as_the_last(store):
    early, late = trace(timedelta(hours=1)), trace()
    store.add(early, late, now=NOW)
    assert store.id_of("last") == store.id_of(late.id[-6:].lower()) == late.id
    assert store.id_of(f" {early.id} ") == early.id
    for name in ("", "zzzz", "%"):
        with pytest.raises(NotFound, match="no trace"):
            store.id_of(name)
    twin = trace(question="other")
    object.__setattr__(twin, "id", "X" + late.id[1:])
    store.add(twin, now=NOW)
    with pytest.raises(NotFound, match="several traces end with"):
        store.get(late.id[-6:])


def test_conditions_hold_together_and_the_newest_come_first(store):
    tea = trace(timedelta(days=3), found=True, version=3, label="production")
    cold = trace(timedelta(days=2), found=False, question="¿Té FRÍO?")
    broken = trace(timedelta(days=1), error="ModelError: gone")
    store.add(tea, cold, broken, now=NOW)
    store.say(Feedback(cold.id, stamp(NOW), 0.0))
    store.say(Feedback(tea.id, stamp(NOW), 0.7))

    def ids(**wanted: object) -> list[str]:
        return [one.id for one in store.find(Wanted(**wanted))]

    assert ids() == [broken.id, cold.id, tea.id]
    assert ids(question="té frío") == [cold.id]
    assert ids(found=False) == [cold.id]
    assert ids(failed=True) == [broken.id]
    assert ids(version=3, label="production") == [tea.id]
    assert ids(since=NOW - timedelta(days=2, hours=1)) == [broken.id, cold.id]
    assert ids(feedback="down") == [cold.id]
    assert ids(feedback="up") == [tea.id]
    assert ids(feedback="any", prompt="answer") == [cold.id, tea.id]
    assert ids(prompt="other") == []
    assert [one.id for one in store.find(limit=1)] == [broken.id]


def test_old_traces_go_as_new_ones_come_some_with_each_write(store):
    old = [trace(timedelta(days=40)) for _ in range(REMOVED_AT_ONCE + 5)]
    store.add(*old, now=NOW - timedelta(days=40))
    store.say(Feedback(old[0].id, stamp(NOW), 1.0))
    store.add(trace(), now=NOW, keep_days=30)
    assert len(store.find()) == 6
    store.add(trace(), now=NOW, keep_days=30)
    assert len(store.find()) == 2
    assert store.said([old[0].id]) == {old[0].id: []}


def test_the_oldest_make_room_when_there_is_too_much(store):
    for hour in range(5, 0, -1):
        store.add(trace(timedelta(hours=hour), answer="x" * 1000), now=NOW, max_bytes=4000)
    left = store.find()
    assert [one.at for one in left] == [stamp(NOW - timedelta(hours=hour)) for hour in (1, 2, 3)]
    assert 3000 < store.bytes <= 4000
    store.add(trace(answer="y" * 9000), now=NOW, max_bytes=4000)
    assert [len(one.answer) for one in store.find()] == [9000]  # the newest stays, however large


def test_what_is_removed_leaves_the_file_too(store, tmp_path):
    secret = trace(question="xylophone-question")
    store.add(secret, now=NOW)
    assert store.remove([secret.id, "none"]) == 1
    store.close()
    assert b"xylophone" not in (tmp_path / "traces.db").read_bytes()


def test_an_ingest_keeps_nobody_from_asking_but_another_writer_of_traces_does(store, tmp_path):
    with writer_lock(tmp_path / "writer.lock"):
        store.add(trace(), now=NOW)
    with writer_lock(tmp_path / "traces.lock"), pytest.raises(LockHeld):
        store.add(trace(), now=NOW, wait=0.0)


def test_feedback_of_no_trace_and_impossible_scores_are_refused(store):
    with pytest.raises(NotFound):
        store.say(Feedback("none", stamp(NOW), 1.0))
    assert TraceStore.open(store.store.folder).find() == []


def test_ids_sort_by_time():
    moments = [NOW + timedelta(milliseconds=n) for n in range(50)]
    ids = [new_id(one) for one in moments]
    assert ids == sorted(ids)
    assert all(first_id(one) <= id for one, id in zip(moments, ids, strict=True))
    assert first_id(moments[1]) > ids[0]


# --- what may be kept ----------------------------------------------------------------------------


def test_hashes_alone_are_kept_where_texts_must_not_be():
    full = trace(
        question="Is Ana Gil ill?",
        answer="Ana is.",
        variables={"name": "Ana Gil"},
        receipt={"question": "Is Ana Gil ill?", "rewritten": ["Ana Gil illness"], "where": {"client": 4711}},
        error="PromptError: Ana Gil is no number",
    )
    kept = discreet(full, keep="hashes", salt="one")
    assert "Ana" not in json.dumps(kept.as_json())
    assert "4711" not in json.dumps(kept.as_json())
    assert kept.error == "PromptError"
    assert kept.question == discreet(full, keep="hashes", salt="one").question
    assert kept.question != discreet(full, keep="hashes", salt="two").question


def test_personal_data_is_replaced_everywhere_and_keys_always_are():
    full = trace(
        question="I am ana@example.org",
        answer="Hello ana@example.org, your key is sk-abcdefghijklmnop12345",
        variables={"mail": "ana@example.org"},
        receipt={
            "question": "I am ana@example.org",
            "where": {"$or": [{"owner": "ana@example.org"}]},
            "parameters": {"base_url": "http://me:hunter2@host/v1", "temperature": 0},
            "chunks": [{"document_id": "ana@example.org.md", "passage": 1}],
        },
        error="ModelError: own-secret of ana@example.org",
    )
    kept = discreet(full, keep="text", salt="", redact=["email"], secrets=["own-secret"])
    text = json.dumps(kept.as_json())
    assert text.count("ana@example.org") == 1  # the document's name, by which it is found
    assert "hunter2" not in text
    assert "sk-abc" not in text
    assert "own-secret" not in text
    assert kept.receipt["parameters"]["temperature"] == 0
    assert discreet(full, keep="text", salt="").question == full.question


# --- recording -----------------------------------------------------------------------------------


class Broken(EchoModel):
    def stream(self, messages):
        yield "One"
        raise ModelError("gone: own-key")


def ask(chat: object, put: object, question: str = "How long does green tea draw?", **options: object):
    embedder = HashEmbedder(dim=256)
    shelf = MemoryCollection(
        [Chunk(name, text, 0, len(text)) for name, text in (("tea", TEA), ("train", TRAIN))], embedder
    )
    pipeline = Pipeline(Retriever(embedder), chat=chat)
    about = {
        "prompt": "answer",
        "k": None,
        "variables": None,
        "model": "echo" if chat else "",
        "way": "python",
    }
    events = pipeline.stream(shelf, question, prompt=str(options.get("prompt", "answer")))
    return recorded(events, question=question, put=put, **{**about, **options})


def test_an_answer_leaves_a_trace_with_its_cost_and_names_it():
    kept: list[Trace] = []
    *_, answer = ask(None, kept.append)
    (one,) = kept
    assert isinstance(answer, Answer)
    assert answer.trace == one.id
    assert (one.question, one.answer, one.error) == ("How long does green tea draw?", answer.text, "")
    assert one.citations == tuple(citation.number for citation in answer.citations)
    assert one.receipt == answer.receipt.as_json()
    assert {"instructions", "context", "question", "answer"} <= set(one.tokens)
    assert set(one.ms) == {"retrieve", "render", "first", "model", "total"}
    assert one.ms["total"] >= one.ms["first"] >= one.ms["retrieve"] > 0
    assert one.passages == len({chunk.passage for chunk in answer.receipt.chunks})


def test_a_model_that_fails_leaves_what_came_before_and_its_name():
    kept: list[Trace] = []
    with pytest.raises(ModelError):
        list(ask(Broken(), kept.append))
    (one,) = kept
    assert (one.answer, one.model, one.error) == ("One", "echo", "ModelError: gone: own-key")
    assert one.passages == 2


def test_what_fails_before_a_search_leaves_a_trace_without_receipt():
    kept: list[Trace] = []
    with pytest.raises(InvalidQuery):
        list(ask(None, kept.append, question=" "))
    with pytest.raises(NotFound):
        list(ask(None, kept.append, prompt="nope@3"))
    assert [(one.error.partition(":")[0], one.receipt) for one in kept] == [
        ("InvalidQuery", {}),
        ("UnknownPrompt", {}),
    ]
    assert kept[1].prompt == "nope"


def test_an_answer_that_nobody_waits_for_leaves_a_trace():
    kept: list[Trace] = []
    events = ask(EchoModel(), kept.append)
    next(events)
    next(events)
    events.close()
    assert [one.error.partition(":")[0] for one in kept] == ["Stopped"]
    whole: list[Trace] = []
    events = ask(None, whole.append)
    next(event for event in events if isinstance(event, Answer))
    events.close()
    assert [one.error for one in whole] == [""]


def test_traces_of_many_threads_are_written_in_the_background(tmp_path):
    recorder = Recorder(tmp_path, TracesSection(keep_days=0))
    threads = [threading.Thread(target=lambda: [recorder.put(trace()) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush()
    recorder.close()
    with TraceStore.open(tmp_path) as store:
        assert len(store.find()) == 160


def test_a_trace_that_cannot_be_written_is_told_once_and_costs_no_answer(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    recorder = Recorder(tmp_path / "file", TracesSection())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            *_, answer = ask(None, recorder.put)
            recorder.flush()
    assert answer.text
    assert len(caplog.records) == 1
    assert "traces are not written" in caplog.text
    assert recorder.failure


def test_what_is_written_is_discreet_as_the_settings_say(tmp_path):
    recorder = Recorder(tmp_path, TracesSection(keep_days=0, redact=("phone",)), secrets=["own-key"])
    recorder.put(trace(question="Call 612 345 678", answer="own-key"))
    recorder.close()
    with TraceStore.open(tmp_path) as store:
        (one,) = store.find()
    assert (one.question, one.answer) == ("Call [phone]", "[secret]")


def test_no_trace_is_lost_when_a_process_ends(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime;"
        "from api.prompts.traces import Recorder; from api.sections import TracesSection;"
        "from rag.trace import Trace, new_id, stamp; now = datetime.now(UTC);"
        "r = Recorder(Path(sys.argv[1]), TracesSection());"
        "[r.put(Trace(new_id(now), stamp(now), 'cli', 'q', 'answer')) for _ in range(50)]"
    )
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=root)
    with TraceStore.open(tmp_path) as store:
        assert len(store.find()) == 50


def test_labels_are_told_by_the_reference_and_moments_as_people_write_them():
    assert label_of("support/answer@staging", 2) == "staging"
    assert label_of("drafts/answer.prompty", 0) == label_of("not a name!", 3) == ""
    assert moment("90m", now=NOW) == NOW - timedelta(minutes=90)
    assert moment("2w", now=NOW) == NOW - timedelta(weeks=2)
    assert moment("2026-01-31T10:00+01:00") == datetime(2026, 1, 31, 9, tzinfo=UTC)
    for wrong in ("soon", "7", "-1d", "2026-13-01"):
        with pytest.raises(InvalidQuery, match="no point in time"):
            moment(wrong)
