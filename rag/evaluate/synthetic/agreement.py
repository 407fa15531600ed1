"""Does a synthetic set rank systems like people do? Kendall's tau, and the figures this version was given.

The figures are in agreement.json beside this module, with what they come from: ``bench/synthetic.py``, which
writes them with ``--write``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ENOUGH = 0.7
"""The tau from which on two rankings are called alike here."""
FIGURES = Path(__file__).parent / "agreement.json"

Values = Mapping[str, Mapping[str, float]]
"""System -> question id -> what a measure gave for it; the same questions for every system."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """``tau`` between two rankings of ``systems`` systems, ``low`` to ``high`` (95 %) for questions like
    these, on ``people`` and ``synthetic`` questions."""

    tau: float
    low: float
    high: float
    systems: int
    people: int
    synthetic: int


@dataclass(frozen=True, slots=True)
class Measured:
    """An agreement that was measured on a judged set. ``chosen`` sets had a say in the mix of kinds."""

    judged_set: str
    language: str
    chosen: bool
    agreement: Agreement


def kendall(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Kendall's tau-b (1945) between two lists of scores; 0 where either has ties only.

    >>> kendall([1, 2, 3], [10, 20, 30]), kendall([1, 2, 3], [3, 2, 1]), kendall([1, 1], [1, 2])
    (1.0, -1.0, 0.0)
    """
    first, second = np.asarray(one, np.float64), np.asarray(other, np.float64)
    places = np.triu_indices(len(first), 1)
    signs = [np.sign(each[:, None] - each[None, :])[places] for each in (first, second)]
    untied = float((signs[0] ** 2).sum()) * float((signs[1] ** 2).sum())
    return float((signs[0] * signs[1]).sum() / np.sqrt(untied)) if untied else 0.0


def agreement(people: Values, synthetic: Values, *, draws: int = 1000, seed: int = 0) -> Agreement:
    """How alike two sets of questions rank the systems that both have measured; the interval is a bootstrap
    over the questions of both.

    >>> people = {"a": {"p": 0.2, "q": 0.3}, "b": {"p": 0.6, "q": 0.7}}
    >>> agreement(people, {"a": {"s": 0.1}, "b": {"s": 0.9}}).tau
    1.0
    """
    systems = sorted(set(people) & set(synthetic))
    tables = [
        np.array([[each[system][query] for query in sorted(each[systems[0]])] for system in systems])
        for each in (people, synthetic)
    ]
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        means = [
            table[:, random.integers(0, table.shape[1], table.shape[1])].mean(axis=1) for table in tables
        ]
        drawn.append(kendall(*means))
    low, high = np.quantile(drawn, [0.025, 0.975])
    tau = kendall(*(table.mean(axis=1) for table in tables))
    return Agreement(tau, float(low), float(high), len(systems), tables[0].shape[1], tables[1].shape[1])


@cache
def figures() -> tuple[Measured, ...]:
    """What the bench measured for this version; none where its file is missing."""
    if not FIGURES.is_file():
        return ()
    return tuple(
        Measured(each["judged_set"], each["language"], each["chosen"], Agreement(**each["agreement"]))
        for each in json.loads(FIGURES.read_text("utf-8"))["sets"]
    )


def as_json(measured: Sequence[Measured]) -> dict[str, Any]:
    """The content of agreement.json."""
    return {"made_by": "python -m bench.synthetic --write", "sets": [asdict(each) for each in measured]}


def warning(measured: Sequence[Measured] | None = None) -> list[str]:
    """What to say with every synthetic set: how far it may be believed.

    >>> one = Measured("wiki", "es", True, Agreement(0.8, 0.6, 0.9, 12, 300, 200))
    >>> for line in warning([one]):
    ...     print(line)
    Nobody judged this set. Does such a set rank systems like people's judgements do? Kendall's tau, measured:
      wiki (es): 0.80, 95 % 0.60 to 0.90, 12 systems
    It reached 0.7 on 1 of 1. Use it to find what is broken; judge questions of your own before you decide.
    """
    known = figures() if measured is None else tuple(measured)
    if not known:
        return [
            "Nobody judged this set, and it was not measured whether such a set ranks systems like people do."
        ]
    lines = [
        "Nobody judged this set. Does such a set rank systems like people's judgements do? "
        "Kendall's tau, measured:"
    ]
    for each in known:
        found = each.agreement
        interval = f"95 % {found.low:.2f} to {found.high:.2f}"
        lines.append(
            f"  {each.judged_set} ({each.language}): {found.tau:.2f}, {interval}, {found.systems} systems"
        )
    reached = sum(each.agreement.tau >= ENOUGH for each in known)
    verdict = (
        f"It reached {ENOUGH} on {reached} of {len(known)}."
        if reached
        else f"It did not reach {ENOUGH} on any."
    )
    lines.append(f"{verdict} Use it to find what is broken; judge questions of your own before you decide.")
    return lines
