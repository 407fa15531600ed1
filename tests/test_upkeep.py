"""Looking after indexes: built, gone back from, removed and measured, without a change to any answer."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from indexes import generation, upkeep
from indexes.catalogue import Catalogue
from indexes.kinds import COARSE, choose
from indexes.matrix import ROWS_FILE
from indexes.settings import IndexSettings
from rag.errors import IndexDamaged, NotFound, UnknownCollection
from rag.protocols import RemoveDocument, Space
from rag.testing import HashEmbedder, put_texts

EMBEDDER = HashEmbedder(dim=24)
SPACE = Space("whole", EMBEDDER.info)
WORDS = ["agua", "té", "café", "leche", "sal", "pan", "red", "green", "blue", "train", "boat", "north"]
NOTHING = {"hashes": [], "vectors": np.empty((0, 24), dtype=np.float32)}


def opened(folder: Path, **settings) -> Catalogue:
    return Catalogue.open(folder, create=True, index=IndexSettings(**settings))


def put(catalogue: Catalogue, count: int, *, seed: int = 0, publish: bool = True) -> None:
    random = np.random.default_rng(seed)
    texts = [f"{' '.join(random.choice(WORDS, 5))} {seed}x{number}" for number in range(count)]
    named = {f"d{seed}-{number}": text for number, text in enumerate(texts)}
    with catalogue.writer("c", SPACE) as writer:
        put_texts(writer, named, EMBEDDER.embed(texts, input_type="document"))
        if publish:
            writer.publish()


def asked(count: int = 12) -> np.ndarray:
    return EMBEDDER.embed(WORDS[:count], input_type="query")


def answers(catalogue: Catalogue) -> list:
    collection = catalogue.collection("c")
    return [[(hit.chunk.key, hit.score) for hit in collection.nearest(v, k=8, where={})] for v in asked()]


# --- which kind ---------------------------------------------------------------------------------


def test_auto_is_exact_while_that_is_fast_enough_and_says_why():
    small, why_small = choose(IndexSettings(), count=20_000, dim=384)
    large, why_large = choose(IndexSettings(), count=1_000_000, dim=384)
    assert COARSE[small].exact
    assert not COARSE[large].exact
    assert "20,000" in why_small
    assert "1,000,000" in why_large
    assert choose(IndexSettings(latency_ms=1000), count=1_000_000, dim=384)[0] == small
    assert choose(IndexSettings(latency_ms=0.1), count=20_000, dim=384)[0] == large
    assert choose(IndexSettings(kind="hnsw"), count=10, dim=384)[0] == "hnsw"


def test_collection_that_grows_past_the_latency_gets_the_faster_kind_at_the_next_publishing(tmp_path):
    with opened(tmp_path / "data", latency_ms=0.0001) as catalogue:  # 41 rows of 24 numbers
        put(catalogue, 40)
        assert upkeep.state(catalogue, "c").serving.kind == "sq8"
        before = answers(catalogue)
        put(catalogue, 20, seed=1, publish=False)
        assert "rabitq is wanted" in upkeep.state(catalogue, "c").due
        put(catalogue, 1, seed=2)
        assert upkeep.state(catalogue, "c").serving.kind == "rabitq"
        assert all(set(old) & set(new) for old, new in zip(before, answers(catalogue), strict=True))


# --- state --------------------------------------------------------------------------------------


def test_state_tells_what_answers_what_is_newer_and_what_is_dead(tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 30)
        put(catalogue, 5, seed=1, publish=False)
        with catalogue.writer("c", SPACE) as writer:
            writer.commit([RemoveDocument("d0-3"), RemoveDocument("d1-0")], **NOTHING)
        state = upkeep.state(catalogue, "c")
        assert (state.chunks, state.newer, state.dead) == (33, 4, 1)
        assert state.serving.folder == "c/000001"
        assert state.serving.recall == 1.0
        assert "4 chunks are newer" in state.due
        assert "1 in it are deleted" in state.due
        assert state.kind == "sq8"
        (one,) = state.generations
        folder = catalogue.store.indexes / "c" / "000001"
        manifest = folder / "MANIFEST.json"
        files = [path for path in folder.rglob("*") if path.is_file() and path != manifest]
        assert one.bytes == sum(path.stat().st_size for path in files)
        with pytest.raises(UnknownCollection):
            upkeep.state(catalogue, "nope")


def test_chunks_are_counted_along_whatever_happens_to_them(tmp_path):
    def counted() -> None:
        with catalogue.store.reading() as db:
            for space, live in db.execute("SELECT id, chunks FROM spaces").fetchall():
                (rows,) = db.execute("SELECT count(*) FROM chunks WHERE space_id = ?", (space,)).fetchone()
                assert live == rows

    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 12)
        counted()
        put(catalogue, 12, seed=0)  # every document again
        counted()
        catalogue.remove_documents("c", ["d0-1", "d0-2"])
        counted()
        assert upkeep.state(catalogue, "c").chunks == 10
        with catalogue.writer("c", Space("other", EMBEDDER.info)) as writer:  # a move that is not finished
            writer.commit([], **NOTHING)
        counted()
        catalogue.remove_collection("c")
        counted()


def test_old_index_is_built_anew_for_any_change(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "SMALL", 10)
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 200)
        put(catalogue, 1, seed=1)
        assert upkeep.state(catalogue, "c").newer == 1
        with catalogue.store.writing() as db:
            db.execute("UPDATE generations SET created_at = '2020-01-01T00:00:00+00:00'")
        assert "1 chunks are newer" in upkeep.state(catalogue, "c").due
        with catalogue.writer("c", SPACE) as writer:
            writer.publish()
        assert upkeep.state(catalogue, "c").newer == 0


def test_many_new_chunks_are_indexed_however_large_the_collection_is(tmp_path, monkeypatch):
    monkeypatch.setattr(generation, "SMALL", 10)
    monkeypatch.setattr(generation, "NEWEST", 4)
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 400)
        put(catalogue, 4, seed=1)
        assert upkeep.state(catalogue, "c").newer == 4
        put(catalogue, 1, seed=2)
        assert upkeep.state(catalogue, "c").newer == 0


# --- building, going back, removing -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flat", "sq8", "hnsw", "rabitq"])
def test_another_kind_is_built_beside_the_one_that_answers(kind, tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 300)
        expected = answers(catalogue)
    with opened(tmp_path / "data", kind=kind) as catalogue:
        made = upkeep.build(catalogue, "c")
        assert (made.kind, made.count, made.folder) == (kind, 300, "c/000002")
        assert 0.9 <= made.recall <= 1
        assert answers(catalogue) == expected  # 300 rows are read whole by any kind


def test_building_interrupts_no_search(tmp_path):
    wrong, done = [], threading.Event()
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 400)
        expected = answers(catalogue)

        def search() -> None:
            with opened(tmp_path / "data") as reader:
                while not done.is_set():
                    if answers(reader) != expected:
                        wrong.append(1)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        for kind in ("flat", "rabitq", "hnsw", "sq8") * 2:
            with opened(tmp_path / "data", kind=kind) as other:
                upkeep.build(other, "c")
        done.set()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_going_back_answers_from_the_one_before_and_loses_nothing(tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 30)
        with pytest.raises(NotFound, match="no generation to go back to"):
            upkeep.roll_back(catalogue, "c")
        put(catalogue, 30, seed=1)
        expected = answers(catalogue)
        gone, back = upkeep.roll_back(catalogue, "c")
        assert (gone.folder, back.folder) == ("c/000002", "c/000001")
        assert not (catalogue.store.indexes / "c" / "000002").exists()
        state = upkeep.state(catalogue, "c")
        assert (state.serving.folder, state.newer) == ("c/000001", 30)
        assert answers(catalogue) == expected  # what came later is searched beside it
        assert upkeep.build(catalogue, "c").folder == "c/000003"  # no name is used twice


def test_a_damaged_generation_is_not_gone_back_to(tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 30)
        put(catalogue, 30, seed=1)
        (catalogue.store.indexes / "c" / "000001" / "vectors" / ROWS_FILE).unlink()
        with pytest.raises(IndexDamaged):
            upkeep.roll_back(catalogue, "c")
        assert upkeep.state(catalogue, "c").serving.folder == "c/000002"


def test_any_generation_is_removed_by_name_and_none_is_needed_to_answer(tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 30)
        put(catalogue, 30, seed=1)
        expected = answers(catalogue)
        assert upkeep.remove(catalogue, "c", "c/000002").id == 2
        assert upkeep.remove(catalogue, "c", "1").folder == "c/000001"
        assert upkeep.state(catalogue, "c").serving is None
        assert answers(catalogue) == expected
        with pytest.raises(NotFound, match="there are: none"):
            upkeep.remove(catalogue, "c", "1")


# --- audit --------------------------------------------------------------------------------------


def test_audit_measures_what_an_index_finds_against_a_look_at_every_row(tmp_path):
    random = np.random.default_rng(5)
    rows = random.standard_normal((3000, 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with opened(tmp_path / "data", kind="rabitq", effort=0.3) as catalogue:
        with catalogue.writer("c", SPACE) as writer:
            put_texts(writer, {f"d{number}": f"text {number}" for number in range(len(rows))}, rows)
            writer.publish()
        questions = random.standard_normal((40, 24)).astype(np.float32)
        questions /= np.linalg.norm(questions, axis=1, keepdims=True)
        found = upkeep.audit(catalogue, "c", questions, recall=0.95)

        collection = catalogue.collection("c")
        shares = []
        for question in questions:
            best = np.argsort(-(rows @ question))[:10] + 1  # keys count from 1 here
            mine = [hit.chunk.key for hit in collection.nearest(question, k=10, where={})]
            shares.append(np.isin(best, mine).mean())
    now = next(one for one in found.tried if one.effort == found.effort)
    assert now.recall_at_10 == pytest.approx(np.mean(shares))
    assert now.recall_at_10 < 0.95  # so little effort must show
    by_effort = [one.recall_at_10 for one in found.tried]
    assert by_effort == sorted(by_effort)
    assert found.advice == next((one.effort for one in found.tried if one.recall_at_10 >= 0.95), None)


@pytest.mark.parametrize("kind", ["rabitq", "hnsw"])
def test_rows_that_score_alike_are_not_missed_where_another_of_them_is_found(kind, tmp_path):
    """Of hundreds of equal rows ten are the best by their keys; any ten are found as well."""
    rows = np.repeat(np.eye(24, dtype=np.float32)[:4], 400, axis=0)
    with opened(tmp_path / "data", kind=kind) as catalogue:
        with catalogue.writer("c", SPACE) as writer:
            put_texts(writer, {f"d{number}": f"text {number}" for number in range(len(rows))}, rows)
            writer.publish()
        assert upkeep.state(catalogue, "c").serving.recall == 1.0
        (now, *_) = upkeep.audit(catalogue, "c", rows[::400], recall=0.95).tried
        assert now.recall_at_10 == 1.0


def test_audit_of_an_exact_kind_has_one_line_and_finds_all(tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 60)
        found = upkeep.audit(catalogue, "c", asked(), recall=0.95)
        assert [one.recall_at_10 for one in found.tried] == [1.0]
        upkeep.remove(catalogue, "c", "1")
        with pytest.raises(NotFound, match="rag index build -c c"):
            upkeep.audit(catalogue, "c", asked(), recall=0.95)


def test_sample_is_spread_over_the_collection(tmp_path):
    with opened(tmp_path / "data") as catalogue:
        put(catalogue, 50)
        assert [chunk.key for chunk in upkeep.sampled(catalogue, "c", 10)] == list(range(1, 51, 5))
        assert len(upkeep.sampled(catalogue, "c", 500)) == 50
