"""What bench/vectors must not get wrong: the rows that it draws, and the recall that it tells."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from bench.vectors.__main__ import exact, recall  # noqa: E402
from bench.vectors.data import drawn, extended, shuffled  # noqa: E402
from bench.vectors.plot import plot  # noqa: E402
from rag.types import Vectors  # noqa: E402


def unit(rows: Vectors) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, *, dim: int = 16) -> Vectors:
    random = np.random.default_rng(3)
    centres = random.standard_normal((5, dim))
    return unit(centres[random.integers(0, 5, count)] + 0.2 * random.standard_normal((count, dim)))


def test_drawn_rows_are_the_same_each_time_unit_and_no_copies() -> None:
    rows = clustered(400)
    first, again = (np.concatenate(list(drawn(rows, 1_000))) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.shape == (1_000, 16)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-6)
    assert (first @ rows.T).max() < 1 - 1e-6


def test_drawn_rows_lie_in_the_clusters_as_far_apart_as_the_real_ones() -> None:
    rows = clustered(1_000)
    found = np.concatenate(list(drawn(rows[:500], 500)))
    nearest = np.median((found @ rows[500:].T).max(axis=1))
    real = np.median((rows[:500] @ rows[500:].T).max(axis=1))
    assert abs(nearest - real) < 0.02


def test_the_first_rows_of_an_extension_are_the_real_ones(tmp_path: Path) -> None:
    real = shuffled(clustered(300), clustered(20))
    rows = extended(real, 500, tmp_path / "rows.npy")
    assert rows.shape == (500, 16)
    assert np.array_equal(rows[: len(real.rows)], real.rows)
    assert not set(map(bytes, real.held_out)) & set(map(bytes, rows))


def test_exact_and_recall_agree_with_a_sorted_scan(tmp_path: Path) -> None:
    rows = clustered(700)
    asked = clustered(9) + np.float32(0)
    truth = exact(rows, asked, tmp_path / "truth.npy")
    order = np.argsort(-(asked @ rows.T), axis=1)
    assert np.allclose(truth, np.take_along_axis(asked @ rows.T, order[:, :100], axis=1), atol=1e-6)
    assert (recall(order[:, :10], rows, asked, truth, k=10) == 1).all()
    worse = order[:, :10].copy()
    worse[:, 7:] = order[:, 300:303]
    assert np.allclose(recall(worse, rows, asked, truth, k=10), 0.7)
    assert (recall(np.full((9, 10), -1), rows, asked, truth, k=10) == 0).all()


def test_a_system_that_gave_up_is_in_no_plot() -> None:
    measured = {"rows": 1_000, "system": "one", "p95_100": 1.0, "rss": 1e6, "seconds": 2.0, "disk": 1e6}
    svg = plot([measured, {"rows": 1_000, "system": "other", "given_up": 60.0}])
    assert "one" in svg
    assert "other" not in svg
