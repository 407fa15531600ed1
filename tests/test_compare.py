"""Comparing runs: against exact oracles, and by simulating systems of which the truth is known."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import EvaluationError
from rag.evaluate import bootstrap, compare, evaluate, holm, mcnemar, sign_flip
from rag.types import Query


def values(**systems):
    """``compare``'s input from one list of values a system, all in the measure "m"."""
    return {
        name: {"m": {f"q{number:04d}": float(value) for number, value in enumerate(given)}}
        for name, given in systems.items()
    }


def one(old, new, **options):
    [comparison] = compare(values(old=old, new=new), baseline="old", measures=["m"], **options)
    return comparison


# --- the tests, against their definitions -------------------------------------------------------


def exact_sign_flip(differences: list[int]) -> Fraction:
    sums = [
        sum(sign * difference for sign, difference in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    reached = abs(sum(differences))
    return Fraction(sum(abs(each) >= reached for each in sums), len(sums))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=10))
def test_sign_flip_comes_near_the_p_of_all_sign_patterns(differences):
    # Four standard errors of 10,000 draws; tenths, so that sums in another order are not bit for bit equal.
    exact = float(exact_sign_flip(differences))
    drawn = sign_flip([difference / 10 for difference in differences])
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000) + 2e-4)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(0, 5))
def test_mcnemar_is_the_sign_flip_over_all_patterns_of_passes_and_fails(only_old, only_new):
    differences = [-1] * only_old + [1] * only_new
    assert mcnemar(only_old, only_new) == pytest.approx(float(exact_sign_flip(differences)))


def test_mcnemar_stays_exact_where_floats_would_overflow():
    assert mcnemar(2500, 2500) == 1.0
    assert 0 < mcnemar(2000, 2400) < 1e-8


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps):
    corrected = holm(ps)
    for alpha in (0.01, 0.05, 0.3):
        rejected = 0
        for rank, p in enumerate(sorted(ps)):
            if p * (len(ps) - rank) > alpha:
                break
            rejected += 1
        assert sum(each <= alpha for each in corrected) == rejected
    assert all(raw <= each for raw, each in zip(ps, corrected, strict=True))


def test_the_interval_of_many_differences_is_the_classical_one():
    differences = np.random.default_rng(3).normal(0.1, 0.5, 1000)
    half = 1.96 * differences.std(ddof=1) / math.sqrt(1000)
    low, high = bootstrap(differences)
    assert (low, high) == pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.002)


def test_the_interval_of_few_differences_is_as_wide_as_student_says():
    t = pytest.importorskip("scipy.stats").t
    differences = np.random.default_rng(4).normal(0, 1, 8)
    half = t.ppf(0.975, 7) * differences.std(ddof=1) / math.sqrt(8)
    low, high = bootstrap(differences)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert bootstrap([0.3]) == (-math.inf, math.inf)


def test_the_same_values_give_the_same_figures_in_any_order():
    random = np.random.default_rng(5)
    forth = values(old=random.random(40), new=random.random(40))
    back = {name: {"m": dict(reversed(each["m"].items()))} for name, each in forth.items()}
    asked = {"baseline": "old", "measures": ["m"]}
    assert compare(forth, **asked) == compare(forth, **asked) == compare(back, **asked)
    assert compare(forth, **asked) != compare(forth, **asked, seed=1)


# --- verdicts -----------------------------------------------------------------------------------

NOISE = np.random.default_rng(6).normal(0, 0.1, 100)
BASE = np.linspace(0.2, 0.8, 100)


def test_a_clear_difference_is_better_and_its_mirror_worse():
    better, worse = one(BASE, BASE + 0.1 + NOISE), one(BASE + 0.1 + NOISE, BASE)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.difference == pytest.approx(-worse.difference)
    assert better.p == worse.p
    assert better.low <= better.difference <= better.high
    assert better.candidate_mean - better.baseline_mean == pytest.approx(better.difference)
    assert better.more_queries is None


def test_a_difference_inside_the_declared_margin_is_equivalent_even_when_it_is_certain():
    small = BASE + 0.01 + NOISE / 100
    assert one(BASE, small).verdict == "better"
    assert one(BASE, small, margin=0.02).verdict == "equivalent"
    assert one(small, BASE, margin=0.005).verdict == "worse"


def test_noise_cannot_be_told_and_says_how_many_more_queries_it_takes():
    unsure = one(BASE, BASE + NOISE - NOISE.mean() + 0.01, margin=0.001)
    assert unsure.verdict == "cannot tell"
    # The error falls with the root of the number of queries.
    expected = 100 * ((unsure.detectable / 0.01) ** 2 - 1)
    assert unsure.more_queries == pytest.approx(expected, rel=0.1)
    assert (
        f"cannot tell new from old in m: needs about {unsure.more_queries:,} more queries" in unsure.sentence
    )
    assert f"detectable from {unsure.detectable:.4f} on" in unsure.sentence


def test_systems_that_balance_out_need_a_margin_before_a_number_can_be_foreseen():
    even = np.tile([0.1, -0.1], 20)
    assert one(np.full(40, 0.5), 0.5 + even).more_queries is None
    assert one(np.full(40, 0.5), 0.5 + even, margin=0.01).more_queries > 40


@pytest.mark.parametrize("gain", [0.0, 0.9])
def test_too_few_queries_never_pass_or_fail(gain):
    few = one([0.1] * 5, [0.1 + gain] * 5, margin=0.5)
    assert (few.verdict, few.more_queries, few.detectable) == ("cannot tell", 1, math.inf)
    assert json.loads(json.dumps(few.as_json()))["detectable"] is None
    assert one([0.1] * 6, [0.1 + gain] * 6).verdict == ("better" if gain else "equivalent")


def test_one_query_cannot_tell_and_says_so_in_plain_json():
    single = one([0.1], [0.9])
    assert single.verdict == "cannot tell"
    plain = json.loads(json.dumps(single.as_json(), allow_nan=False))
    assert (plain["low"], plain["high"], plain["more_queries"]) == (None, None, 5)


def test_pass_and_fail_are_judged_by_mcnemar():
    passed = one([1] * 10 + [0] * 10, [1] * 10 + [1] * 8 + [0] * 2)
    assert (passed.test, passed.p, passed.verdict) == ("McNemar", mcnemar(0, 8), "better")
    assert one([0.5] * 20, [0.6] * 20).test == "sign flip"


def test_several_candidates_and_measures_are_corrected_together():
    given = values(old=BASE, a=BASE + 0.02 + NOISE, b=BASE + 0.1 + NOISE)
    for system in given.values():
        system["n"] = system["m"]
    found = compare(given, baseline="old", measures=["m", "n"])
    assert [(each.candidate, each.measure) for each in found] == [
        ("a", "m"),
        ("a", "n"),
        ("b", "m"),
        ("b", "n"),
    ]
    assert [each.p_holm for each in found] == holm([each.p for each in found])
    alone = compare({"old": given["old"], "a": given["a"]}, baseline="old", measures=["m"])[0]
    assert found[0].detectable > alone.detectable  # what a family shows is less than what one pair shows


def test_queries_that_hang_together_are_one_piece_of_evidence():
    # Ten documents, ten questions each, and a difference that is the document's: ten observations.
    effects = np.repeat(np.random.default_rng(7).normal(0.05, 0.1, 10), 10)
    clusters = {f"q{number:04d}": f"d{number // 10}" for number in range(100)}
    free, tied = one(BASE, BASE + effects), one(BASE, BASE + effects, clusters=clusters)
    assert (free.clusters, tied.clusters, tied.queries) == (100, 10, 100)
    assert tied.difference == pytest.approx(free.difference)
    assert tied.p > 2 * free.p
    assert tied.high - tied.low > 2 * (free.high - free.low)
    assert tied.detectable > 2 * free.detectable


def test_clusters_of_one_query_change_nothing():
    clusters = {f"q{number:04d}": f"c{number:04d}" for number in range(100)}
    assert one(BASE, BASE + NOISE, clusters=clusters) == one(BASE, BASE + NOISE)


def test_a_query_that_one_system_failed_on_is_left_out_and_counted():
    given = values(old=[0.1] * 10, new=[0.2] * 10)
    del given["new"]["m"]["q0003"]
    [found] = compare(given, baseline="old", measures=["m"])
    assert (found.queries, found.left_out) == (9, 1)


def test_rows_of_an_evaluation_are_compared_as_they_come():
    qrels = {f"q{number}": {"d": 1} for number in range(8)}
    queries = [Query(query, "?") for query in qrels]
    rows = evaluate({"none": lambda _: [], "all": lambda _: [("d", 1.0)]}, queries, qrels)
    found = compare({row.system: row.by_query for row in rows}, baseline="none", measures=["nDCG@10"])
    assert found[0].verdict == "better"
    assert found[0].difference == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": "gone", "measures": ["m"]}, "no system 'gone' to compare with; there are old, new"),
        ({"baseline": "old", "measures": ["AP"]}, "no measure 'AP' of 'old'; there are m"),
        ({"baseline": "old", "measures": ["m"], "alpha": 0.0}, "choose 0 < alpha < 1"),
        ({"baseline": "old", "measures": ["m"], "margin": -0.1}, "a margin from 0 on"),
    ],
)
def test_what_cannot_be_compared_is_named(options, message):
    with pytest.raises(EvaluationError, match=message):
        compare(values(old=[0.1], new=[0.2]), **options)
    with pytest.raises(EvaluationError, match="no query in common"):
        compare({"a": {"m": {"q1": 0.0}}, "b": {"m": {"q2": 0.0}}}, baseline="a", measures=["m"])


# --- simulated systems, of which the truth is known ---------------------------------------------


def simulated(random: np.random.Generator, queries: int):
    """Two equal systems' values as nDCG gives them: hard and easy questions, many of them 0 or 1."""
    hard = random.uniform(-0.3, 1.3, queries)
    return (np.clip(hard + random.normal(0, 0.25, queries), 0, 1) for _ in range(2))


@pytest.mark.slow
def test_of_a_thousand_equal_pairs_at_most_five_in_a_hundred_are_called_different():
    random = np.random.default_rng(0)
    verdicts = [one(*simulated(random, 50), draws=999).verdict for _ in range(1000)]
    assert verdicts.count("better") + verdicts.count("worse") <= 50


@pytest.mark.slow
@pytest.mark.parametrize("queries", [30, 200])
def test_a_difference_of_the_detectable_size_is_seen_four_times_of_five(queries):
    random = np.random.default_rng(1)
    pilot = [one(*simulated(random, queries), draws=1).detectable for _ in range(200)]
    detectable = sum(pilot) / len(pilot)
    seen = 0
    for _ in range(1000):
        old, new = simulated(random, queries)
        seen += one(old, new + detectable, draws=999).verdict == "better"
    assert seen / 1000 == pytest.approx(0.8, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("queries", [10, 50])
def test_the_interval_holds_the_truth_as_often_as_it_says(queries):
    random = np.random.default_rng(2)
    held = 0
    for _ in range(1000):
        low, high = bootstrap(random.choice([0.0, 0.0, 0.2, 0.5, -0.3], queries), draws=999)
        held += low <= 0.08 <= high
    assert held / 1000 == pytest.approx(0.95, abs=0.025)
