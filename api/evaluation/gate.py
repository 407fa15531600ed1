"""May this change go in? A candidate against a baseline, for CI: not worse, worse, or not known yet.

"Not worse" is a claim of its own, which an absence of evidence does not make: it holds where even the lower
end of the difference's interval is above minus the margin. With too few questions that is not so, and the
gate says that it cannot tell.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from api.evaluation.comparing import Compared
from rag.errors import EvaluationError, InvalidSetting
from rag.evaluate import Comparison, Evaluation
from rag.evaluate.compare import LOWER_IS_BETTER
from rag.evaluate.paired import DRAWS

Outcome: TypeAlias = Literal["passed", "failed", "cannot tell"]
TIMES = ("cpu_ms", "ms")
"""Costs that depend on the machine and the hour: compared between systems that ran side by side alone."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the gate asks: what came of it, and the figures it rests on."""

    name: str
    outcome: Outcome
    message: str


def quality(compared: Compared) -> list[Check]:
    """A check for each measure of each candidate: better, equivalent or not worse than the margin passes."""
    return [Check(f"{each.candidate}: {each.measure}", *_judged(each)) for each in compared.comparisons]


def _judged(one: Comparison) -> tuple[Outcome, str]:
    lower = one.measure in LOWER_IS_BETTER
    worst = -one.high if lower else one.low
    if one.verdict in ("better", "equivalent"):
        return "passed", one.sentence
    if one.verdict == "worse":
        return "failed", one.sentence
    if worst >= -one.margin and one.detectable != np.inf:  # infinite: of so few questions none can tell
        return "passed", f"not worse by more than {one.margin:g}: {one.sentence}"
    return "cannot tell", one.sentence


def cost(baseline: Evaluation, candidate: Evaluation, limits: Mapping[str, float]) -> list[Check]:
    """A check for each cost in ``limits``, by the ratio of the candidate's sum to the baseline's.

    What is by question (``cpu_ms``, ``ms``, ``tokens``) has a bootstrap interval over them: below the limit
    it passes, above it it fails, and where the limit lies within, it cannot tell. What is of the whole
    (``index_bytes``, ``ingest_s``, ``chunks``) is one figure. Raises EvaluationError for a cost that is not
    there.
    """
    checks = []
    for name, limit in limits.items():
        value, low, high = _ratio(baseline, candidate, name)
        told = f"{name} {value:.3f} times that of {baseline.system} (at most {limit:g})"
        if low != high:
            told += f", [{low:.3f}, {high:.3f}]"
        outcome: Outcome = "passed" if high <= limit else "failed" if low > limit else "cannot tell"
        checks.append(Check(f"{candidate.system}: {name}", outcome, told))
    return checks


def _ratio(baseline: Evaluation, candidate: Evaluation, name: str) -> tuple[float, float, float]:
    """The candidate's cost over the baseline's, and the interval's ends."""
    if name in baseline.facts and name in candidate.facts:
        old, new = baseline.facts[name], candidate.facts[name]
        value = new / old if old else float("inf")
        return value, value, value
    before, after = baseline.costs.get(name, {}), candidate.costs.get(name, {})
    both = [query for query in before if query in after]
    if not both or not sum(before[query] for query in both):
        known = sorted({*baseline.costs, *baseline.facts} & {*candidate.costs, *candidate.facts})
        raise EvaluationError(f"no cost {name!r} of both runs; there is {', '.join(known) or 'none'}")
    pairs = np.array([[before[query], after[query]] for query in both])
    drawn = np.random.default_rng(0).integers(0, len(both), (DRAWS // 10, len(both)))
    sums = pairs[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 1] / sums[:, 0], [0.025, 0.975])
    total = pairs.sum(axis=0)
    return float(total[1] / total[0]), float(low), float(high)


def exit_code(checks: Sequence[Check]) -> int:
    """0 all passed, 100 one failed, 3 none failed and one cannot tell.

    >>> exit_code([Check("a", "passed", ""), Check("b", "cannot tell", "")])
    3
    """
    outcomes = {check.outcome for check in checks}
    return 100 if "failed" in outcomes else 3 if "cannot tell" in outcomes else 0


def junit(name: str, checks: Sequence[Check]) -> str:
    """The checks as JUnit XML; what cannot be told is ``skipped``, as CI systems show it apart."""
    from rag.prompts.testing.junit import xml_text

    outcomes = [check.outcome for check in checks]
    root = ElementTree.Element("testsuites", name="rag eval gate")
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=xml_text(name),
        tests=str(len(checks)),
        failures=str(outcomes.count("failed")),
        errors="0",
        skipped=str(outcomes.count("cannot tell")),
    )
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", name=xml_text(check.name), classname=xml_text(name))
        if check.outcome != "passed":
            kind = "failure" if check.outcome == "failed" else "skipped"
            ElementTree.SubElement(case, kind, message=xml_text(check.message))
    ElementTree.indent(root)
    xml: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return f"{xml.decode()}\n"


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Plain data."""
    return [{"check": each.name, "outcome": each.outcome, "message": each.message} for each in checks]


def limit(name: str, text: str) -> float:
    """A ratio as it is written. Raises InvalidSetting.

    >>> limit("tokens", "1.1")
    1.1
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InvalidSetting(f"--at-most {name}={text}: write a ratio above 0, such as {name}=1.1")
    return value
