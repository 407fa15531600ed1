"""Agreement of judges: against published examples, scikit-learn, slow oracles and simulated judges."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import EvaluationError
from rag.evaluate import Judgement
from rag.evaluate.agreement import agreements, alpha, graded, kappa

gradings = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


def two(pairs) -> tuple[dict[str, int], dict[str, int]]:
    return tuple({f"item {n}": pair[judge] for n, pair in enumerate(pairs)} for judge in (0, 1))


@settings(max_examples=25, deadline=None)
@given(pairs=gradings)
@pytest.mark.parametrize("weights", ["none", "quadratic"])
def test_kappa_is_that_of_scikit_learn(pairs, weights):
    metrics = pytest.importorskip("sklearn.metrics")
    first, second = two(pairs)
    ours = kappa(first, second, weights=weights, draws=10).value
    if len({grade for pair in pairs for grade in pair}) == 1:
        assert math.isnan(ours)
        return
    theirs = metrics.cohen_kappa_score(
        list(first.values()),
        list(second.values()),
        labels=range(4),
        weights=None if weights == "none" else weights,
    )
    assert ours == pytest.approx(theirs)


def slow_alpha(ratings: dict[str, dict[str, int]], scale: str) -> float:
    """Krippendorff's definition, pair by pair."""
    items = sorted({item for graded in ratings.values() for item in graded})
    units = [[graded[item] for graded in ratings.values() if item in graded] for item in items]
    units = [unit for unit in units if len(unit) > 1]
    every = [grade for unit in units for grade in unit]

    def apart(a: int, b: int) -> float:
        if scale == "nominal":
            return float(a != b)
        if scale == "interval":
            return float((a - b) ** 2)
        low, high = min(a, b), max(a, b)
        return (sum(low <= grade <= high for grade in every) - (every.count(a) + every.count(b)) / 2) ** 2

    observed = sum(apart(a, b) / (len(unit) - 1) for unit in units for a, b in permutations(unit, 2)) / len(
        every
    )
    chance = sum(apart(a, b) for a, b in permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - observed / chance if chance else math.nan


ratings = st.dictionaries(
    st.sampled_from(["ana", "leo", "mar", "noa"]),
    st.dictionaries(st.sampled_from([f"item {n}" for n in range(9)]), st.integers(0, 4), max_size=9),
    min_size=2,
)


@settings(max_examples=150, deadline=None)
@given(ratings=ratings, scale=st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_equals_its_definition_whoever_left_out_what(ratings, scale):
    wanted = (
        slow_alpha(ratings, scale)
        if any(set(ratings[a]) & set(ratings[b]) for a, b in combinations(ratings, 2))
        else None
    )
    if wanted is None:
        with pytest.raises(EvaluationError, match="no item was graded by two judges"):
            alpha(ratings, scale=scale, draws=10)
        return
    ours = alpha(ratings, scale=scale, draws=10).value
    assert ours == pytest.approx(wanted, nan_ok=True)


def test_full_agreement_is_one_and_chance_is_about_zero():
    grades = np.random.default_rng(3).integers(0, 4, (2, 4000)).tolist()
    same, other = ({str(n): grade for n, grade in enumerate(each)} for each in grades)
    for one in (kappa(same, same), kappa(same, same, weights="quadratic"), alpha({"a": same, "b": same})):
        assert (one.value, one.low, one.high, one.same, one.items) == (1.0, 1.0, 1.0, 1.0, 4000)
    for one in (kappa(same, other), kappa(same, other, weights="quadratic"), alpha({"a": same, "b": other})):
        assert abs(one.value) < 0.04
        assert one.low < 0 < one.high
        assert one.same == pytest.approx(0.25, abs=0.03)


def test_quadratic_weights_and_an_ordinal_scale_forgive_a_near_miss():
    near = [(0, 1), (1, 1), (2, 2), (3, 3), (2, 3), (0, 0)] * 4
    far = [(0, 3), (1, 1), (2, 2), (3, 3), (3, 0), (0, 0)] * 4
    assert kappa(*two(near)).value == pytest.approx(kappa(*two(far)).value, abs=0.1)
    assert (
        kappa(*two(near), weights="quadratic").value > 0.8 > 0.4 > kappa(*two(far), weights="quadratic").value
    )
    first, second = two(near)
    assert alpha({"a": first, "b": second}).value > alpha({"a": first, "b": second}, scale="nominal").value


def test_the_interval_covers_the_true_kappa_about_as_often_as_it_says():
    """Two judges who copy a grade with a chance of 0.8 from the truth, uniform on 0 to 3: kappa is 0.64."""
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        truth = random.integers(0, 4, 60)
        judges = [np.where(random.random(60) < 0.8, truth, random.integers(0, 4, 60)) for _ in (0, 1)]
        first, second = ({str(n): int(grade) for n, grade in enumerate(each)} for each in judges)
        one = kappa(first, second, draws=1000, seed=trial)
        covered += one.low <= 0.64 <= one.high
    assert 0.91 <= covered / 200 <= 0.985


def test_what_nothing_can_be_said_of_is_not_a_figure():
    same = {"a": 1, "b": 1, "c": 1}
    one = kappa(same, same)
    assert math.isnan(one.value)
    assert one.same == 1.0
    assert json.loads(json.dumps(one.as_json()))["value"] is None
    single = alpha({"ana": {"a": 1}, "leo": {"a": 2}})
    assert (single.low, single.high, single.items) == (-math.inf, math.inf, 1)
    assert single.as_json()["low"] is None
    with pytest.raises(EvaluationError, match="graded nothing in common"):
        kappa({"a": 1}, {"b": 1})
    with pytest.raises(EvaluationError, match="graded by two judges"):
        alpha({"ana": {"a": 1}})


def test_the_same_grades_give_the_same_interval_in_any_order():
    pairs = [(0, 0), (1, 2), (3, 3), (2, 2), (0, 1), (3, 2)] * 5
    first, second = two(pairs)
    backwards = dict(reversed(first.items())), dict(reversed(second.items()))
    assert kappa(first, second) == kappa(*backwards)
    assert alpha({"a": first, "b": second}) == alpha({"b": second, "a": first})


def said(judge: str, grade: int, start: int, words: str, **more) -> Judgement:
    return Judgement("q", "d", grade, words, start, judge=judge, **more)


def test_words_of_a_passage_are_of_its_place_and_other_places_are_not():
    passage = "It opens at nine in the morning, every day."
    items = graded(
        [
            said("ana", 0, 100, passage),
            said("leo", 3, 112, "nine in the morning"),
            said("mar", 1, 130, "day. " + "Dogs may come in. " * 4),  # begins where the passage ends
            said("ana", 2, 400, "nine in the morning"),
            Judgement("q", "d", 1, judge="noa"),
            Judgement("q", "e", 2, judge="leo"),
        ]
    )
    assert [(each.start, dict(each.grades)) for each in items if each.document_id == "d"] == [
        (130, {"mar": 1}),
        (100, {"ana": 0, "leo": 3}),
        (400, {"ana": 2}),
        (-1, {"noa": 1}),
    ]


def test_the_same_words_moved_by_an_edit_are_of_one_place():
    around = {"before": "The port opens at ", "after": ". It closes at six."}
    [item] = graded([said("ana", 1, 10, "nine", **around), said("leo", 2, 90, "nine", **around)])
    assert dict(item.grades) == {"ana": 1, "leo": 2}


def test_agreements_of_a_set_are_of_last_words_by_pair_and_over_all():
    passages = [f"Passage number {n} says this." for n in range(8)]
    ana = [said("ana", n % 4, 100 * n, words) for n, words in enumerate(passages)]
    leo = [said("leo", 3, 0, passages[0])] + [
        replace(each, judge="leo") for each in ana
    ]  # changed their mind
    mar = [said("mar", 3, 0, passages[0]), said("mar", 1, 100, passages[1])]
    noa = [said("noa", 1, 5000, "Something else.")]
    told = agreements([*ana, *leo, *mar, *noa])
    assert dict(told.counts) == {"ana": 8, "leo": 8, "mar": 2, "noa": 1}
    assert list(told.pairs) == [("ana", "leo"), ("ana", "mar"), ("leo", "mar")]
    assert told.pairs["ana", "leo"][0].value == told.pairs["ana", "leo"][1].value == 1.0
    assert (told.overall.items, told.overall.judges) == (8, 3)
    [disputed] = told.disputed
    assert (disputed.quotation, disputed.spread) == (passages[0], 3)
    assert agreements(ana).overall is None
    assert agreements([]).counts == {}
