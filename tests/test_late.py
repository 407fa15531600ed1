"""Late interaction: by value against a plain loop, the clock, and the real embedder's token vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest

from rag.embed import SentenceTransformerEmbedder
from rag.errors import EmbedderError
from rag.retrieve.late import LateInteraction, token_weights
from rag.testing import HashEmbedder
from rag.types import Vectors

QUESTION = "When does the kettle boil?"
PASSAGES = [
    "The train leaves at noon.",
    "The kettle is full of water, which will boil in three minutes.",
    "The kettle is green.",
    "",
]


class Words:
    """The token vectors of a text are its words' hash vectors; a clock that runs a second a text."""

    def __init__(self) -> None:
        self.now = 100.0
        self._embedder = HashEmbedder(dim=64)

    def token_vectors(self, text: str, *, input_type: Literal["query", "document"]) -> Vectors:
        self.now += input_type == "document"
        return self._embedder.embed(text.split(), input_type=input_type)

    def clock(self) -> float:
        return self.now


def test_score_is_the_weighted_mean_of_each_tokens_best_cosine():
    words = Words()
    asked = words.token_vectors(QUESTION, input_type="query")
    best = [
        [
            max((float(q @ d) for d in words.token_vectors(p, input_type="document")), default=-1.0)
            for q in asked
        ]
        for p in PASSAGES
    ]
    above = [(max(column) - sum(column) / len(column)) ** 2 for column in zip(*best, strict=True)]
    expected = [sum(a * m for a, m in zip(above, row, strict=True)) / sum(above) for row in best]
    found = LateInteraction(words).score(QUESTION, PASSAGES, seconds=math.inf)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found.index(max(found)) == 1


def test_a_token_that_all_passages_hold_does_not_count():
    pool = ["kettle red", "kettle green", "kettle blue"]
    scores = LateInteraction(Words()).score("kettle green", pool, seconds=math.inf)
    assert scores[1] == pytest.approx(1)
    assert max(scores[0], scores[2]) < 0.5


@pytest.mark.parametrize(("seconds", "scored"), [(0.0, 1), (1.9, 1), (2.0, 2), (3.5, 3), (100.0, 4)])
def test_no_passage_is_begun_that_would_end_after_the_time(seconds, scored):
    words = Words()
    found = LateInteraction(words, clock=words.clock).score(QUESTION, PASSAGES, seconds=seconds)
    assert len(found) == scored


def test_one_passage_no_passages_and_a_question_without_tokens_have_scores():
    late = LateInteraction(Words())
    assert late.score(QUESTION, [], seconds=math.inf) == []
    assert late.score("kettle", ["kettle"], seconds=math.inf) == pytest.approx([1])
    assert late.score("", PASSAGES, seconds=math.inf) == [0, 0, 0, 0]


def test_weights_are_shares():
    weights = token_weights(np.random.default_rng(0).uniform(-1, 1, (7, 5)).astype(np.float32))
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()


# --- the real embedder's token vectors --------------------------------------------------------


@pytest.fixture(scope="module")
def embedder() -> Iterator[SentenceTransformerEmbedder]:
    return SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="int8")


@pytest.mark.model
def test_token_vectors_are_unit_rows_one_a_token(embedder):
    for text in ("La señal 42 no se ve.", "word " * 1000, ""):
        rows = embedder.token_vectors(text, input_type="document")
        assert rows.shape == (min(len(embedder.tokenizer.offsets(text)), 254), 384)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.model
def test_token_vectors_leave_the_prefix_out_but_stand_in_its_context(embedder):
    prefixed = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="int8", query_prefix="query: ")
    plain = embedder.token_vectors("query: red kettle", input_type="query")
    np.testing.assert_allclose(prefixed.token_vectors("red kettle", input_type="query"), plain[2:], atol=1e-5)


@pytest.mark.model
def test_a_model_without_the_fast_path_says_so():
    slow = SentenceTransformerEmbedder("all-MiniLM-L6-v2", precision="bfloat16")
    with pytest.raises(EmbedderError, match="float32 or int8"):
        slow.token_vectors("tea", input_type="query")


@pytest.mark.model
def test_late_interaction_finds_the_passage_that_answers(embedder):
    pool = [*PASSAGES[:3], "Kettles and when they are sold, and whether anyone does boil over."]
    scores = LateInteraction(embedder).score("What colour is the kettle?", pool, seconds=math.inf)
    assert scores.index(max(scores)) == 2
