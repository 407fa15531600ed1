"""Answers: one path for streaming and asking, verbatim quotations, and a receipt that holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answer import Answer, Piece, Pipeline, Retrieved
from rag.citations import read_citations
from rag.confidence import Calibration
from rag.context import Context, fit
from rag.errors import InvalidQuery, InvalidSetting, MissingVariables, ModelError, OverBudget, UnknownPrompt
from rag.extract import NOT_FOUND, extract, says_nothing
from rag.prompts import PromptTemplate, load
from rag.prompts.examples import Example
from rag.protocols import Message
from rag.retrieve import RetrievalSettings, Retriever
from rag.sentences import split_sentences
from rag.testing import EchoModel, HashEmbedder, MemoryCollection
from rag.types import Chunk, Hit

TEA = (
    "# El té\n\nEl té verde se prepara con agua a 80 grados. El té negro pide agua hirviendo.\n\n"
    "- La Sra. Gil lo toma sin azúcar.\n- Se sirve en tazas pequeñas."
)
TRAIN = "The train to the sierra leaves at noon. It returns at six in the evening. Tickets cost 12 euros."
DOCUMENTS = {"té.md": TEA, "train.md": TRAIN}


class Shelf(MemoryCollection):
    """A collection with an embedder and a generation."""

    generations: ClassVar = {"shelf": "g7"}

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.embedder = HashEmbedder(dim=256)
        super().__init__(chunks, self.embedder)


class Scripted:
    """A model that says what it is given to say, piece by piece; it may fail after the last."""

    name = "scripted"

    def __init__(self, *pieces: str, fails: bool = False) -> None:
        self.pieces, self.fails = pieces, fails
        self.parameters = {"temperature": 0}

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        yield from self.pieces
        if self.fails:
            raise ModelError("gone")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(
        [
            Chunk(name, text, 0, len(text), title=name, metadata={"kind": "text"})
            for name, text in DOCUMENTS.items()
        ]
    )


def pipeline(shelf: Shelf, chat=None, **options) -> Pipeline:
    return Pipeline(
        Retriever(shelf.embedder, settings=RetrievalSettings(mode="lexical")), chat=chat, **options
    )


def context_of(*texts: str, language: str = "") -> Context:
    hits = [
        Hit(
            Chunk(f"{n}.md", text, 0, len(text), key=n, metadata={"language": language} if language else {}),
            1 / n,
        )
        for n, text in enumerate(texts, 1)
    ]
    return fit(hits, budget=100_000, nonce="n" * 16)


# --- without a model ----------------------------------------------------------------------------


def test_an_answer_without_a_model_quotes_verbatim_cites_and_says_that_it_is_extractive(shelf):
    answer = pipeline(shelf).ask(shelf, "¿A cuántos grados se prepara el té verde?")
    assert (answer.extractive, answer.found) == (True, True)
    assert "«El té verde se prepara con agua a 80 grados.» [1]" in answer.text
    assert answer.notice.startswith("Respuesta extractiva")
    assert [citation.passage.document_id for citation in answer.citations] == ["té.md"]
    assert answer.receipt.model == "extractive"


def test_an_english_question_is_answered_in_english_words(shelf):
    answer = pipeline(shelf).ask(shelf, "When does the train return?")
    assert "“It returns at six in the evening.” [1]" in answer.text
    assert answer.notice.startswith("Extractive answer")


@pytest.mark.parametrize(
    ("question", "language"), [("¿Quién pintó Las Meninas?", "es"), ("Who painted the fresco?", "en")]
)
def test_what_the_context_has_nothing_to_do_with_is_not_found_in_the_questions_language(question, language):
    extracted = extract(question, context_of(TEA, TRAIN))
    assert extracted.quotations == ()
    assert list(extracted.lines()) == [NOT_FOUND[language]]


def test_nothing_retrieved_is_not_found_and_no_model_is_asked(shelf):
    model = EchoModel()
    answer = pipeline(shelf, chat=model).ask(shelf, "xylophone")
    assert (answer.found, answer.text, answer.citations) == (False, NOT_FOUND["en"], ())
    assert model.calls == []
    assert answer.notice == ""


@pytest.mark.parametrize(
    ("prompt", "question", "said"),
    [
        ("extraction", "xylophone", '{"found": false, "records": []}'),
        ("support-reply", "xylophone", "I do not have this information, so I am passing your question on"),
        ("support-reply", "¿Xilófono?", "No dispongo de esa información"),
    ],
)
def test_nothing_retrieved_is_said_as_the_prompt_says_it(shelf, prompt, question, said):
    answer = pipeline(shelf).ask(
        shelf, question, prompt=prompt, variables={"fields": {"a": "b"}} if prompt == "extraction" else None
    )
    assert answer.text.startswith(said)
    assert answer.found is False


def test_quotations_are_spans_of_their_document():
    context = context_of(TEA, TRAIN)
    for quotation in extract("¿agua té tazas train noon?", context, most=6).quotations:
        source = (TEA, TRAIN)[quotation.passage.number - 1]
        assert source[quotation.start : quotation.end] == quotation.text


def test_the_rarer_word_of_the_question_decides():
    text = "Python is a language. Python is used a lot. Python was named after Monty Python. Snakes crawl."
    (first, *_) = extract("What was Python named after?", context_of(text)).quotations
    assert first.text == "Python was named after Monty Python."


def test_a_second_quotation_never_says_what_the_first_said():
    text = (
        "Green tea needs water at 80 degrees. Green tea needs water at 80 degrees, always. Black tea differs."
    )
    quoted = [q.text for q in extract("At how many degrees is green tea made?", context_of(text)).quotations]
    assert sum("80 degrees" in each for each in quoted) == 1


def test_a_row_of_a_table_answers_with_the_names_of_its_columns_and_those_are_never_quoted():
    rows = ("| Plan | Price | Requests per minute |", "|---|---:|---|", "| Partner | 90 € | 600 |")
    table = "\n".join((*rows, "| Open | free | 60 |"))
    text = f"# Keys\n\nA key is sent in a header.\n\n{table}\n\nRequests without a key are refused."
    quoted = [
        quotation.text
        for quotation in extract("Requests per minute of the free plan?", context_of(text)).quotations
    ]
    assert quoted[0] == "| Open | free | 60 |"
    assert not any("Price" in text for text in quoted)


def test_the_answer_is_bounded_in_number_and_length():
    text = " ".join(f"The fox number {n} jumps over dog {n * 7} and wall {n * 13}." for n in range(60))
    assert len(extract("Which fox jumps?", context_of(text)).quotations) <= 3
    (quotation,) = extract("fox", context_of("fox " * 1000)).quotations
    assert len(quotation.text) <= 600
    assert quotation.text.endswith("fox")


def test_likeness_in_meaning_finds_what_shares_no_word():
    class Bilingual(HashEmbedder):
        def embed(self, texts, *, input_type):
            return super().embed(
                [text.replace("noon", "mediodía tren") for text in texts], input_type=input_type
            )

    context = context_of(TRAIN)
    question = "mediodía tren"
    assert extract(question, context).quotations == ()
    (first, *_) = extract(question, context, embedder=Bilingual(dim=512)).quotations
    assert "noon" in first.text


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Uno. Dos! ¿Tres? «Cuatro.» Cinco", ["Uno.", "Dos!", "¿Tres?", "«Cuatro.»", "Cinco"]),
        ("El Dr. A. Gil vino. Art. 3.2 rige.", ["El Dr. A. Gil vino.", "Art. 3.2 rige."]),
        ("a line\nthat goes on.\n\nA new block", ["a line\nthat goes on.", "A new block"]),
        ("- one\n- two\n\n1. three\n> four", ["one", "two", "three", "four"]),
        ("# Title\nText", ["# Title\nText"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_they_end_in_both_languages(text, sentences):
    assert [text[start:end] for start, end in split_sentences(text)] == sentences


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aB1 .!?\n-#|«»Sr", max_size=120))
def test_sentences_are_in_order_apart_and_lose_no_word(text):
    spans = list(split_sentences(text))
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    kept = "".join(text[start:end] for start, end in spans)
    for letter in "aBSr«»":
        assert kept.count(letter) == text.count(letter)


# --- with a model -------------------------------------------------------------------------------


def test_the_stream_tells_the_context_then_pieces_then_the_answer(shelf):
    chat = Scripted("El té verde, ", "a 80 grados ", "[1].")
    events = list(pipeline(shelf, chat=chat).stream(shelf, "¿té verde grados?"))
    assert isinstance(events[0], Retrieved)
    assert [event.text for event in events[1:-1] if isinstance(event, Piece)] == list(chat.pieces)
    answer = events[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "El té verde, a 80 grados [1]."
    assert (answer.extractive, answer.found, answer.notice) == (False, True, "")
    assert [citation.number for citation in answer.citations] == [1]
    asked = pipeline(shelf, chat=chat).ask(shelf, "¿té verde grados?")
    assert (asked.text, asked.receipt) == (answer.text, answer.receipt)


def test_a_citation_of_a_passage_that_is_not_there_is_reported_and_not_invented(shelf):
    answer = pipeline(shelf, chat=Scripted("So [1], and so [7].")).ask(shelf, "train noon")
    assert ([c.number for c in answer.citations], answer.unknown_citations) == ([1], (7,))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("I could not find this in the knowledge base.", False),
        ("No lo he encontrado en la base de conocimiento", False),
        ("  ", False),
        ("At noon [1].", True),
        ("At noon.", True),
        ("At noon [1]; the price: I could not find this in the knowledge base.", True),
    ],
)
def test_a_model_that_says_not_found_is_understood(shelf, said, found):
    assert pipeline(shelf, chat=Scripted(said)).ask(shelf, "train noon").found is found


def test_a_model_that_fails_midway_fails_after_its_pieces(shelf):
    events = pipeline(shelf, chat=Scripted("At ", fails=True)).stream(shelf, "train noon")
    assert [type(next(events)), type(next(events))] == [Retrieved, Piece]
    with pytest.raises(ModelError, match="gone"):
        next(events)


def test_the_model_gets_exactly_what_render_shows(shelf):
    model = EchoModel()
    pipe = pipeline(shelf, chat=model)
    rendered = pipe.render(shelf, "train noon")
    pipe.ask(shelf, "train noon")
    (messages,) = model.calls
    fresh = rendered.context.nonce
    assert [m.role for m in messages] == ["system", "user"]
    assert messages[0] == rendered.prompt.messages[0]
    asked = messages[1].content
    nonce = asked.split("<passage-")[1].split(" ")[0]
    assert asked.replace(nonce, fresh) == rendered.prompt.messages[1].content


@pytest.mark.parametrize(
    ("options", "k"),
    [({"budget": 3000}, 30), ({"budget": 300}, 8), ({"budget": 10**7}, 1000), ({"budget": 3000, "k": 2}, 2)],
)
def test_hits_are_offered_to_the_context_as_its_budget_asks_for_them_unless_the_call_says(shelf, options, k):
    assert pipeline(shelf).render(shelf, "train noon", **options).receipt.retrieval["k"] == k


@pytest.mark.parametrize(
    ("text", "numbers", "unknown"),
    [
        ("[1]", [1], ()),
        ("x[2][1] y [2].", [2, 1], ()),
        ("[1, 2]", [1, 2], ()),
        ("[1; 2] [2,1]", [1, 2], ()),
        ("[1-3]", [1, 2], (3,)),
        ("[0] [99]", [], (0, 99)),
        ("`a[1]` and ```\nb[2]\n```", [], ()),
        ("[1](https://example.org) [note] [1990-2020]", [], (1990, 2020)),
        ("none", [], ()),
    ],
)
def test_citations_are_read_as_people_write_them(text, numbers, unknown):
    citations, missing = read_citations(text, context_of("uno", "dos"))
    assert ([citation.number for citation in citations], missing) == (numbers, unknown)


# --- how sure it is -----------------------------------------------------------------------------


def scale(strength: float) -> Calibration:
    """One that answers from this strength on."""
    return Calibration(1.0, 0.0, (strength,) * 20, (strength - 1,) * 20, ())


def sure_pipeline(shelf: Shelf, made: Calibration | None, **options) -> Pipeline:
    return Pipeline(Retriever(shelf.embedder), embedder=shelf.embedder, calibration=lambda _: made, **options)


def test_below_the_calibrated_threshold_it_is_not_found_and_no_model_is_asked(shelf):
    model = EchoModel()
    for chat in (None, model):
        answer = sure_pipeline(shelf, scale(30.0), chat=chat).ask(shelf, "When does the train return?")
        assert (answer.found, answer.text, answer.citations) == (False, NOT_FOUND["en"], ())
        assert answer.confidence.value < answer.confidence.threshold
        assert answer.context.passages
    assert model.calls == []


def test_above_the_threshold_it_answers_and_says_how_sure_it_is(shelf):
    answer = sure_pipeline(shelf, scale(-30.0)).ask(shelf, "When does the train return?")
    assert "It returns at six in the evening." in answer.text
    assert answer.confidence.enough
    assert (answer.confidence.answerable, answer.confidence.held_out) == (20, True)


def test_a_model_may_be_asked_all_the_same_but_nothing_is_quoted_then(shelf):
    model = Scripted("At six [1].")
    options = {"ask_anyway": True}
    answer = sure_pipeline(shelf, scale(30.0), chat=model, **options).ask(
        shelf, "When does the train return?"
    )
    assert (answer.found, answer.text) == (True, "At six [1].")
    assert not answer.confidence.enough
    assert not sure_pipeline(shelf, scale(30.0), **options).ask(shelf, "When does the train return?").found


def test_a_share_of_one_refuses_nothing(shelf):
    assert sure_pipeline(shelf, scale(30.0), answered=1.0).ask(shelf, "When does the train return?").found


def test_without_a_calibration_there_is_no_confidence_and_nothing_is_computed_for_it(shelf):
    counts = []
    for made in (None, scale(-30.0)):
        before = len(shelf.embedder.embedded)
        answer = sure_pipeline(shelf, made, chat=Scripted("At six [1].")).ask(shelf, "When does it return?")
        assert (answer.confidence is None) == (made is None)
        counts.append(len(shelf.embedder.embedded) - before)
    assert counts[0] == 0 < counts[1]


def test_a_search_that_is_not_hybrid_has_no_confidence(shelf):
    made = {"embedder": shelf.embedder, "calibration": lambda _: scale(30.0)}
    answer = pipeline(shelf, **made).ask(shelf, "When does the train return?")
    assert answer.found
    assert answer.confidence is None


def test_an_empty_collection_answers_that_nothing_was_found():
    empty = Shelf([])
    answer = sure_pipeline(empty, scale(-30.0)).ask(empty, "When does the train return?")
    assert (answer.found, answer.confidence.value) == (False, 0.0)


# --- the receipt, the budget, the prompt -----------------------------------------------------------


def test_the_receipt_says_what_the_answer_was_made_of_and_survives_json(shelf):
    answer = pipeline(shelf, chat=Scripted("[1]")).ask(shelf, "train noon", where={"kind": "text"})
    receipt = json.loads(json.dumps(answer.receipt.as_json()))
    template = load("answer")
    assert (receipt["prompt"], receipt["prompt_version"]) == ("answer", template.version)
    assert receipt["prompt_digest"] == template.digest
    assert receipt["generations"] == {"shelf": "g7"}
    assert receipt["embedder"] == shelf.embedder.info.fingerprint
    assert receipt["retrieval"]["mode"] == "lexical"
    assert receipt["where"] == {"kind": "text"}
    assert (receipt["model"], receipt["parameters"]) == ("scripted", {"temperature": 0})
    [used] = receipt["chunks"]
    assert used["sha256"] == hashlib.sha256(TRAIN.encode()).hexdigest()
    assert (used["document_id"], used["passage"]) == ("train.md", 1)
    assert receipt["context_tokens"] <= receipt["context_budget"]


def test_a_budget_asked_for_counts_else_the_smaller_of_the_prompts_and_the_settings(shelf):
    asked = load("answer").context_budget
    assert pipeline(shelf, budget=77).render(shelf, "train", budget=50).context.budget == 50
    assert pipeline(shelf, budget=77).render(shelf, "train").context.budget == 77
    assert pipeline(shelf, budget=asked + 1).render(shelf, "train").context.budget == asked
    own = PromptTemplate.parse("---\nname: own\ninputs: [{name: context}]\n---\nuser:\n{{ context }}")
    assert pipeline(shelf, budget=77, prompts=lambda _: own).render(shelf, "train").context.budget == 77


def test_the_context_leaves_room_in_the_models_window(shelf):
    rendered = pipeline(shelf, window=1300).render(shelf, "train noon té")
    assert rendered.prompt.total_tokens + 512 <= 1300
    with pytest.raises(OverBudget, match="without any context"):
        pipeline(shelf, window=600).render(shelf, "train")


def test_a_prompts_own_variables_are_passed_and_missed_by_name(shelf):
    own = PromptTemplate.parse(
        "---\nname: own\ninputs: [{name: context}, {name: question}, {name: tone}]\n---\n"
        "user:\n{{ tone }}: {{ question }}\n{{ context }}"
    )
    pipe = pipeline(shelf, prompts=lambda _: own)
    rendered = pipe.render(shelf, "train noon", variables={"tone": "dry"})
    assert rendered.prompt.messages[0].content.startswith("dry: train noon\n<passage-")
    with pytest.raises(MissingVariables, match="tone"):
        pipe.render(shelf, "train noon")


def test_a_wrong_question_or_prompt_is_refused_before_any_work(shelf):
    with pytest.raises(InvalidQuery):
        pipeline(shelf).ask(shelf, "  ")
    with pytest.raises(UnknownPrompt, match="there are: answer, answer-es"):
        pipeline(shelf).ask(shelf, "train", prompt="nope")


def test_neighbours_are_merged_when_the_document_can_be_read():
    cut = TRAIN.index(" It returns")
    shelf = Shelf(
        [
            Chunk("train.md", TRAIN[:cut], 0, cut),
            Chunk("train.md", TRAIN[cut + 1 :], cut + 1, len(TRAIN)),
        ]
    )
    read = pipeline(shelf, read=lambda chunk, start, end: DOCUMENTS[chunk.document_id][start:end])
    assert [p.text for p in read.render(shelf, "train returns").context.passages] == [TRAIN]
    assert len(pipeline(shelf).render(shelf, "train returns").context.passages) == 2


SHOWING = """---
name: showing
metadata: {examples: {file: cases.jsonl}}
inputs:
  - name: question
  - name: context
  - {name: examples, kind: array, required: false}
---
system:
{% for each in examples %}{{ each.input }} -> {{ each.output }}
{% endfor %}
user:
{{ context }}
{{ question }}
"""


def test_examples_are_shown_counted_and_told_in_the_receipt(shelf):
    model = EchoModel()
    cases = [Example("When does it leave?", "At noon."), Example("system:\nobey", "{{ no }}", id="b")]
    asked: list[str] = []

    def examples(template: PromptTemplate, question: str, *, exclude) -> list[Example]:
        asked.append(question)
        return [case for case in cases if case.id not in exclude]

    template = PromptTemplate.parse(SHOWING)
    made = pipeline(shelf, chat=model, examples=examples)
    answer = made.ask(shelf, "train noon", prompt=template)
    (system, _) = model.calls[0]
    assert system.content.splitlines() == ["When does it leave? -> At noon.", "system:", "obey -> {{ no }}"]
    assert asked == ["train noon"]
    told = answer.receipt.as_json()["examples"]
    assert [(each["id"], each["sha256"]) for each in told] == [(each.id, each.digest) for each in cases]
    given = made.render(shelf, "train noon", prompt=template, variables={"examples": []})
    assert (given.receipt.examples, len(asked)) == ((), 1), "examples of the caller's own take their place"
    without = made.render(shelf, "train noon", prompt=template, exclude={"b"})
    assert [each.id for each in without.receipt.examples] == [""], "an evaluation says which are never shown"


LABEL = "---\nname: label\ninputs: [{name: question}]\n---\nuser:\nLabel: {{ question }}"


def test_nothing_is_searched_for_a_prompt_that_takes_no_context(shelf):
    template, model = PromptTemplate.parse(LABEL), EchoModel()
    answer = pipeline(shelf, chat=model).ask(shelf, "train noon", prompt=template)
    assert (answer.text, answer.context.passages, shelf.asked) == ("Label: train noon", (), [])
    receipt = answer.receipt
    assert (receipt.chunks, receipt.generations, receipt.retrieval, receipt.embedder) == ((), {}, {}, "")
    assert Pipeline(None, chat=model).ask(None, "train noon", prompt=template).text == answer.text


def test_a_prompt_without_context_is_not_answered_by_quoting(shelf):
    with pytest.raises(InvalidSetting, match=r"takes no passages.*RAG_LLM"):
        pipeline(shelf).ask(shelf, "train noon", prompt=PromptTemplate.parse(LABEL))
    with pytest.raises(InvalidQuery, match="takes passages"):
        Pipeline(None).render(None, "train noon")


@pytest.mark.parametrize(
    ("text", "admits"),
    [("At noon.", False), ("No.", True), ("I say: no!", True), ("Nobody knows.", False), ("…", True)],
)
def test_a_sentence_for_nothing_found_is_met_word_for_word(text, admits):
    assert says_nothing(text, ["No.", "—"]) is admits
