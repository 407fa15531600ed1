"""One contract for every vector index, compared by value with a slow exact oracle."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from indexes import vector
from indexes.exact import margin, scan
from indexes.kinds import COARSE
from indexes.settings import IndexSettings
from indexes.vector import VectorIndex

KINDS = sorted({*COARSE} - {"chroma-server"})  # which needs a server: tests/test_chroma.py
EXACT = [kind for kind in KINDS if COARSE[kind].exact]


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def clustered(count: int, dim: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((max(1, count // 50), dim))
    return unit(centres[random.integers(0, len(centres), count)] + 0.3 * random.standard_normal((count, dim)))


def oracle(keys, rows, vector, k, allowed=None) -> list[tuple[int, float]]:
    """Sum in Python's exact arithmetic, sort by score and key."""
    scored = []
    for key, row in zip(keys.tolist(), rows.tolist(), strict=True):
        if allowed is None or key in allowed:
            products = [a * b for a, b in zip(row, vector.tolist(), strict=True)]
            scored.append((key, float(np.float32(sum(products)))))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]


def built(kind, folder: Path, keys: np.ndarray, rows: np.ndarray):
    folder.mkdir()
    halves = [(keys[part], rows[part]) for part in np.array_split(np.arange(len(keys)), 3) if len(part)]
    about = {"coarse": COARSE[kind], "settings": IndexSettings()}
    VectorIndex.build(folder, iter(halves), count=len(keys), dim=rows.shape[1], **about)
    return VectorIndex.open(folder, **about)


def answer(index, vector, *, k, allowed=None) -> list[tuple[int, float]]:
    keys, scores = index.search(vector, k=k, allowed=allowed)
    assert keys.dtype == np.int64
    assert scores.dtype == np.float32
    return list(zip(keys.tolist(), scores.tolist(), strict=True))


def assert_same(found, expected) -> None:
    assert [key for key, _ in found] == [key for key, _ in expected]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in expected], atol=1e-7)


def assert_close(found, everything, *, k: int, recall: float) -> None:
    """As many as there are, scored as they are, best first, and most of those that an exact index finds."""
    scores = dict(everything)
    assert len(found) == min(k, len(everything))
    assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))
    np.testing.assert_allclose([score for _, score in found], [scores[key] for key, _ in found], atol=1e-7)
    best = {key for key, _ in everything[:k]}
    assert sum(key in best for key, _ in found) >= recall * len(best)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "dim"), [(1, 3), (7, 5), (300, 24), (2000, 48)])
def test_index_gives_what_the_oracle_gives(kind, count, dim, tmp_path):
    rows = clustered(count, dim, seed=count)
    keys = np.cumsum(np.random.default_rng(1).integers(1, 4, count)).astype(np.int64)
    index = built(kind, tmp_path / "index", keys, rows)
    assert index.keys.tolist() == keys.tolist()
    for question in clustered(5, dim, seed=99):
        for k in (1, 3, 10, count, count + 5):
            found, expected = answer(index, question, k=k), oracle(keys, rows, question, count)
            if COARSE[kind].exact:
                assert_same(found, expected[:k])
            else:
                assert_close(found, expected, k=k, recall=0.6)


@pytest.mark.parametrize("kind", KINDS)
def test_filter_limits_the_search_to_the_allowed_keys_exactly(kind, tmp_path):
    rows = clustered(800, 16, seed=3)
    keys = np.arange(10, 810, dtype=np.int64)
    index = built(kind, tmp_path / "index", keys, rows)
    random = np.random.default_rng(5)
    for size in (0, 1, 4, 100, 800):
        chosen = np.sort(random.choice(keys, size, replace=False))
        unknown = np.array([-7, 3, 5000], dtype=np.int64)
        for allowed in (chosen, np.sort(np.concatenate([chosen, unknown]))):
            for k in (1, 10, 900):
                expected = oracle(keys, rows, rows[17], k, allowed=set(allowed.tolist()))
                assert_same(answer(index, rows[17], k=k, allowed=allowed), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.6])
def test_filter_that_lets_many_pass_is_searched_through_the_index(kind, share, tmp_path, monkeypatch):
    monkeypatch.setattr(vector, "FEW_EXACT", 5)
    monkeypatch.setattr(vector, "FEW_CLOSE", 5)
    rows = clustered(4000, 24, seed=12)
    keys = np.arange(100, 4100, dtype=np.int64)
    index = built(kind, tmp_path / "index", keys, rows)
    allowed = keys[np.random.default_rng(3).random(4000) < share]
    for question in clustered(10, 24, seed=13):
        everything = oracle(keys, rows, question, 4000, allowed=set(allowed.tolist()))
        for k in (1, 10, 30):
            found = answer(index, question, k=k, allowed=allowed)
            if COARSE[kind].exact:
                assert_same(found, everything[:k])
            else:
                assert_close(found, everything, k=k, recall=0.6)


@pytest.mark.parametrize("kind", EXACT)
def test_equal_rows_score_equally_and_stand_by_key(kind, tmp_path):
    """Many more equal rows than k: whichever an index meets first, the lowest keys are the answer."""
    base = clustered(40, 12, seed=8)
    rows = np.concatenate([base, np.repeat(base[:1], 500, axis=0), base])
    keys = np.arange(1, len(rows) + 1, dtype=np.int64)
    index = built(kind, tmp_path / "index", keys, rows)
    found = answer(index, base[0], k=20)
    assert [key for key, _ in found] == [1, *range(41, 60)]
    assert len({score for _, score in found}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_empty_index_answers_with_nothing(kind, tmp_path):
    index = built(kind, tmp_path / "index", np.empty(0, dtype=np.int64), np.empty((0, 6), dtype=np.float32))
    vector = np.eye(6, dtype=np.float32)[0]
    assert answer(index, vector, k=3) == []
    assert answer(index, vector, k=3, allowed=np.array([1, 2])) == []


def test_every_kind_gives_the_same_scores_to_the_last_bit(tmp_path):
    rows = clustered(1500, 33, seed=21)
    keys = np.arange(1500, dtype=np.int64)
    indexes = {kind: built(kind, tmp_path / kind, keys, rows) for kind in KINDS}
    for question in clustered(20, 33, seed=22):
        ((every, scores),) = indexes["flat"].scan(question[np.newaxis], k=1500)
        scored = dict(zip(every.tolist(), scores.tolist(), strict=True))
        for kind, index in indexes.items():
            found = answer(index, question, k=50)
            assert found == [(key, scored[key]) for key, _ in found]
            if COARSE[kind].exact:
                assert [key for key, _ in found] == every[:50].tolist()


def test_coarse_scan_never_loses_a_row_that_ranks():
    """Rows that differ by less than float32 can tell apart in one product: the margin keeps them all."""
    random = np.random.default_rng(2)
    vector = unit(random.standard_normal(384))
    rows = unit(vector + 1e-4 * random.standard_normal((3000, 384)))
    keys = np.arange(3000, dtype=np.int64)
    exact = rows.astype(np.float64) @ vector.astype(np.float64)
    assert np.abs(rows @ vector - exact).max() < margin(384) / 2
    found, _ = scan(keys, rows, vector, k=25)
    assert found.tolist() == [key for key, _ in oracle(keys, rows, vector, 25)]


@pytest.mark.parametrize("kind", KINDS)
def test_threads_searching_at_once_get_their_own_answers(kind, tmp_path):
    rows = clustered(3000, 32, seed=4)
    index = built(kind, tmp_path / "index", np.arange(3000, dtype=np.int64), rows)
    wrong = []

    def search(start: int) -> None:
        for row in range(start, 3000, 60):
            keys, _ = index.search(rows[row], k=3)
            if keys[0] != row:
                wrong.append(row)

    threads = [threading.Thread(target=search, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_rows_that_their_bytes_cannot_tell_apart_are_ranked_as_they_are(tmp_path):
    """Rows far out make the steps wide: thousands of others share their bytes, or rank wrongly by them."""
    random = np.random.default_rng(6)
    vector = unit(random.standard_normal(48))
    near = unit(vector + 0.004 * random.standard_normal((4000, 48)))
    rows = np.concatenate([near, np.eye(48, dtype=np.float32), -np.eye(48, dtype=np.float32)])
    keys = np.arange(len(rows), dtype=np.int64)
    index = built("sq8", tmp_path / "index", keys, rows)
    for question in (vector, -vector, near[7], rows[4003]):
        for k in (1, 10, 200):
            expected, scores = scan(keys, rows, question, k=k)
            assert answer(index, question, k=k) == list(zip(expected.tolist(), scores.tolist(), strict=True))


def test_question_whose_small_numbers_are_lost_in_its_bytes_is_ranked_as_it_is(tmp_path):
    """Signs alone are kept whole by a byte each; all but one number of the question is not."""
    random = np.random.default_rng(10)
    rows = unit(random.choice([-1.0, 1.0], (4000, 64)))
    question = unit(np.concatenate([[1.0], 0.0035 * random.uniform(-1, 1, 63)]))
    keys = np.arange(4000, dtype=np.int64)
    index = built("sq8", tmp_path / "index", keys, rows)
    for k in (1, 10, 100):
        assert_same(answer(index, question, k=k), oracle(keys, rows, question, k))


@pytest.mark.parametrize("kind", KINDS)
def test_column_or_question_of_zeros_is_no_trouble(kind, tmp_path):
    rows = clustered(400, 16, seed=9)
    rows[:, 3] = 0
    rows[5] = 0
    keys = np.arange(400, dtype=np.int64)
    index = built(kind, tmp_path / "index", keys, rows)
    for question in (rows[8], np.zeros(16, dtype=np.float32), np.eye(16, dtype=np.float32)[3]):
        found = answer(index, question, k=10)
        if COARSE[kind].exact:
            assert_same(found, oracle(keys, rows, question, 10))
        else:  # of rows that all score alike any will do
            assert_close(found, oracle(keys, rows, question, 400), k=10, recall=0.7 if question.any() else 0)


@pytest.mark.slow
def test_building_does_not_hold_the_rows_in_memory(tmp_path):
    code = """
import pathlib, re, sys
import numpy as np
import faiss
from indexes.kinds import COARSE
from indexes.settings import IndexSettings
from indexes.vector import VectorIndex

def peak():  # in MB, of this program alone: ru_maxrss would begin with what its parent had
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]) / 1e3

def batches():
    random = np.random.default_rng(1)
    for start in range(0, 200_000, 4096):
        keys = np.arange(start, min(start + 4096, 200_000))
        rows = random.standard_normal((len(keys), 384), dtype=np.float32)
        yield keys, rows / np.linalg.norm(rows, axis=1, keepdims=True)

before = peak()
VectorIndex.build(
    pathlib.Path(sys.argv[1]), batches(), count=200_000, dim=384,
    coarse=COARSE["sq8"], settings=IndexSettings(),
)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    rows, codes = 200_000 * 384 * 4 / 1e6, 200_000 * 384 / 1e6
    assert float(done.stdout) < codes + 150 < rows
