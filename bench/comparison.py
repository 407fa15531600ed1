"""Can a comparison's verdicts be believed? Simulated systems, of which the truth is known.

    python -m bench.comparison [--pairs 1000] [--sizes 20,50,200,1000] [--study level]… [--shape graded]…

Each study puts pairs of systems to ``rag.evaluate.compare``:

- level: equal systems; how many pairs are called better or worse. To reach: at most 5 %.
- family: ten systems equal to the baseline, two measures, Holm's correction; how many of these families
  have a single better or worse in them. To reach: at most 5 %.
- power: the candidate is better by what ``detectable`` prints at that difference; how many are called
  better. To reach: 80 %, give or take 10.
- equivalence: the candidate differs by the margin, up or down; how many are called equivalent. 5 % at most.
- forecast: pairs that cannot be told are taken for the truth, and asked ``more_queries`` more questions;
  how many have a verdict then, without a margin and with one. About 80 %.

"rare harm" is there to show a limit: one question in twenty is spoilt, all others gain a little, and the
mean stays the same. Twenty questions without a spoilt one among them, 36 of 100 times, cannot know of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.process import table
from rag.evaluate import Comparison, compare
from rag.evaluate.rates import Rate, rate

Floats = npt.NDArray[np.float64]
NDCG = np.array([0.0, 0.3869, 0.4307, 0.5, 0.6309, 1.0])
"""What nDCG@10 gives where one document is relevant, at ranks of ten and beyond, 5, 4, 3, 2 and 1."""
OFTEN = np.array([0.3, 0.1, 0.1, 0.1, 0.15, 0.25])
MOST_MORE = 10
"""Forecasts of more than so many times the questions are left out: they would take hours to try."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The values of two systems, and which question belongs to which cluster, where there are any."""

    old: Floats
    new: Floats
    clusters: npt.NDArray[np.int64] | None = None

    def compared(self, **options: Any) -> Comparison:
        ids = [f"q{number:06d}" for number in range(len(self.old))]
        clusters = None
        if self.clusters is not None:
            clusters = {id: f"c{number:06d}" for id, number in zip(ids, self.clusters, strict=True)}
        values = {
            name: {"m": dict(zip(ids, each.tolist(), strict=True))}
            for name, each in (("old", self.old), ("new", self.new))
        }
        [one] = compare(values, baseline="old", measures=["m"], clusters=clusters, **options)
        return one


Shape = Callable[[np.random.Generator, int, float], Pair]
"""Draws a pair on so many questions, of which the second is better by so much in the mean."""


def graded(random: np.random.Generator, queries: int, gain: float = 0.0) -> Pair:
    """nDCG with several relevant documents: easy and hard questions, a third of the values 0 or 1."""
    ease = random.uniform(-0.3, 1.3, queries)
    old, new = (np.clip(ease + random.normal(0, 0.25, queries), 0, 1) for _ in range(2))
    return Pair(old, new + gain)


def sparse(random: np.random.Generator, queries: int, gain: float = 0.0) -> Pair:
    """nDCG with one relevant document: four of five questions are not touched. Gains raise some to 1."""
    old, other = (random.choice(NDCG, queries, p=OFTEN) for _ in range(2))
    new = np.where(random.random(queries) < 0.8, old, other)
    raised = random.random(queries) < gain / (1 - NDCG @ OFTEN)
    return Pair(old, np.where(raised, 1.0, new))


def binary(random: np.random.Generator, queries: int, gain: float = 0.0) -> Pair:
    """Pass and fail, six of ten passed, one of five different. Gains let some that failed pass."""
    old, other = (random.random(queries) < 0.6 for _ in range(2))
    new = np.where(random.random(queries) < 0.2 / 0.48, other, old)
    passed = new | (random.random(queries) < gain / 0.4)
    return Pair(old.astype(np.float64), passed.astype(np.float64))


def skewed(random: np.random.Generator, queries: int, gain: float = 0.0) -> Pair:
    """Many questions gain a little, some lose much: differences of skewness -2."""
    old = random.uniform(0.2, 0.8, queries)
    return Pair(old, old + 0.1 * (1 - random.exponential(1, queries)) + gain)


def clustered(random: np.random.Generator, queries: int, gain: float = 0.0) -> Pair:
    """One to three questions a document, which share half of the variance."""
    sizes = random.integers(1, 4, queries)
    documents = np.repeat(np.arange(queries), sizes)[:queries]
    old, shared = random.uniform(0.2, 0.8, queries), random.normal(0, 0.1, queries)[documents]
    return Pair(old, old + shared + random.normal(0, 0.1, queries) + gain, documents)


def rare_harm(random: np.random.Generator, queries: int, gain: float = 0.0) -> Pair:
    """One question of twenty is spoilt, and the others gain as much in all."""
    old = random.uniform(0.2, 0.8, queries)
    change = np.where(random.random(queries) < 0.05, -0.5, 0.5 * 0.05 / 0.95)
    return Pair(old, old + change + random.normal(0, 0.02, queries) + gain)


SHAPES: Mapping[str, Shape] = {
    "graded": graded,
    "sparse": sparse,
    "binary": binary,
    "skewed": skewed,
    "clustered": clustered,
    "rare harm": rare_harm,
}


# --- studies: how often ---------------------------------------------------------------------------


def level(shape: Shape, queries: int, pairs: int, *, seed: int = 0, draws: int = 999) -> Rate:
    """Of equal pairs, those called better or worse."""
    random = np.random.default_rng(seed)
    verdicts = [shape(random, queries, 0.0).compared(draws=draws).verdict for _ in range(pairs)]
    return rate(verdicts.count("better") + verdicts.count("worse"), pairs)


def family(shape: Shape, queries: int, families: int, *, seed: int = 0, draws: int = 999) -> Rate:
    """Of families of ten candidates and two measures, all equal to the baseline, those with any verdict.

    The second measure is the first one, seen through noise: measures of one run hang together.
    """
    random = np.random.default_rng(seed)
    ids = [f"q{number:06d}" for number in range(queries)]
    called = 0
    for _ in range(families):
        values = {}
        for name in range(11):  # each has luck of its own on the same questions
            first = shape(random, queries, 0.0).new
            second = np.where(random.random(queries) < 0.7, first, shape(random, queries, 0.0).new)
            both = {"m": first, "n": second}
            values[f"s{name}"] = {m: dict(zip(ids, v.tolist(), strict=True)) for m, v in both.items()}
        found = compare(values, baseline="s0", measures=["m", "n"], draws=draws)
        called += any(each.verdict in ("better", "worse") for each in found)
    return rate(called, families)


PILOTS = 200


@cache
def printed(shape: Shape, queries: int, *, seed: int, pairs: int) -> float:
    """The gain g at which pairs with the gain g print that g is detectable, in the mean."""
    random = np.random.default_rng(seed)
    gain = 0.0
    for _ in range(4):  # a gain changes the variance where values are bounded: a fixed point
        told = [shape(random, queries, gain).compared(draws=1).detectable for _ in range(pairs)]
        gain = float(np.mean(told))
    return gain


def power(
    shape: Shape, queries: int, pairs: int, *, seed: int = 0, draws: int = 999, pilots: int = PILOTS
) -> Rate:
    """Of pairs with the detectable difference, those called better."""
    gain = printed(shape, queries, seed=seed, pairs=pilots)
    random = np.random.default_rng(seed + 1)
    verdicts = [shape(random, queries, gain).compared(draws=draws).verdict for _ in range(pairs)]
    return rate(verdicts.count("better"), pairs)


def equivalence(
    shape: Shape, queries: int, pairs: int, *, seed: int = 0, draws: int = 999, pilots: int = PILOTS
) -> Rate:
    """Of pairs that differ by the margin, half of them up and half down, those called equivalent."""
    margin = printed(shape, queries, seed=seed, pairs=pilots)
    random = np.random.default_rng(seed + 1)
    called = 0
    for number in range(pairs):
        pair = shape(random, queries, 0.0)
        if number % 2:  # down by the margin, whatever the shape's own gains look like
            pair = Pair(pair.old, pair.new - margin, pair.clusters)
        else:
            pair = shape(random, queries, margin)
        called += pair.compared(margin=margin, draws=draws).verdict == "equivalent"
    return rate(called, pairs)


def forecast(
    shape: Shape,
    queries: int,
    pairs: int,
    *,
    margin: bool,
    seed: int = 0,
    draws: int = 999,
    pilots: int = PILOTS,
) -> Rate:
    """Of pairs that could not be told, those that can be after ``more_queries`` more."""
    gain = printed(shape, queries, seed=seed, pairs=pilots) / 2
    random = np.random.default_rng(seed + 1)
    told = tried = 0
    for pair in unsure(shape, random, queries, gain, pairs):
        first = pair.compared(draws=draws)
        allowed = first.detectable / 2 if margin else 0.0
        first = pair.compared(draws=draws, margin=allowed)
        more = first.more_queries
        if first.verdict != "cannot tell" or more is None or more > MOST_MORE * queries:
            continue
        drawn = random.integers(0, queries, queries + more)
        then = Pair(pair.old[drawn], pair.new[drawn]).compared(draws=draws, margin=allowed)
        right = "better" if first.difference > 0 else "worse"
        tried += 1
        told += then.verdict in (right, "equivalent")
    return rate(told, tried)


def unsure(
    shape: Shape, random: np.random.Generator, queries: int, gain: float, pairs: int
) -> Iterator[Pair]:
    """Pairs without clusters, for a resample of clusters is no resample of questions."""
    for _ in range(pairs):
        pair = shape(random, queries, gain)
        yield Pair(pair.old, pair.new)


STUDIES: Mapping[str, Callable[[Shape, int, int], Rate]] = {
    "level": level,
    "power": power,
    "equivalence": equivalence,
    "forecast": lambda shape, queries, pairs: forecast(shape, queries, pairs, margin=False),
    "forecast, margin": lambda shape, queries, pairs: forecast(shape, queries, pairs, margin=True),
    "family": family,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--sizes", default="20,50,200,1000")
    parser.add_argument("--study", action="append", choices=list(STUDIES), help="repeatable; default: all")
    parser.add_argument("--shape", action="append", choices=list(SHAPES), help="repeatable; default: all")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    rows = []
    for study in options.study or STUDIES:
        for name in options.shape or SHAPES:
            cells = [study, name]
            for size in sizes:
                found = STUDIES[study](SHAPES[name], size, options.pairs)
                cells.append(f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]" if found.of else "-")
            rows.append(cells)
            print(" ".join(cells), flush=True)
    print(f"\n{table(['study', 'shape', *map(str, sizes)], rows)}")


if __name__ == "__main__":
    main()
