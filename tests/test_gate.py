"""What a gate makes of a comparison and of costs: values in, outcomes out."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from api.evaluation.comparing import compare_runs
from api.evaluation.gate import Check, cost, exit_code, junit, limit, quality
from rag.errors import EvaluationError, InvalidSetting
from rag.evaluate import Evaluation, Run
from rag.types import Query

MANY = [f"q{n}" for n in range(200)]


def run(
    system: str, values: dict[str, float], *, digest: str = "d", measure: str = "RR@10", **more
) -> Evaluation:
    results = {query: [("doc", 1.0)] for query in values}
    questions = tuple(Query(query, f"{query}?", metadata={"document": query[:2]}) for query in values)
    return Evaluation(
        Run.of(system, results),
        {measure: values},
        questions=questions,
        set_name="s",
        set_digest=digest,
        **more,
    )


def flat(value: float, queries=MANY) -> dict[str, float]:
    return dict.fromkeys(queries, value)


def outcome(old: dict, new: dict, *, margin: float = 0.02, measure: str = "RR@10") -> str:
    compared = compare_runs([run("a", old, measure=measure), run("b", new, measure=measure)], margin=margin)
    [check] = quality(compared)
    return check.outcome


def noisy(mean: float, spread: float) -> dict[str, float]:
    return {query: mean + spread * (1 if n % 2 else -1) for n, query in enumerate(MANY)}


def test_the_same_passes_and_what_is_worse_fails():
    assert outcome(flat(0.5), flat(0.5)) == "passed"
    assert outcome(flat(0.5), flat(0.6)) == "passed"
    assert outcome(noisy(0.5, 0.1), {q: v - 0.1 for q, v in noisy(0.5, 0.1).items()}) == "failed"


def test_a_loss_within_the_margin_passes_however_sure_it_is():
    less = {query: 0.49 + n % 3 / 1000 for n, query in enumerate(MANY)}
    assert outcome(flat(0.5), less, margin=0.02) == "passed"
    assert outcome(flat(0.5), less, margin=0.001) == "failed"


def test_too_few_questions_never_pass():
    few = MANY[:5]
    compared = compare_runs(
        [run("a", flat(0.5, few)), run("b", flat(0.5, few))], measures=["RR@10"], margin=0.02
    )
    [check] = quality(compared)
    assert check.outcome == "cannot tell"
    assert exit_code([check]) == 3


def test_an_interval_that_reaches_below_the_margin_cannot_tell():
    swings = {query: 0.5 + (0.4 if n % 2 else -0.4) for n, query in enumerate(MANY[:30])}
    assert outcome(flat(0.5, MANY[:30]), swings, margin=0.02) == "cannot tell"


def test_not_worse_passes_though_it_is_not_known_to_be_better():
    gains = {query: 0.5 + (0.3 if n % 10 == 0 else -0.02 if n % 2 else 0.0) for n, query in enumerate(MANY)}
    compared = compare_runs([run("a", flat(0.5)), run("b", gains)], margin=0.02)
    assert compared.comparisons[0].low > -0.02
    assert quality(compared)[0].outcome == "passed"


def test_of_false_answers_less_is_better():
    old = {query: float(n % 2) for n, query in enumerate(MANY)}
    worse = outcome(old, flat(1.0), measure="FalseAnswers")
    better = outcome(old, flat(0.0), measure="FalseAnswers")
    assert (worse, better) == ("failed", "passed")


@pytest.mark.parametrize(("factor", "wanted"), [(1.0, "passed"), (1.5, "failed")])
def test_a_cost_by_question_is_a_ratio_with_an_interval(factor, wanted):
    old = run("a", flat(1.0), costs={"tokens": {q: 100.0 + n % 7 for n, q in enumerate(MANY)}})
    new = run("b", flat(1.0), costs={"tokens": {q: factor * v for q, v in old.costs["tokens"].items()}})
    [check] = cost(old, new, {"tokens": 1.1})
    assert check.outcome == wanted
    assert f"{factor:.3f} times that of a (at most 1.1)" in check.message


def test_a_limit_within_the_interval_cannot_tell():
    old = run("a", flat(1.0), costs={"ms": flat(10.0, MANY[:20])})
    swings = {query: 12.0 if n % 2 else 8.2 for n, query in enumerate(MANY[:20])}
    [check] = cost(old, run("b", flat(1.0), costs={"ms": swings}), {"ms": 1.01})
    assert check.outcome == "cannot tell"


def test_a_cost_of_the_whole_is_one_figure_and_one_that_is_not_there_is_told():
    old, new = (
        run(name, flat(1.0), facts={"index_bytes": size}) for name, size in (("a", 100.0), ("b", 150.0))
    )
    assert cost(old, new, {"index_bytes": 1.4})[0].outcome == "failed"
    with pytest.raises(EvaluationError, match="no cost 'usd' of both runs; there is index_bytes"):
        cost(old, new, {"usd": 1.0})


def test_failed_counts_before_cannot_tell_and_junit_tells_them_apart():
    checks = [
        Check("a", "passed", ""),
        Check("b", "cannot tell", "few"),
        Check("c", "failed", "less \x00 <b>"),
    ]
    assert exit_code(checks) == 100
    suite = ElementTree.fromstring(junit("s", checks).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert suite[2][0].get("message") == "less \ufffd <b>"


@pytest.mark.parametrize("text", ["0", "-1", "much", "inf", "nan"])
def test_a_ratio_that_is_none_is_refused(text):
    with pytest.raises(InvalidSetting, match="write a ratio above 0"):
        limit("tokens", text)


# --- comparing ------------------------------------------------------------------------------------


def test_runs_of_other_judgements_or_other_sets_are_refused_by_name():
    one = run("a", flat(1.0))
    with pytest.raises(EvaluationError, match=r"judgements of 's' changed in between .* \(--set s\)"):
        compare_runs([one, run("b", flat(1.0), digest="e")])
    with pytest.raises(EvaluationError, match="only runs on one set can be compared"):
        compare_runs([one, replace(run("b", flat(1.0), digest="e"), set_name="t")])
    with pytest.raises(EvaluationError, match="name two runs or more"):
        compare_runs([one])
    with pytest.raises(EvaluationError, match="no measure 'AP' in all of the runs; they share RR@10"):
        compare_runs([one, run("b", flat(1.0))], measures=["AP"])


def test_questions_of_one_document_are_one_observation():
    old, new = run("a", flat(0.5)), run("b", noisy(0.6, 0.05))
    loose, tied = (compare_runs([old, new], cluster=key).comparisons[0] for key in ("", "document"))
    assert (loose.clusters, tied.clusters) == (200, 10)
    with pytest.raises(EvaluationError, match="no question has 'kind' among its metadata; there is document"):
        compare_runs([old, new], cluster="kind")


def test_what_moved_most_comes_first_with_what_each_side_found():
    old, new = flat(0.5), flat(0.5) | {"q7": 1.0, "q9": 0.4}
    compared = compare_runs([run("same", old), run("same", new)])
    assert compared.names == ("same #1", "same #2")
    [moved] = compared.moved.values()
    found = [(each.query.id, round(each.difference, 3)) for each in moved.questions]
    assert found == [("q7", 0.5), ("q9", -0.1)]
    first = moved.questions[0]
    assert (first.query.text, [each.document_id for each in first.before.documents]) == ("q7?", ["doc"])
    [one] = compared.comparisons
    assert (one.wins, one.ties, one.losses) == (1, 198, 1)
