"""Verdicts hold what they promise: simulated systems, of which the truth is known.

A small part of ``python -m bench.comparison``, drawn from fixed seeds, with room for the chance of so few.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from bench.comparison import SHAPES, equivalence, family, forecast, level, power  # noqa: E402
from rag.evaluate import sign_flip  # noqa: E402
from rag.evaluate.paired import Spread, student, student_tails  # noqa: E402
from rag.evaluate.power import detectable, more_queries  # noqa: E402

BELIEVED = ["graded", "sparse", "binary", "skewed", "clustered"]


@pytest.mark.parametrize("name", BELIEVED)
def test_equal_systems_are_called_different_five_times_in_a_hundred_at_most(name):
    found = level(SHAPES[name], 20, 250, draws=199)
    assert found.low <= 0.05, f"{found.value:.3f} of {found.of}"


def test_sign_flips_alone_would_call_skewed_ones_different_too_often():
    # Why p is the larger of two: without the other test this file would fail.
    random = np.random.default_rng(0)
    pairs = [SHAPES["skewed"](random, 20, 0.0) for _ in range(400)]
    differences = [pair.new - pair.old for pair in pairs]
    flips = np.array([sign_flip(each, draws=199) for each in differences])
    both = np.maximum(flips, [Spread.of(each).p() for each in differences])
    assert (flips <= 0.05).mean() > 0.07 > (both <= 0.05).mean()


def test_of_twenty_comparisons_of_equal_systems_none_is_called_different():
    found = family(SHAPES["sparse"], 30, 25, draws=499)
    assert found.low <= 0.05


@pytest.mark.parametrize("name", BELIEVED)
def test_what_is_detectable_is_seen_four_times_of_five(name):
    found = power(SHAPES[name], 50, 120, draws=199, pilots=40)
    assert found.low <= 0.9, f"{found.value:.3f}"
    assert found.high >= 0.7, f"{found.value:.3f}"


@pytest.mark.parametrize("name", BELIEVED)
def test_a_difference_of_the_margin_is_rarely_called_equivalent(name):
    assert equivalence(SHAPES[name], 50, 120, draws=199, pilots=40).low <= 0.05


@pytest.mark.parametrize("margin", [False, True])
def test_so_many_more_queries_as_foretold_bring_a_verdict(margin):
    found = forecast(SHAPES["graded"], 30, 90, margin=margin, draws=199, pilots=40)
    assert found.of > 25
    assert found.low <= 0.97
    assert found.high >= 0.75


# --- the pieces, against their definitions ------------------------------------------------------


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 19, 200, 1001])
def test_the_tails_of_students_t_are_those_of_a_table(freedom):
    distribution = pytest.importorskip("scipy.stats").t
    for t in (0.0, 0.3, 1.0, 2.5, 6.0):
        assert student_tails(t, freedom) == pytest.approx(2 * distribution.sf(t, freedom), abs=1e-12)
    assert student_tails(student(0.975, 30), 30) == pytest.approx(0.05, abs=1e-5)


def test_without_skewness_the_test_is_students_and_the_interval_what_it_does_not_reject():
    stats = pytest.importorskip("scipy.stats")
    even = np.concatenate([np.linspace(0.1, 0.9, 15), -np.linspace(0.1, 0.9, 15)]) + 0.05
    assert Spread.of(even).p() == pytest.approx(stats.ttest_1samp(even, 0).pvalue)
    skewed = np.random.default_rng(1).exponential(1, 30)
    for end in Spread.of(skewed).interval(level=0.95):
        assert Spread.of(skewed - end).p() == pytest.approx(0.05, abs=1e-4)


def test_a_mirrored_pair_has_the_same_p_and_the_mirrored_interval():
    skewed = np.random.default_rng(2).exponential(1, 12) - 0.4
    one, other = Spread.of(skewed), Spread.of(-skewed)
    assert one.p() == pytest.approx(other.p())
    assert one.interval() == pytest.approx([-end for end in reversed(other.interval())])


def test_clusters_of_one_size_are_as_good_as_their_means():
    differences = np.random.default_rng(3).normal(0.1, 1, (10, 4))
    tied, means = Spread.of(differences.sum(axis=1), np.full(10, 4.0)), Spread.of(differences.mean(axis=1))
    assert tied == pytest.approx(means)


def test_differences_that_are_all_one_value_are_certain():
    assert Spread.of([0.1] * 9) == (pytest.approx(0.1), 0.0, 0.0, 8)
    assert (Spread.of([0.1] * 9).p(), Spread.of([0.0] * 9).p()) == (0.0, 1.0)
    assert Spread.of([0.3]).interval() == (-np.inf, np.inf)


def test_where_few_questions_differ_the_fewest_that_any_test_needs_bound_what_is_detectable():
    # Two of 200 differ: their variance is small, but a verdict takes six, so about 8 of 200.
    few = np.zeros(200)
    few[:2] = 1.0, -1.0
    assert detectable(few, np.ones(200), alpha=0.05, exact=True) == pytest.approx(8 / 200, abs=0.002)
    assert detectable(few / 10, np.ones(200), alpha=0.05) == pytest.approx(0.8 / 200, abs=0.0002)


def test_a_margin_shortens_the_way_where_it_is_nearer_than_the_difference():
    asked = {"seen": 0.04, "error": 0.0143, "difference": 0.005, "alpha": 0.05}
    alone = more_queries(100, margin=0.0, **asked)
    assert alone == pytest.approx(100 * (8**2 - 1), rel=0.02)
    assert more_queries(100, margin=0.03, **asked) < alone
    assert more_queries(100, margin=0.0, **{**asked, "difference": 0.0}) is None
