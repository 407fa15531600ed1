"""Why a hit stands where it stands, and which stage lost a passage: every stage made to lose one."""

from __future__ import annotations

import numpy as np
import pytest

from api.services import connect
from api.settings import load
from api.whynot import why_not_found
from rag.context import fit
from rag.retrieve import RetrievalSettings, Retriever
from rag.retrieve.explain import explain, standing
from rag.retrieve.why_not import WhyNot, why_not
from rag.testing import HashEmbedder, MemoryCollection
from rag.types import Chunk, Document

TEXTS = {
    "tea.md": "Tea is made with boiling water. Green leaves want less heat than black ones do.",
    "kettle.md": "A kettle boils water for the tea in three minutes.",
    "train.md": "The train to the mountains leaves at noon.",
    "cup.md": "The cup is warmed with hot water before tea is poured.",
}
QUESTION = "boiling water for tea"


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder(dim=256)


def shelf_of(texts: dict[str, str], embedder: HashEmbedder) -> MemoryCollection:
    return MemoryCollection([Chunk(name, text, 0, len(text)) for name, text in texts.items()], embedder)


@pytest.fixture
def collection(embedder) -> MemoryCollection:
    return shelf_of(TEXTS, embedder)


def asked(
    collection: MemoryCollection,
    embedder: HashEmbedder,
    name: str,
    *,
    k: int = 1,
    retriever: Retriever | None = None,
    document: Document | None = None,
    **options: object,
) -> WhyNot:
    """Why QUESTION does not find the document ``name``."""
    retriever = retriever or Retriever(embedder)
    document = document or Document(name, TEXTS[name])
    chunks = [chunk for chunk in collection.chunks.values() if chunk.document_id == name]
    return why_not(retriever.trace(collection, QUESTION, k=k), collection, document, chunks, **options)


def test_every_hit_is_explained_by_its_rank_in_each_leg(collection, embedder):
    trail = Retriever(embedder).trace(collection, QUESTION, k=3)
    explained = explain(trail)
    assert [hit for hit, _ in explained] == list(trail.hits)
    assert [at.rank for _, at in explained] == [at.fused_rank for _, at in explained] == [1, 2, 3]
    cosines = sorted(trail.candidates.cosines.tolist(), reverse=True)
    for hit, at in explained:
        assert at.key == hit.chunk.key
        assert at.cosine == pytest.approx(cosines[at.vector_rank - 1])
        assert (at.lexical_rank is None) == (at.bm25 == 0)
        assert at.deviations == pytest.approx(
            (at.cosine - trail.candidates.mean) / trail.candidates.deviation, rel=1e-5
        )
        assert at.share == pytest.approx(at.bm25 / trail.candidates.bound, rel=1e-5)
        assert at.reranked_rank is None


def test_a_lexical_search_knows_no_rank_by_meaning(collection, embedder):
    trail = Retriever(embedder, settings=RetrievalSettings(mode="lexical")).trace(collection, QUESTION)
    assert {standing(trail, hit.chunk.key).vector_rank for hit in trail.hits} == {None}


def test_what_is_found_is_said_to_be_found(collection, embedder):
    first = Retriever(embedder).search(collection, QUESTION, k=1)[0].chunk.document_id
    found = asked(collection, embedder, first)
    assert (found.stage, found.mend) == ("found", "")
    assert found.standing.rank == 1


def test_a_text_that_was_not_read_is_not_parsed(collection, embedder):
    assert asked(collection, embedder, "tea.md", text="white leaves").stage == "not-parsed"
    empty = asked(collection, embedder, "tea.md", document=Document("none", ""), text="x")
    assert empty.stage == "not-parsed"
    trail = Retriever(embedder).trace(collection, QUESTION, k=1)
    assert why_not(trail, collection, Document("none", ""), []).stage == "not-parsed"


def test_a_text_is_found_whatever_the_white_space_in_it(collection, embedder):
    answer = asked(collection, embedder, "tea.md", k=4, text="boiling\n   water.")
    assert answer.stage == "found"


def test_a_text_that_two_chunks_share_was_cut(embedder):
    text = TEXTS["tea.md"]
    half = text.index("Green") + 5
    parts = [Chunk("tea.md", text[a:b], a, b) for a, b in ((0, half), (half, len(text)))]
    others = [Chunk(name, body, 0, len(body)) for name, body in TEXTS.items() if name != "tea.md"]
    collection = MemoryCollection([*others, *parts], embedder)
    trail = Retriever(embedder).trace(collection, "noon trains", k=1)
    chunks = [chunk for chunk in collection.chunks.values() if chunk.document_id == "tea.md"]
    lost = why_not(trail, collection, Document("tea.md", text), chunks, text="Green leaves want less")
    assert lost.stage == "cut"
    assert "2 chunks" in lost.detail
    assert "target_tokens" in lost.mend


def test_a_text_past_what_the_embedder_reads_is_truncated(collection, embedder):
    lost = asked(collection, embedder, "tea.md", text="black ones do", reads=lambda text: 40)
    assert lost.stage == "truncated"
    assert asked(collection, embedder, "tea.md", k=4, text="black ones do", reads=len).stage == "found"


def test_a_document_that_the_filter_leaves_out_is_filtered(collection, embedder):
    assert asked(collection, embedder, "train.md", passes=False).stage == "filtered"


def test_a_near_chunk_that_no_index_offered_is_missed_by_the_index(collection, embedder):
    settings = RetrievalSettings(vector_pool=1, lexical_pool=1, links=0)
    first = Retriever(embedder, settings=settings).search(collection, QUESTION, k=1)[0].chunk
    rank = collection.rank

    def blind(**asked):
        every = rank(**{**asked, "vector_k": 4, "text_k": 4})
        kept = np.flatnonzero(every.keys != first.key)[-1:]
        return every.at(kept)

    collection.rank = blind
    lost = asked(collection, embedder, first.document_id, retriever=Retriever(embedder, settings=settings))
    assert lost.stage == "missed-by-index"
    assert "doctor" in lost.mend


def test_a_chunk_that_neither_leg_offers_is_low_in_both(collection, embedder):
    settings = RetrievalSettings(vector_pool=1, lexical_pool=1, links=0)
    lost = asked(collection, embedder, "train.md", retriever=Retriever(embedder, settings=settings))
    assert lost.stage == "low-in-both-legs"
    assert "vector_pool" in lost.mend


def test_a_candidate_behind_the_hits_was_fused_away(collection, embedder):
    order = [hit.chunk.document_id for hit in Retriever(embedder).search(collection, QUESTION, k=4)]
    lost = asked(collection, embedder, order[2], k=2)
    assert lost.stage == "fused-away"
    assert lost.standing.fused_rank == 3
    assert "3rd of 4" in lost.detail
    assert "ask for 3" in lost.mend


class LikesTrains:
    """A reranker with one interest."""

    def score(self, question, passages, *, seconds):
        return [float("train" in passage) for passage in passages]


def test_a_hit_that_the_reranker_put_back_was_reranked_away(collection, embedder):
    first = Retriever(embedder).search(collection, QUESTION, k=1)[0].chunk.document_id
    lost = asked(collection, embedder, first, retriever=Retriever(embedder, reranker=LikesTrains()))
    assert lost.stage == "reranked-away"
    assert "from 1st to 2nd" in lost.detail


def test_a_hit_that_a_limit_left_out_was_not_chosen(embedder):
    text = "Boiling water for tea. Water for tea, boiling."
    chunks = [Chunk("a", text[:22], 0, 22), Chunk("a", text[23:], 23, len(text)), Chunk("b", "Hot tea", 0, 7)]
    collection = MemoryCollection(chunks, embedder)
    retriever = Retriever(embedder, settings=RetrievalSettings(per_document=1))
    trail = retriever.trace(collection, QUESTION, k=2)
    (dropped,) = trail.dropped
    own = collection.chunks[dropped]
    lost = why_not(trail, collection, Document("a", text), [own])
    assert lost.stage == "not-chosen"
    assert "1 of its document" in lost.detail


def test_a_hit_that_the_context_has_no_room_for_fell_to_the_budget(collection, embedder):
    retriever = Retriever(embedder)
    hits = retriever.search(collection, QUESTION, k=4)
    context = fit(hits, budget=fit(hits[:1], budget=1000).tokens)
    last = context.left_out[-1].hit.chunk
    lost = asked(collection, embedder, last.document_id, k=4, context=context)
    assert lost.stage == "budget"
    assert "max_tokens" in lost.mend


def test_a_text_past_what_the_context_shows_of_a_hit_fell_to_the_budget(collection, embedder):
    hits = Retriever(embedder).search(collection, QUESTION, k=4)
    tea = next(hit for hit in hits if hit.chunk.document_id == "tea.md")
    context = fit([tea], budget=fit([tea], budget=1000).tokens - 4)
    assert [out.reason for out in context.left_out] == ["cut"]
    lost = asked(collection, embedder, "tea.md", k=4, context=context, text="black ones do")
    assert lost.stage == "budget"
    assert "shortened" in lost.detail
    assert asked(collection, embedder, "tea.md", k=4, context=context, text="Tea is made").stage == "found"


def test_a_hit_whose_words_stand_in_a_better_passage_is_a_near_duplicate(embedder):
    text = "Tea is made with boiling water. Green leaves want less heat than black ones do. Wait a little."
    collection = shelf_of({"a": text, "b": text}, embedder)
    trail = Retriever(embedder).trace(collection, QUESTION, k=2)
    context = fit(trail.hits, budget=1000)
    lost = why_not(trail, collection, Document("b", text), [collection.chunks[2]], context=context)
    assert lost.stage == "near-duplicate"
    assert "max_tokens" not in lost.mend


def test_a_text_that_runs_on_in_a_chunk_that_is_no_hit_was_cut(embedder):
    text = "Boiling water for tea. The train leaves at noon."
    chunks = [Chunk("a", text[:22], 0, 22), Chunk("a", text[23:], 23, len(text))]
    collection = MemoryCollection([*chunks, Chunk("b", "Hot tea", 0, 7)], embedder)
    own = [chunk for chunk in collection.chunks.values() if chunk.document_id == "a"]
    for k, stage in ((1, "cut"), (3, "found")):
        trail = Retriever(embedder).trace(collection, QUESTION, k=k)
        assert why_not(trail, collection, Document("a", text), own, text=text[10:40]).stage == stage


@pytest.mark.parametrize("mode", ["vector", "lexical"])
def test_in_one_leg_alone_the_other_is_not_spoken_of(collection, embedder, mode):
    retriever = Retriever(embedder, settings=RetrievalSettings(mode=mode))
    last = retriever.search(collection, QUESTION, k=4)[-1].chunk.document_id
    lost = asked(collection, embedder, last, retriever=retriever)
    assert lost.stage == "fused-away"
    assert ("cosine" in lost.detail) == (mode == "vector")
    assert "ask for more: -k" in lost.mend
    assert "pool" not in lost.mend
    if mode == "lexical":
        unlike = asked(collection, embedder, "train.md", retriever=retriever, k=4)
        assert unlike.stage == "low-in-both-legs"
        assert "none of the question's" in unlike.detail


def test_a_limit_that_leaves_it_out_of_more_hits_too_is_named(embedder):
    lines = ["Boiling water for tea.", "Water for tea, boiling.", "Tea: boiling water."]
    chunks = [Chunk("a", line, 30 * n, 30 * n + len(line)) for n, line in enumerate(lines)]
    collection = MemoryCollection([*chunks, Chunk("b", "Hot tea", 0, 7), Chunk("c", "Noon", 0, 4)], embedder)
    one = Retriever(embedder, settings=RetrievalSettings(per_document=1)).trace(collection, QUESTION, k=1)
    third = collection.chunks[one.fused.keys.tolist()[2]]
    lost = why_not(one, collection, Document("a", "".join(line.ljust(30) for line in lines)), [third])
    assert lost.stage == "not-chosen"
    assert "1 of its document" in lost.detail
    sure = Retriever(embedder, settings=RetrievalSettings(min_score=0.9)).trace(collection, QUESTION, k=1)
    lost = why_not(sure, collection, Document("c", "Noon"), [collection.chunks[5]])
    assert lost.stage == "not-chosen"
    assert "below 0.9" in lost.detail


def test_what_its_neighbours_cost_a_passage_is_told(embedder):
    zoo = ["Seals are fed at noon.", "Boiling water for tea.", "Lions sleep."]
    kitchen = ["Tea wants water.", "Water that boils for tea.", "Boiling water is for tea."]
    chunks = [
        Chunk(name, line, 40 * n, 40 * n + len(line))
        for name, lines in (("zoo", zoo), ("kitchen", kitchen))
        for n, line in enumerate(lines)
    ]
    collection = MemoryCollection(chunks, embedder)
    retriever = Retriever(embedder, settings=RetrievalSettings(neighbours=0.9))
    lost = why_not(
        retriever.trace(collection, QUESTION, k=1), collection, Document("zoo", ""), [collection.chunks[2]]
    )
    assert lost.stage == "fused-away"
    assert "1st before what stands beside it counted" in lost.detail
    assert "[retrieval] neighbours = 0" in lost.mend


@pytest.mark.model
def test_why_not_looks_at_what_an_answer_is_made_from(tmp_path):
    words = ["harbour", "lantern", "pepper", "orchard", "violin", "granite", "saffron", "meadow", "copper"]
    words += ["thimble", "walnut", "cobalt"]
    for number, word in enumerate(words):
        about = f"The {word} ferry number {number} leaves at {number + 6} and costs {number * 3 + 2} euros."
        (tmp_path / f"{word}.md").write_text(about, "utf-8")
    overrides = {"data": str(tmp_path / "data"), "embedder.model": "all-MiniLM-L6-v2", "retrieval.k": 3}
    overrides |= {"context.max_tokens": 400, "embedder.precision": "float32"}
    with connect(load(start=tmp_path, env={}, overrides=overrides)) as services:
        services.ingest([str(tmp_path / f"{word}.md") for word in words])
        question = "When does the ferry leave, and what does it cost?"
        shown = {p.document_id for p in services.render(question).context.passages}
        assert 3 < len(shown) < len(words)
        for word in words:
            found = why_not_found(services, question, f"{word}.md")
            assert (found.stage == "found") == any(id.endswith(f"{word}.md") for id in shown)


@pytest.mark.model
def test_why_not_searches_the_collection_in_use_whatever_the_prompt_names(tmp_path):
    (tmp_path / "prompts").mkdir()
    front = "---\nname: desk\ninputs: [{name: question}, {name: context}]\n"
    front += "metadata: {collection: other}\n---\n"
    body = "user:\n{{ context }} {{ question }}"
    (tmp_path / "prompts" / "desk.prompty").write_text(front + body, "utf-8")
    overrides = {"data": str(tmp_path / "data"), "prompts.default": "desk", "collection": "own"}
    overrides |= {"embedder.model": "all-MiniLM-L6-v2", "embedder.precision": "float32"}
    with connect(load(start=tmp_path, env={}, overrides=overrides)) as services:
        assert services.prompt("desk").collections == ("other",)
        services.ingest_texts([Document("tea", "The kettle boils water for tea.")], collection="own")
        services.ingest_texts([Document("train", "The train leaves at noon.")], collection="other")
        assert why_not_found(services, "When does the kettle boil?", "tea").stage == "found"
