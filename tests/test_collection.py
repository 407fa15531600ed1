"""Searching: always what SQL would say of the stored vectors and texts, whatever the indexes hold."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from indexes import live
from indexes.catalogue import Catalogue
from indexes.kinds import COARSE
from indexes.lexical import LexicalIndex
from indexes.moments import FEW
from indexes.settings import IndexSettings
from rag.errors import EmbedderMismatch, IndexDamaged, InvalidQuery, UnknownCollection
from rag.protocols import PutChunks, PutDocument, RemoveDocument, Space
from rag.testing import HashEmbedder
from rag.types import Chunk, Document, text_hash

ROOT = Path(__file__).resolve().parent.parent
EMBEDDER = HashEmbedder(dim=32)
SPACE = Space("lines", EMBEDDER.info)
NOTHING = {"hashes": [], "vectors": np.empty((0, 32), dtype=np.float32)}
WORDS = [
    *("agua", "té", "café", "leche", "azúcar", "sal", "pan", "aceite"),
    *("red", "green", "blue", "train", "boat", "plane", "north", "south"),
]


KINDS = sorted({*COARSE} - {"chroma-server"})  # which needs a server: tests/test_chroma.py


@pytest.fixture(params=KINDS)
def catalogue(request, tmp_path: Path):
    with Catalogue.open(tmp_path / "data", create=True, index=IndexSettings(kind=request.param)) as opened:
        yield opened


def doc(id: str, *lines: str, **metadata) -> Document:
    return Document(id, "\n".join(lines), metadata=metadata)


def put(writer, *documents: Document) -> None:
    changes, chunks = [], []
    for document in documents:
        cuts, start = [], 0
        for line in document.text.split("\n"):
            cuts.append(Chunk(document.id, line, start, start + len(line)))
            start += len(line) + 1
        chunks += cuts
        changes.append(PutDocument(f"file:{document.id}", document, cuts))
    texts = [chunk.embedded_text for chunk in chunks]
    vectors = EMBEDDER.embed(texts, input_type="document")
    writer.commit(changes, hashes=[text_hash(text) for text in texts], vectors=vectors)


def asked(text: str) -> np.ndarray:
    return EMBEDDER.embed([text], input_type="query")[0]


def some_documents(count: int, *, seed: int, lines: int = 3) -> list[Document]:
    random = np.random.default_rng(seed)
    return [
        doc(
            f"d{seed}-{number}",
            *(" ".join(random.choice(WORDS, 6)) + f" {number}" for _ in range(lines)),
            language=["es", "en", "fr"][number % 3],
            tags=("all", f"t{number % 5}"),
            year=2000 + number % 4,
            draft=number % 2 == 0,
        )
        for number in range(count)
    ]


def everything(catalogue: Catalogue, name: str = "c") -> list[Chunk]:
    return [chunk for info in catalogue.documents(name) for chunk in catalogue.chunks(name, info.id)]


def oracle(catalogue: Catalogue, question: str, k: int, passes=lambda chunk: True) -> list[tuple[int, float]]:
    chunks = [chunk for chunk in everything(catalogue) if passes(chunk)]
    rows = EMBEDDER.embed([chunk.embedded_text for chunk in chunks], input_type="document")
    scores = np.float32((rows.astype(float) * asked(question).astype(float)).sum(axis=1))
    scored = [(chunk.key, float(score)) for chunk, score in zip(chunks, scores, strict=True)]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]


def found(hits) -> list[tuple[int, float]]:
    return [(hit.chunk.key, hit.score) for hit in hits]


def assert_exact(catalogue: Catalogue, question: str = "agua té red train", k: int = 10) -> None:
    collection = catalogue.collection("c")
    assert found(collection.nearest(asked(question), k=k, where={})) == oracle(catalogue, question, k)


def test_nearest_is_exact_before_and_after_publishing_and_in_between(catalogue):
    first, second = some_documents(60, seed=1), some_documents(40, seed=2)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *first)
        assert_exact(catalogue)  # no generation yet: all of it is the delta
        writer.publish()
        assert_exact(catalogue)  # all of it is the generation
        put(writer, *second[:20])
        assert_exact(catalogue)  # both
        put(writer, *second[20:])
        assert_exact(catalogue, k=500)  # the delta grew; more than there are
        writer.publish()
        assert_exact(catalogue)
    assert catalogue.collections()[0].pending == 0


def test_kinds_of_index_give_the_same_hits(tmp_path):
    answers = []
    for kind in KINDS:
        with Catalogue.open(tmp_path / kind, create=True, index=IndexSettings(kind=kind)) as catalogue:
            with catalogue.writer("c", SPACE) as writer:
                put(writer, *some_documents(80, seed=3))
                writer.publish()
            collection = catalogue.collection("c")
            answers.append([found(collection.nearest(asked(word), k=20, where={})) for word in WORDS])
            assert catalogue.collections()[0].generation.kind == kind
    assert answers[0] == answers[1]


def test_deleted_document_is_never_served_by_an_old_generation(catalogue):
    documents = some_documents(50, seed=4)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *documents)
        writer.publish()
        collection = catalogue.collection("c")
        gone = {d.id for d in documents[:45]}
        writer.commit([RemoveDocument(id) for id in sorted(gone)], **NOTHING)
        for hits in (
            collection.nearest(asked("agua té"), k=15, where={}),
            collection.matching(" ".join(WORDS), k=15, where={}),
        ):
            assert len(hits) == 15  # all that is left, although the index was asked past 135 dead
            assert not gone & {hit.chunk.document_id for hit in hits}
        assert_exact(catalogue, k=15)


def test_generation_that_breaks_beneath_a_search_is_answered_without(catalogue, monkeypatch):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *some_documents(30, seed=12))
        writer.publish()
    collection = catalogue.collection("c")
    assert len(collection.matching("agua", k=5, where={})) == 5
    assert collection.generations["c"]

    whole = LexicalIndex.search

    def breaks(self, question, *, k, allowed=None):
        if self._name != "the index in memory":
            raise IndexDamaged("its files were cut short")
        return whole(self, question, k=k, allowed=allowed)

    monkeypatch.setattr(LexicalIndex, "search", breaks)
    assert len(collection.matching("agua", k=5, where={})) == 5
    assert collection.generations == {"c": ""}
    assert_exact(catalogue)


def test_replaced_text_is_never_served_and_the_new_one_is_found_at_once(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *some_documents(30, seed=5), doc("note", "the kettle is copper"))
        writer.publish()
        put(writer, doc("note", "the kettle is glass"))
        collection = catalogue.collection("c")
        assert (
            collection.nearest(asked("the kettle is copper"), k=1, where={})[0].chunk.text
            == "the kettle is glass"
        )
        assert [hit.chunk.text for hit in collection.matching("kettle", k=5, where={})] == [
            "the kettle is glass"
        ]
        assert collection.matching("copper", k=5, where={}) == []


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ({"language": "es"}, lambda c: c.metadata["language"] == "es"),
        ({"tags": "t3"}, lambda c: "t3" in c.metadata["tags"]),
        ({"year": "2001"}, lambda c: c.metadata["year"] == 2001),
        (
            {"draft": "true", "language": "en"},
            lambda c: c.metadata["draft"] and c.metadata["language"] == "en",
        ),
        ({"tags": "all"}, lambda c: True),
        ({"language": "xx"}, lambda c: False),
        ({"nothing": "es"}, lambda c: False),
        ({"language": "es' OR 1=1 --"}, lambda c: False),
    ],
)
def test_filter_gives_k_exact_hits_from_generation_and_delta(catalogue, where, passes):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *some_documents(60, seed=6))
        writer.publish()
        put(writer, *some_documents(30, seed=7))
    collection = catalogue.collection("c")
    for k in (1, 10, 1000):
        hits = collection.nearest(asked("pan sal"), k=k, where=where)
        assert found(hits) == oracle(catalogue, "pan sal", k, passes)
    matching = collection.matching("agua", k=1000, where=where)
    expected = {c.key for c in everything(catalogue) if passes(c) and "agua" in c.text}
    assert {hit.chunk.key for hit in matching} == expected


def test_filter_is_judged_anew_after_each_commit(catalogue):
    collection_of = {"language": "es"}
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "agua", language="es"), doc("b", "agua sal", language="en"))
        collection = catalogue.collection("c")
        assert {h.chunk.document_id for h in collection.matching("agua", k=9, where=collection_of)} == {"a"}
        put(writer, doc("a", "agua", language="en"), doc("b", "agua sal", language="es"))
        assert {h.chunk.document_id for h in collection.matching("agua", k=9, where=collection_of)} == {"b"}


def test_matching_finds_words_with_spanish_stems_in_generation_and_delta(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(
            writer,
            doc("a", "Las canciones de la montaña", language="es"),
            doc("x", "nothing here", language="en"),
        )
        writer.publish()
        put(writer, doc("b", "Una canción del río", language="es"))
    hits = catalogue.collection("c").matching("cancion", k=5, where={})
    assert {hit.chunk.document_id for hit in hits} == {"a", "b"}
    assert catalogue.collection("c").matching("zanahoria", k=5, where={}) == []
    assert catalogue.collection("c").matching("?!", k=5, where={}) == []


def test_many_small_commits_are_all_found_by_their_words(catalogue):
    """The lexical delta is merged as it grows; nothing may fall between its segments."""
    with catalogue.writer("c", SPACE) as writer:
        for number in range(40):
            put(writer, doc(f"d{number}", f"unique{number} common"))
            collection = catalogue.collection("c")
            hits = collection.matching(f"unique{number}", k=3, where={})
            assert [hit.chunk.document_id for hit in hits] == [f"d{number}"]
        assert len(collection.matching("common", k=100, where={})) == 40


def test_new_rare_word_outranks_common_words_of_an_old_generation(tmp_path):
    """A word's weight is that of the whole collection, not of the few newest chunks that hold it."""
    with Catalogue.open(tmp_path / "data", create=True) as catalogue, catalogue.writer("c", SPACE) as writer:
        put(writer, *some_documents(300, seed=8))
        writer.publish()
        put(writer, doc("new", "agua zyzzyva"))
        hits = catalogue.collection("c").matching("agua pan zyzzyva", k=3, where={})
        assert hits[0].chunk.document_id == "new"


def test_another_process_sees_commits_and_generations_without_restart(catalogue, tmp_path):
    code = """
import sys; from pathlib import Path
sys.path.insert(0, sys.argv[2])
from indexes.catalogue import Catalogue; from rag.testing import HashEmbedder
embedder = HashEmbedder(dim=32)
with Catalogue.open(Path(sys.argv[1]), create=False) as catalogue:
    collection = catalogue.collection("c")
    for line in sys.stdin:
        vector = embedder.embed([line.strip()], input_type="query")[0]
        near = collection.nearest(vector, k=1, where={})
        match = collection.matching(line, k=1, where={})
        print(*(hit.chunk.document_id for hit in near + match), flush=True)
"""
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "copper kettle"))
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "data"), str(ROOT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

        def ask(text: str) -> str:
            other.stdin.write(text + "\n")
            other.stdin.flush()
            return other.stdout.readline().strip()

        assert ask("copper kettle") == "a a"
        put(writer, doc("b", "glass kettle"))
        assert ask("glass kettle") == "b b"
        writer.publish()
        assert ask("copper kettle") == "a a"
        put(writer, doc("a", "iron pan"))
        assert ask("copper") == "b"  # the nearest that is left; no word of it matches
        writer.publish()
        assert ask("iron pan") == "a a"
    other.stdin.close()
    other.wait()
    other.stdout.close()


def test_threads_never_get_a_document_whose_deletion_was_acknowledged(catalogue):
    documents = some_documents(60, seed=9)
    deleted: set[str] = set()
    wrong: list[str] = []
    done = threading.Event()

    def search() -> None:
        collection = catalogue.collection("c")
        while not done.is_set():
            before = set(deleted)
            hits = collection.nearest(asked("agua té"), k=30, where={})
            hits += collection.matching("agua té café", k=30, where={"tags": "all"})
            wrong.extend(before & {hit.chunk.document_id for hit in hits})

    threads = [threading.Thread(target=search) for _ in range(3)]
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *documents)
        writer.publish()
        for thread in threads:
            thread.start()
        for number, document in enumerate(documents[:40]):
            writer.commit([RemoveDocument(document.id)], **NOTHING)
            deleted.add(document.id)
            if number % 10 == 0:
                put(writer, doc(f"more{number}", "agua té nuevo", tags=("all",)))
                writer.publish()
        done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_vectors_of_another_embedder_are_refused_with_both_names(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
    other = HashEmbedder(dim=32, seed=7)
    collection = catalogue.collection("c", embedder=other.info)
    with pytest.raises(EmbedderMismatch, match=r"hash-0-32-64.*hash-7-32-64.*rag ingest"):
        collection.nearest(asked("one"), k=1, where={})
    with pytest.raises(EmbedderMismatch, match="16 dimensions"):
        catalogue.collection("c").nearest(
            HashEmbedder(dim=16).embed(["one"], input_type="query")[0], k=1, where={}
        )


def test_impossible_questions_are_refused(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
    collection = catalogue.collection("c")
    with pytest.raises(InvalidQuery, match="k = 0"):
        collection.nearest(asked("one"), k=0, where={})
    with pytest.raises(InvalidQuery, match="k = -1"):
        collection.matching("one", k=-1, where={})
    with pytest.raises(InvalidQuery, match="finite"):
        collection.nearest(np.full(32, np.nan, dtype=np.float32), k=1, where={})
    with pytest.raises(UnknownCollection, match="there are: c"):
        catalogue.collection("d")


def test_collection_removed_beneath_a_search_is_named(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
    collection = catalogue.collection("c")
    catalogue.remove_collection("c")
    with pytest.raises(UnknownCollection, match="'c'"):
        collection.nearest(asked("one"), k=1, where={})


def test_empty_collection_answers_with_nothing(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "one"))
        writer.publish()
        writer.commit([RemoveDocument("a")], **NOTHING)
        writer.publish()
    assert catalogue.collection("c").nearest(asked("one"), k=5, where={}) == []
    assert catalogue.collection("c").matching("one", k=5, where={}) == []


def test_embedding_anew_swaps_between_two_searches(catalogue):
    documents = some_documents(20, seed=10)
    other = HashEmbedder(dim=48, seed=2)
    space = Space("lines", other.info)
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *documents)
        writer.publish()
    assert_exact(catalogue)
    with catalogue.writer("c", space) as writer:
        for document in writer.unmoved(space):
            chunks = [Chunk(document.id, document.text, 0, len(document.text))]
            vectors = other.embed([document.text], input_type="document")
            writer.commit([PutChunks(document, chunks)], hashes=[text_hash(document.text)], vectors=vectors)
            assert_exact(catalogue)
        writer.activate()
    vector = other.embed([documents[3].text], input_type="query")[0]
    (hit,) = catalogue.collection("c", embedder=other.info).nearest(vector, k=1, where={})
    assert hit.chunk.document_id == documents[3].id
    assert hit.score == pytest.approx(1.0)
    with pytest.raises(EmbedderMismatch):
        catalogue.collection("c").nearest(asked("agua"), k=1, where={})


# --- how the cosines of a question are spread --------------------------------------------------


def test_the_spread_is_that_of_every_vector_whether_indexed_or_newer(catalogue):
    first, second = (some_documents(40, seed=seed) for seed in (3, 4))
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *first)
        writer.publish()
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *second)
        collection = catalogue.collection("c")
        answers = [collection.rank(vector=asked("agua train"), vector_k=20, text="agua", text_k=20, where={})]
        writer.publish()
        answers.append(
            collection.rank(vector=asked("agua train"), vector_k=20, text="agua", text_k=20, where={})
        )
    chunks = everything(catalogue)
    cosines = EMBEDDER.embed([c.embedded_text for c in chunks], input_type="document") @ asked("agua train")
    spoken = {chunk.key: chunk.metadata["language"] for chunk in chunks}
    for answer in answers:
        assert answer.mean == pytest.approx(cosines.mean(), abs=1e-5)
        assert answer.deviation == pytest.approx(cosines.std(), abs=1e-5)
        for key, mean in zip(answer.keys.tolist(), answer.means.tolist(), strict=True):
            own = cosines[[chunk.metadata["language"] == spoken[key] for chunk in chunks]]
            drawn = (own.sum() + FEW * cosines.mean()) / (len(own) + FEW)
            assert mean == pytest.approx(drawn, abs=1e-5)
    assert len({*answers[0].means.tolist()}) == 3


def test_every_candidate_has_both_scores_whichever_leg_offered_it(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *some_documents(60, seed=5))
        writer.publish()
        put(writer, *some_documents(10, seed=6))
        collection = catalogue.collection("c")
        few = collection.rank(vector=asked("agua red"), vector_k=4, text="train boat", text_k=4, where={})
    every = collection.rank(vector=asked("agua red"), vector_k=500, text="train boat", text_k=500, where={})
    assert 4 < len(few) <= 8
    place = np.searchsorted(every.keys, few.keys)
    assert few.cosines == pytest.approx(every.cosines[place])
    assert few.bm25 == pytest.approx(every.bm25[place])
    again = collection.weigh(few.keys, vector=asked("agua red"), text="train boat")
    assert again.keys.tolist() == few.keys.tolist()
    assert (again.bm25 == few.bm25).all()
    assert again.cosines == pytest.approx(few.cosines)


def test_documents_are_found_by_the_name_that_others_call_them(catalogue):
    titled = [Document(f"t{n}", f"text {n}", title=title) for n, title in enumerate(("Agua (río)", "Té", ""))]
    with catalogue.writer("c", SPACE) as writer:
        put(writer, *titled)
    collection = catalogue.collection("c")
    found_by = collection.named(["agua", "te", "nothing"], where={})
    assert {
        name: [c.document_id for c in collection.read(keys.tolist())] for name, keys in found_by.items()
    } == {
        "agua": ["t0"],
        "te": ["t1"],
    }
    assert collection.named(["agua"], where={"language": "es"}) == {}
    with catalogue.writer("c", SPACE) as writer:
        writer.commit([RemoveDocument("t0")], **NOTHING)
    assert list(collection.named(["agua", "te"], where={})) == ["te"]


def test_vectors_are_read_by_key_and_those_of_the_dead_are_left_out(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "agua"), doc("b", "pan"))
    collection = catalogue.collection("c")
    keys = np.array([chunk.key for chunk in everything(catalogue)])
    known, rows = collection.vectors(np.append(keys[::-1], 999))
    assert known.tolist() == sorted(keys.tolist())
    assert rows == pytest.approx(EMBEDDER.embed(["agua", "pan"], input_type="document"))
    with catalogue.writer("c", SPACE) as writer:
        writer.commit([RemoveDocument("a")], **NOTHING)
    assert collection.vectors(keys)[0].tolist() == [keys[1]]


def test_what_stands_beside_a_chunk_is_of_its_document_as_it_is_now(catalogue):
    with catalogue.writer("c", SPACE) as writer:
        put(writer, doc("a", "agua", "pan", "sal"), doc("b", "red"), doc("d", "blue", "green"))
        collection = catalogue.collection("c")
        keys = np.array([chunk.key for chunk in everything(catalogue)])
        a, b, d = keys[:3].tolist(), keys[3], keys[4:].tolist()
        near = {key: sorted(beside) for key, beside in collection.beside(np.append(keys, 999)).items()}
        assert near == {a[0]: [a[1]], a[1]: [a[0], a[2]], a[2]: [a[1]], d[0]: [d[1]], d[1]: [d[0]]}
        assert b not in near
        put(writer, doc("a", "agua", "boat"))
        writer.commit([RemoveDocument("d")], **NOTHING)
    first, second = (chunk.key for chunk in catalogue.chunks("c", "a"))
    assert collection.beside(np.append(keys, [first, second])) == {first: [second], second: [first]}


@pytest.mark.parametrize("sql", [live.LANGUAGES, live.VECTORS, live.TOKENS, live.BESIDE])
def test_what_is_read_of_some_chunks_walks_past_no_others(tmp_path, sql):
    """SQLite may take another way: through the language of every document it took 230 ms for 200 chunks of
    11,429 documents, chunk by chunk it takes 0.7."""
    with Catalogue.open(tmp_path / "data", create=True) as opened, opened.store.reading() as db:
        asked = ("[1, 2]",) * sql.count("?")
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", asked)]
    assert plan[0].startswith("SCAN asked")
    assert "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert not any("name=?)" in step and "document_key" not in step for step in plan)
    if sql == live.BESIDE:
        assert any(
            "SEARCH n" in step and "document_key=? AND space_id=? AND ordinal=?" in step for step in plan
        )
