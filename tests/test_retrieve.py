"""Fusion and the retriever, over a small collection that searches exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import InvalidQuery, InvalidSetting
from rag.highlight import matches
from rag.protocols import Where
from rag.retrieve import MAX_K, RetrievalSettings, Retriever, fuse
from rag.testing import HashEmbedder
from rag.types import Chunk, Hit, Vectors
from rag.words import fold, spans

TEXTS = {
    "tea.md": "Tea is made with boiling water and green leaves.",
    "kettle.md": "A kettle boils water for the tea in three minutes.",
    "train.md": "The train to the mountains leaves at noon.",
    "té.md": "El té se prepara con agua hirviendo y hojas verdes.",
}


class MemoryCollection:
    """Exact cosines and plain BM25 (Robertson and Zaragoza 2009) over a handful of chunks."""

    def __init__(self, texts: dict[str, str], embedder: HashEmbedder) -> None:
        self.name = "memory"
        self.asked: list[tuple[str, int]] = []
        self.chunks = [
            Chunk(name, text, 0, len(text), key=key, metadata={"kind": name[0]})
            for key, (name, text) in enumerate(texts.items(), 1)
        ]
        self.vectors = embedder.embed([chunk.embedded_text for chunk in self.chunks], input_type="document")
        self.words = [[fold(word) for _, _, word in spans(chunk.text)] for chunk in self.chunks]

    def nearest(self, vector: Vectors, *, k: int, where: Where) -> list[Hit]:
        self.asked.append(("nearest", k))
        cosines = self.vectors @ vector
        return self._best([float(cosine) for cosine in cosines], k, where)

    def matching(self, text: str, *, k: int, where: Where) -> list[Hit]:
        self.asked.append(("matching", k))
        asked = {fold(word) for _, _, word in spans(text)}
        length = sum(map(len, self.words)) / len(self.words)
        scores = []
        for words in self.words:
            score = 0.0
            for word in asked:
                holding = sum(word in each for each in self.words)
                idf = math.log(1 + (len(self.words) - holding + 0.5) / (holding + 0.5))
                count = words.count(word)
                score += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(words) / length))
            scores.append(score)
        return [hit for hit in self._best(scores, k, where) if hit.score > 0]

    def _best(self, scores: Sequence[float], k: int, where: Where) -> list[Hit]:
        hits = [
            Hit(chunk, score)
            for chunk, score in zip(self.chunks, scores, strict=True)
            if all(chunk.metadata.get(key) == value for key, value in where.items())
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.key))[:k]


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder(dim=256)


@pytest.fixture
def collection(embedder) -> MemoryCollection:
    return MemoryCollection(TEXTS, embedder)


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
    for mode, leg in (
        ("vector", collection.nearest(vector, k=4, where={})),
        ("lexical", collection.matching(question, k=4, where={})),
    ):
        assert (
            Retriever(embedder, settings=RetrievalSettings(mode=mode)).search(collection, question, k=4)
            == leg
        )


def test_legs_offer_their_pools_and_never_fewer_than_k(collection, embedder):
    settings_ = RetrievalSettings(vector_pool=3, lexical_pool=2)
    Retriever(embedder, settings=settings_).search(collection, "tea", k=1)
    Retriever(embedder, settings=settings_).search(collection, "tea", k=4)
    assert collection.asked == [("nearest", 3), ("matching", 2), ("nearest", 4), ("matching", 4)]


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


def chunk(key: int, text: str = "words of no weight") -> Chunk:
    return Chunk(f"d{key}", text, 0, len(text), key=key)


legs = st.lists(st.tuples(st.integers(1, 20), st.floats(-1, 1)), max_size=15, unique_by=lambda pair: pair[0])


@settings(max_examples=200, deadline=None)
@given(near=legs, matching=legs, weight=st.floats(0, 1))
def test_fused_scores_lie_between_0_and_1_and_every_candidate_comes_once(near, matching, weight):
    close = [Hit(chunk(key, "fox"), cosine) for key, cosine in near]
    bm25 = [Hit(chunk(key, "fox"), 5 * (score + 1.01)) for key, score in matching]
    fused = fuse("fox", close, bm25, vector_weight=weight)
    assert {hit.chunk.key for hit in fused} == {key for key, _ in near} | {key for key, _ in matching}
    assert len(fused) == len({hit.chunk.key for hit in fused})
    assert all(-1e-9 <= hit.score <= 1 + 1e-9 for hit in fused)
    assert fused == sorted(fused, key=lambda hit: (-hit.score, hit.chunk.key))
    assert fused == fuse("fox", close[::-1], bm25[::-1], vector_weight=weight)


@settings(max_examples=100, deadline=None)
@given(near=legs, matching=legs)
def test_at_either_end_the_fusion_ranks_as_that_leg_alone(near, matching):
    close = [Hit(chunk(key, "fox"), cosine) for key, cosine in near]
    bm25 = [Hit(chunk(key, "fox"), 5 * (score + 1.01)) for key, score in matching]
    for weight, leg in ((1.0, close), (0.0, bm25)):
        place = {hit.chunk.key: hit.score for hit in leg}
        ranked = [
            place[hit.chunk.key] for hit in fuse("fox", close, bm25, vector_weight=weight) if hit.score > 1e-9
        ]
        assert all(a >= b - 1e-6 for a, b in itertools.pairwise(ranked))


def test_a_lexical_leg_that_meets_few_of_the_words_yields_to_the_vectors():
    question = "how many protons does the nucleus of hydrogen hold"
    near = [Hit(chunk(1), 0.7), Hit(chunk(2), 0.4), Hit(chunk(3), 0.1)]
    weak = [Hit(chunk(3, "hold the door"), 9.0)]
    strong = [Hit(chunk(3, "the nucleus of hydrogen holds a single proton: protons are many"), 9.0)]
    assert fuse(question, near, weak, vector_weight=0.5)[0].chunk.key == 1
    assert fuse(question, near, strong, vector_weight=0.5)[0].chunk.key == 3


def test_a_vector_leg_that_sees_all_alike_yields_to_the_words():
    blind = [Hit(chunk(key), 0.40 - key / 1000) for key in range(1, 6)]
    words = [Hit(chunk(5, "red fox"), 3.0), Hit(chunk(4, "fox"), 1.0)]
    assert fuse("red fox", blind, words, vector_weight=0.5)[0].chunk.key == 5


def test_the_fusion_is_blind_to_where_an_embedders_cosines_lie():
    wide = [Hit(chunk(1), 0.8), Hit(chunk(2), 0.5), Hit(chunk(3), 0.1)]
    narrow = [Hit(hit.chunk, 0.75 + 0.25 * hit.score) for hit in wide]
    words = [Hit(chunk(2, "red fox"), 3.0), Hit(chunk(3, "fox"), 1.0)]
    a, b = (fuse("red fox", leg, words, vector_weight=0.5) for leg in (wide, narrow))
    assert [hit.chunk.key for hit in a] == [hit.chunk.key for hit in b]
    assert np.allclose([hit.score for hit in a], [hit.score for hit in b])


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
