"""Assertions about answers: what holds, what does not, what cannot be told; and nothing runs away."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ModelError, PromptError
from rag.prompts.testing.assertions import TYPES
from rag.prompts.testing.checks import Outcome, Subject, Tools, combined, evaluate
from rag.prompts.testing.findings import CHECKS
from rag.prompts.testing.guarded import (
    OverTime,
    check_pattern,
    check_schema,
    find_json,
    schema_faults,
    search,
)
from rag.prompts.testing.rubric import messages
from rag.prompts.testing.runs import given_context
from rag.prompts.testing.suite import Given, read_suite
from rag.protocols import Message
from rag.testing import HashEmbedder

CONTEXT = given_context(
    [Given("The shop opens at nine in the morning.", "Hours"), Given("Returns are free for 14 days.")],
    budget=1000,
)


class Judge:
    """A chat model that gives the same reply to everything, and keeps what it was asked."""

    name = "judge"

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[Sequence[Message]] = []

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        self.asked.append(messages)
        yield self.reply


def check(
    assertion: str, answer: str | None = "", *, found: bool = True, context=CONTEXT, tools=None
) -> Outcome:
    text = f"tests: [{{vars: {{city: Lugo, words: [a, b]}}, assert: [{assertion}]}}]"
    (case,) = read_suite(text, name="t").cases
    subject = Subject(case.vars, answer=answer, context=context, found=found)
    return evaluate(case.assertions[0], subject, tools or Tools())


def test_every_type_is_read_and_evaluated():
    assert TYPES.keys() == CHECKS.keys()


@pytest.mark.parametrize(
    ("assertion", "yes", "no"),
    [
        ("{type: contains, value: Nine}", "at Nine.", "at nine."),
        ("{type: contains, value: 12:30}", "at 12:30", "at 750"),
        ("{type: contains, value: café}", "el cafe\u0301", "el cafe"),
        ("{type: contains, value: 'in {{ city }}'}", "in Lugo", "in {{ city }}"),
        ("{type: icontains, value: NINE}", "at nine", "at ten"),
        ("{type: icontains, value: straße}", "die STRASSE", "der Weg"),
        ("{type: contains-all, value: [a1, b2]}", "b2 a1", "b2"),
        ("{type: contains-any, value: [a1, b2]}", "b2", "c3"),
        ("{type: icontains-all, value: [A1, B2]}", "b2 a1", "a1"),
        ("{type: icontains-any, value: [A1, B2]}", "b2", "c3"),
        ("{type: equals, value: Yes.}", " Yes.\n", "Yes. Quite."),
        ("{type: equals, value: {a: [1, true]}}", '{"a": [1, true]}', '{"a": [1, 1]}'),
        ("{type: equals, value: {a: 1}}", '{"a": 1.0}', "no JSON"),
        ("{type: starts-with, value: 'We '}", "\nWe open.", "Well, we open."),
        ("{type: regex, value: '^[0-9]{2} euros$'}", "25 euros", "125 euros"),
        ("{type: is-json}", ' {"a": 1}\n', 'So: {"a": 1}'),
        ("{type: is-json}", "[1, null]", "[1, NaN]"),
        ("{type: is-json, value: {required: [a]}}", '{"a": 1}', '{"b": 1}'),
        ("{type: json-schema, value: {type: array, items: {type: integer}}}", "[1, 2]", '[1, "2"]'),
        ("{type: contains-json}", 'So: {"a": 1}.', "So: {a: 1} [1"),
        ("{type: contains-json, value: {required: [b]}}", '{"a": 1} or {"b": 1}', '{"a": {"b": 1}}'),
        ("{type: max-tokens, value: 4}", "We open.", "We open at nine in the morning."),
        ("{type: language, value: es}", "Abrimos a las nueve de la mañana.", "We open at nine in May."),
        ("{type: cites}", "At nine [1].", "At nine."),
        ("{type: cites, value: 2}", "At nine [1], for free [2].", "At nine [1][1]."),
        ("{type: cites}", "At nine [2].", "At nine [7]."),
        ("{type: cites-only-retrieved}", "At nine [1].", "At nine [1][7]."),
        ("{type: similar, value: it opens at nine, threshold: 0.9}", "It opens at nine", "A train leaves"),
        ("{type: similar, value: [x, y z, opens at nine]}", "opens at nine", "a train leaves"),
    ],
)  # fmt: skip
def test_what_holds_passes_and_its_negation_fails(assertion, yes, no):
    tools = Tools(embedder=HashEmbedder)
    negated = assertion.replace("{type: ", "{type: not-", 1)
    for text, status, opposite in ((yes, "passed", "failed"), (no, "failed", "passed")):
        plain, turned = check(assertion, text, tools=tools), check(negated, text, tools=tools)
        assert (plain.status, turned.status) == (status, opposite), (text, plain.reason)
        assert plain.reason == turned.reason
        assert plain.score == pytest.approx(1 - turned.score)
        assert "\n" not in plain.reason


@pytest.mark.parametrize(
    ("assertion", "status", "score"),
    [
        ("{type: context-contains, value: opens at   nine}", "passed", 1),
        ("{type: context-contains, value: Hours}", "passed", 1),
        ("{type: context-contains, value: [14 days, 15 days]}", "failed", 0.5),
        ("{type: not-context-contains, value: ten}", "passed", 1),
        ("{type: context-recall, value: the shop OPENS at nine in the morning}", "passed", 1),
        ("{type: context-recall, value: The shop opens at nine in the morning. Nobody pays.}", "failed", 0.5),
        (
            "{type: context-recall, value: [Returns are free., Free for 14 days.], threshold: 0.5}",
            "passed",
            1,
        ),
        ("{type: context-recall, value: [Nobody pays., Free for 14 days.], threshold: 0.5}", "passed", 0.5),
        ("{type: context-recall, value: nine in the morning returns}", "failed", 0),
    ],
)
def test_assertions_about_the_context_need_no_answer(assertion, status, score):
    outcome = check(assertion, None)
    assert (outcome.status, outcome.score) == (status, score), outcome.reason


def test_found_asks_whether_the_answer_says_that_there_is_nothing():
    assert check("{type: found}", "At nine.").status == "passed"
    assert check("{type: not-found}", "No idea.", found=False).status == "passed"
    assert check("{type: not-found}", "At nine.").reason == (
        "the answer does not say that the passages hold nothing"
    )


@pytest.mark.parametrize(
    ("assertion", "answer", "reason"),
    [
        ("{type: contains, value: a}", None, "there is no answer"),
        ("{type: javascript, value: 'true'}", "a", "the type javascript of promptfoo is not evaluated here"),
        ("{type: trajectory:tool-used, value: a}", "a", "the type trajectory:tool-used of promptfoo"),
        (
            "{type: llm-rubric, value: a}",
            "a",
            "a rubric is judged by a language model, and none is configured",
        ),
        ("{type: similar, value: a}", "a", "no embedder is at hand"),
        ("{type: language, value: es}", "42", "the answer is too short to tell its language"),
        ("{type: regex, value: '(a|aa)+$'}", "a" * 5000 + "b", "the expression '(a|aa)+$' was stopped after"),
        ("{type: context-recall, value: ' '}", "a", "the value holds no sentence"),
        ("{type: contains, value: '{{ words.x }}'}", "a", "'list object' has no attribute 'x'"),
    ],
)
def test_what_cannot_be_told_says_why_also_negated(assertion, answer, reason):
    for text in (assertion, assertion.replace("{type: ", "{type: not-", 1)):
        outcome = check(text, answer)
        assert outcome.status == "unevaluated", outcome
        assert outcome.reason.startswith(reason)
    assert check("{type: cites}", "a", context=None).status == "unevaluated"
    assert check("{type: contains, value: a}", "a", context=None).status == "passed"


def test_expressions_and_schemas_are_bounded_in_time():
    began = time.process_time()
    with pytest.raises(OverTime):
        search(r"(x+x+)+y", "x" * 4000)
    for schema, value in (
        ({"pattern": "(x+x+)+y"}, "x" * 4000),
        ({"patternProperties": {"(x+x+)+y": {}}}, {"x" * 4000: 1}),
        ({"patternProperties": {"(x+x+)+y": {}}, "additionalProperties": False}, {"x" * 4000: 1}),
        ({"properties": {"a": {"items": {"pattern": "(x+x+)+y"}}}}, {"a": ["x" * 4000]}),
    ):
        check_schema(schema)
        with pytest.raises(OverTime):
            schema_faults(schema, value)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "pattern",
    [
        "(?:(?:a{1000}){1000}){1000}",
        "(?:(?:[)]{1000}){1000}(?#()){1000}",
        r"(?:(?:\({1000}){1000}\)){1000}",
        "(?x)(?:a{1000} # (\n){1000}",
        "(?V1)a",
        "a" * 2001,
        "(" * 1000 + ")" * 1000,
        "a{2}" + "{1000}" * 20,
        "(a",
        "(?P<n>a)(?P<n",
    ],
)
def test_expressions_that_cost_too_much_to_read_are_refused_at_once(pattern):
    began = time.process_time()
    with pytest.raises(PromptError):
        check_pattern(pattern)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d{2}-\d{2}$",
        "[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}",
        "(?i)(?<n>a|b)+",
        r"\p{L}{2,}",
        "{a}",
    ],
)
def test_ordinary_expressions_are_taken(pattern):
    check_pattern(pattern)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
        (
            {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
            {"x1": 1},
            {"y": 1},
        ),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"y": "a"}, {"x1": "a"}),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "b"}),
        ({"pattern": "^[0-9]+$"}, "12", "a"),
        ({"$defs": {"n": {"minimum": 3}}, "items": {"$ref": "#/$defs/n"}}, [3], [2]),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]},
            [1, "a"],
            ["a"],
        ),
        ({"unevaluatedProperties": False, "properties": {"a": {}}}, {"a": 1}, {"b": 1}),
    ],
)
def test_schemas_say_what_json_schema_says(schema, good, bad):
    check_schema(schema)
    assert schema_faults(schema, good) == ""
    assert schema_faults(schema, bad) != ""


def test_no_schema_reaches_the_network(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a schema opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert "does not hold" in schema_faults({"$dynamicRef": "http://127.0.0.1/s.json"}, {})
    assert "does not hold" in schema_faults({"$ref": "#/$defs/missing"}, {})
    assert schema_faults({"$schema": "http://127.0.0.1/none", "type": "object"}, {}) == ""


@given(st.text(alphabet='[]{}":,0a\\ ', max_size=300))
def test_json_is_found_in_any_text(text):
    assert all(isinstance(value, dict | list) for value in find_json(text))


def test_deep_json_is_no_json_and_costs_little():
    began = time.process_time()
    for text in ("[" * 200_000, "[{" * 100_000, '{"a":' * 100_000, "[" * 100_000 + "]" * 100_000):
        assert check("{type: is-json}", text).status == "failed"
        assert check("{type: contains-json}", text).status in ("failed", "passed")
        assert check("{type: is-json, value: {items: {}}}", text).status == "failed"
    assert time.process_time() - began < 5


def test_a_rubric_is_judged_by_the_model():
    judge = Judge('Here: {"reason": "It names\\n nine.", "score": 0.8, "pass": true}')
    outcome = check(
        "{type: llm-rubric, value: 'Names the hour in {{ city }}.'}", "At 9.", tools=Tools(grader=judge)
    )
    assert (outcome.status, outcome.score, outcome.reason) == ("passed", 0.8, "graded 0.80: It names nine.")
    assert "Names the hour in Lugo." in judge.asked[0][1].content
    assert (
        check("{type: llm-rubric, value: x, threshold: 0.9}", "a", tools=Tools(grader=judge)).status
        == "failed"
    )
    no = Tools(grader=Judge('{"reason": "no", "score": 1, "pass": false}'))
    assert check("{type: llm-rubric, value: x}", "a", tools=no).status == "failed"


@pytest.mark.parametrize(
    "reply", ["", "yes", '{"pass": "yes"}', '{"pass": true, "score": 7}', '{"score": 1}']
)
def test_a_judge_that_gives_no_grade_leaves_the_question_open(reply):
    outcome = check("{type: llm-rubric, value: x}", "a", tools=Tools(grader=Judge(reply)))
    assert outcome.status == "unevaluated"
    assert outcome.reason.startswith("model 'judge' gave no grade")


@given(st.text())
def test_no_answer_closes_the_judges_fence(answer):
    user = messages("Be kind.", answer)[1].content
    code = user[len("<rubric-") : user.index(">")]
    assert user.count(code) == 4
    assert user == f"<rubric-{code}>\nBe kind.\n</rubric-{code}>\n\n<text-{code}>\n{answer}\n</text-{code}>"


def test_a_model_that_fails_leaves_the_question_open():
    class Down(Judge):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            raise ModelError("model 'judge' cannot be reached")
            yield ""

    outcome = check("{type: llm-rubric, value: x}", "a", tools=Tools(grader=Down("")))
    assert (outcome.status, outcome.reason) == ("unevaluated", "model 'judge' cannot be reached")


def test_a_set_passes_as_its_threshold_says():
    parts = "assert: [{type: contains, value: a}, {type: contains, value: b, weight: 3}]"
    assert check(f"{{type: assert-set, {parts}}}", "a b").status == "passed"
    assert check(f"{{type: assert-set, {parts}}}", "b").status == "failed"
    assert check(f"{{type: assert-set, threshold: 0.75, {parts}}}", "b").status == "passed"
    assert check(f"{{type: assert-set, threshold: 0.76, {parts}}}", "b").status == "failed"
    assert check(f"{{type: not-assert-set, {parts}}}", "b").status == "passed"
    unknown = "assert: [{type: contains, value: a}, {type: cost, weight: 3}]"
    assert check(f"{{type: assert-set, {unknown}}}", "a").status == "unevaluated"
    assert check(f"{{type: assert-set, {unknown}}}", "b").status == "failed"


def outcome(status: str, *, weight: float = 1.0) -> Outcome:
    return Outcome("x", status, float(status == "passed"), status, weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statuses", "threshold", "expected"),
    [
        (["passed", "passed"], None, "passed"),
        (["passed", "failed"], None, "failed"),
        (["unevaluated", "failed"], None, "failed"),
        (["unevaluated", "passed"], None, "unevaluated"),
        (["unevaluated", "passed"], 0.5, "passed"),
        (["unevaluated", "passed"], 0.6, "unevaluated"),
        (["unevaluated", "failed"], 0.6, "failed"),
        (["failed", "failed"], 0, "passed"),
        ([], None, "unevaluated"),
    ],
)
def test_assertions_together(statuses, threshold, expected):
    assert combined([outcome(each) for each in statuses], threshold=threshold)[0] == expected


def test_an_assertion_without_weight_only_informs():
    assert combined([outcome("passed"), outcome("failed", weight=0)], threshold=None)[0] == "passed"
    assert combined([outcome("failed", weight=0)], threshold=None)[0] == "unevaluated"


@given(
    st.lists(st.tuples(st.sampled_from(["passed", "failed", "unevaluated"]), st.integers(1, 3)), min_size=1),
    st.one_of(st.none(), st.floats(0, 1)),
)
def test_what_could_not_be_evaluated_never_decides(drawn, threshold):
    made = [outcome(status, weight=weight) for status, weight in drawn]
    verdict = combined(made, threshold=threshold)[0]
    for guess in ("passed", "failed"):
        settled = [
            outcome(guess, weight=each.weight) if each.status == "unevaluated" else each for each in made
        ]
        if verdict != "unevaluated":
            assert combined(settled, threshold=threshold)[0] == verdict
