"""How prompts do in use: what is counted, and how carefully two of them are told apart."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.prompts.stats import drift, shown, told_apart, use
from indexes.traces import Fact, TraceStore
from rag.evaluate.rates import rate
from rag.testing import HashEmbedder
from rag.trace import Feedback, Trace, new_id, stamp

NOW = datetime.now(UTC)
FACT = Fact(
    "",
    "2026-03-01T10:00:00.000Z",
    "answer",
    3,
    "production",
    "m",
    True,
    5,
    1,
    0,
    "",
    100.0,
    900,
    50,
    "q",
    0,
    0,
)


def facts(count: int, **about: object) -> list[Fact]:
    return [FACT._replace(**about) for _ in range(count)]


# --- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_intervals_are_wilsons_as_published(count, of, low, high):
    found = rate(count, of)  # Newcombe 1998, Table I, and the formula worked by hand
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    mirrored = rate(of - count, of)
    assert mirrored.low == pytest.approx(1 - found.high)


def test_an_interval_holds_the_true_rate_about_as_often_as_it_says():
    random = np.random.default_rng(0)
    for truth in (0.02, 0.3, 0.5):
        drawn = random.binomial(60, truth, 4000)
        held = [(found := rate(int(count), 60)).low <= truth <= found.high for count in drawn]
        assert 0.92 < np.mean(held) < 0.99


def test_answers_that_nothing_was_searched_for_are_no_empty_retrievals():
    unsearched = facts(3, searched=False, passages=0, citations=0)
    (both,) = use([*facts(2), *facts(1, passages=0, citations=0), *unsearched], by="prompt")
    assert (both.empty.count, both.empty.of, both.cited.of, both.not_found.of) == (1, 3, 3, 6)
    (alone,) = use(unsearched, by="prompt")
    assert (shown(alone.empty), shown(alone.cited), shown(alone.not_found)[:3]) == ("-", "-", "0 %")


def test_nothing_counted_is_no_rate_and_never_apart():
    assert shown(rate(0, 0)) == "-"
    assert not rate(0, 0).apart(rate(50, 50))
    assert rate(0, 50).apart(rate(50, 50))
    assert not rate(5, 10).apart(rate(6, 10))


# --- groups --------------------------------------------------------------------------------------


def test_a_group_counts_answers_and_errors_apart():
    group = [
        *facts(6),
        *facts(2, found=False, citations=0, passages=0, ms=300.0),
        *facts(1, unknown=2, up=1, down=0),
        *facts(1, error="ModelError", found=False, ms=9000.0, down=1),
    ]
    (one,) = use(group, by="prompt")
    assert (one.group, one.asked) == ("answer", 10)
    assert (one.errors.count, one.errors.of) == (1, 10)
    assert (one.empty.count, one.not_found.count, one.cited.count, one.unknown.count) == (2, 2, 7, 1)
    assert one.cited.of == 9
    assert (one.up.count, one.up.of) == (1, 2)
    assert (one.p50_ms, one.prompt_tokens, one.answer_tokens) == (100.0, 900.0, 50.0)
    assert one.p95_ms > 200
    assert json.loads(json.dumps(one.as_json()))["cited"]["value"] == pytest.approx(7 / 9)


def test_groups_are_by_what_was_asked_and_versions_are_in_order():
    every = [
        *facts(1, version=10),
        *facts(2, version=9),
        *facts(1, version=0, label=""),
        *facts(1, prompt="b"),
    ]
    assert [(one.group, one.asked) for one in use(every, by="version")] == [
        ("answer (no version)", 1),
        ("answer@9", 2),
        ("answer@10", 1),
        ("b@3", 1),
    ]
    assert [one.group for one in use(every, by="label")] == [
        "answer (no label)",
        "answer@production",
        "b@production",
    ]
    assert [one.group for one in use(every, by="day")] == ["2026-03-01"]
    assert use([], by="prompt") == []


def test_only_intervals_that_are_apart_tell_versions_apart():
    good, bad = facts(60), [*facts(20, version=4), *facts(40, version=4, found=False, citations=0)]
    lines = told_apart(use([*good, *bad], by="version"))
    assert [line.partition(":")[0] for line in lines] == ["answer@4"] * 2
    assert lines[0].startswith("answer@4: not found more often than answer@3: 67 % [")
    few = [*facts(3), *facts(1, version=4), *facts(2, version=4, found=False, citations=0)]
    assert told_apart(use(few, by="version")) == []
    others = [*good, *(fact._replace(prompt="z") for fact in bad)]
    assert told_apart(use(others, by="version")) == []  # of two prompts: asked other questions


# --- drift ---------------------------------------------------------------------------------------


def vectors(*texts: str) -> np.ndarray:
    return HashEmbedder(dim=256).embed(texts, input_type="query")


def test_questions_on_other_things_have_drifted_and_those_on_the_same_have_not():
    kinds = ("the green tea", "the black tea", "a cup of tea", "cold tea")
    tested = vectors(*(f"how long does {kind} number {n} draw" for kind in kinds for n in range(5)))
    same = vectors(*(f"how long does {kind} number {n} draw please" for kind in kinds for n in range(5)))
    other = vectors(*(f"refund train ticket {n} now" for n in range(20)))
    assert drift(same, tested).verdict == "no drift seen"
    moved = drift(other, tested)
    assert moved.verdict == "drifted"
    assert moved.high < moved.tested_low


def test_of_few_questions_nothing_is_told():
    few = drift(vectors("a", "b"), vectors(*map(str, range(30))))
    assert (few.verdict, few.asked, few.tested) == ("too few", 2, 30)
    assert few.as_json()["to_tested"] is None


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    made: list[Trace] = []
    for number in range(80):
        at = NOW - timedelta(days=number % 10, minutes=number)
        version = 1 + number % 2
        receipt = {"chunks": [{"passage": 1}], "model": "m"}
        made.append(
            Trace(
                *(new_id(at), stamp(at), "http", f"question {number}", "support/answer"),
                prompt="support/answer",
                version=version,
                receipt=receipt,
                found=version == 1,
                citations=(1,) if version == 1 else (),
                tokens={"instructions": 100, "context": 300, "answer": 40},
                ms={"total": 10.0 * version},
            )
        )
    with TraceStore.open(tmp_path / ".rag", create=True) as store:
        store.add(*made, now=NOW)
        store.add(replace(made[0], id=new_id(NOW), prompt="other"), now=NOW)
        store.say(Feedback(made[1].id, stamp(NOW), 0.0))
    return tmp_path


def told(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["prompts", "stats", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if not code else result.stderr


def test_stats_tell_versions_apart_and_say_where_drift_cannot_be_told(data):
    page = told("support/answer")
    assert "support/answer@1     40      10      10" in page
    assert (
        "support/answer@2: not found more often than support/answer@1: 100 % [91, 100], and 0 % [0, 8.8]"
        in page
    )
    assert "Drift" not in page  # a prompt that is no longer there has no tests
    both = json.loads(told("--json"))
    assert [(group["group"], group["asked"]) for group in both["groups"]] == [
        ("other", 1),
        ("support/answer", 80),
    ]
    assert both["drift"] is None


def test_stats_of_a_shipped_prompt_know_its_tests(data):
    with TraceStore.open(data / ".rag") as store:
        at = NOW - timedelta(minutes=1)
        store.add(Trace(new_id(at), stamp(at), "cli", "why?", "answer", prompt="answer"), now=NOW)
    assert "Drift: too few to tell (1 question, " in told("answer")


def test_stats_take_a_version_a_time_and_a_day(data):
    assert "support/answer@2" not in told("support/answer@1")
    days = json.loads(told("--by", "day", "--since", "3d", "--json"))["groups"]
    assert 3 <= len(days) <= 4
    assert told("nope") == "No trace of that kind.\n"
    assert "choose prompt, version" in told("--by", "week", code=2)
    assert "no point in time" in told("--since", "ever", code=2)
