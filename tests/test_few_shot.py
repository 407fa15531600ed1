"""Few-shot examples: like the question, unlike each other, inside the budget, never the question itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from api.prompts.examples import ExampleSets
from api.services import Services, connect
from api.settings import load
from indexes.memo import MEMO, Memo
from rag.errors import InvalidTemplate, PromptError
from rag.prompts import PromptTemplate
from rag.prompts.examples import Chosen, Example, ExampleSettings, choose, read_examples, set_digest
from rag.testing import HashEmbedder
from rag.tokens import estimate_tokens
from rag.types import Document

CASES = {
    "a": ("Where is my parcel now?", "delivery"),
    "b": ("My parcel has not come yet, where is it?", "delivery"),
    "c": ("The parcel was left at the wrong door", "delivery"),
    "d": ("I was charged twice on my card", "payment"),
    "e": ("The card was refused, and the money is gone", "payment"),
    "f": ("How do I change my password?", "account"),
}
EXAMPLES = [Example(text, label, id=id) for id, (text, label) in CASES.items()]


def chosen(question: str, *, exclude: tuple[str, ...] = (), **settings: float) -> Chosen:
    embedder = HashEmbedder(dim=256)
    vectors = embedder.embed([example.input for example in EXAMPLES], input_type="query")
    (vector,) = embedder.embed([question], input_type="query")
    made = ExampleSettings(file="x", **{"k": 3, "diversity": 0.0, **settings})
    return choose(question, EXAMPLES, vectors=vectors, vector=vector, settings=made, exclude=exclude)


def ids(found: Chosen) -> list[str]:
    return [example.id for example in found.examples]


def test_the_most_similar_stand_last():
    found = ids(chosen("Where is my parcel, please?"))
    assert found[-1] == "a"
    assert set(found[-2:]) == {"a", "b"}


@pytest.mark.parametrize(
    "question",
    [
        "Where is my parcel now?",
        "WHERE is my   parcel now",
        "Hello. Where is my parcel now? Thank you very much",
        "where is my parcel",
    ],
)
def test_an_example_whose_input_is_the_question_is_never_taken(question: str):
    found = chosen(question, k=6)
    assert "a" not in ids(found)
    assert "a" in found.withheld


def test_a_question_that_differs_in_a_figure_is_another_question():
    embedder = HashEmbedder()
    some = [Example("Error 404 on the page of orders", "missing", id="x")]
    vectors = embedder.embed([some[0].input], input_type="query")
    found = choose(
        "Error 500 on the page of orders",
        some,
        vectors=vectors,
        vector=vectors[0],
        settings=ExampleSettings(),
    )
    assert ids(found) == ["x"]


def test_what_an_evaluation_excludes_is_never_taken():
    found = chosen("Where is my parcel, please?", exclude=("a", "b"), k=6)
    assert {"a", "b"}.isdisjoint(ids(found))
    assert set(found.withheld) >= {"a", "b"}


def test_diversity_takes_other_kinds_of_cases():
    vectors = np.array([[0.95, 0.31, 0.0], [0.94, 0.34, 0.0], [0.6, 0.0, 0.8]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vector = np.array([1.0, 0.0, 0.0], np.float32)
    taken = []
    for diversity in (0.0, 0.7):
        settings = ExampleSettings(file="x", k=2, diversity=diversity)
        some = [EXAMPLES[0], EXAMPLES[1], EXAMPLES[3]]
        taken.append(set(ids(choose("q", some, vectors=vectors, vector=vector, settings=settings))))
    assert taken == [{"a", "b"}, {"a", "d"}]


@pytest.mark.parametrize("budget", [1, 20, 40, 60, 100])
def test_the_examples_cost_no_more_than_their_budget_as_the_prompt_counts_them(budget: int):
    found = chosen("Where is my parcel, please?", budget=budget, k=6)
    value = [example.as_value() for example in found.examples]
    assert found.tokens == (estimate_tokens(str(value)) if value else 0)
    assert found.tokens <= budget
    assert bool(value) == (budget >= 40)


def test_one_that_says_what_a_chosen_one_says_is_passed_over():
    embedder = HashEmbedder()
    some = [
        Example("The parcel never came to me", "delivery", id="x"),
        Example("the parcel never came to me!", "delivery", id="y"),
        Example("I forgot my password", "account", id="z"),
    ]
    vectors = embedder.embed([one.input for one in some], input_type="query")
    settings = ExampleSettings(k=3, diversity=0.0)
    found = ids(choose("parcel lost", some, vectors=vectors, vector=vectors[0], settings=settings))
    assert found == ["z", "x"]


def test_no_example_is_none():
    settings = ExampleSettings()
    none = np.empty((0, 4), np.float32)
    assert choose("q", [], vectors=none, vector=np.ones(4, np.float32), settings=settings) == Chosen(
        (), 0, ()
    )


def test_the_digest_of_a_set_forgets_the_order_and_nothing_else():
    assert set_digest(EXAMPLES) == set_digest(EXAMPLES[::-1])
    assert set_digest(EXAMPLES) != set_digest(EXAMPLES[1:])
    assert set_digest([Example("a", "bc")]) != set_digest([Example("ab", "c")])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "x.jsonl holds no example"),
        ('{"input": "a", "output": "b"}\n{"input": 3, "output": "b"}', "x.jsonl, line 2: write {"),
        ("[1]", "line 1: write {"),
        ("{", "line 1: not JSON"),
        ('{"input": "a"}', "line 1: its input or its output is empty"),
        (
            '{"input": "a", "output": "b", "id": 1}\n{"input": "c", "output": "d", "id": 1}',
            "line 2: the id '1'",
        ),
    ],
)
def test_a_set_that_cannot_be_read_says_where(text: str, told: str):
    with pytest.raises(PromptError) as caught:
        read_examples(text, name="x.jsonl")
    assert told in str(caught.value)


def test_outputs_that_are_no_text_are_written_as_json_and_line_separators_stay_in_their_line():
    text = '{"input": "a\u2028b", "output": {"total": 3}}\n\n{"input": "c", "output": true}\n'
    assert [(one.input, one.output) for one in read_examples(text, name="x")] == [
        ("a\u2028b", '{"total": 3}'),
        ("c", "true"),
    ]


# --- from a file and from a collection, through the product ---------------------------------------

PROMPT = """---
name: triage
metadata:
  examples: {about}
inputs:
  - {{name: question, kind: string}}
  - {{name: examples, kind: array, required: false}}
---
system:
Name the department.
user:
{{% for e in examples %}}{{{{ e.input }}}} => {{{{ e.output }}}}
{{% endfor %}}{{{{ question }}}}"""


def prompt(about: str) -> PromptTemplate:
    return PromptTemplate.parse(PROMPT.format(about=about))


@pytest.fixture
def services(tmp_path: Path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    lines = [json.dumps({"id": id, "input": text, "output": label}) for id, (text, label) in CASES.items()]
    (folder / "cases.jsonl").write_text("\n".join(lines), "utf-8")
    env = {"RAG_EMBEDDER__MODEL": "all-MiniLM-L6-v2", "RAG_EMBEDDER__PRECISION": "float32"}
    with connect(load(start=tmp_path, env=env, overrides={})) as wired:
        yield wired


@pytest.mark.model
def test_a_file_of_examples_is_embedded_once_and_fills_the_prompt(services: Services):
    template = prompt("{file: cases.jsonl, k: 2, diversity: 0}")
    sets = ExampleSets(services)
    found = sets(template, "has the package been shipped?")
    assert [example.output for example in found] == ["delivery", "delivery"]
    value = [example.as_value() for example in found]
    made = template.render({"question": "has the package been shipped?", "examples": value})
    assert "=> delivery\n" in made.messages[1].content
    assert made.tokens["examples"] == sets.chosen(template, "has the package been shipped?").tokens
    embedder = services.embedder()
    memo = Memo(services.settings.data)
    inputs = [text for text, _ in CASES.values()]

    class Refusing(HashEmbedder):
        def __init__(self):
            super().__init__()
            self.info = embedder.info

        def embed(self, texts, *, input_type):
            raise AssertionError(texts)

    assert memo.vectors(Refusing(), inputs, input_type="query").shape == (6, 384)


@pytest.mark.model
def test_a_collection_of_examples_is_searched_and_its_own_item_left_out(services: Services):
    documents = [
        Document(id, text, metadata={"output": label} if id != "f" else {})
        for id, (text, label) in CASES.items()
    ]
    services.ingest_texts(documents, collection="cases")
    sets = ExampleSets(services)
    template = prompt("{collection: cases, k: 6, diversity: 0}")
    found = sets.chosen(template, "where is my parcel now")
    assert found.withheld == ("a",)
    assert ids(found)[-1] in ("b", "c")
    assert set(ids(found)) == {"b", "c", "d", "e"}
    assert "d" not in ids(sets.chosen(template, "charged twice", exclude=("d",)))
    services.ingest_texts([Document("x", "no output here")], collection="bare")
    with pytest.raises(PromptError, match="have no metadata `output`"):
        sets(prompt("{collection: bare}"), "q")


@pytest.mark.model
def test_a_set_that_is_not_there_is_an_error_that_says_how_to_make_it(services: Services):
    sets = ExampleSets(services)
    with pytest.raises(PromptError, match=r"there is no file none\.jsonl in .*write it"):
        sets(prompt("{file: none.jsonl}"), "q")
    services.ingest_texts([Document("x", "text")], collection="other")
    with pytest.raises(PromptError, match=r"no collection 'none'.*rag ingest examples\.jsonl -c none"):
        sets(prompt("{collection: none}"), "q")
    bare = PromptTemplate.parse(
        "---\nname: x\nmetadata: {examples: {file: cases.jsonl}}\ninputs: [{name: q}]\n---\nuser:\n{{ q }}"
    )
    with pytest.raises(PromptError, match="has no input for them"):
        sets(bare, "q")
    assert sets(PromptTemplate.parse("user:\nhi", name="plain"), "q") == ()


def test_a_file_of_examples_is_a_part_of_its_prompt_and_of_each_variant():
    about = "{file: ./cases.jsonl}\n  variants: {gpt: ./triage.gpt.prompty, llama: ./triage.llama.prompty}"
    files = {
        "support/cases.jsonl": '{"input": "a", "output": "b"}',
        "support/more.jsonl": '{"input": "c", "output": "d"}',
        "support/triage.gpt.prompty": "user:\n{{ question }}",
        "support/triage.llama.prompty": "---\nmetadata: {examples: {file: ./more.jsonl}}\n---\nuser:\nx",
    }
    text = PROMPT.format(about=about)

    def read() -> PromptTemplate:
        return PromptTemplate.parse(text, name="support/triage", read=files.__getitem__)

    template = read()
    assert dict(template.parts) == files
    assert "support/cases.jsonl" in template.for_model("gpt-5").parts
    assert "support/more.jsonl" in template.for_model("llama3").parts
    files["support/cases.jsonl"] += "\n"
    assert read().digest != template.digest
    assert read().for_model("gpt-5").digest != template.for_model("gpt-5").digest
    assert read().for_model("llama3").digest == template.for_model("llama3").digest
    del files["support/cases.jsonl"]
    with pytest.raises(InvalidTemplate, match=r"metadata\.examples: there is no file 'support/cases\.jsonl'"):
        read()


# --- what is remembered of texts -------------------------------------------------------------------


def test_a_memo_that_is_damaged_or_cannot_be_written_only_costs_time(tmp_path: Path):
    embedder = HashEmbedder()
    memo = Memo(tmp_path)
    memo.vectors(embedder, ["a", "b"], input_type="document")
    memo.note("facts", {"one": "1", "two": "2"})
    assert memo.notes("facts", ["two", "three"]) == {"two": "2"}
    assert memo.notes("others", ["two"]) == {}
    for path in tmp_path.glob(f"{MEMO.file}*"):
        path.write_bytes(b"no database" * 1000)
    assert memo.notes("facts", ["two"]) == {}
    again = memo.vectors(embedder, ["a"], input_type="document")
    assert (again == HashEmbedder().embed(["a"], input_type="document")).all()
    assert embedder.embedded == ["a", "b", "a"]
    memo.vectors(embedder, ["a"], input_type="document")
    assert embedder.embedded == ["a", "b", "a"]
    other = HashEmbedder(seed=1)
    assert not (memo.vectors(other, ["a"], input_type="document") == again).all()
    nowhere = tmp_path / "file"
    nowhere.write_text("in the way")
    assert Memo(nowhere / "below").vectors(embedder, ["a"], input_type="document").shape == (1, 64)
