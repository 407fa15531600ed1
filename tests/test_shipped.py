"""The shipped prompts: pinned, whole, and written as a careful prompt engineer writes them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from rag import prompts
from rag.context import Context, fit
from rag.language import detect
from rag.prompts import PromptTemplate, names
from rag.prompts.testing.checks import Tools
from rag.prompts.testing.runs import Reply, Result, cases_of, given_context, reply_from, run_case
from rag.prompts.testing.suite import Case, Suite, read_suite
from rag.protocols import Message
from rag.tokens import estimate_tokens
from rag.types import Chunk, Hit

# The first 16 hexadecimal digits of each file's digest. A change here is a change for everyone who uses the
# prompt: say it in CHANGELOG.md.
PINNED: dict[str, str] = {
    "answer": "819787e91ceb6ed0",
    "answer-es": "97cc76482dc76220",
    "classification": "405db39330c8751b",
    "classification-es": "3ef81641e48faa87",
    "comparison": "f58fa5d178b879cc",
    "comparison-es": "013b68067f06e34c",
    "extraction": "f3a749a95edc534f",
    "extraction-es": "92ffd9eda32bcfff",
    "groundedness": "1a1309e3722042fc",
    "groundedness-es": "dc3bc249ed0365c7",
    "hyde": "7bdbc105966245b5",
    "rewrite": "b26ed55910e1d262",
    "strict": "fcb967c7bbfd2f99",
    "strict-es": "a17eeca5802d0701",
    "summary": "223423cc20cfda7e",
    "summary-es": "7c8e16bc338dc139",
    "support-reply": "045cfa042dc74016",
    "support-reply-es": "7bf8f72d0c843046",
    "translation": "149ae62b68b55c4e",
    "translation-es": "0856fed2aa2b7146",
}

load = cache(prompts.load)

VALUES: dict[str, Any] = {
    "question": "¿Cuánto dura la batería?",
    "answer": "The battery lasts 60 km [1].",
    "text": "The charge was made twice.",
    "labels": [{"name": "billing", "description": "charges"}, "repairs"],
    "examples": [{"input": "I paid two times", "output": "billing"}],
    "fields": {"model": "name of the model", "range_km": "range in km, a number"},
    "target": "Spanish",
    "glossary": {"dock": "anclaje"},
    "items": ["M2", "C1"],
    "product": "M2",
    "signature": "Ana",
}
TAKES_CONTEXT = [name for name in names() if "context" in load(name).names]
ANSWERS = [name for name in TAKES_CONTEXT if not name.startswith("groundedness")]
# Nobody reads what rewrite and hyde write, and they write in any language: they have no sister.
IN_BOTH = [name for name in names() if not name.endswith("-es") and name not in ("rewrite", "hyde")]
REPLIES_JSON = ["classification", "extraction", "groundedness"]


def context_of(*texts: str) -> Context:
    hits = [
        Hit(Chunk(f"{n}.md", text, 0, len(text), key=n, title=f"Title {n}"), 1 / n)
        for n, text in enumerate(texts, 1)
    ]
    return fit(hits, budget=10_000, nonce="2043")


def rendered(template: PromptTemplate, **given: Any) -> list[str]:
    """The system and the user message."""
    values = {name: value for name, value in {**VALUES, **given}.items() if name in template.names}
    messages = template.render(values, context=context_of("It lasts 60 km.")).messages
    assert [message.role for message in messages] == ["system", "user"]
    return [message.content for message in messages]


def required(template: PromptTemplate) -> dict[str, Any]:
    wanted = {each.name for each in template.inputs if each.required}
    return {name: value for name, value in VALUES.items() if name in wanted}


def test_a_shipped_prompt_never_changes_unnoticed():
    digests = {name: load(name).digest[:16] for name in names()}
    assert digests == PINNED
    assert digests["answer"] == hashlib.sha256(load("answer").source.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", names())
def test_a_shipped_prompt_says_what_it_is(name):
    template = load(name)
    assert template.name == name
    assert len(template.description) > 40
    assert template.metadata["category"]
    assert template.metadata["tags"]
    assert "version" not in template.metadata, "versions are the library's"
    assert all(each.description for each in template.inputs)


@pytest.mark.parametrize("name", names())
def test_instructions_stand_in_the_system_message_and_no_value_does(name):
    template = load(name)
    marked = {each.name: f"MARK-{each.name}" for each in template.inputs if each.kind == "string"}
    system, user = rendered(template, **{k: v for k, v in marked.items() if k != "context"})
    assert "MARK-" not in system
    assert "60 km" not in system
    assert estimate_tokens(system) > 4 * estimate_tokens(user.split("<passage")[0])


@pytest.mark.parametrize("name", names())
def test_the_system_message_is_the_same_for_every_request_so_that_it_can_be_cached(name):
    template = load(name)
    bare = template.render(required(template), context=context_of("x")).messages[0].content
    assert bare == rendered(template)[0]


@pytest.mark.parametrize("name", names())
def test_the_fixed_part_is_small_enough_for_small_models(name):
    template = load(name)
    assert template.render(required(template), context=context_of()).tokens["instructions"] < 800


@pytest.mark.parametrize("name", names())
def test_instructions_are_in_the_language_that_is_declared(name):
    template = load(name)
    assert detect(rendered(template)[0]) == template.language == ("es" if name.endswith("-es") else "en")


@pytest.mark.parametrize("name", IN_BOTH)
def test_a_prompt_and_its_spanish_sister_take_and_give_the_same(name):
    english, spanish = load(name), load(f"{name}-es")
    assert english.names == spanish.names
    assert [each.kind for each in english.inputs] == [each.kind for each in spanish.inputs]
    assert english.not_found == spanish.not_found
    assert english.context_budget == spanish.context_budget
    assert {k: v for k, v in english.metadata.items() if k not in ("language", "lint")} == {
        k: v for k, v in spanish.metadata.items() if k not in ("language", "lint")
    }
    numbered = [
        [line[:2] for line in rendered(t)[0].splitlines() if line[:1].isdigit()] for t in (english, spanish)
    ]
    assert numbered[0] == numbered[1]


@pytest.mark.parametrize("name", names())
def test_whatever_comes_from_outside_is_called_material_and_not_instructions(name):
    system = rendered(load(name))[0]
    assert "not instructions" in system or "no instrucciones" in system


@pytest.mark.parametrize("name", TAKES_CONTEXT)
def test_passages_stand_in_their_own_fences_before_what_is_asked(name):
    user = rendered(load(name))[1]
    assert '\n<passage-2043 number="1">\nTitle 1\n\nIt lasts 60 km.\n</passage-2043>\n' in user
    assert user.index("</passage-2043>") < user.index("¿Cuánto dura la batería?")


@pytest.mark.parametrize("name", ANSWERS)
def test_how_to_say_that_nothing_was_found_is_told_word_for_word(name):
    template = load(name)
    system = rendered(template)[0]
    assert template.not_found
    assert all(sentence in system for sentence in template.not_found)
    if "extraction" not in name:  # its sentence is JSON, of no language
        assert [detect(sentence) for sentence in template.not_found] == ["en", "es"]


@pytest.mark.parametrize("name", [n for n in names() if n.removesuffix("-es") in REPLIES_JSON])
def test_every_json_that_is_shown_is_json_with_the_outputs_of_the_prompt(name):
    template = load(name)
    header = yaml.safe_load(template.source.split("---\n")[1])
    outputs = [each["name"] for each in header["outputs"]]
    lines = [line for line in rendered(template)[0].splitlines() if line.startswith('{"')]
    assert lines
    for line in lines:
        assert list(json.loads(line)) == outputs


def test_optional_values_leave_no_trace_where_they_are_not_given():
    user = load("translation").render({"text": "Hi", "target": "Spanish"}).messages[1].content
    assert user == "Target language: Spanish\n\n<text>\nHi\n</text>"
    message = load("support-reply").render({"question": "Hi"}, context=context_of("x")).messages[1].content
    assert message.endswith(
        "</passage-2043>\n\nTone: friendly and matter-of-fact\n\n<customer-message>\nHi\n</customer-message>"
    )


def test_labels_may_be_names_or_have_descriptions():
    user = rendered(load("classification"))[1]
    assert user.startswith("Labels:\n- billing: charges\n- repairs\n\nIf none fits: other\n")
    assert "Example text: I paid two times\nIts label: billing\n\n<text>\n" in user


# --- their tests ----------------------------------------------------------------------------------


@cache
def suite_of(name: str) -> Suite:
    file = files("rag.prompts").joinpath("shipped", f"{name}.tests.yaml")
    return read_suite(file.read_text("utf-8"), name=file.name)


def judged(name: str, case: Case, answer: str) -> Result:
    """What a test says of an answer, through all that a run of it goes through."""
    template, tools = load(name), Tools()

    def ask(case: Case, values: Mapping[str, Any], *, answer: bool) -> Reply:
        budget = template.context_budget or 2000
        context = None if case.context is None else given_context(case.context, budget=budget)
        question = str(values.get("question", ""))
        return reply_from(context, template, values, question=question, chat=said, tools=tools, answer=answer)

    said = Scripted(answer)
    return run_case(case, template, ask=ask, tools=tools)


class Scripted:
    """A model that says one thing."""

    def __init__(self, text: str) -> None:
        self.name = "scripted"
        self.text = text

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        yield self.text


ANSWERS_BY_HAND: Mapping[str, Any] = yaml.safe_load(
    Path(__file__).with_name("shipped_answers.yaml").read_text("utf-8")
)
RIGHT = [
    (name, test, answer)
    for name, tests in ANSWERS_BY_HAND.items()
    for test, answers in tests.items()
    for answer in answers["right"]
]
WRONG = [
    (name, test, answer["says"], answer["fails"])
    for name, tests in ANSWERS_BY_HAND.items()
    for test, answers in tests.items()
    for answer in answers["wrong"]
]


def case_of(name: str, description: str) -> Case:
    return next(case for case in cases_of(suite_of(name), load(name)) if case.description == description)


@pytest.mark.parametrize("name", names())
def test_every_shipped_prompt_has_tests_and_each_of_them_a_right_and_a_wrong_answer(name):
    cases = cases_of(suite_of(name), load(name))
    assert [case.description for case in cases] == list(ANSWERS_BY_HAND[name])
    assert all(answers["right"] and answers["wrong"] for answers in ANSWERS_BY_HAND[name].values())


@pytest.mark.parametrize("name", names())
def test_the_tests_look_at_the_language_and_at_orders_from_outside(name):
    suite = suite_of(name)
    if not name.startswith("extraction"):  # what it copies is in the passages' language
        assert "type: language" in suite.source
    told = "\n".join(case.description for case in suite.cases)
    assert re.search("obey|obedece|promise|promesa|believe|cree|choose|elija|follow|sigue|asks for", told)


@pytest.mark.parametrize(("name", "test", "answer"), RIGHT)
def test_a_right_answer_passes(name, test, answer):
    result = judged(name, case_of(name, test), answer)
    assert (result.status, result.reason) == ("passed", "all passed")


@pytest.mark.parametrize(("name", "test", "answer", "fails"), WRONG)
def test_a_wrong_answer_fails_for_the_reason_that_it_is_wrong(name, test, answer, fails):
    result = judged(name, case_of(name, test), answer)
    assert result.status == "failed"
    assert fails in {outcome.name for outcome in result.outcomes if outcome.status == "failed"}
