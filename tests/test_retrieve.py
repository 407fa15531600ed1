"""Fusion and the retriever, over a small collection that searches exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import InvalidQuery, InvalidSetting
from rag.highlight import matches
from rag.retrieve import MAX_K, RetrievalSettings, Retriever
from rag.retrieve.beside import with_neighbours
from rag.retrieve.choose import choose
from rag.retrieve.explain import standing
from rag.retrieve.fuse import evidence, ranked
from rag.testing import HashEmbedder, MemoryCollection
from rag.types import Candidates, Chunk, Hit

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


def test_vector_scores_are_cosines_and_lexical_scores_are_bm25(collection, embedder):
    question = "boiling water"
    vector = embedder.embed([question], input_type="query")[0]
    every = collection.weigh(np.array([1, 2, 3, 4]), vector=vector, text=question)
    for mode, scores in (("vector", every.cosines), ("lexical", every.bm25)):
        hits = Retriever(embedder, settings=RetrievalSettings(mode=mode)).search(collection, question, k=4)
        place = dict(zip(every.keys.tolist(), scores.tolist(), strict=True))
        assert [hit.score for hit in hits] == [place[hit.chunk.key] for hit in hits]
        assert len(hits) == (4 if mode == "vector" else int((scores > 0).sum()))


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
        ({"min_score": float("nan")}, "min_score = nan"),
    ],
)
def test_impossible_settings_name_the_choices(setting, choice):
    with pytest.raises(InvalidSetting, match=choice):
        RetrievalSettings(**setting)


def test_strange_questions_are_asked_like_any_other(collection, embedder):
    for question in ("\ud800\x00tea", "tea AND (", "¿?", "日本語", "a" * 20_000):
        assert len(Retriever(embedder).search(collection, question, k=2)) == 2


# --- fusion -----------------------------------------------------------------------------------


def candidates(*rows: tuple[float, float], bound: float = 10.0, mean: float = 0.3, deviation: float = 0.1):
    """Candidates with keys from 1 on, from pairs of cosine and BM25."""
    cosines, bm25 = zip(*rows, strict=True)
    keys = np.arange(1, len(rows) + 1)
    means = np.full(len(rows), mean, np.float32)
    return Candidates(keys, np.float32(cosines), np.float32(bm25), means, bound, mean, deviation)


pairs = st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 10)), min_size=1, max_size=15)


@settings(max_examples=200, deadline=None)
@given(rows=pairs, weight=st.floats(0, 1))
def test_fused_scores_lie_between_0_and_1_and_fall(rows, weight):
    offered = candidates(*rows)
    fused = ranked(offered, evidence(offered, vector_weight=weight))
    assert sorted(fused.keys.tolist()) == offered.keys.tolist()
    assert ((fused.scores >= 0) & (fused.scores <= 1)).all()
    assert (np.diff(fused.scores) <= 0).all()


@settings(max_examples=100, deadline=None)
@given(rows=pairs)
def test_at_either_end_the_fusion_ranks_as_that_leg_alone(rows):
    offered = candidates(*rows)
    for weight, scores in ((1.0, offered.cosines), (0.0, offered.bm25)):
        fused = ranked(offered, evidence(offered, vector_weight=weight))
        assert (np.diff(scores[fused.keys - 1]) <= 1e-6).all()


def test_words_that_answer_little_of_the_question_yield_to_the_meaning():
    weak = candidates((0.7, 0.0), (0.3, 9.0), bound=90.0)
    strong = candidates((0.7, 0.0), (0.3, 9.0), bound=12.0)
    assert ranked(weak, evidence(weak)).keys.tolist() == [1, 2]
    assert ranked(strong, evidence(strong)).keys.tolist() == [2, 1]


def test_an_embedder_that_sees_all_alike_leaves_it_to_the_words():
    blind = candidates((0.4, 0.0), (0.4, 3.0), mean=0.4, deviation=0.0)
    assert ranked(blind, evidence(blind)).keys.tolist() == [2, 1]


def test_the_fusion_is_blind_to_where_an_embedders_cosines_lie():
    wide = candidates((0.8, 1.0), (0.5, 4.0), (0.1, 2.0), mean=0.2, deviation=0.2)
    narrow = candidates((0.95, 1.0), (0.875, 4.0), (0.775, 2.0), mean=0.8, deviation=0.05)
    assert np.allclose(evidence(wide), evidence(narrow), atol=1e-5)


# --- token by token ---------------------------------------------------------------------------

TIDES = {
    "tide.md": "High tide is at noon. The harbour is closed then, and the ferry waits outside the harbour.",
    "ferry.md": "The ferry leaves the harbour at noon.",
    "train.md": "The train leaves the station at noon.",
    "zoo.md": "The zoo feeds the seals at noon.",
}


def test_the_best_are_compared_token_by_token_and_the_others_stay_below():
    coding = HashEmbedder(dim=256, tokens=True)
    shelf = shelf_of(TIDES, coding)
    question = "the train at noon"
    plain = Retriever(coding, settings=RetrievalSettings(token_pool=0)).trace(shelf, question, k=4)
    assert plain.compared == {}
    both = Retriever(coding, settings=RetrievalSettings(token_pool=2)).trace(shelf, question, k=4)
    assert set(both.compared) == set(plain.fused.keys[:2].tolist())
    assert both.fused.keys.tolist()[2:] == plain.fused.keys.tolist()[2:]
    assert (np.diff(both.fused.scores) <= 0).all()
    # "train" tells the passages apart, "the", "at" and "noon" do not.
    every = Retriever(coding, settings=RetrievalSettings()).trace(shelf, question, k=4)
    scores = {shelf.chunks[key].document_id: met.score for key, met in every.compared.items()}
    assert max(scores, key=scores.__getitem__) == "train.md"
    assert scores["train.md"] > 0.9 > 0.5 > scores["zoo.md"]
    assert standing(every, every.hits[0].chunk.key).token_rank == 1


@pytest.mark.parametrize("mode", ["vector", "lexical"])
def test_one_leg_alone_compares_no_tokens(mode):
    coding = HashEmbedder(dim=256, tokens=True)
    retriever = Retriever(coding, settings=RetrievalSettings(mode=mode))
    assert retriever.trace(shelf_of(TIDES, coding), "the train at noon").compared == {}


def test_an_embedder_without_tokens_and_a_collection_without_candidates_compare_nothing(embedder):
    assert Retriever(embedder).trace(shelf_of(TIDES, embedder), "the train").compared == {}
    coding = HashEmbedder(dim=256, tokens=True)
    assert Retriever(coding).trace(MemoryCollection([], coding), "the train").hits == ()


# --- what stands beside ------------------------------------------------------------------------


def in_lines(text: str, name: str) -> list[Chunk]:
    """A document, each line a chunk."""
    chunks, start = [], 0
    for line in text.splitlines():
        chunks.append(Chunk(name, line, start, start + len(line)))
        start += len(line) + 1
    return chunks


ZOO = "Seals are fed at noon.\nThe kettle boils.\nLions sleep."
KITCHEN = "Tea wants a kettle.\nThe kettle boils.\nWater boils in a kettle."


def test_of_two_passages_alike_the_one_among_others_alike_comes_first(embedder):
    shelf = MemoryCollection([*in_lines(ZOO, "zoo"), *in_lines(KITCHEN, "kitchen")], embedder)
    among_others, at_home = 2, 5
    plain, lent = (
        Retriever(embedder, settings=RetrievalSettings(neighbours=share)).trace(shelf, "kettle boils")
        for share in (0.0, 0.3)
    )
    assert found(plain.hits)[:2] == ["zoo", "kitchen"]  # the same words, and the smaller key
    assert [hit.chunk.key for hit in lent.hits][:1] == [at_home]
    assert plain.lent == {}
    assert lent.lent[among_others] < lent.lent[at_home] < 0
    assert standing(lent, among_others).lent == lent.lent[among_others]
    assert standing(plain, among_others).lent is None


weights = st.lists(st.floats(-5, 15), min_size=1, max_size=12)


@given(weights, st.floats(0, 1), st.randoms())
def test_no_evidence_leaves_the_range_of_the_candidates(values, share, random):
    keys = np.arange(1, len(values) + 1)
    beside = {
        key: random.sample(range(20), random.randint(1, 2)) for key in keys.tolist() if random.random() < 0.7
    }
    weight = np.array(values)
    mixed = with_neighbours(keys, weight, beside, share=share)
    assert (mixed >= weight.min() - 1e-9).all()
    assert (mixed <= weight.max() + 1e-9).all()
    alone = [key not in beside for key in keys.tolist()]
    assert (mixed[alone] == weight[alone]).all()
    assert (with_neighbours(keys, weight, beside, share=0.0) == weight).all()


# --- links ------------------------------------------------------------------------------------

FILMS = {
    "Dust and Noon": "Dust and Noon is a film of 1971, directed by Ana Gil Pérez.",
    "Ana Gil Pérez (director)": "She was born in Soria; her mother was a judge.",
    "Sundial": "The sun stands highest at noon.",
    "Carlos Gil": "He paints trains that leave the old station.",
}


@pytest.fixture
def films(embedder) -> MemoryCollection:
    chunks = [Chunk(title, text, 0, len(text), title=title) for title, text in FILMS.items()]
    return MemoryCollection(chunks, embedder)


def test_a_named_document_is_lifted_to_what_comparing_left_of_the_one_that_names_it():
    coding = HashEmbedder(dim=256, tokens=True)
    chunks = [Chunk(title, text, 0, len(text), title=title) for title, text in FILMS.items()]
    shelf = MemoryCollection(chunks, coding)
    settings_ = RetrievalSettings(vector_pool=1, lexical_pool=1, links=1)
    trail = Retriever(coding, settings=settings_).trace(shelf, "the director of Dust and Noon", k=2)
    assert trail.linked == {2: (1, "ana gil perez")}
    assert set(trail.compared) == {1, 3}  # what was offered, not what was named
    assert trail.fused.scores[0] >= trail.fused.scores[1] > 0


def test_a_document_that_the_best_passage_names_is_found(films, embedder):
    question = "Where was the director of the film Dust and Noon born?"
    followed = Retriever(embedder, settings=RetrievalSettings(vector_pool=1, lexical_pool=1, links=1))
    trail = followed.trace(films, question, k=1)
    assert trail.fused.keys.tolist() == [1, 2]
    assert trail.linked == {2: (1, "ana gil perez")}
    alone = Retriever(embedder, settings=RetrievalSettings(vector_pool=1, lexical_pool=1, links=0))
    assert alone.trace(films, question, k=1).fused.keys.tolist() == [1]


def test_only_what_a_link_lifted_is_said_to_be_linked(films, embedder):
    # The director's own document stands above the film's, which names her.
    trail = Retriever(embedder).trace(films, "her mother was a judge, born in Soria", k=4)
    assert trail.hits[0].chunk.key == 2
    assert trail.linked == {}
    assert standing(trail, 2).by_name is None


def test_a_linked_chunk_that_dies_meanwhile_lifts_no_other(films, embedder):
    settings_ = RetrievalSettings(vector_pool=1, lexical_pool=1, links=1)
    named = films.named

    def named_then_die(names, *, where):
        found_by = named(names, where=where)
        films.chunks.pop(2, None)
        return found_by

    films.named = named_then_die
    trail = Retriever(embedder, settings=settings_).trace(films, "the director of Dust and Noon", k=1)
    assert trail.fused.keys.tolist() == [1]


def test_links_respect_the_filter(embedder):
    chunks = [
        Chunk(
            title, text, 0, len(text), title=title, metadata={"open": "yes" if "Ana" not in title else "no"}
        )
        for title, text in FILMS.items()
    ]
    trail = Retriever(embedder).trace(
        MemoryCollection(chunks, embedder), "the director of Dust and Noon", k=4, where={"open": "yes"}
    )
    assert 2 not in trail.fused.keys


# --- choosing ---------------------------------------------------------------------------------


def shelf_hits(*rows: tuple[str, float]) -> list[Hit]:
    return [Hit(Chunk(d, str(n), 0, 1, key=n), score) for n, (d, score) in enumerate(rows, 1)]


def rows_by_key(vectors: dict[int, Sequence[float]]):
    def read(keys):
        known = [key for key in keys.tolist() if key in vectors]
        return np.array(known), np.float32([vectors[key] for key in known])

    return read


def test_no_more_than_so_many_hits_of_a_document(collection, embedder):
    hits = shelf_hits(("a", 0.9), ("a", 0.8), ("a", 0.7), ("b", 0.6), ("c", 0.5))
    chosen, dropped = choose(hits, k=3, per_document=1, vectors=rows_by_key({}))
    assert found(chosen) == ["a", "b", "c"]
    assert set(dropped) == {2, 3}


def test_diversity_passes_over_a_hit_that_says_what_a_better_one_says():
    hits = shelf_hits(("a", 0.9), ("b", 0.89), ("c", 0.6))
    vectors = rows_by_key({1: (1, 0), 2: (0.999, 0.04), 3: (0, 1)})
    assert found(choose(hits, k=2, diversity=0.0, vectors=vectors)[0]) == ["a", "b"]
    chosen, dropped = choose(hits, k=2, diversity=0.5, vectors=vectors)
    assert found(chosen) == ["a", "c"]
    assert [hit.score for hit in chosen] == [0.9, 0.6]
    assert list(dropped) == [2]


def test_hits_below_the_least_score_are_left_out(collection, embedder):
    question = "kettle boils tea water"
    every = Retriever(embedder).search(collection, question, k=4)
    limit = RetrievalSettings(min_score=every[1].score)
    kept = Retriever(embedder, settings=limit).search(collection, question, k=4)
    assert [hit.score for hit in kept] == [hit.score for hit in every if hit.score >= every[1].score]


class Backwards:
    """A reranker that likes the last letters of the alphabet."""

    def score(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        return [ord(passage[0]) / 1000 for passage in passages]


def test_a_reranker_orders_the_pool_and_the_trail_tells(collection, embedder):
    trail = Retriever(embedder, reranker=Backwards()).trace(collection, "tea water", k=2)
    assert trail.reranked
    assert [hit.chunk.text[0] for hit in trail.hits] == ["T", "T"]
    assert len(trail.read) == 4
    plain = Retriever(embedder).trace(collection, "tea water", k=2)
    assert not plain.reranked
    assert [hit.chunk.key for hit in plain.hits] == plain.fused.keys.tolist()[:2]


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
