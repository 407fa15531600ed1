"""Confidence: what speaks for an answer, and a scale that says what a threshold lets through."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.calibrate import Asked, read_questions
from rag.confidence import FEWEST, calibrate
from rag.errors import EvaluationError, InvalidSetting
from rag.retrieve import RetrievalSettings, Retriever
from rag.support import READ, Support, gather
from rag.testing import HashEmbedder, MemoryCollection
from rag.types import Chunk

SHARED = Path(__file__).parents[2] / "shared" / "data"

SUBJECTS = (
    "ferry",
    "tram",
    "museum",
    "library",
    "harbour",
    "market",
    "stadium",
    "garden",
    "theatre",
    "airport",
)
FACTS = {
    "opening": "The doors open at nine in the morning and close at six.",
    "price": "A ticket costs twelve euros, half of that for children.",
    "history": "An engineer from Lisbon built it after the great storm of 1911.",
}


def chunks(language: str = "en") -> list[Chunk]:
    return [
        Chunk(
            f"{subject}/{kind}",
            f"{fact} Everybody in town knows the {subject}.",
            0,
            len(fact),
            breadcrumb=f"The {subject}",
            key=10 * place + number + 1,
            metadata={"language": language},
        )
        for place, subject in enumerate(SUBJECTS)
        for number, (kind, fact) in enumerate(FACTS.items())
    ]


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder(dim=256)


def asked(
    embedder: HashEmbedder,
    question: str,
    *,
    kept: list[Chunk] | None = None,
    without: frozenset[str] = frozenset(),
    **settings,
) -> Support:
    shelf = MemoryCollection(chunks() if kept is None else kept, embedder)
    retriever = Retriever(embedder, settings=RetrievalSettings(links=0, **settings))
    return gather(retriever.trace(shelf, question), shelf, embedder=embedder, without=without)


# --- what speaks for an answer ------------------------------------------------------------------


def test_a_question_that_is_answered_has_more_for_it_than_one_on_the_same_subject_that_is_not(embedder):
    answered = asked(embedder, "Who built the museum after the great storm?")
    related = asked(embedder, "Which painter designed the museum logo?")
    foreign = asked(embedder, "Does photosynthesis need chlorophyll?")
    assert answered.strength > related.strength > foreign.strength
    assert answered.beyond > related.beyond
    assert answered.said > related.said


def test_a_held_out_document_counts_as_if_it_had_never_been_there(embedder):
    question = "Who built the museum after the great storm?"
    held = asked(embedder, question, without=frozenset({"museum/history"}))
    whole = asked(embedder, question)
    assert held.near < whole.near
    everything = frozenset(chunk.document_id for chunk in chunks())
    assert asked(embedder, question, without=everything) == Support()


def test_the_passage_whose_tokens_meet_the_question_speaks_for_an_answer():
    coding = HashEmbedder(dim=256, tokens=True)
    question = "Who built the museum after the great storm?"
    answered = asked(coding, question)
    assert answered.met > asked(coding, question, without=frozenset({"museum/history"})).met
    assert math.isnan(asked(coding, "Does photosynthesis need chlorophyll?").met)  # none meets any of it
    assert math.isnan(asked(coding, question, token_pool=2).met)  # of two none can stand far above the other
    assert math.isnan(asked(HashEmbedder(dim=256), question).met)


def test_without_headings_the_other_signals_decide(embedder):
    bare = [Chunk(c.document_id, c.text, 0, c.end, key=c.key, metadata=c.metadata) for c in chunks()]
    support = asked(embedder, "Who built the museum?", kept=bare)
    assert math.isnan(support.beyond)
    assert math.isfinite(support.strength)


def test_a_question_in_another_language_is_not_held_against_the_words_of_the_passages(embedder):
    support = asked(embedder, "¿Quién construyó el museum después de la gran tormenta?")
    assert math.isnan(support.said)
    assert math.isfinite(support.strength)


def test_words_alone_do_not_tell_how_much_speaks_for_an_answer(embedder):
    assert asked(embedder, "Who built the museum?", mode="lexical") == Support()
    assert Support().strength == -math.inf


def test_the_evidence_is_the_same_however_few_hits_are_asked_for(embedder):
    question = "Who built the museum after the great storm?"
    assert asked(embedder, question, k=1) == asked(embedder, question, k=20)


def test_an_empty_collection_has_nothing_for_any_question(embedder):
    assert asked(embedder, "Who built the museum?", kept=[]) == Support()


def test_no_more_is_embedded_than_the_best_hits_hold(embedder):
    shelf = MemoryCollection(chunks(), embedder)
    trail = Retriever(embedder).trace(shelf, "Who built the museum?")
    before = len(embedder.embedded)
    gather(trail, shelf, embedder=embedder)
    assert 0 < len(embedder.embedded) - before <= READ + READ + 32


# --- the scale ----------------------------------------------------------------------------------

strengths = st.lists(st.floats(-5, 5), min_size=FEWEST, max_size=60)


@given(strengths, strengths, st.floats(0.05, 0.99))
def test_a_threshold_lets_through_at_least_the_share_asked_for_and_reports_what_it_lets_through(
    yes, no, share
):
    made = calibrate(yes, no)
    sure = [made.judge(strength, answered=share) for strength in yes]
    assert sure[0].answered >= share - 1e-9
    assert np.mean([each.enough for each in sure]) >= sure[0].answered - 1e-9
    let = [made.judge(strength, answered=share).enough for strength in no]
    assert np.mean(let) == pytest.approx(sure[0].false_answers)


@given(strengths, strengths, st.floats(-5, 5), st.floats(-5, 5))
def test_confidence_lies_between_0_and_1_and_never_falls_with_strength(yes, no, one, other):
    made = calibrate(yes, no)
    low, high = (made.probability(strength) for strength in sorted((one, other)))
    assert 0 <= low <= high <= 1
    assert made.probability(-math.inf) == 0


def test_the_probability_is_right_where_the_truth_is_logistic():
    draw = np.random.default_rng(1)
    # Two normals of deviation 1, apart by 2: the probability is logistic(2 x), by Bayes' rule.
    made = calibrate(draw.normal(1, 1, 4000).tolist(), draw.normal(-1, 1, 4000).tolist())
    assert (made.slope, made.intercept) == (pytest.approx(2, abs=0.15), pytest.approx(0, abs=0.1))


def test_a_kind_is_not_more_likely_for_having_been_asked_more_often():
    draw = np.random.default_rng(1)
    made = calibrate(draw.normal(1, 1, 400).tolist(), draw.normal(-1, 1, 4000).tolist())
    assert made.probability(0) == pytest.approx(0.5, abs=0.05)


def test_too_few_questions_are_refused_with_the_number_that_is_missing():
    with pytest.raises(EvaluationError, match=r"17 questions .* add 3 more"):
        calibrate([0.0] * 17, [0.0] * 17)
    assert calibrate([0.0] * FEWEST, [0.0] * FEWEST).judge(0.0).enough


def test_an_impossible_share_is_refused():
    for share in (0, 1.5):
        with pytest.raises(InvalidSetting, match="answered"):
            calibrate([0.0] * FEWEST, [0.0] * FEWEST).judge(0.0, answered=share)


def test_to_answer_all_that_can_be_answered_is_to_refuse_nothing():
    made = calibrate([n / 10 for n in range(20)], [-1.0] * 20)
    assert made.judge(-math.inf, answered=1).enough
    assert not made.judge(-1.0, answered=0.99).enough


def test_held_out_questions_stand_in_for_unanswerable_ones_until_there_are_enough_of_those():
    yes, held, no = [2.0 + n / 10 for n in range(20)], [-2.0] * 20, [1.0, *[3.0] * 19]
    few, enough = calibrate(yes, held, no[1:]), calibrate(yes, held, no)
    assert (few.judge(0.0).held_out, few.judge(0.0).false_answers, few.judge(0.0).unanswerable) == (
        True,
        0,
        20,
    )
    assert few.rates(0.95).unanswerable == 1
    told = enough.judge(0.0)
    assert (told.held_out, told.false_answers, told.unanswerable) == (False, pytest.approx(0.95), 20)
    assert calibrate(yes, held).rates(0.95).unanswerable is None


# --- the questions of a file ----------------------------------------------------------------------


def test_questions_are_read_with_the_documents_that_answer_them(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text(
        '\ufeff{"question": "one?", "document": "a.md", "id": "q1"}\n\n'
        '{"question": "two?", "document": ["a.md", "b.md"]}\n{"question": "three?", "document": null}\n',
        "utf-8",
    )
    assert read_questions(file) == [
        Asked("one?", ("a.md",)),
        Asked("two?", ("a.md", "b.md")),
        Asked("three?", ()),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "no JSON",
        "[]",
        '{"question": "no document told?"}',
        '{"question": "", "document": null}',
        '{"question": "?", "document": []}',
        '{"question": "?", "document": [1]}',
        '{"question": "?", "document": ""}',
    ],
)
def test_a_line_that_cannot_be_read_is_told_with_its_number(tmp_path, line):
    file = tmp_path / "questions.jsonl"
    file.write_text(f'{{"question": "?", "document": "a.md"}}\n{line}\n', "utf-8")
    with pytest.raises(EvaluationError, match=r"questions\.jsonl:2: "):
        read_questions(file)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(EvaluationError, match=r"gone\.jsonl cannot be read"):
        read_questions(tmp_path / "gone.jsonl")


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.model
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the judged sets in ../shared/data")
def test_half_of_the_real_questions_tell_which_others_have_no_answer(tmp_path):
    from api.services import connect
    from api.settings import load
    from ingest.decide import texts_source
    from rag.evaluate import read_beir

    folder = SHARED / "clapnq-dev"
    judged = read_beir(folder)
    without = [json.loads(line) for line in (folder / "unanswerable.jsonl").read_text("utf-8").splitlines()]
    # Few, for each costs a second: bench/confidence.py asks them all. With the passages that they are about.
    asked, unanswered = judged.queries[:40], without[:28]
    about = {document for query in asked for document in judged.qrels[query.id]}
    about |= {document for each in unanswered for document in each["metadata"]["written_on"]}
    others = (document for document in judged.documents() if document.id not in about)
    documents = [document for document in judged.documents() if document.id in about]
    documents += itertools.islice(others, 60)
    overrides = {"data": str(tmp_path / "data"), "embedder.model": "all-MiniLM-L6-v2"}
    with connect(load(start=tmp_path, env={}, overrides=overrides)) as services:
        services.take_in([texts_source(documents)], collection="real")
        embedder = services.sentence_embedder("real")
        shelf = services.catalogue().collection("real", embedder=embedder.info)
        retriever = Retriever(embedder)

        def strength(question: str) -> float:
            return gather(retriever.trace(shelf, question), shelf, embedder=embedder).strength

        yes = [strength(query.text) for query in asked]
        no = [strength(question["text"]) for question in unanswered]
    made = calibrate(yes[::2], no[::2], no[::2])
    kept, false = (np.mean([made.judge(s).enough for s in side[1::2]]) for side in (yes, no))
    assert kept >= 0.8
    assert false <= 0.6
