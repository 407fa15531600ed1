"""Several collections searched as one: as if their documents lay in one collection, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexes.catalogue import Catalogue
from rag.answer import Pipeline
from rag.context import fit
from rag.errors import EmbedderMismatch, IndexDamaged, UnknownCollection
from rag.protocols import PutDocument, Space
from rag.retrieve import RetrievalSettings, Retriever
from rag.testing import HashEmbedder
from rag.types import Chunk, Document, text_hash

EMBEDDER = HashEmbedder(dim=32)
SPACE = Space("lines", EMBEDDER.info)
WORDS = ("agua", "té", "pan", "sal", "red", "train", "boat", "north", "kettle", "cup")


@pytest.fixture
def catalogue(tmp_path: Path):
    with Catalogue.open(tmp_path / "data", create=True) as opened:
        yield opened


def document(id: str, *lines: str, title: str = "", **metadata) -> Document:
    return Document(id, "\n".join(lines), title=title, metadata=metadata)


def put(
    catalogue: Catalogue, name: str, *documents: Document, publish: bool = False, embedder=EMBEDDER
) -> None:
    changes, texts = [], []
    for each in documents:
        cuts, start = [], 0
        for line in each.text.split("\n"):
            cuts.append(Chunk(each.id, line, start, start + len(line)))
            start += len(line) + 1
        changes.append(PutDocument(f"file:{each.id}", each, cuts))
        texts += [cut.text for cut in cuts]
    vectors = embedder.embed(texts, input_type="document")
    with catalogue.writer(name, Space("lines", embedder.info)) as writer:
        writer.commit(changes, hashes=[text_hash(text) for text in texts], vectors=vectors)
        if publish:
            writer.publish()


def some(name: str, count: int, seed: int) -> list[Document]:
    random = np.random.default_rng(seed)
    return [
        document(
            f"{name}{number}",
            *(" ".join(random.choice(WORDS, 6)) for _ in range(3)),
            language=("es", "en")[number % 2],
            year=2000 + number % 4,
        )
        for number in range(count)
    ]


def asked(text: str) -> np.ndarray:
    return EMBEDDER.embed([text], input_type="query")[0]


@pytest.fixture
def shelves(catalogue):
    """a: published; b: published, and newer documents beside the index; c: nobody asks it; both: a and b."""
    a, b, newer, c = some("a", 30, 1), some("b", 40, 2), some("n", 7, 3), some("c", 50, 4)
    put(catalogue, "a", *a, publish=True)
    put(catalogue, "b", *b, publish=True)
    put(catalogue, "b", *newer)
    put(catalogue, "c", *c, publish=True)
    put(catalogue, "both", *a, *b, *newer, publish=True)
    return catalogue


def test_search_of_two_is_the_search_of_one_that_holds_both(shelves):
    several, one = shelves.collection("a", "b"), shelves.collection("both")
    for question in ("agua té north", "kettle and cup", "sal"):
        for where in ({}, {"language": "es"}, {"year": {"$gte": 2002}}):
            near = [(h.chunk.text, h.score) for h in several.nearest(asked(question), k=40, where=where)]
            same = [(h.chunk.text, h.score) for h in one.nearest(asked(question), k=40, where=where)]
            assert sorted(near) == sorted(same)
            options = {"vector": asked(question), "vector_k": 30, "text": question, "text_k": 300}
            found, expected = (each.rank(**options, where=where) for each in (several, one))
            assert np.isclose(found.mean, expected.mean)
            assert np.isclose(found.deviation, expected.deviation)
            assert np.isclose(found.bound, expected.bound), "words are weighed over both together"
            assert np.allclose(np.sort(found.bm25), np.sort(expected.bm25), atol=1e-5)
            assert np.allclose(np.sort(found.means), np.sort(expected.means), atol=1e-5)


def test_nothing_of_a_collection_that_was_not_asked_comes_in(shelves):
    several, other = shelves.collection("a", "b"), shelves.collection("c")
    foreign = np.array([h.chunk.key for h in other.nearest(asked("agua"), k=150, where={})], dtype=np.int64)
    foreign.sort()
    assert len(foreign) == 150
    question = other.read(foreign[:1].tolist())[0].text  # the best answer lies in c
    hits = several.nearest(asked(question), k=500, where={}) + several.matching(question, k=500, where={})
    assert {hit.chunk.collection for hit in hits} == {"a", "b"}
    assert several.read(foreign.tolist()) == []
    assert len(several.vectors(foreign)[0]) == 0
    assert len(several.weigh(foreign, vector=asked(question), text=question)) == 0


def test_names_are_followed_within_the_collections_that_are_searched(catalogue):
    for name in ("a", "b", "c"):
        put(catalogue, name, document(f"{name}-doc", f"text of {name}", title="Green Tea"))
    found = catalogue.collection("a", "b").named(["green tea"], where={})
    chunks = catalogue.collection("a", "b", "c").read(found["green tea"].tolist())
    assert [chunk.collection for chunk in chunks] == ["a", "b"]


def test_documents_of_one_id_in_two_collections_stay_two(catalogue):
    for name in ("a", "b"):
        put(catalogue, name, document("guide", f"boil water in {name}", f"wait and pour {name}"))
    collection = catalogue.collection("a", "b")
    retriever = Retriever(EMBEDDER, settings=RetrievalSettings(per_document=1))
    hits = retriever.search(collection, "boil water", k=4)
    assert sorted(hit.chunk.collection for hit in hits) == ["a", "b"], "one of each document"
    every = Retriever(EMBEDDER).search(collection, "boil water wait pour", k=4)
    passages = fit(every, budget=500, between=lambda chunk, start, end: "\n").passages
    assert sorted((p.chunk.collection, p.start, p.end) for p in passages) == [("a", 0, 31), ("b", 0, 31)]


def test_collections_of_two_embedders_are_refused_by_name(catalogue):
    put(catalogue, "a", document("x", "boil water"))
    other = HashEmbedder(dim=32, seed=7)
    put(catalogue, "b", document("y", "boil water"), embedder=other)
    with pytest.raises(EmbedderMismatch, match=r"'a' was embedded with .*.b. with .*hash-7.*rag index build"):
        catalogue.collection("a", "b").nearest(asked("water"), k=1, where={})


def test_one_that_is_empty_adds_nothing_and_one_that_is_not_there_is_told(catalogue):
    put(catalogue, "a", document("x", "boil water"))
    with catalogue.writer("empty", SPACE) as writer:
        writer.commit([], hashes=[], vectors=np.empty((0, 32), np.float32))
    (hit,) = catalogue.collection("empty", "a", "a").nearest(asked("water"), k=5, where={})
    assert hit.chunk.collection == "a"
    with pytest.raises(UnknownCollection, match="nowhere"):
        catalogue.collection("a", "nowhere")


def test_generation_that_breaks_is_left_out_and_those_of_the_others_stay(shelves, monkeypatch):
    several = shelves.collection("a", "b")
    before = several.generations
    expected = [h.chunk.key for h in several.matching("agua", k=20, where={})]
    (info,) = (each.generation for each in shelves.collections() if each.name == "a")
    lexical = shelves.generations.load(info).lexical
    folder = shelves.store.indexes / info.folder
    next(path for path in sorted(folder.rglob("*")) if path.suffix == ".npz").write_bytes(b"torn")

    def broken(*_, **__):
        raise IndexDamaged("torn")

    monkeypatch.setattr(lexical, "search", broken)
    assert [h.chunk.key for h in several.matching("agua", k=20, where={})] == expected
    assert several.generations == {"a": "", "b": before["b"]}


def test_snapshot_sees_what_was_there_whatever_is_committed_meanwhile(catalogue):
    put(catalogue, "a", *(document(f"d{n}", f"water number {n}") for n in range(8)), publish=True)
    collection = catalogue.collection("a")
    with collection.snapshot() as now:
        ranked = now.rank(vector=asked("water"), vector_k=8, text="water", text_k=8, where={})
        put(catalogue, "a", *(document(f"d{n}", f"other water {n}") for n in range(8)), publish=True)
        assert [chunk.text for chunk in now.read(ranked.keys.tolist())] == [
            f"water number {n}" for n in range(8)
        ]
        assert len(now.vectors(ranked.keys)[0]) == 8
        assert len(now.weigh(ranked.keys, vector=asked("water"), text="water")) == 8
    assert collection.read(ranked.keys.tolist()) == []
    assert len(collection.nearest(asked("water"), k=20, where={})) == 8


def test_search_gives_all_it_found_though_its_documents_are_replaced_meanwhile(catalogue):
    texts = [f"water number {n}" for n in range(12)]
    put(catalogue, "a", *(document(f"d{n}", text) for n, text in enumerate(texts)))

    class Replacing:
        """A reranker during whose work every document is replaced."""

        def score(self, question, passages, *, seconds):
            put(catalogue, "a", *(document(f"d{n}", f"new {n}") for n in range(12)))
            return [1.0] * len(passages)

    settings = RetrievalSettings(diversity=0.2, reranker="x")
    retriever = Retriever(EMBEDDER, settings=settings, reranker=Replacing())
    hits = retriever.search(catalogue.collection("a"), "water number", k=10)
    assert len(hits) == 10
    assert {hit.chunk.text for hit in hits} <= set(texts)


def test_answer_over_several_names_their_generations_and_reads_each_document_where_it_lies(shelves):
    def read(chunk: Chunk, start: int, end: int) -> str:
        return shelves.document(chunk.collection, chunk.document_id).text[start:end]

    pipeline = Pipeline(Retriever(EMBEDDER), read=read, calibration=lambda asked: None)
    answer = pipeline.ask(shelves.collection("a", "b"), "agua té north", k=12)
    assert list(answer.receipt.generations) == ["a", "b"]
    assert all(answer.receipt.generations.values())
    assert {chunk.collection for chunk in answer.receipt.chunks} == {"a", "b"}
    for passage in answer.context.passages:
        stored = shelves.document(passage.chunk.collection, passage.document_id).text
        assert stored[passage.start : passage.end] == passage.text


def test_document_that_moves_to_another_collection_is_served_from_there_alone(catalogue):
    put(catalogue, "a", document("x", "boil water"), publish=True)
    put(catalogue, "b", document("y", "red train"), publish=True)
    catalogue.remove_documents("a", ["x"])
    put(catalogue, "b", document("x", "boil water"))
    hits = catalogue.collection("a", "b").nearest(asked("boil water"), k=9, where={})
    assert [(h.chunk.collection, h.chunk.document_id) for h in hits] == [("b", "x"), ("b", "y")]


def test_chunks_of_one_text_keep_their_own_collection_in_every_hit(catalogue):
    same = document("x", "boil water")
    put(catalogue, "a", same)
    put(catalogue, "b", replace(same, id="z"))
    hits = catalogue.collection("b", "a").matching("boil", k=5, where={})
    assert [(h.chunk.collection, h.chunk.document_id) for h in hits] == [("a", "x"), ("b", "z")]
    assert hits[0].score == hits[1].score
