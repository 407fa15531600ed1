"""rag prompts test, as a user meets it; recorded answers; and what a run leaves in the library."""

from __future__ import annotations

import json
import os
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.prompts.testing import Answering, keep, results, selected, targets
from api.services import Services, connect
from api.settings import load
from rag.errors import ModelError, NotFound, PromptError, UnknownPrompt
from rag.prompts.testing.junit import junit_xml
from rag.prompts.testing.recorded import NotRecorded, RecordedModel, Recording, Recordings, key_of
from rag.prompts.testing.runs import Result as Run
from rag.protocols import Message

ANSWER = """---
name: answer
metadata:
  context_budget: 500
  not_found: [I have nothing on that.]
inputs:
  - {name: question}
  - {name: context}
  - {name: tone, default: plain}
---
system:
Answer in a {{ tone }} tone.

user:
{{ context }}
{{ question }}
"""
GREET = """---
name: greet
inputs: [{name: who}, {name: tags, kind: array, default: []}]
---
user:
Say hello to {{ who }}.{% for tag in tags %} {{ tag }}{% endfor %}
"""
TESTS = """
tests:
  - description: hours
    vars: {question: When does it open?}
    context: [The shop opens at nine., Returns are free.]
    assert:
      - {type: contains, value: nine}
      - {type: context-contains, value: opens at nine}
"""
FAILING = TESTS.replace("value: nine", "value: eleven")
RUBRIC = TESTS + "      - {type: llm-rubric, value: Names an hour.}\n"


class Chat:
    """A chat model that says what it is told to, grades everything well, and counts its calls."""

    name = "test:chat"

    def __init__(self, text: str = "At nine [1].") -> None:
        self.text = text
        self.asked: list[Sequence[Message]] = []

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        self.asked.append(messages)
        if "<rubric-" in messages[-1].content:
            yield '{"reason": "so it does", "score": 1, "pass": true}'
        yield from self.text.split(" ", 1)[:1]
        yield self.text[len(self.text.split(" ", 1)[0]) :]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a prompt and its tests, and nothing of the user's own settings."""
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    monkeypatch.chdir(tmp_path)
    put("answer.prompty", ANSWER)
    put("answer.tests.yaml", TESTS)
    return tmp_path


def put(name: str, text: str) -> Path:
    path = Path("prompts", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def wired(model: str = "", chat: Chat | None = None) -> Services:
    overrides = {"llm.model": model or (chat.name if chat else "")}
    services = connect(load(start=Path.cwd(), env=os.environ, overrides=overrides))
    if chat is not None:
        services.chat = chat  # type: ignore[misc, assignment]
    return services


def run(chat: Chat | None = None, names: Sequence[str] = ("answer",), **options) -> list[Run]:
    with wired(chat=chat) as services:
        return [
            result
            for target in targets(services, names)
            for result in results(services, target, selected(target), answering=Answering(**options))
        ]


def recording(tests: str = TESTS, chat: Chat | None = None) -> Path:
    """A file of what the chat model says to these tests."""
    put("answer.tests.yaml", tests)
    record = Recordings()
    run(chat or Chat(), record=record)
    record.write(Path("answers.jsonl"))
    return Path("answers.jsonl")


# --- the command -----------------------------------------------------------------------------------


def test_exit_codes_say_what_became_of_the_tests():
    recording()
    assert rag("prompts", "test", "--replay", "answers.jsonl").stdout == (
        "answer (file)\n  passed         hours\n\n1 test: 1 passed; answered by test:chat\n"
    )
    put("answer.tests.yaml", FAILING)
    failed = rag("prompts", "test", "--replay", "answers.jsonl", code=100).stdout
    assert "FAILED         hours" in failed
    assert "line 7, contains: the answer does not contain “eleven”" in failed
    assert "answer: At nine [1]." in failed
    put("answer.tests.yaml", RUBRIC)
    unsure = rag("prompts", "test", "--replay", "answers.jsonl", code=3).stdout
    assert "not evaluated (llm-rubric): its variables, context or rubric changed since" in unsure
    put("answer.tests.yaml", TESTS.replace("vars: {", "vars: {tonne: x, "))
    broken = rag("prompts", "test", "--replay", "answers.jsonl", code=1).stdout
    assert "prompt 'answer' takes no tonne, and no assertion uses it; its variables: question" in broken
    assert broken.endswith("1 test: 1 could not be run\n")


def test_json_and_junit_tell_the_same():
    recording()
    put(
        "answer.tests.yaml",
        FAILING + "  - {description: none, vars: {question: q}, context: [x], assert: [{type: cost}]}\n",
    )
    told = json.loads(
        rag("prompts", "test", "--replay", "answers.jsonl", "--junit", "out/j.xml", "--json", code=100).stdout
    )
    assert told["counts"] == {"passed": 0, "failed": 1, "unevaluated": 1, "error": 0}
    (prompt,) = told["prompts"]
    assert (prompt["prompt"], prompt["origin"], prompt["version"]) == ("answer", "file", None)
    first = prompt["tests"][0]
    assert (first["status"], first["answer"], first["model"], first["score"]) == (
        "failed",
        "At nine [1].",
        "test:chat",
        0.5,
    )
    assert [each["status"] for each in first["assertions"]] == ["failed", "passed"]
    suites = ElementTree.parse("out/j.xml").getroot()
    (suite,) = suites
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        "answer",
        "2",
        "1",
        "1",
    )
    assert suite[0].find("failure").get("message") == "the answer does not contain “eleven”"
    assert suite[1].find("skipped") is not None


def test_junit_holds_any_answer():
    recording(chat=Chat("\x00\x1b[31m]]> <b> \ud83d nine & \ufffe"))
    put("answer.tests.yaml", FAILING)
    every = run(replay=Recordings.read(Path("answers.jsonl")))
    xml = junit_xml({"a\x01b": every})
    assert "&lt;b&gt;" in ElementTree.fromstring(xml)[0][0][0].text.replace("<", "&lt;").replace(">", "&gt;")
    assert re.search("[\x00\x1b\ufffe\ud83d]", xml) is None


def test_tests_are_chosen_by_name_file_and_filter():
    recording(TESTS + TESTS.replace("\ntests:\n", "").replace("hours", "Opening times"))
    replay = ("--replay", "answers.jsonl")
    assert "2 tests: 2 passed" in rag("prompts", "test", *replay).stdout
    assert "1 test: 1 passed" in rag("prompts", "test", "--filter", "OPENING", *replay).stdout
    assert "no test's description holds 'zzz'" in rag("prompts", "test", "--filter", "zzz", code=2).stderr
    Path("other.yaml").write_text(FAILING, "utf-8")
    assert "1 failed" in rag("prompts", "test", "answer", "--file", "other.yaml", *replay, code=100).stdout
    assert "which prompt is other.yaml for?" in rag("prompts", "test", "--file", "other.yaml", code=2).stderr
    assert "2 tests: 2 passed" in rag("prompts", "test", "prompts/answer.prompty", *replay).stdout
    assert "no prompt 'nope'" in rag("prompts", "test", "nope", code=2).stderr
    put("lone.prompty", GREET)
    assert (
        "prompt 'lone' has no tests; write lone.tests.yaml" in rag("prompts", "test", "lone", code=2).stderr
    )


def test_tests_in_the_folder_count_for_a_prompt_that_lies_elsewhere():
    put("strict.tests.yaml", TESTS)
    with wired() as services:
        (mine,) = targets(services, ["strict"])
        assert (mine.found.origin, mine.suite.source, mine.whole) == ("shipped", TESTS, False)
        assert [target.name for target in targets(services)] == ["answer", "strict"]


def test_what_is_asked_of_a_recording_has_to_be_clear():
    assert "there is no recording" in rag("prompts", "test", "--replay", "none.jsonl", code=2).stderr
    assert "there is nothing to record" in rag("prompts", "test", "--record", "new.jsonl", code=2).stderr
    assert not Path("new.jsonl").exists()
    Path("bad.jsonl").write_text('{"key": "a"}\n')
    assert (
        "bad.jsonl:1: not a recorded answer" in rag("prompts", "test", "--replay", "bad.jsonl", code=2).stderr
    )
    Path("empty.jsonl").write_text("\n")
    assert "empty.jsonl holds no answers" in rag("prompts", "test", "--replay", "empty.jsonl", code=2).stderr
    record = Recordings.read(recording())
    record.add(Recording("k", "other", "answer", "d", "hours", "At ten."))
    record.write(Path("two.jsonl"))
    refused = rag("prompts", "test", "--replay", "two.jsonl", code=2).stderr
    assert "holds answers of other, test:chat: choose one with --model" in refused
    rag("prompts", "test", "--replay", "two.jsonl", "--model", "test:chat")


def test_a_file_that_cannot_be_read_is_told_with_its_line():
    put("answer.tests.yaml", "tests:\n  - asert: []\n")
    told = rag("prompts", "test", code=2).stderr
    assert told == ("Error: the tests of answer: line 2: no key 'asert' in a test; did you mean assert?\n")
    put("answer.tests.yaml", "")
    rag("prompts", "test", code=2)
    Path("prompts/answer.tests.yaml").unlink()
    assert "no tests in " in rag("prompts", "test", code=2).stderr


# --- what answers ----------------------------------------------------------------------------------


def test_a_live_model_is_asked_and_a_rubric_judged_by_it():
    chat = Chat()
    put("answer.tests.yaml", RUBRIC)
    (result,) = run(chat)
    assert (result.status, result.answer, result.model) == ("passed", "At nine [1].", "test:chat")
    assert len(chat.asked) == 2
    assert "The shop opens at nine." in chat.asked[0][1].content
    assert "At nine [1]." in chat.asked[1][1].content


def test_no_passages_ask_no_model():
    put(
        "answer.tests.yaml",
        TESTS.split("    context")[0] + "    context: []\n    assert: [{type: not-found}]\n",
    )
    chat = Chat()
    (result,) = run(chat)
    assert (result.status, result.answer) == ("passed", "I have nothing on that.")
    assert chat.asked == []


def test_assertions_about_the_context_alone_ask_no_model():
    put("answer.tests.yaml", TESTS.replace("      - {type: contains, value: nine}\n", ""))
    chat = Chat()
    (result,) = run(chat)
    assert (result.status, result.answer, chat.asked) == ("passed", "", [])


def test_the_prompts_own_words_for_nothing_found_count():
    put("answer.tests.yaml", TESTS.replace("{type: contains, value: nine}", "{type: not-found}"))
    assert run(Chat("I have  NOTHING on that!"))[0].status == "passed"
    assert run(Chat("I have nothing on that, but see [1]."))[0].status == "failed"


def test_a_model_that_fails_is_an_error_of_its_test_alone():
    class Moody(Chat):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            if "Monday" in messages[-1].content:
                raise ModelError("model 'test:chat' did not answer in time")
            yield from super().stream(messages)

    put("answer.tests.yaml", TESTS + TESTS.replace("\ntests:\n", "").replace("it open", "it open on Monday"))
    first, second = run(Moody(), jobs=2)
    assert (first.status, second.status) == ("passed", "error")
    assert second.reason == "model 'test:chat' did not answer in time"


def test_a_prompt_without_context_or_model_is_not_evaluated():
    put("greet.prompty", GREET)
    put("greet.tests.yaml", "tests: [{vars: {who: [Ana, Leo], tags: [a, b]}, assert: [{type: cites}]}]")
    every = run(names=["greet"])
    assert [result.case.description for result in every] == ["test 1 (who: Ana)", "test 1 (who: Leo)"]
    assert {result.status for result in every} == {"unevaluated"}
    assert every[0].reason.startswith("no language model is configured: name one with --model")
    chat = Chat("Hello.")
    assert run(chat, names=["greet"])[0].reason == "the prompt takes no context"
    assert chat.asked[0][0].content == "Say hello to Ana. a b"
    put("greet.tests.yaml", "tests: [{context: [x], vars: {who: Ana}, assert: [{type: cites}]}]")
    assert run(chat, names=["greet"])[0].reason == ("the test gives a context, and prompt 'greet' takes none")
    put("greet.tests.yaml", "tests: [{assert: [{type: contains, value: a}]}]")
    assert run(chat, names=["greet"])[0].reason == "prompt 'greet' needs a value for: who"


def test_a_given_context_is_fitted_and_what_is_left_out_told():
    long = " ".join(f"Sentence number {n} of many." for n in range(300))
    put("answer.tests.yaml", TESTS.replace("context: [", f"context: ['{long}', "))
    (result,) = run(Chat())
    assert result.status == "failed"
    assert result.notes[0].startswith("given passage 1: shortened to its first")


@pytest.mark.model
def test_without_a_model_the_best_sentences_answer():
    (result,) = run()
    assert (result.status, result.model) == ("passed", "extractive")
    assert result.answer == "“The shop opens at nine.” [1]"


@pytest.mark.model
def test_a_prompts_examples_are_filled_in_as_they_are_when_it_is_asked():
    put("kinds.jsonl", '{"input": "Where is my parcel?", "output": "delivery"}\n')
    put(
        "kind.prompty",
        "---\nname: kind\nmetadata: {examples: {file: kinds.jsonl, k: 1}}\n"
        "inputs: [{name: question}, {name: examples, kind: array, required: false}]\n---\nuser:\n"
        "{% for e in examples %}{{ e.input }} -> {{ e.output }}\n{% endfor %}{{ question }}\n",
    )
    put("kind.tests.yaml", "tests: [{vars: {question: My parcel is lost}, assert: [{type: found}]}]")
    chat = Chat("delivery")
    assert run(chat, names=["kind"])[0].status == "passed"
    assert chat.asked[0][0].content == "Where is my parcel? -> delivery\nMy parcel is lost"


@pytest.mark.model
def test_a_test_without_context_searches_the_collection():
    put("answer.tests.yaml", TESTS.replace("    context: [The shop opens at nine., Returns are free.]\n", ""))
    (nothing,) = run()
    assert nothing.status == "unevaluated"
    assert "rag ingest" in nothing.reason
    Path("docs").mkdir()
    Path("docs/hours.md").write_text("# Hours\n\nThe shop opens at nine. It closes at eight.\n")
    rag("ingest", "docs", "-c", "faq")
    assert run()[0].status == "unevaluated"
    (found,) = run(collection="faq")
    assert (found.status, found.model) == ("passed", "extractive")
    rag("prompts", "push", "prompts", "--author", "ana")
    for name in ("answer@1", "answer@latest", "prompts/answer.prompty"):
        (same,) = run(names=[name], collection="faq")
        assert (same.status, same.answer) == ("passed", found.answer)
    assert not Path(".rag/traces.db").exists()
    record = Recordings()
    (live,) = run(Chat(), collection="faq", record=record)
    assert (live.status, live.answer) == ("passed", "At nine [1].")
    (replayed,) = run(collection="faq", replay=record)
    assert (replayed.status, replayed.answer, replayed.model) == ("passed", "At nine [1].", "test:chat")
    Path("docs/hours.md").write_text("# Hours\n\nThe shop opens at nine. It closes at seven.\n")
    rag("ingest", "docs", "-c", "faq")
    (stale,) = run(collection="faq", replay=record)
    assert stale.status == "unevaluated"
    assert "its variables, context or rubric changed" in stale.reason
    assert [each.status for each in stale.outcomes] == ["unevaluated", "passed"]


# --- recorded answers ------------------------------------------------------------------------------


def test_a_recording_answers_without_any_model_and_without_a_data_folder():
    path = recording(RUBRIC)
    assert len(path.read_text().splitlines()) == 2
    (result,) = run(replay=Recordings.read(path))
    assert (result.status, result.answer) == ("passed", "At nine [1].")
    assert not Path(".rag").exists()


def test_a_changed_prompt_makes_its_recordings_stale():
    path = recording()
    put("answer.prompty", ANSWER.replace("tone.", "tone, please."))
    (result,) = run(replay=Recordings.read(path))
    assert result.status == "unevaluated"
    assert result.reason == (
        "the prompt changed since the answer was recorded; "
        "record it: rag prompts test answer --record answers.jsonl"
    )
    assert [each.status for each in result.outcomes] == ["unevaluated", "passed"]


def test_changed_variables_make_their_recording_stale_and_another_model_has_none():
    path = recording()
    put("answer.tests.yaml", TESTS.replace("it open", "it close"))
    (result,) = run(replay=Recordings.read(path))
    assert result.reason.startswith("its variables, context or rubric changed since")
    with wired(model="test:other") as services:
        (target,) = targets(services, ["answer"])
        answering = Answering(replay=Recordings.read(path))
        (other,) = results(services, target, selected(target), answering=answering)
    assert "holds no answer of test:other for this test, but of test:chat" in other.reason


def test_a_stale_answer_is_replaced_and_others_are_kept():
    path = recording(TESTS + TESTS.replace("\ntests:\n", "").replace("hours", "more"))
    before = path.read_text().splitlines()
    put("answer.tests.yaml", TESTS.replace("it open", "it close"))
    record = Recordings.read(path)
    chat = Chat("At eight.")
    run(chat, record=record)
    assert record.write(path) == 1
    after = path.read_text().splitlines()
    assert len(after) == len(before) == 2
    assert len(set(after) & set(before)) == 1
    assert json.loads(after[0])["answer"] == "At eight."


def test_replay_and_record_together_ask_only_for_what_is_missing():
    path = recording()
    put("answer.tests.yaml", TESTS + TESTS.replace("\ntests:\n", "").replace("it open", "it close"))
    chat = Chat("At nine, still.")
    both = Recordings.read(path)
    first, second = run(chat, replay=both, record=both)
    assert (first.answer, second.answer, len(chat.asked)) == ("At nine [1].", "At nine, still.", 1)
    both.write(path)
    assert [result.status for result in run(replay=Recordings.read(path))] == ["passed", "passed"]


def test_the_same_run_records_the_same_bytes():
    tests = TESTS + TESTS.replace("\ntests:\n", "").replace("it open", "it close")
    first = recording(tests).read_bytes()
    assert recording(tests).read_bytes() == first


def test_a_key_is_that_of_the_words_whatever_the_codes_of_fences():
    def call(code: str, text: str = "a") -> list[Message]:
        return [Message("user", f'<passage-{code} number="1">\n{text}\n</passage-{code}>')]

    assert key_of("m", call("1234")) == key_of("m", call("98765"))
    assert key_of("m", call("1234")) != key_of("m", call("1234", "b"))
    assert key_of("m", call("1234")) != key_of("n", call("1234"))
    assert key_of("m", [Message("user", "a")]) != key_of("m", [Message("system", "a")])
    with pytest.raises(NotRecorded):
        "".join(RecordedModel("m", "p", "d", "t", replay=Recordings()).stream(call("1")))


def test_a_thousand_threads_record_what_was_said_to_each():
    put("greet.prompty", GREET)
    names = ", ".join(f"N{n}" for n in range(200))
    put("greet.tests.yaml", f"tests: [{{vars: {{who: [{names}]}}, assert: [{{type: found}}]}}]")

    class Echo(Chat):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            time.sleep(0.001)
            yield messages[-1].content

    record = Recordings()
    every = run(Echo(), names=["greet"], record=record, jobs=16)
    assert [result.answer for result in every] == [f"Say hello to N{n}." for n in range(200)]
    record.write(Path("r.jsonl"))
    for line in Path("r.jsonl").read_text().splitlines():
        kept = json.loads(line)
        assert kept["answer"] == f"Say hello to {kept['test'].split(': ')[1].rstrip(')')}."


def test_two_hundred_recorded_tests_take_under_two_seconds():
    put("greet.prompty", GREET)
    cases = "".join(
        f"""
  - description: greets {n}
    vars: {{who: person {n}, tags: [a, b]}}
    assert:
      - {{type: icontains, value: hello}}
      - {{type: not-contains, value: goodbye}}
      - {{type: regex, value: "person [0-9]+"}}
      - {{type: max-tokens, value: 50}}
      - {{type: contains-json, value: {{required: [n], properties: {{n: {{type: integer}}}}}}}}"""
        for n in range(200)
    )
    put("greet.tests.yaml", f"tests:{cases}\n")
    record = Recordings()
    run(Chat('Hello person 12 {"n": 1}'), names=["greet"], record=record)
    began = time.process_time()
    every = run(names=["greet"], replay=record)
    took = time.process_time() - began
    assert {result.status for result in every} == {"passed"}
    assert took < 2, took


# --- the library -----------------------------------------------------------------------------------


def test_a_run_on_a_version_is_kept_in_the_library():
    rag("prompts", "push", "prompts", "--label", "production", "--author", "ana")
    recording()
    Path("prompts/answer.prompty").unlink()
    Path("prompts/answer.tests.yaml").unlink()
    for name in ("answer@1", "answer@production", "answer"):
        chat = Chat()
        with wired(chat=chat) as services:
            (target,) = targets(services, [name])
            assert target.found.version is not None
            every = list(results(services, target, selected(target), answering=Answering()))
            assert [result.status for result in every] == ["passed"]
            assert keep(services, target, every)
    with wired() as services:
        runs = services.library().runs("answer", 1)
        assert len(runs) == 3
        assert runs[0].ok
        assert (runs[0].passed, runs[0].failed, runs[0].detail["models"]) == (1, 0, ["test:chat"])
        (found,) = targets(services, ["answer@1"])
        assert runs[0].tests_digest == found.suite.digest


def test_a_protected_label_moves_once_the_tests_have_passed():
    push = ("prompts", "push", "prompts", "--author", "ana")
    put("answer.tests.yaml", FAILING)
    rag(*push)
    rag("prompts", "protect", "production", "--approvals", "0", "--tests", "--author", "ana")
    move = ("prompts", "label", "answer", "1", "production", "--author", "ana")
    assert "its tests were never run" in rag(*move, code=1).stderr
    path = recording(FAILING)
    shown = rag("prompts", "test", "answer@1", "--replay", path, code=100)
    assert "The run of answer@1 is kept in the library." in shown.stderr
    assert "its tests did not pass" in rag(*move, code=1).stderr
    put("answer.tests.yaml", TESTS)
    rag(*push)
    assert "its tests changed since they were run" in rag(*move, code=1).stderr
    rag("prompts", "test", "answer@1", "--replay", path)
    rag(*move)


def test_a_part_of_the_tests_is_no_run_of_them():
    rag("prompts", "push", "prompts", "--label", "production", "--author", "ana")
    path = recording()
    rag("prompts", "test", "answer@1", "--replay", path, "--filter", "hours")
    Path("other.yaml").write_text(FAILING)
    rag("prompts", "test", "answer@1", "--file", "other.yaml", "--replay", path, code=100)
    with wired() as services, closing(services.library()) as library:
        assert library.runs("answer") == []


def test_without_names_all_that_have_tests_are_run():
    put("support/greet.prompty", GREET)
    put("support/greet.tests.yaml", "tests: [{vars: {who: Ana}, assert: [{type: found}]}]")
    with wired() as services:
        assert [target.name for target in targets(services)] == ["answer", "support/greet"]
        with pytest.raises(UnknownPrompt):
            targets(services, ["greet"])
        with pytest.raises(PromptError, match="name one"):
            targets(services, ["a", "b"], file=Path("x.yaml"))
    Path("prompts/support/greet.prompty").unlink()
    with wired() as services, pytest.raises(NotFound):
        targets(services)
