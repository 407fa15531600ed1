"""Synthetic judged sets: what is asked, with which evidence, and what is dropped."""

from __future__ import annotations

import json
import random
from collections import Counter

import numpy as np
import pytest
from scipy.stats import kendalltau
from typer.testing import CliRunner

from api.cli import app
from rag.errors import EvaluationError
from rag.evaluate import read_beir
from rag.evaluate.synthetic import HELD_OUT, KINDS, by_model, kendall, synthesise
from rag.evaluate.synthetic.agreement import agreement
from rag.evaluate.synthetic.facts import from_facts
from rag.evaluate.synthetic.headings import from_headings
from rag.evaluate.synthetic.reading import Reading, Vocabulary
from rag.evaluate.synthetic.terms import from_terms
from rag.evaluate.synthetic.variants import mistyped, paraphrased
from rag.evaluate.synthetic.written import read_answer
from rag.sentences import split_sentences
from rag.testing import HashEmbedder, MemoryCollection
from rag.types import Chunk, Document, Hit

PLACES = {
    "en": [
        (
            "harbour",
            "fishermen",
            "lighthouse",
            1819,
            24,
            "mussels, herring and crabs, sold by weight on slate counters",
        ),
        (
            "orchard",
            "gardeners",
            "greenhouse",
            1843,
            310,
            "apricots, quinces and medlars, picked with long ladders",
        ),
        (
            "theatre",
            "musicians",
            "auditorium",
            1902,
            45,
            "operettas, ballads and pantomimes, sung without amplifiers",
        ),
        (
            "railway",
            "conductors",
            "turntable",
            1868,
            17,
            "locomotives, wagons and sleepers, greased with tallow",
        ),
        (
            "museum",
            "curators",
            "planetarium",
            1931,
            92,
            "fossils, meteorites and sextants, labelled in Latin",
        ),
    ],
    "es": [
        (
            "puerto",
            "pescadores",
            "faro",
            1821,
            26,
            "mejillones, arenques y cangrejos, vendidos en mostradores de pizarra",
        ),
        (
            "huerto",
            "jardineros",
            "invernadero",
            1847,
            320,
            "albaricoques, membrillos y nísperos, cogidos con escaleras",
        ),
        (
            "teatro",
            "músicos",
            "escenario",
            1904,
            48,
            "zarzuelas, baladas y pantomimas, cantadas sin micrófono alguno",
        ),
        (
            "mercado",
            "comerciantes",
            "almacén",
            1866,
            19,
            "azafrán, lentejas y alpargatas, pesados con balanzas romanas",
        ),
        (
            "convento",
            "monjes",
            "claustro",
            1733,
            94,
            "manuscritos, cálices y retablos, guardados tras rejas labradas",
        ),
    ],
}
TEXTS = {
    "en": """# The {0}

## Why is the {0} closed in winter?

The {0} is closed in winter because the {2} has no heating at all.

## Building the {2}

The {2} of the {0} was built in {3} by volunteers. The council paid for {4} {1} who worked there.

The {1} kept the {2} clean, repaired its windows every spring and painted the doors of the {0} blue.
There were {5}.
""",
    "es": """# El {0}

## ¿Por qué cierra el {0} en invierno?

El {0} cierra en invierno porque el {2} no tiene ninguna calefacción.

## Construcción del {2}

El {2} del {0} fue construido en {3} por voluntarios. El municipio pagó a {4} {1} que trabajaban allí.

Los {1} mantenían limpio el {2}, reparaban sus ventanas cada primavera y pintaban de azul las puertas del {0}.
Allí había {5}.
""",
}


def documents() -> list[Document]:
    return [
        Document(
            f"{language}/{place[0]}.md",
            TEXTS[language].format(*place),
            title=place[0].capitalize(),
            metadata={"language": language},
        )
        for language, places in PLACES.items()
        for place in places
    ]


def searching(given: list[Document]):
    """Both legs over one chunk a paragraph, in memory."""
    chunks = [
        Chunk(each.id, part, at := each.text.index(part), at + len(part), title=each.title)
        for each in given
        for part in each.text.split("\n\n")
    ]
    embedder = HashEmbedder(dim=512)
    shelf = MemoryCollection(chunks, embedder)

    def search(question: str) -> list[list[Hit]]:
        [vector] = embedder.embed([question], input_type="query")
        found = shelf.rank(vector=vector, vector_k=50, text=question, text_k=50, where={})
        read = dict(zip(found.keys.tolist(), shelf.read(found.keys.tolist()), strict=True))
        return [
            [
                Hit(read[key], float(score))
                for key, score in sorted(zip(read, scores, strict=True), key=lambda pair: -pair[1])
            ]
            for scores in (found.bm25, found.cosines)
        ]

    return search


def made(**options):
    return synthesise("s", documents(), searching(documents()), **({"size": 40} | options))


def text_of(id: str) -> str:
    return next(each.text for each in documents() if each.id == id)


def english(text: str, *, title: str = "") -> Reading:
    return Reading.of(Document("d", text, title=title, metadata={"language": "en"}))


def spanish(text: str, *, title: str = "") -> Reading:
    return Reading.of(Document("d", text, title=title, metadata={"language": "es"}))


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "The bridge over the river was built in 1819.",
            "In what year was the bridge over the river built?",
            "1819",
        ),
        (
            "The council opened the new library on 3 May 1987.",
            "When the council opened the new library?",
            "3 May 1987",
        ),
        ("The tower was designed by Gustave Eiffel.", "By whom was the tower designed?", "Gustave Eiffel"),
        (
            "The company sold 240 bicycles to the city.",
            "How many bicycles the company sold to the city?",
            "240",
        ),
        (
            "About 35% of the members voted against the plan.",
            "What percentage of the members voted against the plan?",
            "35%",
        ),
        (
            "The repair of the roof cost $4,500 last year.",
            "How much money the repair of the roof cost last year?",
            "$4,500",
        ),
        (
            "Photosynthesis is the process by which plants make sugar.",
            "What is Photosynthesis?",
            "the process by which plants make sugar",
        ),
        (
            "The road is closed to trucks because the bridge is weak.",
            "Why is the road closed to trucks?",
            "because the bridge is weak",
        ),
    ],
)
def test_a_fact_of_an_english_sentence_is_asked_with_the_word_of_its_kind(sentence, question, answer):
    asked = {
        (draft.text, draft.answer) for seed in range(8) for draft in from_facts(english(sentence), seed=seed)
    }
    assert (question, answer) in asked


@pytest.mark.parametrize(
    ("sentence", "question", "answer"),
    [
        (
            "El puente sobre el río fue construido en 1819.",
            "¿En qué año el puente sobre el río fue construido?",
            "1819",
        ),
        (
            "El municipio abrió la biblioteca el 3 de mayo de 1987.",
            "¿Cuándo el municipio abrió la biblioteca?",
            "3 de mayo de 1987",
        ),
        ("La torre fue diseñada por Gustave Eiffel.", "¿Por quién la torre fue diseñada?", "Gustave Eiffel"),
        (
            "La empresa vendió 240 bicicletas a la ciudad.",
            "¿Cuántas bicicletas la empresa vendió a la ciudad?",
            "240",
        ),
        (
            "La asamblea resolvió 12 problemas del barrio.",
            "¿Cuántos problemas la asamblea resolvió del barrio?",
            "12",
        ),
        (
            "El 35 % de los socios votó contra el plan.",
            "¿Qué porcentaje de los socios votó contra el plan?",
            "35 %",
        ),
        (
            "La fotosíntesis es el proceso con que las plantas hacen azúcar.",
            "¿Qué es la fotosíntesis?",
            "el proceso con que las plantas hacen azúcar",
        ),
        (
            "La calle está cerrada al tráfico porque el puente es débil.",
            "¿Por qué la calle está cerrada al tráfico?",
            "porque el puente es débil",
        ),
    ],
)
def test_a_fact_of_a_spanish_sentence_is_asked_with_the_word_of_its_kind(sentence, question, answer):
    asked = {
        (draft.text, draft.answer) for seed in range(8) for draft in from_facts(spanish(sentence), seed=seed)
    }
    assert (question, answer) in asked


def test_a_sentence_that_hangs_on_another_is_asked_with_the_name_of_its_document_or_not_at_all():
    text = "It was built for the world fair in 1889."
    [draft] = from_facts(english(text, title="Eiffel Tower"), seed=0)
    assert draft.text == "Eiffel Tower: in what year was it built for the world fair?"
    assert list(from_facts(english(text), seed=0)) == []
    [draft] = from_facts(spanish("Fundó la escuela de la ciudad en 1889.", title="Ana Ruiz"), seed=0)
    assert draft.text == "Ana Ruiz: ¿en qué año fundó la escuela de la ciudad?"


def test_code_tables_and_headings_give_no_facts():
    said = "the bridge was built here"
    text = f"# In 1819 {said}\n\n```\nIn 1820 {said}.\n```\n\n| In 1821 | {said} |\n"
    assert list(from_facts(english(text), seed=0)) == []


def test_a_heading_that_asks_is_asked_as_it_stands_and_one_that_says_nothing_is_not():
    asks = "## ¿Cuánto cuesta un día?\n\nUn día cuesta cuatro euros en la ciudad."
    text = f"# Alquiler\n\n{asks}\n\n## Introducción\n\nAquí se explica todo lo demás que hay."
    drafts = list(from_headings(spanish(text)))
    assert [draft.text for draft in drafts] == ["¿Cuánto cuesta un día?"]
    assert text[drafts[0].start : drafts[0].end] == "Un día cuesta cuatro euros en la ciudad."


def test_keywords_are_words_of_one_paragraph_that_few_others_hold():
    readings = [Reading.of(each) for each in documents()]
    vocabulary = Vocabulary.of(readings)
    for reading in readings:
        for draft in from_terms(reading, vocabulary, seed=0):
            words = draft.text.split()
            assert 3 <= len(words) <= 5
            assert all(word in reading.document.text[draft.start : draft.end].lower() for word in words)


def test_typing_in_a_hurry_loses_accents_but_never_an_enye_and_slips_in_some_words():
    for seed in range(30):
        text = mistyped("¿Cuándo construyó España los molinos antiguos?", "es", random.Random(seed))
        words = text.split()
        assert len(words) == 6
        assert not set("áéíóú¿?") & set(text)
        kept = Counter(["cuando", "construyo", "españa", "los", "molinos", "antiguos"]) & Counter(words)
        assert 3 <= kept.total() <= 5


def test_a_paraphrase_only_uses_forms_that_the_collection_uses():
    vocabulary = Vocabulary.of([english("The libraries close. The libraries open. " * 9)])
    asked = "When does the library close on Sundays?"
    seen = {paraphrased(asked, "en", random.Random(seed), vocabulary) for seed in range(20)}
    assert all("libraries" in each for each in seen)
    assert any(each.startswith("tell me") for each in seen)
    assert any(each == "libraries close sundays" for each in seen)


# --- the set ------------------------------------------------------------------------------------


def test_every_question_has_evidence_where_it_says_and_tells_its_kind_language_and_document():
    judged = made().judged
    assert len(judged.queries) >= 25
    for each in judged.judgements:
        assert text_of(each.document_id)[each.start :].startswith(each.quotation)
    for query in judged.queries:
        assert query.metadata["kind"] in KINDS
        assert query.metadata["language"] in ("en", "es")
        assert judged.qrels[query.id][query.metadata["document"]] == 1


def test_the_set_is_balanced_over_kinds_languages_and_documents():
    sizes = made(size=30).sizes
    assert {kind for kind, _ in sizes} == set(KINDS)
    spoken = Counter()
    for (_, language), count in sizes.items():
        spoken[language] += count
    assert abs(spoken["en"] - spoken["es"]) <= 6
    asked = Counter(query.metadata["document"] for query in made(size=30).judged.queries)
    assert len(asked) == 10


def test_the_same_seed_gives_the_same_set_whatever_the_order_and_another_another():
    given = documents()
    again = synthesise("s", reversed(given), searching(given), size=40)
    assert again.judged.digest == made().judged.digest != made(seed=1).judged.digest


def test_a_question_that_nothing_finds_is_dropped_and_counted():
    with pytest.raises(EvaluationError, match="not found"):
        synthesise("s", documents(), lambda _: [[]], size=10)
    blind = synthesise("s", documents(), lambda _: [[]], size=10, within=0, clear=False)
    assert len(blind.judged.queries) == 10


def test_two_documents_that_say_the_same_are_both_relevant_and_two_that_differ_are_told_apart_by_name():
    text = "The {} was opened to the public in {} after long repairs."
    same = [
        Document(name, text.format("castle", 1888), title=name, metadata={"language": "en"}) for name in "ab"
    ]
    one = synthesise("s", same, searching(same), kinds=["fact"], size=1).judged
    assert dict(one.qrels[one.queries[0].id]) == {"a": 1, "b": 1}
    differ = [
        Document(name, text.format("castle", year), title=name, metadata={"language": "en"})
        for name, year in (("Northern agreement", 1888), ("Southern agreement", 1923))
    ]
    told = synthesise("s", differ, searching(differ), kinds=["fact"], size=2).judged
    assert {query.text.partition(":")[0] for query in told.queries} == {
        "Northern agreement",
        "Southern agreement",
    }
    nameless = [Document(each.id, each.text, metadata=each.metadata) for each in differ]
    with pytest.raises(EvaluationError, match="2 ambiguous"):
        synthesise("s", nameless, searching(nameless), kinds=["fact"], size=2)


def test_questions_on_documents_held_out_have_no_answer_in_those_that_are_left():
    outcome = made(hold_out=0.2)
    assert len(outcome.left_out) == 2
    assert outcome.judged.unanswerable
    for query in outcome.judged.unanswerable:
        assert query.metadata["kind"] == HELD_OUT
        assert query.metadata["document"] in outcome.left_out
    assert not {query.metadata["document"] for query in outcome.judged.queries} & set(outcome.left_out)


def test_an_unknown_kind_is_refused_with_those_there_are():
    with pytest.raises(EvaluationError, match="no kind 'riddle'; there are heading, fact"):
        made(kinds=["riddle"])


# --- a language model ---------------------------------------------------------------------------


class Scribe:
    """Asks for the first sentence of every passage, but every third time it babbles."""

    name = "scribe"

    def __init__(self):
        self.calls = 0

    def stream(self, messages):
        self.calls += 1
        passage = messages[-1].content.split("\n", 1)[1].rpartition("\n")[0]
        start, end = next(split_sentences(passage))
        said = {"question": f"Which place is meant, number {self.calls}?", "quotation": passage[start:end]}
        yield "Sure! Here is one." if self.calls % 3 == 0 else f"```json\n{json.dumps(said)}\n```"


def test_a_models_question_is_taken_with_a_quotation_that_stands_there_and_refused_without():
    refused: list[str] = []
    outcome = made(
        kinds=[], size=6, written=by_model(Scribe(), seed=0, refused=refused.append), within=0, clear=False
    )
    assert {query.metadata["kind"] for query in outcome.judged.queries} == {"written"}
    assert set(refused) == {"it is not JSON"}
    for each in outcome.judged.judgements:
        assert text_of(each.document_id)[each.start :].startswith(each.quotation)


@pytest.mark.parametrize(
    "answer",
    ["", "[1]", '{"question": 1}', "{" * 5000, '{"question": "A?", "quotation": "not there"}', "null"],
)
def test_what_a_model_says_is_taken_for_data(answer):
    question, _, wrong = read_answer(answer, "The passage.")
    assert not question
    assert wrong


# --- agreement ----------------------------------------------------------------------------------


def test_kendalls_tau_is_scipys():
    drawn = np.random.default_rng(0)
    for _ in range(50):
        one, other = drawn.integers(0, 6, (2, 12))
        assert kendall(one, other) == pytest.approx(kendalltau(one, other).statistic)


def test_agreement_is_high_with_a_set_like_it_and_its_interval_holds_it():
    drawn = np.random.default_rng(1)

    def asked(prefix):
        return {
            f"system{n}": {f"{prefix}{q}": float(drawn.random() < 0.1 + n / 12) for q in range(200)}
            for n in range(9)
        }

    found = agreement(asked("p"), asked("s"), draws=200)
    assert found.low <= found.tau <= found.high
    assert found.tau > 0.8
    assert (found.systems, found.people, found.synthetic) == (9, 200, 200)


# --- rag eval synth -----------------------------------------------------------------------------


def rag(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.mark.model
def test_a_set_is_made_of_a_collection_kept_and_written_without_the_documents_held_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    for each in documents():
        (path := tmp_path / "docs" / each.id).parent.mkdir(parents=True, exist_ok=True)
        path.write_text(each.text, "utf-8")
    rag("ingest", "docs")
    lines = rag("eval", "synth", "default", "--size", 12).stdout.splitlines()
    assert lines[0] == "default-synthetic: 12 questions about 10 documents of default"
    assert "Nobody judged this set" in "\n".join(lines)
    assert lines[-1] == "Next: rag eval run default-synthetic --collection default"
    [kept] = json.loads(rag("eval", "sets", "--json").stdout)["sets"]
    assert (kept["name"], kept["questions"], kept["unanswerable"]) == ("default-synthetic", 12, 0)

    told = json.loads(
        rag("eval", "synth", "default", "--to", "out", "--size", 20, "--hold-out", 0.2, "--json").stdout
    )
    assert (len(told["held_out"]), told["folder"]) == (2, "out")
    judged = read_beir(tmp_path / "out")
    there = {each.id for each in judged.documents()}
    assert len(there) == 8
    assert not there & set(told["held_out"])
    assert {query.metadata["document"] for query in judged.unanswerable} <= set(told["held_out"])
    assert "is there already" in rag("eval", "synth", "default", "--to", "out", code=2).stderr
    assert "--to FOLDER" in rag("eval", "synth", "default", "--hold-out", 0.2, code=2).stderr
    assert "[llm] model" in rag("eval", "synth", "default", "--llm", code=2).stderr
    assert "there are: default" in rag("eval", "synth", "nope", code=2).stderr
