"""Fusion and the retriever, over a small collection that searches exactly."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import InvalidQuery, InvalidSetting
from rag.highlight import matches
from rag.retrieve import MAX_K, RetrievalSettings, Retriever, fuse
from rag.testing import HashEmbedder, MemoryCollection
from rag.types import Chunk, Hit, Ranking

TEXTS = {
    "tea.md": "Tea is made with boiling water and green leaves.",
    "kettle.md": "A kettle boils water for the tea in three minutes.",
    "train.md": "The train to the mountains leaves at noon.",
    "té.md": "El té se prepara con agua hirviendo y hojas verdes.",
}


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder(dim=256)


@pytest.fixture
def collection(embedder) -> MemoryCollection:
    return shelf_of(TEXTS, embedder)


def shelf_of(texts: dict[str, str], embedder: HashEmbedder) -> MemoryCollection:
    """Each text one chunk; ``kind`` is the first letter of its name."""
    chunks = [Chunk(name, text, 0, len(text), metadata={"kind": name[0]}) for name, text in texts.items()]
    return MemoryCollection(chunks, embedder)


def found(hits: Sequence[Hit]) -> list[str]:
    return [hit.chunk.document_id for hit in hits]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "lexical"])
def test_every_mode_finds_the_passage_and_scores_fall(collection, embedder, mode):
    retriever = Retriever(embedder, settings=RetrievalSettings(mode=mode))
    hits = retriever.search(collection, "kettle boils tea water", k=3)
    assert found(hits)[0] == "kettle.md"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_vector_scores_are_cosines_and_lexical_scores_are_the_legs_own(collection, embedder):
    question = "boiling water"
    vector = embedder.embed([question], input_type="query")[0]
    legs = collection.rank(vector=vector, vector_k=4, text=question, text_k=4, where={})
    for mode, leg in zip(("vector", "lexical"), legs, strict=True):
        hits = Retriever(embedder, settings=RetrievalSettings(mode=mode)).search(collection, question, k=4)
        assert [(hit.chunk.key, hit.score) for hit in hits] == list(
            zip(leg.keys.tolist(), leg.scores.tolist(), strict=True)
        )


def test_legs_offer_their_pools_and_never_fewer_than_k(collection, embedder):
    settings_ = RetrievalSettings(vector_pool=3, lexical_pool=2)
    Retriever(embedder, settings=settings_).search(collection, "tea", k=1)
    Retriever(embedder, settings=settings_).search(collection, "tea", k=4)
    assert collection.asked == [(3, 2), (4, 4)]


def test_a_filter_reaches_both_legs(collection, embedder):
    hits = Retriever(embedder).search(collection, "tea water agua", k=4, where={"kind": "k"})
    assert found(hits) == ["kettle.md"]


def test_k_defaults_to_the_settings(collection, embedder):
    assert len(Retriever(embedder, settings=RetrievalSettings(k=2)).search(collection, "tea")) == 2


@pytest.mark.parametrize("question", ["", "  \n\t", "x" * 20_001])
def test_a_question_that_cannot_be_asked_is_refused_before_anything_is_embedded(
    collection, embedder, question
):
    with pytest.raises(InvalidQuery, match="question"):
        Retriever(embedder).search(collection, question, k=1)
    assert collection.asked == []


@pytest.mark.parametrize("k", [0, -1, MAX_K + 1])
def test_an_impossible_k_is_refused_with_its_bounds(collection, embedder, k):
    with pytest.raises(InvalidQuery, match=f"1 to {MAX_K}"):
        Retriever(embedder).search(collection, "tea", k=k)


@pytest.mark.parametrize(
    ("setting", "choice"),
    [
        ({"mode": "fuzzy"}, "hybrid, vector, lexical"),
        ({"vector_weight": 1.5}, "0 to 1"),
        ({"lexical_pool": 0}, "1 to"),
    ],
)
def test_impossible_settings_name_the_choices(setting, choice):
    with pytest.raises(InvalidSetting, match=choice):
        RetrievalSettings(**setting)


def test_strange_questions_are_asked_like_any_other(collection, embedder):
    for question in ("\ud800\x00tea", "tea AND (", "¿?", "日本語", "a" * 20_000):
        assert len(Retriever(embedder).search(collection, question, k=2)) == 2


# --- fusion -----------------------------------------------------------------------------------


def ranking(*pairs: tuple[int, float]) -> Ranking:
    """A leg's ranking, from keys and scores in any order."""
    ordered = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
    keys, scores = [key for key, _ in ordered], [score for _, score in ordered]
    return Ranking(np.array(keys, dtype=np.int64), np.array(scores, dtype=np.float32))


legs = st.lists(st.tuples(st.integers(1, 20), st.floats(-1, 1)), max_size=15, unique_by=lambda pair: pair[0])
shares = st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(near=legs, matching=legs, weight=shares, covered=shares)
def test_fused_scores_lie_between_0_and_1_and_every_candidate_comes_once(near, matching, weight, covered):
    close, bm25 = ranking(*near), ranking(*((key, 5 * (score + 1.01)) for key, score in matching))
    fused = fuse(close, bm25, covered=covered, vector_weight=weight, k=100)
    assert sorted(fused.keys.tolist()) == sorted({key for key, _ in near} | {key for key, _ in matching})
    assert ((fused.scores > -1e-6) & (fused.scores < 1 + 1e-6)).all()
    assert (np.diff(fused.scores) <= 0).all()
    best = fuse(close, bm25, covered=covered, vector_weight=weight, k=3)
    assert best.keys.tolist() == fused.keys.tolist()[:3]


@settings(max_examples=100, deadline=None)
@given(near=legs, matching=legs)
def test_at_either_end_the_fusion_ranks_as_that_leg_alone(near, matching):
    close, bm25 = ranking(*near), ranking(*((key, 5 * (score + 1.01)) for key, score in matching))
    for weight, leg in ((1.0, close), (0.0, bm25)):
        place = dict(zip(leg.keys.tolist(), leg.scores.tolist(), strict=True))
        fused = fuse(close, bm25, covered=1.0, vector_weight=weight, k=100)
        ranked = [place[key] for key in fused.keys[fused.scores > 1e-9].tolist()]
        assert all(a >= b - 1e-5 for a, b in itertools.pairwise(ranked))


def test_a_lexical_leg_that_meets_few_of_the_words_yields_to_the_vectors(embedder):
    texts = {"right": "protons in the nucleus", "door": "hold the door", "other": "a walk in the park"}
    weak = shelf_of(texts, embedder)
    near, match = ranking((1, 0.7), (3, 0.4), (2, 0.1)), ranking((2, 9.0))
    assert fuse(near, match, covered=0.2, vector_weight=0.5, k=1).keys.tolist() == [1]
    assert fuse(near, match, covered=1.0, vector_weight=0.5, k=1).keys.tolist() == [2]
    hits = Retriever(embedder).search(weak, "how many protons does the nucleus of hydrogen hold", k=1)
    assert found(hits) == ["right"]


def test_a_vector_leg_that_sees_all_alike_yields_to_the_words():
    blind = ranking(*((key, 0.40 - key / 1000) for key in range(1, 6)))
    words = ranking((5, 3.0), (4, 1.0))
    assert fuse(blind, words, covered=1.0, vector_weight=0.5, k=1).keys.tolist() == [5]


def test_the_fusion_is_blind_to_where_an_embedders_cosines_lie():
    wide, narrow = (ranking((1, a), (2, b), (3, c)) for a, b, c in ((0.8, 0.5, 0.1), (0.95, 0.875, 0.775)))
    words = ranking((2, 3.0), (3, 1.0))
    a, b = (fuse(leg, words, covered=1.0, vector_weight=0.5, k=3) for leg in (wide, narrow))
    assert a.keys.tolist() == b.keys.tolist()
    assert np.allclose(a.scores, b.scores, atol=1e-5)


def test_a_chunk_that_dies_between_ranking_and_reading_is_left_out(collection, embedder):
    retriever = Retriever(embedder)
    first, second = found(retriever.search(collection, "kettle boils tea water", k=2))
    dead = next(key for key, chunk in collection.chunks.items() if chunk.document_id == first)
    alive = dict(collection.chunks)
    rank = collection.rank

    def rank_then_die(**asked):
        ranked = rank(**asked)
        del collection.chunks[dead]
        return ranked

    collection.rank = rank_then_die
    assert found(retriever.search(collection, "kettle boils tea water", k=2)) == [second]
    assert len(alive) == len(collection.chunks) + 1


# --- highlighting -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "text", "marked"),
    [
        ("¿Qué es una petición HTTP?", "Las peticiones HTTP son mensajes.", ["peticiones", "HTTP"]),
        ("organizacion", "La Organización de las Naciones.", ["Organización"]),
        ("How do trains run?", "The train was running late.", ["train", "running"]),
        ("error HTTP_404", "El código HTTP 404 es un error.", ["HTTP", "404", "error"]),
        ("the who", "Who sang it? The band.", ["Who", "The"]),
        ("¿niños?", "El nin\u0303o juega.", ["nin\u0303o"]),
        ("Bücher", "Viele BÜCHER liegen da.", ["BÜCHER"]),
        ("", "anything", []),
        ("nothing here", "", []),
    ],
)
def test_matching_words_are_marked_whatever_their_case_accents_and_endings(question, text, marked):
    assert [text[start:end] for start, end in matches(question, text)] == marked


@settings(max_examples=100, deadline=None)
@given(question=st.text(max_size=40), text=st.text(max_size=80))
def test_marks_are_in_order_apart_and_inside_the_text(question, text):
    marks = matches(question, text)
    edges = [edge for mark in marks for edge in mark]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(text) for start, end in marks)
