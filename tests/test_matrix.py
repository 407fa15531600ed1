"""rag eval prompts: prompts x models over the tests of the prompts, and the judge that is measured first."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.cli.evaluate.prompts import exit_code
from api.evaluation.prompts import Asked, Column, Judge, columns, labels_from_traces, run_matrix
from api.prompts.testing import Answering, results, selected, targets
from api.services import Services, connect
from api.settings import load
from rag.errors import EvaluationError, ModelError, NotFound, PromptError
from rag.evaluate.judge_model import Labelled, judged, read_labels, trust
from rag.evaluate.matrix import ALL, Cell, Matrix
from rag.evaluate.matrix_text import markdown, page, parts
from rag.prompts.testing.recorded import Recordings
from rag.prompts.testing.runs import Result as Run
from rag.prompts.testing.runs import given_context
from rag.prompts.testing.suite import Case, Given
from rag.protocols import Message
from rag.testing import HashEmbedder

ANSWER = """---
name: {name}
metadata: {{context_budget: 500, category: {category}, not_found: [I have nothing on that.]}}
inputs: [{{name: question}}, {{name: context}}]
---
system:
Answer in {name}.

user:
{{{{ context }}}}
{{{{ question }}}}
"""
TESTS = """
defaultTest:
  context: [The shop opens at nine in the morning., Returns are free within 14 days.]
tests:
  - {description: hours, vars: {question: When does it open?}, assert: [{type: contains, value: nine}]}
  - {description: returns, vars: {question: How long for returns?}, assert: [{type: contains, value: "14"}]}
  - {description: cites, vars: {question: When does it open?}, assert: [{type: cites}]}
"""


class Chat:
    """A chat model that says what it is told to; without a text it cannot be reached."""

    def __init__(self, name: str, *texts: str) -> None:
        self.name = name
        self._texts = texts
        self.calls = 0

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        self.calls += 1
        if not self._texts:
            raise ModelError(f"model {self.name!r} failed: no route to host")
        yield self._texts[(self.calls - 1) % len(self._texts)]


class Grader:
    """A judge that finds grounded what holds a word."""

    name = "test:judge"

    def __init__(self, word: str = "nine") -> None:
        self.word = word

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        answer = messages[-1].content.rpartition("<answer>")[2]
        yield json.dumps({"claims": [], "reason": "so it is", "score": 1, "pass": self.word in answer})


GOOD = "The shop opens at nine in the morning [1]. Returns are free within 14 days [2]."
BAD = "The shop opens at ten [7]."


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two prompts and their tests, and nothing of the user's own settings."""
    for name in os.environ:
        if name.startswith("RAG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    monkeypatch.setattr(Services, "embedder", lambda self: HashEmbedder())
    monkeypatch.chdir(tmp_path)
    Path("prompts").mkdir()
    for name, category in (("formal", "support"), ("plain", "sales")):
        Path("prompts", f"{name}.prompty").write_text(ANSWER.format(name=name, category=category))
        Path("prompts", f"{name}.tests.yaml").write_text(TESTS)
    return tmp_path


def wired() -> Services:
    return connect(load(start=Path.cwd(), env=os.environ, overrides={}))


def matrix(*chats: Chat, names: Sequence[str] = (), baseline: str = "", **asked) -> Matrix:
    across = [Column(chat.name, chat.name, chat=chat) for chat in chats]
    with wired() as services:
        return run_matrix(services, names, across, asked=Asked(**asked), baseline=baseline)


def recording(chat: Chat, path: str) -> Path:
    record = Recordings()
    with wired() as services:
        own = services.settings.model_copy(
            update={"llm": services.settings.llm.model_copy(update={"model": chat.name})}
        )
        with connect(own) as product:
            product.chat = chat  # type: ignore[misc, assignment]
            for target in targets(product):
                list(results(product, target, selected(target), answering=Answering(record=record)))
    record.write(Path(path))
    return Path(path)


def rag(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def cell(prompt: str, column: str, statuses: str, **more) -> Cell:
    """A cell whose tests came to p(assed), f(ailed), u(nevaluated) or e(rror)."""
    told = {"p": "passed", "f": "failed", "u": "unevaluated", "e": "error"}
    run = [
        Run(Case(f"test {n}", {}, ()), told[letter], 0.0, "why", (), "x", "m", 0.1)  # type: ignore[arg-type]
        for n, letter in enumerate(statuses)
    ]
    return Cell(prompt, column, more.pop("tests", prompt), results=tuple(run), **more)


# --- the matrix as values ----------------------------------------------------------------------------


def test_what_could_not_be_evaluated_or_run_stands_in_no_rate():
    one = cell("a", "m", "ppfue")
    assert (one.passed.count, one.passed.of) == (2, 3)
    assert one.counts == {"passed": 2, "failed": 1, "unevaluated": 1, "error": 1}
    assert one.outcomes == {"test 0": 1.0, "test 1": 1.0, "test 2": 0.0}


def test_a_new_model_is_better_worse_equivalent_or_untold_by_prompt():
    old, new = "f" * 12 + "p" * 12, "p" * 24
    cells = (
        *(cell("up", "old", old), cell("up", "new", new)),
        *(cell("down", "old", new), cell("down", "new", old)),
        *(cell("same", "old", new), cell("same", "new", new)),
        *(cell("few", "old", "pf"), cell("few", "new", "pp")),
    )
    told = {one.measure: one for one in Matrix(cells, "old").recheck()}
    assert {name: one.verdict for name, one in told.items() if name != ALL} == {
        "up": "better",
        "down": "worse",
        "same": "equivalent",
        "few": "cannot tell",
    }
    assert told["up"].test == "McNemar"
    assert told["up"].p_holm == pytest.approx(5 * told["up"].p)
    assert told[ALL].queries == 74


def test_a_prompt_without_a_test_evaluated_in_both_is_not_compared():
    cells = (cell("a", "old", "uu"), cell("a", "new", "pp"), cell("b", "old", "p"), cell("b", "new", "e"))
    assert Matrix(cells, "old").recheck() == ()


def test_versions_are_compared_where_they_share_their_tests():
    cells = (
        *(cell("answer@2", "m", "f" * 8 + "p", tests="t"), cell("answer@3", "m", "p" * 9, tests="t")),
        cell("other", "m", "p" * 9),
    )
    (one,) = Matrix(cells, "m").versions()
    assert (one.baseline, one.candidate, one.measure, one.verdict) == ("answer@2", "answer@3", "m", "better")
    assert Matrix(cells, "m").best() == {"m": ("answer@3",)}


def test_tests_that_split_the_cells_are_told_most_even_first():
    cells = tuple(
        cell("a", name, told) for name, told in (("x", "ppf"), ("y", "pff"), ("z", "fpf"), ("w", "pff"))
    )
    found = Matrix(cells, "x").splits()
    assert [(one.test, one.passed, one.failed) for one in found] == [("test 1", 2, 2), ("test 0", 3, 1)]


def test_two_tests_of_one_description_are_two():
    one = cell("a", "m", "pf")
    twice = replace(one, results=tuple(replace(each, case=Case("same", {}, ())) for each in one.results))
    assert twice.outcomes == {"same": 1.0, "same (2)": 0.0}


@pytest.mark.parametrize(
    ("statuses", "verdict", "code"),
    [
        (("pp", "pp"), False, 0),
        (("pf", "pp"), False, 100),
        (("pu", "pp"), False, 3),
        (("pe", "pf"), False, 1),
        (("f" * 9, "f" * 9), True, 0),
        (("p" * 9, "f" * 9), True, 100),
        (("pf", "fp"), True, 3),
    ],
)
def test_exit_codes_are_those_of_the_tests_and_with_a_baseline_of_the_verdict(statuses, verdict, code):
    cells = tuple(cell("a", name, told) for name, told in zip(("old", "new"), statuses, strict=True))
    assert exit_code(Matrix(cells, "old"), verdict=verdict) == code


# --- run ---------------------------------------------------------------------------------------------


def test_every_prompt_is_run_on_every_model_and_held_against_its_context():
    made = matrix(Chat("test:good", GOOD), Chat("test:bad", BAD))
    assert made.prompts == ("formal", "plain")
    good, bad = (made.of(prompt="formal", column=name)[0] for name in ("test:good", "test:bad"))
    assert (good.passed.count, bad.passed.count) == (3, 0)
    assert (good.supported.count, good.supported.of) == (6, 6)
    assert (good.citation_recall, good.citation_precision, good.unknown_citations) == (1.0, 1.0, 0)
    assert (bad.supported.count, bad.citation_recall, bad.unknown_citations) == (0, 0.0, 3)
    assert good.tokens is not None
    assert good.tokens > 40
    assert {name: rate.of for (name, column), rate in made.categories.items() if column == "test:bad"} == {
        "support": 3,
        "sales": 3,
    }


def test_a_model_that_cannot_be_reached_is_an_error_in_its_cells_and_asked_once_in_each():
    down = Chat("test:down")
    made = matrix(down, Chat("test:good", GOOD), names=["formal", "plain"])
    assert down.calls == 2
    assert "no route to host" in made.of(prompt="plain", column="test:down")[0].error
    assert [each.passed.count for each in made.of(column="test:good")] == [3, 3]
    assert made.of(column="test:down")[0].counts["error"] == 3
    assert exit_code(made, verdict=False) == 1


def test_recordings_are_columns_and_one_model_twice_has_two_names():
    first = recording(Chat("test:chat", GOOD), "monday.jsonl")
    second = recording(Chat("test:chat", BAD), "friday.jsonl")
    with wired() as services:
        made = columns(services, models=["extractive"], recorded=[first, second])
        assert [column.label for column in made] == ["extractive", "test:chat", "test:chat (friday.jsonl)"]
        with pytest.raises(PromptError, match="named twice"):
            columns(services, recorded=[first, second, second])
        with pytest.raises(NotFound, match=r"no column 'gpt'.*there are extractive, test:chat"):
            run_matrix(services, (), made, baseline="gpt")


def test_other_tests_may_be_put_to_every_prompt():
    Path("mine.yaml").write_text(TESTS.replace("value: nine", "value: eleven"))
    made = matrix(Chat("test:good", GOOD), names=["formal", "plain"], file=Path("mine.yaml"), grounded=False)
    assert [each.passed.count for each in made.cells] == [2, 2]
    assert not made.cells[0].grounded
    assert len(made.versions()) == 1


# --- the judge ---------------------------------------------------------------------------------------


def labels(count: int = 24, *, wrong: int = 0) -> list[Labelled]:
    """Answers with and without "nine", half of each, the first ``wrong`` labelled the other way."""
    passages = (Given("It opens at nine."),)
    return [
        Labelled("At nine." if n % 2 else "At ten.", passages, grounded=bool(n % 2) != (n < wrong))
        for n in range(count)
    ]


def test_a_judge_counts_only_once_it_has_agreed_with_people():
    assert trust(Grader(), labels()).trusted
    assert trust(Grader(), labels(), jobs=4).agreement.value == 1.0
    half = trust(Grader(), labels(wrong=8))
    assert (half.trusted, half.why_not) == (False, "its kappa is 0.33, and 0.6 is asked")
    assert trust(Grader(), labels(wrong=8), least=0.3).trusted
    assert "measured on 10 labels" in trust(Grader(), labels(10)).why_not
    assert "nobody labelled" in trust(Grader(), []).why_not
    assert "all labels and verdicts are the same" in trust(Grader("At"), [labels()[1]] * 24).why_not


def test_a_judge_that_gives_no_verdict_is_counted_apart():
    silent = trust(Chat("test:mute", "Sounds fine to me."), labels())
    assert (silent.agreement, silent.unjudged) == (None, 24)
    assert silent.why_not == "it gave no verdict on any label"
    context = given_context([Given("It opens at nine.")], budget=100)
    said = judged(Chat("test:down"), "At nine.", context)
    assert (said.passed, "no route to host" in said.reason) == (None, True)


def test_only_a_trusted_judge_fails_a_test():
    chat, judge = Chat("test:good", GOOD), Grader("never")
    doubted = matrix(chat, names=["formal"], judge=Judge(judge, trust(judge, [])))
    assert (doubted.cells[0].passed.count, doubted.cells[0].judged_grounded.count) == (3, 0)
    known = trust(Grader(), labels())
    trusted = matrix(chat, names=["formal"], judge=Judge(judge, known))
    assert trusted.cells[0].counts["failed"] == 3
    assert "the judge finds it not grounded" in trusted.cells[0].results[0].reason
    told = parts(trusted, trust=known)[-1].lines[0]
    assert told.startswith("judge test:judge: kappa 1.00")
    assert told.endswith("its verdict counts")


def test_labels_are_read_with_their_line():
    good = [
        {"answer": "At nine.", "context": "It opens at nine.", "verdict": True},
        {"answer": "At ten.", "context": [{"title": "Shop", "text": "It opens at nine."}], "verdict": "Fail"},
    ]
    Path("l.jsonl").write_text("".join(json.dumps(each) + "\n" for each in good))
    assert [(each.grounded, len(each.context)) for each in read_labels(Path("l.jsonl"))] == [
        (True, 1),
        (False, 1),
    ]
    for change, why in (
        ({"verdict": "maybe"}, "'verdict' is 'maybe'"),
        ({"context": 3}, "'context' is a text"),
    ):
        Path("l.jsonl").write_text(json.dumps({**good[0], **change}))
        with pytest.raises(EvaluationError, match=rf"l\.jsonl:1: {why}"):
            read_labels(Path("l.jsonl"))


# --- the command -------------------------------------------------------------------------------------


def test_the_command_prints_writes_and_tells_the_same():
    good = recording(Chat("test:good", GOOD), "good.jsonl")
    bad = recording(Chat("test:bad", BAD), "bad.jsonl")
    command = ["eval", "prompts", "--recorded", good, "--recorded", bad]
    text = rag(*command, "--to", "out/m.html", "--to", "out/m.md", "--junit", "out/j.xml", code=100).stdout
    for words in ("formal", "3/3", "0/3", "What did not pass", "Claims without support", "ten is not in"):
        assert words in text
    assert "<td>formal</td>" in Path("out/m.html").read_text()
    assert "http" not in Path("out/m.html").read_text()
    assert "| formal | test:bad | 0/3 |" in Path("out/m.md").read_text()
    assert [suite.get("failures") for suite in ElementTree.parse("out/j.xml").getroot()] == [
        "0",
        "3",
        "0",
        "3",
    ]
    told = json.loads(rag(*command, "--baseline", "test:good", "--json", code=3).stdout)
    assert told["totals"]["test:bad"]["count"] == 0
    assert [(one["measure"], one["verdict"]) for one in told["recheck"]] == [
        (name, "cannot tell") for name in ("formal", "plain", ALL)
    ]
    assert told["cells"][0]["tests"][0]["grounded"]["share"] == 1.0


def test_what_is_asked_wrongly_is_one_line():
    assert "ends in .html, .md or .json" in rag("eval", "prompts", "--to", "m.pdf", code=2).stderr
    assert "name it with --judge-model" in rag("eval", "prompts", "--labels", "l.jsonl", code=2).stderr
    assert "no test's description holds 'zzz'" in rag("eval", "prompts", "--filter", "zzz", code=2).stderr


def test_markup_in_answers_stays_text():
    made = matrix(Chat("test:evil", "<script>alert(1)</script> opens | at ten today."), names=["formal"])
    every = parts(made)
    assert "<script>" not in page(every)
    assert "<script>" not in markdown(every)


def test_without_feedback_there_are_no_labels_in_the_traces():
    with wired() as services:
        services.catalogue(create=True)
        with pytest.raises(NotFound):
            labels_from_traces(services)
