"""Prompts x models over the tests of the prompts: what each cell came to, and which differ for sure.

A cell is one prompt (or one version of it) answered by one column: a language model, a file of recorded
answers, or the extractive answers. Cells are compared test by test, with McNemar's exact test and Holm's
correction (:mod:`rag.evaluate.compare`). What could not be evaluated, and what could not be run, is counted
apart and stands in no rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from rag.evaluate.compare import Comparison, compare
from rag.evaluate.grounded import Groundedness, mean
from rag.evaluate.judge_model import Graded
from rag.evaluate.rates import Rate, rate
from rag.prompts.testing.runs import Result, RunStatus, counts

ALL = "all prompts"
"""What stands for all prompts together."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One prompt answered by one column.

    ``results`` are those of its tests, in their order, ``tests`` the digest of the file that they are from:
    cells of the same tests may be compared. ``grounded`` and ``judged`` are by the test's key, for the
    answers that have a context. ``error`` says why there is nothing, "" where there is.
    """

    prompt: str
    column: str
    tests: str
    category: str = ""
    results: tuple[Result, ...] = ()
    grounded: Mapping[str, Groundedness] = field(default_factory=dict)
    judged: Mapping[str, Graded] = field(default_factory=dict)
    error: str = ""

    @property
    def by_test(self) -> Mapping[str, Result]:
        """The results by their keys: descriptions, the second of the same with its number."""
        return dict(zip(test_keys(self.results), self.results, strict=True))

    @property
    def counts(self) -> Mapping[RunStatus, int]:
        """How many passed, failed, were not evaluated and could not be run."""
        return counts(self.results)

    @property
    def passed(self) -> Rate:
        """Of those that passed or failed."""
        found = self.counts
        return rate(found["passed"], found["passed"] + found["failed"])

    @property
    def outcomes(self) -> dict[str, float]:
        """1 for each test that passed, 0 for each that failed; others are not there."""
        told = {"passed": 1.0, "failed": 0.0}
        return {key: told[each.status] for key, each in self.by_test.items() if each.status in told}

    @property
    def supported(self) -> Rate:
        """The claims of all its answers that are supported. The interval takes them as independent."""
        every = self.grounded.values()
        return rate(sum(one.supported for one in every), sum(len(one.sentences) for one in every))

    @property
    def citation_recall(self) -> float | None:
        """The mean over its answers; so with the next."""
        return mean(one.citation_recall for one in self.grounded.values())

    @property
    def citation_precision(self) -> float | None:
        return mean(one.citation_precision for one in self.grounded.values())

    @property
    def unknown_citations(self) -> int:
        """Citations of passages that are not there, in all its answers."""
        return sum(len(one.unknown_citations) for one in self.grounded.values())

    @property
    def judged_grounded(self) -> Rate:
        """The answers that the judge model passed, of those that it gave a verdict on."""
        told = [one.passed for one in self.judged.values() if one.passed is not None]
        return rate(sum(told), len(told))

    @property
    def tokens(self) -> float | None:
        """The mean tokens of a test, prompt and answer; None where none was answered."""
        told = [one.tokens for one in self.results if one.answer]
        return sum(told) / len(told) if told else None

    @property
    def seconds(self) -> float | None:
        """The median of a test that was answered; of recorded answers it says nothing of the model."""
        told = [one.seconds for one in self.results if one.answer]
        return median(told) if told else None

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "prompt": self.prompt,
            "column": self.column,
            "category": self.category,
            "error": self.error,
            "counts": dict(self.counts),
            "passed": self.passed.as_json(),
            "supported_claims": self.supported.as_json(),
            "citation_recall": self.citation_recall,
            "citation_precision": self.citation_precision,
            "unknown_citations": self.unknown_citations,
            "judged_grounded": self.judged_grounded.as_json() if self.judged else None,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "tests": [
                each.as_json()
                | {"grounded": self.grounded[key].as_json() if key in self.grounded else None}
                | {"judged": self.judged[key].as_json() if key in self.judged else None}
                for key, each in self.by_test.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Split:
    """A test that some cells pass and others fail. ``status`` is by (prompt, column)."""

    test: str
    prompts: tuple[str, ...]
    status: Mapping[tuple[str, str], RunStatus]

    @property
    def passed(self) -> int:
        return sum(status == "passed" for status in self.status.values())

    @property
    def failed(self) -> int:
        return sum(status == "failed" for status in self.status.values())

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        cells = [
            {"prompt": prompt, "column": column, "status": status}
            for (prompt, column), status in self.status.items()
        ]
        return {"test": self.test, "passed": self.passed, "failed": self.failed, "cells": cells}


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells, prompt by prompt, and what was asked of them: ``baseline`` is the column that the others
    are compared with, ``margin`` the difference in the pass rate that was declared not to matter."""

    cells: tuple[Cell, ...]
    baseline: str
    margin: float = 0.05

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.prompt for cell in self.cells))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.column for cell in self.cells))

    def of(self, *, prompt: str = "", column: str = "") -> list[Cell]:
        """The cells of a prompt, of a column, or the one of both."""
        return [cell for cell in self.cells if prompt in ("", cell.prompt) and column in ("", cell.column)]

    @property
    def categories(self) -> Mapping[tuple[str, str], Rate]:
        """The pass rate by (category, column), all prompts of the category together."""
        pairs = dict.fromkeys((cell.category or "none", cell.column) for cell in self.cells)
        return {
            (category, column): _together(
                cell for cell in self.of(column=column) if (cell.category or "none") == category
            )
            for category, column in pairs
        }

    def recheck(self) -> tuple[Comparison, ...]:
        """Every other column against the baseline, for each prompt (``measure``) and for :data:`ALL` of them
        when there are several. Holm's correction is over all of these. A prompt of which no test was
        evaluated in both is not there."""
        told = {column: self._by_prompt(column) for column in self.columns}
        return _compared(told, self.baseline, margin=self.margin)

    def versions(self) -> tuple[Comparison, ...]:
        """Prompts that share their tests, against the first of them, for each column (``measure``). Holm's
        correction is over those of the same tests."""
        found: list[Comparison] = []
        for tests in dict.fromkeys(cell.tests for cell in self.cells):
            sharing = [cell for cell in self.cells if cell.tests == tests]
            first = sharing[0].prompt
            told: dict[str, dict[str, dict[str, float]]] = {}
            for cell in sharing:
                told.setdefault(cell.prompt, {})[cell.column] = cell.outcomes
            found += _compared(told, first, margin=self.margin)
        return tuple(found)

    def splits(self) -> tuple[Split, ...]:
        """The tests that tell cells apart, those that part them most evenly first."""
        status: dict[tuple[str, str], dict[tuple[str, str], RunStatus]] = {}
        for cell in self.cells:
            for key, result in cell.by_test.items():
                status.setdefault((cell.tests, key), {})[cell.prompt, cell.column] = result.status
        found = [
            Split(key, tuple(dict.fromkeys(prompt for prompt, _ in by_cell)), by_cell)
            for (_, key), by_cell in status.items()
            if {"passed", "failed"} <= set(by_cell.values())
        ]
        return tuple(sorted(found, key=lambda split: -min(split.passed, split.failed)))

    def best(self) -> Mapping[str, tuple[str, ...]]:
        """For each column the prompts with the highest pass rate, where several share their tests."""
        found: dict[str, tuple[str, ...]] = {}
        for column in self.columns:
            for tests in dict.fromkeys(cell.tests for cell in self.cells):
                sharing = [cell for cell in self.of(column=column) if cell.tests == tests]
                rated = [cell for cell in sharing if cell.passed.of]
                if len(sharing) > 1 and rated:
                    most = max(cell.passed.value for cell in rated)
                    best = tuple(cell.prompt for cell in rated if cell.passed.value == most)
                    found[column] = (*found.get(column, ()), *best)
        return found

    def total(self, column: str) -> Rate:
        """The pass rate of a column over all prompts."""
        return _together(self.of(column=column))

    def _by_prompt(self, column: str) -> dict[str, dict[str, float]]:
        told = {cell.prompt: cell.outcomes for cell in self.of(column=column)}
        every = {f"{prompt}\n{key}": value for prompt, by in told.items() for key, value in by.items()}
        return told | ({ALL: every} if len(told) > 1 else {})

    def as_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "prompts": list(self.prompts),
            "columns": list(self.columns),
            "baseline": self.baseline,
            "margin": self.margin,
            "cells": [cell.as_json() for cell in self.cells],
            "categories": [
                {"category": category, "column": column, "passed": told.as_json()}
                for (category, column), told in self.categories.items()
            ],
            "totals": {column: self.total(column).as_json() for column in self.columns},
            "recheck": [one.as_json() for one in self.recheck()],
            "versions": [one.as_json() for one in self.versions()],
            "splits": [one.as_json() for one in self.splits()],
            "best": {column: list(names) for column, names in self.best().items()},
        }


def test_keys(results: Sequence[Result]) -> list[str]:
    """A name for each result that no other of them has.

    >>> test_keys([])
    []
    """
    seen: dict[str, int] = {}
    keys = []
    for each in results:
        name = each.case.description
        seen[name] = seen.get(name, 0) + 1
        keys.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return keys


def _together(cells: Iterable[Cell]) -> Rate:
    every = [cell.passed for cell in cells]
    return rate(sum(one.count for one in every), sum(one.of for one in every))


def _compared(
    told: Mapping[str, Mapping[str, Mapping[str, float]]], baseline: str, *, margin: float
) -> tuple[Comparison, ...]:
    """Every other system against the baseline, in each measure in which they share a test, corrected for all
    that is compared: ``told`` is system -> measure -> test -> 1 or 0."""
    pairs = [
        (candidate, measure)
        for candidate, by_measure in told.items()
        if candidate != baseline
        for measure, values in by_measure.items()
        if not values.keys().isdisjoint(told[baseline].get(measure, {}))
    ]
    if not pairs:
        return ()
    # One call, so that Holm's correction is over all: each pair as a measure of two systems of their own,
    # for not every system has every measure.
    named = {f"{candidate}\n{measure}": (candidate, measure) for candidate, measure in pairs}
    old = {name: told[baseline][measure] for name, (_, measure) in named.items()}
    new = {name: told[candidate][measure] for name, (candidate, measure) in named.items()}
    found = compare({"": old, "new": new}, baseline="", measures=list(named), margin=margin)
    return tuple(
        replace(one, baseline=baseline, candidate=named[one.measure][0], measure=named[one.measure][1])
        for one in found
    )
