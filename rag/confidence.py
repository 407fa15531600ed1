"""How sure it is that the passages found hold an answer: one scale, calibrated for each collection.

:mod:`rag.support` measures what speaks for an answer; its strength means different things in different
collections, so questions that are known to have an answer there, and questions that have none, say what
probability it stands for, and which share of either a threshold lets through.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rag.errors import InvalidSetting

Rows: TypeAlias = npt.NDArray[np.float64]

FEWEST = 20
"""Questions of each kind to calibrate with: fewer cannot tell 95 % from all."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """The probability that the passages hold an answer, where answerable and unanswerable are as frequent.

    Below ``threshold`` it is not enough. In the calibration, which had ``answerable`` and ``unanswerable``
    questions, the threshold let through ``answered`` of the former and ``false_answers`` of the latter.
    ``own`` tells a calibration on the collection's own questions from the one that is shipped.
    """

    value: float
    threshold: float
    answered: float
    false_answers: float
    answerable: int
    unanswerable: int
    own: bool

    @property
    def enough(self) -> bool:
        """Whether to answer."""
        return self.value >= self.threshold


@dataclass(frozen=True, slots=True)
class Calibration:
    """From strength to probability, and what a threshold costs: plain data, to be kept with a collection.

    ``slope`` and ``intercept`` are those of a logistic curve; ``answerable`` and ``unanswerable`` the
    strengths, rising, of the questions that it was made with.
    """

    slope: float
    intercept: float
    answerable: tuple[float, ...]
    unanswerable: tuple[float, ...]
    own: bool = True

    def probability(self, strength: float) -> float:
        """From 0 to 1, rising with strength.

        >>> SHIPPED.probability(-math.inf), round(SHIPPED.probability(2.0), 2)
        (0.0, 0.87)
        """
        if strength == -math.inf:
            return 0.0
        return 1 / (1 + math.exp(-max(-500.0, self.slope * strength + self.intercept)))

    def judge(self, strength: float, *, answered: float = 0.95) -> Confidence:
        """How sure an answer is, and whether that is enough to answer this share of the answerable.

        >>> sure = SHIPPED.judge(2.0)
        >>> sure.enough, round(sure.value, 2), round(sure.threshold, 2), round(sure.false_answers, 2)
        (True, 0.87, 0.28, 0.81)
        """
        if not 0 < answered <= 1:
            raise InvalidSetting(
                f"answered = {answered}: choose the share of answerable questions, above 0 to 1"
            )
        count = len(self.answerable)
        least = self.answerable[min(count - 1, math.floor((1 - answered) * count + 1e-9))]
        threshold = self.probability(least)
        return Confidence(
            value=self.probability(strength),
            threshold=threshold,
            answered=self._share(self.answerable, threshold),
            false_answers=self._share(self.unanswerable, threshold),
            answerable=count,
            unanswerable=len(self.unanswerable),
            own=self.own,
        )

    def _share(self, rising: Sequence[float], threshold: float) -> float:
        return 1 - bisect_left(rising, threshold, key=self.probability) / len(rising)


def calibrate(answerable: Sequence[float], unanswerable: Sequence[float]) -> Calibration:
    """A collection's own calibration, from the strengths of questions with an answer and without one.

    Platt's (1999, "Probabilistic outputs for support vector machines"), both kinds counting as much in all.
    Unanswerable questions are real ones, or the answerable ones with the documents that answer them held out
    (:func:`rag.support.gather`). Those are easier to tell than questions on what the collection treats: the
    rate of false answers is then a lower bound. Raises InvalidSetting for fewer than :data:`FEWEST`.

    >>> made = calibrate([n / 10 for n in range(20)], [n / 10 - 1 for n in range(20)])
    >>> sure = made.judge(1.0, answered=0.9)
    >>> round(sure.value, 2), sure.enough, sure.answered, sure.false_answers
    (0.78, True, 0.9, 0.35)
    """
    if min(len(answerable), len(unanswerable)) < FEWEST:
        raise InvalidSetting(
            f"{len(answerable)} answerable and {len(unanswerable)} unanswerable questions are too few to "
            f"calibrate with: {FEWEST} of each, and better 100"
        )
    slope, intercept = _platt(np.maximum(answerable, -10.0), np.maximum(unanswerable, -10.0))
    return Calibration(slope, intercept, tuple(sorted(answerable)), tuple(sorted(unanswerable)))


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


# fmt: off
SHIPPED = Calibration(
    0.9026, 0.0546,
    (-1.97, -1.13, -0.93, -0.75, -0.61, -0.46, -0.32, -0.17, -0.04, 0.11, 0.25,
     0.41, 0.58, 0.74, 0.91, 1.12, 1.37, 1.64, 1.93, 2.35, 4.59),
    (-1.92, -1.42, -1.29, -1.18, -1.09, -1.01, -0.93, -0.84, -0.75, -0.67, -0.59,
     -0.5, -0.39, -0.28, -0.14, -0.01, 0.17, 0.39, 0.66, 1.14, 4.18),
    own=False,
)
# fmt: on
"""For a collection without questions of its own: twentieths over the judged sets, each counting once.

To be shown, not to refuse by: it knows no collection. With the set in question left out, the threshold for
95 % let through 50 to 100 % of the answerable questions of a set and 40 to 96 % of the others, and 23 of the
33 answerable sample questions. A collection's own calibration, on half of a set's questions, let through 91
to 95 % of the other half."""
