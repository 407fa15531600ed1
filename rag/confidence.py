"""How sure it is that the passages found hold an answer: one scale, calibrated for each collection.

:mod:`rag.support` measures what speaks for an answer; its strength means different things in different
collections, so questions that are known to have an answer there, and questions that have none, say what
probability it stands for, and which share of either a threshold lets through. No scale is shipped for
collections without such questions: one made of six judged sets let through, with the set in question left
out, 50 to 100 % of a set's answerable questions and 40 to 96 % of the others.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rag.errors import EvaluationError, InvalidSetting

Rows: TypeAlias = npt.NDArray[np.float64]

FEWEST = 20
"""Questions of a kind to calibrate with: fewer cannot tell 95 % from all."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """The probability that the passages hold an answer, where answerable and unanswerable are as frequent.

    Below ``threshold`` it is not enough. In the calibration, which had ``answerable`` and ``unanswerable``
    questions, the threshold let through ``answered`` of the former and ``false_answers`` of the latter;
    with ``held_out``, those were answerable questions whose documents had been taken away.
    """

    value: float
    threshold: float
    answered: float
    false_answers: float
    answerable: int
    unanswerable: int
    held_out: bool

    @property
    def enough(self) -> bool:
        """Whether to answer."""
        return self.value >= self.threshold


@dataclass(frozen=True, slots=True)
class Rates:
    """The shares of a calibration's questions that a threshold lets through; None: there were none."""

    threshold: float
    answerable: float
    held_out: float
    unanswerable: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """From strength to probability, and what a threshold costs: plain data, to be kept with a collection.

    ``slope`` and ``intercept`` are those of a logistic curve; the others the strengths, rising, of the
    questions that it was made with: ``answerable``, the same with their documents ``held_out``, and those
    that are known to be ``unanswerable``.
    """

    slope: float
    intercept: float
    answerable: tuple[float, ...]
    held_out: tuple[float, ...]
    unanswerable: tuple[float, ...]

    @property
    def real(self) -> bool:
        """Whether there are unanswerable questions enough to go by; else held-out ones stand in for them."""
        return len(self.unanswerable) >= FEWEST

    def probability(self, strength: float) -> float:
        """From 0 to 1, rising with strength.

        >>> made = Calibration(1.0, 0.0, (0.5,), (0.0,), ())
        >>> made.probability(-math.inf), round(made.probability(2.0), 2)
        (0.0, 0.88)
        """
        if strength == -math.inf:
            return 0.0
        return 1 / (1 + math.exp(-max(-500.0, self.slope * strength + self.intercept)))

    def rates(self, answered: float) -> Rates:
        """The threshold that lets through this share of the answerable, and what else it does. 1: nothing
        is refused.

        Raises InvalidSetting for a share that is none.
        """
        if not 0 < answered <= 1:
            raise InvalidSetting(
                f"answered = {answered}: choose the share of answerable questions, above 0 to 1"
            )
        count = len(self.answerable)
        least = self.answerable[min(count - 1, math.floor((1 - answered) * count + 1e-9))]
        threshold = self.probability(least) if answered < 1 else 0.0
        return Rates(
            threshold,
            answerable=self._share(self.answerable, threshold),
            held_out=self._share(self.held_out, threshold),
            unanswerable=self._share(self.unanswerable, threshold) if self.unanswerable else None,
        )

    def judge(self, strength: float, *, answered: float = 0.95) -> Confidence:
        """How sure an answer is, and whether that is enough to answer this share of the answerable.

        >>> ten = tuple(n / 10 for n in range(10))
        >>> sure = Calibration(1.0, 0.0, ten, tuple(n - 0.25 for n in ten), ()).judge(0.5, answered=0.9)
        >>> sure.enough, round(sure.value, 2), round(sure.threshold, 2), sure.false_answers, sure.held_out
        (True, 0.62, 0.52, 0.6, True)
        """
        rates = self.rates(answered)
        told = rates.unanswerable if self.real else None
        return Confidence(
            value=self.probability(strength),
            threshold=rates.threshold,
            answered=rates.answerable,
            false_answers=rates.held_out if told is None else told,
            answerable=len(self.answerable),
            unanswerable=len(self.unanswerable if self.real else self.held_out),
            held_out=not self.real,
        )

    def _share(self, rising: Sequence[float], threshold: float) -> float:
        return (len(rising) - bisect_left(rising, threshold, key=self.probability)) / len(rising)


def check_enough(answerable: int) -> None:
    """Raises EvaluationError for fewer answerable questions than :data:`FEWEST`."""
    if answerable < FEWEST:
        raise EvaluationError(
            f"{answerable} questions that a search finds the answering document of are too few to calibrate "
            f"with: add {FEWEST - answerable} more, and better {100 - answerable}"
        )


def calibrate(
    answerable: Sequence[float], held_out: Sequence[float], unanswerable: Sequence[float] = ()
) -> Calibration:
    """A collection's calibration, from the strengths of questions with an answer and without one.

    Platt's (1999, "Probabilistic outputs for support vector machines"), both kinds counting as much in all.
    ``held_out`` are the answerable ones with the documents that answer them taken away
    (:func:`rag.support.gather`); from :data:`FEWEST` known ``unanswerable`` ones on, those count in their
    place. Held-out ones are easier to tell than questions on what the collection treats: the rate of false
    answers is then a lower bound. Raises EvaluationError for fewer than :data:`FEWEST` answerable ones.

    >>> made = calibrate([n / 10 for n in range(20)], [n / 10 - 1 for n in range(20)])
    >>> sure = made.judge(1.0, answered=0.9)
    >>> round(sure.value, 2), sure.enough, sure.answered, sure.false_answers
    (0.78, True, 0.9, 0.35)
    """
    check_enough(len(answerable))
    negative = unanswerable if len(unanswerable) >= FEWEST else held_out
    slope, intercept = _platt(np.maximum(answerable, -10.0), np.maximum(negative, -10.0))
    kinds = (tuple(sorted(kind)) for kind in (answerable, held_out, unanswerable))
    return Calibration(slope, intercept, *kinds)


def _platt(answerable: Rows, unanswerable: Rows) -> tuple[float, float]:
    """Slope (never falling) and intercept, by Newton's method."""
    sizes = np.array([len(answerable), len(unanswerable)])
    strengths = np.column_stack([np.concatenate([answerable, unanswerable]), np.ones(sizes.sum())])
    targets = np.repeat([(sizes[0] + 1) / (sizes[0] + 2), 1 / (sizes[1] + 2)], sizes)
    weights = np.repeat(0.5 / sizes, sizes)
    line = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(strengths @ line, -30, 30)))
        slope = strengths.T @ (weights * (targets - chance))
        curve = (strengths.T * (weights * chance * (1 - chance))) @ strengths
        line = line + np.linalg.solve(curve + 1e-6 * np.eye(2), slope)
    return (float(line[0]), float(line[1])) if line[0] > 0 else (0.0, 0.0)
